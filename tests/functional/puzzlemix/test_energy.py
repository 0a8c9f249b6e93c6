"""The energy of masks: the published terms, the published energies, and what they mean for two labels."""

import itertools

import numpy as np
import pytest
import torch

from alignmixup.functional.puzzlemix.energy import block_shares, puzzle_energy

FILES = [
    "puzzlemix_s32_b2_n3_blob_9",
    "puzzlemix_s32_b4_n2_blob_5",
    "puzzlemix_s32_b8_n4_grad_7",
    "puzzlemix_s32_b16_n4_blob_10",
]


def problem(arrays, dtype=torch.float64):
    """Arguments of `puzzle_energy` from golden vectors."""
    x, mean, std = (torch.from_numpy(arrays[key]).to(dtype) for key in ("x", "mean", "std"))
    images = x * std.view(1, -1, 1, 1) + mean.view(1, -1, 1, 1)
    saliency = torch.from_numpy(arrays["saliency"]).to(dtype)
    perm = torch.from_numpy(arrays["indices"]).long()
    options = {key: float(arrays[key]) for key in ("beta", "gamma", "eta")}
    options |= {"neighbourhood": int(arrays["neigh_size"]), "labels": int(arrays["n_labels"])}
    return (saliency, images, perm, float(arrays["lam"])), int(arrays["block_num"]), options


@pytest.mark.parametrize("name", FILES)
def test_terms_and_energies_are_the_published_ones(golden, name):
    arrays = golden(name)
    inputs, blocks, options = problem(arrays)
    energy = puzzle_energy(*inputs, blocks, **options)
    labels = options["labels"]
    value = np.linspace(1, 0, labels)[:, None, None, None]
    unary = value * arrays["U2"] + (1 - value) * arrays["U1"] + arrays["prior"][:, None, None, None]
    np.testing.assert_allclose(energy.unary.permute(0, 3, 1, 2).numpy(), unary, atol=2e-7)
    np.testing.assert_allclose(energy.vertical.permute(2, 0, 1).numpy(), arrays["w_v"], atol=1e-7)
    np.testing.assert_allclose(energy.horizontal.permute(2, 0, 1).numpy(), arrays["w_h"], atol=1e-7)
    for mask, expected in (("mask", "E_off"), ("mask_exact", "E_exact")):
        found = torch.from_numpy(((1 - arrays[mask]) * (labels - 1)).round()).long().permute(1, 2, 0)
        np.testing.assert_allclose(energy(found).numpy(), arrays[expected], atol=5e-7)


def test_float32_is_enough(golden):
    for name in FILES:
        arrays = golden(name)
        (wide, blocks, options), (narrow, _, _) = problem(arrays), problem(arrays, torch.float32)
        labels = torch.zeros(blocks, blocks, len(wide[2]), dtype=torch.int64)
        narrow_energy = puzzle_energy(*narrow, blocks, **options)
        assert narrow_energy.unary.dtype == torch.float32
        torch.testing.assert_close(
            narrow_energy(labels).double(), puzzle_energy(*wide, blocks, **options)(labels), atol=1e-6, rtol=0
        )


def test_with_two_labels_a_boundary_pays_for_its_step():
    """Binary masks: w (m - m')² and the linear terms together are β' [m ≠ m'] + β' γ D, but for a constant."""
    generator = torch.Generator().manual_seed(0)
    images = torch.rand(2, 3, 4, 4, generator=generator, dtype=torch.float64)
    saliency = torch.rand(2, 4, 4, generator=generator, dtype=torch.float64)
    perm, beta, gamma = torch.tensor([1, 0]), 1.2, 0.5
    energy = puzzle_energy(saliency, images, perm, 0.5, 2, beta=beta, gamma=gamma, eta=0.0, neighbourhood=4, labels=2)
    cells = torch.nn.functional.avg_pool2d(images, 2)
    shares = block_shares(saliency, 2)
    smoothness, gaps = beta / (16 * 2), []
    for labels in itertools.product((0, 1), repeat=4):
        shown = torch.tensor(labels).view(2, 2)
        expected = 0.0
        for i, j in itertools.product(range(2), repeat=2):
            expected += shares[1 - shown[i, j], i, j]  # the saliency of the image that is not shown
        for (i, j), (k, m) in (((0, 0), (1, 0)), ((0, 1), (1, 1)), ((0, 0), (0, 1)), ((1, 0), (1, 1))):
            step = (cells[shown[i, j], :, i, j] - cells[shown[k, m], :, k, m]).abs().mean()
            expected += smoothness * float(shown[i, j] != shown[k, m]) + smoothness * gamma * step
        gaps.append(energy(shown[..., None].expand(2, 2, 2))[0] - expected)
    torch.testing.assert_close(torch.stack(gaps), gaps[0].expand(16))


