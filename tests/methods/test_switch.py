import pytest
import torch

from alignmixup import AlignMixup, Baseline, CoMixup, CutMix, ManifoldMixup, Mixup, Switch
from alignmixup.methods.base import LayerMixer
from alignmixup.methods.switch import SwitchDraw
from alignmixup.models import PreActResNet18

X, Y = torch.rand(4, 3, 8, 8), torch.tensor([0, 1, 2, 0])


def test_mixers_are_drawn_with_their_shares():
    mixer = Switch(
        num_classes=3,
        mixers=[Mixup(num_classes=3), "cutmix", {"name": "baseline"}],
        probabilities=[2, 1, 1],
        generator=torch.Generator().manual_seed(0),
    )
    drawn = [mixer(X, Y).draw for _ in range(1200)]
    clean = sum(draw is None for draw in drawn) / 1200
    cut = sum(isinstance(draw, SwitchDraw) and hasattr(draw.inner, "box") for draw in drawn if draw) / 1200
    assert clean == pytest.approx(0.25, abs=0.04)
    assert cut == pytest.approx(0.25, abs=0.04)


def test_tables_carry_options():
    mixer = Switch(num_classes=3, mixers=[{"name": "cutmix", "alpha": 0.3}])
    assert isinstance(mixer._mixers[0], CutMix)
    assert mixer._mixers[0].alpha == 0.3


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"mixers": []}, "probabilities must be one non-negative number for each of 0 mixers"),
        ({"mixers": ["mixup"], "probabilities": [0.5, 0.5]}, "for each of 1 mixers, got"),
        ({"mixers": [{"alpha": 1.0}]}, "a table in mixers needs a name"),
        ({"mixers": ["mixpu"]}, "unknown method 'mixpu'; did you mean mixup"),
        (
            {"mixers": [{"name": "cutmix", "probability": 0.5}]},
            "probability of CutMix inside a switch has no effect",
        ),
    ],
)
def test_bad_options_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        Switch(num_classes=3, **options)


def test_a_baseline_is_a_share_of_clean_batches():
    assert Switch(num_classes=3, mixers=[Baseline(num_classes=3)])(X, Y).draw is None


def test_a_state_holds_those_of_the_mixers():
    def switch(**names):
        model = PreActResNet18(3, width=4, final_norm=True)
        return Switch(model, num_classes=3, mixers=[{"name": name, **options} for name, options in names.items()])

    both = {"cutmix": {}, "alignmixup_ae": {"layer": "stage3"}}
    first, second = switch(**both), switch(**both)
    x = torch.rand(4, 3, 16, 16)
    first.prepare(x)
    with torch.no_grad():
        for parameter in first.parameters():
            parameter.fill_(0.25)
    second.load_state_dict(first.state_dict())
    second.prepare(x)
    assert all((parameter == 0.25).all() for parameter in second.parameters())
    assert torch.equal(first.generator.get_state(), second.generator.get_state())
    with pytest.raises(ValueError, match="the state is of 2 mixers, this switch has 1"):
        switch(cutmix={}).load_state_dict(first.state_dict())


@pytest.mark.parametrize(
    "name", ["probability", "active_epochs", "label_smoothing", "multi_label", "seed", "generator"]
)
def test_what_a_switch_decides_cannot_be_assigned_to_its_mixers(name):
    inner = Mixup(num_classes=3)
    Switch(num_classes=3, mixers=[inner])
    with pytest.raises(AttributeError, match=f"{name} of Mixup inside a switch has no effect: set it on the switch"):
        setattr(inner, name, getattr(inner, name))


@pytest.mark.parametrize("multi_label", [False, True])
def test_its_mixers_know_what_kind_of_labels_it_has(multi_label):
    """Saliency, and the loss that comes of it, are those of the labels."""
    torch.manual_seed(0)
    model, x, y = PreActResNet18(3, width=4), torch.rand(4, 3, 16, 16), torch.eye(4, 3)
    alone = CoMixup(model, num_classes=3, multi_label=multi_label)
    inner = Switch(num_classes=3, mixers=[CoMixup(model, num_classes=3)])
    switch = Switch(num_classes=3, mixers=[inner])
    switch.multi_label = multi_label
    losses = [mixer(x, y).auxiliary() for mixer in (alone, switch)]
    torch.testing.assert_close(*losses)


def test_a_mixer_that_cannot_have_the_labels_of_its_switch_is_refused():
    options = {"num_classes": 3, "mixers": ["cutmix", {"name": "remix", "class_counts": [1, 2, 3]}]}
    with pytest.raises(ValueError, match="images of multi_label have any number of them"):
        Switch(**options, multi_label=True)
    switch = Switch(**options)
    with pytest.raises(ValueError, match="images of multi_label have any number of them"):
        switch.multi_label = True
    assert not any(mixer.multi_label for mixer in (switch, *switch._mixers))


def nested(**options):
    """Switches between mixers, names and switches, three deep."""
    deepest = Switch(num_classes=3, mixers=["fmix", Mixup(num_classes=3)])
    middle = Switch(num_classes=3, mixers=["cutmix", {"name": "gridmix"}, deepest])
    return Switch(num_classes=3, mixers=["mixup", middle, CutMix(num_classes=3)], **options)


def drawn(mixer, count=12):
    return torch.stack([mixer(X, Y).lam for _ in range(count)])


def test_switches_inside_a_switch_draw_from_its_stream():
    first, second = nested(seed=3), nested(seed=3)
    expected = drawn(first)
    torch.testing.assert_close(drawn(second), expected, rtol=0, atol=0)  # the seed says it all
    state = first.state_dict()
    torch.testing.assert_close(drawn(first), continued := drawn(second), rtol=0, atol=0)
    second.load_state_dict(state)
    torch.testing.assert_close(drawn(second), continued, rtol=0, atol=0)  # and so does the state
    second.seed = 3
    torch.testing.assert_close(drawn(second), expected, rtol=0, atol=0)
    second.seed = 3
    second.set_epoch(1)
    assert not torch.equal(drawn(second), expected)


def test_a_mixer_is_in_one_switch_whose_stream_it_draws_from():
    mixer = Mixup(num_classes=3)
    outer = Switch(num_classes=3, mixers=[mixer, Switch(num_classes=3, mixers=["cutmix"])], seed=1)
    for taken in (mixer, outer._mixers[1]):
        with pytest.raises(ValueError, match=r"^this \w+ is in a switch already, .*: build another one$"):
            Switch(num_classes=3, mixers=["cutmix", taken], seed=2)


@pytest.mark.parametrize("method", [AlignMixup, ManifoldMixup, CutMix, Mixup])
def test_a_switch_without_a_model_mixes_in_training_mode_of_that_of_its_mixers(method):
    model = PreActResNet18(3, width=4, final_norm=True)
    options = {"layer": "stage3"} if issubclass(method, LayerMixer) else {}
    first, second = (method(model, num_classes=3, **options) for _ in range(2))
    for mixers in ([first, CutMix(num_classes=3)], ["cutmix", Switch(num_classes=3, mixers=[second])]):
        mixer, x = Switch(num_classes=3, mixers=mixers, seed=0), torch.rand(4, 3, 16, 16)
        for training in (True, False):
            model.train(training)
            for _ in range(8):
                with mixer(x, Y) as batch:
                    model(batch.x)
                assert batch.mixed == training
                assert (batch.x is x and torch.equal(batch.target, batch.clean_target)) or training
