"""One run of a comparison, as the process that does it."""

import io
import json
from pathlib import Path

import pytest

from alignmixup.runs.child import main
from alignmixup.runs.scheduler import INTERRUPTED
from alignmixup.training.config_file import dump, load
from alignmixup.training.trainer import Trainer


@pytest.fixture
def standard_input(small: list[str], monkeypatch: pytest.MonkeyPatch) -> str:
    text = dump(load("digits/mixup", small[1:]))
    monkeypatch.setattr("sys.stdin", io.StringIO(text))
    return text


def test_trains_as_it_is_told_and_says_how_far_it_is(standard_input: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main("run", "resume") == 0
    events = [json.loads(line)["progress"] for line in capsys.readouterr().out.splitlines()]
    assert (events[0], events[-1], events.count("epoch")) == ("start", "close", 2)
    assert Path("run/config.toml").read_text() == standard_input
    assert json.loads(Path("run/record.json").read_text())["finished"]
    assert Path("run/curves.png").is_file()


def test_says_that_it_was_interrupted(standard_input: str, monkeypatch: pytest.MonkeyPatch) -> None:
    step = Trainer._train_step

    def stopping(self: Trainer, *batch: object) -> bool:
        self.stop_requested = True
        return step(self, *batch)  # type: ignore[arg-type]

    monkeypatch.setattr(Trainer, "_train_step", stopping)
    assert main("run", "resume") == INTERRUPTED
    assert Path("run/checkpoint.pt").is_file()
