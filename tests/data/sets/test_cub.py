"""CUB-200-2011 in the tree of its release."""

import importlib
import re
import shutil

import pytest
import torch

from alignmixup import data
from alignmixup.data.dataset import FileSplit, Split
from alignmixup.data.sets.cub import cub_box, load_cub, read_cub_boxes
from alignmixup.data.transforms.augment import preset

numpy = importlib.import_module("numpy")
pil = importlib.import_module("PIL.Image")


def change(path, old, new):
    text = path.read_text(encoding="utf-8")
    assert old in text
    path.write_text(text.replace(old, new, 1))


@pytest.mark.parametrize(
    ("row", "size", "box"),
    [  # 0046_18, 0009_34 and 0002_55, the first Black-footed Albatrosses of the test split
        ("60.0 27.0 325.0 304.0", (500, 335), (60, 27, 385, 331)),
        ("139.0 30.0 153.0 264.0", (500, 336), (139, 30, 292, 294)),
        ("14.0 112.0 388.0 186.0", (500, 347), (14, 112, 402, 298)),
        ("400.0 200.0 100.0 147.0", (500, 347), (400, 200, 499, 346)),  # the last pixel is W - 1, H - 1
        ("0.0 0.0 500.0 346.0", (500, 347), (0, 0, 499, 346)),
        ("10.6 20.7 5.6 5.2", (50, 60), (10, 20, 16, 25)),  # corners are added before they are cut
    ],
)
def test_boxes_are_those_of_the_evaluation_metadata(row, size, box):
    assert cub_box(row, size) == box


@pytest.mark.parametrize("row", ["1 2 3", "1 2 3 4 5", "a b c d", "1 2 nan 4", "1 2 inf 4"])
def test_a_row_of_four_numbers_is_wanted(row):
    with pytest.raises(ValueError, match=re.escape(f"a box is four numbers, x y width height, got {row!r}")):
        cub_box(row, (50, 50))


def test_splits_labels_and_names(cub):
    dataset = load_cub(root=cub)
    assert (len(dataset.train), len(dataset.test), dataset.num_classes, dataset.image_size) == (12, 8, 4, 224)
    assert dataset.class_names == ("001.Albatross", "002.Auklet", "003.Blackbird", "004.Bunting")
    assert dataset.train.labels.tolist() == [0] * 3 + [1] * 3 + [2] * 3 + [3] * 3
    assert isinstance(dataset.test, FileSplit)
    assert list(dataset.test.paths)[:2] == [
        "images/001.Albatross/Albatross_0001_2.jpg",
        "images/001.Albatross/Albatross_0003_4.jpg",
    ]
    assert (dataset.mean[0], dataset.augment, dataset.test_view) == (0.485, "squeezed_crop_flip", "squeezed_center")
    inner = load_cub(root=cub / "CUB_200_2011")
    assert list(inner.train.paths) == list(dataset.train.paths)


@pytest.mark.parametrize("view", ["center", "squeezed_center", "whole"])
def test_test_images_show_what_the_view_says(cub, view):
    dataset = data.load("cub", root=cub, test_view=view)
    _, loader = data.build_loaders(dataset, batch_size=1, workers=0)
    grey, _ = next(iter(loader))
    shown = grey[0] * torch.tensor(dataset.std).view(3, 1, 1) + torch.tensor(dataset.mean).view(3, 1, 1)
    file = pil.open(dataset.test.root / dataset.test.paths[0]).convert("RGB")
    if view == "whole":
        wanted = file.resize((224, 224), pil.Resampling.BILINEAR)
    elif view == "squeezed_center":
        wanted = file.resize((256, 256), pil.Resampling.BILINEAR).crop((16, 16, 240, 240))
    else:
        assert file.size == (68, 52)
        wanted = file.resize((334, 256), pil.Resampling.BILINEAR).crop((55, 16, 279, 240))
    pixels = torch.from_numpy(numpy.asarray(wanted).copy()).permute(2, 0, 1) / 255
    torch.testing.assert_close(shown, pixels, atol=1e-5, rtol=0)
    assert torch.equal(shown[0] > 0.5, shown[1] > 0.5)  # a grey image has three equal channels


def test_training_images_are_windows_of_squeezed_ones(cub):
    dataset = data.load("cub", root=cub, image_size=56)
    loader, _ = data.build_loaders(dataset, batch_size=12, augment="squeezed_crop", workers=0, seed=3)
    x, y = next(iter(loader))
    assert x.shape == (12, 3, 56, 56)
    augment = preset("squeezed_crop")
    assert augment.enlarged(56) == 64
    memory = data.load("cub", root=cub, image_size=56, in_memory=True, progress=False)
    assert isinstance(memory.train, Split)
    assert memory.train.images.shape == (12, 3, 64, 64)
    assert memory.test.images.shape == (8, 3, 56, 56)
    same, _ = data.build_loaders(memory, batch_size=12, augment="squeezed_crop", seed=3)
    x2, y2 = next(iter(same))
    assert torch.equal(y, y2)
    # the same windows; only the rounding of two libraries' scaling differs
    assert (x - x2).abs().mean() < 0.02
    assert (x - x2.roll(1, dims=0)).abs().mean() > 0.2


