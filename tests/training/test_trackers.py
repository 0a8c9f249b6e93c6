"""Trackers: absent packages say how to get them; present ones receive the numbers."""

import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from alignmixup.training.config import Config, TrainConfig
from alignmixup.training.progress.trackers import open_trackers


def config(*names: str) -> Config:
    return Config(train=TrainConfig(trackers=names))


def test_none_by_default(tmp_path: Path) -> None:
    assert list(open_trackers(Config(), tmp_path)) == []


@pytest.mark.parametrize(("name", "module"), [("tensorboard", "tensorboard"), ("wandb", "wandb")])
def test_missing_package_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, module: str) -> None:
    monkeypatch.setitem(sys.modules, module, None)
    monkeypatch.delitem(sys.modules, "torch.utils.tensorboard", raising=False)
    with pytest.raises(ImportError, match=f"pip install {name}"):
        open_trackers(config(name), tmp_path)


def test_wandb_receives_rows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[Any] = []
    run = SimpleNamespace(log=lambda row, step: calls.append((step, row)), finish=lambda: calls.append("finish"))
    fake = SimpleNamespace(init=lambda **options: calls.append(options) or run)
    monkeypatch.setitem(sys.modules, "wandb", fake)
    (tracker,) = open_trackers(config("wandb"), tmp_path)
    tracker.log({"epoch": 2, "lr": 0.1})
    tracker.close()
    assert calls[0]["config"]["train"]["trackers"] == ["wandb"]
    assert calls[1:] == [(2, {"epoch": 2, "lr": 0.1}), "finish"]
