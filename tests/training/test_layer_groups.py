"""Groups of a network's parameters by depth, against those that timm gives to its own networks."""

import pytest
import timm
import torch
from torch import nn

from alignmixup import models
from alignmixup.training.optimization.layer_groups import LayerGroup, layer_groups


def groups_of(model: nn.Module, size: int = 32, channels: int = 3) -> list[LayerGroup]:
    linear = [module for module in model.modules() if isinstance(module, nn.Linear)]
    head = {id(p) for p in linear[-1].parameters()}
    return layer_groups(model, torch.zeros(2, channels, size, size), head=head)


@pytest.mark.parametrize(
    ("name", "size", "others"),
    [
        ("vit_tiny_patch16_224", 224, ()),
        ("resnet18", 32, ()),
        ("swin_tiny_patch4_window7_224", 224, ()),
        ("efficientnet_b0", 32, ()),
        ("convnext_atto", 32, ("head.norm.weight", "head.norm.bias")),  # a norm goes with the block before it
    ],
)
def test_are_those_of_timm(name: str, size: int, others: tuple[str, ...]) -> None:
    model = timm.create_model(name, num_classes=3)
    theirs = timm.models.group_parameters(model, model.group_matcher(coarse=False), reverse=True)
    groups = groups_of(model, size)
    ours = {id(p): depth for depth, group in enumerate(groups) for p in group.parameters}
    found = {key: ours.get(id(p), len(groups)) for key, p in model.named_parameters()}
    assert {key: value for key, value in found.items() if value != theirs[key]}.keys() == set(others)


class Backwards(nn.Module):
    """Lists its layers in the opposite order to that in which they run, and one that never runs."""

    def __init__(self) -> None:
        super().__init__()
        self.head = nn.Linear(4, 2)
        self.never = nn.Linear(7, 7)
        self.late, self.norm, self.early = nn.Linear(4, 4), nn.BatchNorm1d(4), nn.Linear(3, 4)
        self.shift = nn.Parameter(torch.zeros(1, 4))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        out: torch.Tensor = self.head(self.late(self.norm(self.early(x.mean((2, 3))))) + self.shift)
        return out


def test_follow_the_order_of_the_forward_and_hold_every_parameter_once() -> None:
    model = Backwards()
    groups = layer_groups(model, torch.zeros(2, 3, 8, 8), head={id(p) for p in model.head.parameters()})
    assert [group.name for group in groups] == ["early", "late"]
    assert [id(p) for p in model.norm.parameters()] == [id(p) for p in groups[0].parameters[-2:]]
    held = [id(p) for group in groups for p in group.parameters]
    assert sorted(held) == sorted(id(p) for p in model.parameters() if not any(p is q for q in model.head.parameters()))


def test_looking_leaves_no_trace() -> None:
    model = Backwards().train()
    model.late.eval()
    before = model.norm.running_mean.clone()  # type: ignore[union-attr]
    layer_groups(model, torch.ones(2, 3, 8, 8))
    assert torch.equal(before, model.norm.running_mean)  # type: ignore[arg-type]
    assert (model.training, model.norm.training, model.late.training) == (True, True, False)
    assert not any(part._forward_pre_hooks for part in model.modules())


def test_without_blocks_each_layer_is_a_group() -> None:
    conv = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Conv2d(4, 4, 3), nn.BatchNorm2d(4))
    model = nn.Sequential(conv, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 2))
    assert [(group.name, len(group.parameters)) for group in groups_of(model)] == [("0.0", 4), ("0.3", 4)]


def test_a_network_of_ours_has_a_stem_and_its_blocks() -> None:
    model = models.build("preact_resnet18", num_classes=3, options={"width": 4})
    names = [group.name for group in groups_of(model)]
    assert len(names) == 9
    assert names[1:3] == ["stage1.0", "stage1.1"]
