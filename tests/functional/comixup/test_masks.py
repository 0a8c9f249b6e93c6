import numpy as np
import pytest
import torch

from alignmixup.functional import comixup_masks, comixup_objective

FILES = ["s32_n10_b4_grad", "s32_n6_b2_blob", "s32_n8_b8_blob", "s64_n6_b4_grad"]
SALIENCY = torch.rand(2, 5, 4, 4, generator=torch.Generator().manual_seed(0)) ** 4
START = torch.randint(5, (2, 5, 4, 4), generator=torch.Generator().manual_seed(1))


def problem(arrays):
    """Saliency, distances and prior of a golden file, in float64."""
    saliency, distances, prior = (torch.from_numpy(arrays[name]).double() for name in ("cost_in", "A_dist", "alpha"))
    return -saliency, distances, prior


def statistics(masks):
    """Mean inputs per output, and share of half/half blocks, of masks (N, m, h, w, m)."""
    inputs = (masks.sum((2, 3)) > 0).sum(-1).double().mean()
    return float(inputs), float((masks.amax(-1) < 0.75).double().mean())


def mixes_like(masks, published):
    """Whether inputs per output and half/half blocks agree with the published solver's over its starts."""
    inputs, halves = statistics(masks)
    return abs(inputs - published[:, 11].mean()) < 0.4 and abs(halves - published[:, 12].mean()) < 0.08


def identity(size, side):
    return torch.eye(size, dtype=torch.float64)[:, None, None].expand(size, side, side, size)


def test_objective_by_hand():
    # two inputs, two blocks side by side; saliency (3/4, 1/4) and (1/2, 1/2)
    saliency = torch.tensor([[[3.0, 1.0]], [[1.0, 1.0]]])
    masks = torch.tensor([[[[1.0, 0.0], [0.5, 0.5]]], [[[0.0, 1.0], [0.0, 1.0]]]])
    kept = 0.75 + 0.5 * 0.25 + 0.5 * 0.5 + 0.5 + 0.5
    smooth = 0.32 / 2 * (0.5**2 + 0.5**2) / 2
    # of input 1 output 0 takes 0.5, where output 1 uses 2 > 0.83 * 2; output 1 takes 2, where output 0 uses 0.5
    shared = 1 / 2 * 0.5 * 2.0
    value = comixup_objective(masks, saliency, tau=0.83)
    torch.testing.assert_close(value, torch.tensor(-kept + smooth + shared))
    soft = 1 / 2 * 0.5 * (2.0 - 1.66)
    value = comixup_objective(masks, saliency, tau=0.83, threshold="soft")
    torch.testing.assert_close(value, torch.tensor(-kept + smooth + soft))
    prior = torch.tensor([0.2, 0.8])
    value = comixup_objective(masks, saliency, eta=0.4, prior=prior) - comixup_objective(masks, saliency, eta=0.0)
    torch.testing.assert_close(value, -0.4 / 2 * (1.5 * prior[0].log() + 2.5 * prior[1].log()))


@pytest.mark.parametrize("name", FILES)
def test_objective_equals_every_published_term(golden, name):
    arrays = golden(f"comixup_{name}")
    saliency, distances, prior = problem(arrays)
    side = saliency.shape[1]
    start = torch.nn.functional.one_hot(torch.from_numpy(arrays["init_idx"]).long(), len(prior)).double()
    labellings = {"off": torch.from_numpy(arrays["z"]), "init": start, "identity": identity(len(prior), side)}

    def value(masks, **options):
        # without a threshold all use counts: q > 0 wherever an input is used elsewhere
        return float(comixup_objective(masks, saliency, distances, prior=prior, **options))

    for key, masks in labellings.items():
        expected = arrays[f"energy_{key}"]
        unary = value(masks, beta=0, gamma=0)
        found = [
            value(masks, tau=0, omega=0),
            value(masks, omega=0),
            value(masks),
            value(masks, threshold="soft"),
            unary,
            (value(masks, gamma=0) - unary) * side**2 / 0.32,
            (value(masks, beta=0, tau=0, omega=0) - unary) * side**2,
            (value(masks, beta=0, omega=0) - unary) * side**2,
            (value(masks, beta=0) - unary) * side**2,
            (value(masks, beta=0, threshold="soft") - unary) * side**2,
            (value(masks, beta=0, tau=0) - unary) * side**2,
        ]
        np.testing.assert_allclose(found, expected, rtol=1e-6, atol=1e-5)


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("variant", ["as_described", "as_released"])
def test_as_good_as_the_published_solver_and_mixing_like_it(golden, name, variant):
    arrays = golden(f"comixup_{name}")
    saliency, distances, prior = problem(arrays)
    published = arrays["energy_multistart"]
    count = 64
    grouped = [tensor.expand(count, *tensor.shape) for tensor in (saliency, distances, prior)]
    generator = torch.Generator().manual_seed(0)
    masks = comixup_masks(*grouped[:2], prior=grouped[2], variant=variant, generator=generator)
    value = comixup_objective(masks, *grouped[:2], prior=grouped[2]).numpy()
    known = published[:, 2]
    assert np.median(value) <= np.median(known) + 0.1 * abs(np.median(known))
    assert value.mean() <= known.mean() + 2 * known.std()
    assert mixes_like(masks, published)


