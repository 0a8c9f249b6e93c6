import ast
import importlib
from pathlib import Path

import pytest
import torch

import alignmixup
from alignmixup.functional.interpolation import box_lam, one_box_lam
from alignmixup.functional.sampling import (
    beta,
    box_centres,
    choice,
    coin,
    cutmix_box,
    dirichlet,
    matching,
    one_beta,
    one_box_centre,
    one_cutmix_box,
    partner_share,
    permutation,
    random_start,
    to_device,
)


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize("alpha", [0.2, 1.0, 2.0, 8.0])
def test_beta_has_the_moments_of_the_distribution(alpha):
    lam = beta(alpha, 200_000, generator=seeded())
    assert lam.dtype == torch.float64
    assert lam.mean().item() == pytest.approx(0.5, abs=0.005)
    assert lam.var().item() == pytest.approx(0.25 / (2 * alpha + 1), rel=0.02)


@pytest.mark.parametrize("alpha", [1e-3, 1e-2, 1e4])
def test_beta_is_finite_and_symmetric_at_the_extremes(alpha):
    lam = beta(alpha, 20_000, generator=seeded())
    assert bool(((lam >= 0) & (lam <= 1)).all())
    assert lam.mean().item() == pytest.approx(0.5, abs=0.015)


def test_beta_quantiles_match_scipy():
    stats = importlib.import_module("scipy.stats")
    lam = beta(0.4, 100_000, generator=seeded())
    assert stats.kstest(lam.numpy(), stats.beta(0.4, 0.4).cdf).pvalue > 0.01


@pytest.mark.parametrize("alpha", [0.0, -1.0, float("nan"), float("inf")])
def test_beta_rejects_a_bad_alpha(alpha):
    with pytest.raises(ValueError, match="alpha must be a positive finite number"):
        beta(alpha, 1, generator=seeded())


@pytest.mark.parametrize("size", [1, 2, 7, 8])
def test_permutation_and_matching_are_permutations(size):
    everyone = torch.arange(size)
    assert torch.equal(permutation(size, generator=seeded()).sort().values, everyone)
    pairs = matching(size, generator=seeded())
    assert torch.equal(pairs[pairs], everyone)
    assert int((pairs == everyone).sum()) == size % 2


def test_choice_and_coin_follow_their_probabilities():
    generator = seeded()
    drawn = torch.tensor([choice([1.0, 3.0], generator=generator) for _ in range(4000)])
    assert drawn.float().mean().item() == pytest.approx(0.75, abs=0.03)
    heads = sum(coin(0.2, generator=generator) for _ in range(4000)) / 4000
    assert heads == pytest.approx(0.2, abs=0.03)


def test_a_certain_coin_consumes_nothing():
    generator = seeded()
    before = generator.get_state()
    assert coin(1.0, generator=generator) is True
    assert coin(0.0, generator=generator) is False
    assert torch.equal(generator.get_state(), before)


def test_cutmix_box_by_hand():
    # λ = 0.75: sides floor(32 * 0.5) = 16, half 8; λ = 0.9: floor(32 * sqrt(0.1)) = 10, half 5
    lam = torch.tensor([0.75, 0.75, 0.9, 1.0], dtype=torch.float64)
    centres = torch.tensor([[16, 16], [2, 30], [16, 16], [5, 5]])
    expected = [[8, 8, 24, 24], [0, 22, 10, 32], [11, 11, 21, 21], [5, 5, 5, 5]]
    assert cutmix_box(lam, centres, 32, 32).tolist() == expected


def test_cutmix_box_on_oblong_images_and_odd_sides():
    # sides floor(11 * 0.5) = 5 and floor(7 * 0.5) = 3: an odd side loses a pixel
    box = cutmix_box(torch.tensor([0.75], dtype=torch.float64), torch.tensor([[5, 3]]), 11, 7)
    assert box.tolist() == [[3, 2, 7, 4]]


