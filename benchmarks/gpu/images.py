"""CIFAR-100, or as much of it as fits, in one file that is small to carry."""

import io
import pickle
import zipfile
from pathlib import Path

import numpy as np
from PIL import Image

from alignmixup.data.sets.cifar import load_cifar

CLASSES, SIDE = 100, 32
TEST_SHARE = 5  # training images for each test image


def pack(root: Path, target: Path, *, mib: float) -> tuple[int, int]:
    """Write the first images of each class, lossless, as many as fit into ``mib``; return training and test images.

    Raises:
        ValueError: not even one image of each class fits.
    """
    data = load_cifar("cifar100", root=root)
    splits = {
        name: [split.images[split.labels == label].permute(0, 2, 3, 1).numpy() for label in range(CLASSES)]
        for name, split in (("train", data.train), ("test", data.test))
    }
    sample = _code(np.concatenate([images[:2] for images in splits["train"]]))
    of_image = len(sample) / sum(len(images[:2]) for images in splits["train"])
    affordable = mib * 2**20 / (CLASSES * of_image * (1 + 1 / TEST_SHARE))
    count = min(max(map(len, splits["train"])), int(affordable) + 1)
    while count:
        counts = {"train": count, "test": max(count // TEST_SHARE, 1)}
        coded = {
            f"{split}/{label:02d}.webp": _code(images[: counts[split]])
            for split, of_class in splits.items()
            for label, images in enumerate(of_class)
            if len(images)
        }
        size = sum(map(len, coded.values())) + 200 * len(coded)  # an entry's place in the archive
        if size <= mib * 2**20:
            with zipfile.ZipFile(target, "w") as file:
                file.writestr("names.txt", "\n".join(data.class_names))
                for name, content in coded.items():
                    file.writestr(name, content)
            return tuple(sum(min(len(i), counts[s]) for i in splits[s]) for s in ("train", "test"))
        count = min(count - 1, int(0.99 * count * mib * 2**20 / size))
    raise ValueError(f"--mib {mib} holds not even one image of each class")


def unpack(packed: Path, root: Path) -> Path:
    """Write what `pack` made as ``root/cifar-100-python``, as the official release is; return ``root``."""
    folder = root / "cifar-100-python"
    folder.mkdir(parents=True)
    with zipfile.ZipFile(packed) as file:
        for split in ("train", "test"):
            names = sorted(name for name in file.namelist() if name.startswith(f"{split}/"))
            images = [_decode(file.read(name)) for name in names]
            labels = [int(Path(name).stem) for name, some in zip(names, images, strict=True) for _ in some]
            rows = np.concatenate(images).transpose(0, 3, 1, 2).reshape(len(labels), -1)
            (folder / split).write_bytes(pickle.dumps({"data": rows, "fine_labels": labels}, protocol=2))
        names = file.read("names.txt").decode().split("\n")
        (folder / "meta").write_bytes(pickle.dumps({"fine_label_names": names}, protocol=2))
    return root


def _code(images: np.ndarray) -> bytes:
    coded = io.BytesIO()
    Image.fromarray(images.reshape(-1, SIDE, 3)).save(coded, "WEBP", lossless=True, quality=30, method=2)
    return coded.getvalue()


def _decode(content: bytes) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(content)).convert("RGB")).reshape(-1, SIDE, SIDE, 3)
