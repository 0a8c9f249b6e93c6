"""Is a robust error the network's, or does the attack merely not find what is there? Checks against gradient masking.

After Athalye, Carlini & Wagner, Obfuscated Gradients Give a False Sense of Security, ICML 2018, Sec. 3.1, and Carlini
et al., On Evaluating Adversarial Robustness, 2019, Sec. 5. A check that warns does not prove masking: it says that the
error under the attack is a lower bound to be distrusted.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import replace
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn

from alignmixup.evaluation.attacks import Attack, is_right, robust_error
from alignmixup.evaluation.outputs import Progress, no_progress
from alignmixup.modules import device_of, dtype_of, evaluation_mode
from alignmixup.normalization import Normalization

_MORE_STEPS = 5  # times as many iterations
_RESTARTS = 5
_NOISES = 10  # tries of the attack that asks no gradient
_FACTORS = (0.5, 2.0, 4.0)  # of epsilon
_TOLERANCE = 1.0  # percentage points that an error may move the wrong way, at least one image
_GAIN = 5.0  # percentage points that a stronger attack may find before the usual one counts as weak
_UNBOUNDED_L2 = (1e3, 10.0)  # epsilon, beyond the diagonal of images of 500 pixels and less, and step
_ZERO = 5.0  # percent of gradient entries that may be exactly zero


def check_attack(
    model: nn.Module,
    loader: Iterable[tuple[Tensor, Tensor]],
    attack: Attack,
    *,
    mean: Sequence[float],
    std: Sequence[float],
    seed: int = 0,
    progress: Progress = no_progress,
) -> dict[str, Any]:
    """Run the checks on a few hundred images; ready for JSON.

    The checks, each with its numbers, ``passed`` and, where it did not pass, what that means:

    - ``more_steps``: five times as many iterations find no fewer errors, and not many more.
    - ``loss_rises``: the mean loss at the end is the highest of the path, and above that at the start.
    - ``restarts``: four more random starts do not find many more errors.
    - ``epsilon``: a larger ball never helps the network.
    - ``unbounded``: free to change every pixel as it likes, the attack fools the network on all images.
    - ``gradients``: few gradients are exactly zero.
    - ``noise``: random corners of the ball, which need no gradient, are no better than the attack; in l2, points of the
      ball in the directions of the corners of the cube.

    Arguments are those of `robust_error`. The loader is read several times, the attack's restarts are not repeated, and
    ``progress`` hears of each image `passes` times.

    Raises:
        ValueError: the loader yields nothing, or the attack's epsilon is 0.
    """
    if attack.epsilon == 0:
        raise ValueError("an attack of epsilon 0 changes nothing, so there is nothing to check")
    given: dict[str, Any] = {"mean": mean, "std": std, "seed": seed, "progress": progress}
    usual = replace(attack, restarts=1)
    long = robust_error(model, loader, replace(usual, iterations=_MORE_STEPS * attack.iterations), **given)
    again = robust_error(model, loader, replace(usual, random_start=True, restarts=_RESTARTS), **given)
    sweep = [
        _at_epsilon(usual, factor * usual.epsilon) for factor in _FACTORS if factor * usual.epsilon <= usual.largest
    ]
    errors = {item.epsilon: robust_error(model, loader, item, **given)["error_percent"] for item in sweep}
    epsilon, step = (1.0, 4 / max(usual.iterations, 4)) if usual.norm == "linf" else _UNBOUNDED_L2
    free = replace(usual, epsilon=epsilon, step=max(usual.step, step))
    unbounded = robust_error(model, loader, replace(free, iterations=max(free.iterations, 20)), **given)
    clean, noise = _noise_error(model, loader, usual, **given)
    images, error, more = long["images"], long["path_error_percent"][usual.iterations], long["error_percent"]
    loss, by_restart = long["path_loss"][: usual.iterations + 1], again["restart_error_percent"]
    zero = long["zero_gradient_percent"]
    by_epsilon = dict(sorted({0.0: clean, usual.epsilon: error, **errors}.items()))
    allowed = max(_TOLERANCE, 100 / images)
    # name: numbers, and what may be wrong with them; the first that is counts
    checks: dict[str, tuple[dict[str, Any], dict[str, bool]]] = {
        "more_steps": (
            {"iterations": [usual.iterations, _MORE_STEPS * usual.iterations], "error_percent": [error, more]},
            {
                "more iterations find fewer errors: the step is too large, or gradients mislead": more
                < error - allowed,
                f"{usual.iterations} iterations are too few: report the error under more": more > error + _GAIN,
            },
        ),
        "loss_rises": (
            {"loss": loss},
            {
                "the loss is not finite": None in loss,
                "the loss does not rise along the path": None not in loss and _falls(loss),
            },
        ),
        "restarts": (
            {"error_percent": by_restart},
            {"one random start is too few: report the error under several": by_restart[-1] > by_restart[0] + _GAIN},
        ),
        "epsilon": (
            {"epsilon": list(by_epsilon), "error_percent": list(by_epsilon.values())},
            {
                "a larger ball finds fewer errors: gradients mislead": any(
                    larger < smaller - allowed for smaller, larger in pairwise(by_epsilon.values())
                )
            },
        ),
        "unbounded": (
            {"error_percent": unbounded["error_percent"]},
            {"even without a bound the attack does not fool the network": unbounded["error_percent"] < 100 - allowed},
        ),
        "gradients": (
            {"zero_percent": zero, "images_without_percent": long["images_without_gradient_percent"]},
            {"many gradients are exactly zero (a saturated soft-max or dead units)": zero > _ZERO},
        ),
        "noise": (
            {"error_percent": noise, "tries": _NOISES},
            {"random noise does better than the gradient": noise > error + allowed},
        ),
    }
    rows = []
    for name, (numbers, faults) in checks.items():
        problem = next((text for text, wrong in faults.items() if wrong), "")
        rows.append({"name": name, "passed": not problem, **numbers, "problem": problem})
    return {"images": images, "passed": all(row["passed"] for row in rows), "checks": rows}


def _falls(loss: list[float]) -> bool:
    # a hair's breadth: near its maximum the loss of the last steps wanders about
    return loss[-1] <= loss[0] or loss[-1] < loss[0] + 0.95 * (max(loss) - loss[0])


def passes(attack: Attack) -> int:
    """How often `check_attack` reports each image."""
    return 4 + sum(factor * attack.epsilon <= attack.largest for factor in _FACTORS)


def _at_epsilon(attack: Attack, epsilon: float) -> Attack:
    """The attack in another ball, whose steps still cross it."""
    step = epsilon if attack.iterations == 1 else max(attack.step, 2.5 * epsilon / attack.iterations)
    return replace(attack, epsilon=epsilon, step=min(step, attack.largest))


@torch.no_grad()
def _noise_error(
    model: nn.Module,
    loader: Iterable[tuple[Tensor, Tensor]],
    attack: Attack,
    *,
    mean: Sequence[float],
    std: Sequence[float],
    seed: int,
    progress: Progress,
) -> tuple[float, float]:
    """Error of the clean images, and where one of several random corners of the ball fools the network."""
    generator = torch.Generator().manual_seed(seed)
    normalization = Normalization.of(mean, std, device=device_of(model), dtype=dtype_of(model))
    totals = torch.zeros(3, dtype=torch.float64)
    with evaluation_mode(model):
        for x, y in loader:
            pixels = normalization.undo(x)
            clean = fooled = ~is_right(model(normalization.apply(pixels)), y)
            corners = torch.randint(0, 2, (len(x), _NOISES, *x.shape[1:]), generator=generator, dtype=torch.int8)
            reach = attack.epsilon / (1.0 if attack.norm == "linf" else math.sqrt(x[0].numel()))
            for corner in corners.unbind(1):
                moved = (pixels + reach * (2 * corner.to(pixels) - 1)).clamp(0, 1)
                fooled = fooled | ~is_right(model(normalization.apply(moved)), y)
            totals += torch.tensor([float(clean.sum()), float(fooled.sum()), len(x)], dtype=torch.float64)
            progress(len(x))
    clean_error, noise_error, images = totals.tolist()
    return 100 * clean_error / images, 100 * noise_error / images
