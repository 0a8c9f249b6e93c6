"""Finished runs found in folders: their records and what else was measured and drawn there."""

import json
import os
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from alignmixup.records import EVALUATION_FILE, read_evaluation, read_localization, read_record, read_records
from alignmixup.runs.record import portable
from alignmixup.training.meaning import OF_ONE_ROW, as_written, images_of

_PICTURES = (".png", ".jpg", ".jpeg", ".gif", ".webp", ".svg")
# drawn anew, from the numbers
_DRAWN = {"curves", "comparison"}
# what `write_records` writes in a folder: one run a line
STORED = "records.jsonl"
# where records are: of a run, of many, of many as older versions stored them
_RECORDS = ("record.json", STORED, "records/*.json")
_LOCALIZATION = "localization.json"  # of `localize`, about several runs
_OF_LOCALIZATION = "localization_"
# what was measured -> how the figures of it begin
_FIGURES = {EVALUATION_FILE: "evaluation-", _LOCALIZATION: _OF_LOCALIZATION}
# the entries of an epoch that tables and charts read
_KEPT = ("epoch", "train_loss", "error_percent", "cross_entropy")


@dataclass(frozen=True)
class Run:
    """One finished run.

    ``label`` names its row: the folder's name without the seed. ``path`` is its folder, or the file with its record;
    ``evaluation`` and ``localization`` are what these commands wrote there, ``pictures`` what others drew.
    ``outdated`` are names of files there that show a network from before the record, and are left out.
    """

    label: str
    record: Mapping[str, Any]
    path: Path
    evaluation: Mapping[str, Any] = field(default_factory=dict)
    localization: Mapping[str, Any] = field(default_factory=dict)
    pictures: tuple[Path, ...] = ()
    outdated: tuple[str, ...] = ()

    @property
    def config(self) -> Mapping[str, Any]:
        """Its configuration, table by table."""
        config: Mapping[str, Any] = self.record["config"]
        return config

    @property
    def data(self) -> str:
        """Name of its data set."""
        return str(self.config["data"]["name"])

    @property
    def images(self) -> str:
        """Which images they are where the name leaves that open, as of `images_of`; empty of a stored record, too."""
        return "" if self.path.is_file() else images_of(self.data, self.config["data"].get("root", "data"))

    @property
    def files(self) -> Mapping[str, str]:
        """Which files these were, as of `ImageData.image_files`; nothing where the record does not say it."""
        files: Mapping[str, str] = self.record.get("image_files", {})
        return files

    def is_of_other_files(self, other: "Run") -> bool:
        """Whether both say which files they are of, and these are others: of a folder that was changed since."""
        return bool(self.files and other.files and self.files != other.files)

    @property
    def key(self) -> tuple[str, str, int]:
        """What a file of records holds once: data set, label and seed."""
        return self.data, self.label, self.record["seed"]

    @property
    def date(self) -> str:
        """Day on which it ended."""
        stored = self.record.get("date")
        file = self.path / "record.json" if self.path.is_dir() else self.path
        return str(stored) if stored else datetime.fromtimestamp(file.stat().st_mtime, UTC).date().isoformat()


def find_runs(paths: Iterable[Path]) -> list[Run]:
    """Every finished run at or below the paths: run folders, the folder of a comparison, stored records.

    A folder of `localize` holds none, and is for `find_shared`. A run that lies at several paths counts once. Two runs
    with one label and seed are told apart by as many of the folders above them as it takes.

    Raises:
        FileNotFoundError: no such path, or no finished run there.
        ValueError: a file that is no record.
    """
    runs: dict[Path, list[Run]] = {}
    for path in paths:
        if not path.exists():
            raise FileNotFoundError(f"{path} does not exist")
        files = [path] if path.is_file() else sorted(file for name in _RECORDS for file in path.rglob(name))
        if not files and not (path / _LOCALIZATION).is_file():
            raise FileNotFoundError(f"{path} holds no finished run: there is no record.json in it or below it")
        for file in files:
            runs.setdefault(Path(os.path.realpath(file)), _read(file))
    if not runs:
        raise FileNotFoundError("what `localize` wrote alone makes no page: name its runs too")
    return _tell_apart(_each_once(run for several in runs.values() for run in several))


@dataclass(frozen=True)
class Shared:
    """What commands wrote about several runs at once, beside their folders: ``localization.json`` and pictures."""

    localizations: tuple[Mapping[str, Any], ...] = ()
    pictures: tuple[Path, ...] = ()


def find_shared(paths: Iterable[Path]) -> Shared:
    """What lies in those of the folders that are no run themselves; nothing of `localize` from before a run's end."""
    folders = [path for path in paths if path.is_dir() and not (path / "record.json").is_file()]
    localizations, pictures = [], []
    for folder in folders:
        found = _localization(folder)
        outdated = any(_is_older(folder / _LOCALIZATION, record) for record in _measured(found, folder))
        localizations += [found] if found and not outdated else []
        pictures += [
            file
            for file in sorted(folder.iterdir())
            if _is_picture(file, folder) and not (outdated and file.name.startswith(_OF_LOCALIZATION))
        ]
    return Shared(tuple(localizations), tuple(pictures))


def _measured(localization: Mapping[str, Any], folder: Path) -> list[Path]:
    """Records of the runs that it is about, as far as they are found: in that folder, or where they were."""
    named = [Path(run["run"]) for run in localization.get("runs", ()) if "run" in run]
    places = [place / "record.json" for path in named for place in (path, folder / path.name)]
    return [place for place in places if place.is_file()]


