"""Names are taken whole, and what is not known gets the names like it."""

import argparse
import re

import pytest

from alignmixup import methods
from alignmixup.cli import build_parser, main
from alignmixup.cli.parser import commands_of, options_of_parser
from alignmixup.training.bundled import bundled_names

COMMANDS = commands_of(build_parser())
QUESTIONS = commands_of(COMMANDS["benchmark"])


@pytest.mark.parametrize("name", [name for name in (*COMMANDS, *QUESTIONS) if name != "benchmark"])
def test_no_option_is_taken_by_its_beginning(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Of every command: `--seed` must never be `--seeds`."""
    parser = COMMANDS.get(name) or QUESTIONS[name]
    command = [name] if name in COMMANDS else ["benchmark", name]
    known = [text for action in options_of_parser(parser) for text in action.option_strings if text.startswith("--")]
    assert not parser.allow_abbrev
    for option in known:
        short = option[:-1]
        if short in known or len(short) < 5:
            continue
        rest = parser.parse_known_args([short, *_needed(parser)])[1]
        assert short in rest, f"{name} {short} was taken for {option}"
        with pytest.raises(SystemExit, match="2"):
            main([*command, *_needed(parser), short])
        error = capsys.readouterr().err.splitlines()[-1]
        assert option in error or name in QUESTIONS


def _needed(parser: argparse.ArgumentParser) -> list[str]:
    wanted = [action for action in parser._actions if not action.option_strings and action.nargs in (None, "+")]
    required = [action for action in parser._actions if action.option_strings and action.required]
    flags = [text for action in required for text in (action.option_strings[0], "1")]
    return [str(next(iter(action.choices or ["x"]))) for action in wanted] + flags


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["trian"], "unknown 'trian'; did you mean train?"),
        (["train", "--epochs", "3"], "unknown option --epochs; did you mean --set train.epochs=3?"),
        (["train", "--epoch", "3"], "unknown option --epoch; did you mean --set train.epochs=3?"),
        (["train", "--batchsize=8"], "did you mean --set train.batch_size=8 "),
        (["train", "--batch-size=64"], "--set train.batch_size=64"),
        (["train", "--lr"], "--set optimizer.lr=VALUE"),
        (["train", "digits/cutmix"], "did you mean --config digits/cutmix?"),
        (["train", "src"], "did you mean --data src?"),
        (["train", "train.epochs=3"], "did you mean --set train.epochs=3?"),
        (["compare", "--seed", "3"], "unknown option --seed; did you mean --seeds"),
        (["train", "--zzzzz"], "`alignmixup train --help` lists those there are"),
        (["completion", "bsh"], "did you mean bash"),
        (["--verison"], "unknown"),
    ],
)
def test_what_is_not_known_gets_a_hint(arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        main(arguments)
    assert message in capsys.readouterr().err


@pytest.mark.parametrize("command", [["train", "--config", "nope"], ["configs", "nope"]])
def test_an_unknown_configuration_is_not_answered_with_all_of_them(
    command: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(command) == 1
    error = capsys.readouterr().err
    assert "`alignmixup configs` lists the" in error
    assert sum(name in error for name in bundled_names()) <= 3


def test_near_configurations(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["train", "--config", "digits/alignmixp"]) == 1
    assert "did you mean digits/alignmixup" in capsys.readouterr().err
    assert main(["train", "--config", "puzzlemix"]) == 1
    assert "cifar10/puzzlemix" in capsys.readouterr().err


@pytest.mark.parametrize("name", COMMANDS)
def test_help_has_no_markup(name: str) -> None:
    _no_markup(COMMANDS[name].format_help())


def test_texts_of_the_methods_have_no_markup(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["methods"]) == 0
    for name in methods.available():
        assert main(["methods", name]) == 0
    _no_markup(capsys.readouterr().out)


def _no_markup(text: str) -> None:
    assert not re.findall(r":[a-z]+:`|``", text)


def test_configurations_are_listed(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["configs"]) == 0
    out = capsys.readouterr().out
    assert all(f"{name} " in out for name in bundled_names())
    assert main(["configs", "cub/*/cutmix"]) == 0
    names = [line.split()[0] for line in capsys.readouterr().out.splitlines()[1:]]
    assert names == [name for name in bundled_names() if name.startswith("cub/") and name.endswith("/cutmix")]


def test_what_to_do_next_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["methods", "cutmix"]) == 0
    captured = capsys.readouterr()
    assert captured.err == "next: alignmixup train --config digits/cutmix\n"


@pytest.mark.parametrize("name", [*COMMANDS, *(f"benchmark {question}" for question in QUESTIONS)])
def test_no_empty_text_is_taken_for_the_current_folder(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Of every option and every argument: a variable of a script may not be set."""
    parser = COMMANDS.get(name) or QUESTIONS[name.partition(" ")[2]]
    for action in parser._actions:
        if action.nargs == 0 or action.default == "" or name == "benchmark":
            continue
        line = [action.option_strings[-1], ""] if action.option_strings else [""]
        if action.option_strings and action.nargs != "?":
            line = [*line, *_needed(parser)]
        with pytest.raises(SystemExit, match="2"):
            main([*name.split(), *line])
        error = capsys.readouterr().err.splitlines()[-1]
        assert "got an empty text" in error or "unknown ''" in error or "invalid" in error, error


def test_the_home_folder_is_meant_wherever_a_path_stands(monkeypatch: pytest.MonkeyPatch) -> None:
    """Shells leave `--out=~/runs` as it is, and a folder that is called ~ is nobody's wish."""
    monkeypatch.setenv("HOME", "/home/me")
    paths = ["--out=~/a", "--root=~/b", "--corruption-folder=~/c"]
    options = build_parser().parse_args(["evaluate", "run", *paths])
    assert list(map(str, (options.out, options.root, options.corruption_folder))) == [
        "/home/me/a",
        "/home/me/b",
        "/home/me/c",
    ]
    assert str(build_parser().parse_args(["report", "~/runs"]).runs[0]) == "/home/me/runs"
    assert str(build_parser().parse_args(["report", "~nobody-at-all/runs"]).runs[0]) == "~nobody-at-all/runs"
