import pytest
import torch
from torch import nn

from alignmixup.taps import Inputs, Run

X = torch.randn(3, 3, 8, 8)


class Net(nn.Module):
    """A stem, windows of it, and tokens of the windows."""

    def __init__(self):
        super().__init__()
        self.stem, self.windows, self.fc = nn.Conv2d(3, 6, 1), nn.Identity(), nn.Linear(6, 5)

    def forward(self, x):
        x = self.stem(x)
        windows = x.unflatten(3, (2, 4)).movedim(3, 1).flatten(0, 1)
        return self.fc(self.windows(windows).unflatten(0, (len(x), 2)).amax((1, 3, 4)))


def run(**options):
    torch.manual_seed(0)
    return Run(Net(), Inputs((X,), {}, 3), **options)


def test_what_ran_is_listed_with_shapes_and_forms():
    layers = {layer.name: layer for layer in run().layers}
    assert layers["stem"].shape == (2, 6, 8, 8)
    assert layers["stem"].positions == 64
    assert layers["stem"].forms[0].layout == "channels_first"
    assert "windows" not in layers  # no batch axis in front


def test_a_layout_that_is_given_holds():
    (form,) = run(layout="channels_last").find("stem").forms
    assert form.layout == "channels_last"


def test_one_trial_tells_what_each_edit_does():
    trial = run().trial([("stem", "swap"), ("stem", "noise"), ("stem", "mean"), ("windows", "swap")])
    assert trial.logits.shape == (6, 2, 5)
    assert trial.share(0) == pytest.approx(1)
    assert trial.carries(0)
    assert trial.use(1, 2) == "positions"
    assert trial.noise == 0
    assert trial.unmixable == {"windows"}
    assert not trial.carries(3)


class Total(nn.Module):
    def forward(self, x):
        return x.sum().view(1)


def test_an_output_without_logits_is_refused():
    with pytest.raises(ValueError, match=r"Total returns a tensor of shape \(1,\) for 2 examples: expected logits"):
        Run(Total(), Inputs((X,), {}, 3))
