"""Two processes with a mixer that has parameters of its own: one decoder, trained on the gradients of both."""

import os
import tempfile

import pytest
import torch
import torch.distributed as dist
from tests.networks import shallow_resnet
from tests.processes import in_two_processes
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from alignmixup import methods
from alignmixup.training.config import TrainConfig
from alignmixup.training.engine import Engine

pytestmark = [pytest.mark.filterwarnings("ignore::DeprecationWarning"), pytest.mark.xdist_group("processes")]
STEPS = 4


def build(rank, *, seed):
    """One network, and images and draws of the process; the decoder's first weights follow ``seed``."""
    net = shallow_resnet(5)
    for module in net.modules():
        if isinstance(module, nn.BatchNorm2d):  # as if each half of a batch were normalised alone, with one process too
            module.track_running_stats = False
    options = {"layer": "stage3", "clean_share": 0.5, "decoder_width": 4, "input_probability": 0.0}
    draws = torch.Generator().manual_seed(rank)  # also where one process stands for both
    mixer = methods.build("alignmixup_ae", model=net, num_classes=5, generator=draws, options=options)
    generator = torch.Generator().manual_seed(10 + rank)
    x, y = torch.randn(4, 3, 16, 16, generator=generator), torch.randint(5, (4,), generator=generator)
    torch.manual_seed(seed)
    mixer.prepare(x)
    return net, mixer, x, y


def sgd(net, mixer):
    return torch.optim.SGD([*net.parameters(), *mixer.parameters()], lr=0.05, momentum=0.9, weight_decay=1e-2)


def join(rank, folder):
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{folder}/store", rank=rank, world_size=2)
    os.environ.update(RANK=str(rank), WORLD_SIZE="2")


def by_the_engine(rank, folder):
    """As the trainer does it, with decoders that begin apart and lie channels-last."""
    join(rank, folder)
    engine = Engine(TrainConfig(device="cpu", threads=1))
    net, mixer, x, y = build(rank, seed=rank)
    mixer.decoder.to(memory_format=torch.channels_last)
    extra = list(mixer.parameters())
    engine.group.share(extra)
    optimizer, model = sgd(net, mixer), engine.wrap(net)
    for _ in range(STEPS):
        with mixer(x, y) as batch:
            engine.backward(batch.loss(model(batch.x)))
        engine.update(optimizer, extra_parameters=extra)
    torch.save((net.state_dict(), mixer.state_dict()["decoder"]), f"{folder}/{rank}.pt")
    dist.destroy_process_group()


def by_hand(rank, folder):
    """As in a loop of one's own, compiled: the decoder is wrapped like the model."""
    join(rank, folder)
    net, mixer, x, y = build(rank, seed=rank)
    mixer.decoder = DistributedDataParallel(mixer.decoder)
    optimizer, model = sgd(net, mixer), torch.compile(DistributedDataParallel(net), backend="eager")
    for parameter in mixer.parameters():
        parameter.grad = torch.zeros_like(parameter)  # as the engine counts a batch without a reconstruction
    for _ in range(STEPS):
        with mixer(x, y) as batch:
            batch.loss(model(batch.x)).backward()
        optimizer.step()
        optimizer.zero_grad(set_to_none=False)
    torch.save((net.state_dict(), mixer.state_dict()["decoder"]), f"{folder}/{rank}.pt")
    dist.destroy_process_group()


def alone():
    """One process that averages the gradients of both halves."""
    halves = [build(rank, seed=0) for rank in range(2)]
    optimizers = [sgd(net, mixer) for net, mixer, _, _ in halves]
    for _ in range(STEPS):
        for net, mixer, x, y in halves:
            with mixer(x, y) as batch:
                batch.loss(net(batch.x)).backward()
        parameters = [[*net.parameters(), *mixer.parameters()] for net, mixer, _, _ in halves]
        for first, second in zip(*parameters, strict=True):
            none = torch.zeros_like(first)
            mean = ((none if first.grad is None else first.grad) + (none if second.grad is None else second.grad)) / 2
            first.grad, second.grad = mean, mean.clone()
        for optimizer in optimizers:
            optimizer.step()
            optimizer.zero_grad()
    net, mixer, _, _ = halves[0]
    return net.state_dict(), mixer.state_dict()["decoder"]


@pytest.mark.parametrize("work", [by_the_engine, by_hand])
def test_both_train_one_decoder(work):
    with tempfile.TemporaryDirectory() as folder:
        in_two_processes(work, folder)
        first, second = (torch.load(f"{folder}/{rank}.pt") for rank in range(2))
    for one, two, expected in zip(first, second, alone(), strict=True):
        for name, value in expected.items():
            if "running" not in name and "tracked" not in name:
                torch.testing.assert_close(one[name], two[name], atol=0, rtol=0, msg=name)
                torch.testing.assert_close(one[name], value, atol=1e-5, rtol=1e-3, msg=name)
