"""Streams: what is drawn depends on (seed, rank, worker, epoch, step), and on nothing else."""

import copy
import itertools
import os
import pickle
import tempfile

import pytest
import torch
import torch.distributed as dist
from tests.processes import in_two_processes, serve_processes
from torch import nn
from torch.utils.data import DataLoader, TensorDataset, default_collate, get_worker_info

from alignmixup import AlignMixup, CutMix, Mixup, PuzzleMix, Switch
from alignmixup.methods.base import stream as streams
from alignmixup.methods.base.stream import Stream

X, Y = torch.rand(4, 3, 8, 8), torch.tensor([0, 1, 2, 0])


def drawn(mixer, batches=1):
    """What a mixer draws, as something that can be compared and counted."""
    found = [mixer(X, Y).draw for _ in range(batches)]
    return [(*draw.lam.tolist(), *draw.perm.tolist()) for draw in found]


class Worker:
    def __init__(self, id, seed):
        self.id, self.seed = id, seed


def test_no_two_places_draw_the_same(monkeypatch):
    """Seeds, ranks, workers, loaders' seeds, epochs and steps, small and neighbouring as they are in use."""
    seen = set()
    places = list(itertools.product(range(6), range(6), [None, 0, 1, 2], range(4), range(12)))
    for seed, rank, worker, epoch, step in places:
        stream = Stream(seed)
        stream.epoch, stream.step = epoch, step
        info = None if worker is None else Worker(worker, 100 + worker)
        monkeypatch.setattr(streams, "get_worker_info", lambda info=info: info)
        monkeypatch.setenv("RANK", str(rank))
        stream._rank = rank  # as it is sent to a worker process
        seen.add(torch.rand((), generator=stream.generator, dtype=torch.float64).item())
    assert len(seen) == len(places) == 6912


def test_a_long_training_draws_nothing_twice():
    stream, seen = Stream(0), set()
    for stream.step in range(100_000):  # with 32 bits one repeat would be expected
        seen.add(tuple(torch.rand(2, generator=stream.generator, dtype=torch.float64).tolist()))
    assert len(seen) == 100_000


def test_mixers_differ_and_follow_the_global_seed():
    def build():
        torch.manual_seed(7)
        return drawn(Mixup(num_classes=3), 3), drawn(Mixup(num_classes=3), 3)

    first, second = build()
    assert first != second
    assert build() == (first, second)


def test_a_seed_or_a_generator_leaves_the_global_one_alone():
    state = torch.get_rng_state()
    drawn(Mixup(num_classes=3, seed=1))
    drawn(Mixup(num_classes=3, generator=torch.Generator()))
    assert torch.equal(torch.get_rng_state(), state)


def test_the_step_is_told_by_calls_and_not_by_what_a_batch_draws():
    """Processes toss their own coins, and yet agree on the step."""
    whole, half = Mixup(num_classes=3, seed=1), Mixup(num_classes=3, seed=1, probability=0.5)
    for _ in range(8):
        whole(X, Y), half(X, Y)
    assert whole.state_dict() == half.state_dict() == {"seed": 1, "step": 8, "epoch": 0}


def test_the_epoch_is_part_of_it():
    def of(epoch):
        mixer = Mixup(num_classes=3, seed=1)
        mixer.set_epoch(epoch)
        return drawn(mixer)

    assert of(0) == of(0) != of(1)


def test_a_passed_generator_is_drawn_from_as_it_is():
    generator = torch.Generator().manual_seed(5)
    mixer = Mixup(num_classes=3, generator=generator)
    assert mixer.generator is generator
    first = drawn(mixer, 2)
    assert first == drawn(Mixup(num_classes=3, generator=torch.Generator().manual_seed(5)), 2)
    mixer.generator = torch.Generator().manual_seed(5)
    assert drawn(mixer, 2) == first


def test_both_a_seed_and_a_generator_are_refused():
    with pytest.raises(ValueError, match="seed and generator exclude each other, got seed=3"):
        Mixup(num_classes=3, seed=3, generator=torch.Generator())


@pytest.mark.parametrize("passed", [False, True])
def test_states_resume_and_move_between_kinds_of_mixers(passed):
    """A state says how it goes on, whatever mixer it meets; one of before there were streams holds a generator."""

    def build(seed):
        return Mixup(
            num_classes=3, **({"generator": torch.Generator().manual_seed(seed)} if passed else {"seed": seed})
        )

    mixer = build(1)
    mixer.set_epoch(4)
    drawn(mixer, 3)
    state = copy.deepcopy(mixer.state_dict())
    state.pop("rank", None)
    expected = drawn(mixer, 3)
    for other in (build(9), Mixup(num_classes=3), Mixup(num_classes=3, generator=torch.Generator())):
        other.load_state_dict(copy.deepcopy(state))
        assert drawn(other, 3) == expected
        assert other.stream.epoch == 4


def test_the_generator_of_another_rank_is_refused(monkeypatch):
    state = Mixup(num_classes=3, generator=torch.Generator()).state_dict()
    monkeypatch.setenv("RANK", "1")
    with pytest.raises(ValueError, match="generator that was passed on rank 0, and this is rank 1"):
        Mixup(num_classes=3).load_state_dict(state)


@pytest.mark.parametrize("duplicate", [copy.deepcopy, lambda value: pickle.loads(pickle.dumps(value))])
@pytest.mark.parametrize("options", [{"seed": 2}, {"generator": torch.Generator().manual_seed(2)}])
def test_copies_continue(duplicate, options):
    mixer = Mixup(num_classes=3, **options)
    drawn(mixer, 2)
    other = duplicate(mixer)
    assert drawn(mixer, 3) == drawn(other, 3)
    other.set_epoch(3)
    assert mixer.stream.epoch == 0


