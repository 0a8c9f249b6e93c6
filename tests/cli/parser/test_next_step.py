"""What a command says is to be done next is a command that is understood."""

import argparse
import shlex
from pathlib import Path

import pytest

from alignmixup.cli import build_parser
from alignmixup.cli.parser import commands_of
from alignmixup.cli.parser.next_step import next_step

ENDS = {"report", "export", "benchmark", "completion"}  # behind which nothing usually comes
NAMED = {"target": ["run"], "model": "timm:resnet10t", "name": "cutmix", "out": Path("out"), "suggested": "alignmixup"}


@pytest.mark.parametrize("command", commands_of(build_parser()))
def test_the_next_step_is_a_command(command: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("run").mkdir()
    single = {"gallery", "align", "morph"}
    values = NAMED | {"trained": "run", "compared": "run"} | ({"target": "run"} if command in single else {})
    said = next_step(argparse.Namespace(command=command, **values))
    assert bool(said) == (command not in ENDS)
    if words := shlex.split(said)[1:]:
        assert build_parser().parse_args(words).command == words[0]


@pytest.mark.parametrize("opencv", [True, False])
def test_what_needs_opencv_is_said_where_there_is_one(opencv: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("alignmixup.cli.parser.next_step.find_spec", lambda name: name if opencv else None)
    said = next_step(argparse.Namespace(command="train", trained=Path("run")))
    assert said == "alignmixup evaluate run" + " --what error,calibration,corruptions" * opencv
