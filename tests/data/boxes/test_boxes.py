"""Boxes in lines of text and in XML files, the names that they give to images, and their order."""

import importlib
import itertools
import re
from pathlib import Path

import pytest
import torch

from alignmixup import data
from alignmixup.data.box_table import BoxTable, corners, whole_numbers
from alignmixup.data.boxes.csv_files import read_box_csv, read_metadata
from alignmixup.data.boxes.data import BoxData, load_boxes
from alignmixup.data.boxes.xml_files import read_xml_boxes

pil = importlib.import_module("PIL.Image")


def box_data(boxes, *, sizes=((100, 50),), name="cub"):
    count = len(boxes)
    return BoxData(
        name,
        tuple(f"images/{i}.jpg" for i in range(count)),
        [torch.tensor(value) for value in boxes],
        torch.tensor(sizes),
        torch.zeros(count, dtype=torch.int64),
    )


def test_boxes_of_cub_are_in_original_pixels_and_in_the_order_of_the_test_split(cub):
    dataset = data.load("cub", root=cub, test_view="whole")
    boxes = load_boxes("cub", root=cub, dataset=dataset)
    assert len(boxes) == 8
    assert boxes.paths == tuple(dataset.test.paths)
    assert boxes.labels.tolist() == dataset.test.labels.tolist() == [0, 0, 1, 1, 2, 2, 3, 3]
    assert boxes.sizes[:3].tolist() == [[68, 52], [82, 52], [68, 57]]
    assert [value.tolist() for value in boxes.boxes[:2]] == [[[4, 3, 34, 31]], [[6, 3, 42, 31]]]
    for path, ((x0, y0, x1, y1),), (width, height) in zip(boxes.paths, boxes.boxes, boxes.sizes.tolist(), strict=True):
        image = pil.open(cub / "CUB_200_2011" / path).convert("L")
        assert image.size == (width, height)
        inner = image.crop((int(x0) + 2, int(y0) + 2, int(x1) - 1, int(y1) - 1))
        outer = image.crop((int(x1) + 4, 0, width, height))
        assert inner.getextrema()[0] > 90 > outer.getextrema()[1]


def test_held_out_images_have_their_boxes_too(cub):
    dataset = data.load("cub", root=cub, validation=4)
    boxes = load_boxes("cub", root=cub, dataset=dataset)
    assert len(boxes) == 4
    assert all(f"Albatross_000{i}" not in path for path in boxes.paths for i in (1, 3))


@pytest.mark.parametrize("image_size", [None, 48])
def test_boxes_of_tiny_imagenet_have_inclusive_corners(tiny, image_size):
    dataset = data.load("tiny-imagenet", root=tiny, image_size=image_size, cache=False, progress=False)
    boxes = load_boxes("tiny-imagenet", root=tiny, dataset=dataset)
    assert [value.tolist() for value in boxes.boxes] == [[[0, 1, 2, 3]], [[0, 1, 2, 3]]]
    assert boxes.sizes.tolist() == [[64, 64], [64, 64]]
    held = data.load("tiny-imagenet", root=tiny, validation=2, cache=False, progress=False)
    rows = load_boxes("tiny-imagenet", root=tiny, dataset=held)
    number = {path: int(path[-6]) for path in rows.paths}
    assert [value.tolist() for value in rows.boxes] == [[[number[path], 10, 63, 58]] for path in rows.paths]


def test_tiny_imagenet_names_a_file_once(tiny):
    table = tiny / "tiny-imagenet-200/val/val_annotations.txt"
    dataset = data.load("tiny-imagenet", root=tiny, cache=False, progress=False)
    table.write_text(table.read_text(encoding="utf-8") + "val_0.JPEG\tn02\t1\t1\t2\t2\n")
    with pytest.raises(ValueError, match=r"names val_0.JPEG twice"):
        load_boxes("tiny-imagenet", root=tiny, dataset=dataset)


