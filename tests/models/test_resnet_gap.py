"""ResNet-50 with the strides of localisation."""

import math
from urllib.error import URLError

import pytest
import torch
from torch import nn

from alignmixup import models, taps

FETCH = "torchvision.models._api.load_state_dict_from_url"
SHORT = {"blocks": [1, 1, 1, 1]}


@pytest.mark.parametrize(
    ("strides", "positions"),
    [([1, 2, 2, 1], 4), ([1, 2, 1, 1], 8), ([1, 2, 2, 2], 2)],  # of 64 pixels; 14, 28 and 7 of 224
    ids=["usual", "large", "plain"],
)
def test_positions_of_the_map(strides, positions):
    model = models.build("resnet50_gap", num_classes=4, options={**SHORT, "strides": strides})
    x = torch.randn(2, 3, 64, 64)
    found = taps.probe(model, x)
    assert found.last() == "layer4"
    assert found.layers[-1].shape == (2, 2048, positions, positions)
    assert taps.layer_use(model, x, "layer4") == "mean"


def test_strides_change_the_first_block_and_its_shortcut_alone():
    model = models.build("resnet50_gap", num_classes=4)
    assert [len(getattr(model, f"layer{i}")) for i in (1, 2, 3, 4)] == [3, 4, 6, 3]
    for number, stride in zip((1, 2, 3, 4), (1, 2, 2, 1), strict=True):
        for index, block in enumerate(getattr(model, f"layer{number}")):
            wanted = (stride, stride) if index == 0 else (1, 1)
            assert block.conv2.stride == wanted
            assert (block.conv1.stride, block.conv3.stride, block.conv2.dilation) == ((1, 1), (1, 1), (1, 1))
            if index == 0:
                assert block.downsample[0].stride == wanted


def test_with_the_usual_strides_it_is_torchvisions_network():
    usual = models.build("torchvision:resnet50", num_classes=4).eval()
    same = models.build("resnet50_gap", num_classes=4, options={"strides": [1, 2, 2, 2]}).eval()
    same.load_state_dict(usual.state_dict())
    x = torch.randn(1, 3, 64, 64)
    with torch.no_grad():
        assert torch.equal(same(x), usual(x))


def test_start_values():
    torch.manual_seed(0)
    model = models.build("resnet50_gap", num_classes=50, options=SHORT)
    weight = model.layer3[0].conv2.weight
    assert weight.abs().max().item() == pytest.approx(math.sqrt(6 / (9 * (256 + 256))), rel=0.01)
    assert weight.std().item() == pytest.approx(math.sqrt(2 / (9 * (256 + 256))), rel=0.02)
    assert model.fc.weight.std().item() == pytest.approx(0.01, rel=0.05)
    assert model.fc.bias.abs().max() == 0
    norms = [layer for layer in model.modules() if isinstance(layer, nn.BatchNorm2d)]
    assert all((layer.weight == 1).all() and (layer.bias == 0).all() for layer in norms)


def test_usual_weights_load_unchanged(tmp_path, monkeypatch):
    published = models.build("torchvision:resnet50", num_classes=1000).state_dict()
    monkeypatch.setattr(FETCH, lambda url, **_keywords: dict(published) if "resnet50-0676ba61" in url else {})
    model = models.build("resnet50_gap", num_classes=3, options={"pretrained": True})
    own = model.state_dict()
    assert all(torch.equal(own[key], value) for key, value in published.items() if not key.startswith("fc."))
    assert model.fc.out_features == 3
    torch.save(published, tmp_path / "resnet50.pth")
    whole = models.build("resnet50_gap", num_classes=1000, options={"weights": tmp_path / "resnet50.pth"})
    assert torch.equal(whole.fc.weight, published["fc.weight"])


def test_weights_that_cannot_be_had(monkeypatch):
    def refuse(*_args, **_keywords):
        raise URLError("no network")

    monkeypatch.setattr(FETCH, refuse)
    with pytest.raises(FileNotFoundError, match=r"resnet50-0676ba61.*no network.*weights=PATH"):
        models.build("resnet50_gap", num_classes=3, options={**SHORT, "pretrained": True})


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"strides": [1, 2, 2]}, r"strides must hold 4 numbers, one per stage, got \(1, 2, 2\)"),
        ({"strides": [1, 2, 2, 0]}, "strides must be an integer >= 1, got 0"),
        ({"blocks": [3, 4, 6, "3"]}, "every element of blocks must be a whole number, got '3'"),
        ({"in_channels": 0}, "in_channels must be an integer >= 1"),
    ],
)
def test_options_out_of_range(options, message):
    with pytest.raises((TypeError, ValueError), match=message):
        models.build("resnet50_gap", num_classes=3, options=options)


def test_other_channels():
    model = models.build("resnet50_gap", num_classes=3, options={**SHORT, "in_channels": 1}).eval()
    assert model(torch.zeros(1, 1, 32, 32)).shape == (1, 3)
