"""Regression: values in place of labels, mixed as linearly."""

import pytest
import torch
from tests.networks import NEEDED, TinyTransformer, fitting, shallow_resnet
from torch import nn
from torch.nn import functional as F

from alignmixup import CutMix, DenseMultiMix, Mixup, PuzzleMix, RegMixup, Remix, Switch, TransMix, methods

REFUSED = {"remix", "puzzlemix", "comixup"}


@pytest.fixture
def images():
    return torch.randn(6, 3, 16, 16, generator=torch.Generator().manual_seed(0))


def values(*shape):
    return 40 * torch.randn(6, *shape, generator=torch.Generator().manual_seed(1)) - 7


def make(name, net, **options):
    own = {"autoencoder": "patches:2"} if name.startswith("style") else NEEDED.get(name, {})
    given = {"mean": (0.5,), "std": (0.25,)}
    mixer = methods.build(name, model=net, seed=0, options=own, **given)
    for key, value in options.items():
        setattr(mixer, key, value)
    return mixer


@pytest.mark.parametrize("columns", [(), (1,), (2,)])
@pytest.mark.parametrize("name", methods.available())
@pytest.mark.filterwarnings("ignore:AlignMixup at layer:UserWarning")
def test_every_method_mixes_values_or_refuses_them(name, columns, images):
    net = fitting(name, shallow_resnet((*columns, 1)[0]))
    if name in REFUSED:
        with pytest.raises(ValueError, match=r"so targets='values' has no meaning: use Mixup"):
            make(name, net, targets="values")
        return
    y = values(*columns)
    mixer = make(name, net, targets="values")
    for _ in range(6):
        with mixer(images, y) as batch:
            predictions = net(batch.x)
            loss = batch.loss(predictions, F.mse_loss)
            loss.backward()
        assert batch.target.shape[1:] == y.shape[1:]
        assert batch.clean_target.shape[1:] == y.shape[1:]
        found = batch.output_target
        assert found.shape[1:] == y.shape[1:]
        if batch.auxiliary is None:
            expected = F.mse_loss(predictions.view(found.shape), found)
            torch.testing.assert_close(loss, expected)
        if batch.pairwise:
            first, partner, lam = batch.pair_targets()
            share = lam.view(-1, *[1] * (y.ndim - 1))
            torch.testing.assert_close(share * first + (1 - share) * partner, batch.target, rtol=1e-4, atol=1e-3)
    net.eval()
    assert torch.equal(mixer(images, y).target, y)
    assert torch.equal(mixer.clean(images, y).target, y)


def test_a_drop_in_gives_values_as_they_came(images):
    y = values()
    _, target = Mixup(targets="values", seed=0).drop_in()(images, y)
    batch = Mixup(targets="values", seed=0)(images, y)
    assert torch.equal(target, batch.target)
    assert target.shape == y.shape
    torch.testing.assert_close(target, batch.lam * y + (1 - batch.lam) * y[batch.perm])


def test_labels_that_come_late_come_to_values_too(images):
    net, y = TinyTransformer(1), values()
    mixer = TransMix(net, targets="values", seed=0)
    with mixer(images, y) as batch:
        before = batch.target.clone()
        net(batch.x)
    assert not torch.equal(batch.target, before)
    torch.testing.assert_close(batch.target, batch.lam * y + (1 - batch.lam) * y[batch.perm], rtol=1e-4, atol=1e-3)


def test_dense_mixtures_of_values(images):
    net = shallow_resnet(1, final_norm=False)
    mixer = DenseMultiMix(net, targets="values", mixtures=5, seed=0)
    with mixer(images, values()) as batch:
        predictions = net(batch.x)
        assert batch.output_target.shape == (5 * 4,)
        torch.testing.assert_close(
            batch.loss(predictions, nn.L1Loss()), (predictions[:, 0] - batch.output_target).abs().mean()
        )


def test_regmixup_weighs_two_losses_of_values(images):
    y = values()
    batch = RegMixup(targets="values", eta=3.0, seed=0)(images, y)
    predictions = torch.randn(12, 1)
    clean, mixed = F.mse_loss(predictions[:6, 0], y), F.mse_loss(predictions[6:, 0], batch.target[6:])
    torch.testing.assert_close(batch.loss(predictions, F.mse_loss), (clean + 3 * mixed) / 4)


@pytest.mark.parametrize("criterion", [F.mse_loss, nn.HuberLoss()])
@pytest.mark.parametrize(("columns", "shape"), [((), (6, 2)), ((2,), (6, 1)), ((2,), (6,))])
def test_predictions_of_another_shape_are_refused(criterion, columns, shape, images):
    batch = Mixup(targets="values")(images, values(*columns))
    with pytest.raises(ValueError, match="differ in shape: give the model an output for each value"):
        batch.loss(torch.zeros(shape), criterion)


def test_a_criterion_of_ones_own_sees_the_values(images):
    """Such as quantiles: three outputs for one value."""
    batch = Mixup(targets="values")(images, values(1))
    loss = batch.loss(torch.zeros(6, 3), lambda predictions, target: (target - predictions).abs().amax())
    torch.testing.assert_close(loss, batch.target.abs().max())


@pytest.mark.parametrize("criterion", [F.cross_entropy, nn.CrossEntropyLoss()])
def test_a_cross_entropy_of_values_is_refused(criterion, images):
    with pytest.raises(ValueError, match=r"cross-entropy is of labels.*name a criterion"):
        Mixup(targets="values")(images, values(2)).loss(torch.zeros(6, 2), criterion)


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: Remix(targets="values"), "Remix favours rare classes, so targets='values' has no meaning"),
        (lambda: PuzzleMix(shallow_resnet(1), targets="values", mean=(0.5,), std=(0.5,)), "PuzzleMix finds saliency"),
        (lambda: Mixup(targets="values", label_smoothing=0.1), "label_smoothing is of labels"),
        (lambda: Mixup(targets="values", multi_label=True), "multi_label is of labels"),
        (lambda: Switch(mixers=[Remix(), CutMix()], targets="values"), "Switch switches to Remix, which favours rare"),
        (lambda: Switch(mixers=[CutMix(targets="values")]), "targets of CutMix inside a switch has no effect"),
        (lambda: Mixup(targets="value"), "targets must be 'labels' or 'values', got 'value'"),
    ],
)
def test_what_is_of_labels_alone_is_refused_at_construction(build, message):
    with pytest.raises((ValueError, TypeError), match=message):
        build()


def test_what_is_of_labels_alone_is_refused_when_assigned():
    mixer = Switch(mixers=[Remix(), CutMix()])
    with pytest.raises(ValueError, match="switches to Remix"):
        mixer.targets = "values"
    assert mixer.targets == "labels"
