"""Encoders and decoders of style autoencoders."""

import pytest
import torch
from torch import nn

from alignmixup.models import PreActResNet18
from alignmixup.models.style_encoders import (
    PatchDecoder,
    PatchEncoder,
    ResidualDecoder,
    ResidualEncoder,
    VggDecoder,
    VggEncoder,
    resize,
)


def images(*shape: int) -> torch.Tensor:
    return torch.rand(*shape, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("patch", [2, 3, 4])
@pytest.mark.parametrize("channels", [1, 3, 4])
def test_patches_are_an_orthonormal_transform(patch: int, channels: int) -> None:
    x = images(2, channels, 12, 24)
    (features,) = PatchEncoder(patch=patch)(x)
    assert features.shape == (2, channels * patch**2, 12 // patch, 24 // patch)
    torch.testing.assert_close(features.square().sum(), x.square().sum())
    torch.testing.assert_close(PatchDecoder(patch=patch)(features), x)


def test_the_first_channel_of_a_patch_is_its_mean() -> None:
    x = images(1, 3, 8, 8)
    (features,) = PatchEncoder(patch=4)(x)
    means = x.mean(1, keepdim=True).reshape(1, 1, 2, 4, 2, 4).mean((3, 5))
    torch.testing.assert_close(features[:, :1], means * (3 * 16) ** 0.5)
    (flat,) = PatchEncoder(patch=4)(torch.ones(1, 3, 4, 4))
    assert flat[0, 1:].abs().max() < 1e-6


def test_sides_that_the_patch_does_not_divide() -> None:
    x = images(2, 3, 7, 9)
    (features,) = PatchEncoder(patch=4)(x)
    assert features.shape == (2, 48, 2, 3)
    torch.testing.assert_close(PatchDecoder(patch=4)(features)[..., :7, :9], x)


def test_patches_keep_float32_under_autocast() -> None:
    x = images(2, 3, 8, 8)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        (features,) = PatchEncoder(patch=2)(x)
        torch.testing.assert_close(PatchDecoder(patch=2)(features), x)


@pytest.mark.parametrize("variant", ["A", "B"])
def test_the_residual_encoder_is_the_beginning_of_the_network(variant: str) -> None:
    torch.manual_seed(0)
    network = PreActResNet18(5, width=4, variant=variant).eval()
    for layer in network.modules():
        if isinstance(layer, nn.Conv2d):
            layer.padding_mode = "replicate"
    mean, std = (0.5, 0.4, 0.3), (0.2, 0.25, 0.3)
    encoder = ResidualEncoder(stages=2, mean=mean, std=std, width=4, variant=variant).eval()
    kept = {key: value for key, value in network.state_dict().items() if key in encoder.state_dict()}
    encoder.load_state_dict({**kept, "scale": torch.tensor([1.0, 2.0, 4.0])})
    x = images(2, 3, 16, 16)
    normalised = (x - torch.tensor(mean).view(1, 3, 1, 1)) / torch.tensor(std).view(1, 3, 1, 1)
    stem = network.stem(normalised)
    first = network.stage1(stem)
    for found, expected in zip(encoder(x), (stem, first / 2, network.stage2(first) / 4), strict=True):
        torch.testing.assert_close(found, expected)


def test_a_border_is_no_feature_of_its_own() -> None:
    torch.manual_seed(0)
    encoder = ResidualEncoder(stages=2, mean=[0.5] * 3, std=[0.2] * 3, width=4).eval()
    decoder = ResidualDecoder(widths=encoder.widths, strides=encoder.strides, out_channels=3)
    flat = torch.full((1, 3, 16, 16), 0.9)
    for found in (*encoder(flat), decoder(encoder(flat)[-1])):
        torch.testing.assert_close(found, found[..., :1, :1].expand_as(found))


@pytest.mark.parametrize(("stages", "stem_stride", "size"), [(1, 1, 16), (2, 2, 17), (3, 1, 13)])
def test_the_residual_decoder_mirrors_it(stages: int, stem_stride: int, size: int) -> None:
    encoder = ResidualEncoder(stages=stages, mean=[0.5], std=[0.25], width=4, stem_stride=stem_stride, in_channels=1)
    decoder = ResidualDecoder(widths=encoder.widths, strides=encoder.strides, out_channels=1)
    taps = encoder(images(2, 1, size, size))
    assert [tap.shape[1] for tap in taps] == encoder.widths
    decoded = decoder(taps[-1])
    assert decoded.shape[:2] == (2, 1)
    assert min(decoded.shape[2:]) >= size
    assert not any(isinstance(layer, nn.BatchNorm2d) for layer in decoder.modules())


def test_stages_out_of_range() -> None:
    with pytest.raises(ValueError, match="stages must be 1, 2, 3 or 4, got 5"):
        ResidualEncoder(stages=5, mean=[0.5], std=[0.5])


def test_vgg_is_torchvisions_up_to_relu4_1_except_at_the_border() -> None:
    from torchvision.models.vgg import cfgs, make_layers

    torch.manual_seed(0)
    features = make_layers(cfgs["E"])
    encoder = VggEncoder()
    encoder.load_torchvision({f"features.{key}": value for key, value in features.state_dict().items()})
    x = images(1, 3, 224, 224)
    mean, std = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
    with torch.no_grad():
        taps = encoder(x)
        expected = features[:21]((x - mean.view(1, 3, 1, 1)) / std.view(1, 3, 1, 1))
    assert [tuple(tap.shape[1:]) for tap in taps] == [(64, 224, 224), (128, 112, 112), (256, 56, 56), (512, 28, 28)]
    # padding by reflection and by zeros differ near the border alone
    torch.testing.assert_close(taps[-1][..., 8:-8, 8:-8], expected[..., 8:-8, 8:-8])
    assert not torch.allclose(taps[-1], expected)


def test_the_vgg_decoder_mirrors_it() -> None:
    decoder = VggDecoder()
    widths = [(layer.in_channels, layer.out_channels) for layer in decoder.modules() if isinstance(layer, nn.Conv2d)]
    mirrored = [(512, 256), (256, 256), (256, 256), (256, 256), (256, 128), (128, 128), (128, 64), (64, 64), (64, 3)]
    assert widths == mirrored
    with torch.no_grad():
        assert decoder(torch.zeros(1, 512, 4, 4)).shape == (1, 3, 32, 32)
    with pytest.raises(ValueError, match="takes RGB images, got 1 channels"):
        VggEncoder()(images(1, 1, 8, 8))


def test_enlarging_and_shrinking_is_the_identity() -> None:
    x = images(2, 3, 32, 32)
    torch.testing.assert_close(resize(resize(x, (224, 224)), (32, 32)), x, rtol=0, atol=2e-5)
    assert resize(x, (32, 32)) is x
