"""Co-Mixup: which block of which input goes into which output, for whole groups of images at once."""

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Generator, Tensor

from alignmixup.functional.arguments import floating, integers, readable, whole_batches
from alignmixup.functional.comixup.rounds import Problem, objective, solve
from alignmixup.functional.precision import single, without_autocast
from alignmixup.functional.sampling import random_start, to_device
from alignmixup.functional.threads import one_thread
from alignmixup.options import Options, option

Threshold = Literal["hard", "soft"]
Variant = Literal["as_described", "as_released"]


@dataclass(kw_only=True)
class CoMixupSearch(Options):
    """What masks of Co-Mixup are sought, and how."""

    beta: float = option(0.32, "price of unlike neighbouring blocks, >= 0", paper="0.32", minimum=0)
    gamma: float = option(1.0, "price of sharing inputs with other outputs, >= 0", paper="1.0", minimum=0)
    eta: float = option(0.05, "weight of the prior, >= 0", paper="0.05", minimum=0)
    tau: float = option(
        0.83, "share of an input's blocks in use elsewhere above which it is charged, >= 0", paper="0.83", minimum=0
    )
    omega: float = option(
        0.001, "weight of the distances between the most salient places, in [0, 1]", paper="0.001", minimum=0, maximum=1
    )
    rounds: int = option(4, "sweeps over the outputs of a group, >= 1", paper="4, 3 on ImageNet", minimum=1)
    set_resolve: bool = option(True, "tell outputs apart that are made of the same inputs", paper="True")
    threshold: Threshold = option("hard", '"hard" or "soft" charge of shared inputs', paper='"hard"')
    variant: Variant = option(
        "as_described",
        '"as_described", or "as_released" for the published code\'s order of operations in the charge',
        paper='reported numbers come from "as_released"',
    )
    safeguard: bool = option(True, "in the last round take only changes that do not raise the objective", paper="False")
    tries: int = option(2, "random starts, >= 1, the best of which is taken", paper="1", minimum=1)


