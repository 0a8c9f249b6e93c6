"""Boxes in the order of the test images, whatever they come from."""

import importlib
import re
from pathlib import Path

import pytest
import torch

from alignmixup import data
from alignmixup.data.boxes.data import BoxData, load_boxes

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
    table.write_text(table.read_text() + "val_0.JPEG\tn02\t1\t1\t2\t2\n")
    with pytest.raises(ValueError, match=r"names val_0.JPEG twice"):
        load_boxes("tiny-imagenet", root=tiny, dataset=dataset)


def write_csv(path: Path, dataset, boxes):
    lines = [f"{name},{','.join(map(str, box))}" for name, box in zip(dataset.test.paths, boxes, strict=True)]
    path.write_text("\n".join(lines) + "\n")


@pytest.mark.parametrize("in_memory", [False, True])
def test_boxes_of_anybodys_images(folder, tmp_path, in_memory):
    dataset = data.load("folder", root=folder, in_memory=in_memory, test_view="whole", cache=False, progress=False)
    file = tmp_path / "boxes.csv"
    write_csv(file, dataset, [(0, 0, 5, 6), (1, 2, 3, 4), (0, 0, 39, 59), (9, 9, 9, 9)])
    file.write_text(file.read_text() + f"{dataset.test.paths[1]},0,0,50,60\n")
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
    with pytest.raises(ValueError, match="the boxes of folder are not part of its images: name a CSV file"):
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
    file.write_text(file.read_text() + f"{dataset.test.paths[1]},0,-1,4,4\n")
    with pytest.raises(ValueError, match=r"boxes.csv, line 5: box \(0, -1, 4, 4\) of val/cat/1.JPEG is not inside"):
        load_boxes("folder", root=folder, dataset=dataset, source=file)
