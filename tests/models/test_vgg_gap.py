"""VGG-GAP: its map, its start values, the weights of a VGG-16."""

import importlib
import itertools
import math
from urllib.error import URLError

import pytest
import torch
from torch import nn

from alignmixup import AlignMixup, models, taps
from alignmixup.models.vgg_gap import VGG16GAP

FETCH = "torchvision.models._api.load_state_dict_from_url"
SMALL = {"width": 2, "convolutions": (1, 1, 1, 1, 1)}
# torchvision's VGG-16: where its convolutions stand among its layers
VGG16 = (0, 2, 5, 7, 10, 12, 14, 17, 19, 21, 24, 26, 28)
CHANNELS = (3, 64, 64, 128, 128, 256, 256, 256, 512, 512, 512, 512, 512, 512)


def convolutions(model):
    return [layer for layer in model.features if isinstance(layer, nn.Conv2d)]


@pytest.mark.parametrize(
    ("options", "side", "positions"),
    [({}, 224, 14), ({"pools": 3}, 224, 28), ({"pools": 5}, 224, 7), ({"pools": 3}, 64, 8), ({"pools": 2}, 64, 16)],
)
def test_positions_of_the_map(options, side, positions):
    model = VGG16GAP(5, **SMALL, **options).eval()
    x = torch.randn(1, 3, side, side)
    with torch.no_grad():
        found = model.extra(model.features(x))
        assert found.shape == (1, 32, positions, positions)
        assert found.min() == 0  # after a ReLU
        logits = found.mean((2, 3)) @ model.head.weight.T + model.head.bias
        torch.testing.assert_close(model(x), logits)


def test_the_full_network_has_the_parameters_of_vgg16_and_two_new_layers():
    model = models.build("vgg16_gap", num_classes=200)
    assert [layer.in_channels for layer in convolutions(model)] == list(CHANNELS[:-1])
    assert [layer.out_channels for layer in convolutions(model)] == list(CHANNELS[1:])
    assert sum(p.numel() for p in model.features.parameters()) == 14_714_688
    assert sum(p.numel() for p in model.head_parameters()) == (512 * 9 + 1) * 1024 + 1025 * 200
    assert not any(isinstance(layer, (nn.BatchNorm2d, nn.Dropout)) for layer in model.modules())
    assert sum(isinstance(layer, nn.MaxPool2d) for layer in model.features) == 4
    head = {id(p) for p in model.head_parameters()}
    assert head == {id(p) for p in model.parameters()} - {id(p) for p in model.features.parameters()}


def test_start_values():
    torch.manual_seed(0)
    model = VGG16GAP(50, width=16)
    for layer in [*convolutions(model), model.extra[0]]:
        assert layer.weight.std().item() == pytest.approx(math.sqrt(2 / (9 * layer.out_channels)), rel=0.1)
        assert layer.bias.abs().max() == 0
    assert model.head.weight.std().item() == pytest.approx(0.01, rel=0.05)
    assert model.head.bias.abs().max() == 0


def vgg16_state(seed=0):
    generator = torch.Generator().manual_seed(seed)
    state = {}
    for number, (inner, outer) in zip(VGG16, itertools.pairwise(CHANNELS), strict=True):
        state[f"features.{number}.weight"] = torch.randn(outer, inner, 3, 3, generator=generator)
        state[f"features.{number}.bias"] = torch.randn(outer, generator=generator)
    return state | {"classifier.0.weight": torch.zeros(4, 4), "classifier.0.bias": torch.zeros(4)}


@pytest.mark.parametrize("pools", [3, 4])
def test_weights_go_to_the_convolutions_in_their_order(tmp_path, pools):
    state = vgg16_state()
    torch.save(dict(reversed(state.items())), tmp_path / "vgg16.pth")
    torch.manual_seed(1)
    model = models.build("vgg16_gap", num_classes=3, options={"weights": tmp_path / "vgg16.pth", "pools": pools})
    for layer, number in zip(convolutions(model), VGG16, strict=True):
        assert torch.equal(layer.weight, state[f"features.{number}.weight"])
        assert torch.equal(layer.bias, state[f"features.{number}.bias"])
    torch.manual_seed(1)
    fresh = VGG16GAP(3, pools=pools)
    assert all(torch.equal(a, b) for a, b in zip(model.head_parameters(), fresh.head_parameters(), strict=True))


