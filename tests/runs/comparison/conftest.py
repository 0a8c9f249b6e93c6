"""Comparisons whose runs are made up: nothing is trained."""

from pathlib import Path
from typing import Any

import pytest
import torch

from alignmixup.records import read_json, write_sealed
from alignmixup.runs.comparison import compare
from alignmixup.runs.folder import RunFolder
from alignmixup.runs.jobs.queue import Job, Outcome
from alignmixup.runs.record import build_record
from alignmixup.training.config import Config


def finish(path: Path, config: Config, error: float = 10.0) -> dict[str, Any]:
    """Leave a finished run in a folder."""
    row = {"train_loss": 1.0, "images": 10, "train_seconds": 1.0, "error_percent": error}
    row |= {"top5_error_percent": 0.0, "cross_entropy": 1.0}
    curve = [{"epoch": epoch, **row} for epoch in range(config.train.epochs)]
    made = build_record(config.settled("fp32"), curve, parameters=1, device=torch.device("cpu"), world_size=1)
    folder = RunFolder(path)
    path.mkdir(parents=True, exist_ok=True)
    folder.begin(config.settled("fp32"))
    write_sealed(folder.record, made)
    return made


@pytest.fixture
def trained(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Runs are left as finished instead of trained; the names of those that were. The current folder is a new one."""
    names: list[str] = []

    def do_all(wanted: list[Job], root: Path, **_: object) -> list[Outcome]:
        outcomes = []
        for job in wanted:
            if not job.folder.is_finished(job.config):
                names.append(job.name)
                finish(job.folder.path, job.config, error=len(names))
            outcomes.append(Outcome(job, read_json(job.folder.record)))
        return outcomes

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(compare, "_do_all", do_all)
    monkeypatch.setattr("alignmixup.figures.comparison.draw_comparison", lambda results, file: None)
    return names


def rows(results: dict[str, Any]) -> dict[str, list[int]]:
    return {method["name"]: sorted(method["seeds"]) for method in results["methods"]}


def own(name: str, text: str, base: str = "digits/mixup") -> str:
    """A configuration of one's own."""
    Path(name).write_text(f'base = "{base}"\n{text}\n', encoding="utf-8")
    return name
