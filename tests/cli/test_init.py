"""The command line as a whole: help, exit status, errors on one line."""

import subprocess
import sys
import time

import pytest

from alignmixup import __version__
from alignmixup.cli import _said, main


def test_help_is_quick_and_imports_no_torch() -> None:
    code = (
        "import sys\nfrom alignmixup.cli import main\n"
        "try:\n    main(['--help'])\nexcept SystemExit:\n    print('torch' in sys.modules)"
    )
    begin = time.perf_counter()
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert time.perf_counter() - begin < 5  # 0.2 s on a quiet machine
    assert done.stdout.endswith("False\n")
    for command in ("train", "compare", "evaluate", "methods"):
        assert f"    {command}" in done.stdout


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["--version"])
    assert capsys.readouterr().out.strip() == f"alignmixup {__version__}"


def test_no_command_prints_the_help(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([]) == 2
    assert "usage: alignmixup" in capsys.readouterr().out


def test_errors_are_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["train", "--config", "digits/cutmx"]) == 1
    captured = capsys.readouterr().err
    assert captured.startswith("alignmixup train: no configuration file digits/cutmx; did you mean")
    assert captured.count("\n") == 1


def test_traceback_on_request() -> None:
    with pytest.raises(FileNotFoundError):
        main(["train", "--config", "digits/cutmx", "--traceback"])


def test_module_runs() -> None:
    done = subprocess.run([sys.executable, "-m", "alignmixup", "--version"], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == f"alignmixup {__version__}"


def test_a_reader_that_ends_early_is_no_error() -> None:
    code = "import sys; from alignmixup.cli import main; sys.stdin.read(); sys.exit(main(['methods', 'cutmix']))"
    with subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdin
        assert process.stdout
        assert process.stderr
        process.stdout.close()
        process.stdin.close()
        said = process.stderr.read()
    assert "pipe" not in said.lower()


def test_an_error_of_the_system_names_its_file_first() -> None:
    assert _said(FileExistsError(17, "File exists", "a.txt")) == "a.txt: File exists"
    assert str(_said(OSError("cannot write a.txt: it is full"))) == "cannot write a.txt: it is full"