@whole_batches
def comixup_masks(
    saliency: Tensor,
    distances: Tensor | None = None,
    *,
    beta: float = CoMixupSearch.beta,
    gamma: float = CoMixupSearch.gamma,
    eta: float = CoMixupSearch.eta,
    tau: float = CoMixupSearch.tau,
    omega: float = CoMixupSearch.omega,
    rounds: int = CoMixupSearch.rounds,
    prior: Tensor | None = None,
    set_resolve: bool = CoMixupSearch.set_resolve,
    threshold: Threshold = CoMixupSearch.threshold,
    variant: Variant = CoMixupSearch.variant,
    safeguard: bool = CoMixupSearch.safeguard,
    tries: int = CoMixupSearch.tries,
    start: Tensor | None = None,
    generator: Generator | None = None,
) -> Tensor:
    """Choose, for m outputs, the input of each block so that much is salient and inputs are shared evenly.

    Seeks masks z with a small :func:`comixup_objective`, as published: outputs are taken in turn; each is labelled
    anew with the diversity term linearised at what the other outputs use, 2 γ/r q [q > τr], a Potts problem on the
    block grid. From the second round on a block may also be half of one and half of another of the output's three
    most used inputs. Groups are independent and solved together.

    Convention:
        - ``masks[j, y, x, i]`` is the weight of INPUT i in block (y, x) of OUTPUT j: one 1, or twice 1/2.
        - r = h w is the number of blocks; saliency is normalised to sum 1 over them.
        - A low objective alone is not the aim: leaving every image as it is often has a lower one. The linearised
          search is what mixes.

    Args:
        saliency: (m, h, w), or (G, m, h, w) for G groups, >= 0: the mean saliency of each block, its grid being that
            of the masks (average-pool a map of pixels first). All zero, or somewhere NaN or infinite, counts as
            uniform. Computed in float32.
        distances: (m, m) or (G, m, m) >= 0, distances between the inputs' most salient places; scaled to sum m. None,
            or all zero, leaves the compatibility A the identity.
        beta: price of unlike neighbouring blocks, >= 0. Paper: 0.32.
        gamma: price of an output's sharing inputs with others, >= 0. Paper: 1.0.
        eta: weight of the prior, >= 0. Paper: 0.05.
        tau: share of an input's blocks in use elsewhere above which it is charged, >= 0. Paper: 0.83.
        omega: weight of ``distances`` in A = (1 - ω) I + ω distances, in [0, 1]. Paper: 0.001.
        rounds: sweeps over the outputs, >= 1. Paper: 4.
        prior: (m,) or (G, m) > 0, the Dirichlet draw a in -η/r log a. None: no prior.
        set_resolve: before the last round charge outputs that use the same set of inputs, so that they part.
        threshold: ``"hard"`` charges all of the use above τr, ``"soft"`` only the excess.
        variant: ``"as_described"`` charges q [q > τr]; ``"as_released"`` multiplies in the published code's order,
            A ([q > τr] p), which charges inputs under the threshold a little for the distances. Hard threshold only.
        safeguard: in the last of several rounds change an output only where that does not raise the objective: two
            outputs may else both turn to an input that is then used too much. Paper: False.
        tries: random starts, >= 1, of which the masks of the least objective are kept. Paper: 1.
        start: int64, shaped like ``saliency``: input of each block of each output to begin with; or with an axis of
            tries before m. None draws them.
        generator: CPU generator of the starts; needed without ``start``.

    Returns:
        (m, h, w, m), or (G, m, h, w, m): weights, float32 (float64 if ``saliency`` is).

    Raises:
        ValueError: neither ``start`` nor ``generator``.

    Source:
        Kim, Choo, Jeong, Song, Co-Mixup, ICLR 2021, Eq. (2) and Algorithm 1, with the constants of its published code.
        Deviation: labels are found by mean-field annealing instead of alpha-beta swap, prices are not rounded, the
        last round is safeguarded, and the better of two tries is kept.

    Example:
        >>> import torch
        >>> saliency = torch.tensor([[[1.0, 0.0]], [[0.0, 1.0]]])
        >>> start = torch.tensor([[[0, 1]], [[1, 0]]])
        >>> comixup_masks(saliency, beta=0.0, start=start)[0]
        tensor([[[1., 0.],
                 [0., 1.]]])
    """
    search = CoMixupSearch(
        beta=beta,
        gamma=gamma,
        eta=eta,
        tau=tau,
        omega=omega,
        rounds=rounds,
        set_resolve=set_resolve,
        threshold=threshold,
        variant=variant,
        safeguard=safeguard,
        tries=tries,
    )
    _check_saliency(saliency)
    with torch.no_grad(), without_autocast(saliency), one_thread(saliency):
        problem = _problem(saliency, distances, prior, search)
        start = _starts(saliency, start, tries, generator)
        groups, tries = start.shape[:2]
        problem = problem.repeat(tries)
        masks = solve(problem, start.flatten(0, 1), rounds, set_resolve=set_resolve, safeguard=safeguard)
        if tries > 1:
            best = objective(problem._replace(released=False), masks).view(groups, tries).argmin(1)
            masks = masks[torch.arange(groups, device=best.device) * tries + best]
    return masks if saliency.ndim == 4 else masks[0]


def comixup_objective(  # noqa: D417 - options that are told above
    masks: Tensor,
    saliency: Tensor,
    distances: Tensor | None = None,
    *,
    beta: float = CoMixupSearch.beta,
    gamma: float = CoMixupSearch.gamma,
    eta: float = CoMixupSearch.eta,
    tau: float = CoMixupSearch.tau,
    omega: float = CoMixupSearch.omega,
    prior: Tensor | None = None,
    threshold: Threshold = CoMixupSearch.threshold,
) -> Tensor:
    """Evaluate Co-Mixup's objective.

    With c_j the blocks that output j takes from each input, q_j = A Σ_{i≠j} c_i and r blocks::

        Σ_j Σ_blocks <z, -saliency - η/r log a>  +  β/r Σ_j Σ_edges |z - z'|² / 2  +  γ/r Σ_j <c_j, q_j [q_j > τr]>

    or, with the soft threshold, max(q_j - τr, 0) in the place of q_j [q_j > τr].

    Args:
        masks: (m, h, w, m) or (G, m, h, w, m) weights.
        saliency: (m, h, w) or (G, m, h, w), mean saliency of each block.
        distances: (m, m) or (G, m, m), or None.
        prior: (m,) or (G, m), or None.
        beta, gamma, eta, tau, omega, threshold: as in :func:`comixup_masks`.

    Returns:
        Scalar, or (G,); float32 (float64 if ``saliency`` is).

    Source:
        Kim, Choo, Jeong, Song, Co-Mixup, ICLR 2021, Eq. (2), thresholded as in its published code.

    Example:
        >>> import torch
        >>> saliency = torch.tensor([[[1.0, 0.0]], [[0.0, 1.0]]])
        >>> kept = torch.tensor([[[[1.0, 0.0], [0.0, 1.0]]], [[[1.0, 0.0], [0.0, 1.0]]]])
        >>> lost = 1 - kept
        >>> bool(comixup_objective(kept, saliency) < comixup_objective(lost, saliency))
        True
    """
    search = CoMixupSearch(beta=beta, gamma=gamma, eta=eta, tau=tau, omega=omega, threshold=threshold)
    _check_saliency(saliency)
    floating("masks", masks, _axes("m h w m", saliency), like=saliency, **_sizes(saliency))
    with without_autocast(saliency):
        problem = _problem(saliency, distances, prior, search)
        value = objective(problem, (masks if masks.ndim == 5 else masks[None]).to(problem.unary.dtype))
    return value if masks.ndim == 5 else value[0]


