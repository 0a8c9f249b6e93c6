"""Labels of the blocks of one output: batched Potts problems on a grid, by mean-field annealing.

Co-Mixup solves one such problem for each output and round, hundreds for a batch, so what counts is the number of small
operations: a sweep is a handful of batched matrix products, for all groups and both runs together, and nothing waits
for the device.
"""

import torch
from torch import Tensor

# Temperatures of the sweeps, in units of a block's mean saliency. The price of an edge is 0.32 of these by default.
TEMPERATURES = (0.24, 0.15, 0.1, 0.064)
# The second run begins with edges this much dearer, which merges regions that single-block moves would keep apart.
STRENGTH = 2.0


class PottsSolver:
    """Minimise Σ unary + weight · Σ (1 - similarity) over neighbouring blocks, for G grids of equal size at once.

    Mean-field annealing on the checkerboard: the blocks of one colour do not touch, so their label probabilities,
    softmax(-cost / temperature), are found together from those of the other colour. Two runs are cooled, one from
    each block's own prices, one from the same label everywhere and with dearer edges; both are rounded by a sweep of
    exact block updates, and the one of less energy is kept.

    ``weight`` >= 0 is the price of an edge between labels that have nothing in common.

    Source:
        Peterson & Söderberg, A new method for mapping optimization problems onto neural networks, 1989. Kim et al.,
        Co-Mixup, ICLR 2021, solve the same problems by alpha-beta swap.
    """

    def __init__(self, height: int, width: int, groups: int, weight: float, *, like: Tensor) -> None:
        blocks = height * width
        index = torch.arange(blocks, device=like.device)
        row, column = index // width, index % width
        self._order = ((row + column) % 2 * blocks + index).argsort()  # one colour after the other
        self._inverse = self._order.argsort()
        self._first = (blocks + 1) // 2
        apart = (row[:, None] - row).abs() + (column[:, None] - column).abs()
        adjacent = (apart == 1).to(like.dtype)[self._order][:, self._order][: self._first, self._first :]
        self._edges = (weight * adjacent).expand(2 * groups, -1, -1)
        dearer = torch.full((2, 1, 1), STRENGTH, dtype=like.dtype, device=like.device)
        dearer[0] = 1.0
        last = len(TEMPERATURES) - 1
        self._schedule = [  # 1 / temperature, and the edges of both runs
            (blocks / temperature, (dearer ** (1 - step / last)).repeat(groups, 1, 1) * self._edges)
            for step, temperature in enumerate(TEMPERATURES)
        ]

    def __call__(self, unary: Tensor, similarity: Tensor) -> Tensor:
        """Find the labels, (G, r) int64.

        Args:
            unary: (G, r, L) price of each label at each block, row by row; inf forbids a label.
            similarity: (G, L, L) symmetric, 1 on the diagonal; 1 - similarity prices an edge, in units of ``weight``.
        """
        groups, _, labels = unary.shape
        unary = unary.index_select(1, self._order)
        runs = unary[:, None].expand(-1, 2, -1, -1).reshape(2 * groups, -1, labels)
        first, second = runs[:, : self._first], runs[:, self._first :]
        probabilities = self._start(unary)
        for heat, edges in self._schedule:
            for prices, between in ((first, edges), (second, edges.mT)):
                near = torch.bmm(probabilities.view(groups, -1, labels), similarity).view(2 * groups, -1, labels)
                probabilities = torch.baddbmm(prices, between, near, beta=-heat, alpha=heat).softmax(-1)
        return self._round(first, second, probabilities, similarity).index_select(1, self._inverse)

    def _start(self, unary: Tensor) -> Tensor:
        """Probabilities at the second colour: from each block's own prices, and from their sums over all blocks."""
        heat = unary.shape[1] / TEMPERATURES[0]
        second = unary[:, self._first :]
        prices = torch.stack([second, unary.sum(1, keepdim=True).expand_as(second)], 1)
        return (prices.flatten(0, 1) * -heat).softmax(-1)

    def _round(self, first: Tensor, second: Tensor, probabilities: Tensor, similarity: Tensor) -> Tensor:
        """Take the likeliest labels of the second colour, update both colours exactly, choose the better run."""
        groups, labels = similarity.shape[:2]
        rows = similarity.reshape(-1, labels)
        offset = torch.arange(0, groups * labels, labels, device=rows.device)[:, None].expand(-1, 2).reshape(-1, 1)

        def costs(prices: Tensor, edges: Tensor, chosen: Tensor) -> Tensor:
            return torch.baddbmm(prices, edges, torch.embedding(rows, chosen + offset), alpha=-1)

        ahead = costs(first, self._edges, probabilities.argmax(-1)).argmin(-1)
        least, behind = costs(second, self._edges.mT, ahead).min(-1)
        energy = least.sum(-1) + first.gather(-1, ahead[..., None]).sum((1, 2))
        energy = energy.view(groups, 2)
        found = torch.cat([ahead, behind], 1).view(groups, 2, -1)
        return torch.where(energy[:, 1:] < energy[:, :1], found[:, 1], found[:, 0])
