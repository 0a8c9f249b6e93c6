"""Large maps as maps of cells: neighbouring positions that move together, so that a plan has few positions."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import NamedTuple

from torch import Tensor

from alignmixup.functional.arguments import count

MAX_POSITIONS = 256  # 16 x 16; a plan's cost grows with the third power


class Cells(NamedTuple):
    """How a grid of positions is cut into equal cells, side by side.

    Attributes:
        side: positions along each axis of a cell; all 1 where every position moves by itself.
        counts: cells along each axis of the grid.
    """

    side: tuple[int, ...]
    counts: tuple[int, ...]

    @property
    def volume(self) -> int:
        """Positions of a cell."""
        return prod(self.side)

    @property
    def number(self) -> int:
        """Cells of the grid."""
        return prod(self.counts)

    def covered(self, positions: Sequence[int]) -> tuple[slice, ...]:
        """Index into maps (B, C, *positions): the middle that whole cells cover; less than a cell is left around it."""
        sizes = [side * count for side, count in zip(self.side, self.counts, strict=True)]
        starts = [(size - used) // 2 for size, used in zip(positions, sizes, strict=True)]
        middle = (slice(start, start + used) for start, used in zip(starts, sizes, strict=True))
        return (slice(None), slice(None), *middle)

    def split(self, maps: Tensor) -> Tensor:
        """Give covered maps (B, C, *positions) as (B, C * volume, cells): a cell's content is its feature."""
        sizes = [size for pair in zip(self.counts, self.side, strict=True) for size in pair]
        axes = len(self.side)
        within, between = range(3, 3 + 2 * axes, 2), range(2, 2 + 2 * axes, 2)
        cut = maps.reshape(*maps.shape[:2], *sizes).permute(0, 1, *within, *between)
        return cut.flatten(2 + axes).flatten(1, 1 + axes)

    def join(self, cells: Tensor, channels: int) -> Tensor:
        """Undo `split`."""
        axes = len(self.side)
        cut = cells.reshape(cells.shape[0], channels, *self.side, *self.counts)
        order = [axis for pair in zip(range(2 + axes, 2 + 2 * axes), range(2, 2 + axes), strict=True) for axis in pair]
        sizes = [count * side for count, side in zip(self.counts, self.side, strict=True)]
        return cut.permute(0, 1, *order).reshape(cells.shape[0], channels, *sizes)


def cells_of(positions: Sequence[int], max_positions: int | None = MAX_POSITIONS) -> Cells:
    """Cut a grid into the smallest cells, equally long along every axis, of which there are at most ``max_positions``.

    Args:
        positions: length of each axis of the grid.
        max_positions: bound on the number of cells; None: every position is a cell.

    Returns:
        The cells; an axis shorter than a cell is one cell long.

    Example:
        >>> cells_of((56, 56))
        Cells(side=(4, 4), counts=(14, 14))
        >>> cells_of((7, 7)).volume
        1
    """
    if max_positions is not None:
        count("max_positions", max_positions)
    for size in positions:
        count("the length of each axis of positions", size)
    length = 1
    while True:
        side = tuple(min(length, size) for size in positions)
        counts = tuple(size // own for size, own in zip(positions, side, strict=True))
        if max_positions is None or prod(counts) <= max_positions:
            return Cells(side, counts)
        length += 1


class AlignmentSize(NamedTuple):
    """What aligning one pair of maps takes.

    Attributes:
        positions: positions of a map.
        cells: positions of the plan, as few as ``max_positions`` asks for.
        operations: multiply-adds of the plan, most of what an alignment takes: about ten Newton steps, each
            the square of a matrix of all cells and its Cholesky factor.
    """

    positions: int
    cells: int
    operations: float


def alignment_size(positions: Sequence[int], max_positions: int | None = MAX_POSITIONS) -> AlignmentSize:
    """Predict what :func:`align_mix` takes for each sample, before it runs.

    Args:
        positions: length of each axis of the maps.
        max_positions: as in :func:`align_mix`.

    Returns:
        Positions, cells and multiply-adds of the plan.

    Example:
        >>> alignment_size((56, 56)).cells
        196
        >>> round(alignment_size((56, 56), None).operations / alignment_size((56, 56)).operations)
        4096
    """
    cells = cells_of(positions, max_positions).number
    return AlignmentSize(prod(positions), cells, 10 * (1 / 2 + 1 / 6) * float(cells) ** 3)
