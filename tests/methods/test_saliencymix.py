import numpy as np
import pytest
import torch

from alignmixup import SaliencyMix
from alignmixup.functional.saliency import most_salient, spectral_residual_saliency
from alignmixup.methods.base import Draw

CHANNELS = {"mean": (0.49, 0.48, 0.45), "std": (0.25, 0.24, 0.26)}
NAMES = ["saliencymix_cifar", "saliencymix_tiny"]


def normalised(vectors):
    x = (vectors["image_u8"].astype(np.float32) / 255 - vectors["mean"]) / vectors["std"]
    return torch.from_numpy(x.astype(np.float32)).movedim(-1, 1)


def mixer_of(vectors, **options):
    return SaliencyMix(num_classes=2, mean=vectors["mean"].tolist(), std=vectors["std"].tolist(), **options)


def pasted_box(mixed, own, partner):
    """Bounding box of the pixels that are the partner's, for images of two constants."""
    inside = (mixed == partner) & (mixed != own)
    rows, columns = inside.any(1).nonzero().flatten(), inside.any(0).nonzero().flatten()
    return [int(rows[0]), int(columns[0]), int(rows[-1]) + 1, int(columns[-1]) + 1]


def spots(count, size=24):
    """Grey images in [0, 1] with one salient pixel each, so weak that no surround exceeds the rest by a level."""
    generator = torch.Generator().manual_seed(3)
    places = torch.randint(2, size - 2, (count, 2), generator=generator)
    x = torch.full((count, 1, size, size), 0.25)
    for image, (row, column) in zip(x, places.tolist(), strict=True):
        image[0, row, column] = 0.5
    return x, places


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(("variant", "kind"), [("as_described", "u8"), ("as_released", "norm")])
@pytest.mark.parametrize("box_per", ["sample", "batch"])
def test_boxes_and_labels_equal_the_published_ones(golden, name, variant, kind, box_per):
    vectors = golden(name)
    sources = normalised(vectors)
    mixer = mixer_of(vectors, variant=variant, box_per=box_per)
    for source, boxes, lams in zip(sources, vectors[f"box_{kind}"], vectors[f"lam_{kind}"], strict=True):
        # the images differ by one everywhere but in the box, where the source is pasted
        x = torch.stack([source + 1, source])
        for lam, box, expected in zip(vectors["lam"], boxes, lams, strict=True):
            draw = Draw(lam=torch.full((2,), float(lam)), perm=torch.tensor([1, 1]))
            mixed = mixer.mix(x, torch.eye(2), draw)
            assert pasted_box(mixed.x[0, 0], x[0, 0], x[1, 0]) == box.tolist()
            assert mixed.lam[0].item() == pytest.approx(expected, abs=1e-6)
            assert mixed.target[0].tolist() == pytest.approx([expected, 1 - expected], abs=1e-6)


def test_the_box_stands_on_the_salient_pixel_of_the_partner():
    x, places = spots(6)
    perm = torch.tensor([1, 2, 3, 4, 5, 0])
    draw = Draw(lam=torch.full((6,), 0.9), perm=perm)
    mixed = SaliencyMix(num_classes=6, mean=(0.0,), std=(1.0,)).mix(x, torch.eye(6), draw)
    for image, (row, column) in zip(mixed.x, places[perm].tolist(), strict=True):
        assert image[0, row, column] == 0.5


@pytest.mark.parametrize("lam_per", ["batch", "pair", "sample"])
@pytest.mark.parametrize("box_per", ["sample", "batch"])
@pytest.mark.parametrize("variant", ["as_described", "as_released"])
def test_labels_equal_the_exact_pixel_ratio(lam_per, box_per, variant):
    # channels: noise that decides the place, and the image's number, by which foreign pixels can be counted
    generator = torch.Generator().manual_seed(0)
    x = torch.rand(6, 3, 11, 9, generator=generator)
    x[:, 2] = torch.arange(6.0)[:, None, None] / 8
    mixer = SaliencyMix(
        num_classes=6, mean=(0.0,), std=(1.0,), lam_per=lam_per, box_per=box_per, variant=variant, generator=generator
    )
    for _ in range(10):
        mixed = mixer(x, torch.arange(6))
        own = (mixed.x[:, 2] == x[:, 2]).flatten(1).float().mean(1)
        alone = mixed.draw.perm == torch.arange(6)
        torch.testing.assert_close(own[~alone], mixed.lam[~alone])
        torch.testing.assert_close(own[~alone], mixed.target.diagonal()[~alone])
        assert mixed.pair_targets()[2] is mixed.lam


def test_a_box_for_the_batch_is_that_of_the_first_partner():
    x, places = spots(5)
    perm = torch.tensor([3, 0, 1, 4, 2])
    mixer = SaliencyMix(num_classes=5, mean=(0.0,), std=(1.0,), box_per="batch")
    mixed = mixer.mix(x, torch.eye(5), Draw(lam=torch.full((5,), 0.8), perm=perm))
    side = int(24 * 0.2**0.5) // 2
    row, column = places[3].tolist()
    inside = torch.zeros(24, 24, dtype=torch.bool)
    inside[max(row - side, 0) : row + side, max(column - side, 0) : column + side] = True
    assert torch.equal(mixed.x, torch.where(inside, x[perm], x))
    assert len(mixed.lam.unique()) == 1
    sizes = mixer.mix(x, torch.eye(5), Draw(lam=torch.tensor([0.1, 0.3, 0.5, 0.7, 0.9]), perm=perm)).lam
    assert bool((sizes.diff() > 0).all())


