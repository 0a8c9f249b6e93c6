"""Boxes in lines of text and in XML files, and the names that they give to images."""

import itertools
from pathlib import Path

import pytest

from alignmixup.data.box_table import BoxTable, whole_numbers
from alignmixup.data.boxes.csv_files import read_box_csv, read_metadata
from alignmixup.data.boxes.xml_files import read_xml_boxes


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


PATH = "val/n01440764/ILSVRC2012_val_00000293.JPEG"


def write(folder, name, *boxes, size=(500, 375)):
    folder.mkdir(parents=True, exist_ok=True)
    names = ("xmin", "ymin", "xmax", "ymax")
    objects = "".join(
        "<object><name>n01440764</name><bndbox>"
        + "".join(f"<{key}>{value}</{key}>" for key, value in zip(names, box, strict=True))
        + "</bndbox></object>"
        for box in boxes
    )
    stated = f"<size><width>{size[0]}</width><height>{size[1]}</height><depth>3</depth></size>" if size else ""
    (folder / f"{name}.xml").write_text(f"<annotation><folder>val</folder>{stated}{objects}</annotation>")


def test_every_object_counts_and_folders_do_not(tmp_path):
    write(tmp_path / "val", "ILSVRC2012_val_00000293", (1, 2, 30, 40), (0, 0, 500, 375))
    write(tmp_path / "val", "ILSVRC2012_val_00000294", (1, 2, 3, 4), size=None)
    other = "val/n01440764/ILSVRC2012_val_00000294.JPEG"
    table = read_xml_boxes(tmp_path, [PATH, other, "val/x/absent.JPEG"])
    assert table.boxes == {PATH: [(1, 2, 30, 40), (0, 0, 500, 375)], other: [(1, 2, 3, 4)]}
    assert table.sizes == {PATH: (500, 375)}


def test_files_of_other_images_are_not_read(tmp_path):
    (tmp_path / "other.xml").write_text("<broken")
    assert read_xml_boxes(tmp_path, [PATH]).boxes == {}


def test_a_file_without_objects_gives_no_box(tmp_path):
    write(tmp_path, "ILSVRC2012_val_00000293")
    assert read_xml_boxes(tmp_path, [PATH]).boxes == {}


def test_damaged_files(tmp_path):
    file = tmp_path / "ILSVRC2012_val_00000293.xml"
    file.write_text("<annotation>")
    with pytest.raises(ValueError, match=r"00000293.xml is not an XML file .* restore it"):
        read_xml_boxes(tmp_path, [PATH])
    write(tmp_path, "ILSVRC2012_val_00000293", (1, 2, "x", 4))
    with pytest.raises(ValueError, match="xmin, ymin, xmax and ymax must be whole numbers, got 1, 2, x, 4"):
        read_xml_boxes(tmp_path, [PATH])
    file.write_text("<annotation><object><bndbox><xmin>1</xmin></bndbox></object></annotation>")
    with pytest.raises(ValueError, match="must be whole numbers"):
        read_xml_boxes(tmp_path, [PATH])


def test_two_files_of_one_name(tmp_path):
    write(tmp_path / "a", "ILSVRC2012_val_00000293", (1, 2, 3, 4))
    write(tmp_path / "b", "ILSVRC2012_val_00000293", (1, 2, 3, 4))
    with pytest.raises(ValueError, match=r"ILSVRC2012_val_00000293.xml is below .* twice"):
        read_xml_boxes(tmp_path, [PATH])


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


NAMES = ["test/cat/a.jpg", "test/cat/b, c.jpg", "test/dog/d;e.jpg", "test/dog/ü f.jpg"]
BOXES = [(0, 1, 2, 3), (4, 5, 6, 7), (8, 9, 10, 11), (0, 0, 0, 0)]


def quoted(name: str, separator: str) -> str:
    return f'"{name}"' if separator in name else name


FORMS = itertools.product(
    [",", ";", "\t", ", ", "; "],  # between columns
    ["\n", "\r\n", "\r"],  # between lines
    ["", "\ufeff"],  # before all
    [None, ("path", "x0", "y0", "x1", "y1"), ("Image name", "a-1", "b 1", "c (px)", "d")],
    ["", "./", "C:\\data\\", "/home/me/", "\\\\server\\share\\"],  # before names
)


def test_tables_of_every_form_are_read_alike(tmp_path):
    for form in FORMS:
        separator, end, mark, header, prefix = form
        rows = [] if header is None else [separator.join(header)]
        for name, box in zip(NAMES, BOXES, strict=True):
            path = prefix + (name.replace("/", "\\") if "\\" in prefix else name)
            rows.append(separator.join((quoted(path, separator[0]), *map(str, box))))
        (tmp_path / "boxes.csv").write_bytes((mark + end.join(rows) + end).encode())
        table = read_box_csv(tmp_path / "boxes.csv")
        assert table.match(NAMES, tmp_path) == list(table.boxes), form
        assert [list(boxes) for boxes in table.boxes.values()] == [[box] for box in BOXES], form
        assert [table.place(key, 0)[-1] for key in table.boxes] == list("1234" if header is None else "2345"), form


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


def test_files_of_one_name_belong_to_the_images_in_folders_of_the_same_name(tmp_path):
    paths = ["val/cat/0.jpg", "val/dog/0.jpg"]
    write(tmp_path / "cat", "0", (1, 1, 2, 2))
    with pytest.raises(ValueError, match=r"cat/0.xml could be that of several images of this name \(val/dog/0.jpg"):
        read_xml_boxes(tmp_path, paths)
    write(tmp_path / "dog", "0", (3, 3, 4, 4))
    assert read_xml_boxes(tmp_path, paths).boxes == {paths[0]: [(1, 1, 2, 2)], paths[1]: [(3, 3, 4, 4)]}
    write(tmp_path / "more" / "dog", "0", (3, 3, 4, 4))
    with pytest.raises(ValueError, match=r"0.xml is below .* twice"):
        read_xml_boxes(tmp_path, paths)