def write_csv(path: Path, dataset, boxes):
    lines = [f"{name},{','.join(map(str, box))}" for name, box in zip(dataset.test.paths, boxes, strict=True)]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")


@pytest.mark.parametrize("in_memory", [False, True])
def test_boxes_of_anybodys_images(folder, tmp_path, in_memory):
    dataset = data.load("folder", root=folder, in_memory=in_memory, test_view="whole", cache=False, progress=False)
    file = tmp_path / "boxes.csv"
    write_csv(file, dataset, [(0, 0, 5, 6), (1, 2, 3, 4), (0, 0, 39, 59), (9, 9, 9, 9)])
    file.write_text(file.read_text(encoding="utf-8") + f"{dataset.test.paths[1]},0,0,50,60\n")
    boxes = load_boxes("folder", root=folder, dataset=dataset, source=file)
    assert boxes.sizes.tolist() == [[40, 60], [50, 60], [40, 60], [50, 60]]
    assert boxes.boxes[1].tolist() == [[1, 2, 3, 4], [0, 0, 50, 60]]  # the last column may be the width itself
    assert boxes.labels.tolist() == [0, 0, 1, 1]
    chosen = boxes.select(torch.tensor([3, 1]))
    assert (chosen.paths, chosen.labels.tolist()) == ((boxes.paths[3], boxes.paths[1]), [1, 0])
    assert [len(value) for value in chosen.boxes] == [1, 2]


def test_a_folder_of_xml_files(folder, tmp_path):
    dataset = data.load("folder", root=folder)
    place = tmp_path / "xml"
    place.mkdir()
    with pytest.raises(ValueError, match=re.escape("has no box for 4 of 4 images (val/cat/0.png, val/cat/1.JPEG")):
        load_boxes("folder", root=folder, dataset=dataset, source=place)


def test_metadata_sizes_are_those_of_the_boxes(folder, tmp_path):
    dataset = data.load("folder", root=folder)
    write_csv(tmp_path / "localization.txt", dataset, [(0, 0, 499, 374)] * 4)
    with pytest.raises(ValueError, match=r"box \(0, 0, 499, 374\) of val/cat/0.png is not inside; the image has 40x60"):
        load_boxes("folder", root=folder, dataset=dataset, source=tmp_path)
    (tmp_path / "image_sizes.txt").write_text("".join(f"{path},500,375\n" for path in dataset.test.paths))
    boxes = load_boxes("folder", root=folder, dataset=dataset, source=tmp_path)
    assert boxes.sizes.tolist() == [[500, 375]] * 4


def test_a_source_must_be_there(folder, tmp_path):
    dataset = data.load("folder", root=folder)
    with pytest.raises(
        ValueError, match=r"the boxes of folder are not part of its images: name in --boxes .source=. a CSV file"
    ):
        load_boxes("folder", root=folder, dataset=dataset)
    with pytest.raises(FileNotFoundError, match=r"no boxes at .*absent"):
        load_boxes("folder", root=folder, dataset=dataset, source=tmp_path / "absent")
    with pytest.raises(ValueError, match="digits has no boxes: its images have no files"):
        load_boxes("digits", root=folder, dataset=data.load("digits"))


