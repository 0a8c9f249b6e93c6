"""Co-Mixup's optimisation: outputs one after the other, each against what the others use, for several rounds."""

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from alignmixup.functional.comixup.potts import PottsSolver

# Reward of a half/half block, and similarity of a half/half label to either of its members (price 1/4), as published.
BONUS = 5e-4
SIMILARITY = 0.75
SETTLED = 1e-6


class Problem(NamedTuple):
    """Co-Mixup's objective for G groups of m inputs on r blocks.

    Attributes:
        unary: (G, r, m) price of each input at each block: lost saliency and prior.
        compatibility: (G, m, m), the matrix A.
        smoothness: price of an edge between different inputs, β/r.
        diversity: price of sharing an input, γ/r.
        capacity: usage above which it is charged, τr blocks.
        soft: charge the excess instead of all.
        released: multiply in the order of the published code.
    """

    unary: Tensor
    compatibility: Tensor
    smoothness: float
    diversity: float
    capacity: float
    soft: bool
    released: bool

    def charge(self, usage: Tensor) -> Tensor:
        """Charge each input for its use elsewhere, (G, j, m), where that exceeds the capacity."""
        pressure = usage @ self.compatibility.mT
        if self.soft:
            return F.relu(pressure - self.capacity)
        if self.released:
            return torch.where(pressure > self.capacity, usage, 0.0) @ self.compatibility.mT
        return F.threshold(pressure, self.capacity, 0.0)

    def repeat(self, times: int) -> "Problem":
        """Give each group ``times`` times in a row."""
        if times == 1:
            return self
        unary, compatibility = (
            t[:, None].expand(-1, times, -1, -1).flatten(0, 1) for t in (self.unary, self.compatibility)
        )
        return self._replace(unary=unary, compatibility=compatibility)


def objective(problem: Problem, masks: Tensor) -> Tensor:
    """Evaluate the objective, (G,), of masks (G, j, h, w, m)."""
    return _unary_and_smoothness(problem, masks) + _sharing(problem, masks.sum((2, 3)))


def _unary_and_smoothness(problem: Problem, masks: Tensor) -> Tensor:
    unary = (masks.sum(1).flatten(1, 2) * problem.unary).sum((1, 2))
    edges = masks.diff(dim=2).square().sum((1, 2, 3, 4)) + masks.diff(dim=3).square().sum((1, 2, 3, 4))
    return unary + 0.5 * problem.smoothness * edges


def _sharing(problem: Problem, counts: Tensor) -> Tensor:
    charge = problem.charge(counts.sum(1, keepdim=True) - counts)
    return problem.diversity * (counts * charge).sum((1, 2))


def solve(problem: Problem, start: Tensor, rounds: int, *, set_resolve: bool, safeguard: bool) -> Tensor:
    """Improve masks output by output, from the inputs (G, m, h, w) of a start to weights (G, m, h, w, m).

    With ``set_resolve`` outputs that use the same inputs are told apart before the last round; with ``safeguard`` that
    round changes an output only to tell it apart or where that does not raise the objective.
    """
    sweep = _Sweep(problem, start)
    result, running, before = sweep.masks, None, None
    for index in range(rounds):
        sweep(half_labels=index > 0, safeguard=safeguard and 0 < index == rounds - 1)
        result = sweep.masks.clone() if running is None else torch.where(running, sweep.masks, result)
        value = sweep.monitored()
        if before is not None:
            moving = ((value - before).abs() >= SETTLED * before.abs()).view(-1, 1, 1, 1, 1)
            running = moving if running is None else running & moving
        before = value
        if index == rounds - 2 and set_resolve:
            sweep.extra = tell_apart(sweep.counts)
    return result


