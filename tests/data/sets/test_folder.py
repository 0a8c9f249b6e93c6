import shutil
from dataclasses import replace
from typing import get_args

import pytest
import torch

from alignmixup import data
from alignmixup.data.dataset import TestView
from alignmixup.data.decode import decode_image, scaled_center, scaled_whole, to_tensor


def load(root, name="folder", **options):
    return data.load(name, root=root, progress=False, **options)


def test_streamed_by_default(folder):
    dataset = load(folder)
    assert not dataset.in_memory
    assert (dataset.class_names, dataset.image_size, dataset.augment) == (
        ("cat", "dog"),
        224,
        "resized_crop_flip",
    )
    assert list(dataset.train.paths) == [f"train/{c}/{f}" for c in ("cat", "dog") for f in FILES]
    assert dataset.train.labels.tolist() == [0, 0, 0, 1, 1, 1]
    assert dataset.test.labels.tolist() == [0, 0, 1, 1]


def test_small_images_are_held_in_memory(folder):
    dataset = load(folder, image_size=20)
    assert dataset.in_memory
    assert dataset.train.images.shape == (6, 3, 20, 20)
    red = dataset.train.images[:, 0].float().mean((1, 2))
    assert red.tolist() == pytest.approx([0, 10, 20, 100, 110, 120], abs=2)
    assert (folder / "decoded-cache-20.safetensors").is_file()
    assert torch.equal(load(folder, image_size=20).test.images, dataset.test.images)
    assert not load(folder, image_size=20, in_memory=False).in_memory


def test_test_folder_is_preferred_and_can_be_chosen(folder):
    shutil.copytree(folder / "val" / "cat", folder / "test" / "cat")
    assert len(load(folder).test) == 2
    assert len(load(folder, test_split="val").test) == 4
    assert len(load(folder, name="imagenet").test) == 4


def test_deeper_images_and_other_files(folder):
    (folder / "train" / "cat" / "deeper").mkdir()
    shutil.copy(folder / "train" / "cat" / "0.png", folder / "train" / "cat" / "deeper" / "x.PNG")
    (folder / "train" / "cat" / "notes.txt").write_text("no image")
    assert len(load(folder).train) == 7


def test_missing_training_split(folder):
    shutil.rmtree(folder / "train")
    with pytest.raises(FileNotFoundError, match=f"is missing: expected train/CLASS/IMAGE below .*{folder.name}"):
        load(folder)


def test_missing_test_split(folder):
    shutil.rmtree(folder / "val")
    with pytest.raises(FileNotFoundError, match="no test split: expected test or val or valid or validation/"):
        load(folder)
    with pytest.raises(FileNotFoundError, match="other is missing: expected other/CLASS/IMAGE"):
        load(folder, test_split="other")


def test_missing_root(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"imagenet: .*absent/train is missing"):
        load(tmp_path / "absent", name="imagenet")


def test_split_without_classes(folder):
    shutil.rmtree(folder / "train" / "cat")
    shutil.rmtree(folder / "train" / "dog")
    with pytest.raises(ValueError, match="train holds no class folder"):
        load(folder)


@pytest.mark.parametrize("split", ["train", "val"])
def test_empty_class(folder, split):
    for path in (folder / split / "dog").iterdir():
        path.unlink()
    with pytest.raises(ValueError, match=rf"{split}/dog holds no image \(.jpg, .*fill or remove it"):
        load(folder)


def test_unknown_test_class(folder):
    (folder / "val" / "dog").rename(folder / "val" / "frog")
    with pytest.raises(ValueError, match=r"1 classes that train/ lacks \(frog\)"):
        load(folder)


@pytest.mark.parametrize("how", ["truncated", "garbled", "empty"])
def test_damaged_image_in_memory(folder, damage, how):
    damage(folder / "val" / "dog" / "1.JPEG", how)
    with pytest.raises(ValueError, match=r"dog/1\.JPEG is (not a readable image|an empty file)"):
        load(folder, image_size=32)


FILES = ("0.png", "1.JPEG", "2.JPEG")


@pytest.mark.parametrize("crop", [None, 0.8])
@pytest.mark.parametrize("view", get_args(TestView))
def test_images_in_memory_keep_their_paths_and_show_what_the_view_says(folder, view, crop):
    streamed = load(folder, image_size=32, in_memory=False, test_view=view, test_crop=crop)
    for _ in range(2):  # decoded, then from the cache, which is one for each view
        memory = load(folder, image_size=32, in_memory=True, test_view=view, test_crop=crop)
        assert memory.test_view == streamed.test_view == view
        assert list(memory.test.paths) == list(streamed.test.paths)
        for image, path in zip(memory.test.images, memory.test.paths, strict=True):
            scale = scaled_center if view == "center" else scaled_whole
            margin = 1 if crop is None or view == "whole" else 40 / 32
            assert torch.equal(image, to_tensor(scale(decode_image(folder / path), 32, margin=margin)))
    if crop:
        streamed = replace(streamed, mean=(0,) * 3, std=(1,) * 3)
        shown, _ = next(iter(data.build_loaders(streamed, batch_size=4, workers=0)[1]))
        assert torch.equal((shown * 255).round().byte(), memory.test.images)


@pytest.mark.parametrize("fits", ["all", "test images", "none"])
def test_a_test_image_is_shown_alike_with_and_without_the_training_images(folder, monkeypatch, fits):
    limit = {"all": 10, "test images": 9, "none": 3}[fits] * 3 * 20 * 20
    monkeypatch.setattr("alignmixup.data.sets.folder._IN_MEMORY_BYTES", limit)
    both = [load(folder, image_size=20, cache=False, test_only=only) for only in (False, True)]
    assert {type(one.test).__name__ for one in both} == {"Split" if fits == "all" else "FileSplit"}
    shown = [next(iter(data.build_loaders(one, batch_size=4, augment=None)[1]))[0] for one in both]
    assert torch.equal(*shown)
