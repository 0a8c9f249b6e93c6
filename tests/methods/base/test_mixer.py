import pytest
import torch
from torch import nn

from alignmixup import CutMix, Mixup


def test_the_familiar_two_lines():
    x, target = CutMix(num_classes=3)(torch.rand(4, 3, 8, 8), torch.tensor([0, 1, 2, 0]))
    assert x.shape == (4, 3, 8, 8)
    assert target.shape == (4, 3)


def test_the_default_generator_follows_the_global_seed_without_touching_it():
    x, y = torch.rand(4, 2), torch.tensor([0, 1, 0, 1])

    def draws():
        torch.manual_seed(7)
        state = torch.get_rng_state()
        mixed = Mixup(num_classes=2)(x, y)
        assert torch.equal(torch.get_rng_state(), state)
        return mixed.x

    assert torch.equal(draws(), draws())


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
