"""Lines and bar."""

from typing import Any

import pytest

from alignmixup.training.progress.display import (
    BarReporter,
    LineReporter,
    Reporter,
    TimeLeft,
    default_reporter,
)


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
