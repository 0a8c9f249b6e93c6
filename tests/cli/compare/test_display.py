"""What a comparison shows."""

import io
import sys
from typing import Any

import pytest

from alignmixup.cli.compare.display import BarDisplay, LineDisplay, default_display


def tell(reporter: Any, *, first_epoch: int = 0) -> None:
    reporter.start("anything", epochs=4, batches=10, first_epoch=first_epoch)
    for epoch in range(first_epoch, 4):
        reporter.step(epoch=epoch, step=5, loss=0.5, images_per_second=100.0)
        row = {"epoch": epoch, "train_loss": 0.5, "error_percent": 12.0, "images_per_second": 100.0}
        reporter.epoch(row)
    reporter.close()


def test_lines_name_the_run_and_count_the_runs(capsys: pytest.CaptureFixture[str]) -> None:
    display = LineDisplay({"mixup-seed0": 4, "cutmix-seed0": 4}, total=5)
    tell(display.reporter("mixup-seed0"))
    display.ended("mixup-seed0", "error 12.00 %, 1.0 s")
    display.ended("cutmix-seed0", "failed: no such file")
    display.close()
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("mixup-seed0  epoch 1/4  loss 0.5000  error 12.00 %")
    assert lines[-2] == "[4/5] mixup-seed0: error 12.00 %, 1.0 s; 0:00 left for all"
    assert lines[-1].startswith("[5/5] cutmix-seed0: failed: no such file; ")


def test_time_left_counts_what_is_done_since_the_start(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 0.0
    monkeypatch.setattr("time.monotonic", lambda: now)
    display = LineDisplay({"a": 4, "b": 4}, total=2)
    reporter = display.reporter("a")
    reporter.start("", epochs=4, batches=10, first_epoch=2)  # continued: 2 + 4 epochs are to do
    now = 10.0
    reporter.step(epoch=2, step=5, loss=1.0, images_per_second=1.0)
    assert display.left == "1:50"  # half an epoch took 10 s, 5.5 are left
    now = 20.0
    reporter.step(epoch=3, step=0, loss=1.0, images_per_second=1.0)
    assert display.left == "1:40"


def test_bars_come_and_go(monkeypatch: pytest.MonkeyPatch) -> None:
    stream = io.StringIO()
    monkeypatch.setattr(sys, "stdout", stream)
    display = BarDisplay({"mixup-seed0": 4, "cutmix-seed0": 4}, total=2)
    reporter = display.reporter("mixup-seed0")
    reporter.start("", epochs=4, batches=10, first_epoch=0)
    reporter.step(epoch=1, step=5, loss=0.25, images_per_second=100.0)
    both, single = display.bars.tasks
    assert (single.description, single.completed, single.total) == ("mixup-seed0", 15, 40)
    assert "epoch 2/4  loss 0.2500" in single.fields["text"]
    assert (both.completed, both.total) == (1.5, 8)
    reporter.close()
    reporter.close()
    assert len(display.bars.tasks) == 1
    display.ended("mixup-seed0", "done")
    assert display.bars.tasks[0].fields["text"].startswith("1/2 runs")
    display.close()
    assert "[1/2] mixup-seed0: done" in stream.getvalue()


def test_lines_off_a_terminal() -> None:
    assert isinstance(default_display({}, total=0), LineDisplay)
