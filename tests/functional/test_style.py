import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from alignmixup.functional.interpolation import box_mask, cutmix
from alignmixup.functional.style import (
    adain,
    class_style_sums,
    style_distances,
    style_statistics,
    style_vector,
    stylecutmix,
    stylemix,
)

NAMES = ["stylemix_0_16x8x8_relu", "stylemix_2_32x4x4_dead"]


def maps(*shape, seed=0, dtype=torch.float32):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def tensors(vectors):
    return {name: torch.from_numpy(value) for name, value in vectors.items()}


def test_statistics_by_hand():
    mean, std = style_statistics(torch.tensor([[[[0.0, 2.0]], [[1.0, 1.0]]]]))
    assert mean.flatten().tolist() == [1.0, 1.0]
    torch.testing.assert_close(std.flatten(), torch.tensor([2 + 1e-5, 1e-5]).sqrt())
    assert mean.shape == std.shape == (1, 2, 1, 1)


def test_adain_by_hand():
    result = adain(torch.tensor([[[[0.0, 1.0, 2.0]]]]), torch.tensor([[[[5.0, 15.0, 25.0]]]]))
    torch.testing.assert_close(result.flatten(), torch.tensor([5.0, 15.0, 25.0]), rtol=1e-4, atol=0)


@pytest.mark.parametrize("name", NAMES)
def test_equals_the_published_code(golden, name):
    vectors = tensors(golden(name))
    features, perm = vectors["feat"], vectors["indices"].long()
    mean, std = style_statistics(features)
    torch.testing.assert_close(mean[..., 0, 0], vectors["mean"])
    torch.testing.assert_close(std[..., 0, 0], vectors["std"])
    torch.testing.assert_close(adain(features, features[perm]), vectors["adain_12"], rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(adain(features[perm], features), vectors["adain_21"], rtol=1e-5, atol=1e-5)
    for (content, style), overlap, expected in zip(vectors["rc_rs"], vectors["t"], vectors["mixed"], strict=True):
        mixed = stylemix(features, perm, content, style, overlap)
        torch.testing.assert_close(mixed, expected, rtol=1e-5, atol=1e-5)
        plain = stylemix(features, perm, content.item(), style.item(), overlap.item())
        assert torch.equal(mixed, plain)


def test_stylecutmix_equals_the_published_code(golden):
    vectors = tensors(golden("stylecutmix"))
    x, features = (torch.cat([vectors[f"{name}1"], vectors[f"{name}2"]]) for name in ("x", "f"))
    perm = torch.tensor([1, 0])
    restyled = adain(features, features[perm])
    torch.testing.assert_close(restyled[:1], vectors["g12_decoded"], rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(restyled[1:], vectors["g21_decoded"], rtol=1e-5, atol=1e-5)
    mixed = stylecutmix(
        x,
        perm,
        ~box_mask(vectors["box"].view(1, 4), 224, 224),
        style_ratio=vectors["rs"],
        gamma=vectors["gamma"],
        restyled=restyled,
        partner_restyled=restyled[perm],
    )
    torch.testing.assert_close(mixed[:1], vectors["mixed"], rtol=1e-5, atol=1e-5)


def test_adain_takes_the_style_and_keeps_the_content():
    content, style = maps(2, 3, 5, 6), 2 + 3 * maps(2, 3, 4, 4, seed=1)
    result = adain(content, style)
    for own, wanted in zip(style_statistics(result), style_statistics(style), strict=True):
        torch.testing.assert_close(own, wanted, rtol=1e-4, atol=1e-4)
    flat, wanted = result.flatten(2), content.flatten(2)
    assert torch.equal(flat.argsort(-1), wanted.argsort(-1))
    torch.testing.assert_close(adain(content, content), content)


def test_corners_of_the_ratios():
    features, perm = maps(4, 3, 5, 5), torch.tensor([1, 0, 3, 3])
    partner = features[perm]
    for (content, style, overlap), expected in {
        (1.0, 1.0, 1.0): features,
        (0.0, 0.0, 0.0): partner,
        (1.0, 0.0, 0.0): adain(features, partner),
        (0.0, 1.0, 0.0): adain(partner, features),
    }.items():
        torch.testing.assert_close(stylemix(features, perm, content, style, overlap), expected)


@settings(max_examples=60, deadline=None)
@given(st.floats(0, 1), st.floats(0, 1), st.floats(0, 1))
def test_weights_are_a_distribution(content, style, share):
    low, high = max(0.0, content + style - 1), min(content, style)
    overlap = min(low + (high - low) * share, high)
    weights = [overlap, 1 - content - style + overlap, content - overlap, style - overlap]
    assert min(weights) >= -1e-12
    assert sum(weights) == pytest.approx(1)
    features, perm = maps(2, 2, 3, 3, dtype=torch.float64), torch.tensor([1, 0])
    partner = features[perm]
    terms = [features, partner, adain(features, partner), adain(partner, features)]
    expected = sum(weight * term for weight, term in zip(weights, terms, strict=True))
    torch.testing.assert_close(stylemix(features, perm, content, style, overlap), expected)


def test_ratios_of_their_own_for_each_sample():
    features, perm = maps(3, 2, 4, 4), torch.tensor([2, 0, 1])
    ratios = [torch.tensor([0.2, 0.9, 0.5]), torch.tensor([0.6, 0.3, 0.5]), torch.tensor([0.1, 0.25, 0.5])]
    mixed = stylemix(features, perm, *ratios)
    for row in range(3):
        alone = stylemix(features, perm, *(ratio[row].item() for ratio in ratios))
        torch.testing.assert_close(mixed[row], alone[row])


def test_the_mean_of_a_mixture_is_that_of_the_styles():
    features, perm = maps(2, 3, 4, 4), torch.tensor([1, 0])
    mean = style_statistics(features)[0]
    mixed = stylemix(features, perm, 0.9, 0.25, 0.2)
    torch.testing.assert_close(style_statistics(mixed)[0], 0.25 * mean + 0.75 * mean[perm])


def test_one_position_and_constant_channels_are_finite():
    single = maps(3, 4, 1, 1)
    perm = torch.tensor([1, 2, 0])
    torch.testing.assert_close(adain(single, single[perm]), single[perm])
    dead = maps(3, 4, 4, 4)
    dead[:, 1] = 0
    dead[1, 2] = 7
    assert bool(stylemix(dead, perm, 0.4, 0.7, 0.2).isfinite().all())


def test_half_precision_is_computed_in_float32():
    features, perm = 100 + maps(2, 3, 8, 8), torch.tensor([1, 0])
    for dtype in (torch.float16, torch.bfloat16):
        low = features.to(dtype)
        mixed = stylemix(low, perm, 0.5, 0.5, 0.25)
        assert mixed.dtype == adain(low, low[perm]).dtype == dtype
        torch.testing.assert_close(mixed, stylemix(low.float(), perm, 0.5, 0.5, 0.25).to(dtype))


def test_gradients():
    features = maps(2, 2, 3, 3, dtype=torch.float64).requires_grad_()
    perm = torch.tensor([1, 0])
    assert torch.autograd.gradcheck(lambda f: stylemix(f, perm, 0.6, 0.7, 0.4), features)
    assert torch.autograd.gradcheck(lambda f: adain(f, f[perm]), features)


def test_the_whole_weight_on_the_images_is_cutmix():
    x, perm = maps(3, 3, 8, 9), torch.tensor([1, 2, 0])
    box = torch.tensor([[0, 0, 4, 4], [2, 3, 8, 9], [5, 5, 5, 5]])
    noise = maps(3, 3, 8, 9, seed=1)
    mixed = stylecutmix(
        x, perm, box_mask(box, 8, 9), style_ratio=0.3, gamma=1.0, restyled=noise, partner_restyled=noise
    )
    assert torch.equal(mixed, cutmix(x, perm, box))


def test_class_sums_count_every_image():
    vectors = torch.tensor([[1.0, 10.0], [3.0, 30.0], [5.0, 50.0]])
    sums, counts = class_style_sums(vectors, torch.tensor([2, 2, 0]), 3)
    assert sums.tolist() == [[5.0, 50.0], [0.0, 0.0], [4.0, 40.0]]
    assert counts.tolist() == [1.0, 0.0, 2.0]


def test_distances_by_hand():
    distances = style_distances(torch.tensor([[0.0, 0.0], [1.0, 3.0], [0.0, 2.0]]))
    torch.testing.assert_close(distances, torch.tensor([[0.0, 5.0, 2.0], [5.0, 0.0, 1.0], [2.0, 1.0, 0.0]]))


def test_vectors_hold_means_then_deviations_map_by_map():
    first, second = maps(2, 3, 4, 4), maps(2, 5, 2, 2, seed=1)
    vectors = style_vector([first, second])
    parts = [part.flatten(1) for features in (first, second) for part in style_statistics(features)]
    assert vectors.shape == (2, 16)
    assert torch.equal(vectors, torch.cat(parts, 1))


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda f, p: stylemix(f.int(), p, 0.5, 0.5, 0.5), TypeError, "features must be floating point"),
        (lambda f, p: stylemix(f, p[:1], 0.5, 0.5, 0.5), ValueError, "does not match perm"),
        (lambda f, p: stylemix(f[0], p[:1].expand(3), 0.5, 0.5, 0.5), ValueError, r"must have shape \(B, C, h, w\)"),
        (lambda f, p: stylemix(f, p, 0.5, 1.5, 0.5), ValueError, r"style_ratio must be in \[0, 1\], got 1.5"),
        (lambda f, p: stylemix(f, p, 0.8, 0.8, 0.1), ValueError, r"overlap must be in .* = \[0.6, 0.8\], got 0.1"),
        (lambda f, p: adain(f, f[:1]), ValueError, r"style must have shape .* with B = 2, C = 3, got \(1, "),
        (
            lambda f, p: stylecutmix(
                f, p, f[:, :1] > 0, style_ratio=0.5, gamma=0.5, restyled=f, partner_restyled=f[..., :2]
            ),
            ValueError,
            r"partner_restyled must have shape .* W = 4, got \(2, 3, 4, 2\)",
        ),
    ],
)
def test_errors(call, error, message):
    with pytest.raises(error, match=message):
        call(maps(2, 3, 4, 4), torch.tensor([1, 0]))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_distances_of_styles_in_every_precision(dtype):
    means = torch.tensor([[0.0, 0.0], [0.0, 2.0]], dtype=dtype)
    assert style_distances(means).tolist() == [[0, 2], [2, 0]]
