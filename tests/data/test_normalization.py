import pytest

from alignmixup.data.normalization import PRESETS, normalization


def test_published_values():
    assert normalization("cifar10", channels=3) == ((0.4914, 0.4822, 0.4465), (0.2023, 0.1994, 0.2010))
    mean, std = normalization("cifar100", channels=3)
    assert [255 * value for value in mean] == pytest.approx([129.3, 124.1, 112.4])
    assert [255 * value for value in std] == pytest.approx([68.2, 65.4, 70.4])
    assert normalization("half", channels=2) == ((0.5, 0.5), (0.5, 0.5))


def test_every_preset_has_one_deviation_per_mean():
    assert all(len(mean) == len(std) and min(std) > 0 for mean, std in PRESETS.values())


def test_errors():
    with pytest.raises(ValueError, match=r"unknown normalization 'cifar'. Did you mean 'cifar10'"):
        normalization("cifar", channels=3)
    with pytest.raises(ValueError, match=r"'imagenet' is for 3 channels and the images have 1; .*half"):
        normalization("imagenet", channels=1)