@pytest.mark.parametrize(
    ("box", "message"),
    [
        ((5, 5, 4, 9), "is inverted (x0 <= x1 and y0 <= y1 are wanted); the image has 100x50 pixels"),
        ((5, 9, 9, 5), "is inverted"),
        ((-1, 0, 9, 9), "box (-1, 0, 9, 9) of images/0.jpg is not inside; the image has 100x50 pixels"),
        ((0, 0, 101, 9), "is not inside"),
        ((0, 0, 9, 51), "is not inside"),
        ((100, 0, 100, 9), "is not inside"),
    ],
)
def test_boxes_must_lie_inside_their_image(box, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        box_data([[list(box)]])


def test_boxes_at_the_border_and_of_one_pixel_are_fine():
    assert len(box_data([[[0, 0, 100, 50], [99, 49, 99, 49], [0, 0, 0, 0]]])) == 1


def test_the_second_image_is_named():
    with pytest.raises(
        ValueError, match=re.escape("box (0, 0, 60, 9) of images/1.jpg is not inside; the image has 50")
    ):
        box_data([[[0, 0, 60, 9], [1, 1, 2, 2]], [[0, 0, 60, 9]]], sizes=((100, 50), (50, 40)))


@pytest.mark.parametrize(
    "boxes", [[[]], [[[0.0, 0.0, 1.0, 1.0]]], [[0, 0, 1, 1]], [[[0, 0, 1]]], torch.empty(1, 0, 4, dtype=torch.int64)]
)
def test_boxes_are_integers_in_rows_of_four(boxes):
    with pytest.raises(ValueError, match=r"images/0.jpg: boxes must be int64 of shape \(k, 4\), k >= 1"):
        BoxData("x", ("images/0.jpg",), [torch.as_tensor(boxes[0])], torch.tensor([[9, 9]]), torch.tensor([0]))


def test_counts_must_agree():
    with pytest.raises(ValueError, match="1 paths, 1 entries of boxes, sizes"):
        box_data([[[0, 0, 1, 1]]], sizes=((9, 9), (9, 9)))


def test_a_box_outside_its_image_is_named_by_its_line(folder, tmp_path):
    dataset = data.load("folder", root=folder)
    file = tmp_path / "boxes.csv"
    write_csv(file, dataset, [(0, 0, 5, 6), (1, 2, 3, 4), (0, 0, 41, 59), (9, 9, 9, 9)])
    with pytest.raises(
        ValueError, match=r"boxes.csv, line 3: box .* of val/dog/0.png is not inside; the image has 40x60"
    ):
        load_boxes("folder", root=folder, dataset=dataset, source=file)
    write_csv(file, dataset, [(0, 0, 5, 6)] * 4)
    file.write_text(file.read_text(encoding="utf-8") + f"{dataset.test.paths[1]},0,-1,4,4\n")
    with pytest.raises(ValueError, match=r"boxes.csv, line 5: box \(0, -1, 4, 4\) of val/cat/1.JPEG is not inside"):
        load_boxes("folder", root=folder, dataset=dataset, source=file)


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
        ("a.jpg,1,2,3,4\nb.jpg,1,2,x3,4\n", "line 2: the corners of a box must be numbers of pixels, got 1, 2, x3, 4"),
        ("a.jpg,1,2,3,4\npath,x0,y0,x1,y1\n", "line 2: the corners of a box must be numbers of pixels"),
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


def test_parts_of_an_object_are_no_objects(tmp_path):
    box = "<bndbox><xmin>{}</xmin><ymin>2</ymin><xmax>{}</xmax><ymax>9</ymax></bndbox>".format
    parts = "".join(f"<part><name>{name}</name>{box(3, 5)}</part>" for name in ("head", "hand"))
    people = "".join(f"<object><name>person</name>{parts}{box(x, x + 40)}</object>" for x in (1, 50))
    (tmp_path / "ILSVRC2012_val_00000293.xml").write_text(f"<annotation>{people}</annotation>")
    assert read_xml_boxes(tmp_path, [PATH]).boxes == {PATH: [(1, 2, 41, 9), (50, 2, 90, 9)]}


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
    with pytest.raises(ValueError, match="xmin, ymin, xmax and ymax must be numbers of pixels, got 1, 2, x, 4"):
        read_xml_boxes(tmp_path, [PATH])
    file.write_text("<annotation><object><bndbox><xmin>1</xmin></bndbox></object></annotation>")
    with pytest.raises(ValueError, match="must be numbers of pixels"):
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


def test_corners_between_pixels_lie_in_one():
    """Boxes that were scaled along with their images."""
    assert corners(["78.4", "109.91", "223.55", "203"], place="line 1") == (78, 109, 223, 203)
    assert corners(["-0.5", "0", "3.2", "4"], place="line 1") == (-1, 0, 3, 4)  # and is refused as outside
    assert corners(["0", "0", "1", "1"], place="line 1") == (0, 0, 1, 1)


def test_corners_of_scaled_boxes_in_both_forms(tmp_path):
    (tmp_path / "boxes.csv").write_text("a.jpg,78.4,109.91,223.55,203\n")
    assert read_box_csv(tmp_path / "boxes.csv").boxes == {"a.jpg": [(78, 109, 223, 203)]}
    write(tmp_path, "ILSVRC2012_val_00000293", (78.4, 109.91, 223.55, 203))
    assert read_xml_boxes(tmp_path, [PATH]).boxes == {PATH: [(78, 109, 223, 203)]}


NAMES = ["test/cat/a.jpg", "test/cat/b, c.jpg", "test/dog/d;e.jpg", "test/dog/ü f.jpg"]
BOXES = [(0, 1, 2, 3), (4, 5, 6, 7), (8, 9, 10, 11), (0, 0, 0, 0)]


def quoted(name: str, separator: str) -> str:
    return f'"{name}"' if separator in name else name


FORMS = itertools.product(
    [",", ";", "\t", ", ", "; "],  # between columns
    ["\n", "\r\n", "\r"],  # between lines
    ["", "\ufeff"],  # before all
    [None, ("path", "x0", "y0", "x1", "y1"), ("Image name", "x-1", "y 1", "x2 (px)", "Y2")],
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
        ("image,upper,left,lower,right", "a.jpg,2,1,4,3"),
        ("image,row0,col0,row1,col1", "a.jpg,2,1,4,3"),
        (",xtl,ytl,xbr,ybr", "a.jpg,1,2,3,4"),
        ("filename,width,height,class,xmin,ymin,xmax,ymax", "a.jpg,60,40,cat,1,2,3,4"),
        (",path,x0,y0,x1,y1,label", "0,a.jpg,1,2,3,4,cat"),
    ],
)
def test_a_header_says_the_order(tmp_path, header, row):
    (tmp_path / "boxes.csv").write_text(f"{header}\n{row}\n")
    assert read_box_csv(tmp_path / "boxes.csv").boxes == {"a.jpg": [(1, 2, 3, 4)]}


