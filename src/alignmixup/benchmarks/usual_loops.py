"""Loading and training as tutorials write it: one image at a time, worker processes, a plain loop."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy
from torch.utils.data import DataLoader

from alignmixup.models import PreActResNet18

SIDE, CLASSES = 32, 10
MEAN, STD = (0.5, 0.5, 0.5), (0.25, 0.25, 0.25)

Batches = Iterable[tuple[Tensor, Tensor]]
Mix = Callable[[Tensor, Tensor], Iterable[Tensor]]
Pass = Callable[[], Any]


@dataclass(frozen=True)
class Task:
    """What all cases get: images (N, 3, 32, 32) uint8 and labels (N,) int64, of which only whole batches are made.

    ``workers`` are those of the loaders that have some, ``width`` the channels of the network's first stage.
    """

    images: Tensor
    labels: Tensor
    batch: int
    workers: int
    width: int
    device: torch.device

    @property
    def batches(self) -> int:
        """Whole batches in a pass."""
        return len(self.images) // self.batch


class OneByOne:
    """Images as usual loops read them: one at a time, through a transform of PIL images, else of (3, H, W) tensors."""

    def __init__(self, task: Task, transform: Callable[[Any], Any], *, pil: bool) -> None:
        self._images: Any = task.images.permute(0, 2, 3, 1).contiguous().numpy() if pil else task.images
        self._labels = task.labels.tolist()
        self._transform, self._pil = transform, pil

    def __len__(self) -> int:
        return len(self._labels)

    def __getitem__(self, index: int) -> tuple[Any, int]:
        from PIL import Image

        image = self._images[index]
        return self._transform(Image.fromarray(image) if self._pil else image), self._labels[index]


def plain_epoch(task: Task, batches: Batches, mix: Mix | None) -> Pass:
    """An epoch through a loop as tutorials write it: same network, same optimiser, a loss that nobody reads."""
    torch.manual_seed(0)
    model = PreActResNet18(CLASSES, width=task.width).to(task.device)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9, weight_decay=1e-4)

    def epoch() -> None:
        model.train()
        for x, y in batches:
            mixed, target = (x, y) if mix is None else mix(x, y)
            loss = cross_entropy(model(mixed), target)
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()

    return epoch


def usual_batches(task: Task, *, kind: str, workers: int) -> Batches:
    """The same augmentation through torchvision and torch's loader."""
    pil = kind == "v1 on PIL"
    chain = usual_transform(lambda made: made.RandomCrop(SIDE, padding=4), pil=pil, mean=MEAN, std=STD)
    images = OneByOne(task, chain, pil=pil)
    return usual_loader(images, batch=task.batch, workers=workers, device=task.device, drop_last=True)


def usual_transform(
    crop: Callable[[Any], Any], *, pil: bool, mean: Sequence[float], std: Sequence[float]
) -> Callable[[Any], Any]:
    """Crop, flip, scale and normalise PIL images by torchvision's first transforms, or tensors of bytes by its second.

    ``crop`` makes its part from the one of the two that is used.
    """
    from torchvision import transforms
    from torchvision.transforms import v2

    made: Any = transforms if pil else v2
    convert = transforms.ToTensor() if pil else v2.ToDtype(torch.float32, scale=True)
    chain: Callable[[Any], Any] = made.Compose(
        [crop(made), made.RandomHorizontalFlip(), convert, made.Normalize(mean, std)]
    )
    return chain


def usual_loader(images: Any, *, batch: int, workers: int, device: torch.device, drop_last: bool = False) -> Batches:
    """Shuffled batches on the device from torch's loader, whose processes stay between passes."""
    loader: DataLoader[Any] = DataLoader(
        images,
        batch_size=batch,
        shuffle=True,
        drop_last=drop_last,
        num_workers=workers,
        persistent_workers=workers > 0,
        pin_memory=device.type == "cuda",
    )
    return OnDevice(loader, device)


def drain(batches: Batches) -> None:
    """Take every batch of a pass."""
    for _ in batches:
        pass


class OnDevice:
    """Batches (images, labels) of a loader, moved to a device."""

    def __init__(self, loader: DataLoader[Any], device: torch.device) -> None:
        self._loader, self._device = loader, device

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        for x, y in self._loader:
            yield x.to(self._device, non_blocking=True), y.to(self._device, non_blocking=True)


def timm_mix(mixup: float, cutmix: float) -> Mix:
    """The mixing of timm with these two α; 0 leaves one out."""
    from timm.data import Mixup

    mix: Mix = Mixup(mixup_alpha=mixup, cutmix_alpha=cutmix, label_smoothing=0.0, num_classes=CLASSES)
    return mix
