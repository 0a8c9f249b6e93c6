"""The examples run, and what they report is sensible."""

import contextlib
import json
import os
import re
import runpy
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
import yaml

from alignmixup.cli import build_parser

EXAMPLES = Path(__file__).parents[1] / "examples"


def load(name):
    path = EXAMPLES / f"{name}.py"
    assert len(path.read_text(encoding="utf-8").splitlines()) <= 60
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
    cells = [cell for cell in json.loads(notebook.read_text(encoding="utf-8"))["cells"] if cell["cell_type"] == "code"]
    for cell in cells:
        assert not cell["outputs"], "clear the outputs: they are made by running it"
        exec(compile("".join(cell["source"]), str(notebook), "exec"), scope)
    assert cells


def test_the_cluster_examples_are_well_formed_and_continue_what_was_stopped():
    script = EXAMPLES / "cluster" / "train.sbatch"
    subprocess.run(["bash", "-n", str(script)], check=True)
    assert "train --resume" in script.read_text(encoding="utf-8")
    job = yaml.safe_load((EXAMPLES / "cluster" / "job.yaml").read_text(encoding="utf-8"))
    assert (job["apiVersion"], job["kind"]) == ("batch/v1", "Job")
    pod = job["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    words = [*container["command"], *container["args"]]
    options = build_parser().parse_args(words[words.index("alignmixup") + 1 :])
    assert options.resume
    assert {mount["name"] for mount in container["volumeMounts"]} == {volume["name"] for volume in pod["volumes"]}


# of Slurm's manual pages: what each option of the example takes
SBATCH = {
    **{
        "job-name": r"\w+",
        "nodes": r"\d+",
        "ntasks-per-node": r"\d+",
        "gpus-per-node": r"\d+",
        "cpus-per-task": r"\d+",
    },
    **{
        "time": r"\d+:\d\d:\d\d",
        "requeue": "",
        "open-mode": "append|truncate",
        "signal": r"R?B?:?(TERM|USR1)(@\d{1,5})?",
    },
}


def test_the_slurm_example_asks_for_what_slurm_knows():
    text = (EXAMPLES / "cluster" / "train.sbatch").read_text(encoding="utf-8")
    flags = dict(re.findall(r"^#SBATCH --([\w-]+)=?(.*)$", text, re.MULTILINE))
    assert len(flags) == text.count("#SBATCH")
    assert text.index("#SBATCH") < text.index("MASTER_ADDR=")  # later ones are not read
    assert all(re.fullmatch(SBATCH[name], value) for name, value in flags.items())
    assert {"requeue", "open-mode", "signal"} <= flags.keys()
    assert int(flags["signal"].partition("@")[2]) >= 60 + 32  # Slurm may be a minute early or late; and a save
    assert re.findall(r"^srun (\S+)", text, re.MULTILINE) == ["--kill-on-bad-exit=1"]


SRUN = """#!PYTHON
import os, signal, subprocess, sys

words = [word for word in sys.argv[1:] if not word.startswith("--kill")]
tasks = []
for number in (signal.SIGTERM, signal.SIGUSR1):  # as srun does
    signal.signal(number, lambda number, _: [task.send_signal(number) for task in tasks])
for rank in map(str, range(2)):
    places = {"SLURM_PROCID": rank, "SLURM_LOCALID": rank, "SLURM_NTASKS": "2", "SLURM_NTASKS_PER_NODE": "2"}
    tasks.append(subprocess.Popen(words, env=os.environ | places))
open("tasks", "w").write(" ".join(str(task.pid) for task in tasks))
sys.exit(max(task.wait() for task in tasks))
"""
SLOW_NET = """
import pathlib, time
from torch import nn

class Slow(nn.Linear):
    def forward(self, x):
        if self.training:
            time.sleep(0.3)
            pathlib.Path("begun").touch()
        return super().forward(x.flatten(1))

def net(num_classes):
    return Slow(64, num_classes)
"""


def free_number():
    """Number of a job whose port, by which its processes meet, is free."""
    for number in range(os.getpid() % 19000, 20000):
        with contextlib.suppress(OSError), socket.socket() as place:
            place.bind(("127.0.0.1", 20000 + number))
            return number
    raise OSError("no port is free")


@pytest.mark.slow  # four starts take 40 s of a core, three quarters of them imports
@pytest.mark.timeout(900)
@pytest.mark.parametrize(
    ("told", "number"), [("shell", signal.SIGTERM), ("tasks", signal.SIGTERM), ("tasks", signal.SIGUSR1)]
)
def test_a_slurm_job_that_is_told_to_stop_saves_and_goes_on_when_it_is_queued_again(tmp_path, told, number):
    """At its time limit the shell is told (--signal=B:TERM); when it is preempted, each process of its steps is."""
    script = {"scontrol": '#!/bin/bash\nif [ "$1" = show ]; then echo localhost; else echo "$@" >> scontrol.log; fi\n'}
    for name, text in {**script, "srun": SRUN.replace("PYTHON", sys.executable)}.items():
        (tmp_path / name).write_text(text)
        (tmp_path / name).chmod(0o755)
    (tmp_path / "slow_net.py").write_text(SLOW_NET)
    job = {"SLURM_JOB_ID": str(free_number()), "SLURM_JOB_NODELIST": "n", "OMP_NUM_THREADS": "1"}
    path = os.pathsep.join([str(tmp_path), str(Path(sys.executable).parent), os.environ["PATH"]])
    keys = ["data.subset=4", "model.name=slow_net:net", "method.name=baseline", "train.epochs=1", "train.batch_size=1"]
    command = [
        "bash",
        str(EXAMPLES / "cluster" / "train.sbatch"),
        "--config",
        "digits/baseline",
        "--out",
        "run",
        "--set",
    ]
    command += [*keys, "train.device=cpu"]

    @contextlib.contextmanager
    def started():
        options = {"env": {**os.environ, **job, "PATH": path}, "stderr": subprocess.PIPE, "text": True}
        process = subprocess.Popen(command, cwd=tmp_path, start_new_session=True, **options)
        try:
            yield process
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()

    with started() as process:
        while not (tmp_path / "begun").exists():
            assert process.poll() is None, process.communicate()[1]
            time.sleep(0.05)
        if told == "shell":
            process.send_signal(number)
        else:
            for task in (tmp_path / "tasks").read_text(encoding="utf-8").split():
                os.kill(int(task), number)
        said = process.communicate()[1]
        assert process.returncode == 130, said
    assert said.count("everything is saved") == 1, said
    assert (tmp_path / "run" / "checkpoint.pt").is_file()
    assert not (tmp_path / "run" / "record.json").exists()
    requeued = (tmp_path / "scontrol.log").read_text(encoding="utf-8") if (tmp_path / "scontrol.log").exists() else ""
    assert requeued == (f"requeue {job['SLURM_JOB_ID']}\n" if told == "shell" else "")  # a preempted one Slurm requeues
    with started() as process:
        said = process.communicate()[1]
        assert process.returncode == 0, said
    assert (tmp_path / "run" / "record.json").is_file()


@pytest.mark.parametrize("when", ["before the step", "in the step"])
def test_the_slurm_example_passes_a_signal_on_and_has_a_stopped_job_queued_again(tmp_path, when):
    """At any time: a signal that comes before there is a trap would end the job for good."""
    early = "touch begun; sleep 1;" if when == "before the step" else ""
    tools = {
        "scontrol": f'if [ "$1" = show ]; then {early} echo localhost; else echo "$@" >> scontrol.log; fi',
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
        assert process.wait(timeout=60) in (130, 128 + signal.SIGTERM)  # saved, or not yet begun
    finally:
        process.kill()
    assert (tmp_path / "scontrol.log").read_text(encoding="utf-8") == "requeue 7\n"
