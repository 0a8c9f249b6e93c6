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


NAMES = ["test/cat/a.jpg", "test/cat/b, c.jpg", "test/dog/d;e.jpg", "test/dog/ü f.jpg"]
BOXES = [(0, 1, 2, 3), (4, 5, 6, 7), (8, 9, 10, 11), (0, 0, 0, 0)]


def quoted(name: str, separator: str) -> str:
    return f'"{name}"' if separator in name else name


@pytest.mark.parametrize("separator", [",", ";", "\t", ", ", "; "])
@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("mark", ["", "\ufeff"])
@pytest.mark.parametrize(
    "header", [None, ("path", "x0", "y0", "x1", "y1"), ("Image name", "a-1", "b 1", "c (px)", "d")]
)
@pytest.mark.parametrize("prefix", ["", "./", "C:\\data\\", "/home/me/", "\\\\server\\share\\"])
def test_tables_of_every_form_are_read_alike(tmp_path, separator, end, mark, header, prefix):
    rows = [] if header is None else [separator.join(header)]
    for name, box in zip(NAMES, BOXES, strict=True):
        path = prefix + (name.replace("/", "\\") if "\\" in prefix else name)
        rows.append(separator.join((quoted(path, separator[0]), *map(str, box))))
    (tmp_path / "boxes.csv").write_bytes((mark + end.join(rows) + end).encode())
    table = read_box_csv(tmp_path / "boxes.csv")
    assert table.match(NAMES, tmp_path) == list(table.boxes)
    assert [list(boxes) for boxes in table.boxes.values()] == [[box] for box in BOXES]
    assert [table.place(key, 0)[-1] for key in table.boxes] == list("1234" if header is None else "2345")


@pytest.mark.parametrize(
    ("header", "row"),
    [
        ("path,xmin,ymin,xmax,ymax", "a.jpg,1,2,3,4"),
        ("path,ymin,xmin,ymax,xmax", "a.jpg,2,1,4,3"),
        ("path,xmin,xmax,ymin,ymax", "a.jpg,1,3,2,4"),
        ("ImageID,XMin,XMax,YMin,YMax", "a.jpg,1,3,2,4"),
        ("path,x1,y1,x2,y2", "a.jpg,1,2,3,4"),
        ("path,x2,y2,x1,y1", "a.jpg,3,4,1,2"),
        ("left;top;right;bottom;file", "1;2;3;4;a.jpg"),
        ("bbox_x1,bbox_y1,bbox_x2,bbox_y2,name", "1,2,3,4,a.jpg"),
    ],
)
def test_a_header_says_the_order(tmp_path, header, row):
    (tmp_path / "boxes.csv").write_text(f"{header}\n{row}\n")
    assert read_box_csv(tmp_path / "boxes.csv").boxes == {"a.jpg": [(1, 2, 3, 4)]}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("path,x,y,w,h\na.jpg,1,2,3,4\n", "line 1: the columns are path, x, y, w, h: expected path,x0,y0,x1,y1, both"),
        ("path,x,y,Width,Height\na.jpg,1,2,3,4\n", "line 1: the columns are .* and not width and height"),
        ("a.jpg,1,2,3,4\nb.jpg,50,60,30,70\n", "line 2: the box 50, 60, 30, 70 is inverted: expected x0 <= x1"),
        ("a.jpg,1,2,3,4\n\n\nb.jpg,50,60,70,30\n", "line 4: the box 50, 60, 70, 30 is inverted"),
        ("a.jpg,0.1,0.2,0.3,0.4\n", "line 1: the corners of a box must be whole numbers, got 0.1, 0.2, 0.3, 0.4"),
        ("a.jpg,left,top,right,bottom\n", "line 1: the corners of a box must be whole numbers, got left, top"),
        ("a.jpg 1 2 3 4\n", "line 1: 1 columns, expected 5"),
        ("a, b.jpg,1,2,3,4\n", "line 1: 6 columns, expected 5"),
        ('"a.jpg,1,2,3,4\n', "is not a text file .UTF-8. with lines of path,x0,y0,x1,y1"),
        ("a.jpg,1,2,3,4,cat\n", "line 1: 6 columns, expected 5"),
        ("a.jpg,1e400,2,3,4\n", "line 1: the corners of a box must be whole numbers"),
    ],
)
def test_one_sentence_with_the_line(tmp_path, text, message):
    (tmp_path / "boxes.csv").write_text(text)
    with pytest.raises(ValueError, match=message):
        read_box_csv(tmp_path / "boxes.csv")


def test_a_box_that_is_there_twice_is_one(tmp_path):
    (tmp_path / "boxes.csv").write_text("a.jpg,1,2,3,4\n./a.jpg,1.0,2,3,4\na.jpg,1,2,3,5\n")
    assert read_box_csv(tmp_path / "boxes.csv").boxes == {"a.jpg": [(1, 2, 3, 4), (1, 2, 3, 5)]}