def test_names_are_those_of_torchvision():
    with torch.device("meta"):
        network = importlib.import_module("torchvision.models").vgg16(weights=None)
    found = {key: tuple(value.shape) for key, value in network.state_dict().items() if value.ndim == 4}
    expected = {key: tuple(value.shape) for key, value in vgg16_state().items() if value.ndim == 4}
    assert found == expected


def test_pretrained_weights_are_downloaded_or_asked_for(monkeypatch):
    state = vgg16_state()
    monkeypatch.setattr(FETCH, lambda url, **_keywords: state if "vgg16-397923af" in url else {})
    model = models.build("vgg16_gap", num_classes=3, options={"pretrained": True})
    assert torch.equal(convolutions(model)[-1].weight, state["features.28.weight"])

    def refuse(*_args, **_keywords):
        raise URLError("no network")

    monkeypatch.setattr(FETCH, refuse)
    with pytest.raises(FileNotFoundError, match=r"vgg16-397923af.*no network.*put it at .*checkpoints.*weights=PATH"):
        models.build("vgg16_gap", num_classes=3, options={"pretrained": True})
    with pytest.raises(ValueError, match=r"pretrained weights are for width 64, convolutions .* and 3 channels, got 8"):
        models.build("vgg16_gap", num_classes=3, options={"pretrained": True, "width": 8})


def test_weights_of_another_network(tmp_path):
    torch.save({"features.0.weight": torch.zeros(64, 3, 3, 3), "features.0.bias": torch.zeros(64)}, tmp_path / "a.pth")
    with pytest.raises(
        ValueError, match=r"13 convolutions with biases are expected.*there are 1, from \(64, 3, 3, 3\)"
    ):
        models.build("vgg16_gap", num_classes=3, options={"weights": tmp_path / "a.pth"})
    torch.save({"conv1.weight": torch.zeros(64, 3, 7, 7)}, tmp_path / "b.pth")
    with pytest.raises(ValueError, match=r"there are 0$"):
        models.build("vgg16_gap", num_classes=3, options={"weights": tmp_path / "b.pth"})


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"pools": 6}, "pools must be at most 5, one for each block, got 6"),
        ({"pools": 0}, "pools must be an integer >= 1, got 0"),
        ({"width": 0}, "width must be an integer >= 1"),
        ({"convolutions": (2, 2)}, r"convolutions must hold 5 numbers, one per block, got \(2, 2\)"),
        ({"convolutions": (1, 1, 1, 1, 0)}, "convolutions must be an integer >= 1, got 0"),
        ({"in_channels": 0}, "in_channels must be an integer >= 1"),
    ],
)
def test_options_out_of_range(options, message):
    with pytest.raises(ValueError, match=message):
        models.build("vgg16_gap", num_classes=3, options=options)


def test_taps_find_the_map_before_the_pooling():
    model = VGG16GAP(4, **SMALL)
    x = torch.randn(2, 3, 224, 224)
    found = taps.probe(model, x)
    assert found.last() == "extra"
    assert found.layers[-1].shape == (2, 32, 14, 14)
    assert taps.layer_use(model, x, "extra") == "mean"
    assert taps.layer_use(model, x, "features") == "positions"
    mixer = AlignMixup(model, num_classes=4, input_probability=0.0, generator=torch.Generator().manual_seed(0))
    with pytest.warns(UserWarning, match="extra"), mixer(x, torch.tensor([0, 1])) as batch:
        batch.loss(model(batch.x), nn.functional.cross_entropy).backward()
    assert list(batch.hidden) == ["extra"]
