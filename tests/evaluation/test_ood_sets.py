"""Out-of-distribution images: noise against its law, real sets against their files."""

import numpy as np
import pytest
import torch
from PIL import Image

from alignmixup import data
from alignmixup.data.dataset import ImageData, Split
from alignmixup.evaluation import ood_sets
from alignmixup.evaluation.ood_sets import build_ood_set

MEAN, STD = (0.5, 0.4, 0.3), (0.2, 0.25, 0.5)


def in_distribution(size=32, name="cifar100", classes=("apple", "wardrobe"), channels=3):
    split = Split(torch.zeros(2, channels, size, size, dtype=torch.uint8), torch.tensor([0, 1]))
    return ImageData(name, split, split, classes, MEAN[:channels], STD[:channels], size, "none")


def tiny(count=40):
    """Tiny-ImageNet whose pixel (y, x) of image i is (i, y, x)."""
    line = torch.arange(64, dtype=torch.uint8)
    images = torch.empty(count, 3, 64, 64, dtype=torch.uint8)
    images[:, 0] = torch.arange(count, dtype=torch.uint8).view(-1, 1, 1)
    images[:, 1], images[:, 2] = line.view(-1, 1), line
    split = Split(images, torch.zeros(count, dtype=torch.int64))
    return ImageData("tiny-imagenet", split, split, ("goldfish", "king penguin"), MEAN, STD, 64, "none")


@pytest.fixture
def loaded(monkeypatch):
    load = data.load
    monkeypatch.setattr(ood_sets.data, "load", lambda name, **_: tiny() if name == "tiny-imagenet" else load(name))


def all_of(loader):
    images, labels = (torch.cat(parts) for parts in zip(*loader, strict=True))
    return images, labels


@pytest.mark.parametrize("name", ["uniform", "gaussian"])
def test_noise_is_drawn_as_pixels_before_normalisation(name):
    loader = build_ood_set(name, like=in_distribution(), count=100, batch_size=30)
    x, labels = all_of(loader)
    assert (len(loader), loader.num_images, x.shape) == (4, 100, (100, 3, 32, 32))
    assert x.dtype == torch.float32
    assert labels.tolist() == [0] * 100
    pixels = x * torch.tensor(STD).view(1, 3, 1, 1) + torch.tensor(MEAN).view(1, 3, 1, 1)
    assert pixels.min() > -1e-5
    assert pixels.max() < 1 + 1e-5
    values = pixels.flatten()
    assert values.mean().item() == pytest.approx(0.5, abs=0.002)
    if name == "uniform":
        assert values.std().item() == pytest.approx(1 / 12**0.5, rel=0.01)
    else:
        tail = 0.5 * (1 - torch.special.erf(torch.tensor(0.5 / 2**0.5)).item())
        for end in (values < 1e-5, values > 1 - 1e-5):
            assert end.float().mean().item() == pytest.approx(tail, rel=0.01)
    assert abs(torch.corrcoef(torch.stack((values[:-1], values[1:])))[0, 1]) < 0.01


@pytest.mark.parametrize("name", ["uniform", "gaussian", "digits", "tiny-imagenet-crop"])
def test_images_depend_on_the_seed_and_not_on_the_batch(name, request):
    if name.startswith("tiny"):
        request.getfixturevalue("loaded")
    like = in_distribution()
    first, _ = all_of(build_ood_set(name, like=like, count=30, seed=1, batch_size=7))
    second, _ = all_of(build_ood_set(name, like=like, count=30, seed=1, batch_size=30))
    assert torch.allclose(first, second, atol=1e-6)
    other, _ = all_of(build_ood_set(name, like=like, count=30, seed=2, batch_size=30))
    assert not torch.allclose(first, other, atol=0.01)
    loader = build_ood_set(name, like=like, count=30, seed=1, batch_size=7)
    assert torch.equal(all_of(loader)[0], all_of(loader)[0])


def test_crops_are_windows_of_their_images(loaded):
    crops = build_ood_set("tiny-imagenet-crop", like=in_distribution(), count=30, seed=0).pixels(0, 30)
    codes = (crops * 255).round().int()
    numbers, corners = codes[:, 0, 0, 0], codes[:, 1:, 0, 0]
    assert numbers.tolist() == sorted(set(numbers.tolist()))  # a random choice in its order
    assert numbers.tolist() != list(range(30))
    line = torch.arange(32)
    assert torch.equal(codes[:, 1], (corners[:, 0].view(-1, 1, 1) + line.view(1, -1, 1)).expand(-1, -1, 32).int())
    assert torch.equal(codes[:, 2], (corners[:, 1].view(-1, 1, 1) + line.view(1, 1, -1)).expand(-1, 32, -1).int())
    assert corners.max() > 24
    assert corners.min() < 8
    with pytest.raises(ValueError, match="use tiny-imagenet-resize"):
        build_ood_set("tiny-imagenet-crop", like=in_distribution(size=65))


