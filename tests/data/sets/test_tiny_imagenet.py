import importlib

import pytest
import torch

from alignmixup import data


def load(root, **options):
    return data.load("tiny-imagenet", root=root, progress=False, **options)


def colours(images: torch.Tensor) -> list[int]:
    return [round(value) for value in images[:, 0].float().mean((1, 2)).tolist()]


def test_classes_of_wnids_in_its_order(tiny):
    dataset = load(tiny)
    assert dataset.class_names == ("goldfish", "shark")
    assert dataset.train.images.shape == (6, 3, 64, 64)
    assert dataset.train.labels.tolist() == [0, 0, 0, 1, 1, 1]
    assert colours(dataset.train.images) == pytest.approx([0, 10, 20, 40, 50, 60], abs=2)
    assert colours(dataset.test.images) == pytest.approx([200, 201], abs=2)
    assert dataset.test.labels.tolist() == [0, 1]


def test_greyscale_becomes_three_equal_channels(tiny):
    grey = load(tiny).train.images[0]
    assert torch.equal(grey[0], grey[1])
    assert torch.equal(grey[0], grey[2])


def test_boxes_are_half_open_rows_first(tiny):
    dataset = load(tiny)
    assert dataset.train.boxes[1].tolist() == [10, 1, 59, 64]
    assert dataset.test.boxes[0].tolist() == [1, 0, 4, 3]
    assert load(tiny, image_size=32).train.boxes[1].tolist() == [5, 0, 30, 32]


def test_boxes_are_none_where_the_tables_are_incomplete(tiny):
    (tiny / "tiny-imagenet-200" / "train" / "n01" / "n01_boxes.txt").unlink()
    dataset = load(tiny)
    assert dataset.train.boxes is None
    assert dataset.test.boxes is not None


def test_root_may_be_the_folder_itself_and_words_may_be_missing(tiny):
    (tiny / "tiny-imagenet-200" / "words.txt").unlink()
    assert load(tiny / "tiny-imagenet-200").class_names == ("n02", "n01")


def test_cache_is_used_and_notices_changes(tiny, monkeypatch):
    first = load(tiny)
    monkeypatch.setattr(
        "alignmixup.data.sets.tiny_imagenet.decode_all", lambda *_args, **_options: pytest.fail("decoded")
    )
    assert torch.equal(load(tiny).train.images, first.train.images)
    monkeypatch.undo()
    path = tiny / "tiny-imagenet-200" / "train" / "n01" / "images" / "n01_2.JPEG"
    path.unlink()
    assert len(load(tiny).train) == 5


def test_what_systems_leave_behind_is_no_image_and_no_name(tiny):
    root = tiny / "tiny-imagenet-200"
    images = root / "train" / "n02" / "images"
    (images / ".copy.JPEG").write_bytes((images / "n02_0.JPEG").read_bytes())
    (images / "._n02_0.JPEG").write_bytes(b"\0\5\x16\7")
    for table in (root / "wnids.txt", root / "val" / "val_annotations.txt"):
        table.write_text(table.read_text(), encoding="utf-8-sig", newline="\r\n")
    dataset = data.load("tiny-imagenet", root=tiny, cache=False, progress=False)
    assert (len(dataset.train), dataset.class_names, dataset.test.boxes.tolist()) == (
        6,
        ("goldfish", "shark"),
        [[1, 0, 4, 3]] * 2,
    )


def test_without_cache_nothing_is_written(tiny):
    load(tiny, cache=False)
    names = {path.name for path in (tiny / "tiny-imagenet-200").iterdir()}
    assert names == {"train", "val", "wnids.txt", "words.txt"}


def test_absent(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"not at .*tiny-imagenet-200: expected .*zip .*unpack it in"):
        load(tmp_path)


@pytest.mark.parametrize("name", ["wnids.txt", "val/val_annotations.txt", "train/n01/images"])
def test_missing_parts(tiny, name):
    path = tiny / "tiny-imagenet-200" / name
    path.rename(path.with_name("elsewhere"))
    with pytest.raises(FileNotFoundError, match=f"{name} is missing: .*Unpack it again"):
        load(tiny)


def test_missing_validation_image(tiny):
    (tiny / "tiny-imagenet-200" / "val" / "images" / "val_1.JPEG").unlink()
    with pytest.raises(FileNotFoundError, match=r"val_1\.JPEG is listed in its data set but missing"):
        load(tiny)


def test_empty_class(tiny):
    for path in (tiny / "tiny-imagenet-200" / "train" / "n01" / "images").iterdir():
        path.unlink()
    with pytest.raises(ValueError, match="n01/images holds no JPEG image"):
        load(tiny)


@pytest.mark.parametrize("how", ["truncated", "garbled", "empty"])
def test_damaged_image(tiny, damage, how):
    damage(tiny / "tiny-imagenet-200" / "train" / "n01" / "images" / "n01_1.JPEG", how)
    with pytest.raises(ValueError, match=r"n01_1\.JPEG is (not a readable image|an empty file)"):
        load(tiny)


def test_image_of_another_size(tiny):
    pil = importlib.import_module("PIL.Image")
    pil.new("RGB", (60, 64)).save(tiny / "tiny-imagenet-200" / "train" / "n01" / "images" / "n01_1.JPEG")
    with pytest.raises(ValueError, match=r"n01_1\.JPEG is 60x64 pixels, expected 64x64"):
        load(tiny)


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("wnids.txt", "", "wnids.txt must list each class once, one per line; it holds 0 names"),
        ("wnids.txt", "n01\nn01\n", "wnids.txt must list each class once"),
        ("wnids.txt", "n02\nn01\nn03\n", "val_annotations.txt names no image of 1 classes of wnids.txt .n03"),
        ("val/val_annotations.txt", "val_0.JPEG\tn02\n", "line 1: 2 tab-separated columns, expected 6"),
        ("val/val_annotations.txt", "\n\nval_0.JPEG\tn02\n", "line 3: 2 tab-separated columns, expected 6"),
        ("train/n02/n02_boxes.txt", "n02_0.JPEG\ta\t1\t2\t3\n", "line 1: box corners must be whole numbers, got a"),
        ("train/n02/n02_boxes.txt", "a\t0\t0\t1\t1\na\t0\t0\t2\t2\n", "line 2 names a twice"),
    ],
)
def test_bad_tables(tiny, name, text, message):
    root = tiny / "tiny-imagenet-200"
    if "n03" in text:
        table = root / "val" / "val_annotations.txt"
        table.write_text(
            "".join(line + "\n" for line in table.read_text(encoding="utf-8").splitlines() if "n03" not in line)
        )
    (root / name).write_text(text)
    with pytest.raises(ValueError, match=message):
        load(tiny)


def test_binary_table(tiny):
    (tiny / "tiny-imagenet-200" / "wnids.txt").write_bytes(b"\xff\xfe\x00n01")
    with pytest.raises(ValueError, match=r"wnids\.txt is not a text file"):
        load(tiny)


def test_images_keep_their_paths(tiny):
    dataset = load(tiny)
    assert list(dataset.train.paths)[:2] == ["train/n02/images/n02_0.JPEG", "train/n02/images/n02_1.JPEG"]
    assert list(dataset.test.paths) == ["val/images/val_0.JPEG", "val/images/val_1.JPEG"]
