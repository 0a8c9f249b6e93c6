"""Parameter groups, rates and the weight average."""

import copy
from typing import Any

import pytest
import timm
import torch
from torch import nn

from alignmixup.training.config import OptimizerConfig
from alignmixup.training.optimization.optimizers import (
    average_weights,
    build_optimizer,
    describe_rates,
    freeze_backbone,
    set_learning_rate,
)


def network() -> nn.Module:
    return nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.Flatten(), nn.Linear(2, 3))


def test_everything_decays_by_default() -> None:
    optimizer = build_optimizer(network(), OptimizerConfig(weight_decay=0.1, nesterov=True))
    (group,) = optimizer.param_groups
    assert (len(group["params"]), group["weight_decay"], group["nesterov"], group["momentum"]) == (6, 0.1, True, 0.9)


def test_norm_and_bias_can_be_exempt() -> None:
    config = OptimizerConfig(name="adamw", weight_decay=0.1, decay_norm_and_bias=False, beta1=0.8)
    decayed, exempt = build_optimizer(network(), config).param_groups
    assert [p.ndim for p in decayed["params"]] == [4, 2]
    assert [p.ndim for p in exempt["params"]] == [1, 1, 1, 1]
    assert (decayed["weight_decay"], exempt["weight_decay"], decayed["betas"]) == (0.1, 0.0, (0.8, 0.999))


def test_extra_parameters_are_trained() -> None:
    extra = nn.Parameter(torch.zeros(2, 2))
    optimizer = build_optimizer(network(), OptimizerConfig(), extra_parameters=[extra])
    assert any(p is extra for p in optimizer.param_groups[0]["params"])


def test_a_frozen_model_is_refused() -> None:
    with pytest.raises(ValueError, match="nothing to train"):
        build_optimizer(network().requires_grad_(False), OptimizerConfig())


def test_sgd_step_by_hand() -> None:
    model = nn.Linear(1, 1, bias=False)
    nn.init.constant_(model.weight, 2.0)
    optimizer = build_optimizer(model, OptimizerConfig(lr=99.0, momentum=0.0, weight_decay=0.5))
    set_learning_rate(optimizer, 0.1)
    model.weight.grad = torch.ones_like(model.weight)
    optimizer.step()
    assert model.weight.item() == pytest.approx(2.0 - 0.1 * (1.0 + 0.5 * 2.0))


def test_average_starts_as_a_copy_then_decays_buffers_too() -> None:
    model = nn.BatchNorm1d(1)
    average = average_weights(model, 0.75)
    with torch.no_grad():
        model.weight.fill_(4.0)
    average.update_parameters(model)
    assert average.module.weight.item() == 4.0
    with torch.no_grad():
        model.weight.fill_(8.0)
        model.running_mean.fill_(1.0)
    average.update_parameters(model)
    assert average.module.weight.item() == pytest.approx(0.75 * 4 + 0.25 * 8)
    assert average.module.running_mean.item() == pytest.approx(0.25)


@pytest.mark.parametrize("name", ["sgd", "adamw"])
def test_the_fused_update_is_the_plain_one_to_rounding(name: str) -> None:
    plain = network()
    fused = copy.deepcopy(plain)
    config = OptimizerConfig(name=name, lr=0.05, nesterov=name == "sgd")
    optimizer = build_optimizer(fused, config)
    assert all(group["fused"] for group in optimizer.param_groups)
    plain_class = {"sgd": torch.optim.SGD, "adamw": torch.optim.AdamW}[name]
    given = {k: v for k, v in optimizer.defaults.items() if k not in ("fused", "foreach", "differentiable", "maximize")}
    reference = plain_class(plain.parameters(), **{k: v for k, v in given.items() if k != "decoupled_weight_decay"})
    for _ in range(3):
        for first, second in zip(plain.parameters(), fused.parameters(), strict=True):
            first.grad = torch.ones_like(first)
            second.grad = torch.ones_like(second)
        reference.step()
        optimizer.step()
    for first, second in zip(plain.parameters(), fused.parameters(), strict=True):
        torch.testing.assert_close(first, second, rtol=1e-6, atol=1e-7)


def test_muon_levels_the_singular_values_of_hidden_weights_and_leaves_the_rest_to_adamw() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.Flatten(), nn.Linear(8, 8), nn.Linear(8, 3))
    reference = copy.deepcopy(model)
    config = OptimizerConfig(name="muon", lr=0.01, momentum=0.9, weight_decay=0.0)
    optimizer = build_optimizer(model, config)
    adamw = build_optimizer(reference, OptimizerConfig(name="adamw", lr=0.01, weight_decay=0.0))
    for first, second in zip(model.parameters(), reference.parameters(), strict=True):
        first.grad = torch.randn_like(first)
        second.grad = first.grad.clone()
    before = copy.deepcopy(model)
    optimizer.step()
    adamw.step()
    hidden = {"0.weight", "3.weight"}
    for name, parameter in model.named_parameters():
        if name in hidden:
            moved = (parameter - before.get_parameter(name)).detach().flatten(1)
            values = torch.linalg.svdvals(moved)
            assert float(values.max() / values.min()) < 2.5, name
            rms = float(moved.square().mean().sqrt())  # that of AdamW is about 0.2 times the rate
            assert 0.001 < rms < 0.003, name
        else:
            torch.testing.assert_close(parameter, reference.get_parameter(name), rtol=1e-3, atol=1e-5)


