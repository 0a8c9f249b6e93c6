"""AutoAttack: an ensemble without parameters to tune, from its authors' code (the extra ``attacks``)."""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from alignmixup.evaluation.attacks import Norm, check_epsilon, check_precision, is_right
from alignmixup.evaluation.outputs import Progress, no_progress
from alignmixup.functional.precision import without_autocast
from alignmixup.modules import device_of, dtype_of, evaluation_mode
from alignmixup.normalization import Normalization
from alignmixup.outside import require
from alignmixup.terminal import errors_only

_FEWEST = 4  # classes that the targeted loss compares
_SMALLEST_L2 = 5  # pixels of a side, of which Square makes its tiles
_NORMS = {"linf": "Linf", "l2": "L2"}


@dataclass(frozen=True, kw_only=True)
class AutoAttack:
    """The standard version: APGD on the cross-entropy, targeted APGD, targeted FAB, Square; ``epsilon`` as in `Attack`.

    Raises:
        ValueError: epsilon out of range.
    """

    name: str = "autoattack"
    epsilon: float = 8 / 255
    norm: Norm = "linf"

    def __post_init__(self) -> None:
        check_epsilon(self.epsilon, self.norm)


def auto_attack_package() -> Any:
    """The package that holds it; an ImportError says how to install it."""
    return require("pyautoattack", extra="attacks")


class _Seen(nn.Module):
    """The network on pixels in [0, 1]; in single precision outside, which the package needs."""

    def __init__(self, model: nn.Module, normalization: Normalization) -> None:
        super().__init__()
        self.model, self.normalization = model, normalization

    def forward(self, pixels: Tensor) -> Tensor:
        wide = pixels.to(self.normalization.mean.dtype)
        logits: Tensor = self.model(self.normalization.apply(wide))
        return logits.to(pixels.dtype)


@contextmanager
def _input_gradient_alone(model: nn.Module) -> Iterator[None]:
    """The package calls ``backward``, which would add to the gradients that a training loop collects."""
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    try:
        for parameter in trained:
            parameter.requires_grad_(False)
        yield
    finally:
        for parameter in trained:
            parameter.requires_grad_(True)


def auto_attack_error(
    model: nn.Module,
    loader: Iterable[tuple[Tensor, Tensor]],
    attack: AutoAttack,
    *,
    mean: Sequence[float],
    std: Sequence[float],
    seed: int = 0,
    progress: Progress = no_progress,
) -> dict[str, Any]:
    """Top-1 error under AutoAttack; arguments as `robust_error`, ready for JSON.

    Convention:
        - Every image counts, also those that are misclassified anyway, which are not attacked.
        - Targets are the nine likeliest other classes, as published, or all where there are fewer.
        - Starts are drawn on the device, batch by batch: another batch size or device gives another draw.
        - No ``.grad`` of a parameter is touched.

    Raises:
        ImportError: the extra ``attacks`` is not installed.
        ValueError: fewer than four classes, in l2 images below five pixels, or no batch.
        TypeError: weights in half precision.

    Source:
        Croce and Hein, Reliable evaluation of adversarial robustness with an ensemble of diverse parameter-free
        attacks, ICML 2020.
    """
    package, device = auto_attack_package(), device_of(model)
    normalization = Normalization.of(mean, std, device=device, dtype=dtype_of(model))
    check_precision(model, normalization.mean.dtype)
    wrong = images = 0
    # the package seeds torch's global generators, and tells of each step
    quiet = errors_only("auto-attack")
    with evaluation_mode(model), _input_gradient_alone(model), torch.random.fork_rng(), quiet:
        for x, y in loader:
            pixels = normalization.undo(x).float()
            with without_autocast(pixels):
                seen = _Seen(model, normalization)
                classes = seen(pixels[:1]).detach().shape[1]
                if classes < _FEWEST:
                    raise ValueError(f"autoattack needs {_FEWEST} classes or more, this network has {classes}")
                if attack.norm == "l2" and min(x.shape[2:]) < _SMALLEST_L2:
                    raise ValueError(f"autoattack-l2 needs images of {_SMALLEST_L2} pixels or more, got {x.shape[2]}")
                norm = _NORMS[attack.norm]
                run = package.AutoAttack(seen, norm=norm, eps=attack.epsilon, seed=seed, device=device)
                run.apgd_targeted.n_target_classes = run.fab.n_target_classes = min(9, classes - 1)
                reached, _ = run.run_standard_evaluation(pixels, y, batch_size=len(x))
                with torch.no_grad():
                    wrong += int((~is_right(seen(reached), y)).sum())
            images += len(x)
            progress(len(x))
    if not images:
        raise ValueError("nothing to attack: the loader yields no batch")
    return {"error_percent": 100 * wrong / images, "images": images}