def test_a_switch_and_its_mixers_share_one_stream():
    def build():
        return Switch(num_classes=3, mixers=[Mixup(num_classes=3), "cutmix"], seed=4)

    mixer = build()
    before = drawn(mixer, 6)
    mixer.set_epoch(1)
    state = mixer.state_dict()
    expected = drawn(mixer, 6)
    other = build()
    other.load_state_dict(state)
    assert drawn(other, 6) == expected
    other.seed = 4
    other.set_epoch(0)
    assert drawn(other, 6) == before
    assert len(set(before + expected)) == 12


class Collate:
    """Where torchvision documents its CutMix and MixUp."""

    def __init__(self, mixer):
        self.mixer = mixer

    def __call__(self, items):
        x, y = default_collate(items)
        draw = self.mixer(x, y).draw
        worker = get_worker_info()
        return (worker.id if worker else -1), (None if draw is None else (draw.lam[0].item(), *draw.perm.tolist()))


# nothing but what is pickled reaches the workers of a server
def served(*values):
    return pytest.param(*values, True, "forkserver", marks=pytest.mark.xdist_group("processes"))


DATA = TensorDataset(torch.rand(48, 3, 4, 4), torch.arange(48) % 3)


def epochs(mixer, *, told=True, count=3, **loader):
    """What the workers draw in each epoch; the first epoch is not told, as loops often do not."""
    serve_processes()
    loader = DataLoader(DATA, batch_size=4, collate_fn=Collate(mixer), num_workers=2, **loader)
    found = []
    for epoch in range(count):
        if told:
            mixer.set_epoch(epoch)
        found.append(list(loader))
    return found


@pytest.mark.parametrize(
    ("passed", "persistent", "context"),
    [*itertools.product([False, True], [False, True], ["fork"]), served(False), served(True)],
)
def test_workers_draw_their_own_in_every_epoch(passed, persistent, context):
    source = {"generator": torch.Generator().manual_seed(3)} if passed else {"seed": 3}
    loader = {"persistent_workers": persistent, "multiprocessing_context": context, "told": False, "count": 2}

    def run():
        torch.manual_seed(5)  # the loader draws its own seed from there
        return epochs(Mixup(num_classes=3, **source), **loader)

    found = run()
    draws = [draw for epoch in found for _, draw in epoch]
    assert {worker for epoch in found for worker, _ in epoch} == {0, 1}
    assert len(set(draws)) == len({draw[0] for draw in draws}) == len(draws) == 24
    assert run() == found


@pytest.mark.parametrize(("persistent", "context"), [(False, "fork"), (True, "fork"), served()])
def test_the_epoch_reaches_workers(persistent, context):
    mixer = Mixup(num_classes=3, seed=3, active_epochs=(1, 2))
    found = epochs(mixer, persistent_workers=persistent, multiprocessing_context=context)
    assert [{draw is not None for _, draw in epoch} for epoch in found] == [{False}, {True}, {False}]


@pytest.mark.parametrize(
    "build",
    [
        lambda net: AlignMixup(net, layer="0", num_classes=3, carry_test=False),
        lambda net: PuzzleMix(net, num_classes=3, mean=(0.0,), std=(1.0,)),
        lambda net: Switch(net, num_classes=3, mixers=["cutmix", {"name": "alignmixup", "layer": "0"}]),
    ],
)
def test_a_method_that_needs_the_model_is_refused_in_a_worker(build):
    net = nn.Sequential(nn.Conv2d(3, 4, 1), nn.Flatten(), nn.Linear(64, 3))
    with pytest.raises(RuntimeError, match="the model that learns is not in this worker process of a DataLoader"):
        epochs(build(net), count=1)


def rank(rank, folder):
    os.environ["OMP_NUM_THREADS"] = "1"
    torch.set_num_threads(1)
    torch.manual_seed(0)
    early = {"mixup": Mixup(num_classes=3), "cutmix": CutMix(num_classes=3)}
    dist.init_process_group("gloo", init_method=f"file://{folder}/store", rank=rank, world_size=2)
    late = {"late": Mixup(num_classes=3, seed=8)}
    found = {name: drawn(mixer, 4) for name, mixer in {**early, **late}.items()}
    states = {name: mixer.state_dict() for name, mixer in {**early, **late}.items()}
    found["workers"] = [draw for epoch in epochs(early["mixup"], count=2) for _, draw in epoch]
    sent = [states["mixup"]]
    dist.broadcast_object_list(sent)  # a framework restores the checkpoint of rank 0 everywhere
    expected, resumed = drawn(Mixup(num_classes=3)), Mixup(num_classes=3)
    early["mixup"].load_state_dict(sent[0])
    expected = drawn(early["mixup"], 4)
    resumed.load_state_dict(sent[0])
    assert drawn(resumed, 4) == expected
    found["resumed"] = expected
    torch.save((found, states), f"{folder}/{rank}.pt")
    dist.destroy_process_group()


@pytest.mark.xdist_group("processes")
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_ranks_draw_their_own_whenever_a_mixer_was_built():
    with tempfile.TemporaryDirectory() as folder:
        in_two_processes(rank, folder)
        (first, states), (second, others) = (torch.load(f"{folder}/{number}.pt") for number in range(2))
    assert states == others
    for name in first:
        draws = [*first[name], *second[name]]
        assert len(set(draws)) == len(draws), name
    assert not set(first["resumed"]) & {*first["mixup"], *second["mixup"], *second["resumed"]}
