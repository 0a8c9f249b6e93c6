"""Small runs through the command line, in a folder of their own."""

from pathlib import Path

import pytest


@pytest.fixture
def small(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Arguments that make any digits configuration run in a second; the working directory is a fresh folder."""
    monkeypatch.chdir(tmp_path)
    keys = ["data.subset=6", "model.width=4", "model.strides=[2,2,1,1]", "train.epochs=2", "train.device=cpu"]
    return ["--set", *keys]