def test_cutmix_boxes_match_the_published_code(golden):
    vectors = golden("cutmix_boxes")
    fixed_int, fixed_float = vectors["fixed_int"], vectors["fixed_float"]
    numpy = importlib.import_module("numpy")
    checked = 0
    for start in range(0, len(fixed_int), 10):
        seed, height, width = fixed_int[start, :3]
        state = numpy.random.RandomState(seed)
        for row in range(start, start + 10):
            centre = torch.tensor([[state.randint(height), state.randint(width)]])
            lam = torch.tensor([fixed_float[row, 0]], dtype=torch.float64)
            box = cutmix_box(lam, centre, int(height), int(width))
            assert box[0].tolist() == fixed_int[row, 3:].tolist()
            assert box_lam(box, int(height), int(width)).item() == pytest.approx(fixed_float[row, 1], abs=1e-7)
            checked += 1
    assert checked == len(fixed_int) > 0


def test_box_centres_cover_the_image():
    centres = box_centres(5000, 3, 5, generator=seeded())
    assert centres.dtype == torch.int64
    assert centres.min(dim=0).values.tolist() == [0, 0]
    assert centres.max(dim=0).values.tolist() == [2, 4]


def test_to_device_keeps_the_values():
    draw = torch.rand(3)
    assert torch.equal(to_device(draw, torch.device("cpu")), draw)


@pytest.mark.parametrize("alpha", [0.5, 1.0, 2.0])
def test_dirichlet_has_the_known_moments(alpha):
    shares = dirichlet(alpha, 20000, 4, generator=seeded())
    assert shares.dtype == torch.float64
    torch.testing.assert_close(shares.sum(1), torch.ones(20000, dtype=torch.float64))
    # mean 1/m, variance (1/m)(1 - 1/m) / (m α + 1)
    torch.testing.assert_close(shares.mean(0), torch.full((4,), 0.25, dtype=torch.float64), atol=0.01, rtol=0)
    variance = 0.25 * 0.75 / (4 * alpha + 1)
    expected = torch.full((4,), variance, dtype=torch.float64)
    torch.testing.assert_close(shares.var(0), expected, atol=0.005, rtol=0.05)


def test_small_concentrations_do_not_underflow():
    shares = dirichlet(1e-3, 1000, 5, generator=seeded())
    assert bool(shares.isfinite().all())
    assert bool((shares.amax(1) > 0.5).all())


def test_concentration_is_checked():
    with pytest.raises(ValueError, match="alpha must be a positive finite number, got 0"):
        dirichlet(0, 1, 2, generator=seeded())


def test_starts_are_uniform():
    start = random_start(50, 5, 4, 4, generator=seeded())
    assert start.shape == (50, 5, 4, 4)
    assert start.dtype == torch.int64
    share = torch.bincount(start.flatten(), minlength=5) / start.numel()
    torch.testing.assert_close(share, torch.full((5,), 0.2), atol=0.03, rtol=0)


def test_the_seed_decides():
    assert torch.equal(dirichlet(2.0, 2, 3, generator=seeded(1)), dirichlet(2.0, 2, 3, generator=seeded(1)))
    one, other = (random_start(1, 4, 4, 4, generator=seeded(seed)) for seed in (1, 2))
    assert not torch.equal(one, other)


def test_one_box_is_the_box_of_the_tensors():
    lam = torch.cat([torch.linspace(0, 1, 41, dtype=torch.float64), torch.rand(200, dtype=torch.float64)])
    for height, width in ((32, 32), (7, 12), (224, 160)):
        centres = torch.stack([torch.randint(height, lam.shape), torch.randint(width, lam.shape)], 1)
        pairs = zip(lam.tolist(), centres.tolist(), strict=True)
        boxes = [one_cutmix_box(each, centre, height, width) for each, centre in pairs]
        assert torch.equal(torch.tensor(boxes), cutmix_box(lam, centres, height, width))


