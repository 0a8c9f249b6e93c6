"""How a grid is cut into cells."""

from math import prod

import pytest
import torch

from alignmixup.functional.cells import alignment_size, cells_of


@pytest.mark.parametrize("bound", [1, 7, 16, 256])
def test_cells_are_the_smallest_equal_ones_within_the_bound(bound):
    for positions in [(1,), (13,), (5, 5), (56, 56), (53, 31), (3000, 2), (9, 10, 11), (2, 3, 2, 5)]:
        cells = cells_of(positions, bound)
        assert cells.number <= bound, positions
        longest = max(cells.side)
        assert all(side == min(longest, size) for side, size in zip(cells.side, positions, strict=True)), positions
        assert longest == 1 or prod(size // min(longest - 1, size) for size in positions) > bound, positions
        for side, part, size in zip(cells.side, cells.covered(positions)[2:], positions, strict=True):
            assert 0 <= part.start <= part.stop <= size, positions
            assert size - (part.stop - part.start) < side, positions


@pytest.mark.parametrize("positions", [(13,), (5, 7), (9, 4, 6)])
def test_what_was_split_is_joined(positions):
    cells, maps = cells_of(positions, 8), torch.rand(2, 3, *positions)
    inner = maps[cells.covered(positions)]
    split = cells.split(inner)
    assert split.shape == (2, 3 * cells.volume, cells.number)
    assert torch.equal(cells.join(split, 3), inner)
    assert cells.split(inner[:0]).shape == (0, 3 * cells.volume, cells.number)


def test_without_a_bound_every_position_is_a_cell():
    assert cells_of((40, 50), None).number == 2000
    assert alignment_size((40, 50), None).cells == 2000
    assert alignment_size((40, 50)).cells <= 256
    assert alignment_size((40, 50)).positions == 2000


@pytest.mark.parametrize("positions", [(0, 5), (5.5, 5), (-1,)])
def test_axes_must_have_positions(positions):
    with pytest.raises(ValueError, match="the length of each axis of positions must be a whole number >= 1"):
        alignment_size(positions)