class Named(nn.Module):
    """A model that says what its head is."""

    def __init__(self) -> None:
        super().__init__()
        self.body, self.extra, self.head = nn.Linear(2, 2), nn.Linear(2, 2), nn.Linear(2, 3)

    def head_parameters(self) -> list[nn.Parameter]:
        return [*self.extra.parameters(), *self.head.parameters()]


def test_the_head_has_its_own_rate_under_the_schedule() -> None:
    model = network()
    optimizer = build_optimizer(model, OptimizerConfig(lr=0.1, head_lr_factor=10.0))
    body, head = optimizer.param_groups
    assert {id(p) for p in head["params"]} == {id(p) for p in model[3].parameters()}
    assert (len(body["params"]), body["lr"], head["lr"]) == (4, 0.1, 1.0)
    set_learning_rate(optimizer, 0.02)
    assert (body["lr"], head["lr"]) == (0.02, pytest.approx(0.2))


def test_a_model_may_say_what_its_head_is() -> None:
    model = Named()
    _, head = build_optimizer(model, OptimizerConfig(head_lr_factor=0.5)).param_groups
    assert {id(p) for p in head["params"]} == {id(p) for p in model.head_parameters()}


@pytest.mark.parametrize(
    ("name", "head"),
    [
        ("deit_tiny_distilled_patch16_224", {"head", "head_dist"}),  # their mean is the answer
        ("crossvit_tiny_240", {"head.0", "head.1"}),
        ("dla46x_c", {"fc"}),  # a convolution
        ("test_vit", {"head"}),
    ],
)
def test_every_head_of_a_network_of_timm_is_trained(name: str, head: set[str]) -> None:
    with torch.device("meta"):
        model = timm.create_model(name, num_classes=3)
    freeze_backbone(model)
    trained = {key for key, parameter in model.named_parameters() if parameter.requires_grad}
    assert trained == {f"{one}.{kind}" for one in head for kind in ("weight", "bias")}


class Listed(nn.Module):
    """Lists its head first, or has one that is no linear layer."""

    def __init__(self, *, linear: bool) -> None:
        super().__init__()
        self.head = nn.Linear(4, 3) if linear else nn.Conv1d(4, 3, 1)
        self.body, self.linear = nn.Linear(2, 4), linear

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        out = self.body(x)
        return self.head(out if self.linear else out.unsqueeze(-1)).flatten(1)


@pytest.mark.parametrize("linear", [True, False])
def test_a_last_layer_that_does_not_give_the_logits_is_no_head(linear: bool) -> None:
    model = Listed(linear=linear)
    last = "head" if linear else "body"
    with pytest.raises(ValueError, match=rf"body is listed last, with 4 outputs, and {last} runs last, for 3 logits"):
        freeze_backbone(model, torch.zeros(2, 2))
    with pytest.raises(ValueError, match=r"give the model a method head_parameters\(\)"):
        build_optimizer(model, OptimizerConfig(head_lr_factor=10.0), example=torch.zeros(2, 2))
    assert not model.body._forward_hooks


