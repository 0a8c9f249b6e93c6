import pytest
import torch
from torch.nn import functional as F

from alignmixup.functional.arguments import FLOATING, INTEGER
from alignmixup.functional.labels import as_target, as_values, one_hot, smooth, soft_labels


def test_one_hot_matches_torch():
    y = torch.tensor([2, 0, 1])
    assert torch.equal(one_hot(y, 4), F.one_hot(y, 4).float())
    assert torch.equal(one_hot(y.to(torch.uint8), 4), F.one_hot(y, 4).float())


@pytest.mark.parametrize("bad", [-1, 4])
def test_one_hot_names_the_bad_label(bad):
    with pytest.raises(ValueError, match=rf"label {bad} is out of range for num_classes=4: expected 0 to 3"):
        one_hot(torch.tensor([0, bad]), 4)


@pytest.mark.parametrize("ignored", [-100, -1, 255])
def test_a_label_that_losses_ignore_is_to_be_left_out(ignored):
    with pytest.raises(
        ValueError, match=rf"expected 0 to 3; leave out samples without a label: keep = y != {ignored}, "
    ):
        one_hot(torch.tensor([0, ignored, 2]), 4)


def test_one_hot_compiles():
    compiled = torch.compile(one_hot, backend="eager", fullgraph=True)
    assert torch.equal(compiled(torch.tensor([1, 0]), 2), torch.tensor([[0.0, 1.0], [1.0, 0.0]]))


def test_smooth_by_hand():
    target = torch.tensor([[1.0, 0.0, 0.0, 0.0]])
    assert smooth(target, 0.4).tolist() == [[pytest.approx(0.7), *[pytest.approx(0.1)] * 3]]
    assert smooth(target, 0.4, multi_label=True).tolist() == [[pytest.approx(0.8), *[pytest.approx(0.2)] * 3]]
    assert smooth(target, 0.0) is target


def test_soft_labels_by_hand():
    mixed = soft_labels(torch.tensor([0, 2]), torch.tensor([1, 0]), torch.tensor([0.75, 1.0]), num_classes=3)
    assert mixed.tolist() == [[0.75, 0.0, 0.25], [0.0, 0.0, 1.0]]


def test_soft_cross_entropy_equals_the_two_term_form():
    torch.manual_seed(0)
    logits, y, perm, lam = torch.randn(6, 5), torch.randint(5, (6,)), torch.randperm(6), torch.rand(6)
    soft = F.cross_entropy(logits, soft_labels(y, perm, lam, 5))
    first, partner = (
        F.cross_entropy(logits, y, reduction="none"),
        F.cross_entropy(logits, y[perm], reduction="none"),
    )
    torch.testing.assert_close(soft, (lam * first + (1 - lam) * partner).mean())


def test_as_target_accepts_soft_and_multi_hot_labels():
    multi_hot = torch.tensor([[1, 1, 0], [0, 0, 1]])
    assert torch.equal(as_target(multi_hot, 3), multi_hot.float())
    assert as_target(multi_hot.bool(), None).dtype == torch.float32
    assert as_target(torch.rand(2, 3).double(), 3).dtype == torch.float32


@pytest.mark.parametrize(
    ("y", "num_classes", "error", "message"),
    [
        (torch.tensor([0, 1]), None, ValueError, "integer labels need num_classes"),
        (
            torch.tensor([0.0, 1.0]),
            3,
            TypeError,
            r"got torch.float32; for regression .*targets='values'; .* is \(B, 1\)",
        ),
        (torch.zeros(2, 4), 3, ValueError, "labels have 4 columns, but num_classes=3"),
        (torch.zeros(2, 3, 1), 3, ValueError, r"got shape \(2, 3, 1\)"),
    ],
)
def test_as_target_rejects(y, num_classes, error, message):
    with pytest.raises(error, match=message):
        as_target(y, num_classes)


def test_values_are_any_real_numbers():
    assert as_values(torch.tensor([-2, 30])).tolist() == [[-2.0], [30.0]]
    pose = torch.tensor([[-0.5, 2.0], [0.0, -7.0]], dtype=torch.float64)
    assert torch.equal(as_values(pose, 2), pose.float())


@pytest.mark.parametrize(
    ("y", "error", "message"),
    [
        (torch.zeros(2, dtype=torch.complex64), TypeError, "values must be real numbers, got torch.complex64"),
        (torch.zeros(2, 3, 4), ValueError, r"values must be \(B,\) or \(B, D\).*got shape \(2, 3, 4\)"),
        (torch.tensor([0.0, float("nan")]), ValueError, "values must be finite"),
        (torch.zeros(2), ValueError, "values have 1 columns, but num_classes=3: with targets='values' leave it out"),
    ],
)
def test_values_that_are_none_are_refused(y, error, message):
    with pytest.raises(error, match=message):
        as_values(y, 3 if message.startswith("values have") else None)


@pytest.mark.parametrize("dtype", [*INTEGER, *FLOATING, torch.bool])
def test_rows_of_labels_have_any_type(dtype):
    assert torch.equal(soft_labels(torch.eye(3).to(dtype), torch.arange(3), 1.0), torch.eye(3))


def test_a_label_beyond_float32_is_refused():
    with pytest.raises(ValueError, match="must be finite and >= 0, got inf"):
        soft_labels(torch.full((1, 2), 1e300, dtype=torch.float64), torch.tensor([0]), 1.0)
