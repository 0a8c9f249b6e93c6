"""One run from configuration to finished folder."""

from __future__ import annotations

import logging
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from typing import Any

import torch

from alignmixup.figures.curves import draw_curves
from alignmixup.figures.save import FigureKind
from alignmixup.records import read_record, write_sealed
from alignmixup.runs.folder import Mode, RunFolder, State, default_folder
from alignmixup.runs.options.base import check_arguments
from alignmixup.runs.record import best_chosen_on, build_record
from alignmixup.terminal import say
from alignmixup.training import checkpoint
from alignmixup.training.build import (
    build_loaders,
    build_mixer,
    build_model,
    check_fits,
    check_takes,
    example_images,
    load_data,
)
from alignmixup.training.config import Config
from alignmixup.training.config_file import ConfigError, load
from alignmixup.training.engine import Engine
from alignmixup.training.optimization.optimizers import describe_rates
from alignmixup.training.optimization.schedule import unreached_milestones
from alignmixup.training.processes.division import Division
from alignmixup.training.processes.ranks import is_main_process, own_errors, words_dead_workers
from alignmixup.training.progress.display import Reporter
from alignmixup.training.progress.trackers import open_trackers
from alignmixup.training.trainer import InterruptedRunError, Trainer
from alignmixup.training.weights import save_model, save_tensors

_log = logging.getLogger(__name__)


def train(
    config: str | Path | Config,
    folder: str | Path | RunFolder | None = None,
    *,
    overrides: Sequence[str] = (),
    mode: Mode = "new",
    reporter: Reporter | None = None,
    figures: FigureKind = "png",
) -> dict[str, Any]:
    """Train as configured, or continue, or read what is finished; draw the curves and return the record.

    Args:
        config: the run: name of a bundled configuration, TOML file, or the configuration itself.
        folder: where everything goes; None for ``runs/<dataset>/<method>-seed<k>``.
        overrides: of a configuration by name, such as ``train.epochs=5``.
        mode: see `RunFolder.claim`.
        reporter: shows progress on the first process; None shows nothing.
        figures: kind of file of the curves; that of ``folder`` where it is a `RunFolder`.

    Raises:
        InterruptedRunError: a signal asked to stop; everything is saved.
        FloatingPointError: the loss is no longer finite.
        ValueError, OSError: configuration, data or folder unusable; the message says what to do.

    Example:
        >>> from alignmixup import runs
        >>> quick = ["train.epochs=1", "data.subset=6", "model.width=4", "train.device=cpu"]
        >>> record = runs.train("digits/mixup", "runs/quick", overrides=quick)
        >>> record["metrics"]["last_error_percent"] > 0, record["config"]["method"]["name"]
        (True, 'mixup')
    """
    check_arguments(config=config, folder=folder, overrides=overrides, mode=mode, reporter=reporter, figures=figures)
    if isinstance(config, Config):
        if overrides:
            raise ConfigError("overrides are of a configuration by name: change the one given by dataclasses.replace")
    else:
        config = load(config, overrides)
    if not isinstance(folder, RunFolder):
        folder = RunFolder(Path(folder or default_folder(config)), figures)
    record = train_undrawn(config, folder, mode=mode, reporter=reporter)
    if is_main_process():
        draw_missing_curves(record, folder)
    return record


def draw_missing_curves(record: dict[str, Any], folder: RunFolder) -> None:
    """Draw the curves of a finished run, where they are not drawn from this record already."""
    for file in folder.curves_to_draw:
        draw_curves(record, file)


@words_dead_workers
def train_undrawn(config: Config, folder: RunFolder, *, mode: Mode, reporter: Reporter | None) -> dict[str, Any]:
    """As `train`, without the curves, for which a process of its own would load matplotlib."""
    if mode == "resume" and folder.config.is_file():  # "auto" was settled when the run began
        config = config.settled(folder.read_config().train.precision)
    with ExitStack() as stack:
        stack.enter_context(own_errors())
        engine = stack.enter_context(closing(Engine(config.train)))
        stack.enter_context(engine.group.in_company(agreed=(InterruptedRunError,)))
        if engine.group.is_main:
            stack.enter_context(folder.locked())
        config = config.settled(engine.precision)
        state: State = "fresh"
        with engine.group.together():
            if engine.group.is_main:
                state = folder.claim(config, mode=mode)
        state = engine.group.gather(state)[0]  # the first process looked, and tells the others
        if state == "finished":
            return read_record(folder.record)
        try:
            found = _read_checkpoint(config, folder, engine) if state == "started" else None
            trainer, files = _prepare(config, folder, engine, reporter=reporter, found=found)
        except BaseException:
            if engine.group.is_main:
                folder.release()
            raise
        engine.group.wait()  # every process has read what the first one may now replace
        if engine.group.is_main:
            (folder.begin if found is None else folder.reopen)(config)
        try:
            return _finish(trainer, folder, files)
        except InterruptedRunError:
            raise
        except Exception:
            # nothing to continue from, and so nothing that may stand in the way of the corrected command
            if engine.group.is_main and not folder.checkpoint.is_file():
                folder.clear()
            raise


