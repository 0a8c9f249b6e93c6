"""In every program, one process and two: gradients are those of a loop written by hand, and evaluation is not mixed."""

import os
import socket

import pytest
import torch
import torch.distributed as dist
from tests.integrations import clients
from tests.integrations.clients import BATCHES, CASES, Case, build, by_hand, vit
from tests.processes import in_two_processes
from tests.torch_version import is_older
from timm.loss import SoftTargetCrossEntropy

pytestmark = [
    pytest.mark.filterwarnings("ignore"),  # of the programs about so small a run, and about each other
    pytest.mark.xdist_group("processes"),  # the programs take long to import
]

FSDP2 = pytest.mark.needs_torch("2.7", "FSDP2 on a CPU")
DISTRIBUTED = ["lightning", "trainer", "accelerate", "fsdp"]
DISTRIBUTED_CASES = [Case(), Case(2, False, True), Case(1, True)]
WRAPPED = {"bare": 1, "wrapped elsewhere": 1, "in a switch": 1, "put back": 0, "sharded": 0, "averaged by the loop": 0}
OWN_LOOPS = ["ddp", "switch", "fsdp"]
SHARDED = {"fsdp", "sharded"}


def marked(names):
    return [pytest.param(name, marks=FSDP2 if name in SHARDED else ()) for name in names]


def that_run(names):
    """Those that this torch can run: the two processes try no others."""
    return [name for name in names if not (name in SHARDED and is_older(FSDP2.args[0]))]


def assert_by_hand(client, steps, ranks, case):
    if client == "trainer":
        expected = by_hand(*vit(), ranks, case, logits=lambda output: output.logits)
    elif client == "timm":
        expected = by_hand(*build(), ranks, case, criterion=SoftTargetCrossEntropy())
    else:
        expected = by_hand(*build(), ranks, case)
    assert len(steps) == len(expected) == BATCHES // case.accumulate
    tolerance = 0.02 if case.bf16 else 1e-4
    for found, right in zip(steps, expected, strict=True):
        assert right.abs().max() > 1e-3
        assert (found - right).norm() < tolerance * right.norm()


@pytest.mark.parametrize("case", CASES, ids=str)
@pytest.mark.parametrize("client", ["lightning", "trainer", "accelerate", "timm", "skorch", "ignite"])
def test_gradients_of_one_process(client, case, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    steps, kept, in_evaluation = getattr(clients, client)(case)
    assert (len(kept), in_evaluation) == (BATCHES, 0)
    assert_by_hand(client, steps, [kept], case)


def work(rank, port, folder):
    os.chdir(folder)
    group = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port, "RANK": rank, "LOCAL_RANK": rank, "GROUP_RANK": 0}
    group |= {"WORLD_SIZE": 2, "LOCAL_WORLD_SIZE": 2, "TORCHELASTIC_RUN_ID": "tests", "ACCELERATE_USE_CPU": "true"}
    os.environ.update({name: str(value) for name, value in group.items()})  # as torchrun does
    torch.set_num_threads(1)
    found = {
        (client, case): getattr(clients, client)(case, rank, 2)
        for client in that_run(DISTRIBUTED)
        for case in DISTRIBUTED_CASES
    }
    more = {"decoder": clients.lightning_autoencoder(rank, 2), "resumed": clients.lightning_resumed(rank, 2, folder)}
    more |= {kind: clients.own_loop_decoder(kind, rank, 2) for kind in that_run(OWN_LOOPS)}
    more |= {how: clients.unwrapped_decoder(how, rank, 2) for how in that_run(WRAPPED)}
    more["accelerate"] = clients.accelerate_decoder(rank, 2)
    torch.save(found | more, f"{folder}/{rank}.pt")
    dist.destroy_process_group()


@pytest.fixture(scope="module")
def two_processes(tmp_path_factory):
    """What two processes found, which share the time that the imports take."""
    folder = tmp_path_factory.mktemp("ranks")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    in_two_processes(work, port, str(folder))
    return [torch.load(folder / f"{rank}.pt", weights_only=False) for rank in range(2)]


@pytest.mark.parametrize("case", DISTRIBUTED_CASES, ids=str)
@pytest.mark.parametrize("client", marked(DISTRIBUTED))
def test_gradients_of_two_processes(client, case, two_processes):
    (steps, first, _), (same, second, _) = (found[client, case] for found in two_processes)
    assert all(map(torch.equal, steps, same))
    assert [len(first), len(second)] == [BATCHES, BATCHES]
    assert_by_hand(client, steps, [first, second], case)
    assert [float(d.lam[0]) for *_, d in first] != [float(d.lam[0]) for *_, d in second]


def test_two_processes_train_one_decoder(two_processes):
    (before, after), (_, other) = (found["decoder"] for found in two_processes)
    assert torch.equal(after, other)
    assert not torch.equal(before, after)


@pytest.mark.parametrize("kind", marked(OWN_LOOPS))
def test_processes_that_draw_different_batches_train_one_decoder(kind, two_processes):
    (first, weights), (second, others) = (found[kind] for found in two_processes)
    assert first != second  # one reconstructs where the other does not
    assert any(first)
    assert any(second)
    assert torch.equal(weights, others)


def test_two_processes_continue_their_own_draws(two_processes):
    first, second = (found["resumed"] for found in two_processes)
    assert first[0] == first[1] != second[0] == second[1]


@pytest.mark.parametrize("how", marked(WRAPPED))
def test_a_decoder_whose_gradients_nobody_averages_is_told_once(how, two_processes):
    for found in two_processes:
        assert len(found[how]) == WRAPPED[how]
        assert all("mixer.decoder = DistributedDataParallel(mixer.decoder)" in text for text in found[how])


def test_accelerate_trains_one_decoder_in_two_processes(two_processes):
    (gradients, weights), (others, same) = (found["accelerate"] for found in two_processes)
    assert len(gradients) == 3
    assert all(map(torch.equal, gradients, others))
    assert gradients[1].abs().max() > 0  # the second batch is reconstructed
    assert torch.equal(weights, same)
