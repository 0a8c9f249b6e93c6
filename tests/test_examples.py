"""The examples run, and what they report is sensible."""

import runpy
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).parents[1] / "examples"


def load(name):
    path = EXAMPLES / f"{name}.py"
    assert len(path.read_text().splitlines()) <= 60
    return runpy.run_path(str(path))["main"]


def test_own_loop_learns_the_digits():
    assert load("own_loop")(epochs=6) < 0.12


@pytest.mark.parametrize(("name", "options"), [("torchvision_model", {"backend": "aot_eager"}), ("timm_loop", {})])
def test_the_loops_run(name, options):
    losses = load(name)(steps=2, **options)
    assert len(losses) == 2
    assert all(0 < loss < 20 for loss in losses)
