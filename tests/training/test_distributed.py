"""Two gloo processes under torchrun: one model, all images evaluated once, files written by rank 0, resumable."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from alignmixup.records import read_record
from alignmixup.runs.folder import RunFolder
from alignmixup.training import checkpoint

KEYS = [
    "data.subset=6",
    "model.width=4",
    "model.strides=[2,2,1,1]",
    "train.epochs=2",
    "train.device=cpu",
    "train.threads=1",
    "method.name=manifold_mixup",
    "train.ema_decay=0.5",
]


def torchrun(
    folder: Path, *arguments: str, processes: int = 2, base: str = "mixup"
) -> subprocess.CompletedProcess[str]:
    command = [
        sys.executable, "-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={processes}",
        "-m", "alignmixup", "train", "--config", f"digits/{base}", "--out", str(folder), *arguments,
    ]  # fmt: skip
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    return subprocess.run(command, capture_output=True, text=True, timeout=240, env=environment, check=False)


@pytest.mark.slow
def test_two_processes_train_one_model(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path / "two")
    done = torchrun(folder.path, "--set", *KEYS, "train.batch_size=8")
    assert done.returncode == 0, done.stderr
    record = read_record(folder.record)
    assert (record["effective_batch_size"], record["environment"]["processes"]) == (16, 2)
    assert record["curve"][0]["images"] == 60
    assert (folder.path / "curves.png").is_file()
    assert done.stdout.count("epoch 2/2") == 1

    # One process reads the same folder and finds the same error: ranks evaluated rank 0's network, each image once.
    from alignmixup.cli import main

    assert main(["evaluate", str(folder.path), "--set", "train.device=cpu"]) == 0
    evaluated = json.loads((folder.path / "evaluation.json").read_text(encoding="utf-8"))
    assert evaluated["images"] == 898
    assert evaluated["error_percent"] == pytest.approx(record["metrics"]["last_error_percent"])
    assert evaluated["cross_entropy"] == pytest.approx(record["metrics"]["last_cross_entropy"], rel=1e-5)

    again = torchrun(folder.path, "--set", *KEYS, "train.batch_size=8")
    assert again.returncode != 0
    assert again.stderr.count("holds a finished run") == 1


@pytest.mark.slow
def test_two_processes_train_one_decoder(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path / "two")
    keys = [key for key in KEYS if not key.startswith(("method", "model.strides"))]
    done = torchrun(folder.path, "--set", *keys, "train.batch_size=8", "model.strides=[1,2,1,1]", base="alignmixup_ae")
    assert done.returncode == 0, done.stderr
    first, second = (rank["mixer"]["decoder"] for rank in checkpoint.load(folder.checkpoint)["ranks"])
    assert all(torch.equal(first[name], second[name]) for name in first)


BROKEN = """
import os, sys
from alignmixup.cli import main
from alignmixup.training import trainer

def step(self, x, y):
    raise ValueError("pictures/7.png is damaged")

if os.environ["RANK"] == "1":
    trainer.Trainer._train_step = step
sys.exit(main(sys.argv[1:]))
"""


@pytest.mark.slow
@pytest.mark.parametrize(
    ("keys", "said"),
    [
        ([], "rank 1: pictures/7.png is damaged"),
        (["method.alpha=-1"], "alpha must be"),
        (["train.epoch=1"], "unknown key train.epoch"),
    ],
)
def test_an_error_is_said_once_by_a_process_that_has_it(tmp_path: Path, keys: list[str], said: str) -> None:
    (tmp_path / "broken.py").write_text(BROKEN)
    command = [
        sys.executable,
        "-m",
        "torch.distributed.run",
        "--standalone",
        "--nproc-per-node=2",
        "broken.py",
        "train",
    ]
    arguments = ["--config", "digits/mixup", "--out", "run", "--set", *KEYS[:-2], *keys]
    done = subprocess.run(
        [*command, *arguments],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=240,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        check=False,
    )
    assert done.returncode != 0
    assert done.stderr.count(said) == 1, done.stderr
