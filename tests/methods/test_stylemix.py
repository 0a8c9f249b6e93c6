from pathlib import Path

import pytest
import torch
from torch import nn

from alignmixup.functional.style import adain
from alignmixup.methods.stylemix import StyleMix, StyleMixDraw
from alignmixup.models import PreActResNet18
from alignmixup.models.style_autoencoder import StyleAutoencoder, style_file_bytes

PIXELS = {"mean": (0.0,), "std": (1.0,)}


class Identity(nn.Module):
    """An autoencoder whose features are the pixels, without the limits of [0, 1]."""

    def encode(self, images):
        return images

    def decode(self, features, size):
        return features


def images(count=4, channels=3, size=8):
    return torch.rand(count, channels, size, size, generator=torch.Generator().manual_seed(0))


def draw_of(perm, content, style, overlap):
    ratios = (torch.full((len(perm),), ratio) for ratio in (content, style, overlap))
    lam, style_ratio, both = ratios
    return StyleMixDraw(lam=lam, perm=torch.tensor(perm), style_ratio=style_ratio, overlap=both)


def test_the_image_follows_content_and_style_and_the_label_both_in_their_shares():
    x = images()
    mixer = StyleMix(num_classes=4, autoencoder=Identity(), **PIXELS)
    perm = [1, 0, 3, 2]
    mixed = mixer.mix(x, torch.eye(4), draw_of(perm, 1.0, 0.0, 0.0))
    torch.testing.assert_close(mixed.x, adain(x, x[perm]))
    torch.testing.assert_close(mixed.target, 0.7 * torch.eye(4) + 0.3 * torch.eye(4)[perm])
    mixed = mixer.mix(x, torch.eye(4), draw_of(perm, 0.5, 0.25, 0.2))
    weight = 0.7 * 0.5 + 0.3 * 0.25
    torch.testing.assert_close(mixed.lam, torch.full((4,), weight))
    torch.testing.assert_close(mixed.target, weight * torch.eye(4) + (1 - weight) * torch.eye(4)[perm])


def test_the_published_mixture_of_features(golden):
    vectors = {name: torch.from_numpy(value) for name, value in golden("stylemix_0_16x8x8_relu").items()}

    class Recorded(Identity):
        def encode(self, images):
            return vectors["feat"]

    mixer = StyleMix(num_classes=3, autoencoder=Recorded(), **PIXELS)
    for (content, style), overlap, expected in zip(vectors["rc_rs"], vectors["t"], vectors["mixed"], strict=True):
        draw = draw_of(vectors["indices"].tolist(), content.item(), style.item(), overlap.item())
        torch.testing.assert_close(mixer.mix(images(3), torch.eye(3), draw).x, expected, rtol=1e-5, atol=1e-5)


def test_patches_leave_whole_images_whole():
    x = images() * 2 - 1
    mixer = StyleMix(num_classes=4, autoencoder="patches:2", mean=(0.5,), std=(0.5,))
    torch.testing.assert_close(mixer.mix(x, torch.eye(4), draw_of([1, 2, 3, 0], 1.0, 1.0, 1.0)).x, x)
    torch.testing.assert_close(mixer.mix(x, torch.eye(4), draw_of([1, 2, 3, 0], 0.0, 0.0, 0.0)).x, x.roll(-1, 0))


@pytest.mark.parametrize("lam_per", ["batch", "pair", "sample"])
def test_ratios_are_shared_and_weights_never_negative(lam_per):
    mixer = StyleMix(num_classes=6, autoencoder="patches:2", lam_per=lam_per, **PIXELS)
    x = images(6)
    seen = []
    for _ in range(50):
        draw = mixer.draw(x, torch.eye(6))
        content, style, both = draw.lam, draw.style_ratio, draw.overlap
        for ratio in (content, style, both):
            assert ratio.shape == (6,)
            assert ratio.dtype == torch.float32
            if lam_per == "batch":
                assert bool((ratio == ratio[0]).all())
            if lam_per == "pair":
                assert torch.equal(ratio, ratio[draw.perm])
        weights = torch.stack([both, 1 - content - style + both, content - both, style - both])
        torch.testing.assert_close(weights.sum(0), torch.ones(6))
        assert weights.min() >= -1e-6
        seen.append(torch.stack([content[0], style[0]]))
    # independent Beta(1/2, 1/2): mean 1/2, variance 1/8
    moments = torch.stack(seen)
    assert (moments.mean(0) - 0.5).abs().max() < 0.2
    assert abs(torch.corrcoef(moments.T)[0, 1]) < 0.5


