"""Class activation maps: by hand, against the logits they add up to, and where there is no CAM."""

import importlib
import logging

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from alignmixup import models
from alignmixup.evaluation.localization.cam import ClassActivation, find_linear_head, score_maps
from alignmixup.taps.layout import ExtraTokens

X = torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(0))
Y = torch.tensor([1, 2])


class Small(nn.Module):
    """A convolution, something behind it, pooling, a linear layer; pooling and ReLU are functions, not layers."""

    def __init__(self, *, relu: bool = False, hidden: bool = False, scale: float = 1.0) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 6, 3, stride=4)
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.middle = nn.Sequential(nn.Linear(6, 6), nn.ReLU()) if hidden else nn.Identity()
        self.head = nn.Linear(6, 4)
        self.relu, self.scale = relu, scale

    def forward(self, x: Tensor) -> Tensor:
        features = self.conv(x)
        if self.relu:
            features = features.relu()
        return self.head(self.middle(self.pool(features).flatten(1))) * self.scale


def test_a_cam_adds_up_to_the_logit_without_bias():
    torch.manual_seed(0)
    model = Small()
    activation = ClassActivation(model, X)
    assert (activation.place.kind, activation.place.layer, activation.place.side) == ("cam", "conv", "output")
    maps, logits = activation(X, Y)
    features = model.conv(X)
    by_hand = (model.head.weight[Y][:, :, None, None] * features).mean(1)
    torch.testing.assert_close(maps, by_hand.double(), rtol=1e-5, atol=1e-6)
    assert maps.dtype == torch.float64
    assert maps.min() < 0  # no ReLU
    own = logits.gather(1, Y[:, None])[:, 0] - model.head.bias[Y]
    torch.testing.assert_close(6 * maps.mean((1, 2)), own.double(), rtol=1e-5, atol=1e-6)


def test_what_no_layer_puts_out_is_found_where_the_pooling_takes_it_in():
    model = Small(relu=True)
    place = find_linear_head(model, X, ExtraTokens(0))
    assert (place.layer, place.side) == ("pool", "input")
    maps, _ = ClassActivation(model, X)(X, Y)
    by_hand = (model.head.weight[Y][:, :, None, None] * model.conv(X).relu()).mean(1)
    torch.testing.assert_close(maps, by_hand.double(), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("options", [{"hidden": True}, {"scale": 2.0}])
def test_no_cam_without_a_linear_layer_on_the_pooled_map(options, caplog):
    model = Small(**options)
    assert find_linear_head(model, X, ExtraTokens(0)) is None
    with pytest.raises(
        ValueError, match='Small has no linear layer on global average pooling, so no CAM: take kind="g'
    ):
        ClassActivation(model, X, kind="cam")
    with caplog.at_level(logging.INFO, logger="alignmixup"):
        assert ClassActivation(model, X).place.kind == "gradcam"
    assert "Small: no linear layer on global average pooling; Grad-CAM at conv" in caplog.text


def test_grad_cam_on_a_linear_head_is_the_positive_part_of_cam():
    model = Small()
    cam, _ = ClassActivation(model, X)(X, Y)
    gradcam, logits = ClassActivation(model, X, kind="gradcam")(X, Y)
    positions = cam.shape[1] * cam.shape[2]
    torch.testing.assert_close(gradcam * positions, cam.clamp_min(0), rtol=1e-4, atol=1e-6)
    torch.testing.assert_close(logits, model.eval()(X).detach())


def test_nothing_is_left_behind():
    model = Small(hidden=True)
    model.pool.eval()
    model.requires_grad_(False)
    model.head.requires_grad_(True)
    for kind in ("auto", "gradcam"):
        maps, logits = ClassActivation(model, X, kind=kind)(X, Y)
        assert not maps.requires_grad
        assert not logits.requires_grad
    assert all(parameter.grad is None for parameter in model.parameters())
    assert model.training
    assert not model.pool.training
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in model.modules())


