"""Matching images with the names that annotations give them."""

from pathlib import Path

import pytest

from alignmixup.data.box_table import BoxTable, whole_numbers

BOX = [(0, 0, 1, 1)]


def table(*names, complete=False):
    return BoxTable(Path("boxes.csv"), dict.fromkeys(names, BOX), complete=complete)


@pytest.mark.parametrize(
    ("names", "path", "key"),
    [
        (("val/a/1.jpg", "1.jpg"), "val/a/1.jpg", "val/a/1.jpg"),
        (("a/1.jpg", "1.jpg"), "val/a/1.jpg", "a/1.jpg"),
        (("1.jpg", "2.jpg"), "val/a/1.jpg", "1.jpg"),
        (("val/1.jpg", "val/2.jpg"), "val/a/1.jpg", "val/1.jpg"),  # the flat release of ILSVRC
        (("a/1.jpg",), "val\\a\\1.jpg", "a/1.jpg"),
        (("/home/x/val/a/1.jpg", "/home/x/val/b/1.jpg"), "val/a/1.jpg", "/home/x/val/a/1.jpg"),
    ],
)
def test_the_longest_name_counts(names, path, key):
    assert table(*names).match([path], Path()) == [key]


@pytest.mark.parametrize(
    ("names", "paths"),
    [
        (("1.png",), ["a/1.jpg"]),
        (("b/1.jpg",), ["a/1.jpg"]),  # another class's image of that name
        (("val/1.jpg",), ["val/a/1.jpg", "val/b/1.jpg"]),
    ],
)
def test_other_images_of_the_same_name_are_not_taken(names, paths):
    with pytest.raises(ValueError, match=f"boxes.csv has no box for {len(paths)} of {len(paths)} images .{paths[0]}"):
        table(*names).match(paths, Path())


def test_a_complete_table_names_no_images_that_are_not_there(tmp_path):
    (tmp_path / "3.jpg").touch()
    names = ("1.jpg", "2.jpg", "3.jpg")
    assert table(*names).match(["1.jpg"], tmp_path) == ["1.jpg"]
    with pytest.raises(ValueError, match=r"boxes.csv names 1 images that are not below .* \(2.jpg"):
        table(*names, complete=True).match(["1.jpg"], tmp_path)


@pytest.mark.parametrize(
    ("names", "paths", "message"),
    [
        (
            ("0.jpg",),
            ["val/a/0.jpg", "val/b/0.jpg"],
            "0.jpg means 2 images .val/a/0.jpg, val/b/0.jpg.: write paths from",
        ),
        (("a/0.jpg",), ["val/x/a/0.jpg", "val/y/a/0.jpg"], "a/0.jpg means 2 images"),
        (("b/1.jpg", "0.jpg"), ["val/a/0.jpg", "val/b/1.jpg", "val/c/0.jpg"], "0.jpg means 2 images"),
        (("/x/val/a/0.jpg", "/y/val/a/0.jpg"), ["val/a/0.jpg"], "names val/a/0.jpg in 2 ways .*: keep one of them"),
    ],
)
def test_names_that_could_mean_several_images_are_refused(names, paths, message):
    with pytest.raises(ValueError, match=message):
        table(*names).match(paths, Path())


def test_a_short_name_may_stand_beside_the_whole_one_of_another_image():
    names = ("val/a/0.jpg", "0.jpg")
    assert table(*names).match(["val/a/0.jpg", "val/b/0.jpg"], Path()) == ["val/a/0.jpg", "0.jpg"]


@pytest.mark.parametrize(
    "key", ["/home/me/set/train/a/9.jpg", "C:/set/train/a/9.jpg", "train/a/9.jpg", "set/train/a/9.jpg"]
)
def test_images_of_other_splits_are_not_lost(tmp_path, key):
    (tmp_path / "train/a").mkdir(parents=True)
    (tmp_path / "train/a/9.jpg").touch()
    assert table("val/a/1.jpg", key, complete=True).match(["val/a/1.jpg"], tmp_path) == ["val/a/1.jpg"]


def test_whole_numbers():
    assert whole_numbers(["12", "3.0", "-1"], place="line 1", meaning="corners") == [12, 3, -1]
    for wrong in (["1.5"], ["a"], ["nan"], ["inf"], [""], []):
        with pytest.raises(ValueError, match="line 1: corners must be whole numbers, got"):
            whole_numbers(wrong, place="line 1", meaning="corners")