def test_the_overlap_is_uniform_between_its_limits():
    mixer = StyleMix(num_classes=1, autoencoder="patches", lam_per="sample", alpha=2.0, **PIXELS)
    draw = mixer.draw(torch.zeros(4000, 1, 4, 4), torch.ones(4000, 1))
    low = (draw.lam + draw.style_ratio - 1).clamp_min(0)
    share = (draw.overlap - low) / (torch.minimum(draw.lam, draw.style_ratio) - low)
    assert abs(share.mean() - 0.5) < 0.03
    assert abs(share.var() - 1 / 12) < 0.01


def test_a_trained_autoencoder_is_frozen_and_none_of_the_classifier(tmp_path: Path):
    torch.manual_seed(0)
    settings = {"stages": 1, "width": 4, "mean": [0.5] * 3, "std": [0.25] * 3}
    file = tmp_path / "a.safetensors"
    file.write_bytes(style_file_bytes(StyleAutoencoder("residual", settings), {}))
    net = PreActResNet18(4, width=4)
    names = list(net.state_dict())
    mixer = StyleMix(net, num_classes=4, autoencoder=str(file), probability=1.0, mean=(0.5,) * 3, std=(0.25,) * 3)
    before = {key: value.clone() for key, value in mixer._autoencoder.state_dict().items()}
    x = torch.randn(4, 3, 9, 7, generator=torch.Generator().manual_seed(0))
    for dtype in (torch.float32, torch.bfloat16):
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=dtype == torch.bfloat16):
            mixed = mixer(x, torch.arange(4))
            nn.functional.cross_entropy(net(mixed.x), mixed.target).backward()
        assert mixed.x.shape == x.shape
        assert mixed.x.dtype == torch.float32
        assert not mixed.x.requires_grad
        assert bool(mixed.x.isfinite().all())
    after = mixer._autoencoder.state_dict()
    assert all(torch.equal(value, before[key]) for key, value in after.items())
    assert not any(module.training for module in mixer._autoencoder.modules())
    assert all(parameter.grad is None for parameter in mixer._autoencoder.parameters())
    assert list(net.state_dict()) == names
    assert list(mixer.parameters()) == []


def test_the_callers_gradient_mode_and_images_are_untouched():
    x = images().requires_grad_()
    mixed = StyleMix(num_classes=4, autoencoder="patches:2", **PIXELS)(x, torch.arange(4))
    assert torch.is_grad_enabled()
    assert not mixed.x.requires_grad


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({}, ValueError, r"StyleMix mixes in the features of an autoencoder, got none: name a file.*train-style"),
        ({"autoencoder": 3}, TypeError, "autoencoder must be a text or a Module, got 3; name a file"),
        ({"autoencoder": "none.safetensors"}, FileNotFoundError, r"`alignmixup train-style --data DATASET --out none"),
        ({"autoencoder": "patches:0"}, ValueError, r"a patch is a number of pixels >= 2"),
        ({"autoencoder": nn.Linear(1, 1)}, TypeError, r"must have encode\(images\) and decode.* got a Linear"),
        ({"autoencoder": "patches", "content_share": 1.5}, ValueError, r"content_share must be in \[0, 1\], got 1.5"),
        ({"autoencoder": "patches", "mean": None, "std": None}, ValueError, "must know how the images were normalised"),
        (
            {"autoencoder": StyleAutoencoder("residual", {"stages": 1, "width": 2, "mean": [0.5], "std": [0.5]})}
            | {"mean": (0.5, 0.5), "std": (0.5, 0.5)},
            ValueError,
            "trained on images of 3 channels, and mean has 2",
        ),
    ],
)
def test_errors_at_construction(options, error, message):
    with pytest.raises(error, match=message):
        StyleMix(num_classes=2, **{**PIXELS, **options})


def test_flat_inputs_are_refused():
    with pytest.raises(ValueError, match=r"StyleMix needs images of shape \(B, C, H, W\), got \(4, 5\)"):
        StyleMix(num_classes=4, autoencoder="patches", **PIXELS)(torch.rand(4, 5), torch.arange(4))
