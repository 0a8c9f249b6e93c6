"""Tiny fake releases, written as the real ones are."""

import importlib
import pickle
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

numpy = importlib.import_module("numpy")
pil = importlib.import_module("PIL.Image")


def write_cifar_batch(
    path: Path, *, labels_key: str, classes: int, per_class: int, seed: int, protocol: int = 2
) -> None:
    rng = numpy.random.default_rng(seed)
    labels = [int(label) for label in rng.permutation(numpy.repeat(numpy.arange(classes), per_class))]
    pixels = rng.integers(0, 256, (len(labels), 3072), dtype=numpy.uint8)
    with path.open("wb") as file:
        pickle.dump(
            {"data": pixels, labels_key: labels, "filenames": ["x.png"] * len(labels)},
            file,
            protocol=protocol,
        )


@pytest.fixture
def cifar100(tmp_path: Path) -> Path:
    """A root with a CIFAR-100 of 3 training and 1 test image per class."""
    folder = tmp_path / "cifar-100-python"
    folder.mkdir()
    for name, per_class, seed in (("train", 3, 0), ("test", 1, 1)):
        write_cifar_batch(folder / name, labels_key="fine_labels", classes=100, per_class=per_class, seed=seed)
    with (folder / "meta").open("wb") as file:
        pickle.dump({"fine_label_names": [f"class{i}" for i in range(100)]}, file, protocol=2)
    return tmp_path


@pytest.fixture
def cifar10(tmp_path: Path) -> Path:
    """A root with a CIFAR-10 of 2 images per class in each of the six batches."""
    folder = tmp_path / "cifar-10-batches-py"
    folder.mkdir()
    names = [f"data_batch_{i}" for i in range(1, 6)] + ["test_batch"]
    for seed, name in enumerate(names):
        write_cifar_batch(folder / name, labels_key="labels", classes=10, per_class=2, seed=seed, protocol=5)
    with (folder / "batches.meta").open("wb") as file:
        pickle.dump({b"label_names": [b"plane", *(f"class{i}".encode() for i in range(1, 10))]}, file, protocol=5)
    return tmp_path


def write_image(
    path: Path, value: int, *, side: tuple[int, int] = (64, 64), mode: str = "RGB", kind: str = "JPEG"
) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    pil.new(mode, side, value if mode == "L" else (value, 255 - value, 128)).save(path, kind)


@pytest.fixture
def tiny(tmp_path: Path) -> Path:
    """The tree of Tiny-ImageNet with 2 of 3 classes listed; images are of one colour, which names them."""
    root = tmp_path / "tiny-imagenet-200"
    rows = []
    for label, wnid in enumerate(("n02", "n01", "n03")):
        table = []
        for i in range(3):
            mode = "L" if (label, i) == (0, 0) else "RGB"
            write_image(root / "train" / wnid / "images" / f"{wnid}_{i}.JPEG", 40 * label + 10 * i, mode=mode)
            table.append(f"{wnid}_{i}.JPEG\t{i}\t10\t63\t58\n")
        (root / "train" / wnid / f"{wnid}_boxes.txt").write_text("".join(table))
        write_image(root / "val" / "images" / f"val_{label}.JPEG", 200 + label)
        rows.append(f"val_{label}.JPEG\t{wnid}\t0\t1\t2\t3\n")
    (root / "val" / "val_annotations.txt").write_text("".join(rows))
    (root / "wnids.txt").write_text("n02\nn01\n")
    (root / "words.txt").write_text("n01\tshark, white shark\nn02\tgoldfish\n")
    return tmp_path


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """train/ and val/ with two classes of three and two images of various sizes and kinds."""
    for split, count in (("train", 3), ("val", 2)):
        for label, name in enumerate(("cat", "dog")):
            for i in range(count):
                kind, suffix = ("PNG", "png") if i == 0 else ("JPEG", "JPEG")
                path = tmp_path / split / name / f"{i}.{suffix}"
                # no image of val is one of train
                write_image(path, 100 * label + 10 * i + (split == "val"), side=(40 + 10 * i, 60), kind=kind)
    return tmp_path


@pytest.fixture
def damage() -> Callable[[Path, str], None]:
    """Truncate, garble or empty a file."""

    def apply(path: Path, how: str) -> None:
        content = path.read_bytes()
        path.write_bytes({"truncated": content[: len(content) // 2], "garbled": b"\x13garbage" * 40, "empty": b""}[how])

    return apply


@pytest.fixture
def counting_images() -> torch.Tensor:
    """(6, 2, 5, 5) uint8 without two equal pixels in a plane, 0 excluded, so that padding is recognisable."""
    return (
        torch.arange(1, 26, dtype=torch.uint8).view(1, 1, 5, 5)
        + 25 * torch.arange(6, dtype=torch.uint8).view(6, 1, 1, 1)
        + torch.tensor([0, 100], dtype=torch.uint8).view(1, 2, 1, 1)
    )


def draw_bird(path: Path, *, size: tuple[int, int], box: tuple[int, int, int, int], grey: bool = False) -> None:
    """A bright rectangle, the corners of ``box`` included, on a dark ground."""
    image = pil.new("L" if grey else "RGB", size, 20 if grey else (20, 30, 40))
    x0, y0, x1, y1 = box
    image.paste(230 if grey else (220, 60, 200), (x0, y0, x1 + 1, y1 + 1))
    path.parent.mkdir(parents=True, exist_ok=True)
    image.save(path, "JPEG", quality=95)


def write_cub(folder: Path) -> Path:
    """The tree of CUB-200-2011: 4 classes of 3 training and 2 test images of odd sizes; image 2 is grey."""
    root = folder / "CUB_200_2011"
    rows: dict[str, list[str]] = {
        name: [] for name in ("images", "image_class_labels", "train_test_split", "bounding_boxes")
    }
    number = 0
    for label, name in enumerate(("Albatross", "Auklet", "Blackbird", "Bunting"), start=1):
        for i in range(5):
            number += 1
            size = (61 + 7 * i, 47 + 5 * label)
            box = (3 + i, 2 + label, 30 + 4 * i, 28 + 3 * label)
            file = f"{label:03}.{name}/{name}_{i:04}_{number}.jpg"
            draw_bird(root / "images" / file, size=size, box=box, grey=number == 2)
            rows["images"].append(f"{number} {file}")
            rows["image_class_labels"].append(f"{number} {label}")
            rows["train_test_split"].append(f"{number} {int(i in (0, 2, 4))}")
            x0, y0, x1, y1 = box
            rows["bounding_boxes"].append(f"{number} {x0}.0 {y0}.0 {x1 - x0}.0 {y1 - y0}.0")
    rows["classes"] = ["1 001.Albatross", "2 002.Auklet", "3 003.Blackbird", "4 004.Bunting"]
    for name, lines in rows.items():
        (root / f"{name}.txt").write_text("\n".join(lines) + "\n")
    return folder


@pytest.fixture
def cub(tmp_path: Path) -> Path:
    """A root with a small CUB-200-2011."""
    return write_cub(tmp_path)
