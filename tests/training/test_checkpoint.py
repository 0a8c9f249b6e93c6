"""Atomic writing, safe reading, refusal of strangers."""

import errno
import os
from pathlib import Path
from typing import Any

import pytest
import torch

from alignmixup.files import write_atomically
from alignmixup.training import checkpoint
from alignmixup.training.config import Config, TrainConfig, to_dict
from alignmixup.training.processes.division import Division


def test_round_trip(tmp_path: Path) -> None:
    path = tmp_path / "checkpoint.pt"
    checkpoint.save(path, {"weights": torch.arange(3.0), "curve": [{"epoch": 0, "loss": 0.5}], "average": None})
    state = checkpoint.load(path)
    assert torch.equal(state["weights"], torch.arange(3.0))
    assert (state["curve"], state["average"]) == ([{"epoch": 0, "loss": 0.5}], None)
    assert os.listdir(tmp_path) == ["checkpoint.pt"]


def test_a_full_disk_leaves_the_last_good_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "checkpoint.pt"
    checkpoint.save(path, {"epoch": 1})

    def full(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match=r"cannot write .*checkpoint.pt: No space left on device; the one written before"):
        checkpoint.save(path, {"epoch": 2})
    assert checkpoint.load(path)["epoch"] == 1
    assert os.listdir(tmp_path) == ["checkpoint.pt"]


def test_torch_failing_to_write_is_an_os_error(tmp_path: Path) -> None:
    def write(file: Any) -> None:
        raise RuntimeError("PytorchStreamWriter failed writing file")

    with pytest.raises(OSError, match="is the disk full"):
        write_atomically(tmp_path / "x", write)
    assert os.listdir(tmp_path) == []


def test_an_interruption_while_writing_leaves_nothing(tmp_path: Path) -> None:
    def write(file: Any) -> None:
        file.write(b"half")
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_atomically(tmp_path / "x", write)
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("content", [b"", b"garbled", None])
def test_damaged_files_are_refused(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "checkpoint.pt"
    checkpoint.save(path, {"weights": torch.zeros(1000)})
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2] if content is None else content)
    with pytest.raises(ValueError, match=r"checkpoint.pt is damaged or no checkpoint .*--overwrite"):
        checkpoint.load(path)


def test_code_in_a_checkpoint_is_not_run(tmp_path: Path) -> None:
    path = tmp_path / "checkpoint.pt"
    torch.save({"format": 1, "x": Path("/")}, path)
    with pytest.raises(ValueError, match="damaged or no checkpoint"):
        checkpoint.load(path)


def test_other_formats_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "checkpoint.pt"
    torch.save({"format": 99}, path)
    with pytest.raises(ValueError, match="has checkpoint format 99, expected 1"):
        checkpoint.load(path)


def test_missing_file(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="no checkpoint at"):
        checkpoint.load(tmp_path / "checkpoint.pt")


def test_another_configuration_is_refused_with_the_first_key() -> None:
    state = {"config": to_dict(Config(train=TrainConfig(epochs=5))), "ranks": [{}]}
    with pytest.raises(ValueError, match=r"another configuration: train.epochs: 5 there, 20 now"):
        checkpoint.check_matches(state, Config(), path=Path("run/checkpoint.pt"))


def test_an_older_checkpoint_tells_how_its_updates_were_divided() -> None:
    state = {"config": to_dict(Config(train=TrainConfig(batch_size=8, accumulation=3))), "ranks": [{}, {}]}
    assert checkpoint.division_of(state) == Division(processes=2, batch_size=8, accumulation=3)