def test_one_centre_and_one_share_are_those_of_the_tensors():
    for seed in range(50):
        one, many = seeded(seed), seeded(seed)
        assert list(one_box_centre(7, 12, generator=one)) == box_centres(1, 7, 12, generator=many)[0].tolist()
        assert torch.equal(one.get_state(), many.get_state())
    corners = [(0, 0, y, x) for y in range(8) for x in range(13)]
    two = [box_lam(torch.tensor([box, (0, 0, 0, 0)]), 7 + 1, 13)[0] for box in corners]  # not one box for all
    assert [one_box_lam(box, 7 + 1, 13) for box in corners] == [float(lam) for lam in two]


@pytest.mark.parametrize("alpha", [0.1, 0.2, 0.4, 1.0, 2.0, 4.0, 10.0, 20.0])
def test_the_share_of_the_other_image(alpha):
    lam = beta(alpha, 100_000, generator=torch.Generator().manual_seed(0))
    assert partner_share(alpha) == pytest.approx(torch.minimum(lam, 1 - lam).mean().item(), abs=0.003)


def test_the_share_of_the_other_image_is_written_as_it_is():
    text = (Path(__file__).parents[2] / "docs" / "concepts.md").read_text(encoding="utf-8").splitlines()
    row = next(number for number, line in enumerate(text) if line.startswith("| α |"))
    alphas, shares = ([float(cell) for cell in text[k].strip("| ").split("|")[1:]] for k in (row, row + 2))
    assert len(alphas) > 4
    for alpha, share in zip(alphas, shares, strict=True):
        assert share == pytest.approx(partner_share(alpha), abs=0.0006), alpha


@pytest.mark.parametrize("alpha", [0.0, -1.0, float("nan"), float("inf")])
def test_alpha_of_a_share_is_positive(alpha):
    with pytest.raises(ValueError, match="alpha must be a positive finite number"):
        partner_share(alpha)


@pytest.mark.parametrize("alpha", [1e-300, 0.01, 0.2, 1.0, 8.0, 1e6])
def test_one_beta_is_the_beta_of_the_tensors(alpha):
    first, second = (torch.Generator().manual_seed(0) for _ in range(2))
    one = [one_beta(alpha, generator=first) for _ in range(300)]
    several = torch.cat([beta(alpha, 1, generator=second) for _ in range(300)])
    torch.testing.assert_close(torch.tensor(one, dtype=torch.float64), several, rtol=1e-9, atol=0)
    assert torch.equal(first.get_state(), second.get_state())


@pytest.mark.parametrize("alpha", [0.0, -1.0, float("nan"), float("inf")])
def test_one_beta_rejects_a_bad_alpha(alpha):
    with pytest.raises(ValueError, match="alpha must be a positive finite number"):
        one_beta(alpha, generator=torch.Generator())


@pytest.mark.parametrize("size", [-1, 1.5, True])
def test_a_number_of_draws_is_whole_and_not_negative(size):
    with pytest.raises(ValueError, match="size must be a whole number >= 0"):
        beta(1.0, size, generator=torch.Generator().manual_seed(0))


MAKERS = {
    *("tensor", "empty", "full", "ones", "zeros", "eye", "arange", "linspace"),
    *("rand", "randint", "randn", "randperm", "fftfreq", "rfftfreq"),
}
FOLDERS = ("functional", "methods", "taps")


def test_every_new_tensor_names_its_device():
    """Else it would lie on the process's default device: draws on a GPU, or beside tensors of the CPU."""
    unnamed = []
    for path in (path for folder in FOLDERS for path in (Path(alignmixup.__file__).parent / folder).rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in MAKERS:
                of_torch = ast.unparse(node.func.value) in ("torch", "torch.fft")
                if of_torch and "device" not in {keyword.arg for keyword in node.keywords}:
                    unnamed.append(f"{path.name}:{node.lineno}: {ast.unparse(node)}")
    assert not unnamed, "\n".join(unnamed)
