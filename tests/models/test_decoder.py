import pytest
import torch
from torch import nn

from alignmixup.models.decoder import FeatureDecoder, level_sizes


def flatten_blocks(decoder):
    """Give the last convolution weights, which begin as zeros, and let the residual blocks still add nothing."""
    nn.init.normal_(decoder.exit.weight)
    for level in decoder.levels:
        nn.init.zeros_(level.refine[-1].weight)


def awake(decoder):
    """Give all weights that begin as zeros a value."""
    for parameter in decoder.parameters():
        if not parameter.any():
            nn.init.normal_(parameter)
    return decoder


@pytest.mark.parametrize(
    ("feature", "image", "sizes"),
    [
        ((4, 4), (32, 32), [(4, 4), (8, 8), (16, 16), (32, 32)]),
        ((2, 2), (8, 8), [(2, 2), (4, 4), (8, 8)]),
        ((7, 7), (224, 224), [(7, 7), (14, 14), (28, 28), (56, 56), (112, 112), (224, 224)]),
        ((3, 4), (96, 128), [(3, 4), (6, 8), (12, 16), (24, 32), (48, 64), (96, 128)]),
        ((12, 12), (100, 100), [(12, 12), (25, 25), (50, 50), (100, 100)]),
        ((10, 13), (75, 99), [(10, 13), (19, 25), (38, 50), (75, 99)]),
        ((3, 3), (5, 5), [(3, 3), (5, 5)]),
        ((9, 9), (10, 10), [(9, 9), (10, 10)]),
        ((8, 8), (8, 8), [(8, 8)]),
        ((1, 1), (6, 6), [(1, 1), (2, 2), (3, 3), (6, 6)]),
    ],
)
def test_levels_double_up_to_the_image(feature, image, sizes):
    assert level_sizes(feature, image) == sizes
    decoder = FeatureDecoder(6, feature, image, width=2)
    for batch in (1, 3):
        assert decoder(torch.randn(batch, 6, *feature)).shape == (batch, 3, *image)


def test_parameter_count_by_hand():
    """512 channels to 192 by a 1x1 convolution; 192, 96, 48, 24 channels on the levels; 24 to 3."""

    def conv(inputs, outputs, side=3):
        return inputs * outputs * side**2 + outputs

    expected = 2 * 512 + conv(512, 192, side=1) + conv(24, 3)
    for wide, narrow in ((192, 96), (96, 48), (48, 24)):
        expected += conv(wide, 4 * narrow, side=1) + 2 * (2 * narrow + conv(narrow, narrow))
    decoder = FeatureDecoder(512, (4, 4), (32, 32), width=24)
    assert sum(parameter.numel() for parameter in decoder.parameters()) == expected == 416_347


def test_no_level_is_wider_than_the_map():
    decoder = FeatureDecoder(40, (2, 2), (32, 32), width=16)
    widths = [module.out_channels for module in decoder.modules() if isinstance(module, nn.Conv2d)]
    assert widths == [40, 160, 40, 40, 160, 40, 40, 128, 32, 32, 64, 16, 16, 3]


def test_at_the_start_each_position_is_one_flat_patch():
    """Upsampling starts as nearest neighbour: without what refines, and what looks around, there is no checkerboard."""
    torch.manual_seed(0)
    decoder = FeatureDecoder(6, (2, 3), (8, 12), width=4)
    flatten_blocks(decoder)
    decoder.exit = nn.Identity()
    images = decoder(torch.randn(2, 6, 2, 3))
    patches = images.unflatten(2, (2, 4)).unflatten(4, (3, 4))
    torch.testing.assert_close(patches, patches[:, :, :, :1, :, :1].expand_as(patches))


def test_the_path_past_the_blocks_is_linear():
    torch.manual_seed(0)
    decoder = FeatureDecoder(6, (2, 2), (8, 8), width=4)
    decoder.entry[0] = nn.Identity()
    flatten_blocks(decoder)
    one, two, none = torch.randn(1, 6, 2, 2), torch.randn(1, 6, 2, 2), torch.zeros(1, 6, 2, 2)
    torch.testing.assert_close(decoder(one + two) + decoder(none), decoder(one) + decoder(two), atol=1e-5, rtol=1e-4)


def test_samples_do_not_see_each_other_and_eval_changes_nothing():
    torch.manual_seed(0)
    decoder = awake(FeatureDecoder(16, (2, 2), (8, 8), width=4))
    features = torch.randn(5, 16, 2, 2)
    together = decoder(features)
    alone = torch.cat([decoder(one) for one in features.split(1)])
    torch.testing.assert_close(together, alone)
    assert torch.equal(decoder.eval()(features), together)
    assert not list(decoder.buffers())


