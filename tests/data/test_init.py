import pytest
import torch
from PIL import Image

from alignmixup import data


def test_available_names_are_the_loaded_ones():
    assert data.available() == ("digits", "cifar10", "cifar100", "tiny-imagenet", "cub", "imagenet", "folder")


def test_subset_takes_the_first_of_each_class():
    whole, part = data.load("digits"), data.load("digits", subset=5)
    assert torch.bincount(part.train.labels).tolist() == [5] * 10
    first_of_three = (whole.train.labels == 3).nonzero().flatten()[:5]
    assert torch.equal(part.train.images[part.train.labels == 3], whole.train.images[first_of_three])
    assert len(part.test) == len(whole.test)


def test_validation_replaces_the_test_split_and_is_independent_of_the_subset():
    whole = data.load("digits")
    held = data.load("digits", validation=0.2)
    assert len(held.test) == 180
    assert len(held.train) == 719
    rows = {tuple(image.flatten().tolist()) for image in whole.test.images}
    assert all(tuple(image.flatten().tolist()) not in rows for image in held.test.images)
    small = data.load("digits", validation=0.2, subset=3)
    assert torch.equal(small.test.images, held.test.images)
    assert len(small.train) == 30


def test_imbalance_thins_out_what_the_subset_leaves_of_the_training_images():
    whole, tailed = data.load("digits"), data.load("digits", subset=20, imbalance=10)
    assert tailed.class_counts == [20, 15, 11, 9, 7, 5, 4, 3, 2, 2]
    assert torch.equal(tailed.test.labels, whole.test.labels)
    some = data.load("digits", subset=20)
    for label, count in enumerate(tailed.class_counts):
        own = some.train.images[some.train.labels == label]
        assert torch.equal(tailed.train.images[tailed.train.labels == label], own[:count])
    held = data.load("digits", validation=0.2)
    both = data.load("digits", validation=0.2, subset=20, imbalance=10)
    assert torch.equal(both.test.images, held.test.images)
    assert both.class_counts == tailed.class_counts
    assert data.load("digits", imbalance=1).class_counts == whole.class_counts


def test_normalization_option():
    dataset = data.load("digits", normalization="half")
    assert (dataset.mean, dataset.std) == ((0.5,), (0.5,))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"name": "cifar"}, "unknown data set 'cifar'; did you mean cifar1"),
        ({"name": "tiny_imagenet"}, "did you mean tiny-imagenet"),
        ({"image_size": 0}, "image_size must be an integer >= 1, got 0"),
        ({"image_size": 16.0}, "image_size must be an integer >= 1, got 16.0"),
        ({"subset": 0}, "subset must be a number of images per class >= 1"),
        ({"imbalance": 0.5}, "imbalance must be a number >= 1, got 0.5"),
        ({"imbalance": True}, "imbalance must be a number >= 1, got True"),
        ({"subset": 5, "imbalance": 6}, "imbalance=6 leaves the last class no image, since the first has 5"),
        ({"validation": 899}, r"validation must be a number of images in \[1, 899\)"),
        ({"normalization": "imagenet"}, "for 3 channels and the images have 1"),
        ({"in_memory": True}, "in_memory is an option of cub, imagenet, folder: leave it out for digits"),
        ({"test_split": "val"}, "test_split is an option of imagenet, folder: leave it out for digits"),
        ({"test_view": "whole"}, "leave it out for digits"),
    ],
)
def test_bad_options(options, message):
    with pytest.raises(ValueError, match=message):
        data.load(**{"name": "digits", **options})


@pytest.mark.parametrize("options", [{"subset": 0}, {"subset": "5"}, {"imbalance": 0}, {"imbalance": True}])
def test_options_of_training_images_are_checked_where_there_are_none(options, tmp_path):
    with pytest.raises(ValueError, match=f"{next(iter(options))} must be a number"):
        data.load("folder", root=tmp_path, test_only=True, **options)


def test_loaders_in_memory():
    digits = data.load("digits")
    train, test = data.build_loaders(digits, batch_size=100, eval_batch_size=500, seed=1)
    assert [len(y) for _, y in train] == [100] * 8 + [99]
    assert [len(y) for _, y in test] == [500, 398]
    assert torch.equal(torch.cat([y for _, y in test]), digits.test.labels)
    x = torch.cat([x for x, _ in train])
    assert x.shape == (899, 1, 8, 8)
    assert x.mean().abs() < 0.2
    unaugmented, _ = data.build_loaders(digits, batch_size=100, seed=1, augment=None)
    named, _ = data.build_loaders(digits, batch_size=100, seed=1, augment="none")
    plain = torch.cat([x for x, _ in unaugmented])
    assert torch.equal(plain, torch.cat([x for x, _ in named]))
    assert plain.mean() == pytest.approx(0, abs=1e-3)
    assert plain.std() == pytest.approx(1, abs=1e-3)
    assert not torch.equal(x, plain)


def test_loaders_of_files_keep_the_same_protocol(folder):
    dataset = data.load("folder", root=folder)
    train, test = data.build_loaders(dataset, batch_size=4, workers=0, drop_last=True)
    train.set_epoch(1)
    assert (len(train), train.num_images, len(test), test.num_images) == (1, 4, 1, 4)
    x, y = next(iter(train))
    assert x.shape == (4, 3, 224, 224)
    assert x.dtype == torch.float32
    assert y.dtype == torch.int64


def test_test_shards_hold_each_image_once():
    digits = data.load("digits")
    shards = [data.build_loaders(digits, batch_size=64, rank=rank, world_size=3) for rank in range(3)]
    assert len({len(train) for train, _ in shards}) == 1
    assert sum(test.num_images for _, test in shards) == 898
    assert sum(int(y.sum()) for _, test in shards for _, y in test) == int(digits.test.labels.sum())


def test_a_batch_size_of_nothing_is_no_default():
    with pytest.raises(ValueError, match="batch_size must be an integer >= 1, got 0"):
        data.build_loaders(data.load("digits"), batch_size=8, eval_batch_size=0)


def test_unknown_preset():
    with pytest.raises(ValueError, match="unknown augmentation 'flip'"):
        data.build_loaders(data.load("digits"), batch_size=10, augment="flip")


def test_a_folder_in_place_of_a_name_is_told_the_way(tmp_path):
    with pytest.raises(ValueError, match=f"the data set folder with root {tmp_path};"):
        data.load(str(tmp_path))


@pytest.mark.parametrize("validation", [5, 0.5])
def test_holding_out_all_images_of_a_class_is_refused(tmp_path, validation):
    for place in ["rare/0.png", *(f"usual/{number}.png" for number in range(9))]:
        file = tmp_path / "train" / place
        file.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (8, 8)).save(file)
    with pytest.raises(ValueError, match=r"leaves no training image of 1 classes \(rare\): hold out fewer, or add"):
        data.load("folder", root=tmp_path, validation=validation, cache=False)
    assert len(data.load("folder", root=tmp_path, validation=2, cache=False).test) == 2
