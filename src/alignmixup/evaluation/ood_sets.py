"""Out-of-distribution images by name, in the shape and normalisation of the data set that a network was trained on."""

import functools
import zlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from alignmixup import data
from alignmixup.data.dataset import ImageData, Split
from alignmixup.data.decode import decode_all, scaled_center
from alignmixup.data.loaders import Normalizer
from alignmixup.data.order import mix_seed
from alignmixup.data.sets.listing import IMAGE_SUFFIXES, few, list_images
from alignmixup.data.transforms.resize import resize
from alignmixup.evaluation.corruptions.weather import luma
from alignmixup.near import near

OOD_SETS = ("uniform", "gaussian", "cifar10", "cifar100", "tiny-imagenet-crop", "tiny-imagenet-resize", "digits")
"""Names that ``build_ood_set`` knows, besides ``folder:PATH``."""

_FOLDER = "folder:"
_NOISE_BLOCK = 64  # images that share a stream: the same numbers for any batch size


@dataclass(frozen=True, eq=False)
class OodSet:
    """Batches of (images (B, C, H, H) float32, normalised as the in-distribution images; labels (B,), all zero).

    ``pixels(start, stop)`` are images before normalisation, float32 in [0, 1], on the CPU. ``notes`` say what to know
    when reading results: where the images come from, which classes both sets have.
    """

    name: str
    num_images: int
    notes: tuple[str, ...]
    pixels: Callable[[int, int], Tensor] = field(repr=False)
    _normalizer: Normalizer = field(repr=False)
    _batch_size: int
    _device: torch.device

    def __len__(self) -> int:
        """Batches."""
        return (self.num_images + self._batch_size - 1) // self._batch_size

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield the batches, the same ones each time."""
        for start in range(0, self.num_images, self._batch_size):
            images = self.pixels(start, min(start + self._batch_size, self.num_images)).to(self._device)
            yield self._normalizer(images * 255), torch.zeros(len(images), dtype=torch.int64, device=self._device)


def build_ood_set(
    name: str,
    *,
    like: ImageData,
    root: str | Path = "data",
    count: int = 10_000,
    seed: int = 0,
    batch_size: int = 256,
    device: torch.device | str = "cpu",
) -> OodSet:
    """Out-of-distribution images for a network trained on ``like``, in batches on ``device``.

    Convention:
        - ``name`` is one of ``OOD_SETS``, looked for in ``root``, or ``folder:PATH`` for any images below PATH, scaled
          and centre-cropped.
        - ``uniform``: i.i.d. U[0, 1] per pixel and channel; ``gaussian``: i.i.d. N(0.5, 1) cut to [0, 1]. Both are
          drawn as pixels, BEFORE the normalisation with the mean and the standard deviation of ``like``.
        - ``tiny-imagenet-crop`` cuts a random window of the size of ``like`` out of the 64x64 images,
          ``tiny-imagenet-resize`` scales them, with antialiasing. The widely shared folders of that name were scaled
          with other software, whose artefacts make them easier: numbers differ.
        - Grey and colour are adapted to ``like``: grey repeated, colour weighed by ITU-R BT.601.
        - Where a set holds more than ``count`` images, a random choice that depends on ``seed`` is taken, in its order;
          noise and crops depend on it too.

    Raises:
        ValueError: an unknown name, the in-distribution set itself, an empty folder, or a count or batch size below 1.
        FileNotFoundError: a missing data set or folder.

    Source:
        Liang et al., Enhancing the reliability of out-of-distribution image detection in neural networks, ICLR 2018
        (the sets).
    """
    if count < 1 or batch_size < 1:
        raise ValueError(f"count and batch_size must be >= 1, got {count} and {batch_size}")
    _refuse_itself(name, like)
    pixels, available, notes = _source(name, like, Path(root), count, seed)
    if available < count:
        notes = (*notes, f"{available} images: fewer than the {count} asked for")
    target = torch.device(device)
    normalizer = Normalizer(like.mean, like.std, device=target, channels_last=False)
    return OodSet(name, min(available, count), notes, pixels, normalizer, batch_size, target)


_Source = tuple[Callable[[int, int], Tensor], int, tuple[str, ...]]


def _source(name: str, like: ImageData, root: Path, count: int, seed: int) -> _Source:
    if name in ("uniform", "gaussian"):
        shape = (like.channels, like.image_size, like.image_size)
        return functools.partial(_noise, name, shape, seed), count, ("drawn as pixels, before normalisation",)
    if name.startswith(_FOLDER):
        return _folder(Path(name.removeprefix(_FOLDER)).expanduser(), like, count, seed)
    images, notes = _named_images(name, like, root)
    kept = _choice(len(images), count, seed)
    images = images[kept]
    if name == "tiny-imagenet-crop":
        images = _random_crops(images, like.image_size, seed)
    images = resize(images, like.image_size)

    def pixels(start: int, stop: int) -> Tensor:
        return _with_channels(images[start:stop].float() / 255, like.channels)

    return pixels, len(images), notes


def _named_images(name: str, like: ImageData, root: Path) -> tuple[Tensor, tuple[str, ...]]:
    """All images of a set as (N, C, H, H) uint8 of its own size, and notes."""
    if name == "digits":
        dataset = data.load("digits")
        images = torch.cat([split.images for split in (dataset.train, dataset.test) if isinstance(split, Split)])
        return images, ("all 1,797 digits of scikit-learn, 8x8, scaled",)
    source = "tiny-imagenet" if name.startswith("tiny-imagenet") else name
    dataset = data.load(source, root=root)
    assert isinstance(dataset.test, Split)
    if name == "tiny-imagenet-crop" and like.image_size > dataset.image_size:
        size = f"{dataset.image_size}x{dataset.image_size}"
        raise ValueError(
            f"tiny-imagenet-crop cannot cut {like.image_size} pixels out of {size} images: use tiny-imagenet-resize"
        )
    notes = [f"{len(dataset.test):,} test images of {source}"]
    if source == "tiny-imagenet":
        notes = [f"{len(dataset.test):,} validation images (published tables use the 10,000 of its test folder)"]
    shared = _shared_words(dataset.class_names, like.class_names)
    if shared:
        notes.append(f"classes that share a word with {like.name}: {', '.join(shared)}")
    return dataset.test.images, tuple(notes)


def _folder(folder: Path, like: ImageData, count: int, seed: int) -> _Source:
    if not folder.is_dir():
        raise FileNotFoundError(f"{folder} is no folder: expected images in it, at any depth (folder:PATH)")
    paths, _ = list_images(folder)
    if not paths:
        raise ValueError(f"{folder} holds no image ({', '.join(IMAGE_SUFFIXES)}), at any depth")
    if shared := _of_the_set_itself(paths, folder, like):
        raise ValueError(
            f"{folder} holds {len(shared)} images of the in-distribution set {like.name} ({few(shared, 2)}): choose "
            "others"
        )
    chosen = [paths[index] for index in _choice(len(paths), count, seed).tolist()]

    def centred(image: Any, _path: Path) -> Any:
        return scaled_center(image, like.image_size)

    def pixels(start: int, stop: int) -> Tensor:
        # decoded in their turn: ten thousand large images would fill the memory
        images = decode_all(chosen[start:stop], centred, size=like.image_size, title="", progress=False)
        return _with_channels(images.float() / 255, like.channels)

    return pixels, len(chosen), (f"{len(paths):,} images below {folder.name}, scaled and centre-cropped",)


def _of_the_set_itself(paths: Sequence[Path], folder: Path, like: ImageData) -> list[str]:
    """Names of those images below a folder that are of the data set, for training or for testing."""
    place = folder.resolve()
    known: set[Path] = set()
    training: set[Path] = set()  # of sets that list no training images
    for split in (like.train, like.test):
        root = split.root and split.root.resolve()
        if root and (root.is_relative_to(place) or place.is_relative_to(root)):
            known.update((root / path).resolve() for path in split.paths or ())
            training.update({root / "train"} if like.test_only else ())
    if not known:
        return []
    return [path.name for path in paths if path.resolve() in known or training & {*path.resolve().parents}]


def _refuse_itself(name: str, like: ImageData) -> None:
    known = (*OOD_SETS, f"{_FOLDER}PATH")
    if name not in OOD_SETS and not name.startswith(_FOLDER):
        raise ValueError(f"unknown out-of-distribution set {name!r}; {near(name, known)}")
    if name.removesuffix("-crop").removesuffix("-resize") == like.name:
        raise ValueError(f"{name} is the in-distribution set itself ({like.name}): choose others of {', '.join(known)}")


def _choice(available: int, count: int, seed: int) -> Tensor:
    if available <= count:
        return torch.arange(available)
    generator = torch.Generator().manual_seed(mix_seed(seed, 1))
    return torch.randperm(available, generator=generator)[:count].sort().values


def _noise(name: str, shape: Sequence[int], seed: int, start: int, stop: int) -> Tensor:
    first = start // _NOISE_BLOCK
    blocks = []
    for block in range(first, -(-stop // _NOISE_BLOCK)):
        generator = torch.Generator().manual_seed(mix_seed(seed, zlib.crc32(name.encode()), block))
        if name == "uniform":
            blocks.append(torch.rand(_NOISE_BLOCK, *shape, generator=generator))
        else:
            blocks.append((0.5 + torch.randn(_NOISE_BLOCK, *shape, generator=generator)).clamp(0, 1))
    return torch.cat(blocks)[start - first * _NOISE_BLOCK : stop - first * _NOISE_BLOCK]


def _random_crops(images: Tensor, size: int, seed: int) -> Tensor:
    generator = torch.Generator().manual_seed(mix_seed(seed, 2))
    corner = torch.randint(images.shape[-1] - size + 1, (2, len(images), 1, 1), generator=generator)
    line = torch.arange(size)
    rows, columns = corner[0] + line.view(1, -1, 1), corner[1] + line.view(1, 1, -1)
    return images[torch.arange(len(images)).view(-1, 1, 1), :, rows, columns].permute(0, 3, 1, 2).contiguous()


def _with_channels(images: Tensor, channels: int) -> Tensor:
    if images.shape[1] == channels:
        return images
    if images.shape[1] == 1:
        return images.expand(-1, channels, -1, -1)
    if channels == 1:
        return luma(images)
    raise ValueError(f"images of {images.shape[1]} channels cannot be shown to a network for {channels}")


def _shared_words(first: Sequence[str], second: Sequence[str]) -> list[str]:
    def words(names: Sequence[str]) -> set[str]:
        return {word for name in names for word in name.lower().replace("_", " ").replace("-", " ").split()}

    common = words(first) & words(second)
    return sorted(name for name in first if words([name]) & common)
