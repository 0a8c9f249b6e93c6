"""Fixtures shared by all tests."""

import os
import random
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch

from tests.torch_version import is_older

if TYPE_CHECKING:
    from torch import nn

    from alignmixup import Mixer
    from alignmixup.training.config import Config

os.environ.pop("COLUMNS", None)  # pytest-xdist gives its workers 80, and a pipe has as many as a table needs
GOLDEN = Path(__file__).parent / "golden"
STREAMS = (torch.Generator, random.Random, np.random.Generator)


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skip what an older torch cannot do, and say so; let tests that share a fixture of their module be of one group.

    Two xdist workers would both make that fixture.
    """
    for item in items:
        for first, lost in (marker.args for marker in item.iter_markers("needs_torch")):
            if is_older(first):
                item.add_marker(pytest.mark.skip(reason=f"torch {first} or newer: {lost}"))
        definitions = item._fixtureinfo.name2fixturedefs.values()  # type: ignore[attr-defined]
        shared = any(each.scope == "module" for found in definitions for each in found)
        if shared and item.get_closest_marker("xdist_group") is None:
            item.add_marker(pytest.mark.xdist_group(item.nodeid.partition("::")[0]))


@pytest.hookimpl(tryfirst=True)
def pytest_make_collect_report() -> None:
    """Let what a file draws while it is imported be the same each time, whatever was imported before."""
    _seed()


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup() -> None:
    """Let a test and its fixtures draw the same each time, alone or in any order."""
    _seed()


@pytest.fixture(autouse=True)
def autocast_is_left() -> Iterator[None]:
    """Whatever enters autocast leaves it: else steps under bf16 use the weights that they find in its cache."""
    yield
    depth = torch.autocast_increment_nesting() - 1
    while torch.autocast_decrement_nesting() > 0:
        pass
    torch.clear_autocast_cache()
    assert depth == 0, f"autocast entered {depth} times and not left"


@pytest.fixture(autouse=True)
def no_stream_is_shared(request: pytest.FixtureRequest) -> Iterator[None]:
    """No test draws from a generator of its file: what it draws would depend on which tests ran before it."""
    streams = {name: stream for name, stream in vars(request.module).items() if isinstance(stream, STREAMS)}
    before = {name: _state(stream) for name, stream in streams.items()}
    yield
    moved = [name for name, stream in streams.items() if _state(stream) != before[name]]
    assert not moved, f"{moved} of the file moved on; draw from torch's own stream, which each test finds seeded"


def _state(stream: Any) -> str:
    """What decides a stream's next draws."""
    if isinstance(stream, random.Random):
        return str(stream.getstate())
    return str(stream.get_state().tolist() if isinstance(stream, torch.Generator) else stream.bit_generator.state)


def _seed() -> None:
    torch.manual_seed(0)
    random.seed(0)
    np.random.seed(0)


@pytest.fixture
def golden() -> Callable[[str], dict[str, np.ndarray]]:
    """Load vectors made by running the published implementations, see tests/golden/README.md."""

    def load(name: str) -> dict[str, np.ndarray]:
        with np.load(GOLDEN / f"{name}.npz") as arrays:
            return dict(arrays)

    return load


@pytest.fixture
def digits_mixer() -> Callable[..., "Mixer"]:
    """Build a method with the options of its digits configuration, and changes to them."""
    from alignmixup import methods
    from alignmixup.training.config_file import load

    def build(name: str, model: "nn.Module", *, num_classes: int = 5, seed: int = 0, **changes: Any) -> "Mixer":
        options = dict(load(f"digits/{name}").method.options)
        known: dict[str, Any] = {"num_classes": num_classes, "mean": (0.5,), "std": (0.25,), "seed": seed}
        known["class_counts"] = (90, 10, 40, 30, 2)[:num_classes]
        return methods.build(name, model=model, **known, options={**options, **changes})

    return build


_CURVES: dict[str, bytes] = {}


@pytest.fixture
def curves_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """The first run draws its curves, the others copy them; a module that looks at them overrides this."""
    from alignmixup.runs import training

    draw = training.draw_curves

    def draw_once(record: dict[str, Any], path: Path) -> None:
        if path.suffix in _CURVES:
            path.write_bytes(_CURVES[path.suffix])
        else:
            draw(record, path)
            _CURVES[path.suffix] = path.read_bytes()

    monkeypatch.setattr(training, "draw_curves", draw_once)


@pytest.fixture
def small(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, curves_once: None) -> list[str]:
    """Arguments that make any digits configuration run in a second; the working directory is a fresh folder."""
    monkeypatch.chdir(tmp_path)
    keys = ["data.subset=6", "model.width=4", "model.strides=[2,2,1,1]", "train.epochs=2", "train.device=cpu"]
    return ["--set", *keys]


@pytest.fixture
def tiny_config(curves_once: None) -> Callable[..., "Config"]:
    """A run of about a second: 60 digits, width 4, three epochs; mixup in the input unless another method is named."""
    from alignmixup.training.config_file import load

    def make(*overrides: str, base: str = "digits/mixup") -> "Config":
        tiny = ["data.subset=6", "model.width=4", "model.strides=[2,2,1,1]", "train.epochs=3", "train.batch_size=16"]
        return load(base, [*tiny, "train.device=cpu", "data.validation=0.0", *overrides])

    return make
