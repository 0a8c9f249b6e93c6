"""The folder of a run: what lies in it, what state that is, and when it may be written.

What each file means, in which order they are written and removed, and what a crash leaves between two of them is
told in docs/training.md and docs/runs.md. Every file is replaced as a whole, so that only their order counts.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from alignmixup.figures.save import FigureKind, figure_of_each_kind, figures_to_draw
from alignmixup.files import locked, sweep, write_text
from alignmixup.records import read_json, read_record
from alignmixup.training.config import Config
from alignmixup.training.config_file import ConfigError, dump, from_dict, load_complete
from alignmixup.training.meaning import first_difference, images_of

Mode = Literal["new", "resume", "overwrite"]
State = Literal["fresh", "started", "finished"]


@dataclass(frozen=True)
class RunFolder:
    """Paths of a run, and the kind of file of its figures."""

    path: Path
    figures: FigureKind = "png"

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
        """The results, written last; a record of the configuration that is there means that the run is finished."""
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
    def best_weights(self) -> Path:
        """The evaluated weights of the epoch with the lowest error; `best_chosen_on` says of which images."""
        return self.path / "model_best.safetensors"

    @property
    def all_weights(self) -> tuple[Path, ...]:
        """The files of weights that a run may have."""
        return (self.weights, self.best_weights, self.raw_weights)

    def weights_named(self, name: str) -> Path:
        """The file of the "last", the "best" or the "raw" weights."""
        files = {"last": self.weights, "model": self.weights, "best": self.best_weights, "raw": self.raw_weights}
        if name not in files:
            raise ValueError(f"weights must be last, best or raw, got {name!r}")
        return files[name]

    @property
    def curves(self) -> Path:
        """Plot of loss and error."""
        return self.path / f"curves.{self.figures}"

    @property
    def files(self) -> tuple[Path, ...]:
        """Everything that a run writes, in the order in which it is removed: no results of what is not there."""
        return (*self._results, self.checkpoint, self.config)

    @property
    def _results(self) -> tuple[Path, ...]:
        return (self.record, *self.all_weights, *figure_of_each_kind(self.curves))

    @property
    def curves_to_draw(self) -> list[Path]:
        """Files of the plot that were not drawn from the present record."""
        record = self.record.stat().st_mtime
        wanted = figures_to_draw(self.curves, self.figures)
        return [file for file in wanted if not file.is_file() or file.stat().st_mtime < record]

    @property
    def state(self) -> State:
        """How far the run is."""
        if self.config.is_file():
            return "finished" if self._record_fits() else "started"
        return "started" if self.checkpoint.is_file() or self.record.is_file() else "fresh"

    def is_finished(self, config: Config) -> bool:
        """Whether the record that is there is that of ``config``, whose free keys may differ."""
        return self.state == "finished" and self.read_config().train.epochs == config.train.epochs

    def check(self) -> None:
        """Refuse a folder that holds no run."""
        if not self.config.is_file():
            raise ConfigError(f"{self.path} is no run folder: it has no config.toml")

    def read_config(self, overrides: Sequence[str] = ()) -> Config:
        """The configuration of the run that is here, with ``overrides`` such as ``data.root=DIR``.

        Raises:
            ConfigError: no run folder, a configuration that is cut off, or a key or value that is not understood.
        """
        self.check()
        return load_complete(self.config, overrides)

    def check_output(self, file: Path) -> None:
        """Refuse to write something else over a file of the run."""
        if self.config.is_file() and os.path.realpath(file) in map(os.path.realpath, self.files):
            raise ConfigError(f"--out {file} is a file of the run itself: name another")

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Context in which no other process works in the folder, which is made, and removed if it is left empty."""
        with self._naming_the_folder():
            self.path.mkdir(parents=True, exist_ok=True)
        try:
            with locked(self.path):
                yield
        finally:
            self.release()

    def claim(self, config: Config, *, mode: Mode) -> State:
        """Check that the run may use this folder and that it can be written; make it, sweep it, change nothing else.

        Args:
            config: what is going to run.
            mode: ``new`` wants a new or empty folder, ``resume`` continues what is there (and starts what is
                not), ``overwrite`` replaces the run that is there.

        Returns:
            What is there to continue from; ``fresh`` when the run starts at its beginning.
        """
        state = self.state
        if state == "fresh" and sweep(self.path):
            raise ValueError(f"{self.path} is not empty and holds no run; choose another --out")
        if state != "fresh" and mode == "new":
            what = "a finished run" if state == "finished" else "an unfinished run"
            continuing = "--resume keeps it" if state == "finished" else "--resume continues it"
            raise ValueError(
                f"{self.path} holds {what}: {continuing}, --overwrite deletes it, --out takes another folder"
            )
        if state != "fresh" and mode == "resume":
            self.check_same(config)
            if state == "finished" and not self.is_finished(config):
                if not self.checkpoint.is_file():
                    raise ValueError(f"{self.path} has no checkpoint.pt any more: the run cannot be made longer")
                state = "started"
            if state == "finished":  # what is continued reads its images where they are now
                self.check_images(config)
                if self.image_files:
                    from alignmixup.runs.stored.settings import files_of

                    self.check_files(files_of(config))
        with self._naming_the_folder():
            self.path.mkdir(parents=True, exist_ok=True)
            sweep(self.path)
            write_text(self.path / ".probe", "0" * 4096)  # fail now rather than after an epoch
            (self.path / ".probe").unlink()
        return state if mode == "resume" else "fresh"

    def begin(self, config: Config) -> None:
        """Delete the run that is there, if any, results first, and write ``config.toml``."""
        for file in (*self._results, self.checkpoint):
            file.unlink(missing_ok=True)
        shutil.rmtree(self.path / "tensorboard", ignore_errors=True)
        write_text(self.config, dump(config))

    def reopen(self, config: Config) -> None:
        """Make ready to continue: delete results, which the checkpoint can make again, and note changed free keys."""
        for file in self._results:
            file.unlink(missing_ok=True)
        write_text(self.config, dump(config))

    def release(self) -> None:
        """Take back `claim` when the run could not begin: remove the folder if it is empty."""
        with suppress(OSError):
            self.path.rmdir()

    def clear(self) -> None:
        """Take back `begin` when the run failed before its first checkpoint."""
        shutil.rmtree(self.path / "tensorboard", ignore_errors=True)
        for file in self.files:
            file.unlink(missing_ok=True)
        self.release()

    def check_same(self, config: Config) -> None:
        """Refuse a run of another configuration."""
        if found := first_difference(self.read_config(), config):
            raise ValueError(
                f"{self.path} holds a run of another configuration: {found}; "
                "--overwrite deletes it, --out chooses another folder"
            )

    def check_images(self, config: Config) -> None:
        """Refuse a run on other images than those of ``config``, where the data set's name leaves that open."""
        there, now = self.read_config().data, config.data
        if images_of(there.name, there.root) != images_of(now.name, now.root):
            raise ValueError(
                f"{self.path} holds a run on other images: data.root = {there.root!r} there, {now.root!r} now; "
                "--out chooses another folder, --overwrite deletes it"
            )

    @property
    def image_files(self) -> dict[str, str]:
        """Which files the images of the finished run were, as of `ImageData.image_files`; of older ones nothing."""
        return dict(read_json(self.record).get("image_files", {})) if self.state == "finished" else {}

    def check_files(self, now: Mapping[str, str]) -> None:
        """Refuse a finished run of other images than those that are there ``now``, which another seed is trained on."""
        for split, then in self.image_files.items():
            if now.get(split, then) != then:
                raise ValueError(
                    f"{self.path} holds a run on other {split} images ({then} then, {now[split]} now): restore those "
                    "of then; --out chooses another folder, --overwrite deletes it"
                )

    def check_recorded(self) -> None:
        """Refuse a configuration under which the weights that are here were not trained: the record has its own.

        Raises:
            ValueError: one of the two files was changed, or is damaged.
        """
        if not self.record.is_file():
            return
        recorded = from_dict(read_record(self.record)["config"], source=str(self.record))
        if found := first_difference(recorded, self.read_config()):
            raise ValueError(f"{self.config} is not what {self.record} tells of, one of them was changed: {found}")

    def _record_fits(self) -> bool:
        """Whether the record is whole, and of the configuration and the epochs that the folder is configured for."""
        try:
            record = read_json(self.record)
            recorded, trained = from_dict(record["config"], source=str(self.record)), record["metrics"]["epochs"]
            config = self.read_config()
        except (OSError, ValueError, KeyError, TypeError):
            return False
        same = first_difference(recorded, config) is None
        return same and trained == recorded.train.epochs == config.train.epochs

    @contextmanager
    def _naming_the_folder(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            reason = error.strerror or getattr(error.__cause__, "strerror", None) or error
            raise OSError(f"cannot write to the run folder {self.path}: {reason}; choose another --out") from error


def data_folder(config: Config, called: str = "") -> Path:
    """``runs/<dataset>``; a folder of images is a data set by its own name, any other by the one it is ``called``."""
    own = images_of("folder", config.data.root).rpartition("#")[0] if config.data.name == "folder" else ""
    return Path("runs", own or called or config.data.name)


def default_folder(config: Config) -> Path:
    """``runs/<dataset>/<method>-seed<k>``."""
    return data_folder(config) / f"{config.method.name.rpartition(':')[2]}-seed{config.train.seed}"
