"""Shells complete what the parser knows."""

import shutil
import subprocess

import pytest

from alignmixup.cli import build_parser, main
from alignmixup.cli.parser import commands_of, options_of_parser


def script(shell: str, capsys: pytest.CaptureFixture[str]) -> str:
    assert main(["completion", shell]) == 0
    return capsys.readouterr().out


@pytest.mark.skipif(not shutil.which("bash"), reason="no bash: its script is not tried here")
@pytest.mark.parametrize(
    ("words", "wanted"),
    [
        (["tr"], {"train", "train-style"}),
        (["compare", "--see"], {"--seeds"}),
        (["train", "--config", "digits/cut"], {"digits/cutmix"}),
        (["train", "--resume", "--over"], {"--overwrite"}),
        (["completion", ""], {"bash", "zsh", "fish"}),
        (["align", "--device", "cu"], {"cuda"}),
        (["evaluate", "somewhere/"], set()),
    ],
)
def test_bash(words: list[str], wanted: set[str], capsys: pytest.CaptureFixture[str]) -> None:
    asked = " ".join(f"'{word}'" for word in ["alignmixup", *words])
    code = (
        f"{script('bash', capsys)}\nCOMP_WORDS=({asked}); COMP_CWORD={len(words)}; _alignmixup; "
        'printf "%s\\n" "${COMPREPLY[@]}"'
    )
    done = subprocess.run(["bash", "-c", code], capture_output=True, text=True, check=True)
    assert not done.stderr
    assert set(done.stdout.split()) == wanted


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_every_command_and_option_is_there(shell: str, capsys: pytest.CaptureFixture[str]) -> None:
    text = script(shell, capsys)
    for name, parser in commands_of(build_parser()).items():
        lines = [line for line in text.splitlines() if name in line]
        assert lines
        for action in options_of_parser(parser):
            for option in action.option_strings:
                assert any(option.lstrip("-") in line for line in lines), f"{name} {option}"
    if shutil.which(shell):
        subprocess.run([shell, "-n"], input=text, text=True, check=True)
