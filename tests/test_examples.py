"""The examples run, and what they report is sensible."""

import json
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


@pytest.mark.parametrize("notebook", sorted(EXAMPLES.glob("notebooks/*.ipynb")), ids=lambda path: path.stem)
def test_the_notebooks_run(notebook, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MPLBACKEND", "agg")
    scope = {"__name__": "__main__"}
    cells = [cell for cell in json.loads(notebook.read_text())["cells"] if cell["cell_type"] == "code"]
    for cell in cells:
        assert not cell["outputs"], "clear the outputs: they are made by running it"
        exec(compile("".join(cell["source"]), str(notebook), "exec"), scope)
    assert cells
