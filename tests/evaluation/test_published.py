"""The paper's numbers."""

import pytest

from alignmixup.evaluation.published import published_error, published_errors, published_localization


def test_errors_by_data_network_and_method() -> None:
    assert published_error("cifar100", "preact_resnet18", "alignmixup") == 18.29
    assert published_error("imagenet", "torchvision:resnet50", "alignmixup_ae") == 18.83
    assert published_error("tiny-imagenet", "preact_resnet18", "stylecutmix") == 34.49
    assert published_error("imagenet", "torchvision:resnet50", "comixup") is None
    assert published_error("cifar100", "torchvision:resnet18", "alignmixup") is None
    assert published_errors("digits", "preact_resnet18") == {}


@pytest.mark.parametrize("data", ["cifar10", "cifar100", "tiny-imagenet"])
def test_every_column_has_eight_methods_and_ends_below_its_baseline(data: str) -> None:
    errors = published_errors(data, "preact_resnet18")
    assert len(errors) == 8
    assert min(errors, key=lambda name: errors[name]) == "alignmixup_ae"
    assert errors["baseline"] > errors["alignmixup"]


def test_localization() -> None:
    assert published_localization("cub", "resnet50_gap", "alignmixup") == {"top1": 56.2, "maxboxacc_v2": 65.4}
    assert published_localization("cub", "vgg16_gap", "comixup") == {}
    assert published_localization("cifar10", "vgg16_gap", "mixup") == {}
