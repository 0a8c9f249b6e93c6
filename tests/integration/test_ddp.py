"""Two processes with DistributedDataParallel: each mixes with its own stream, gradients are the mean."""

import os
import tempfile

import pytest
import torch
import torch.distributed as dist
from tests.networks import shallow_resnet
from tests.processes import in_two_processes
from torch.nn.parallel import DistributedDataParallel

from alignmixup import methods

pytestmark = [pytest.mark.filterwarnings("ignore::DeprecationWarning"), pytest.mark.xdist_group("processes")]


HIDDEN = {
    "alignmixup": {"layer": "stage3", "input_probability": 0.0},
    "multimix": {"mixtures": 20},
    "dense_multimix": {"mixtures": 20},
}


def build(rank, name):
    net = shallow_resnet(5)
    draws = torch.Generator().manual_seed(rank)
    mixer = methods.build(name, model=net, num_classes=5, generator=draws, options=HIDDEN[name])
    generator = torch.Generator().manual_seed(10 + rank)
    return (
        net,
        mixer,
        torch.randn(4, 3, 16, 16, generator=generator),
        torch.randint(5, (4,), generator=generator),
    )


def gradient(model, net, mixer, x, y):
    with mixer(x, y) as batch:
        batch.loss(model(batch.x)).backward()
    return net.stem[0].weight.grad.clone()


def worker(rank, folder, name, compiled):
    os.environ["OMP_NUM_THREADS"] = "1"
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{folder}/store", rank=rank, world_size=2)
    net, mixer, x, y = build(rank, name)
    model = DistributedDataParallel(net)
    if compiled:
        model = torch.compile(model, backend="eager")
    found = gradient(model, net, mixer, x, y)
    torch.save(found, f"{folder}/{rank}.pt")
    dist.destroy_process_group()


@pytest.mark.parametrize(
    ("name", "compiled"), [("alignmixup", False), ("alignmixup", True), ("multimix", False), ("dense_multimix", True)]
)
def test_gradients_are_the_mean_of_the_processes(name, compiled):
    with tempfile.TemporaryDirectory() as folder:
        in_two_processes(worker, folder, name, compiled)
        first, second = (torch.load(f"{folder}/{rank}.pt") for rank in range(2))
    torch.testing.assert_close(first, second)
    alone = []
    for rank in range(2):
        net, mixer, x, y = build(rank, name)
        alone.append(gradient(net, net, mixer, x, y))
    torch.testing.assert_close(first, (alone[0] + alone[1]) / 2, atol=1e-5, rtol=1e-4)
