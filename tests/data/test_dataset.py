import itertools
import os
import pickle
import shutil

import pytest
import torch
from PIL import Image

from alignmixup import data
from alignmixup.data.dataset import FileSplit, ImageData, PathList, Split
from alignmixup.data.loaders import BatchLoader


def split(labels=(0, 1), *, side: int = 4) -> Split:
    return Split(torch.zeros(len(labels), 3, side, side, dtype=torch.uint8), torch.tensor(labels))


def image_data(**changes) -> ImageData:
    options = {"name": "toy", "train": split(), "test": split(), "class_names": ("a", "b")}
    options |= {"mean": (0.5,) * 3, "std": (0.2,) * 3, "image_size": 4, "augment": "none"}
    return ImageData(**{**options, **changes})


def test_properties():
    dataset = image_data()
    assert (dataset.num_classes, dataset.channels, dataset.in_memory, len(dataset.train)) == (2, 3, True, 2)


def test_select_takes_boxes_and_paths_along():
    images = torch.arange(3, dtype=torch.uint8).view(3, 1, 1, 1)
    boxes = torch.arange(12).view(3, 4)
    paths = PathList(["a.png", "b.png", "c.png"])
    chosen = Split(images, torch.tensor([5, 6, 7]), boxes, paths).select(torch.tensor([2, 0]))
    assert chosen.images.flatten().tolist() == [2, 0]
    assert chosen.labels.tolist() == [7, 5]
    assert chosen.boxes is not None
    assert chosen.boxes[:, 0].tolist() == [8, 0]
    assert chosen.paths is not None
    assert list(chosen.paths) == ["c.png", "a.png"]
    assert split().select(torch.tensor([1])).paths is None


@pytest.mark.parametrize(
    ("mean", "std"),
    [
        ((127.0,) * 3, (60.0,) * 3),
        ((0.5,) * 3, (60.0,) * 3),
        ((0.5, 0.5), (0.2,) * 3),
        ((), ()),
        ((0.5,) * 3, (0.2, 0.0, 0.2)),
        ((float("nan"),) * 3, (0.2,) * 3),
        ((0.5,) * 3, (float("nan"),) * 3),
    ],
)
def test_constants_that_are_none_in_units_of_pixels_are_refused_everywhere(mean, std):
    """Those of bytes would blacken every image."""
    text = f"{','.join(map(str, mean))}/{','.join(map(str, std))}"
    for make in (
        lambda: image_data(mean=mean, std=std),
        lambda: BatchLoader(split(), batch_size=2, mean=mean, std=std),
        lambda: data.load("digits", normalization=text),
    ):
        with pytest.raises(ValueError, match=r"as many finite means|is not MEAN|one value per channel"):
            make()


@pytest.fixture
def folder(tmp_path):
    for split, name, number in itertools.product(("train", "test"), ("cat", "dog"), range(3)):
        file = tmp_path / "set" / split / name / f"{number}.png"
        file.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (8, 8), (number, 0, 0)).save(file)
    return tmp_path / "set"


def digests(root, **how):
    return data.load("folder", root=root, image_size=8, progress=False, cache=False, **how).image_digests()


def changes(root):
    """What may be done to the images of a folder, and whose digests change."""
    yield "touched", lambda: os.utime(root / "train/cat/0.png", (0, 0)), {}
    yield "another name", lambda: (root / "train/cat/1.png").rename(root / "train/cat/3.png"), {"training": [0]}
    yield "another size", lambda: Image.new("RGB", (9, 30)).save(root / "test/dog/1.png"), {"test": [1]}
    yield (
        "moved between classes",
        lambda: (root / "train/cat/0.png").rename(root / "train/dog/7.png"),
        {"training": [0, 1]},
    )
    yield "one less", (root / "test/cat/0.png").unlink, {"test": [0]}


@pytest.mark.parametrize("in_memory", [False, True])
def test_digests_tell_which_files_a_class_consists_of(folder, tmp_path, in_memory):
    before = digests(folder, in_memory=in_memory)
    assert {split: len(each) for split, each in before.items()} == {"training": 2, "test": 2}
    for what, change, expected in changes(folder):
        change()
        now = digests(folder, in_memory=in_memory)
        differing = {split: [k for k in range(2) if now[split][k] != before[split][k]] for split in before}
        assert {split: classes for split, classes in differing.items() if classes} == expected, what
        before = now
    shutil.copytree(folder, tmp_path / "copy")
    assert digests(tmp_path / "copy", in_memory=in_memory) == before
    assert digests(folder, in_memory=in_memory, subset=1) != before


def test_images_without_files_have_no_digests():
    assert data.load("digits").image_digests() == {}
    assert image_data().image_digests() == {}


def test_path_list_goes_through_its_blocks():
    names = [f"{number}/ä.png" * (number % 3) for number in range(10_000)]
    assert list(PathList(names)) == names


def test_path_list_holds_any_name_and_travels():
    names = ["a/b.png", "", "ä/ü é.JPEG", "bad\udcff.png"]
    paths = pickle.loads(pickle.dumps(PathList(names)))
    assert list(paths) == names
    assert len(PathList([])) == 0
    with pytest.raises(IndexError, match=r"index 4 is outside \[0, 4\)"):
        paths[4]
    assert list(paths.select(torch.tensor([2, 0]))) == ["ä/ü é.JPEG", "a/b.png"]


def test_file_split_select(tmp_path):
    files = FileSplit(tmp_path, PathList(["a", "b", "c"]), torch.tensor([0, 1, 2]))
    chosen = files.select(torch.tensor([2, 1]))
    assert list(chosen.paths) == ["c", "b"]
    assert chosen.labels.tolist() == [2, 1]


@pytest.mark.parametrize(
    ("images", "labels", "message"),
    [
        (torch.zeros(2, 3, 4, 4), torch.zeros(2, dtype=torch.int64), "images must be uint8"),
        (torch.zeros(2, 3, 4, dtype=torch.uint8), torch.zeros(2, dtype=torch.int64), "images must be uint8"),
        (torch.zeros(2, 3, 4, 4, dtype=torch.uint8), torch.zeros(2), "labels must be int64"),
        (
            torch.zeros(2, 3, 4, 4, dtype=torch.uint8),
            torch.zeros(3, dtype=torch.int64),
            r"labels must be .*\(2,\)",
        ),
    ],
)
def test_bad_splits(images, labels, message):
    with pytest.raises(ValueError, match=message):
        Split(images, labels)


def test_bad_boxes():
    with pytest.raises(ValueError, match=r"boxes must be \(2, 4\), got \(2, 5\)"):
        Split(split().images, split().labels, torch.zeros(2, 5))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"train": split((0, 2))}, r"toy: the training labels must lie in \[0, 2\).* range from 0 to 2"),
        ({"test": split((-1, 0))}, r"toy: the test labels must lie in .* range from -1 to 0"),
        ({"test": split().select(torch.zeros(0, dtype=torch.int64))}, "toy: the test split holds no image"),
        ({"std": (0.2, 0.0, 0.2)}, "as many finite means as positive deviations"),
    ],
)
def test_bad_data_sets(changes, message):
    with pytest.raises(ValueError, match=message):
        image_data(**changes)


def test_paths_are_one_for_each_image():
    with pytest.raises(ValueError, match="paths must be one for each of 2 images, got 1"):
        Split(split().images, split().labels, paths=PathList(["a.png"]))
