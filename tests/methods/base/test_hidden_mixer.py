import logging

import pytest
import torch
import torchvision

from alignmixup import AlignMixup, ManifoldMixup
from alignmixup.taps import FeatureTap


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def layers_drawn(mixer, batch, count=600):
    drawn = [mixer(*batch).draw.layer for _ in range(count)]
    return {layer: drawn.count(layer) / count for layer in set(drawn)}


def test_shares_of_input_and_layers(net, batch):
    mixer = ManifoldMixup(
        net,
        num_classes=5,
        layer=["stage1", net.stage2],
        layer_probabilities=[3, 1],
        input_probability=0.2,
        generator=seeded(),
    )
    shares = layers_drawn(mixer, batch)
    assert shares[None] == pytest.approx(0.2, abs=0.05)
    assert shares["stage1"] == pytest.approx(0.6, abs=0.06)
    assert shares["stage2"] == pytest.approx(0.2, abs=0.05)


def test_layers_are_found_and_logged(net, batch, caplog):
    mixer = ManifoldMixup(net, num_classes=5)
    with caplog.at_level(logging.INFO, logger="alignmixup"):
        mixer(*batch)
    assert "ManifoldMixup mixes at layer stage1, stage2 (found automatically)" in caplog.text
    assert set(FeatureTap.of(net).hooks) == {"stage1", "stage2"}


def test_an_unread_layer_is_refused():
    torch.manual_seed(0)
    vit = torchvision.models.VisionTransformer(
        image_size=16, patch_size=8, num_layers=2, num_heads=2, hidden_dim=8, mlp_dim=8, num_classes=5
    )
    mixer = AlignMixup(vit, num_classes=5, layer="encoder.layers.encoder_layer_1", input_probability=0.0)
    with pytest.raises(ValueError, match="cannot change the output: the classifier reads nothing from its positions"):
        mixer(torch.randn(2, 3, 16, 16), torch.tensor([0, 1]))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"layer": "stage9"}, "no layer 'stage9' in PreActResNet18; near names: "),
        ({"layer": []}, "layer names no layer"),
        ({"input_probability": -0.1}, r"input_probability must be in \[0, 1\], got -0.1"),
        (
            {"layer": ["stage1", "stage2"], "layer_probabilities": [1.0]},
            "one non-negative number for each of",
        ),
        ({"layout": "nchw"}, "layout must be 'channels_first', 'channels_last' or 'tokens', got 'nchw'"),
    ],
)
def test_bad_options_are_refused_at_construction(net, options, message):
    with pytest.raises(ValueError, match=message):
        ManifoldMixup(net, num_classes=5, **options)


def test_a_model_is_needed():
    with pytest.raises(ValueError, match="ManifoldMixup mixes inside the model: pass it as"):
        ManifoldMixup(num_classes=5)
