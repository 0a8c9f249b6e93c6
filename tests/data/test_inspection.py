"""What is odd in a data set, said at once."""

import importlib
import shutil

import pytest

from alignmixup.data.inspection import inspect_folder

numpy = importlib.import_module("numpy")
pil = importlib.import_module("PIL.Image")


def test_nothing_odd(folder):
    report = inspect_folder(folder)
    assert report.remarks() == []
    assert [(part.split, part.counts) for part in report.splits] == [
        ("train", {"cat": 3, "dog": 3}),
        ("val", {"cat": 2, "dog": 2}),
    ]
    assert (report.num_images, report.widths, report.heights) == (10, (40, 50, 60), (60, 60, 60))
    assert (report.modes, report.formats) == ({"RGB": 10}, {"PNG": 4, "JPEG": 6})


def test_everything_odd_is_said_and_the_worst_first(folder, damage):
    damage(folder / "train/cat/1.JPEG", "truncated")
    damage(folder / "val/dog/0.png", "empty")
    pil.fromarray(numpy.zeros((4, 5), numpy.float32)).save(folder / "train/dog/float.tif")
    exif = pil.Exif()
    exif[0x0112] = 6
    for number in range(40):
        pil.new("RGBA", (30, 20)).save(folder / f"train/cat/clear{number}.png", exif=exif)
    pil.new("L", (90, 10)).save(folder / "train/dog/pages.tif", save_all=True, append_images=[pil.new("L", (90, 10))])
    (folder / "train/bird").mkdir()
    shutil.copytree(folder / "val/cat", folder / "val/Cat")
    (folder / "train/.DS_Store").write_bytes(b"x")
    (folder / "train/cat/.DS_Store").write_bytes(b"x")
    (folder / "train/cat/notes.txt").touch()
    (folder / "train/cat/up").symlink_to("..")
    shutil.copy(folder / "train/dog/0.png", folder / "train/0.png")
    (folder / "train/decoded-cache-16-train.safetensors").touch()  # one of our own is nothing odd
    report = inspect_folder(folder)
    assert [path for path, _ in report.unreadable] == ["train/cat/1.JPEG", "train/dog/float.tif", "val/dog/0.png"]
    assert report.widths == (20, 20, 90)  # upright
    lines = [line for line in report.remarks() if " = " not in line]  # copies have a test of their own
    assert lines[0].startswith("3 of 54 images cannot be used (train/cat/1.JPEG, train/dog/float.tif, val/dog/0.png): ")
    assert "train/cat/1.JPEG is not a readable image of" in lines[0]
    assert lines[1:] == [
        "val: 1 classes that train lacks (Cat)",
        "val: no images of 1 classes of train (bird)",
        "classes of nearly one name: 'cat' and 'Cat'",
        "train: 1 classes without images (bird)",
        "train: 2 hidden or system files and folders skipped (train/.DS_Store, train/cat/.DS_Store)",
        "train: 1 links skipped, which lead nowhere or to folders that are read anyway (train/cat/up)",
        "train: 1 images lie beside the class folders and belong to none (train/0.png)",
        "train: 1 files that are no images (.txt: 1)",
        "40 images are turned as their EXIF orientation says",
        "1 images have several frames, of which the first counts",
        "40 images are transparent in places: the colours below count",
        "41 images are nearly black, as 12 bits in a file of 16 are, or labels in place of colours",
    ]


@pytest.mark.parametrize(("mode", "high", "dark"), [("I;16", 4095, 1), ("I;16", 4096, 0), ("L", 15, 1), ("L", 16, 0)])
def test_images_in_the_lowest_sixteenth_are_said(folder, mode, high, dark):
    pil.new(mode, (9, 9), high).save(folder / "train/cat/new.png")
    assert inspect_folder(folder).dark == dark


@pytest.mark.parametrize(("mode", "alpha"), [("LAB", 0), ("RGB", 0), ("LA", 1), ("RGBA", 1), ("P", 0)])
def test_transparency_is_told_from_colours_called_a(folder, mode, alpha):
    pil.new(mode, (9, 9)).save(folder / "train/cat/new.tif")
    assert inspect_folder(folder).alpha == alpha


def test_classes_of_very_different_sizes_are_said(folder):
    for number in range(40):
        shutil.copy(folder / "train/cat/0.png", folder / f"train/cat/copy{number}.png")
    assert inspect_folder(folder).remarks()[1:] == ["train: from 3 to 43 images a class"]


def test_copies_are_said_by_what_they_spoil(folder):
    """Whatever they are called and in whatever format: an image in two classes, in train and test, twice in one."""
    with pil.open(folder / "train/cat/0.png") as image:
        image.save(folder / "train/dog/other.bmp")
    with pil.open(folder / "train/dog/1.JPEG") as image:
        image.save(folder / "val/dog/other.png")
    shutil.copy(folder / "val/cat/0.png", folder / "val/cat/again.png")
    pil.new("RGB", (60, 40), (0, 255, 128)).save(folder / "train/cat/same bytes of another shape.png")
    report = inspect_folder(folder)
    assert report.copies == {
        "classes": [("train/cat/0.png", "train/dog/other.bmp")],
        "splits": [("train/dog/1.JPEG", "val/dog/other.png")],
        "images": [("val/cat/0.png", "val/cat/again.png")],
    }
    assert report.remarks() == [
        "1 images lie in several classes (train/cat/0.png = train/dog/other.bmp)",
        "1 images are there to train on and to test on (train/dog/1.JPEG = val/dog/other.png)",
        "1 images are there more than once, and a part held out to test on may share them (val/cat/0.png = "
        "val/cat/again.png)",
    ]


@pytest.mark.parametrize("layout", ["flat", "train alone", "test alone", "chosen"])
def test_any_layout(folder, layout):
    shutil.move(folder / "val", folder / "other")
    if layout in ("flat", "test alone"):
        shutil.rmtree(folder / "train")
    root = folder / "other" if layout == "flat" else folder
    if layout == "test alone":
        shutil.move(folder / "other", folder / "test")
    report = inspect_folder(root, test_split="other" if layout == "chosen" else None)
    expected = {"flat": ["."], "train alone": ["train"], "test alone": ["test"], "chosen": ["train", "other"]}
    assert [part.split for part in report.splits] == expected[layout]
    assert report.remarks() == []


def test_images_can_be_counted_as_they_come(folder):
    seen = []

    def follow(results, total):
        for result in results:
            seen.append(total)
            yield result

    assert inspect_folder(folder, follow=follow).num_images == 10
    assert seen == [10] * 10


def test_no_folder(tmp_path):
    with pytest.raises(FileNotFoundError, match="absent is no folder: expected train/CLASS/IMAGE, or CLASS/IMAGE"):
        inspect_folder(tmp_path / "absent")
    with pytest.raises(ValueError, match="holds no class folder"):
        inspect_folder(tmp_path)
