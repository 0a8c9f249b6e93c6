"""The functions of `alignmixup.runs`: an argument of another kind is refused in one sentence that names it."""

import inspect
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from alignmixup import runs
from alignmixup.runs import pictures
from alignmixup.runs.options.base import ARGUMENTS

FUNCTIONS: dict[str, Callable[..., Any]] = {name: getattr(runs, name) for name in runs.__all__ if name != "Run"}
OF_A_RUN = {
    name: function
    for name, function in {**FUNCTIONS, **vars(pictures)}.items()
    if inspect.isfunction(function)
    and name != "as_run"
    and "run" in inspect.signature(function).parameters
    and not name.startswith("_")
}
GOOD = {"target": "nowhere", "config": "digits/mixup", "configs": ["digits/mixup"], "run": "nowhere", "out": "x.png"}
WRONG: dict[str, list[Any]] = {name: [3.5, object()] for name in ARGUMENTS}
WRONG |= {name: ["digits/mixup", 3, [3]] for name in ("configs", "overrides", "sweeps", "on")}
WRONG |= {"seeds": ["3", 1.5, None, True, 0], "jobs": ["2", 1.5, 0], "overwrite": ["yes", 1], "command": [3]}
WRONG |= {"mode": ["resum", 3], "figures": ["gif", 3]}
CASES = [
    (name, parameter, value)
    for name, function in FUNCTIONS.items()
    for parameter in inspect.signature(function).parameters
    if parameter in WRONG
    for value in WRONG[parameter]
]


def given(function: Callable[..., Any]) -> dict[str, Any]:
    needed = [name for name, one in inspect.signature(function).parameters.items() if one.default is one.empty]
    return {name: GOOD[name] for name in needed if name in GOOD}


def test_every_argument_has_its_kind() -> None:
    for name, function in FUNCTIONS.items():
        named = {key for key, one in inspect.signature(function).parameters.items() if one.kind is not one.VAR_KEYWORD}
        assert named <= {*ARGUMENTS, "run"}, name


@pytest.mark.parametrize(("name", "parameter", "value"), CASES)
def test_another_kind_is_refused_by_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, parameter: str, value: Any
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises((TypeError, ValueError), match=rf"^(every element of |--)?{parameter} must be ") as refusal:
        FUNCTIONS[name](**given(FUNCTIONS[name]) | {parameter: value})
    assert "\n" not in str(refusal.value)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", OF_A_RUN)
def test_what_takes_a_run_takes_its_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.chdir(tmp_path)
    function = OF_A_RUN[name]
    with pytest.raises(ValueError, match="nowhere is no run folder"):
        function(**given(function))
    with pytest.raises(ValueError, match="nowhere is no run folder"):
        function(**given(function) | {"run": Path("nowhere")})
    for value in (3, None, ["nowhere"]):
        with pytest.raises(TypeError, match="run must be a run folder, or what"):
            function(**given(function) | {"run": value})


@pytest.mark.parametrize("name", [name for name in OF_A_RUN if name.startswith("picture_")])
@pytest.mark.parametrize("out", [None, "", 3])
def test_a_picture_needs_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, out: Any) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises((TypeError, ValueError), match=r"^out must be a text or a Path|^--out '' names no file"):
        OF_A_RUN[name](**given(OF_A_RUN[name]) | {"out": out})


def test_a_folder_is_measured_as_its_run(small: list[str], tmp_path: Path) -> None:
    runs.train("digits/mixup", tmp_path / "run", overrides=small[1:])
    numbers = runs.evaluate(tmp_path / "run", what="error")
    assert numbers["error_percent"] == runs.evaluate(runs.load(tmp_path / "run"), what="error")["error_percent"]
