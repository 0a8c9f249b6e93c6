import pytest
import torch

from alignmixup import GridMix
from alignmixup.functional.interpolation import cell_mask


def test_cells_are_parts_of_the_image():
    cells = torch.tensor([[[1, 0], [0, 1]]])
    assert cell_mask(cells, 3, 5).tolist() == [[[1, 1, 1, 0, 0], [1, 1, 1, 0, 0], [0, 0, 0, 1, 1]]]
    assert torch.equal(
        cell_mask(cells.float(), 6, 8), torch.nn.functional.interpolate(cells[:, None].float(), (6, 8))[:, 0]
    )


@pytest.mark.parametrize("lam_per", ["batch", "pair", "sample"])
def test_each_cell_is_of_one_image_and_labels_count_pixels(lam_per):
    x, y = torch.rand(6, 3, 24, 17), torch.arange(6)
    mixer = GridMix(num_classes=6, lam_per=lam_per, grid=5, seed=0)
    for _ in range(10):
        batch = mixer(x, y)
        mask = batch.mask()[:, None].bool()
        assert torch.equal(batch.x, torch.where(mask, x, x[batch.perm]))
        share = mask.double().mean((1, 2, 3))
        torch.testing.assert_close(batch.lam.double(), share, rtol=1e-6, atol=1e-6)
        first = torch.arange(5) * 24 // 5 + 1, torch.arange(5) * 17 // 5 + 1  # a pixel inside each cell
        assert torch.equal(mask[:, 0][:, first[0]][:, :, first[1]], batch.draw.cells)


def test_the_number_of_cells_follows_lambda_and_their_places_are_even():
    x, y = torch.zeros(4000, 1, 8, 8), torch.zeros(4000, dtype=torch.int64)
    cells = GridMix(num_classes=2, lam_per="sample", seed=0)(x, y).draw.cells
    counts = cells.sum((1, 2)).bincount(minlength=17).double() / 4000
    torch.testing.assert_close(counts[1:16], torch.full((15,), 1 / 16).double(), rtol=0, atol=0.02)  # uniform
    torch.testing.assert_close(counts[[0, 16]], torch.full((2,), 1 / 32).double(), rtol=0, atol=0.015)
    assert (cells.double().mean(0) - 0.5).abs().max() < 0.03


def test_a_grid_finer_than_the_image_is_refused():
    with pytest.raises(ValueError, match="grid=9 is finer than images of 8 x 12 pixels"):
        GridMix(num_classes=2, grid=9)(torch.zeros(2, 3, 8, 12), torch.zeros(2, dtype=torch.int64))