@pytest.mark.parametrize(
    ("name", "options", "layer", "head"),
    [
        ("preact_resnet18", {"width": 4}, "norm", "head"),
        ("preact_resnet18", {"width": 4, "final_norm": True}, "norm", "head"),
        ("torchvision:resnet18", {}, "layer4", "fc"),
        ("torchvision:mobilenet_v2", {}, "features", "classifier.1"),
        ("timm:resnet18", {}, "layer4", "fc"),
    ],
)
def test_the_map_of_known_networks(name, options, layer, head):
    torch.manual_seed(0)
    model = models.build(name, num_classes=5, options=options)
    x = torch.randn(2, 3, 64, 64)
    activation = ClassActivation(model, x)
    assert (activation.place.kind, activation.place.layer, activation.place.head) == ("cam", layer, head)
    maps, logits = activation(x, Y)
    linear = model.get_submodule(head)
    sums = linear.in_features * maps.mean((1, 2)) + linear.bias[Y].double()
    torch.testing.assert_close(sums, logits.gather(1, Y[:, None])[:, 0].double(), rtol=1e-4, atol=1e-5)
    alone, _ = activation(x[:1], Y[:1])
    torch.testing.assert_close(alone[0], maps[0], rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("name", ["torchvision:vgg11", "timm:vit_tiny_patch16_224"])
def test_networks_with_other_heads_get_grad_cam(name):
    torch.manual_seed(0)
    size = {"image_size": 64} if name.startswith("timm") else {}
    model = models.build(name, num_classes=5, options=size)
    x = torch.randn(2, 3, 64, 64)
    activation = ClassActivation(model, x)
    maps, _ = activation(x, Y)
    assert activation.place.kind == "gradcam"
    assert maps.shape[1] == maps.shape[2] > 1
    assert maps.min() == 0
    assert maps.amax((1, 2)).min() > 0


def test_layers_and_kinds_are_checked():
    model = Small(hidden=True)
    with pytest.raises(ValueError, match=r"no layer 'konv' in Small .*did you mean conv\?"):
        ClassActivation(model, X, layer="konv")
    with pytest.raises(ValueError, match="layer is an option of Grad-CAM"):
        ClassActivation(model, X, kind="cam", layer="conv")
    with pytest.raises(ValueError, match='kind must be "auto", "cam" or "gradcam", got \'score\''):
        ClassActivation(model, X, kind="score")
    model.unused = nn.Conv2d(3, 6, 1)
    activation = ClassActivation(model, X, layer="unused")
    with pytest.raises(ValueError, match="Small never runs layer 'unused': name another one"):
        activation(X, Y)


def test_a_layer_that_is_overwritten_in_place_can_be_used():
    model = nn.Sequential(
        nn.Conv2d(3, 6, 3), nn.BatchNorm2d(6), nn.ReLU(inplace=True), nn.Flatten(), nn.Linear(6 * 900, 4)
    )
    maps, _ = ClassActivation(model, X, layer="1")(X, Y)
    assert maps.shape == (2, 30, 30)
    assert maps.amax() > 0


def test_score_maps_are_scaled_as_opencv_does_and_then_to_the_unit_range():
    cv2 = importlib.import_module("cv2")
    maps = torch.randn(3, 7, 7, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    scaled = score_maps(maps, (224, 224))
    for own, result in zip(maps.numpy(), scaled.numpy(), strict=True):
        large = cv2.resize(own, (224, 224), interpolation=cv2.INTER_CUBIC)
        np.testing.assert_allclose(result, (large - large.min()) / (large - large.min()).max(), rtol=0, atol=1e-12)
    assert scaled.amin((1, 2)).tolist() == [0] * 3
    assert scaled.amax((1, 2)).tolist() == [1] * 3


def test_maps_that_say_nothing_become_zero():
    maps = torch.rand(5, 4, 4)
    maps[0] = 0.3
    maps[1, 2, 2] = float("nan")
    maps[2, 0, 0] = float("inf")
    maps[3] = 0
    scaled = score_maps(maps, (16, 20))
    assert scaled.shape == (5, 16, 20)
    assert scaled[:4].abs().max() == 0
    assert scaled[4].max() == 1


def test_a_single_position_is_constant():
    assert score_maps(torch.rand(1, 1, 1), (8, 8)).max() == 0