@pytest.mark.parametrize("name", FILES)
def test_one_try_from_the_published_start_ends_in_the_published_range(golden, name):
    arrays = golden(f"comixup_{name}")
    saliency, distances, prior = problem(arrays)
    start = torch.from_numpy(arrays["init_idx"]).long()
    masks = comixup_masks(saliency, distances, prior=prior, start=start)
    value = comixup_objective(masks, saliency, distances, prior=prior)
    known = [*arrays["energy_multistart"][:, 2], arrays["energy_off"][2]]
    assert value <= max(known)


def test_leaving_images_alone_scores_lower_but_does_not_pass(golden):
    arrays = golden("comixup_s32_n10_b4_grad")
    saliency, distances, prior = problem(arrays)
    published = arrays["energy_multistart"]
    masks = identity(10, 4)
    assert comixup_objective(masks, saliency, distances, prior=prior) < published[:, 2].mean()
    assert not mixes_like(masks[None], published)


@pytest.mark.parametrize("threshold", ["hard", "soft"])
def test_blocks_have_one_input_or_two_halves(threshold):
    generator = torch.Generator().manual_seed(0)
    masks = comixup_masks(SALIENCY, torch.rand(2, 5, 5), threshold=threshold, generator=generator)
    assert masks.shape == (2, 5, 4, 4, 5)
    ordered = masks.sort(-1, descending=True).values
    whole = ordered == torch.tensor([1.0, 0, 0, 0, 0])
    halves = ordered == torch.tensor([0.5, 0.5, 0, 0, 0])
    assert bool((whole.all(-1) | halves.all(-1)).all())
    assert bool(halves.all(-1).any())


def test_the_first_round_has_no_halves():
    masks = comixup_masks(SALIENCY, start=START, rounds=1)
    assert bool(((masks == 0) | (masks == 1)).all())


def test_groups_are_solved_as_if_alone():
    distances, prior = torch.rand(2, 5, 5), torch.rand(2, 5)
    together = comixup_masks(SALIENCY, distances, prior=prior, start=START)
    for i in range(2):
        alone = comixup_masks(SALIENCY[i], distances[i], prior=prior[i], start=START[i])
        assert torch.equal(together[i], alone)


def test_of_several_tries_the_best_is_kept():
    starts = torch.randint(5, (2, 6, 5, 4, 4), generator=torch.Generator().manual_seed(3))
    best = comixup_objective(comixup_masks(SALIENCY, start=starts), SALIENCY)
    each = torch.stack([comixup_objective(comixup_masks(SALIENCY, start=starts[:, i]), SALIENCY) for i in range(6)])
    assert torch.equal(best, each.min(0).values)


def test_the_generator_decides_the_starts():
    def masks(seed):
        return comixup_masks(SALIENCY, generator=torch.Generator().manual_seed(seed))

    assert torch.equal(masks(0), masks(0))
    assert not torch.equal(masks(0), masks(1))


