"""The variants of ``benchmarks/variants.py``: what they are at the ends of their options."""

import pytest
import torch

from alignmixup import AlignMixup, ManifoldMixup
from alignmixup.functional.alignment import align_mix
from alignmixup.functional.interpolation import mixup
from alignmixup.methods.alignmixup import AlignDraw
from alignmixup.models import PreActResNet18
from alignmixup.taps import feature_maps
from benchmarks import variants

X, Y = torch.randn(6, 3, 32, 32, generator=torch.Generator().manual_seed(0)), torch.arange(6) % 5
PERM = torch.tensor([1, 0, 3, 2, 5, 4])
LAM = torch.tensor([0.0, 1.0, 0.3, 0.5, 0.7, 0.9])


@pytest.fixture
def model():
    torch.manual_seed(0)
    return PreActResNet18(5, width=4, strides=(1, 2, 2, 1), stem_stride=2, final_norm=True)


def mixed(mixer, keep="first"):
    """The batch at hand-made coefficients, and what its function makes of the layer's map."""
    target = torch.eye(5)[Y]
    batch = mixer.mix(X, target, AlignDraw(lam=LAM, perm=PERM, layer=mixer.layer, keep=keep))
    features = feature_maps(mixer._root, X, [mixer.layer])[mixer.layer]
    return batch, features, batch.hidden[mixer.layer](features)


def test_attention_starts_as_the_mean_and_then_differs():
    torch.manual_seed(0)
    own, plain = variants.attention_pooled(5, width=4), PreActResNet18(5, width=4)
    plain.load_state_dict({name: value for name, value in own.state_dict().items() if "pool" not in name})
    torch.testing.assert_close(own(X), plain(X))
    torch.nn.init.normal_(own.pool.score.weight)
    assert not torch.allclose(own(X), plain(X))


@pytest.mark.parametrize("keep", ["first", "partner"])
def test_the_plan_of_the_mixed_layer_itself_is_alignmixup(model, keep):
    mixer = variants.PlanOfOtherLayers(model, num_classes=5, layer="stage3", plan_layers="stage3")
    _, features, found = mixed(mixer, keep)
    expected = align_mix(features, PERM, LAM, keep, epsilon=0.1, normalize_cost=True)
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)


def test_the_plan_of_a_coarser_layer_moves_blocks(model):
    mixer = variants.PlanOfOtherLayers(model, num_classes=5, layer="stage2", plan_layers="stage2+stage4", epsilon=1e-3)
    _, features, found = mixed(mixer)
    # at λ = 0 each 2x2 block is one of the partner's; a small ε leaves hardly anything else in it
    own = features[1].unfold(1, 2, 2).unfold(2, 2, 2).permute(1, 2, 0, 3, 4).reshape(16, -1)
    got = found[0].unfold(1, 2, 2).unfold(2, 2, 2).permute(1, 2, 0, 3, 4).reshape(16, -1)
    nearest = torch.cdist(got, own).min(dim=1)
    assert nearest.values.max() < 0.1 * torch.cdist(own, own).mean()
    assert nearest.indices.unique().numel() == 16


def test_geometry_targets(model):
    for share, weight in ((0.0, LAM), (1.0, torch.ones(6)), (0.5, LAM + 0.5 * (1 - LAM))):
        mixer = variants.GeometryTargets(model, num_classes=5, layer="stage3", geometry=share)
        batch, _, _ = mixed(mixer)
        torch.testing.assert_close(batch.target[torch.arange(6), Y], weight)
        batch, _, _ = mixed(mixer, "partner")
        torch.testing.assert_close(batch.target[torch.arange(6), Y], LAM * (1 - share))


@pytest.mark.parametrize(("near", "plain"), [("NearestManifold", ManifoldMixup), ("NearestAligned", AlignMixup)])
def test_near_partners_are_nearer(model, near, plain):
    mixer = getattr(variants, near)(model, num_classes=5, layer="stage3", input_probability=0.0)
    assert isinstance(mixer, plain)
    x = torch.randn(40, 3, 32, 32, generator=torch.Generator().manual_seed(1))
    with mixer(x, torch.arange(40) % 5) as batch:
        model(batch.x)
    perm = batch.draw.perm
    assert sorted(perm.tolist()) == list(range(40))
    assert (perm != torch.arange(40)).all()
    features = torch.nn.functional.normalize(feature_maps(model, x, ["stage4"])["stage4"].mean(dim=(2, 3)))
    distances = torch.cdist(features, features)
    assert distances[torch.arange(40), perm].mean() < distances.sum() / (40 * 39)


def test_rigid_places_undo_a_flip_and_a_shift():
    features = torch.randn(2, 8, 6, 6, generator=torch.Generator().manual_seed(2))
    features[1] = features[0].flip(2).roll((1, -1), dims=(1, 2))
    found = variants.mix_rigidly(features, torch.tensor([1, 0]), torch.zeros(2))
    torch.testing.assert_close(found[0, :, 1:-1, 1:-1], features[0, :, 1:-1, 1:-1])
    places = torch.stack(list(variants._places(6, 6)))
    assert places.unique(dim=0).shape == (18, 36)
    unmoved = variants.mix_rigidly(features, torch.tensor([1, 0]), torch.full((2,), 0.4), torch.zeros(2, dtype=int))
    torch.testing.assert_close(unmoved, mixup(features, torch.tensor([1, 0]), torch.full((2,), 0.4)))


def test_every_variant_has_a_command(tmp_path):
    for label in variants.VARIANTS:
        arguments = variants.command(label, 1, "DIR", tmp_path)
        assert f"{tmp_path / label}-seed1" in arguments
        assert {"data.root=DIR", "train.seed=1", "method.input_probability=0"} <= set(arguments)