def _starts(saliency: Tensor, start: Tensor | None, tries: int, generator: Generator | None) -> Tensor:
    """Give starts (G, tries, m, h, w) on the device of ``saliency``."""
    inputs, height, width = saliency.shape[-3:]
    groups = len(saliency) if saliency.ndim == 4 else 1
    if start is not None:
        tried = isinstance(start, Tensor) and start.ndim > saliency.ndim
        axes = _axes("tries m h w" if tried else "m h w", saliency)
        start = integers("start", start, axes, below=inputs, like=saliency, **_sizes(saliency))
    elif generator is not None:
        start = random_start(tries * groups, inputs, height, width, generator=generator)
        start = to_device(start, saliency.device)
    else:
        raise ValueError("comixup_masks needs a start, or a CPU generator to draw it")
    return start.reshape(groups, -1, inputs, height, width)


def _problem(saliency: Tensor, distances: Tensor | None, prior: Tensor | None, search: CoMixupSearch) -> Problem:
    """Check the shapes; prices of G groups."""
    wide = single(saliency)
    inputs, height, width = saliency.shape[-3:]
    blocks = height * width
    prices = -_normalised(wide.reshape(-1, inputs, blocks))
    if prior is not None:
        floating("prior", prior, _axes("m", saliency), like=saliency, **_sizes(saliency))
        _not_negative("prior", prior)
        prices = prices - search.eta / blocks * (prior.to(wide.dtype).reshape(-1, inputs, 1) + 1e-8).log()
    return Problem(
        unary=prices.mT,
        compatibility=_compatibility(distances, saliency, search.omega, wide.dtype),
        smoothness=search.beta / blocks,
        diversity=search.gamma / blocks,
        capacity=search.tau * blocks,
        soft=search.threshold == "soft",
        released=search.variant == "as_released",
    )


def _check_saliency(saliency: Tensor) -> None:
    floating("saliency", saliency, "m h w" if getattr(saliency, "ndim", 3) != 4 else "G m h w")
    if 0 in saliency.shape:
        raise ValueError(f"saliency must not be empty, got shape {tuple(saliency.shape)}")
    _not_negative("saliency", saliency)


def _not_negative(name: str, value: Tensor) -> None:
    if readable(value) and (value < 0).any():
        raise ValueError(f"{name} must be >= 0, got {float(value.min())}")


def _axes(names: str, saliency: Tensor) -> str:
    """Axes of what belongs to this saliency: groups in front where it has them."""
    return f"G {names}" if saliency.ndim == 4 else names


def _sizes(saliency: Tensor) -> dict[str, int]:
    sizes = dict(zip("mhw", saliency.shape[-3:], strict=True))
    return sizes | ({"G": len(saliency)} if saliency.ndim == 4 else {})


def _normalised(saliency: Tensor) -> Tensor:
    """Scale (G, m, r) to sum 1 over the blocks; uniform where there is none, or somewhere no number."""
    total = saliency.sum(-1, keepdim=True)
    usable = (total > 0) & total.isfinite()
    return torch.where(usable, saliency / torch.where(usable, total, 1.0), 1 / saliency.shape[-1])


def _compatibility(distances: Tensor | None, saliency: Tensor, omega: float, dtype: torch.dtype) -> Tensor:
    """The matrix A, (G, m, m)."""
    inputs = saliency.shape[-3]
    eye = torch.eye(inputs, dtype=dtype, device=saliency.device)
    if distances is None:
        return eye.expand(saliency.shape[0] if saliency.ndim == 4 else 1, -1, -1)
    floating("distances", distances, _axes("m m", saliency), like=saliency, **_sizes(saliency))
    _not_negative("distances", distances)
    distances = distances.to(dtype).reshape(-1, inputs, inputs)
    total = distances.sum((1, 2), keepdim=True)
    scaled = distances * (inputs / torch.where(total > 0, total, 1.0))
    return torch.where(total > 0, (1 - omega) * eye + omega * scaled, eye)
