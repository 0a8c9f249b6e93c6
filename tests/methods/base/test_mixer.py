import pytest
import torch
from tests.networks import NEEDED, fitting
from torch import nn

from alignmixup import AlignMixup, Baseline, CutMix, ManifoldMixup, Mixup, StyleMix, Switch, methods
from alignmixup.models import PreActResNet18
from alignmixup.options import options_of


def test_the_familiar_two_lines():
    x, target = CutMix(num_classes=3)(torch.rand(4, 3, 8, 8), torch.tensor([0, 1, 2, 0]))
    assert x.shape == (4, 3, 8, 8)
    assert target.shape == (4, 3)


def test_probability_is_the_share_of_mixed_batches():
    x, y = torch.rand(2, 2), torch.zeros(2, dtype=torch.int64)
    mixer = Mixup(num_classes=2, probability=0.3, generator=torch.Generator().manual_seed(0))
    share = sum(mixer(x, y).draw is not None for _ in range(2000)) / 2000
    assert share == pytest.approx(0.3, abs=0.03)


def test_smoothing_is_applied_before_mixing():
    mixed = Mixup(num_classes=4, label_smoothing=0.4)(torch.rand(3, 2), torch.tensor([0, 1, 2]))
    assert mixed.target.min().item() == pytest.approx(0.1, abs=1e-6)
    torch.testing.assert_close(mixed.target.sum(1), torch.ones(3))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"alpha": 0.0}, "alpha must be > 0, got 0.0; to train without mixing use the baseline"),
        ({"alpha": -1.0}, "alpha must be > 0, got -1.0"),
        ({"alpha": float("nan")}, "alpha must be > 0, got nan"),
        ({"alpha": float("inf")}, "alpha must be > 0, got inf"),
        ({"lam_per": "element"}, "lam_per must be 'batch', 'pair' or 'sample', got 'element'"),
        ({"probability": 1.5}, r"probability must be in \[0, 1\], got 1.5"),
        ({"label_smoothing": 1.0}, r"label_smoothing must be in \[0, 1\), got 1.0"),
        ({"num_classes": 0}, "num_classes must be >= 1 or None, got 0"),
        (
            {"active_epochs": (5, 5)},
            r"active_epochs must be \(start, end\) with 0 <= start < end, got \(5, 5\)",
        ),
    ],
)
def test_bad_options_are_refused_at_construction(options, message):
    with pytest.raises(ValueError, match=message):
        Mixup(**{"num_classes": 3, **options})


@pytest.mark.parametrize("options", [{"alpha": "1"}, {"probability": None}, {"label_smoothing": True}])
def test_only_numbers_are_taken_for_numbers(options):
    with pytest.raises(
        TypeError, match=f"{next(iter(options))} must be a number, got {next(iter(options.values()))!r}"
    ):
        Mixup(num_classes=3, **options)


def test_data_parallel_is_refused():
    with pytest.raises(TypeError, match="DataParallel is not supported"):
        Mixup(nn.DataParallel(nn.Linear(1, 1)), num_classes=2)


@pytest.mark.parametrize(
    ("x", "y", "error", "message"),
    [
        (
            torch.rand(4, 2),
            torch.zeros(3).long(),
            ValueError,
            r"images \(4, 2\) and labels \(3,\) are not one batch",
        ),
        (
            torch.zeros(4, 2).byte(),
            torch.zeros(4).long(),
            TypeError,
            "images must be floating point, got torch.uint8",
        ),
        (
            torch.rand(4, 2),
            torch.tensor([0, 1, 2, 3]),
            ValueError,
            "label 3 is out of range for num_classes=3",
        ),
        (torch.rand(4, 2), torch.rand(4), TypeError, "one-dimensional labels must be integer class indices"),
        (torch.rand(4, 2), torch.rand(4, 2), ValueError, "labels have 2 columns, but num_classes=3"),
    ],
)
def test_bad_batches_are_refused(x, y, error, message):
    with pytest.raises(error, match=message):
        Mixup(num_classes=3)(x, y)


def test_integer_labels_need_the_number_of_classes():
    with pytest.raises(ValueError, match="integer labels need num_classes"):
        Mixup()(torch.rand(2, 2), torch.tensor([0, 1]))


def test_no_parameters_of_its_own():
    assert list(Mixup(num_classes=2).parameters()) == []


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: CutMix(10), r"the first argument of CutMix is the model, got 10; write CutMix\(num_classes=10\)"),
        (lambda: Mixup(0.2), r"the first argument of Mixup is the model, got 0.2; write Mixup\(alpha=0.2\)"),
        (lambda: AlignMixup("layer3"), r"is the model, got 'layer3'; write AlignMixup\(layer='layer3'\)"),
        (lambda: StyleMix("patches"), r"is the model, got 'patches'; write StyleMix\(autoencoder='patches'\)"),
        (
            lambda: Switch([CutMix(), Mixup()]),
            r"argument of Switch is the model, got .*; write Switch\(mixers=",
        ),
        (lambda: Baseline(0.5), r"model must be a torch.nn.Module or None, got 0.5; .*: Baseline\(model, ...\)"),
    ],
)
def test_an_option_in_place_of_the_model_is_told_where_it_belongs(build, message):
    with pytest.raises(TypeError, match=message):
        build()


def test_an_assignment_is_checked_and_takes_effect():
    mixer = AlignMixup(PreActResNet18(3, width=4), num_classes=3, layer="stage3")
    for name, value, message in (
        ("epsilon", -1, "epsilon must be > 0, got -1"),
        ("probability", 7, r"probability must be in \[0, 1\], got 7"),
        ("active_epochs", (3, 2), r"active_epochs must be \(start, end\)"),
    ):
        before = getattr(mixer, name)
        with pytest.raises(ValueError, match=message):
            setattr(mixer, name, value)
        assert getattr(mixer, name) is before
    mixer.input_probability, mixer.epsilon = 0.0, 0.7
    hidden = mixer(torch.rand(4, 3, 16, 16), torch.tensor([0, 1, 2, 0])).hidden
    assert hidden["stage3"].function.keywords["epsilon"] == 0.7


@pytest.mark.parametrize("name", methods.available())
def test_what_cannot_change_refuses_an_assignment(name):
    model = fitting(name, PreActResNet18(3, width=4))
    options = {"autoencoder": "patches"} if name.startswith("style") else NEEDED.get(name, {})
    mixer = methods.build(name, model=model, num_classes=3, mean=(0.5,), std=(0.5,), options=options)
    fixed = [key for key, item in options_of(type(mixer)).items() if item.fixed]
    assert "model" in fixed
    for key in fixed:
        with pytest.raises(AttributeError, match=f"{key} of {type(mixer).__name__} cannot change once"):
            setattr(mixer, key, getattr(mixer, key))


def test_mixers_are_told_apart_by_identity():
    first, second = (AlignMixup(PreActResNet18(3, width=4), layer="stage3") for _ in range(2))
    assert first != second
    assert len({first, second}) == 2


def test_layers_are_public():
    mixer = ManifoldMixup(PreActResNet18(3, width=4), num_classes=3)
    assert mixer.layers == ()
    mixer.prepare(torch.rand(2, 3, 16, 16))
    assert mixer.layers == ("stage1", "stage2")
