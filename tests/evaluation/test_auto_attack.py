"""AutoAttack: an upper bound that PGD cannot beat by much, in closed form on a linear network."""

import importlib
import sys
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from alignmixup.evaluation.attack_names import describe, parse_attack
from alignmixup.evaluation.attacks import Attack, robust_error
from alignmixup.evaluation.auto_attack import AutoAttack, auto_attack_error

MEAN, STD = (0.5,), (0.25,)


class Pixels(nn.Module):
    """Logits are the first four pixels, so that an image withstands up to half the lead of its brightest one."""

    def forward(self, x: Tensor) -> Tensor:
        return 4 * x.flatten(1)[:, :4]


def network() -> nn.Module:
    return nn.Sequential(Pixels(), nn.Linear(4, 4))


def loader() -> tuple[nn.Module, list[tuple[Tensor, Tensor]]]:
    model = network()
    with torch.no_grad():
        model[1].weight.copy_(torch.eye(4))  # type: ignore[operator,union-attr]
        model[1].bias.zero_()  # type: ignore[operator,union-attr]
    pixels = torch.full((4, 1, 5, 5), 0.4)
    leads = (0.02, 0.06, 0.1, 0.2)
    for number, lead in enumerate(leads):
        pixels[number].view(-1)[number] += lead
    labels = torch.tensor([0, 1, 2, 0])  # the last one is wrong anyway
    return model, [((pixels - 0.5) / 0.25, labels)]


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Fewer rounds: the networks here are linear."""
    package = importlib.import_module("pyautoattack")

    class Quick(package.AutoAttack):  # type: ignore[misc,name-defined]
        def __init__(self, *arguments: Any, **options: Any) -> None:
            super().__init__(*arguments, **options)
            self.square.n_queries = 3
            for attack in (self.apgd, self.apgd_targeted):
                attack.n_iter = attack.n_iter_orig = 10
            self.fab.n_iter = 5

    monkeypatch.setattr(package, "AutoAttack", Quick)


def test_the_error_is_the_share_of_leads_that_the_ball_closes() -> None:
    model, batches = loader()
    seen: list[int] = []
    state = torch.get_rng_state()
    found = auto_attack_error(model, batches, AutoAttack(epsilon=0.04), mean=MEAN, std=STD, progress=seen.append)
    assert found == {"error_percent": 75.0, "images": 4}
    assert seen == [4]
    assert torch.equal(torch.get_rng_state(), state)
    plain = robust_error(model, batches, Attack(epsilon=0.04, step=0.01), mean=MEAN, std=STD)
    assert plain["error_percent"] == 75


@pytest.mark.parametrize(("factor", "error"), [(0.8, 50.0), (1.2, 75.0)])
def test_in_l2_a_lead_closes_at_its_half_times_the_root_of_two(factor: float, error: float) -> None:
    model, batches = loader()
    attack = AutoAttack(epsilon=factor * 0.06 / 2**0.5, norm="l2")
    assert auto_attack_error(model, batches, attack, mean=MEAN, std=STD)["error_percent"] == error


def test_names() -> None:
    assert describe(parse_attack("autoattack")) == "autoattack 8/255"
    assert parse_attack("autoattack-l2:epsilon=1") == AutoAttack(name="autoattack-l2", norm="l2", epsilon=1.0)
    assert describe(parse_attack("pgd-l2")) == "pgd-l2 0.5, 20 x 0.1"
    with pytest.raises(ValueError, match="autoattack has no option 'iterations=3'"):
        parse_attack("autoattack:iterations=3")


def test_what_is_missing_is_said_before_anything_is_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pyautoattack", None)
    with pytest.raises(ImportError, match=r'pyautoattack is needed for this: pip install "alignmixup\[attacks\]"'):
        parse_attack("autoattack")


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_network_in_training_is_left_as_it_was(dtype: torch.dtype) -> None:
    """The package calls backward: gradients that a loop collects must not grow, frozen parameters stay frozen."""
    model, batches = loader()
    model.to(dtype)
    weight, bias = model[1].weight, model[1].bias  # type: ignore[union-attr]
    weight.grad = torch.ones_like(weight)  # type: ignore[arg-type,union-attr]
    bias.requires_grad_(False)  # type: ignore[operator,union-attr]
    found = auto_attack_error(model, batches, AutoAttack(epsilon=0.04), mean=MEAN, std=STD)
    assert found["error_percent"] == 75
    assert torch.equal(weight.grad, torch.ones_like(weight))  # type: ignore[arg-type,union-attr]
    assert (weight.requires_grad, bias.requires_grad, bias.grad) == (True, False, None)  # type: ignore[union-attr]


def test_half_precision_is_refused_as_by_the_other_attacks() -> None:
    model, batches = loader()
    with pytest.raises(TypeError, match="attacks need float32 weights and pixels"):
        auto_attack_error(model.bfloat16(), batches, AutoAttack(), mean=MEAN, std=STD)


def test_few_classes_are_refused() -> None:
    model = nn.Sequential(nn.Flatten(), nn.Linear(4, 3))
    batches = [(torch.zeros(2, 1, 2, 2), torch.zeros(2, dtype=torch.int64))]
    with pytest.raises(ValueError, match="autoattack needs 4 classes or more, this network has 3"):
        auto_attack_error(model, batches, AutoAttack(), mean=MEAN, std=STD)


def test_images_too_small_for_its_tiles_are_refused() -> None:
    model = nn.Sequential(nn.Flatten(), nn.Linear(16, 4))
    batches = [(torch.zeros(2, 1, 4, 4), torch.zeros(2, dtype=torch.int64))]
    with pytest.raises(ValueError, match="autoattack-l2 needs images of 5 pixels or more, got 4"):
        auto_attack_error(model, batches, AutoAttack(norm="l2", epsilon=0.5), mean=MEAN, std=STD)
