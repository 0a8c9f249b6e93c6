"""Lines, bars and the numbers that they show."""

import os
import shutil
import sys
from typing import Any

import pytest
import torch

from alignmixup.cli.compare.display import BarDisplay, default_display
from alignmixup.training.progress import images as evaluate_progress
from alignmixup.training.progress.display import (
    BarReporter,
    LineReporter,
    Reporter,
    TimeLeft,
    default_reporter,
)
from alignmixup.training.progress.images import image_progress
from alignmixup.training.progress.readback import Readback


def row(epoch: int, **more: float) -> dict[str, Any]:
    return {"epoch": epoch, "train_loss": 0.25, "images_per_second": 100.0, **more}


def drive(reporter: Reporter) -> None:
    reporter.start("run", epochs=3, batches=4, first_epoch=0)
    for epoch in range(3):
        reporter.step(epoch=epoch, step=2, loss=0.5, images_per_second=100.0)
        reporter.epoch(row(epoch, **({"error_percent": 12.345} if epoch else {})))
    reporter.close()


def test_lines_come_first_and_last_and_rarely_between(capsys: pytest.CaptureFixture[str]) -> None:
    drive(LineReporter(seconds=1000))
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 2
    assert lines[0].startswith("run  epoch 1/3  loss 0.2500  100 images/s")
    assert "epoch 3/3  loss 0.2500  error 12.35 %" in lines[1]


def test_bar_survives_a_run_and_leaves_the_screen_clean(capsys: pytest.CaptureFixture[str]) -> None:
    drive(BarReporter())
    assert "epoch 3/3" not in capsys.readouterr().out.splitlines()[-1:]


def test_silence(capsys: pytest.CaptureFixture[str]) -> None:
    drive(Reporter())
    assert capsys.readouterr().out == ""


def test_choice() -> None:
    assert type(default_reporter(is_main=False)) is Reporter
    assert isinstance(default_reporter(), LineReporter)  # pytest's stdout is no terminal


def test_time_left_is_proportional(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = iter([0.0, 60.0, 3600.0])
    monkeypatch.setattr("alignmixup.training.progress.display.time.monotonic", lambda: next(clock))
    left = TimeLeft()
    left.start(10)
    assert left.after(10) == "?"
    assert left.after(8) == "4:00"
    assert left.after(5) == "1:00:00"


def test_lines_that_say_how_far(monkeypatch, capsys):
    monkeypatch.setattr(evaluate_progress, "_SECONDS", 0.0)
    with image_progress("attack", images=100) as advance:
        advance(40)
        advance(60)
    out = capsys.readouterr().out.splitlines()
    assert out[0].startswith("attack  40/100 images  0:00 left")
    assert out[1].startswith("attack  100/100 images")


def test_what_is_quick_says_nothing(capsys):
    with image_progress("attack", images=100) as advance:
        advance(100)
    assert capsys.readouterr().out == ""


def test_a_bar_on_a_terminal(monkeypatch):
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True, raising=False)
    with image_progress("attack", images=10) as advance:
        advance(10)
    with pytest.raises(KeyError), image_progress("attack", images=10):
        raise KeyError


def test_the_cpu_answers_at_once():
    readback = Readback(torch.device("cpu"))
    assert readback.exchange(torch.tensor(1.5)) == 1.5
    assert readback.exchange(torch.tensor(2.5)) == 2.5


class LateEvent:
    """Stands for a CUDA event: done when told so."""

    def __init__(self) -> None:
        self.done = False

    def query(self) -> bool:
        return self.done

    def record(self) -> None:
        self.done = False


def test_a_device_answers_with_the_number_before_and_never_waits():
    readback = Readback(torch.device("cpu"))
    readback._event = event = LateEvent()
    assert readback.exchange(torch.tensor(1.0)) is None  # nothing was handed in before
    assert readback.exchange(torch.tensor(2.0)) is None  # 1 is still on its way; 2 is not looked at
    event.done = True
    assert readback.exchange(torch.tensor(3.0)) == 1.0
    event.done = True
    assert readback.exchange(torch.tensor(4.0)) == 3.0


@pytest.mark.gpu
def test_nothing_waits_on_a_gpu():
    readback = Readback(torch.device("cuda"))
    torch.cuda.set_sync_debug_mode("error")
    try:
        values = [readback.exchange(torch.full((), float(i), device="cuda")) for i in range(2000)]
    finally:
        torch.cuda.set_sync_debug_mode("default")
    arrived = [value for value in values if value is not None]
    assert arrived == sorted(arrived)
    assert arrived


@pytest.mark.parametrize("width", [40, 60, 80, 120, 200])
def test_a_bar_is_no_wider_than_the_terminal_and_cuts_no_number(monkeypatch, width):
    monkeypatch.setenv("COLUMNS", str(width))
    monkeypatch.setattr(shutil, "get_terminal_size", lambda *_: os.terminal_size((width, 24)))
    reporter = BarReporter()
    reporter.start("alignmixup-seed0", epochs=100, batches=4, first_epoch=0)
    reporter._error = "error 12.34 %"
    reporter.step(epoch=20, step=2, loss=0.5, images_per_second=12345.0)
    text = reporter._bars.tasks[0].fields["text"]
    bar = max(0, min(24, width // 8))
    assert len("alignmixup-seed0") + 1 + bar + 1 + len(text) <= width
    assert text.startswith("epoch 21/100")
    parts = ("epoch 21/100", "0:00 left", "error 12.34 %", "loss 0.5000", "12345 images/s")
    assert set(text.split("  ")) <= set(parts)
    if width >= 120:
        assert text == "  ".join(parts)
    reporter.close()


def test_a_dumb_terminal_gets_plain_lines(monkeypatch):
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True, raising=False)
    monkeypatch.setenv("TERM", "dumb")
    assert isinstance(default_reporter(), LineReporter)
    assert not isinstance(default_display({"a": 1}, total=1), BarDisplay)
    monkeypatch.setenv("TERM", "xterm")
    assert isinstance(default_reporter(), BarReporter)