class _Sweep:
    """The state of the search: masks (G, j, h, w, m), updated in place, and how many blocks of each input they use."""

    def __init__(self, problem: Problem, start: Tensor) -> None:
        groups, inputs, height, width = start.shape
        eye = torch.eye(inputs, dtype=problem.unary.dtype, device=start.device)
        self.problem = problem
        self.masks = eye[start]
        self.counts = self.masks.sum((2, 3))
        self.extra: Tensor | None = None
        self._eye = eye.expand(groups, -1, -1)
        self._labels = HalfLabels(self._eye)
        self._potts = PottsSolver(height, width, groups, problem.smoothness, like=problem.unary)

    def __call__(self, *, half_labels: bool, safeguard: bool) -> None:
        """Give each output in turn its best labels against the use of the others."""
        usage = self.counts.sum(1, keepdim=True)
        shape = self.masks[:, 0].shape
        for j in range(self.masks.shape[1]):
            own = self.counts[:, j : j + 1]
            usage = usage - own
            charge = self.problem.charge(usage)
            if self.extra is not None:
                charge = charge.add(self.extra[:, j : j + 1], alpha=0.5)
            prices = self.problem.unary.add(charge, alpha=2 * self.problem.diversity)
            if half_labels:
                prices, similarity, weights = self._labels(prices, own[:, 0])
            else:
                similarity = weights = self._eye
            chosen = self._potts(prices, similarity)
            mask = weights.gather(1, chosen[..., None].expand(-1, -1, shape[-1])).view(shape)
            if safeguard:
                mask = self._better(j, mask)
            self.masks[:, j] = mask
            self.counts[:, j] = mask.sum((1, 2))
            usage = usage + self.counts[:, j : j + 1]

    def monitored(self) -> Tensor:
        """Give what the published loop watches to stop, (G,): no threshold, no compatibility."""
        shared = self.counts.sum(1).square().sum(-1) - self.counts.square().sum((1, 2))
        return _unary_and_smoothness(self.problem, self.masks) + self.problem.diversity * shared

    def _better(self, j: int, mask: Tensor) -> Tensor:
        """Choose between a new mask (G, h, w, m) of output j and the present one by the whole objective.

        The search charges by a linearisation, so two outputs may both move to an input that is then used too much.
        """
        both = torch.stack([mask, self.masks[:, j]], 1)
        counts = self.counts[:, None].repeat(1, 2, 1, 1)
        counts[:, 0, j] = mask.sum((1, 2))
        twice = self.problem.repeat(2)
        value = _unary_and_smoothness(twice, both.flatten(0, 1)[:, None]) + _sharing(twice, counts.flatten(0, 1))
        value = value.view(-1, 2)
        take = value[:, 0] <= value[:, 1]
        if self.extra is not None:
            take = take | (self.extra[:, j] > 0).any(-1)  # told apart from another output: that has its price
        return torch.where(take.view(-1, 1, 1, 1), mask, both[:, 1])


class HalfLabels:
    """Add the labels "half of one input, half of another" for the three inputs that an output uses most.

    Those to add to have the weights ``eye`` (G, m, m).
    """

    def __init__(self, eye: Tensor) -> None:
        self._eye = eye
        inputs = eye.shape[-1]
        self._kept = min(3, inputs)
        self._pairs = torch.triu_indices(self._kept, self._kept, 1, device=eye.device)  # (2, pairs)
        # of equally used inputs the first is kept, on every device
        self._ranks = -torch.arange(inputs, dtype=eye.dtype, device=eye.device)
        size = inputs + self._pairs.shape[1]
        self._similarity = torch.eye(size, dtype=eye.dtype, device=eye.device).repeat(len(eye), 1, 1)

    def __call__(self, prices: Tensor, counts: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Extend the prices (G, r, m) of plain labels for an output that takes ``counts`` (G, m) blocks of each input.

        Returns:
            Prices (G, r, L), similarities (G, L, L) and weights (G, L, m), L = m + 3. Two half/half labels have
            similarity 0 also where they share a member, as published.
        """
        inputs = prices.shape[-1]
        order = torch.add(self._ranks, counts, alpha=2 * inputs).topk(self._kept).indices
        members = F.one_hot(order[:, self._pairs], inputs).to(prices.dtype)
        halves = members.mean(1)
        used = counts.gather(1, order)[:, self._pairs[1]] > 0
        # not a matrix product: a device that rounds its factors would lose the bonus
        half_prices = (prices[:, :, None] * halves[:, None]).sum(-1)
        half_prices = half_prices + torch.where(used, -BONUS, torch.inf).to(prices.dtype)[:, None]
        links = halves * (2 * SIMILARITY)
        self._similarity[:, inputs:, :inputs] = links
        self._similarity[:, :inputs, inputs:] = links.mT
        return torch.cat([prices, half_prices], -1), self._similarity, torch.cat([self._eye, halves], 1)


def tell_apart(counts: Tensor) -> Tensor:
    """Charge outputs that use the same set of two or more inputs: the earlier for one of them, the later for another.

    From the blocks (G, j, m) that each output takes of each input: 1 where output j is to be charged for an input.

    Source:
        The published code of Kim et al., Co-Mixup, ICLR 2021 ("set resolve").
    """
    used = counts > 0
    same = (used[:, :, None] == used[:, None]).all(-1) & (used.sum(-1) >= 2)[:, :, None]
    earlier, later = same.triu(1).any(2), same.triu(1).any(1)
    place = used.cumsum(-1)
    first, second = used & (place == 1), used & (place == 2)
    return ((first & earlier[..., None]) | (second & later[..., None])).to(counts.dtype)
