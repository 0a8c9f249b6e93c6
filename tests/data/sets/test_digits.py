import importlib
import sys

import pytest
import torch

from alignmixup import data

FIRST_LABELS = [0, 1, 2, 3, 4, 5, 6, 9, 0, 2, 3, 6]
PIXEL_SUM = 4_484_487
sklearn_datasets = importlib.import_module("sklearn.datasets")


@pytest.fixture(scope="module")
def digits() -> data.ImageData:
    return data.load("digits")


def test_all_real_digits_are_in_exactly_one_split(digits):
    source = sklearn_datasets.load_digits()
    images = torch.cat((digits.train.images, digits.test.images))
    assert images.shape == (1797, 1, 8, 8)
    expected = (torch.from_numpy(source.images) * 255 / 16).round().to(torch.uint8).view(1797, -1)
    found = images.view(1797, -1)
    assert sorted(map(tuple, found.tolist())) == sorted(map(tuple, expected.tolist()))
    counts = torch.bincount(digits.train.labels) - torch.bincount(digits.test.labels)
    assert counts.abs().max() <= 2


def test_reading_them_imports_no_scikit_learn(monkeypatch):
    for name in [name for name in sys.modules if name.partition(".")[0] == "sklearn"]:
        monkeypatch.delitem(sys.modules, name)
    data.load("digits")
    assert "sklearn" not in sys.modules


def test_split_is_fixed(digits):
    assert digits.train.labels[:12].tolist() == FIRST_LABELS
    assert int(digits.train.images.long().sum()) == PIXEL_SUM


def test_constants_are_those_of_the_training_pixels(digits):
    x = digits.train.images.double() / 255
    assert digits.mean == pytest.approx((x.mean().item(),), abs=1e-4)
    assert digits.std == pytest.approx((x.std().item(),), abs=1e-4)
    assert (digits.num_classes, digits.channels, digits.image_size, digits.augment) == (10, 1, 8, "crop1")


def test_enlarged_digits_are_the_same_digits(digits):
    larger = data.load("digits", image_size=20)
    assert larger.image_size == 20
    assert torch.equal(larger.train.images[:, :, 2:18:2, 2:18:2], digits.train.images)
    assert torch.equal(larger.train.labels, digits.train.labels)


def test_too_small():
    with pytest.raises(ValueError, match="image_size must be >= 8"):
        data.load("digits", image_size=7)


def test_without_scikit_learn(monkeypatch):
    monkeypatch.setitem(sys.modules, "sklearn", None)
    with pytest.raises(ImportError, match=r'pip install "alignmixup\[train\]"'):
        data.load("digits")
