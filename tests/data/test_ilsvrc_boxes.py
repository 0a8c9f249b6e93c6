"""Boxes in XML files."""

import pytest

from alignmixup.data.ilsvrc_boxes import read_xml_boxes

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