@pytest.mark.parametrize("header", ["filename,width,height,class,xmin,ymin,xmax,ymax", "i,imageHeight,image_width"])
def test_columns_state_the_size_of_images_that_were_scaled_since(folder, header):
    dataset = data.load("folder", root=folder, test_view="whole", in_memory=False)
    names = header.split(",")
    rows = [header if "xmin" in header else f"{header},path,x0,y0,x1,y1"]
    for path in dataset.test.paths:
        sides = "120,240,cat" if names[1] == "width" else "7,240,120"
        rows.append(f"{path},{sides},10,10,110,230" if "xmin" in header else f"{sides},{path},10,10,110,230")
    (folder / "boxes.csv").write_text("\n".join(rows))
    boxes = load_boxes("folder", root=folder, dataset=dataset, source=folder / "boxes.csv")
    assert boxes.sizes.tolist() == [[120, 240]] * 4
    assert [each.tolist() for each in boxes.boxes] == [[[10, 10, 110, 230]]] * 4


def test_columns_of_sides_that_are_the_boxes_own_or_contradict(tmp_path):
    header, file = "path,x0,y0,x1,y1,width,height\n", tmp_path / "boxes.csv"
    file.write_text(f"{header}a.jpg,1,2,11,22,10.4,20\na.jpg,5,5,9,9,5,5\nb.jpg,1,2,3,4,2,3\n")
    assert read_box_csv(file).sizes == {}
    file.write_text(f"{header}a.jpg,1,2,11,22,60,40\nb.jpg,5,5,9,9,0,0\n")
    assert read_box_csv(file).sizes == {"a.jpg": (60, 40)}
    file.write_text(f"{header}a.jpg,1,2,11,22,,\nb.jpg,5,5,9,9,NA,NA\nc.jpg,1,2,3,4,60,40\n")
    assert read_box_csv(file).sizes == {"c.jpg": (60, 40)}
    file.write_text(f"{header}a.jpg,1,2,11,22,60,40\na.jpg,5,5,9,9,60,50\n")
    with pytest.raises(ValueError, match=r"line 3: a\.jpg has 60x50 pixels, and 60x40 above"):
        read_box_csv(file)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("path,x,y,w,h\na.jpg,1,2,3,4\n", "line 1: the columns are path, x, y, w, h: expected path,x0,y0,x1,y1, both"),
        ("path,x,y,Width,Height\na.jpg,1,2,3,4\n", "line 1: the columns are .* and not width and height"),
        ("label,bbox_x,bbox_y,bbox_width,bbox_height,image\n", "line 1: the columns are .* and not width and height"),
        ("path,xc,yc,half_w,half_h\na.jpg,1,2,3,4\n", "line 1: the columns are path, xc.*name them so, or leave out"),
        ("id,x0,y0,x1,y1,label\n1,1,2,3,4,a.jpg\n", "line 1: the columns are id, .*: name them so, or leave out"),
        ("image,file,x0,y0,x1,y1\na,a.jpg,1,2,3,4\n", "line 1: the columns are image, file, .*: name them so"),
        ("path,x0,y0,x1,y1\na.jpg,1,2,3\n", "line 2: 4 columns, expected 5 .path,x0,y0,x1,y1.: a.jpg,1,2,3"),
        ("a.jpg,1,2,3,4\nb.jpg,50,60,30,70\n", "line 2: the box 50, 60, 30, 70 is inverted: expected x0 <= x1"),
        ("a.jpg,1,2,3,4\n\n\nb.jpg,50,60,70,30\n", "line 4: the box 50, 60, 70, 30 is inverted"),
        ("a.jpg,0.1,0.2,0.3,0.4\n", "line 1: .* got 0.1, 0.2, 0.3, 0.4: these look like fractions of the image"),
        ("a.jpg,1.4,0.2,1.2,4\n", "line 1: the box 1.4, 0.2, 1.2, 4 is inverted"),
        ("a.jpg,left,top,right,bottom\n", "line 1: the corners of a box must be numbers of pixels, got left, top"),
        ("a.jpg 1 2 3 4\n", "line 1: 1 columns, expected 5"),
        ("a, b.jpg,1,2,3,4\n", "line 1: 6 columns, expected 5"),
        ('"a.jpg,1,2,3,4\n', "is not a text file .UTF-8. with lines of path,x0,y0,x1,y1"),
        ("a.jpg,1,2,3,4,cat\n", "line 1: 6 columns, expected 5"),
        ("a.jpg,1e400,2,3,4\n", "line 1: the corners of a box must be numbers of pixels"),
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


def test_a_name_that_a_training_image_has_too_is_refused(folder, tmp_path):
    dataset = data.load("folder", root=folder, in_memory=False)
    file = tmp_path / "boxes.csv"
    write_csv(file, dataset, [(0, 0, 5, 5)] * 4)
    whole = file.read_text(encoding="utf-8")
    file.write_text(whole.replace("val/cat/0.png", "cat/0.png"), encoding="utf-8")
    with pytest.raises(ValueError, match=r"cat/0.png means 2 images \(val/cat/0.png, train/cat/0.png\): write"):
        load_boxes("folder", root=folder, dataset=dataset, source=file)
    file.write_text(whole.replace("val/cat/0.png", "only.png"), encoding="utf-8")
    (folder / "val/cat/0.png").rename(folder / "val/cat/only.png")
    renamed = data.load("folder", root=folder, in_memory=False)
    assert len(load_boxes("folder", root=folder, dataset=renamed, source=file)) == 4
