"""Boxes in lines of text."""

import pytest

from alignmixup.data.box_csv import read_box_csv, read_metadata


@pytest.mark.parametrize("header", ["", "path,x0,y0,x1,y1\n", "\ufeffimage,left,top,right,bottom\n"])
def test_several_lines_per_image_and_an_optional_header(tmp_path, header):
    file = tmp_path / "boxes.csv"
    file.write_text(f'{header}a.jpg,1,2,3,4\n\n"b, c.jpg", 5,6.0 ,7,8\na.jpg,0,0,9,9\n', encoding="utf-8")
    table = read_box_csv(file)
    assert table.boxes == {"a.jpg": [(1, 2, 3, 4), (0, 0, 9, 9)], "b, c.jpg": [(5, 6, 7, 8)]}
    assert table.sizes == {}
    assert table.complete


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a.jpg,1,2,3\n", "line 1: 4 columns, expected 5"),
        ("a.jpg,1,2,3,4\nb.jpg,1,2,3.5,4\n", "line 2: the corners of a box must be whole numbers, got 1, 2, 3.5, 4"),
        ("a.jpg,1,2,3,4\npath,x0,y0,x1,y1\n", "line 2: the corners of a box must be whole numbers"),
        ("path,x0,y0,x1,y1\n", "holds no box"),
        ("", "holds no box"),
    ],
)
def test_other_lines_are_refused(tmp_path, text, message):
    file = tmp_path / "boxes.csv"
    file.write_text(text)
    with pytest.raises(ValueError, match=message):
        read_box_csv(file)


def test_files_that_are_no_text_or_absent(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"no boxes at .*boxes.csv"):
        read_box_csv(tmp_path / "boxes.csv")
    (tmp_path / "boxes.csv").write_bytes(b"\xff\xfe\x00,")
    with pytest.raises(ValueError, match=r"is not a text file \(UTF-8\) with lines of path,x0,y0,x1,y1"):
        read_box_csv(tmp_path / "boxes.csv")


def test_metadata_with_and_without_sizes(tmp_path):
    (tmp_path / "localization.txt").write_text("a/1.jpg,60,27,385,331\na/2.jpg,1,2,3,4\na/1.jpg,0,0,1,1\n")
    assert read_metadata(tmp_path).sizes == {}
    (tmp_path / "image_sizes.txt").write_text("a/1.jpg,500,335\na/2.jpg,50,60\n")
    table = read_metadata(tmp_path)
    assert table.boxes["a/1.jpg"] == [(60, 27, 385, 331), (0, 0, 1, 1)]
    assert table.sizes == {"a/1.jpg": (500, 335), "a/2.jpg": (50, 60)}
    assert not table.complete


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a.jpg,5,5\na.jpg,5,5\n", "line 2: a.jpg is there twice"),
        ("a.jpg,0,5\n", "line 1: a.jpg has 0x5 pixels"),
        ("a.jpg,5\n", "line 1: 2 columns, expected 3"),
        ("a.jpg,5,x.5\n", "width and height must be whole numbers"),
    ],
)
def test_damaged_sizes(tmp_path, text, message):
    (tmp_path / "localization.txt").write_text("a.jpg,1,2,3,4\n")
    (tmp_path / "image_sizes.txt").write_text(text)
    with pytest.raises(ValueError, match=message):
        read_metadata(tmp_path)
