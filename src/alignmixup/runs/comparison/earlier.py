"""What a comparison keeps of an earlier one in the same folder."""

from __future__ import annotations

import itertools
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from alignmixup.records import read_record, read_results
from alignmixup.runs.folder import RunFolder
from alignmixup.runs.sweep import Variant
from alignmixup.training.config import Config
from alignmixup.training.meaning import OF_ONE_ROW, differing, images_of, told

if TYPE_CHECKING:
    from alignmixup.runs.jobs.queue import Outcome

_log = logging.getLogger(__name__)


def earlier_runs(
    root: Path, variants: Sequence[Variant], outcomes: Sequence[Outcome], *, overrides: Sequence[str]
) -> tuple[list[tuple[Variant, Outcome]], list[str]]:
    """Finished runs of the comparison that ``root`` holds and that this one does not name, and the commands of then.

    They stand beside the new ones only where they were trained with the same overrides, on the same images, and seeds
    of one row with one configuration, each once. Where others are left out the file of then is set aside, and so is
    one that cannot be read: nothing is lost.
    """
    from alignmixup.runs.jobs.queue import Job, Outcome

    file, now = root / "results.json", {outcome.job.name for outcome in outcomes}
    try:
        before = read_results(file)
        rest = [(row, Path(path).name) for row in before["methods"] for path in row["folders"]]
        rest = [(row, name) for row, name in rest if name not in now]
    except FileNotFoundError:
        return [], []
    except ValueError as error:
        _log.warning("%s; it is kept as %s", error, _set_aside(file).name)
        return [], []
    if rest and (before.get("data"), before.get("overrides")) != (variants[0].config.data.name, list(overrides)):
        _log.warning("the results of other settings that %s held are kept as %s", file, _set_aside(file).name)
        return [], []
    kept: list[tuple[Variant, Outcome]] = []
    images = images_of_set(variants[0].config)
    seeds = {(outcome.job.label, outcome.job.config.train.seed) for outcome in outcomes}
    files = {one.job.config.data: one.job.folder.image_files for one in outcomes if one.job.folder.image_files}
    of_label, left = {variant.label: variant.config for variant in variants}, ""
    for row, name in rest:
        folder = RunFolder(root / name)
        if folder.state != "finished":
            left = left or f"{name} is not finished any more"
            continue
        config = folder.read_config()
        if reason := _unlike(config, of_label.setdefault(row["name"], config), images=images):
            left = left or f"{name} is a run of another configuration: {reason}"
            continue
        if folder.image_files and files.setdefault(config.data, folder.image_files) != folder.image_files:
            left = left or f"{name} is a run on images that were others then"
            continue
        if (row["name"], config.train.seed) in seeds:
            left = left or f"{name} is once more {row['name']} with seed {config.train.seed}"
            continue
        seeds.add((row["name"], config.train.seed))
        outcome = Outcome(Job(row["name"], config, folder), read_record(folder.record))
        kept.append((Variant(row["name"], config, row["settings"]), outcome))
    if left:
        _log.warning("%s; the results that %s held are kept as %s", left, file, _set_aside(file).name)
    if not kept:
        return [], []
    _log.info("%s keeps %d runs of an earlier comparison", file, len(kept))
    commands = before.get("commands")
    if not (isinstance(commands, list) and all(isinstance(one, str) for one in commands)):
        commands = [before.get("command", "")]
    return kept, commands


def images_of_set(config: Config) -> str:
    """What tells the images of a comparison from those of others: their folder, or the name of their set."""
    return images_of(config.data.name, config.data.root) or config.data.name


def _unlike(config: Config, row: Config, *, images: str) -> str | None:
    """In what a run is no seed of a row, whose configuration is ``row``; None where it is one."""
    if images_of_set(config) != images:
        return f"images: {images_of_set(config)} there, {images} now"
    return told(differing(config, row, but=OF_ONE_ROW))


def _set_aside(file: Path) -> Path:
    """Rename ``results.json`` and its figures by the first number that is free, and return its new name."""
    from alignmixup.figures.save import figure_of_each_kind

    number = next(count for count in itertools.count(1) if not _numbered(file, count).exists())
    for one in (file, *figure_of_each_kind(file.with_name("comparison.png"))):
        if one.is_file():
            one.rename(_numbered(one, number))
    return _numbered(file, number)


def _numbered(file: Path, number: int) -> Path:
    return file.with_stem(f"{file.stem}-{number}")