def test_spectral_residual_places_the_boxes():
    x = torch.rand(4, 3, 20, 20, generator=torch.Generator().manual_seed(1))
    perm = torch.tensor([1, 2, 3, 0])
    mixer = SaliencyMix(num_classes=4, mean=(0.0,), std=(1.0,), saliency="spectral_residual")
    mixed = mixer.mix(x, torch.eye(4), Draw(lam=torch.full((4,), 0.9), perm=perm))
    centres = most_salient(spectral_residual_saliency((x * 255).round().byte()))[perm]
    for image, partner, (row, column) in zip(mixed.x, x[perm], centres.tolist(), strict=True):
        assert torch.equal(image[:, row, column], partner[:, row, column])


def test_a_batch_and_a_draw_replay_it(golden):
    x = normalised(golden("saliencymix_cifar"))
    mixer = SaliencyMix(num_classes=10, **CHANNELS)
    mixed = mixer(x, torch.arange(10))
    again = mixer.mix(x, torch.eye(10), mixed.draw)
    assert torch.equal(again.x, mixed.x)
    assert torch.equal(again.lam, mixed.lam)
    # the draw keeps what was drawn: clipping only takes away from boxes
    assert bool((mixed.lam >= mixed.draw.lam - 1e-6).all())


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_other_precisions_find_the_boxes_of_float32(golden, dtype):
    x = normalised(golden("saliencymix_tiny")).to(dtype)
    draw = Draw(lam=torch.full((4,), 0.6), perm=torch.tensor([1, 2, 3, 0]))
    mixer = SaliencyMix(num_classes=4, **CHANNELS)
    mixed = mixer.mix(x, torch.eye(4), draw)
    assert mixed.x.dtype == dtype
    assert mixed.target.dtype == torch.float32
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(mixer.mix(x.float(), torch.eye(4), draw).lam, mixed.lam)


def test_grey_images_equal_grey_rgb_images():
    x = torch.rand(4, 1, 16, 16, generator=torch.Generator().manual_seed(2))
    draw = Draw(lam=torch.full((4,), 0.5), perm=torch.tensor([1, 2, 3, 0]))
    for variant in ("as_described", "as_released"):
        mixer = SaliencyMix(num_classes=4, mean=(0.0,), std=(1.0,), variant=variant)
        grey, rgb = (mixer.mix(images, torch.eye(4), draw) for images in (x, x.repeat(1, 3, 1, 1)))
        assert torch.equal(grey.x, rgb.x[:, :1])
        assert torch.equal(grey.lam, rgb.lam)


def test_gradients_flow_into_both_images():
    x = torch.rand(2, 3, 8, 8, requires_grad=True)
    draw = Draw(lam=torch.full((2,), 0.5), perm=torch.tensor([1, 0]))
    mixed = SaliencyMix(num_classes=2, mean=(0.0,), std=(1.0,)).mix(x, torch.eye(2), draw)
    mixed.x[0].sum().backward()
    torch.testing.assert_close(x.grad[0].mean(), mixed.lam[0])
    torch.testing.assert_close(x.grad[1].mean(), 1 - mixed.lam[0])


def test_pixels_need_the_normalisation_and_raw_bytes_do_not():
    x, y = torch.rand(2, 3, 8, 8), torch.tensor([0, 1])
    with pytest.raises(ValueError, match=r"SaliencyMix looks at pixels.*mean=\.\.\. and std=\.\.\."):
        SaliencyMix(num_classes=2)(x, y)
    assert SaliencyMix(num_classes=2, variant="as_released")(x, y).lam.shape == (2,)


@pytest.mark.parametrize("shape", [(2, 4, 8, 8), (2, 2, 8, 8), (2, 8)])
def test_other_images_are_refused(shape):
    mixer = SaliencyMix(num_classes=2, mean=(0.0,), std=(1.0,))
    with pytest.raises(ValueError, match=r"SaliencyMix needs RGB or grey images.*got \(2, "):
        mixer(torch.rand(shape), torch.tensor([0, 1]))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"saliency": "gradient"}, "saliency must be 'fine_grained' or 'spectral_residual', got 'gradient'"),
        ({"variant": "released"}, "variant must be 'as_described' or 'as_released', got 'released'"),
        ({"box_per": "pair"}, "box_per must be 'sample' or 'batch', got 'pair'"),
        (
            {"variant": "as_released", "saliency": "spectral_residual"},
            "variant 'as_released' cannot have saliency='spectral_residual'; use variant='as_described'",
        ),
    ],
)
def test_options_are_checked_at_construction(options, message):
    with pytest.raises(ValueError, match=message):
        SaliencyMix(num_classes=2, **options)
