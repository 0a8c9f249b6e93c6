"""Masks, energies and mixed images of Puzzle Mix through the public functions."""

import pytest
import torch
from tests.functional.puzzlemix.test_energy import FILES, problem

from alignmixup.functional import puzzlemix, puzzlemix_energy, puzzlemix_mask, puzzlemix_transport


@pytest.fixture
def pair():
    """Saliency, images and partners of a batch."""
    generator = torch.Generator().manual_seed(0)
    return (
        torch.rand(6, 16, 16, generator=generator) ** 3,
        torch.rand(6, 3, 16, 16, generator=generator),
        torch.randperm(6, generator=generator),
    )


@pytest.mark.parametrize("name", FILES)
def test_energies_and_images_are_the_published_ones(golden, name):
    arrays = golden(name)
    inputs, blocks, options = problem(arrays)
    for mask, expected in (("mask", "E_off"), ("mask_exact", "E_exact")):
        found = puzzlemix_energy(torch.from_numpy(arrays[mask]), *inputs, **options)
        assert found.dtype == torch.float64
        torch.testing.assert_close(found, torch.from_numpy(arrays[expected]), atol=5e-7, rtol=0)
    saliency, images, perm, lam = inputs
    mask = puzzlemix_mask(saliency.float(), images.float(), perm, lam, blocks, **options)
    assert mask.shape == (len(perm), blocks, blocks)
    assert mask.dtype == torch.float32
    own = puzzlemix_energy(mask, *inputs, **options)
    assert (own / torch.from_numpy(arrays["E_exact"]) - 1).mean() < 5e-5

    weights, share, x = (torch.from_numpy(arrays[key]) for key in ("t_mask", "t_unary", "x"))
    first, partner = (puzzlemix_transport(weights[image], share[image]) for image in range(2))
    mixed = puzzlemix(x, perm, weights[0], (first, partner))
    torch.testing.assert_close(mixed, torch.from_numpy(arrays["mixed"]), atol=1e-6, rtol=0)


def test_blocks_move_and_mix_as_told():
    x = torch.arange(2 * 16, dtype=torch.float32).view(2, 1, 4, 4)
    mask = torch.tensor([[[1.0, 0.0], [0.5, 1.0]]]).expand(2, 2, 2)
    plan = torch.tensor([[3, -1, 2, -1]]).expand(2, 4)  # block 3 goes to the corner, nothing to block 3's place
    partner_plan = torch.tensor([[-1, 0, 2, -1]]).expand(2, 4)
    mixed = puzzlemix(x, torch.tensor([1, 0]), mask, (plan, partner_plan))
    assert torch.equal(mixed[0, 0, :2, :2], x[0, 0, 2:, 2:])
    assert torch.equal(mixed[0, 0, :2, 2:], x[1, 0, :2, :2])
    assert torch.equal(mixed[0, 0, 2:, :2], (x[0, 0, 2:, :2] + x[1, 0, 2:, :2]) / 2)
    assert torch.equal(mixed[0, 0, 2:, 2:], torch.zeros(2, 2))


def test_without_plans_blocks_stay(pair):
    _, images, perm = pair
    mask = torch.randint(3, (6, 4, 4)) / 2
    weight = mask.repeat_interleave(4, 1).repeat_interleave(4, 2)[:, None]
    torch.testing.assert_close(puzzlemix(images, perm, mask), weight * images + (1 - weight) * images[perm])
    assert torch.equal(puzzlemix(images, perm, torch.ones(6, 4, 4)), images)
    assert torch.equal(puzzlemix(images, perm, torch.zeros(6, 4, 4)), images[perm])


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_dtypes_and_memory_formats(pair, dtype):
    _, images, perm = pair
    mask = torch.randint(3, (6, 2, 2)) / 2
    x = images.to(dtype, memory_format=torch.channels_last)
    mixed = puzzlemix(x, perm, mask)
    assert mixed.dtype == dtype
    assert mixed.is_contiguous(memory_format=torch.channels_last)
    torch.testing.assert_close(mixed.float(), puzzlemix(x.float(), perm, mask), rtol=1e-2, atol=1e-2)
    assert puzzlemix(images[..., :8], perm, mask).shape == (6, 3, 16, 8)


