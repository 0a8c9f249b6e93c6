"""The checks pass on an honest network and see each kind of masking."""

import pytest
import torch
from torch import Tensor, nn

from alignmixup.evaluation.attack_checks import check_attack, passes
from alignmixup.evaluation.attacks import Attack, fgsm_attack

MEAN, STD = (0.0,), (1.0,)
ATTACK = Attack(epsilon=0.05, step=0.02, iterations=10)


class Stripe(nn.Module):
    """Two classes by the mean grey value; ``sharpness`` decides how confident it is."""

    def __init__(self, sharpness: float) -> None:
        super().__init__()
        self.sharpness = nn.Parameter(torch.tensor(sharpness))

    def forward(self, x: Tensor) -> Tensor:
        score = self.sharpness * (x.mean(dim=(1, 2, 3)) - 0.5)
        return torch.stack([-score, score], dim=1)


class Rounded(Stripe):
    """The same on rounded pixels, whose gradient is zero."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward((x * 20).round() / 20 + 0 * x)


class Reversed(Stripe):
    """The same with a gradient that points the other way."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(2 * x.detach() - x)


def loader() -> list[tuple[Tensor, Tensor]]:
    generator = torch.Generator().manual_seed(0)
    level = torch.linspace(0.3, 0.7, 60)
    x = (level.view(-1, 1, 1, 1) + 0.02 * torch.randn(60, 1, 4, 4, generator=generator)).clamp(0, 1)
    y = (level > 0.5).long()
    return list(zip(x.split(32), y.split(32), strict=True))


class Lost(Stripe):
    """Gives no number for dark images; arg-max makes the first class, which is theirs, of it."""

    def forward(self, x: Tensor) -> Tensor:
        logits = super().forward(x)
        return torch.where((logits[:, 0] > 0)[:, None], torch.tensor(float("nan")), logits)


def run(model: nn.Module, attack: Attack = ATTACK) -> tuple[dict[str, dict], dict]:
    result = check_attack(model, loader(), attack, mean=MEAN, std=STD)
    return {check["name"]: check for check in result["checks"]}, result


def test_logits_that_are_not_finite_are_wrong_in_each_check() -> None:
    checks, _ = run(Lost(10.0), fgsm_attack(1e-6))
    (first, *rest), noise = checks["epsilon"]["error_percent"], checks["noise"]["error_percent"]
    assert first >= 45
    assert [*rest, noise] == pytest.approx([first] * 5)


def test_a_network_of_double_precision_is_checked_as_another() -> None:
    single, double = run(Stripe(10.0))[0], run(Stripe(10.0).double())[0]
    for name in ("epsilon", "noise", "restarts"):
        assert double[name]["error_percent"] == pytest.approx(single[name]["error_percent"])


def test_an_honest_network_passes() -> None:
    checks, result = run(Stripe(10.0))
    assert result["passed"], [check for check in checks.values() if not check["passed"]]
    assert result["images"] == 60
    names = ["more_steps", "loss_rises", "restarts", "epsilon", "unbounded", "gradients", "noise"]
    assert list(checks) == names
    assert checks["unbounded"]["error_percent"] == 100
    assert checks["epsilon"]["epsilon"] == pytest.approx([0, 0.025, 0.05, 0.1, 0.2])
    errors = checks["epsilon"]["error_percent"]
    assert errors == sorted(errors)
    assert errors[0] < 5 < 20 < errors[2] < errors[4]  # about 0.05 / 0.2 of the images lie within the ball
    assert checks["more_steps"]["iterations"] == [10, 50]
    assert checks["gradients"]["zero_percent"] == 0
    assert all(check["problem"] == "" for check in checks.values())


def test_saturation_is_seen() -> None:
    checks, result = run(Stripe(1e5))
    assert not result["passed"]
    assert not checks["gradients"]["passed"]
    assert checks["gradients"]["images_without_percent"] > 50
    assert not checks["unbounded"]["passed"]


def test_no_gradient_at_all_is_seen() -> None:
    checks, _ = run(Rounded(10.0))
    assert checks["gradients"]["zero_percent"] == 100
    assert not checks["loss_rises"]["passed"]


def test_a_misleading_gradient_is_seen() -> None:
    checks, _ = run(Reversed(10.0))
    assert not checks["loss_rises"]["passed"]
    assert not checks["unbounded"]["passed"]
    assert checks["loss_rises"]["problem"] == "the loss does not rise along the path"


def test_too_few_iterations_are_seen() -> None:
    checks, _ = run(Stripe(10.0), Attack(epsilon=0.1, step=0.002, iterations=4, random_start=False))
    assert not checks["more_steps"]["passed"]
    assert "4 iterations are too few" in checks["more_steps"]["problem"]


def test_progress_is_told_in_advance() -> None:
    seen = []
    check_attack(Stripe(10.0), loader(), ATTACK, mean=MEAN, std=STD, progress=seen.append)
    assert sum(seen) == passes(ATTACK) * 60
    assert passes(Attack(epsilon=0.5)) == passes(ATTACK) - 1


def test_a_single_step_attack_can_be_checked() -> None:
    checks, _ = run(Stripe(10.0), fgsm_attack(0.05))
    assert checks["more_steps"]["iterations"] == [1, 5]
    with pytest.raises(ValueError, match="nothing to check"):
        run(Stripe(10.0), fgsm_attack(0.0))
