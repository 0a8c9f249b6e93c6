"""No training step reads a value from the device: checked without one, on tensors that have none (torch's meta device).

Whatever would make the host wait for a GPU (`item`, a branch on a tensor, `nonzero`, a copy to the CPU) raises there.
Draws stay on the CPU, as they do with a GPU.
"""

import contextlib

import pytest
import torch
from tests.networks import fitting, plain_net

from alignmixup import methods

DRAWS = 8  # after which every branch of a method has been seen

pytestmark = pytest.mark.filterwarnings("ignore:AlignMixup at layer:UserWarning")

WAITS = {
    "item": lambda x: x[0].item(),
    "float": lambda x: float(x.sum()),
    "branch": lambda x: 1 if (x > 0).any() else 0,
    "list": lambda x: x.tolist(),
    "copy": lambda x: x.cpu(),
    "copy into": lambda x: torch.zeros(3).copy_(x),
    "nonzero": lambda x: x.nonzero(),
    "boolean index": lambda x: x[x > 0],
    "masked_select": lambda x: x.masked_select(x > 0),
    "unique": lambda x: x.unique(),
    "repeats": lambda x: x.repeat_interleave(x.long()),
    "equal": lambda x: torch.equal(x, x),
    "allclose": lambda x: torch.allclose(x, x),
}


@pytest.fixture
def no_values(monkeypatch):
    """Autocast on the meta device, where torch has none: what it would decide does not change what is read."""
    autocast = torch.autocast

    def any_device(device_type, *args, **kwargs):
        return contextlib.nullcontext() if device_type == "meta" else autocast(device_type, *args, **kwargs)

    monkeypatch.setattr(torch, "autocast", any_device)


def prepared(name, digits_mixer):
    """A network, its mixer with layers chosen, and a batch; all but the draws on the meta device."""
    net = fitting(name, plain_net(5))
    mixer = digits_mixer(name, net)
    x, y = torch.randn(8, 3, 32, 32), torch.arange(8) % 5
    mixer.prepare(x)
    with mixer(x, y) as batch:  # looks for layers; a first look may wait
        batch.loss(net(batch.x))
    return net.to("meta"), mixer, x.to("meta"), y.to("meta")


def step(net, mixer, x, y, optimizer):
    with mixer(x, y) as batch:
        loss = batch.loss(net(batch.x))
        loss.backward()
    optimizer.step()
    optimizer.zero_grad()
    return batch


@pytest.mark.parametrize("name", methods.available())
def test_no_step_reads_a_value(name, digits_mixer, no_values):
    net, mixer, x, y = prepared(name, digits_mixer)
    for part in vars(mixer).values():
        if isinstance(part, torch.nn.Module):
            part.to("meta")
    optimizer = torch.optim.SGD([*net.parameters(), *mixer.parameters()], lr=0.1, momentum=0.9, foreach=True)
    for _ in range(DRAWS):
        assert step(net, mixer, x, y, optimizer).x.device.type == "meta"


@pytest.mark.parametrize("wait", WAITS)
def test_whatever_waits_is_seen(wait, digits_mixer, no_values, monkeypatch):
    """The gate itself: the same step with one wait planted in the mixing fails."""
    net, mixer, x, y = prepared("mixup", digits_mixer)
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
    step(net, mixer, x, y, optimizer)
    mix = type(mixer).mix

    def waiting(self, x, target, draw):
        WAITS[wait](x.flatten()[:3])
        return mix(self, x, target, draw)

    monkeypatch.setattr(type(mixer), "mix", waiting)
    with pytest.raises((RuntimeError, NotImplementedError, TypeError), match=r"meta|Meta"):
        step(net, mixer, x, y, optimizer)
