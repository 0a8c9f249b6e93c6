"""A classifier along interpolation paths."""

import warnings

import pytest
import torch
from torch import nn

from alignmixup.evaluation.paths.measure import classify_maps, measure_paths
from alignmixup.evaluation.paths.pair_maps import PATHS, Alignment, Pairs, pair_maps
from alignmixup.functional.reconstruction import peak_signal_to_noise
from alignmixup.methods.alignmixup_ae import AlignMixupAE
from alignmixup.models import PreActResNet18
from alignmixup.taps import FeatureTap, feature_maps

LAM = (1.0, 0.75, 0.5, 0.25, 0.0)


def network(**options):
    """An untrained network whose BatchNorm statistics are not those that they start with."""
    torch.manual_seed(0)
    model = PreActResNet18(5, width=4, strides=(1, 2, 1, 1), **options)
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.running_mean, -0.2, 0.2)
            nn.init.uniform_(module.running_var, 0.5, 2)
    nn.init.normal_(model.head.weight)
    return model.train()


def some_pairs(count=6, channels=3):
    generator = torch.Generator().manual_seed(1)
    x = torch.randn(2, count, channels, 8, 8, generator=generator)
    y = torch.randint(5, (2, count), generator=generator)
    y[1, 0] = y[0, 0]
    y[1, 1] = (y[0, 1] + 1) % 5
    return Pairs(x[0], x[1], y[0], y[1])


class Tokens(nn.Module):
    """A vision transformer of one block, read through its class token."""

    def __init__(self):
        super().__init__()
        self.embed = nn.Conv2d(3, 8, 2, 2)
        self.class_token = nn.Parameter(torch.randn(1, 1, 8))
        self.one = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True)
        self.two = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True)
        self.head = nn.Linear(8, 5)

    def forward(self, x):
        patches = self.embed(x).flatten(2).mT
        tokens = torch.cat([self.class_token.expand(len(x), -1, -1), patches], dim=1)
        return self.head(self.two(self.one(tokens))[:, 0])


class Columns(nn.Module):
    """Reads the rows of an image as a series: maps of three axes."""

    def __init__(self):
        super().__init__()
        self.conv, self.head = nn.Conv1d(24, 6, 3), nn.Linear(36, 5)

    def forward(self, x):
        return self.head(self.conv(x.flatten(1, 2)).flatten(1))


class TwoWays(nn.Module):
    """Asks its own flag: it drops out without a module, and reads another head in training."""

    def __init__(self):
        super().__init__()
        self.conv, self.head, self.other = nn.Conv2d(3, 6, 3), nn.Linear(6, 5), nn.Linear(6, 5)

    def forward(self, x):
        x = torch.dropout(x, 0.5, self.training)
        pooled = nn.functional.dropout(self.conv(x).mean((2, 3)), 0.5, self.training)
        return (self.other if self.training else self.head)(pooled)


@pytest.mark.parametrize(
    ("build", "layer"),
    [(network, "stage2"), (network, "stage4"), (Tokens, "one"), (Columns, "conv"), (TwoWays, "conv")],
)
def test_a_layers_own_maps_give_the_networks_own_answer(build, layer):
    model, x = build(), some_pairs().first
    own = feature_maps(model, x, (layer,))[layer]
    flags = [module.training for module in model.modules()]
    buffers = {name: value.clone() for name, value in model.named_buffers()}
    found = classify_maps(model, layer, x, own)
    assert flags == [module.training for module in model.modules()]
    assert all(torch.equal(value, buffers[name]) for name, value in model.named_buffers())
    assert FeatureTap.of(model).depth == 0
    assert set(model.get_submodule(layer)._forward_hooks.values()) <= set(FeatureTap.of(model).hooks.values())
    with torch.no_grad():
        torch.testing.assert_close(found, model.eval()(x).softmax(1), rtol=1e-4, atol=1e-6)
        assert not torch.allclose(classify_maps(model, layer, x, own.flip(0)), found, atol=1e-3)


def test_a_failing_network_is_left_as_it_was():
    model, x = network(), some_pairs().first
    with pytest.raises(RuntimeError):
        classify_maps(model, "stage2", x, torch.zeros(6, 3, 4, 4))
    assert model.training
    assert model.stage3.training
    assert FeatureTap.of(model).depth == 0


def measured(model, layer, pairs=None, **options):
    options = {"lam": LAM, "alignment": Alignment()} | options
    return measure_paths(model, layer, [some_pairs()] if pairs is None else pairs, **options)


