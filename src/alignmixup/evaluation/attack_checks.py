"""Is a robust error the network's, or does the attack merely not find what is there? Checks against gradient masking.

After Athalye, Carlini & Wagner, Obfuscated Gradients Give a False Sense of Security, ICML 2018, Sec. 3.1, and Carlini
et al., On Evaluating Adversarial Robustness, 2019, Sec. 5. A check that warns does not prove masking: it says that the
error under the attack is a lower bound to be distrusted.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn

from alignmixup.evaluation.attacks import Attack, robust_error
from alignmixup.evaluation.outputs import Progress, no_progress
from alignmixup.modules import device_of, evaluation_mode
from alignmixup.normalization import Normalization

_MORE_STEPS = 5  # times as many iterations
_RESTARTS = 5
_NOISES = 10  # tries of the attack that asks no gradient
_FACTORS = (0.5, 2.0, 4.0)  # of epsilon
_TOLERANCE = 1.0  # percentage points that an error may move the wrong way, at least one image
_GAIN = 5.0  # percentage points that a stronger attack may find before the usual one counts as weak
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
    - ``noise``: random corners of the ball, which need no gradient, are no better than the attack.

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
    sweep = [_at_epsilon(usual, factor * usual.epsilon) for factor in _FACTORS if factor * usual.epsilon <= 1]
    errors = {item.epsilon: robust_error(model, loader, item, **given)["error_percent"] for item in sweep}
    free = replace(usual, epsilon=1.0, step=max(usual.step, 4 / max(usual.iterations, 4)))
    unbounded = robust_error(model, loader, replace(free, iterations=max(free.iterations, 20)), **given)
    clean, noise = _noise_error(model, loader, usual, **given)
    error = long["path_error_percent"][usual.iterations]
    by_epsilon = dict(sorted({0.0: clean, usual.epsilon: error, **errors}.items()))
    checks = [
        _more_steps(error, long, usual.iterations),
        _loss_rises(long["path_loss"][: usual.iterations + 1]),
        _restarts(again["restart_error_percent"]),
        _epsilon(by_epsilon, long["images"]),
        _unbounded(unbounded["error_percent"], long["images"]),
        _gradients(long),
        _noise(noise, error, long["images"]),
    ]
    return {"images": long["images"], "passed": all(check["passed"] for check in checks), "checks": checks}


def passes(attack: Attack) -> int:
    """How often `check_attack` reports each image."""
    return 4 + sum(factor * attack.epsilon <= 1 for factor in _FACTORS)


def _at_epsilon(attack: Attack, epsilon: float) -> Attack:
    """The attack in another ball, whose steps still cross it."""
    step = epsilon if attack.iterations == 1 else max(attack.step, 2.5 * epsilon / attack.iterations)
    return replace(attack, epsilon=epsilon, step=min(step, 1.0))


def _more_steps(error: float, long: dict[str, Any], iterations: int) -> dict[str, Any]:
    more = long["error_percent"]
    allowed = _allowed(long["images"])
    if more < error - allowed:
        problem = "more iterations find fewer errors: the step is too large, or gradients mislead"
    elif more > error + _GAIN:
        problem = f"{iterations} iterations are too few: report the error under more"
    else:
        problem = ""
    numbers = {"iterations": [iterations, _MORE_STEPS * iterations], "error_percent": [error, more]}
    return _check("more_steps", numbers, problem)


def _loss_rises(loss: list[float | None]) -> dict[str, Any]:
    known = [value for value in loss if value is not None]
    broken = len(known) < len(loss)
    # a hair's breadth: near its maximum the loss of the last steps wanders about
    falls = not broken and (known[-1] <= known[0] or known[-1] < known[0] + 0.95 * (max(known) - known[0]))
    problem = "the loss is not finite" if broken else "the loss does not rise along the path" if falls else ""
    return _check("loss_rises", {"loss": loss}, problem)


def _restarts(errors: list[float]) -> dict[str, Any]:
    weak = errors[-1] > errors[0] + _GAIN
    problem = "one random start is too few: report the error under several" if weak else ""
    return _check("restarts", {"error_percent": errors}, problem)


def _epsilon(errors: dict[float, float], images: int) -> dict[str, Any]:
    values, allowed = list(errors.values()), _allowed(images)
    falls = any(larger < smaller - allowed for smaller, larger in pairwise(values))
    problem = "a larger ball finds fewer errors: gradients mislead" if falls else ""
    return _check("epsilon", {"epsilon": list(errors), "error_percent": values}, problem)


def _unbounded(error: float, images: int) -> dict[str, Any]:
    problem = "even without a bound the attack does not fool the network" if error < 100 - _allowed(images) else ""
    return _check("unbounded", {"error_percent": error}, problem)


def _gradients(result: dict[str, Any]) -> dict[str, Any]:
    zero, none = result["zero_gradient_percent"], result["images_without_gradient_percent"]
    problem = "many gradients are exactly zero (a saturated soft-max or dead units)" if zero > _ZERO else ""
    return _check("gradients", {"zero_percent": zero, "images_without_percent": none}, problem)


def _noise(noise: float, error: float, images: int) -> dict[str, Any]:
    problem = "random noise does better than the gradient" if noise > error + _allowed(images) else ""
    return _check("noise", {"error_percent": noise, "tries": _NOISES}, problem)


def _check(name: str, numbers: dict[str, Any], problem: str) -> dict[str, Any]:
    return {"name": name, "passed": not problem, **numbers, "problem": problem}


def _allowed(images: int) -> float:
    return max(_TOLERANCE, 100 / images)


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
    normalization = Normalization.of(mean, std, device=device_of(model))
    totals = torch.zeros(3, dtype=torch.float64)
    with evaluation_mode(model):
        for x, y in loader:
            pixels = normalization.undo(x)
            clean = fooled = model(x).argmax(dim=1) != y
            corners = torch.randint(0, 2, (len(x), _NOISES, *x.shape[1:]), generator=generator, dtype=torch.int8)
            for corner in corners.unbind(1):
                moved = (pixels + attack.epsilon * (2 * corner.to(pixels) - 1)).clamp(0, 1)
                fooled = fooled | (model(normalization.apply(moved)).argmax(dim=1) != y)
            totals += torch.tensor([float(clean.sum()), float(fooled.sum()), len(x)], dtype=torch.float64)
            progress(len(x))
    clean_error, noise_error, images = totals.tolist()
    return 100 * clean_error / images, 100 * noise_error / images
