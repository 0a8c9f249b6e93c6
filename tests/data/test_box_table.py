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


def test_whole_numbers():
    assert whole_numbers(["12", "3.0", "-1"], place="line 1", meaning="corners") == [12, 3, -1]
    for wrong in (["1.5"], ["a"], ["nan"], ["inf"], [""], []):
        with pytest.raises(ValueError, match="line 1: corners must be whole numbers, got"):
            whole_numbers(wrong, place="line 1", meaning="corners")
