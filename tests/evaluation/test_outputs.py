"""Logits are those of the network in evaluation mode, in the order of the loader; batch sizes halve until they fit."""

import pytest
import torch
from torch import Tensor, nn

from alignmixup.evaluation.batch_size import first_batch_size, with_fitting_batch_size
from alignmixup.evaluation.outputs import collect_outputs


class Doubling(nn.Module):
    """Twice its input; in training mode, zero."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.tensor(2.0))
        self.frozen = nn.Dropout().eval()

    def forward(self, x: Tensor) -> Tensor:
        return x * self.weight * (not self.training)


def test_logits_and_labels_in_order_and_flags_restored() -> None:
    model, seen = Doubling(), []
    x, y = torch.randn(5, 3, generator=torch.Generator().manual_seed(0)), torch.tensor([2, 0, 1, 1, 0])
    outputs = collect_outputs(model, [(x[:3], y[:3]), (x[3:], y[3:])], progress=seen.append)
    assert outputs.logits.equal(2 * x)
    assert outputs.labels.equal(y)
    assert seen == [3, 2]
    assert model.training
    assert not model.frozen.training
    assert not outputs.logits.requires_grad


def test_autocast_is_used_and_the_logits_are_float32() -> None:
    model = nn.Linear(3, 2)
    outputs = collect_outputs(
        model,
        [(torch.ones(1, 3), torch.zeros(1, dtype=torch.int64))],
        autocast=lambda: torch.autocast("cpu", torch.bfloat16),
    )
    assert outputs.logits.dtype == torch.float32
    assert outputs.logits.equal(outputs.logits.bfloat16().float())


def test_what_is_no_classifier_or_no_data() -> None:
    with pytest.raises(ValueError, match="the loader yields no batch"):
        collect_outputs(Doubling(), [])
    with pytest.raises(ValueError, match=r"must give logits \(B, K\) for 2 images, got \(2, 3, 4\)"):
        collect_outputs(Doubling(), [(torch.ones(2, 3, 4), torch.zeros(2, dtype=torch.int64))])
    with pytest.raises(ValueError, match="got tuple"):
        collect_outputs(nn.LSTM(3, 2), [(torch.ones(2, 3), torch.zeros(2, dtype=torch.int64))])


def test_halves_until_it_fits() -> None:
    tried = []

    def work(size: int) -> str:
        tried.append(size)
        if size > 30:
            raise torch.OutOfMemoryError
        return "done"

    assert with_fitting_batch_size(work, start=200) == ("done", 25)
    assert tried == [200, 100, 50, 25]


def test_gives_up_at_one_image_and_leaves_other_errors_alone() -> None:
    def never(size: int) -> None:
        raise torch.OutOfMemoryError

    with pytest.raises(torch.OutOfMemoryError):
        with_fitting_batch_size(never, start=4)
    with pytest.raises(ZeroDivisionError):
        with_fitting_batch_size(lambda size: size // 0, start=4)
    with pytest.raises(ValueError, match="must be >= 1, got 0"):
        with_fitting_batch_size(never, start=0)


@pytest.mark.parametrize(
    ("device", "side", "expected"), [("cpu", 32, 256), ("cpu", 8, 2048), ("cpu", 224, 16), ("cuda", 224, 32)]
)
def test_first_size_follows_pixels(device: str, side: int, expected: int) -> None:
    assert first_batch_size(torch.device(device), image_size=side) == expected