def _read(file: Path) -> list[Run]:
    if file.suffix == ".jsonl":
        return read_stored(file)
    record = read_record(file)
    if file.name != "record.json":
        return [Run(label=record.get("label", _without_seed(file.stem)), record=record, path=file)]
    return [_read_folder(file, record)]


def read_stored(file: Path) -> list[Run]:
    """The runs of a file of stored records, with what was evaluated before they were stored."""
    return [
        Run(label=record["label"], evaluation=record.pop("evaluation", {}), record=record, path=file)
        for record in read_records(file)
    ]


def _read_folder(file: Path, record: Mapping[str, Any]) -> Run:
    """What a run left and what was made of it; nothing of the network that was there before it, or was less long."""
    folder = file.parent
    evaluation, localization = _evaluation(folder / EVALUATION_FILE), _localization(folder)
    outdated = []
    if evaluation and _is_of_others(evaluation.get("settings", {}), record):
        outdated.append(EVALUATION_FILE)
    if localization and _is_older(folder / _LOCALIZATION, file):
        outdated.append(_LOCALIZATION)
    gone = tuple(prefix for name, prefix in _FIGURES.items() if name in outdated)
    drawn = _pictures(folder)
    pictures = [one for one in drawn if not (one.name.startswith(gone) or _is_older(one, file))]
    outdated += [str(one.relative_to(folder)) for one in drawn if one not in pictures]
    return Run(
        label=_without_seed(folder.name),
        record=record,
        path=folder,
        evaluation={} if EVALUATION_FILE in outdated else evaluation,
        localization={} if _LOCALIZATION in outdated else localization,
        pictures=tuple(pictures),
        outdated=tuple(outdated),
    )


def _evaluation(file: Path) -> dict[str, Any]:
    return read_evaluation(file) if file.is_file() else {}


def _is_of_others(settings: Mapping[str, Any], record: Mapping[str, Any]) -> bool:
    """Whether other weights were measured than those of the record; not known where one of the two does not say."""
    own, measured = record.get("weights_sha256", {}).values(), settings.get("weights_sha256")
    return bool(own and measured and measured not in own)


def _is_older(file: Path, record: Path) -> bool:
    return file.stat().st_mtime < record.stat().st_mtime


def _pictures(folder: Path) -> list[Path]:
    """What other commands drew; of a figure that is there as PNG and as SVG, the latter."""
    found = [file for file in folder.rglob("*") if _is_picture(file, folder)]
    return sorted(file for file in found if file.suffix != ".png" or file.with_suffix(".svg") not in found)


def _is_picture(file: Path, folder: Path) -> bool:
    """Whether it is a picture in ``folder`` and no link to what lies elsewhere, which a page would show to others."""
    named = file.suffix.lower() in _PICTURES and file.stem not in _DRAWN
    return named and file.is_file() and Path(os.path.realpath(file)).is_relative_to(os.path.realpath(folder))


def _each_once(runs: Iterable[Run]) -> list[Run]:
    """Of copies of one run the one with more beside it, with the evaluation of another where it has none."""
    found: dict[str, Run] = {}
    for run in runs:
        own = identity(run)
        copies = [found.get(own, run), run]
        evaluation = next((one.evaluation for one in copies if one.evaluation), {})
        best = max(copies, key=_beside)
        found[own] = best if best.evaluation else replace(best, evaluation=evaluation)
    return list(found.values())


def identity(run: Run) -> str:
    """What copies of one run share: its configuration, seed, numbers and seconds."""
    numbers = [run.record["seed"], run.record["metrics"], shown_curve(run)]
    return json.dumps([as_written(portable(run.config), but=OF_ONE_ROW), *numbers], sort_keys=True)


def shown_curve(run: Run) -> list[dict[str, Any]]:
    """The part of the curve that tables and charts read, in six digits."""
    return [{key: six_digits(row[key]) for key in _KEPT if key in row} for row in run.record["curve"]]


def six_digits(value: float) -> float:
    return value if isinstance(value, int) else float(f"{value:.6g}")


def _beside(run: Run) -> tuple[int, ...]:
    return bool(run.localization), len(run.pictures), run.path.is_dir(), bool(run.evaluation)


def _tell_apart(runs: Sequence[Run]) -> list[Run]:
    """Labels with as many of the folders above as it takes for each `Run.key` to be one run's."""
    folders = [0] * len(runs)
    for _ in range(2 + max(len(run.path.resolve().parts) for run in runs)):
        named = [replace(run, label=_placed(run, count)) for run, count in zip(runs, folders, strict=True)]
        found = Counter(run.key for run in named)
        twice = {(data, label) for (data, label, _), count in found.items() if count > 1}
        if not twice:
            return named
        folders = [count + ((run.data, run.label) in twice) for run, count in zip(named, folders, strict=True)]
    data, label = min(twice)
    raise ValueError(f"two runs on {data} are called {label} and have one seed: name them in two calls")


def _placed(run: Run, folders: int) -> str:
    """The label behind so many of the folders above the run, or above ``records``; its own name where they end."""
    if not folders:
        return run.label
    above = run.path.resolve().parent
    names = (above.parent if above.name == "records" else above).parts[1:]
    name = "" if folders <= len(names) else f" ({run.path.name})"
    return "/".join([*names[-folders:], run.label]) + name


def _without_seed(name: str) -> str:
    return re.sub(r"-seed\d+$", "", name)


def _localization(folder: Path) -> dict[str, Any]:
    file = folder / _LOCALIZATION
    return read_localization(file) if file.is_file() else {}
