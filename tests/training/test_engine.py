"""Device, precision and a single process; several processes are in tests/training/test_distributed.py."""

from contextlib import closing

import pytest
import torch
from torch import nn

from alignmixup.models import PreActResNet18
from alignmixup.training import engine as engine_module
from alignmixup.training.config import TrainConfig
from alignmixup.training.engine import Engine, choose_device, usable_threads


def test_auto_takes_the_best_device(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    assert choose_device("auto") == torch.device("cpu")
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: True)
    assert choose_device("auto") == torch.device("mps")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    assert choose_device("auto", local_rank=1) == torch.device("cuda", 1)
    with pytest.raises(ValueError, match="process 2 has no GPU of its own: this machine has 2"):
        choose_device("cuda", local_rank=2)


def test_absent_device_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(ValueError, match=r'train.device = "cuda" is not available on this machine; found: .*cpu'):
        choose_device("cuda")


@pytest.mark.parametrize(("precision", "dtype"), [("fp32", torch.float32), ("bf16", torch.bfloat16)])
def test_autocast(precision: str, dtype: torch.dtype) -> None:
    engine = Engine(TrainConfig(device="cpu", precision=precision))
    with engine.autocast():
        assert nn.Linear(2, 2)(torch.zeros(1, 2)).dtype == dtype
    engine.close()


def test_fp16_scales_the_loss_and_steps_unscaled() -> None:
    engine = Engine(TrainConfig(device="cpu", precision="fp16"))
    weight = nn.Parameter(torch.tensor(1.0))
    optimizer = torch.optim.SGD([weight], lr=0.5)
    engine.backward(2 * weight)
    assert weight.grad is not None
    assert weight.grad.item() > 1000
    engine.update(optimizer)
    assert weight.item() == pytest.approx(1.0 - 0.5 * 2.0)
    assert weight.grad is None
    engine.close()


def test_clipping_bounds_the_norm() -> None:
    engine = Engine(TrainConfig(device="cpu", clip_norm=1.0))
    weight = nn.Parameter(torch.zeros(2))
    optimizer = torch.optim.SGD([weight], lr=1.0)
    engine.backward((torch.tensor([30.0, 40.0]) * weight).sum())
    engine.update(optimizer)
    torch.testing.assert_close(weight.detach(), torch.tensor([-0.6, -0.8]), rtol=1e-4, atol=1e-6)
    engine.close()


def test_channels_last_changes_the_layout() -> None:
    engine = Engine(TrainConfig(device="cpu", channels_last=True))
    weight = engine.place(nn.Conv2d(3, 4, 3)).weight
    assert weight.is_contiguous(memory_format=torch.channels_last)
    engine.close()


def test_channels_last_refuses_what_the_cpu_library_computes_out_of_bounds() -> None:
    narrow = nn.Sequential(nn.Conv2d(3, 8, 3), nn.Conv2d(8, 16, 1, stride=2))
    with closing(Engine(TrainConfig(device="cpu", channels_last=True))) as engine:
        with pytest.raises(
            ValueError, match=r"train.channels_last = true: 1 is a strided 1x1 convolution of fewer than 16"
        ):
            engine.place(narrow)
        engine.place(nn.Conv2d(16, 32, 1, stride=2))
        engine.place(nn.Conv2d(8, 16, 1))
        engine.place(PreActResNet18(10, width=4))
    with closing(Engine(TrainConfig(device="cpu"))) as engine:
        engine.place(narrow)


def test_threads_are_set_and_restored() -> None:
    before = torch.get_num_threads()
    engine = Engine(TrainConfig(device="cpu", threads=1))
    assert torch.get_num_threads() == 1
    engine.close()
    assert torch.get_num_threads() == before


def test_an_engine_that_cannot_start_leaves_the_process_as_it_was(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object, **__: object) -> str:
        raise KeyboardInterrupt

    monkeypatch.setattr(engine_module, "choose_precision", fail)
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    with pytest.raises(KeyboardInterrupt):
        Engine(TrainConfig(device="cpu", threads=1))
    threads = torch.get_num_threads()
    torch.set_num_threads(before)
    assert threads == 2


def test_the_random_stream_of_the_process_goes_on_behind_a_run() -> None:
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    with closing(Engine(TrainConfig(device="cpu"))):
        torch.manual_seed(0)
        torch.rand(7)
    assert torch.equal(torch.rand(3), expected)


def test_more_threads_than_cores_are_not_taken(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("os.sched_getaffinity", lambda process: {0, 1}, raising=False)
    assert [usable_threads("train.threads", count) for count in (0, 1, 2)] == [0, 1, 2]
    assert not caplog.messages
    with closing(Engine(TrainConfig(device="cpu", threads=64))):
        assert torch.get_num_threads() == 2
    assert caplog.messages == ["train.threads = 64, and this process has 2 cores: it takes 2 threads"]
    with pytest.raises(ValueError, match=r"train.threads must be in \[0, 1024\], got 100000"):
        TrainConfig(threads=100_000)


def test_random_state_round_trip() -> None:
    engine = Engine(TrainConfig(device="cpu"))
    state = engine.random_state()
    first = torch.rand(3)
    engine.restore_random_state(state)
    assert torch.equal(torch.rand(3), first)
    engine.close()


def test_one_process_needs_no_group() -> None:
    engine = Engine(TrainConfig(device="cpu"))
    model = nn.Linear(1, 1)
    assert engine.group.is_main
    assert engine.wrap(model) is model
    assert engine.group.gather("x") == ["x"]
    assert engine.group.sum_over_ranks(torch.tensor(2.0)).item() == 2.0
    engine.group.share_buffers([model])
    with engine.group.main_first(), engine.gradients(reduced=False):
        engine.group.wait()
    engine.close()


def test_extra_parameters_without_a_gradient_count_as_zero() -> None:
    engine = Engine(TrainConfig(device="cpu"))
    weight, other = nn.Parameter(torch.ones(2)), nn.Parameter(torch.ones(2))
    optimizer = torch.optim.SGD([weight, other], lr=1.0, weight_decay=0.1)
    engine.backward(weight.sum())
    engine.update(optimizer, extra_parameters=[other])
    torch.testing.assert_close(weight.detach(), torch.full((2,), -0.1))
    torch.testing.assert_close(other.detach(), torch.full((2,), 0.9))
    assert other.grad is None
    engine.close()