def test_memory_and_files_show_the_same_test_images(cub):
    batches = []
    for in_memory in (False, True):
        dataset = data.load("cub", root=cub, image_size=32, in_memory=in_memory, progress=False)
        _, loader = data.build_loaders(dataset, batch_size=8, workers=0)
        batches.append(next(iter(loader)))
    torch.testing.assert_close(batches[0][0], batches[1][0])
    assert torch.equal(batches[0][1], batches[1][1])


def test_held_out_images_of_a_set_in_memory_have_the_usual_size(cub):
    dataset = data.load("cub", root=cub, image_size=28, in_memory=True, validation=4, progress=False)
    train, test = data.build_loaders(dataset, batch_size=8)
    assert next(iter(train))[0].shape == (8, 3, 28, 28)
    assert next(iter(test))[0].shape == (4, 3, 28, 28)


def test_boxes_of_some_images(cub):
    table, folder = read_cub_boxes(cub, ["images/001.Albatross/Albatross_0001_2.jpg"])
    assert folder == cub / "CUB_200_2011"
    assert table.boxes == {"images/001.Albatross/Albatross_0001_2.jpg": [(4, 3, 34, 31)]}
    assert table.sizes == {"images/001.Albatross/Albatross_0001_2.jpg": (68, 52)}


@pytest.mark.parametrize(
    ("file", "old", "new", "message"),
    [
        ("images.txt", "2 001", "1 001", "images.txt, line 2: number 1 stands there twice"),
        ("images.txt", "Albatross_0001_2.jpg", "Albatross_0000_1.jpg", "names .*Albatross_0000_1.jpg more than once"),
        ("images.txt", "3 001.Albatross/Albatross_0002_3.jpg\n", "", "must name the same images; 1 are in one only .3"),
        ("images.txt", "3 001.Albatross/Albatross_0002_3.jpg", "3", "line 3: expected a number and its value"),
        ("image_class_labels.txt", "3 1\n", "3 9\n", "image 3 has the value 9; values are 1 to 4"),
        ("image_class_labels.txt", "3 1\n", "3 one\n", "values must be whole numbers"),
        ("train_test_split.txt", "3 1\n", "3 2\n", "image 3 has the value 2; values are 0 to 1"),
        ("classes.txt", "4 004", "7 004", "must number its 4 classes from 1 to 4"),
    ],
)
def test_damaged_tables(cub, file, old, new, message):
    change(cub / "CUB_200_2011" / file, old, new)
    with pytest.raises(ValueError, match=message):
        load_cub(root=cub)


def test_classes_must_be_in_both_splits(cub):
    table = cub / "CUB_200_2011" / "train_test_split.txt"
    table.write_text("".join(f"{n} {int(n <= 15)}\n" for n in range(1, 21)))
    with pytest.raises(ValueError, match=r"4 classes have images in one split only .001.Albatross"):
        load_cub(root=cub)


def test_missing_files(cub, tmp_path):
    with pytest.raises(FileNotFoundError, match=r"cub is not at .*CUB_200_2011.*expected .*Get it by hand"):
        load_cub(root=tmp_path / "elsewhere")
    image = cub / "CUB_200_2011/images/001.Albatross/Albatross_0001_2.jpg"
    kept = image.read_bytes()
    image.unlink()
    with pytest.raises(FileNotFoundError, match=r"1 images of images.txt are missing .*Albatross_0001_2"):
        load_cub(root=cub)
    image.write_bytes(kept)
    (cub / "CUB_200_2011/bounding_boxes.txt").unlink()
    with pytest.raises(FileNotFoundError, match=r"bounding_boxes.txt is missing"):
        read_cub_boxes(cub, [])
    (cub / "CUB_200_2011/classes.txt").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ValueError, match="is not a text file"):
        load_cub(root=cub)
    (cub / "CUB_200_2011/classes.txt").write_text("\n")
    with pytest.raises(ValueError, match="is empty"):
        load_cub(root=cub)
    shutil.rmtree(cub / "CUB_200_2011/images")
    with pytest.raises(FileNotFoundError, match="images is missing"):
        load_cub(root=cub)


def test_options_of_other_sets_are_refused(cub):
    with pytest.raises(ValueError, match="test_split is an option of imagenet, folder: leave it out for cub"):
        data.load("cub", root=cub, test_split="test")
    with pytest.raises(ValueError, match="test_view must be one of center, squeezed_center, whole, got 'full'"):
        data.load("cub", root=cub, test_view="full")