def test_the_scale_of_the_map_does_not_matter():
    torch.manual_seed(0)
    decoder = awake(FeatureDecoder(16, (2, 2), (8, 8), width=4))
    features = torch.randn(2, 16, 2, 2)
    torch.testing.assert_close(decoder(features), decoder(1000 * features), atol=1e-4, rtol=1e-4)


def test_each_position_is_drawn_at_its_place():
    """Past the blocks, a patch without its border depends on its own position alone."""
    torch.manual_seed(0)
    decoder = FeatureDecoder(8, (4, 4), (32, 32), width=8)
    decoder.entry[0] = nn.Identity()
    flatten_blocks(decoder)
    features = torch.randn(1, 8, 4, 4, requires_grad=True)
    reached = torch.autograd.grad(decoder(features)[0, :, 9:15, 17:23].sum(), features)[0].abs().sum((0, 1))
    assert reached.nonzero().tolist() == [[1, 2]]


def test_it_inverts_a_map_of_pixels():
    """What the map holds can be drawn: here each position holds its 4 x 4 pixels."""
    torch.manual_seed(0)
    images = torch.nn.functional.interpolate(torch.randn(16, 1, 4, 4), scale_factor=2, mode="bilinear")
    features = torch.nn.functional.pixel_unshuffle(images, 4)
    decoder = FeatureDecoder(16, (2, 2), (8, 8), out_channels=1, width=16)
    optimizer = torch.optim.AdamW(decoder.parameters(), lr=2e-2)
    for _ in range(80):
        loss = torch.nn.functional.mse_loss(decoder(features), images)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert loss.item() < 0.1 * images.var().item()


def test_it_begins_with_the_mean_image_and_sends_the_encoder_nothing():
    decoder = FeatureDecoder(16, (2, 2), (8, 8), width=4)
    features = torch.randn(2, 16, 2, 2, requires_grad=True)
    images = decoder(features)
    assert torch.equal(images, torch.zeros(2, 3, 8, 8))
    (gradient,) = torch.autograd.grad((images - 1).square().mean(), features)
    assert torch.equal(gradient, torch.zeros_like(features))


@pytest.mark.parametrize("width", [8, 32])
def test_it_bears_the_rate_of_a_classifier(width):
    """SGD with momentum at twice the papers' 0.1, where plain convolutions diverge within ten steps at width 32."""
    torch.manual_seed(0)
    images = torch.nn.functional.interpolate(torch.randn(16, 3, 4, 4), scale_factor=4, mode="bilinear")
    images, mix = images / images.std(), torch.randn(64, 192) / 192**0.5
    features = 3 * torch.einsum("oc,bchw->bohw", mix, torch.nn.functional.pixel_unshuffle(images, 8))
    decoder = FeatureDecoder(64, (2, 2), (16, 16), width=width)
    optimizer = torch.optim.SGD(decoder.parameters(), lr=0.2, momentum=0.9)
    losses = []
    for _ in range(60):
        loss = torch.nn.functional.mse_loss(decoder(features), images)
        losses.append(loss.item())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert max(losses) < 1.01 * losses[0]
    assert losses[-1] < 0.95 * losses[0]


def test_half_precision_by_autocast():
    decoder = FeatureDecoder(8, (2, 2), (8, 8), width=4)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        images = decoder(torch.randn(2, 8, 2, 2))
    assert images.dtype == torch.bfloat16
    assert bool(images.isfinite().all())


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((0, (2, 2), (8, 8)), "in_channels must be an integer >= 1, got 0"),
        ((8, (2, 0), (8, 8)), "sides of map and images must be an integer >= 1, got 0"),
        ((8, (16, 16), (8, 8)), "a map of 16 x 16 is larger than images of 8 x 8"),
        ((8, (196, 1), (224, 224)), "a map of 196 x 1 has not the proportions of images of 224 x 224"),
    ],
)
def test_bad_sizes_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        FeatureDecoder(*arguments)


def test_another_map_is_refused():
    decoder = FeatureDecoder(8, (2, 2), (8, 8), width=4)
    with pytest.raises(ValueError, match=r"made for maps \(B, 8, 2, 2\), got \(3, 8, 4, 4\)"):
        decoder(torch.randn(3, 8, 4, 4))


@pytest.mark.parametrize("width", [0, True, 1.5])
def test_bad_widths_are_refused(width):
    with pytest.raises(ValueError, match="width must be an integer >= 1"):
        FeatureDecoder(8, (2, 2), (8, 8), width=width)
