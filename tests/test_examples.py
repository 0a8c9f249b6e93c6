"""The examples run, and what they report is sensible."""

import json
import runpy
import subprocess
from pathlib import Path

import pytest
import yaml

from alignmixup.cli import build_parser

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


def test_the_cluster_examples_are_well_formed_and_continue_what_was_stopped():
    script = EXAMPLES / "cluster" / "train.sbatch"
    subprocess.run(["bash", "-n", str(script)], check=True)
    assert "train --resume" in script.read_text()
    job = yaml.safe_load((EXAMPLES / "cluster" / "job.yaml").read_text())
    assert (job["apiVersion"], job["kind"]) == ("batch/v1", "Job")
    pod = job["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    words = [*container["command"], *container["args"]]
    options = build_parser().parse_args(words[words.index("alignmixup") + 1 :])
    assert options.resume
    assert {mount["name"] for mount in container["volumeMounts"]} == {volume["name"] for volume in pod["volumes"]}


def test_the_slurm_example_passes_a_signal_on_and_has_a_stopped_job_queued_again(tmp_path):
    tools = {
        "scontrol": 'if [ "$1" = show ]; then echo localhost; else echo "$@" >> scontrol.log; fi',
        "srun": 'trap "sleep 0.2; exit 130" TERM; touch begun; for i in $(seq 600); do sleep 0.1; done',
    }
    for name, body in tools.items():
        (tmp_path / name).write_text(f"#!/bin/bash\n{body}\n")
        (tmp_path / name).chmod(0o755)
    script = 'PATH="$PWD:$PATH" SLURM_JOB_ID=7 SLURM_JOB_NODELIST=n exec bash "$0"'
    process = subprocess.Popen(["bash", "-c", script, str(EXAMPLES / "cluster" / "train.sbatch")], cwd=tmp_path)
    try:
        while not (tmp_path / "begun").exists():
            assert process.poll() is None
        process.terminate()
        assert process.wait(timeout=60) == 130
    finally:
        process.kill()
    assert (tmp_path / "scontrol.log").read_text() == "requeue 7\n"
