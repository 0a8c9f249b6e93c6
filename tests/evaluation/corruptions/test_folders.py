"""Released folders, written small."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image

from alignmixup.data.dataset import ImageData, Split
from alignmixup.data.label_map import in_outputs, named_outputs, with_outputs
from alignmixup.data.splits import hold_out
from alignmixup.evaluation.corruptions.folders import class_folders, open_folder

LABELS = torch.tensor([2, 0, 1])
SPLIT = Split(torch.zeros(3, 3, 8, 8, dtype=torch.uint8), LABELS)
FOUR = Split(torch.zeros(4, 3, 8, 8, dtype=torch.uint8), torch.tensor([0, 0, 1, 1]))


@pytest.fixture
def arrays(tmp_path):
    """Image i of severity s of kind k is of the one colour 100 k + 10 s + i."""
    for number, kind in enumerate(("fog", "snow")):
        colours = [100 * number + 10 * severity + i for severity in range(1, 6) for i in range(3)]
        array = np.broadcast_to(np.array(colours, np.uint8)[:, None, None, None], (15, 8, 8, 3))
        np.save(tmp_path / f"{kind}.npy", array)
    np.save(tmp_path / "labels.npy", np.tile(LABELS.numpy(), 5).astype(np.uint8))
    return tmp_path


@pytest.fixture
def tree(tmp_path):
    for number, kind in enumerate(("fog", "snow")):
        for severity in (1, 5):
            for label, name in enumerate(("n2", "n1")):
                folder = tmp_path / kind / str(severity) / name
                folder.mkdir(parents=True)
                for i in range(2):
                    Image.new("RGB", (8, 8), (100 * number + 10 * severity + 2 * label + i,) * 3).save(
                        folder / f"{i}.png"
                    )
    return tmp_path


def read(folder, kind, severity, batch_size=2):
    batches = list(folder.batches(kind, severity, batch_size))
    images, labels = (torch.cat(parts) for parts in zip(*batches, strict=True))
    return len(batches), images, labels


def test_severities_of_an_array_stand_one_after_the_other(arrays):
    folder = open_folder(arrays, like=SPLIT, kinds=["fog", "snow"], severities=[1, 4])
    count, images, labels = read(folder, "snow", 4)
    assert (count, folder.images) == (2, 3)
    assert images.dtype == torch.uint8
    assert images.shape == (3, 3, 8, 8)
    assert images[:, 0, 0, 0].tolist() == [140, 141, 142]
    assert labels.tolist() == LABELS.tolist()


def test_classes_of_a_tree_have_the_labels_given(tree):
    folder = open_folder(tree, like=FOUR, kinds=["fog", "snow"], severities=[1, 5], class_folders=["n2", "n1"])
    count, images, labels = read(folder, "snow", 5, batch_size=3)
    assert (count, folder.images) == (2, 4)
    assert images[:, 0, 0, 0].tolist() == [150, 151, 152, 153]
    assert labels.tolist() == [0, 0, 1, 1]


def test_as_many_images_are_read_as_there_are_clean_ones_and_in_arrays_the_same(arrays, tree):
    """The part that ``--limit`` takes; the trees and the arrays of the fixtures lie in one folder."""
    chosen = hold_out(LABELS, 2, seed=5)[1]
    part = SPLIT.select(chosen)
    of_arrays = open_folder(arrays, like=part, kinds=["fog"], severities=[1], seed=5)
    _, images, labels = read(of_arrays, "snow", 4)
    assert images[:, 0, 0, 0].tolist() == [140 + number for number in chosen.tolist()]
    assert labels.tolist() == part.labels.tolist()
    (tree / "labels.npy").unlink()
    of_tree = open_folder(tree, like=part, kinds=["fog"], severities=[1], class_folders=["n2", "n1"], seed=5)
    _, images, labels = read(of_tree, "fog", 1, batch_size=1)
    assert labels.tolist() == [0, 1]
    assert torch.equal(read(of_tree, "snow", 5)[1], images + 140)  # the same files of each kind and severity
    assert (of_arrays.seed, of_tree.seed) == (5, 5)


def test_the_seed_says_whether_and_how_images_were_chosen(arrays, tree):
    """A mean corruption error of other images is refused by it; where all are read, any seed is the same."""
    asked = {"kinds": ["fog"], "severities": [1], "class_folders": ["n2", "n1"], "seed": 5}
    assert open_folder(arrays, like=SPLIT, **asked).seed is None
    (tree / "labels.npy").unlink()
    assert open_folder(tree, like=FOUR, **asked).seed is None


def test_a_tree_needs_all_classes_and_their_names(tree):
    with pytest.raises(ValueError, match="in the order of the labels"):
        open_folder(tree, like=SPLIT, kinds=["fog"], severities=[1])
    with pytest.raises(FileNotFoundError, match="n3 holds no image"):
        open_folder(tree, like=SPLIT, kinds=["fog"], severities=[1], class_folders=["n1", "n3"])
    (tree / "fog" / "1" / "n1" / "0.png").unlink()
    with pytest.raises(ValueError, match="3 to 4 images"):
        open_folder(tree, like=SPLIT, kinds=["fog", "snow"], severities=[1], class_folders=["n1", "n2"])
    larger = Split(torch.zeros(3, 3, 9, 9, dtype=torch.uint8), LABELS)
    folder = open_folder(tree, like=larger, kinds=["snow"], severities=[1], class_folders=["n1", "n2"])
    with pytest.raises(ValueError, match=r"\(8, 8\) pixels, expected 9x9"):
        read(folder, "snow", 1)


def test_missing_parts_are_named(arrays, tmp_path):
    with pytest.raises(FileNotFoundError, match="is no folder"):
        open_folder(tmp_path / "none", like=SPLIT, kinds=["fog"], severities=[1])
    with pytest.raises(FileNotFoundError, match=r"frost\.npy is missing"):
        open_folder(arrays, like=SPLIT, kinds=["frost"], severities=[1])
    (arrays / "labels.npy").unlink()
    with pytest.raises(FileNotFoundError, match=r"neither labels\.npy"):
        open_folder(arrays, like=SPLIT, kinds=["frost"], severities=[1])


def test_arrays_must_fit_the_data(arrays):
    larger = Split(torch.zeros(3, 3, 9, 9, dtype=torch.uint8), LABELS)
    with pytest.raises(ValueError, match=r"expected uint8 \(15, 9, 9, 3\)"):
        open_folder(arrays, like=larger, kinds=["fog"], severities=[1])
    for other in ([0, 1, 3], [0, 1, 1]):
        labels = Split(SPLIT.images, torch.tensor(other))
        with pytest.raises(ValueError, match="belongs to another data set"):
            open_folder(arrays, like=labels, kinds=["fog"], severities=[1])
    part = Split(SPLIT.images[:2], torch.tensor([0, 1]))
    assert open_folder(arrays, like=part, kinds=["fog"], severities=[1]).images == 2


@pytest.mark.parametrize(
    ("labels", "message"), [([0, 1], "five times over"), ([2, 0, 1] * 4 + [2, 1, 0], "repeat the same labels")]
)
def test_labels_must_repeat(arrays, labels, message):
    np.save(arrays / "labels.npy", np.array(labels, np.uint8))
    with pytest.raises(ValueError, match=message):
        open_folder(arrays, like=SPLIT, kinds=["fog"], severities=[1])


def test_labels_of_a_label_map_are_those_of_the_released_images(arrays):
    asked = {"kinds": ["fog"], "severities": [1], "class_labels": [7, 3, 5]}
    like = replace(SPLIT, labels=torch.tensor([5, 7, 3]))
    _, images, labels = read(open_folder(arrays, like=like, **asked), "fog", 1)
    assert images[:, 0, 0, 0].tolist() == [10, 11, 12]
    assert labels.tolist() == [5, 7, 3]
    with pytest.raises(ValueError, match=r"labels from 0 to 2 and the data set 2 classes: it belongs to another"):
        open_folder(arrays, like=like, **asked | {"class_labels": [7, 3]})


def test_labels_of_a_label_map_are_those_of_a_released_tree(tree):
    asked = {"kinds": ["fog"], "severities": [1], "class_folders": ["n2", "n1"], "class_labels": [5, 5]}
    _, images, labels = read(open_folder(tree, like=FOUR, **asked), "fog", 1)
    assert images[:, 0, 0, 0].tolist() == [10, 11, 12, 13]
    assert labels.tolist() == [5] * 4


def test_names_of_class_folders(tmp_path):
    def dataset(name):
        return ImageData(name, SPLIT, SPLIT, ("a", "b", "c"), (0.0,) * 3, (1.0,) * 3, 8, "crop1")

    assert class_folders(dataset("folder"), root=tmp_path) == ("a", "b", "c")
    mapped = with_outputs(
        dataset("folder"), {"a": 3, "b": 0, "c": 3}, count=5, source="map"
    )  # two folders of one output
    for one, labels in ((mapped, [3, 0, 3]), (in_outputs(mapped, named_outputs(mapped)), [1, 0, 1])):
        assert class_folders(one, root=tmp_path) == ("a", "b", "c")
        assert [label for _, label in one.sources] == labels
    (tmp_path / "tiny-imagenet-200").mkdir()
    (tmp_path / "tiny-imagenet-200" / "wnids.txt").write_text("n02\nn01\n")
    for root in (tmp_path, tmp_path / "tiny-imagenet-200"):
        assert class_folders(dataset("tiny-imagenet"), root=root) == ("n02", "n01")