def test_alignment_cancels_where_only_the_mean_is_read():
    found = measured(network(), "stage4")
    for path in ("first", "partner"):
        torch.testing.assert_close(found.paths[path].own, found.paths["none"].own, rtol=0, atol=1e-6)
    normed = measured(network(final_norm=True), "stage4")
    ends = {"first": 0, "partner": -1}
    for path, kept in ends.items():
        difference = (normed.paths[path].own - normed.paths["none"].own).abs()
        assert difference[:, 2].max() > 1e-4
        assert difference[:, kept].max() < 1e-6


def test_the_unaligned_path_by_hand():
    """A linear head on the pooled map: the logits of the mixed map are the mixed logits."""
    model, pairs = network(), some_pairs()
    scores = measured(model, "stage4").paths["none"]
    with torch.no_grad():
        a, b = model.eval()(pairs.first), model(pairs.partner)
    probs = torch.stack([(lam * a + (1 - lam) * b).softmax(1) for lam in LAM], dim=1)
    every, rows = torch.arange(len(LAM)), torch.arange(6)[:, None]
    own, partner = probs[rows, every, pairs.y_first[:, None]], probs[rows, every, pairs.y_partner[:, None]]
    torch.testing.assert_close(scores.own, own, rtol=1e-3, atol=1e-5)
    torch.testing.assert_close(scores.partner, partner, rtol=1e-3, atol=1e-5)
    torch.testing.assert_close(scores.either[0], own[0], rtol=1e-3, atol=1e-5)  # both of one class
    torch.testing.assert_close(scores.either[1], (own + partner)[1], rtol=1e-3, atol=1e-5)
    torch.testing.assert_close(scores.entropy, -(probs * probs.log()).sum(2), rtol=1e-3, atol=1e-5)
    right = (a.argmax(1) == pairs.y_first) & (b.argmax(1) == pairs.y_partner)
    assert torch.equal(measured(model, "stage4").ends_right, right)


def test_batches_are_only_parts():
    pairs = some_pairs()
    halves = [Pairs(*(value[part] for value in pairs)) for part in (slice(0, 2), slice(2, 6))]
    whole, parts = measured(network(), "stage2"), measured(network(), "stage2", halves)
    for path in PATHS:
        torch.testing.assert_close(whole.paths[path].own, parts.paths[path].own, rtol=1e-4, atol=1e-5)
    assert whole.psnr is None
    assert whole.paths["none"].sharpness is None


def test_decoded_images():
    model, pairs = network(), some_pairs()
    decoder = AlignMixupAE(model, num_classes=5, mean=(0.5,) * 3, std=(0.5,) * 3, layer="stage2", decoder_width=4)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        decoder.prepare(pairs.first)
    with torch.no_grad():
        for parameter in decoder.parameters():  # the last ones begin as zeros: all images alike
            parameter.add_(0.3 * torch.randn(parameter.shape, generator=torch.Generator().manual_seed(2)))
    found = measured(model, "stage2", decoder=decoder)
    maps = pair_maps(model, "stage2", pairs, Alignment())
    with torch.no_grad():
        frames = [decoder.decode(maps.mix(torch.full((6,), lam), "first")) for lam in LAM]
        seen = model.eval()(decoder.normalized(frames[2])).softmax(1)
        expected = peak_signal_to_noise(decoder.decode(maps.partner), decoder.pixels(pairs.partner))
    torch.testing.assert_close(found.psnr[:, 1], expected)
    scores, unaligned = found.paths["first"], found.paths["none"]
    torch.testing.assert_close(scores.frame_change[:, 1], (frames[2] - frames[1]).square().mean((1, 2, 3)))
    rows = torch.arange(6)
    own, partner = seen[rows, pairs.y_first], seen[rows, pairs.y_partner]
    either = own + partner * (pairs.y_first != pairs.y_partner)
    torch.testing.assert_close(scores.decoded_either[:, 2], either, rtol=1e-4, atol=1e-5)
    for end in (0, -1):
        torch.testing.assert_close(unaligned.sharpness[:, end], torch.ones(6), rtol=1e-4, atol=1e-4)


def test_bad_input():
    with pytest.raises(ValueError, match="must decrease from 1 to 0"):
        measured(network(), "stage2", lam=(0.0, 1.0))
    with pytest.raises(ValueError, match="there are no pairs"):
        measured(network(), "stage2", [])
    with pytest.raises(ValueError, match="no layer 'stage9'"):
        measured(network(), "stage9")
