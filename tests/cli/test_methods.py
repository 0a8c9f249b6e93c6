"""``alignmixup methods``."""

import pytest

from alignmixup import methods
from alignmixup.cli import main


def test_lists_every_method_with_a_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["methods"]) == 0
    lines = capsys.readouterr().out.splitlines()
    for name in methods.available():
        (line,) = [line for line in lines if line.startswith(f"{name} ")]
        assert len(line) > len(name) + 20


def test_one_method_with_its_options_and_defaults(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["methods", "alignmixup"]) == 0
    out = capsys.readouterr().out
    table = out[out.index("option ") :].splitlines()
    rows = {line.split()[0]: line.split()[1] for line in table if line[0] != " "}  # others continue a meaning
    assert (rows["alpha"], rows["epsilon"], rows["multi_label"]) == ("2.0", "0.1", "false")
    papers = {line.split()[0]: line.split()[2] for line in table if line[0] != " "}
    assert (papers["tolerance"], papers["multi_label"]) == ("-", "-")


def test_unknown_method(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["methods", "cutmx"]) == 1
    assert "unknown method 'cutmx'; did you mean cutmix" in capsys.readouterr().err
