"""The controls of ``benchmarks/controls.py`` move features and align nothing."""

import pytest
import torch

from alignmixup import AlignMixup, ManifoldMixup
from alignmixup.functional.interpolation import mixup
from alignmixup.methods.alignmixup import AlignDraw
from alignmixup.models import PreActResNet18
from benchmarks import controls

FEATURES = torch.randn(4, 3, 8, 8, generator=torch.Generator().manual_seed(0))
PERM, LAM = torch.tensor([1, 0, 3, 2]), torch.tensor([0.0, 1.0, 0.3, 0.6])


def drawn(keep):
    return AlignDraw(lam=LAM, perm=PERM, layer="stage2", keep=keep)


def test_a_permutation_keeps_every_feature_of_the_moved_map():
    found = controls.mix_permuted(FEATURES, drawn("first"), seed=0)
    torch.testing.assert_close(found[1], FEATURES[1])  # λ = 1, the first stays where it is
    assert not torch.equal(found[0], FEATURES[1])
    torch.testing.assert_close(found[0].sum(dim=(1, 2)), FEATURES[1].sum(dim=(1, 2)))
    torch.testing.assert_close(found[0].flatten(1).sort().values, FEATURES[1].flatten(1).sort().values)
    found = controls.mix_permuted(FEATURES, drawn("partner"), seed=0)
    torch.testing.assert_close(found[0], FEATURES[1])  # λ = 0, the partner stays
    assert not torch.equal(found[1], FEATURES[1])
    torch.testing.assert_close(found[1].flatten(1).sort().values, FEATURES[1].flatten(1).sort().values)
    assert not torch.equal(found, controls.mix_permuted(FEATURES, drawn("partner"), seed=1))


def test_places_are_flips_and_shifts():
    places = torch.stack(list(controls._places(8, 8))).view(18, 8, 8)
    assert len(places.flatten(1).unique(dim=0)) == 18
    unmoved = torch.arange(64).view(8, 8)
    assert any(torch.equal(place, unmoved) for place in places)
    assert any(torch.equal(place, unmoved.flip(1)) for place in places)
    assert any(torch.equal(place[:-1, :-1], unmoved[1:, 1:]) for place in places)


def test_the_partner_is_moved_and_the_first_is_not():
    found = controls.mix_flipped(FEATURES, PERM, LAM, seed=3)
    torch.testing.assert_close(found[1], FEATURES[1])
    assert not torch.allclose(found, mixup(FEATURES, PERM, LAM))


def test_both_mix_the_named_layer_and_the_input():
    model = PreActResNet18(5, width=4, strides=(1, 2, 2, 1))
    x, target = torch.randn(4, 3, 16, 16), torch.eye(5)[[0, 1, 2, 3]]
    for control, draw in (
        (controls.PermutedMixup, controls.PermutedDraw(**vars(drawn("first")), seed=0)),
        (controls.FlippedMixup, controls.FlippedDraw(lam=LAM, perm=PERM, layer="stage2", seed=0)),
    ):
        mixer = control(model, num_classes=5, layer="stage2")
        batch = mixer.mix(x, target, draw)
        assert batch.x is x
        assert list(batch.hidden) == ["stage2"]
        torch.testing.assert_close(batch.target, LAM[:, None] * target + (1 - LAM[:, None]) * target[PERM])
        once, again = (batch.hidden["stage2"].function(FEATURES) for _ in range(2))
        torch.testing.assert_close(once, again)  # checkpointing runs the forward pass twice
        at_input = mixer.mix(x, target, type(draw)(**(vars(draw) | {"layer": None})))
        torch.testing.assert_close(at_input.x, mixup(x, PERM, LAM))


@pytest.mark.parametrize(
    ("control", "method"), [(controls.PermutedMixup, AlignMixup), (controls.FlippedMixup, ManifoldMixup)]
)
def test_a_control_draws_what_its_method_draws(control, method):
    model = PreActResNet18(5, width=4, strides=(1, 2, 2, 1))
    x, y = torch.randn(4, 3, 16, 16), torch.tensor([0, 1, 2, 3])
    options = {"num_classes": 5, "layer": "stage2", "alpha": 2.0}
    pair = [cls(model, **options, generator=torch.Generator().manual_seed(0)) for cls in (control, method)]
    seeds = set()
    for _ in range(6):
        ours, theirs = (mixer(x, y).draw for mixer in pair)
        seeds.add(ours.seed)
        for name, value in vars(theirs).items():
            own = getattr(ours, name)
            assert torch.equal(own, value) if isinstance(value, torch.Tensor) else own == value, name
    assert len(seeds) == 6
