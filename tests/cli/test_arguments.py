"""From declared options to arguments and back; the list of keys in the help."""

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import get_args, get_origin

import pytest

from alignmixup.cli import build_parser
from alignmixup.cli.arguments import add_options, given, list_keys, load_networks
from alignmixup.cli.parser import CommandParser
from alignmixup.options import options_of
from alignmixup.runs.options.base import listed
from alignmixup.runs.options.evaluation import EvaluationOptions
from alignmixup.runs.options.localization import LocalizationProtocol
from alignmixup.runs.options.network import NetworkChoice
from alignmixup.runs.options.pictures import GalleryOptions, MatchOptions, MorphOptions
from alignmixup.training.config import TABLES
from alignmixup.training.config_file import ConfigError
from alignmixup.training.overrides import check_keys


def test_every_key_stands_with_its_default_and_its_help() -> None:
    text = list_keys()
    words = "".join(text.split())
    for name, cls in TABLES.items():
        assert f"[{name}]" in text
        for key, item in options_of(cls).items():
            if key != "options":
                assert f"{name}.{key}=" in text
                assert item.help
                assert "".join(item.help.split()) in words
    assert "optimizer.lr=0.05 " in text
    assert "optimizer.nesterov=false\n" in text
    assert "schedule.milestones=[]\n" in text
    assert "method.epsilon=0.1 " in text
    assert "model.width=64 " in text
    assert "entropicregularisation" in words
    assert "`alignmixupmethodsNAME`liststhoseoftheothers" in words


def test_a_parser_may_end_in_a_text_that_is_made_late() -> None:
    made: list[int] = []

    def ending() -> str:
        made.append(1)
        return "the keys\n"

    parser = CommandParser(prog="train")
    parser.ending = ending
    assert not made
    assert parser.format_help().endswith("\n\nthe keys\n")
    assert "the keys" not in CommandParser(prog="methods").format_help()


def test_a_key_that_is_not_open_is_named_with_those_that_are() -> None:
    check_keys(["data.root=x", " train.threads = 1"], ("data.root", "train.threads"), "open are {}")
    with pytest.raises(ConfigError, match=r"--set train.seed=1: open are data.root, train.threads"):
        check_keys(["data.root=x", "train.seed=1"], ("data.root", "train.threads"), "open are {}")


@pytest.mark.parametrize("way", ["absolute", "link", "same"])
def test_one_run_is_no_two_seeds(way: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("run").mkdir()
    Path("link").symlink_to("run")
    other = {"absolute": str(tmp_path / "run"), "link": "link", "same": "run"}[way]
    also = "" if way == "same" else f", also as {other}"
    options = build_parser().parse_args(["evaluate", "run", other])
    with pytest.raises(ConfigError, match=f"^run is given twice{also}: give it once"):
        load_networks(options, options.target)


def test_an_option_that_takes_several_may_be_repeated_and_loses_none() -> None:
    def asked(*arguments: str) -> EvaluationOptions:
        return EvaluationOptions(**given(build_parser().parse_args(["evaluate", "run", *arguments]), EvaluationOptions))

    repeated = [
        (name, item)
        for cls in (EvaluationOptions, GalleryOptions, NetworkChoice)
        for name, item in options_of(cls).items()
        if {Sequence, tuple} & {get_origin(kind) for kind in get_args(item.type)}
    ]
    assert {name for name, _ in repeated} == {
        *("what", "attack", "ood", "corruptions", "severities", "methods", "mean", "std"),
    }
    for cls in (EvaluationOptions, GalleryOptions, NetworkChoice):
        parser = CommandParser(prog="x")
        add_options(parser, cls)
        for name in {name for name, _ in repeated} & {*options_of(cls)}:
            found = getattr(parser.parse_args([f"--{name}", "1", f"--{name}", "2,3"]), name)
            assert listed(found if isinstance(found, str) else ",".join(found)) == ("1", "2", "3"), name
            assert getattr(parser.parse_args([]), name) == options_of(cls)[name].default
    assert asked("--ood", "a", "--what", "error", "--ood", "b") == EvaluationOptions(ood="a,b", what="error")
    assert asked("--severities", "1,2,3,4,5", "--severities", "5").severities == "1,2,3,4,5,5"
    assert asked() == EvaluationOptions()


def test_help_fits_the_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    (commands,) = [item.choices for item in build_parser()._actions if isinstance(item, argparse._SubParsersAction)]
    for name, command in commands.items():
        assert [line for line in command.format_help().splitlines() if len(line) > 80] == [], name


@pytest.mark.parametrize("asked", [EvaluationOptions, LocalizationProtocol, MatchOptions, MorphOptions, GalleryOptions])
def test_declared_options_are_arguments_and_come_back(asked: type) -> None:
    parser = CommandParser(prog="x")
    add_options(parser, asked)
    assert asked(**given(parser.parse_args([]), asked)) == asked()
    text = "".join(parser.format_help().split())
    for name, item in options_of(asked).items():
        assert f"--{name.replace('_', '-')}" in text
        assert item.help
        assert "".join(item.help.split()) in text


def test_arguments_have_the_types_of_their_options() -> None:
    parser = CommandParser(prog="x")
    add_options(parser, EvaluationOptions)
    options = parser.parse_args(["--attack", "fgsm", "--attack", "pgd", "--no-checks", "--bins=5", "--baseline=a"])
    asked = EvaluationOptions(**given(options, EvaluationOptions))
    assert (asked.attack, asked.checks, asked.bins, asked.baseline) == (["fgsm", "pgd"], False, 5, Path("a"))