@pytest.mark.parametrize("kind", [dict, tuple])
def test_a_head_is_told_in_whatever_the_model_returns(kind: type) -> None:
    class Returns(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.body, self.head = nn.Linear(2, 4), nn.Linear(4, 3)

        def forward(self, x: torch.Tensor) -> Any:
            logits = self.head(self.body(x))
            return {"logits": logits} if kind is dict else (logits, x)

    model = Returns()
    freeze_backbone(model, torch.zeros(2, 2))
    assert {name for name, one in model.named_parameters() if one.requires_grad} == {"head.weight", "head.bias"}


def test_rates_and_decay_are_chosen_apart() -> None:
    config = OptimizerConfig(head_lr_factor=3.0, decay_norm_and_bias=False, weight_decay=0.1)
    extra = nn.Parameter(torch.zeros(2, 2))
    groups = build_optimizer(network(), config, extra_parameters=[extra]).param_groups
    found = [(len(g["params"]), g.get("lr_factor", 1.0), g["weight_decay"]) for g in groups]
    assert found == [(2, 1.0, 0.1), (3, 1.0, 0.0), (1, 3.0, 0.1), (1, 3.0, 0.0)]
    assert groups[0]["params"][1] is extra


def test_head_step_by_hand() -> None:
    model = nn.Sequential(nn.Linear(1, 1, bias=False), nn.Linear(1, 1, bias=False))
    for layer in model:
        nn.init.constant_(layer.weight, 2.0)  # type: ignore[arg-type]
        layer.weight.grad = torch.ones(1, 1)
    optimizer = build_optimizer(model, OptimizerConfig(momentum=0.0, weight_decay=0.5, head_lr_factor=4.0))
    set_learning_rate(optimizer, 0.1)
    optimizer.step()
    assert [layer.weight.item() for layer in model] == pytest.approx([2 - 0.1 * 2, 2 - 0.4 * 2])


def test_the_state_of_a_run_without_the_option_still_loads() -> None:
    model = network()
    old = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    optimizer = build_optimizer(model, OptimizerConfig(head_lr_factor=1.0))
    optimizer.load_state_dict(old.state_dict())
    set_learning_rate(optimizer, 0.3)
    assert [group["lr"] for group in optimizer.param_groups] == [0.3]


def test_the_factor_survives_in_the_state() -> None:
    model = network()
    optimizer = build_optimizer(model, OptimizerConfig(head_lr_factor=10.0))
    again = build_optimizer(model, OptimizerConfig(head_lr_factor=10.0))
    again.load_state_dict(optimizer.state_dict())
    set_learning_rate(again, 0.5)
    assert [group["lr"] for group in again.param_groups] == [0.5, 5.0]


def test_a_factor_needs_a_head() -> None:
    with pytest.raises(
        ValueError,
        match=r"layer_decay, freeze and muon need a head: Conv2d has no linear layer",
    ):
        build_optimizer(nn.Conv2d(1, 1, 1), OptimizerConfig(head_lr_factor=2.0))


def layers() -> nn.Module:
    """Three layers and a head, for images of one pixel and two channels."""
    return nn.Sequential(nn.Flatten(), *(nn.Linear(2, 2) for _ in range(3)), nn.Linear(2, 3))


EXAMPLE = torch.zeros(2, 2, 1, 1)


def rates_of(model: nn.Module, optimizer: torch.optim.Optimizer) -> list[float]:
    """The rate of each layer's weight, from the first to the head."""
    rates = {id(p): group["lr"] for group in optimizer.param_groups for p in group["params"]}
    return [rates[id(layer.weight)] for layer in model if id(getattr(layer, "weight", None)) in rates]


def test_rates_fall_by_a_factor_with_each_layer_from_the_head_under_the_schedule() -> None:
    model = layers()
    config = OptimizerConfig(lr=0.8, layer_decay=0.5, decay_norm_and_bias=False)
    optimizer = build_optimizer(model, config, example=EXAMPLE)
    assert rates_of(model, optimizer) == pytest.approx([0.1, 0.2, 0.4, 0.8])
    set_learning_rate(optimizer, 0.08)
    assert rates_of(model, optimizer) == pytest.approx([0.01, 0.02, 0.04, 0.08])
    assert {(group["lr_factor"], group["weight_decay"]) for group in optimizer.param_groups} == {
        (factor, decay) for factor in (0.125, 0.25, 0.5, 1.0) for decay in (0.0, 1e-4)
    }
    assert describe_rates(optimizer, 0.8) == "learning rates of 4 groups: head 0.8, 3 0.4, 2 0.2, 1 0.1"


def test_the_head_s_factor_is_of_the_head_alone() -> None:
    model = layers()
    config = OptimizerConfig(lr=0.8, layer_decay=0.5, head_lr_factor=10.0)
    assert rates_of(model, build_optimizer(model, config, example=EXAMPLE)) == pytest.approx([0.1, 0.2, 0.4, 8.0])


def test_a_frozen_backbone_leaves_the_head_at_its_rate() -> None:
    model = layers()
    freeze_backbone(model)
    optimizer = build_optimizer(model, OptimizerConfig(lr=0.8, layer_decay=0.5, freeze=True), example=EXAMPLE)
    assert rates_of(model, optimizer) == [0.8]
    assert describe_rates(optimizer, 0.8) == ""


def test_a_mixer_s_own_parameters_have_the_rate_as_written() -> None:
    extra = nn.Parameter(torch.zeros(2, 2))
    config = OptimizerConfig(lr=0.8, layer_decay=0.5)
    optimizer = build_optimizer(layers(), config, extra_parameters=[extra], example=EXAMPLE)
    group = next(group for group in optimizer.param_groups if group["params"][0] is extra)
    assert (group["lr"], group.get("lr_factor", 1.0)) == (0.8, 1.0)


def test_the_rates_survive_in_the_state() -> None:
    config = OptimizerConfig(lr=0.8, layer_decay=0.5)
    model = layers()
    again = build_optimizer(model, config, example=EXAMPLE)
    again.load_state_dict(build_optimizer(layers(), config, example=EXAMPLE).state_dict())
    set_learning_rate(again, 0.08)
    assert rates_of(model, again) == pytest.approx([0.01, 0.02, 0.04, 0.08])


def test_the_order_of_layers_is_seen_and_not_guessed() -> None:
    with pytest.raises(ValueError, match="layer_decay needs an example"):
        build_optimizer(layers(), OptimizerConfig(layer_decay=0.5))


@pytest.mark.parametrize("value", [0.0, 1.5])
def test_a_decay_is_a_share(value: float) -> None:
    with pytest.raises(ValueError, match=r"optimizer.layer_decay must be in \(0, 1\]"):
        OptimizerConfig(layer_decay=value)