def test_resized_ones_show_the_whole_image_and_notes_tell_the_source(loaded):
    like = in_distribution(classes=("goldfish bowl", "wardrobe"))
    loader = build_ood_set("tiny-imagenet-resize", like=like)
    codes = (loader.pixels(0, 40) * 255).round()
    assert codes[:, 1, :, 0].mean(dim=0).tolist() == pytest.approx([2 * i + 0.5 for i in range(32)], abs=1)
    assert loader.num_images == 40
    assert any("validation images" in note for note in loader.notes)
    assert any("classes that share a word with cifar100: goldfish" in note for note in loader.notes)
    assert any("fewer than the 10000 asked for" in note for note in loader.notes)


def test_digits_become_colour_and_colour_becomes_grey(loaded):
    pixels = build_ood_set("digits", like=in_distribution(), count=2000).pixels(0, 1797)
    assert pixels.shape == (1797, 3, 32, 32)
    assert torch.equal(pixels[:, 0], pixels[:, 2])
    grey_like = in_distribution(size=8, name="digits", channels=1)
    grey = build_ood_set("tiny-imagenet-resize", like=grey_like, count=4).pixels(0, 4)
    colour = build_ood_set("tiny-imagenet-resize", like=in_distribution(size=8), count=4).pixels(0, 4)
    weights = torch.tensor([0.299, 0.587, 0.114]).view(1, 3, 1, 1)
    assert torch.allclose(grey, (colour * weights).sum(1, keepdim=True), atol=1e-6)


def test_a_folder_may_nest_and_hold_any_image(tmp_path):
    for i, place in enumerate(("a.png", "deep/er/b.jpg", "deep/c.PNG")):
        file = tmp_path / place
        file.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.full((40 + i, 50, 3), 60 * i, np.uint8)).save(file)
    (tmp_path / "readme.txt").write_text("no image")
    loader = build_ood_set(f"folder:{tmp_path}", like=in_distribution(), batch_size=2)
    assert loader.num_images == 3
    values = (loader.pixels(0, 3) * 255).mean(dim=(1, 2, 3)).round().tolist()
    assert values == [0.0, 60.0, 120.0] or values == [0.0, 120.0, 60.0]
    assert [len(x) for x, _ in loader] == [2, 1]
    with pytest.raises(FileNotFoundError, match="is no folder"):
        build_ood_set(f"folder:{tmp_path / 'none'}", like=in_distribution())
    (tmp_path / "empty").mkdir()
    with pytest.raises(ValueError, match="holds no image"):
        build_ood_set(f"folder:{tmp_path / 'empty'}", like=in_distribution())


def test_the_set_itself_is_refused(tmp_path):
    for name in ("tiny-imagenet-crop", "tiny-imagenet-resize"):
        with pytest.raises(ValueError, match="the in-distribution set itself"):
            build_ood_set(name, like=in_distribution(name="tiny-imagenet"))
    with pytest.raises(ValueError, match="the in-distribution set itself"):
        build_ood_set("cifar100", like=in_distribution())


@pytest.mark.parametrize("test_only", [True, False])  # which lists no training images
@pytest.mark.parametrize("in_memory", [True, False])
def test_a_folder_that_holds_images_of_the_set_is_refused_and_one_beside_them_is_not(tmp_path, in_memory, test_only):
    for place in ("train/a/1.png", "train/b/2.png", "val/a/3.png", "val/b/4.png", "other/5.png"):
        file = tmp_path / "set" / place
        file.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (40, 40)).save(file)
    options = {"in_memory": in_memory, "test_only": test_only, "image_size": 32, "cache": False}
    like = data.load("folder", root=tmp_path / "set", **options)
    for folder, images in (("set/val", 2), ("set/train/a", 1), ("set", 4), (".", 4)):
        with pytest.raises(ValueError, match=rf"holds {images} images of the in-distribution set"):
            build_ood_set(f"folder:{tmp_path / folder}", like=like)
    assert build_ood_set(f"folder:{tmp_path / 'set/other'}", like=like).num_images == 1


def test_wrong_requests(tmp_path):
    with pytest.raises(ValueError, match="did you mean gaussian"):
        build_ood_set("gausian", like=in_distribution())
    with pytest.raises(ValueError, match="count and batch_size"):
        build_ood_set("uniform", like=in_distribution(), count=0)
    with pytest.raises(FileNotFoundError, match="cifar10 is not at"):
        build_ood_set("cifar10", like=in_distribution(), root=tmp_path)


def test_the_real_digits_as_in_distribution_set():
    digits = data.load("digits")
    x, _ = next(iter(build_ood_set("uniform", like=digits, batch_size=5)))
    assert x.shape == (5, 1, 8, 8)
    with pytest.raises(ValueError, match="itself"):
        build_ood_set("digits", like=digits)