def test_the_scale_of_saliency_does_not_matter():
    assert torch.equal(comixup_masks(SALIENCY, start=START), comixup_masks(64 * SALIENCY, start=START))


def test_no_saliency_and_equal_peaks_are_harmless():
    masks = comixup_masks(torch.zeros(3, 4, 4), torch.zeros(3, 3), start=START[0, :3] % 3)
    torch.testing.assert_close(masks.sum(-1), torch.ones(3, 4, 4))
    plain = comixup_masks(SALIENCY, start=START)
    assert torch.equal(plain, comixup_masks(SALIENCY, torch.zeros(2, 5, 5), start=START))


@pytest.mark.parametrize("size", [1, 2, 3])
@pytest.mark.parametrize("grid", [(1, 1), (2, 3), (5, 1)])
def test_any_group_and_grid(size, grid):
    saliency = torch.rand(size, *grid, generator=torch.Generator().manual_seed(0))
    masks = comixup_masks(saliency, generator=torch.Generator().manual_seed(1))
    assert masks.shape == (size, *grid, size)
    torch.testing.assert_close(masks.sum(-1), torch.ones(size, *grid))


def test_a_single_input_stays_itself():
    assert bool((comixup_masks(torch.rand(1, 4, 4), start=torch.zeros(1, 4, 4, dtype=torch.int64)) == 1).all())


def test_outputs_of_the_same_inputs_are_told_apart(golden):
    saliency, _, prior = problem(golden("comixup_s32_n10_b4_grad"))
    saliency, prior = saliency.expand(64, -1, -1, -1), prior.expand(64, -1)

    def twins(set_resolve):
        generator = torch.Generator().manual_seed(0)
        masks = comixup_masks(saliency, prior=prior, set_resolve=set_resolve, tries=1, generator=generator)
        used = masks.sum((2, 3)) > 0
        same = (used[:, :, None] == used[:, None]).all(-1) & (used.sum(-1) >= 2)[:, :, None]
        return int(same.triu(1).sum())

    assert twins(True) < 0.6 * twins(False)


def test_precision():
    plain = comixup_masks(SALIENCY, start=START)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(comixup_masks(SALIENCY, start=START), plain)
    assert comixup_masks(SALIENCY.double(), start=START).dtype == torch.float64
    assert comixup_masks(SALIENCY.half(), start=START).dtype == torch.float32


def test_threads_are_given_back():
    threads = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        comixup_masks(SALIENCY, start=START)
        assert torch.get_num_threads() == 2
        with pytest.raises(ValueError, match="start must have shape"):
            comixup_masks(SALIENCY, start=START[:, :2])
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(threads)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"beta": -1.0}, "beta must be >= 0, got -1.0"),
        ({"gamma": float("nan")}, "gamma must be >= 0, got nan"),
        ({"omega": 1.5}, r"omega must be in \[0, 1\], got 1.5"),
        ({"rounds": 0}, "rounds must be >= 1, got 0"),
        ({"threshold": "none"}, "threshold must be 'hard' or 'soft', got 'none'"),
        ({"variant": "x"}, "variant must be 'as_described' or 'as_released', got 'x'"),
        ({"prior": torch.ones(4)}, r"prior must have shape \(G, m\) with m = 5, G = 2, got \(4,\)"),
        ({"distances": torch.ones(5, 5)}, r"distances must have shape \(G, m, m\) with m = 5, G = 2, got \(5, 5\)"),
        ({"start": None}, "needs a start, or a CPU generator"),
        ({"start": START[0]}, r"start must have shape \(G, m, h, w\) with .* got \(5, 4, 4\)"),
    ],
)
def test_errors(options, message):
    with pytest.raises(ValueError, match=message):
        comixup_masks(SALIENCY, **{"start": START, **options})


def test_shapes_and_types_are_checked():
    with pytest.raises(ValueError, match="saliency must "):
        comixup_masks(torch.rand(4, 4), start=START)
    with pytest.raises(TypeError, match="floating point"):
        comixup_masks(torch.ones(5, 4, 4, dtype=torch.int64), start=START[0])
    with pytest.raises(ValueError, match="masks must have shape"):
        comixup_objective(torch.rand(5, 4, 4, 4), SALIENCY[0])
