"""The folder of a run: what lies in it, and when it may be written."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from alignmixup.training.config import Config
from alignmixup.training.config_file import ConfigError, dump, first_difference, load

Mode = Literal["new", "resume", "overwrite"]
State = Literal["fresh", "started", "finished"]


@dataclass(frozen=True)
class RunFolder:
    """Paths of a run.

    Args:
        path: the folder; made by `claim`.
    """

    path: Path

    @property
    def config(self) -> Path:
        """The configuration as used; loads with ``--config``."""
        return self.path / "config.toml"

    @property
    def checkpoint(self) -> Path:
        """Everything needed to continue."""
        return self.path / "checkpoint.pt"

    @property
    def record(self) -> Path:
        """The results; written last, so its presence means that the run is finished."""
        return self.path / "record.json"

    @property
    def weights(self) -> Path:
        """The final weights that were evaluated: the average where ``train.ema_decay`` is on."""
        return self.path / "model.safetensors"

    @property
    def raw_weights(self) -> Path:
        """The final weights before averaging; only with ``train.ema_decay``."""
        return self.path / "model_raw.safetensors"

    @property
    def curves(self) -> Path:
        """Plot of loss and error."""
        return self.path / "curves.png"

    @property
    def curves_are_current(self) -> bool:
        """Whether the plot was drawn from the present record."""
        return self.curves.is_file() and self.curves.stat().st_mtime >= self.record.stat().st_mtime

    @property
    def state(self) -> State:
        """How far the run is."""
        if self.record.is_file():
            return "finished"
        return "started" if self.config.is_file() or self.checkpoint.is_file() else "fresh"

    def check(self) -> None:
        """Refuse a folder that holds no run.

        Raises:
            ConfigError: it has no configuration.
        """
        if not self.config.is_file():
            raise ConfigError(f"{self.path} is no run folder: it has no config.toml")

    def read_config(self, overrides: Sequence[str] = ()) -> Config:
        """The configuration of the run that is here, with ``overrides`` such as ``data.root=DIR``.

        Raises:
            ConfigError: no run folder, or a key or value that is not understood.
        """
        self.check()
        return load(self.config, overrides)

    def claim(self, config: Config, *, mode: Mode) -> State:
        """Check that the run may use this folder and that it can be written; make it, change nothing else.

        Args:
            config: what is going to run.
            mode: ``new`` wants a new or empty folder, ``resume`` continues what is there (and starts what is
                not), ``overwrite`` replaces the run that is there.

        Returns:
            What is there to continue from; ``fresh`` when the run starts at its beginning.

        Raises:
            ValueError: the folder holds another run, or something that is no run.
            OSError: the folder cannot be written.
        """
        state = self.state
        if state == "fresh" and self.path.is_dir() and any(self.path.iterdir()):
            raise ValueError(f"{self.path} is not empty and holds no run; choose another --out")
        if state != "fresh" and mode == "new":
            what = "a finished run" if state == "finished" else "an unfinished run"
            continuing = "--resume keeps it" if state == "finished" else "--resume continues it"
            raise ValueError(
                f"{self.path} holds {what}: {continuing}, --overwrite deletes it, --out takes another folder"
            )
        if state != "fresh" and mode == "resume":
            self.check_same(config)
            if state == "finished" and config.train.epochs != load(self.config).train.epochs:
                state = "started"
        self._probe()
        return state if mode == "resume" else "fresh"

    def begin(self, config: Config) -> None:
        """Delete the run that is there, if any, and write ``config.toml``."""
        for file in (self.checkpoint, self.record, self.weights, self.raw_weights, self.curves):
            file.unlink(missing_ok=True)
        shutil.rmtree(self.path / "tensorboard", ignore_errors=True)
        self.config.write_text(dump(config), encoding="utf-8")

    def note_config(self, config: Config) -> None:
        """Write down the configuration of a continued run, whose free keys may have changed."""
        from alignmixup.training.checkpoint import write_atomically  # needs torch, which `--help` does not load

        write_atomically(self.config, lambda file: file.write(dump(config).encode()))

    def release(self) -> None:
        """Take back `claim` when the run could not begin: remove the folder if it is empty."""
        if self.path.is_dir() and not any(self.path.iterdir()):
            self.path.rmdir()

    def check_same(self, config: Config) -> None:
        """Refuse a run of another configuration.

        Raises:
            ValueError: names the first key that differs.
        """
        difference = first_difference(load(self.config), config)
        if difference:
            raise ValueError(
                f"{self.path} holds a run of another configuration: {difference}; "
                "--overwrite deletes it, --out chooses another folder"
            )

    def _probe(self) -> None:
        """Fail now rather than after an epoch when nothing can be written."""
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            probe = self.path / ".probe"
            probe.write_bytes(b"0" * 4096)
            probe.unlink()
        except OSError as error:
            raise OSError(
                f"cannot write to the run folder {self.path}: {error.strerror}; choose another --out"
            ) from error


def default_folder(config: Config) -> Path:
    """``runs/<dataset>/<method>-seed<k>``."""
    return Path("runs", config.data.name, f"{config.method.name.rpartition(':')[2]}-seed{config.train.seed}")
