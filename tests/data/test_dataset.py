import pickle

import pytest
import torch

from alignmixup.data.dataset import FileSplit, ImageData, PathList, Split


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
        ({"std": (0.2, 0.0, 0.2)}, "std > 0"),
    ],
)
def test_bad_data_sets(changes, message):
    with pytest.raises(ValueError, match=message):
        image_data(**changes)


def test_paths_are_one_for_each_image():
    with pytest.raises(ValueError, match="paths must be one for each of 2 images, got 1"):
        Split(split().images, split().labels, paths=PathList(["a.png"]))
