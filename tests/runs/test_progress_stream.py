"""Progress over a pipe."""

import io
from typing import Any

import pytest

from alignmixup.runs.progress_stream import StreamReporter, replay


class Recorder:
    def __init__(self) -> None:
        self.events: list[tuple[Any, ...]] = []

    def start(self, title: str, **values: int) -> None:
        self.events.append(("start", title, values))

    def step(self, **values: float) -> None:
        self.events.append(("step", values))

    def epoch(self, row: dict[str, Any]) -> None:
        self.events.append(("epoch", row))

    def close(self) -> None:
        self.events.append(("close",))


def tell(reporter: Any) -> None:
    reporter.start("mixup\nseed", epochs=3, batches=10, first_epoch=1)
    reporter.step(epoch=1, step=4, loss=0.25, images_per_second=1e3)
    reporter.epoch({"epoch": 1, "train_loss": 0.5, "error_percent": 12.5})
    reporter.close()


def test_what_is_written_is_told_again() -> None:
    direct, replayed, stream = Recorder(), Recorder(), io.StringIO()
    tell(direct)
    tell(StreamReporter(stream))
    lines = stream.getvalue().splitlines()
    assert len(lines) == 4
    assert all(replay(line, replayed) for line in lines)
    assert replayed.events == direct.events


@pytest.mark.parametrize("line", ["", "downloading 5 %", "3", "null", '{"loss": 1}', '["progress"]', "{"])
def test_other_lines_are_not_progress(line: str) -> None:
    recorder = Recorder()
    assert not replay(line, recorder)
    assert not recorder.events
