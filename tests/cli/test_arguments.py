"""The list of keys in the help."""

import pytest

from alignmixup.cli.arguments import CommandParser, list_keys
from alignmixup.options import options_of
from alignmixup.training.config import TABLES
from alignmixup.training.config_file import ConfigError, check_keys


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