def test_lambda_moves_the_area_from_nothing_to_everything(pair):
    areas = [puzzlemix_mask(*pair, lam, 4).mean().item() for lam in (0.0, 0.2, 0.5, 0.8, 1.0)]
    assert areas == sorted(areas)
    assert areas[0] == 0
    assert areas[-1] == 1
    each = puzzlemix_mask(*pair, torch.tensor([0.0, 1.0, 0.0, 1.0, 0.0, 1.0]), 4).mean((1, 2))
    assert each.tolist() == [0, 1, 0, 1, 0, 1]


def test_masks_show_what_is_salient():
    saliency = torch.full((2, 16, 16), 0.01)
    saliency[0, :, :8] = 1.0
    saliency[1, :, 8:] = 1.0
    images = torch.full((2, 3, 16, 16), 0.5)
    mask = puzzlemix_mask(saliency, images, torch.tensor([1, 0]), 0.5, 2, beta=0.1)
    assert torch.equal(mask, torch.tensor([[[1.0, 0.0], [1.0, 0.0]], [[0.0, 1.0], [0.0, 1.0]]]))


def test_scale_does_not_matter_and_zero_is_uniform(pair):
    saliency, images, perm = pair
    expected = puzzlemix_mask(saliency, images, perm, 0.4, 8)
    assert torch.equal(puzzlemix_mask(saliency * 2**-60, images, perm, 0.4, 8), expected)
    zero = puzzlemix_mask(torch.zeros_like(saliency), images, perm, 0.4, 8)
    assert torch.equal(zero, puzzlemix_mask(torch.ones_like(saliency), images, perm, 0.4, 8))
    assert bool(zero.isfinite().all())
    assert bool((puzzlemix_transport(zero, torch.zeros_like(saliency)) >= -1).all())


def test_half_precision_and_autocast_change_nothing(pair):
    saliency, images, perm = pair
    expected = puzzlemix_mask(saliency, images, perm, 0.4, 8)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(puzzlemix_mask(saliency, images, perm, 0.4, 8), expected)
    assert puzzlemix_mask(saliency.half(), images.half(), perm, 0.4, 8).dtype == torch.float32


def test_the_number_of_threads_comes_back(pair):
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        puzzlemix_mask(*pair, 0.4, 4)
        with pytest.raises(ValueError, match="whole blocks"):
            puzzlemix_mask(*pair, 0.4, 5)
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)


def test_errors(pair):
    _, images, perm = pair
    with pytest.raises(ValueError, match=r"blocks of the mask|mask must have shape"):
        puzzlemix(images, perm, torch.ones(6, 3, 3))
    with pytest.raises(ValueError, match=r"blocks of the mask|mask must have shape"):
        puzzlemix(images, perm, torch.ones(5, 4, 4))
    with pytest.raises(TypeError, match="must be floating point"):
        puzzlemix(images.byte(), perm, torch.ones(6, 4, 4))


@pytest.mark.parametrize("value", [1 / 3, 0.25, float("nan")])
def test_the_energy_of_a_mask_with_other_values_than_its_labels_is_refused(pair, value):
    """Rounded to the nearest label it would be that of another mask."""
    saliency, images, perm = pair
    mask = puzzlemix_mask(saliency, images, perm, 0.5, 4, labels=4)
    assert puzzlemix_energy(mask.bfloat16(), saliency, images, perm, 0.5, labels=4).isfinite().all()
    mask[2, 1, 3] = value
    with pytest.raises(ValueError, match=r"multiples of 1 / 2 for labels=3, got .*: give the `labels`"):
        puzzlemix_energy(mask, saliency, images, perm, 0.5)


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
@pytest.mark.parametrize("pooled", [False, True])
def test_a_saliency_that_is_not_finite_counts_as_uniform_and_is_no_other_samples_matter(bad, pooled):
    generator = torch.Generator().manual_seed(0)
    mask = (torch.rand(3, 4, 4, generator=generator) > 0.5).float()
    saliency = torch.rand(3, 4, 4, generator=generator)
    saliency /= saliency.sum((1, 2), keepdim=True)
    if pooled:
        saliency = saliency.repeat_interleave(2, 1).repeat_interleave(2, 2)
    expected = saliency.clone()
    expected[1] = 1 / 16
    saliency[1, 2, 3] = bad
    assert torch.equal(puzzlemix_transport(mask, saliency), puzzlemix_transport(mask, expected))