def test_weights_are_not_negative_up_to_gamma_one():
    generator = torch.Generator().manual_seed(1)
    images = torch.rand(8, 3, 16, 16, generator=generator).round()
    saliency = torch.rand(8, 16, 16, generator=generator)
    energy = puzzle_energy(
        saliency, images, torch.randperm(8), 0.5, 8, beta=1.2, gamma=1.0, eta=0.2, neighbourhood=1, labels=3
    )
    assert energy.vertical.min() > -1e-7
    assert energy.horizontal.min() > -1e-7


def test_lambda_may_differ_in_each_sample(golden):
    (saliency, images, perm, _), blocks, options = problem(golden(FILES[1]))
    lam = torch.linspace(0, 1, len(perm), dtype=torch.float64)
    together = puzzle_energy(saliency, images, perm, lam, blocks, **options).unary
    for i, value in enumerate(lam):
        alone = puzzle_energy(saliency, images, perm, float(value), blocks, **options).unary
        torch.testing.assert_close(together[..., i], alone[..., i])
    assert bool(together.isfinite().all())


def test_block_shares():
    saliency = torch.tensor([[[1.0, 3.0], [0.0, 4.0]], [[0.0, 0.0], [0.0, 0.0]]])
    torch.testing.assert_close(
        block_shares(saliency, 2), torch.tensor([[[0.125, 0.375], [0.0, 0.5]], [[0.25, 0.25], [0.25, 0.25]]])
    )
    torch.testing.assert_close(block_shares(saliency.repeat_interleave(3, 2), 1), torch.ones(2, 1, 1))


def test_cells_divide_blocks_of_any_side():
    """224-pixel images have blocks of 14 pixels, which cells of 4 do not divide: they are of 2."""
    images, saliency = torch.rand(2, 3, 28, 28), torch.rand(2, 28, 28)
    options = {"beta": 1.2, "gamma": 0.5, "eta": 0.2, "labels": 3}
    four, two = (
        puzzle_energy(saliency, images, torch.tensor([1, 0]), 0.5, 2, neighbourhood=n, **options) for n in (4, 2)
    )
    torch.testing.assert_close(four.vertical, two.vertical)


def test_errors():
    options = {"beta": 1.2, "gamma": 0.5, "eta": 0.2, "neighbourhood": 4, "labels": 3}
    perm = torch.tensor([1, 0])
    with pytest.raises(ValueError, match="images of 8 x 8 do not divide into 3 x 3 whole blocks"):
        puzzle_energy(torch.ones(2, 8, 8), torch.ones(2, 3, 8, 8), perm, 0.5, 3, **options)
    with pytest.raises(ValueError, match="images must have shape"):
        puzzle_energy(torch.ones(2, 8, 8), torch.ones(2, 3, 4, 4), perm, 0.5, 2, **options)
    with pytest.raises(ValueError, match="labels must be >= 2, got 1"):
        puzzle_energy(torch.ones(2, 8, 8), torch.ones(2, 3, 8, 8), perm, 0.5, 2, **{**options, "labels": 1})
    with pytest.raises(ValueError, match=r"saliency must have shape \(B, H, W\)"):
        block_shares(torch.ones(8, 8), 2)


@pytest.mark.parametrize(("factor", "shift"), [(255, 0), (2, -1)])
def test_images_must_be_pixels(factor, shift):
    images = torch.rand(2, 3, 8, 8) * factor + shift
    with pytest.raises(ValueError, match=r"images must be in \[0, 1\], not normalised, got values from"):
        puzzle_energy(torch.rand(2, 8, 8), images, torch.tensor([1, 0]), 0.5, 4)
