"""White-box attacks in the maximum or the Euclidean norm, and the error of a classifier under them."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Literal, get_args

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from alignmixup.evaluation.outputs import Progress, no_progress
from alignmixup.functional.precision import without_autocast
from alignmixup.modules import device_of, dtype_of, evaluation_mode
from alignmixup.normalization import Normalization

Norm = Literal["linf", "l2"]


@dataclass(frozen=True, kw_only=True)
class Attack:
    """A projected gradient attack on the cross-entropy with the true label.

    ``epsilon``, the largest change of a pixel, in [0, 1], and ``step``, that of one iteration, in (0, 1], are in units
    of pixels in [0, 1], before normalisation; with ``norm="l2"`` both are lengths of the change of the whole image.
    With ``random_start`` it begins at a uniform point of the ball around the image rather than at the image; an image
    is robust when it withstands all ``restarts``, each with ``iterations`` gradients.

    Raises:
        ValueError: a value out of range, or restarts that would all begin at the image.
    """

    name: str = "pgd"
    epsilon: float = 4 / 255
    step: float = 2 / 255
    iterations: int = 20
    restarts: int = 1
    random_start: bool = True
    norm: Norm = "linf"

    def __post_init__(self) -> None:
        if self.norm not in get_args(Norm):
            raise ValueError(f"norm must be one of {', '.join(get_args(Norm))}, got {self.norm!r}")
        check_epsilon(self.epsilon, self.norm)
        if not 0 < self.step <= self.largest:
            words = "in (0, 1], in units of pixels in [0, 1] (2/255)" if self.norm == "linf" else "> 0"
            raise ValueError(f"step must be {words}, got {self.step:g}")
        for key, value in (("iterations", self.iterations), ("restarts", self.restarts)):
            if type(value) is not int or value < 1:
                raise ValueError(f"{key} must be an integer >= 1, got {value!r}")
        if self.restarts > 1 and not self.random_start:
            raise ValueError(f"restarts={self.restarts} needs random_start=true: all would begin at the image itself")

    @property
    def largest(self) -> float:
        """The largest epsilon that there is: in the maximum norm it reaches every image."""
        return 1.0 if self.norm == "linf" else math.inf

    def direction(self, gradient: Tensor) -> Tensor:
        """The step of length 1 that raises the loss most, (B, C, H, W) as the gradient; 0 where that is 0."""
        if self.norm == "linf":
            return gradient.sign()
        tiny = torch.finfo(gradient.dtype).tiny
        # relative to the largest: squares of the small gradients of a confident network would all be 0
        gradient = gradient / gradient.abs().amax((1, 2, 3), keepdim=True).clamp_min(tiny)
        return gradient / _length(gradient).clamp_min(tiny)

    def project(self, x: Tensor, clean: Tensor) -> Tensor:
        """The point of the ball around ``clean`` that is nearest to ``x``, cut to [0, 1]."""
        if self.norm == "linf":
            low, high = (clean - self.epsilon).clamp(min=0), (clean + self.epsilon).clamp(max=1)
            return torch.minimum(torch.maximum(x, low), high)
        change = x - clean
        shrunk = (self.epsilon / _length(change).clamp_min(torch.finfo(x.dtype).tiny)).clamp(max=1)
        return (clean + change * shrunk).clamp(0, 1)


def check_epsilon(epsilon: float, norm: Norm) -> None:
    """Refuse a size of the ball that no attack in this norm has."""
    if norm == "linf" and not 0 <= epsilon <= 1:
        raise ValueError(f"epsilon must be in [0, 1], in units of pixels in [0, 1] (8/255), got {epsilon:g}")
    if norm == "l2" and not 0 <= epsilon < math.inf:
        raise ValueError(
            f"epsilon must be >= 0 and finite, the length of a change of pixels in [0, 1], got {epsilon:g}"
        )


def is_right(logits: Tensor, y: Tensor) -> Tensor:
    """(B,) bool: the class of each image is predicted; never from logits that are not finite."""
    return logits.isfinite().all(dim=1) & (logits.argmax(dim=1) == y)


def check_precision(model: nn.Module, pixels: torch.dtype) -> None:
    """Refuse to attack in half precision."""
    dtypes = {pixels} | {parameter.dtype for parameter in model.parameters()}
    if not dtypes <= {torch.float32, torch.float64}:
        found = ", ".join(sorted(map(str, dtypes)))
        raise TypeError(f"attacks need float32 weights and pixels, small gradients would round to zero; got {found}")


@dataclass(frozen=True)
class AttackPath:
    """What an attack did to a batch.

    Attributes:
        pixels: (B, C, H, W) adversarial images in [0, 1]: the end of the first restart that fools the network, else of
            the last one.
        wrong: (restarts, B) bool; row r is true where one of the first r + 1 restarts ended in a wrong prediction.
        path_wrong: (iterations + 1, B) bool; whether the prediction was wrong after so many iterations of restart 0.
        path_loss: (iterations + 1, B) cross-entropy along restart 0.
        zero_gradient: (B,) share of pixels whose first gradient is exactly zero (or NaN), which stay as they are.
    """

    pixels: Tensor
    wrong: Tensor
    path_wrong: Tensor
    path_loss: Tensor
    zero_gradient: Tensor


def fgsm(
    model: nn.Module,
    pixels: Tensor,
    labels: Tensor,
    *,
    mean: Sequence[float],
    std: Sequence[float],
    epsilon: float = 8 / 255,
) -> Tensor:
    """One step along the sign of the gradient: clip(x + epsilon · sign ∇L(f((x - mean) / std), y), 0, 1).

    Args and errors as `pgd`.

    Source:
        Goodfellow et al., Explaining and Harnessing Adversarial Examples, ICLR 2015, Sec. 4.
    """
    attack = fgsm_attack(epsilon)
    return attack_path(model, pixels, labels, attack, mean=mean, std=std).pixels


def pgd(
    model: nn.Module,
    pixels: Tensor,
    labels: Tensor,
    *,
    mean: Sequence[float],
    std: Sequence[float],
    epsilon: float = 4 / 255,
    step: float = 2 / 255,
    iterations: int = 20,
    restarts: int = 1,
    random_start: bool = True,
    norm: Norm = "linf",
    generator: torch.Generator | None = None,
) -> Tensor:
    """Projected gradient ascent: x <- clip(x̄ + clip(x + step · sign ∇L - x̄, -epsilon, epsilon), 0, 1).

    With ``norm="l2"`` the step is along ∇L / ‖∇L‖₂ and the change is scaled down to the length epsilon, before the cut
    to [0, 1], which makes it shorter still.

    Convention:
        - Pixels are in [0, 1] and so are epsilon and step; the normalisation belongs to the network under attack.
        - The network is in evaluation mode and computes in the precision of its weights, without autocast. Training
          flags are restored and no ``.grad`` is touched.
        - ``model`` gives logits (B, K) for normalised images, ``pixels`` (B, C, H, W) are float32 or float64 in [0, 1]
          on its device, ``labels`` (B,) int64 the true ones; ``mean`` and ``std`` > 0, of each channel, are in [0, 1]
          units.
        - ``generator`` is on the CPU; None takes a new one of seed 0. The starts of an image do not depend on how
          images are grouped into batches. The options are those of `Attack`.

    Returns:
        Adversarial images in [0, 1]: of each the first restart that fools the network, else the last one.

    Raises:
        ValueError: an option out of range, pixels outside [0, 1] or shapes that do not fit.
        TypeError: weights or pixels in half precision, where small gradients round to zero.

    Source:
        Madry et al., Towards Deep Learning Models Resistant to Adversarial Attacks, ICLR 2018, Sec. 2.1.
    """
    given: dict[str, Any] = {"iterations": iterations, "restarts": restarts, "random_start": random_start}
    attack = Attack(epsilon=epsilon, step=step, norm=norm, **given)
    return attack_path(model, pixels, labels, attack, mean=mean, std=std, generator=generator).pixels


def fgsm_attack(epsilon: float = 8 / 255) -> Attack:
    """FGSM as one iteration of a projected gradient attack from the image itself."""
    return Attack(name="fgsm", epsilon=epsilon, step=epsilon or 1.0, iterations=1, random_start=False)


def attack_path(
    model: nn.Module,
    pixels: Tensor,
    labels: Tensor,
    attack: Attack,
    *,
    mean: Sequence[float],
    std: Sequence[float],
    generator: torch.Generator | None = None,
) -> AttackPath:
    """Attack a batch and tell what happened on the way; arguments and errors as `pgd`."""
    _check(model, pixels, labels, mean, std)
    normalization = Normalization.of(mean, std, device=pixels.device, dtype=pixels.dtype)

    def loss_of(x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        logits = model(normalization.apply(x))
        return F.cross_entropy(logits.to(x.dtype), y, reduction="none"), ~is_right(logits, y)

    generator = generator or torch.Generator().manual_seed(0)
    starts = _starts(pixels, attack, generator)
    with evaluation_mode(model), without_autocast(pixels):
        first = _ascend(loss_of, pixels, starts[:, 0], labels, attack)
        reached, wrong = first.pixels, [first.path_wrong[-1]]
        for restart in range(1, attack.restarts):
            left = (~wrong[-1]).nonzero().squeeze(1)  # who is fooled already is left alone
            again = wrong[-1].clone()
            if len(left):
                path = _ascend(loss_of, pixels[left], starts[left, restart], labels[left], attack)
                reached = reached.index_copy(0, left, path.pixels)
                again[left] = path.path_wrong[-1]
            wrong.append(again)
    return AttackPath(reached, torch.stack(wrong), first.path_wrong, first.path_loss, first.zero_gradient)


def _ascend(loss_of: Any, clean: Tensor, start: Tensor, labels: Tensor, attack: Attack) -> AttackPath:
    """One restart."""
    x, path_wrong, path_loss = start, [], []
    zero = torch.empty(0)
    for iteration in range(attack.iterations):
        x = x.detach().requires_grad_()
        with torch.enable_grad():
            loss, wrong = loss_of(x, labels)
            # a sum: the mean would make gradients smaller, and more of them zero, in a larger batch
            (gradient,) = torch.autograd.grad(loss.sum(), x)
        gradient = gradient.nan_to_num(nan=0.0)
        path_wrong.append(wrong)
        path_loss.append(loss.detach())
        if iteration == 0:
            zero = (gradient == 0).flatten(1).float().mean(dim=1)
        x = attack.project(x.detach() + attack.step * attack.direction(gradient), clean)
    with torch.no_grad():
        loss, wrong = loss_of(x, labels)
    path = torch.stack([*path_wrong, wrong])
    return AttackPath(x, wrong[None], path, torch.stack([*path_loss, loss]), zero)


def _starts(pixels: Tensor, attack: Attack, generator: torch.Generator) -> Tensor:
    """Where the restarts of each image begin: (B, restarts, C, H, W) in [0, 1]."""
    centre = pixels[:, None]
    if not attack.random_start:
        return centre
    # drawn image by image, so that the draws do not depend on the batch size; on the CPU, so not on the device either
    if attack.norm == "linf":
        change = 2 * torch.rand((len(pixels), attack.restarts, *pixels.shape[1:]), generator=generator) - 1
    else:
        change = _in_unit_ball(len(pixels), attack.restarts, pixels[0].numel(), generator).view(
            len(pixels), -1, *pixels.shape[1:]
        )
    return (centre + attack.epsilon * change.to(pixels)).clamp(0, 1)


def _in_unit_ball(images: int, restarts: int, size: int, generator: torch.Generator) -> Tensor:
    """Uniform points (images, restarts, size) of the unit ball: what is left of a point of the sphere in two more axes.

    Normal numbers come from uniform ones by the inverse of their distribution: those of torch depend on how many are
    drawn at once.
    """
    uniform = torch.rand((images, restarts, size + 2), generator=generator, dtype=torch.float64)
    normal = torch.erfinv((2 * uniform - 1).clamp(-1 + 1e-12, 1 - 1e-12))
    return (normal / normal.square().sum(dim=2, keepdim=True).sqrt())[..., :size]


def _length(images: Tensor) -> Tensor:
    """Euclidean length (B, 1, 1, 1) of each of (B, C, H, W)."""
    return images.square().sum(dim=(1, 2, 3), keepdim=True).sqrt()


def _check(model: nn.Module, pixels: Tensor, labels: Tensor, mean: Sequence[float], std: Sequence[float]) -> None:
    if pixels.ndim != 4 or not pixels.numel() or len(mean) != pixels.shape[1] or len(std) != len(mean) or min(std) <= 0:
        raise ValueError(
            f"expected pixels (B, C, H, W), B >= 1, and a mean and a std > 0 for each channel, got "
            f"{tuple(pixels.shape)}, {tuple(mean)} and {tuple(std)}"
        )
    if labels.dtype != torch.int64 or labels.shape != pixels.shape[:1]:
        raise ValueError(
            f"labels must be int64 of shape (B,), one for each of {len(pixels)} images, got {labels.dtype} of "
            f"{tuple(labels.shape)}"
        )
    check_precision(model, pixels.dtype)
    low, high = pixels.aminmax()
    if not (low >= 0 and high <= 1):
        raise ValueError(
            f"pixels must be in [0, 1], before normalisation, got values from {float(low):.4g} to {float(high):.4g}"
        )


def robust_error(
    model: nn.Module,
    loader: Iterable[tuple[Tensor, Tensor]],
    attack: Attack,
    *,
    mean: Sequence[float],
    std: Sequence[float],
    seed: int = 0,
    progress: Progress = no_progress,
) -> dict[str, Any]:
    """Top-1 error under an attack on every image, also those that are misclassified anyway; ready for JSON.

    Convention:
        - ``error_percent`` is the error after all restarts; with one, after the last iteration, as is usual.
        - ``path_error_percent[t]`` is the error after t iterations of the first restart, ``path_loss[t]`` the mean
          cross-entropy (None where it is not finite); place 0 is the start. ``restart_error_percent[r]`` is the error
          after r + 1 restarts.
        - ``loader`` yields (images normalised with ``mean`` and ``std``, labels) on the model's device; ``seed`` is
          that of the random starts; ``progress`` hears of the images done. Errors as `pgd`; ValueError too without a
          batch.
    """
    generator = torch.Generator().manual_seed(seed)
    normalization = Normalization.of(mean, std, device=device_of(model), dtype=dtype_of(model))
    paths, images = [], 0
    for x, y in loader:
        pixels = normalization.undo(x)
        path = attack_path(model, pixels, y, attack, mean=mean, std=std, generator=generator)
        still = (path.zero_gradient == 1).float()
        parts = [path.wrong, path.path_wrong, path.path_loss, path.zero_gradient[None], still[None]]
        paths.append(torch.cat([part.cpu().double() for part in parts]).sum(dim=1))
        images += len(x)
        progress(len(x))
    if not images:
        raise ValueError("nothing to attack: the loader yields no batch")
    sizes = [attack.restarts, attack.iterations + 1, attack.iterations + 1, 1, 1]
    wrong, path_wrong, path_loss, zero, still = torch.split(torch.stack(paths).sum(dim=0) / images, sizes)
    return {
        "error_percent": 100 * float(wrong[-1]),
        "images": images,
        "path_error_percent": (100 * path_wrong).tolist(),
        "path_loss": [value if math.isfinite(value) else None for value in path_loss.tolist()],
        "restart_error_percent": (100 * wrong).tolist(),
        "zero_gradient_percent": 100 * float(zero),
        "images_without_gradient_percent": 100 * float(still),
    }