def _prepare(
    config: Config, folder: RunFolder, engine: Engine, *, reporter: Reporter | None, found: dict[str, Any] | None
) -> tuple[Trainer, dict[str, str]]:
    """The trainer, and on the first process `ImageData.image_files`."""
    division = Division.of(config.train, engine.group.world_size)
    with engine.group.together():
        if found is not None:
            before = checkpoint.division_of(found)
            division = before.among(engine.group.world_size, largest_batch=config.train.batch_size)
            if division != before and engine.group.is_main:
                _log.info("each update of %d images: %s now, %s before", division.images, division, before)
        with engine.group.main_first():
            dataset = load_data(config, progress=engine.group.is_main)
        train_loader, test_loader = build_loaders(config, dataset, engine, batch_size=division.batch_size)
        if found is not None:
            check_fits(config, dataset, found["model"], folder.checkpoint)
        torch.manual_seed(config.train.seed)  # on every device
        model = engine.place(build_model(config, dataset, start=found is None))
        mixer = build_mixer(config, model, dataset)
        example = example_images(config, dataset, engine)
        # The mixer's hooks must stand before the model is traced, its parameters exist before the optimiser is made.
        with engine.autocast():
            check_takes(config, model, example)
            mixer.prepare(example)
        digests = dataset.image_digests() if engine.group.is_main else {}
    trainer = Trainer(
        config=config,
        engine=engine,
        model=model,
        mixer=mixer,
        train_loader=train_loader,
        test_loader=test_loader,
        division=division,
        class_names=dataset.class_names,
        class_counts=dataset.class_counts,
        image_digests=digests,
        example=example,
        checkpoint_path=folder.checkpoint,
        reporter=reporter if engine.group.is_main else Reporter(),
    )
    if engine.group.is_main:
        if rates := describe_rates(trainer.optimizer, config.optimizer.lr):
            _log.info("%s", rates)
        if late := unreached_milestones(config):  # of a recipe that was made shorter
            text = "schedule.milestones = %s are not reached in %d epochs: the learning rate does not fall there"
            _log.warning(text, late, config.train.epochs)
    if found is not None:
        with engine.group.together():
            trainer.load(found)
    return trainer, dataset.image_files(digests)


def _read_checkpoint(config: Config, folder: RunFolder, engine: Engine) -> dict[str, Any] | None:
    """The state to continue from; None of a run that was killed before its first one and starts at the beginning."""
    with engine.group.together():
        if not folder.checkpoint.is_file():
            return None
        state = checkpoint.load(folder.checkpoint)
        checkpoint.check_matches(state, config, path=folder.checkpoint)
        return state


def _finish(trainer: Trainer, folder: RunFolder, files: Mapping[str, str]) -> dict[str, Any]:
    """Train to the end and write weights and record, which says which ``files`` the images were."""
    config, engine = trainer.config, trainer.engine
    epochs, batches = config.train.epochs, trainer.batches
    trainer.reporter.start(folder.path.name, epochs=epochs, batches=batches, first_epoch=trainer.epoch)
    trainer.trackers = open_trackers(config, folder.path) if engine.group.is_main else ()

    def stop(number: int) -> None:
        """The first signal lets the step end and saves; a second SIGINT stops at once.

        A second SIGTERM is the same request: a scheduler and a launcher both send it.
        """
        if trainer.stop_requested:
            if number == signal.SIGINT:
                raise KeyboardInterrupt
            return
        trainer.stop_requested = True
        if engine.group.is_main:
            say("asked to stop: saving after this step; Ctrl-C (once more) stops at once", file=sys.stderr)

    try:
        with on_signals(stop):
            curve = trainer.fit()
    finally:
        trainer.reporter.close()
        for tracker in trainer.trackers:
            tracker.close()
    parameters = sum(p.numel() for p in trainer.model.parameters() if p.requires_grad)
    record = build_record(
        config, curve, parameters=parameters, device=engine.device, world_size=engine.group.world_size
    )
    record["effective_batch_size"] = trainer.division.images
    record["class_names"] = list(trainer.class_names)
    if files:
        record["image_files"] = dict(files)
    if engine.group.is_main:
        record["weights_sha256"] = {folder.weights.name: save_model(folder.weights, trainer.evaluated_model)}
        if trainer.best is not None and trainer.best["epoch"] == record["metrics"]["best_epoch"]:
            sha256 = save_tensors(folder.best_weights, trainer.best["weights"])
            record["weights_sha256"][folder.best_weights.name] = sha256
            record["best_chosen_on"] = best_chosen_on(record["config"])
        if trainer.average is not None:
            record["weights_sha256"][folder.raw_weights.name] = save_model(folder.raw_weights, trainer.model)
        write_sealed(folder.record, record)
    engine.group.wait()
    return record


@contextmanager
def on_signals(handle: Callable[[int], None]) -> Iterator[None]:
    """Call ``handle`` at every SIGINT and SIGTERM, and at SIGUSR1, which clusters are told to send before the end of a
    job, where nobody else handles it. Outside the main thread, which alone may, do nothing.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    numbers: list[int] = [signal.SIGINT, signal.SIGTERM]
    if hasattr(signal, "SIGUSR1") and signal.getsignal(signal.SIGUSR1) == signal.SIG_DFL:
        numbers.append(signal.SIGUSR1)
    before: dict[int, Any] = {number: signal.signal(number, lambda number, _: handle(number)) for number in numbers}
    try:
        yield
    except Exception:
        if os.environ.get("WORLD_SIZE", "1") != "1":
            before[signal.SIGTERM] = signal.SIG_IGN  # torchrun ends who outlives another; this one first says why
        raise
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
