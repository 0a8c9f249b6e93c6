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

from alignmixup.files import write_text
from alignmixup.records import read_evaluation, read_localization, read_record, read_records, sealed

_PICTURES = (".png", ".jpg", ".jpeg", ".gif", ".webp", ".svg")
# drawn anew, from the numbers
_DRAWN = {"curves", "comparison"}
# what `write_records` writes in a folder: one run a line
STORED = "records.jsonl"
# where records are: of a run, of many, of many as older versions stored them
_RECORDS = ("record.json", STORED, "records/*.json")
_LOCALIZATION = "localization.json"  # of `localize`, about several runs
# the entries of an epoch that tables and charts read
_KEPT = ("epoch", "train_loss", "error_percent", "cross_entropy")


@dataclass(frozen=True)
class Run:
    """One finished run.

    ``label`` names its row: the folder's name without the seed. ``path`` is its folder, or the file with its record;
    ``evaluation`` and ``localization`` are what these commands wrote there, ``pictures`` what others drew.
    """

    label: str
    record: Mapping[str, Any]
    path: Path
    evaluation: Mapping[str, Any] = field(default_factory=dict)
    localization: Mapping[str, Any] = field(default_factory=dict)
    pictures: tuple[Path, ...] = ()

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
    def key(self) -> tuple[str, str, int]:
        """What a file of records holds once: data set, label and seed."""
        return self.data, self.label, self.record["seed"]

    @property
    def date(self) -> str:
        """Day on which it ended."""
        stored = self.record.get("date")
        return str(stored) if stored else datetime.fromtimestamp(self.path.stat().st_mtime, UTC).date().isoformat()


def find_runs(paths: Iterable[Path]) -> list[Run]:
    """Every finished run at or below the paths: run folders, the folder of a comparison, stored records.

    A folder of `localize` holds none, and is for `find_shared`. Two runs with one label and seed are told apart by the
    folders above them.

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
    return _tell_apart([run for several in runs.values() for run in several])


@dataclass(frozen=True)
class Shared:
    """What commands wrote about several runs at once, beside their folders: ``localization.json`` and pictures."""

    localizations: tuple[Mapping[str, Any], ...] = ()
    pictures: tuple[Path, ...] = ()


def find_shared(paths: Iterable[Path]) -> Shared:
    """What lies in those of the folders that are no run themselves."""
    folders = [path for path in paths if path.is_dir() and not (path / "record.json").is_file()]
    found = [_localization(folder) for folder in folders]
    pictures = [file for folder in folders for file in sorted(folder.iterdir()) if _is_picture(file, folder)]
    return Shared(tuple(one for one in found if one), tuple(pictures))


def compact(run: Run) -> dict[str, Any]:
    """A record to store: configuration, results, circumstances and the part of the curve that is shown.

    Paths of the machine where it ran are left out.
    """
    from alignmixup.runs.record import portable

    curve = [{key: _rounded(row[key]) for key in _KEPT if key in row} for row in run.record["curve"]]
    kept = {key: value for key, value in run.record.items() if key not in ("config", "curve")}
    named = {"format": kept.pop("format"), "label": run.label, "seed": run.record["seed"], "date": run.date}
    return named | kept | {"config": portable(run.config), "curve": curve}


def write_records(runs: Iterable[Run], folder: Path) -> Path:
    """Store compact records in the folder's ``records.jsonl``, one run a line, in the order of `Run.key`.

    Runs that are there already stay, except those with the key of a new one.
    """
    file = folder / STORED
    stored = {run.key: run for run in [*(_read(file) if file.is_file() else []), *runs]}
    lines = [json.dumps(sealed(compact(stored[key])), allow_nan=False) for key in sorted(stored)]
    folder.mkdir(parents=True, exist_ok=True)
    write_text(file, "".join(f"{line}\n" for line in lines))
    return file


def _read(file: Path) -> list[Run]:
    if file.suffix == ".jsonl":
        return [Run(label=record["label"], record=record, path=file) for record in read_records(file)]
    record = read_record(file)
    if file.name != "record.json":
        return [Run(label=record.get("label", _without_seed(file.stem)), record=record, path=file)]
    return [_read_folder(file, record)]


def _read_folder(file: Path, record: Mapping[str, Any]) -> Run:
    folder = file.parent
    return Run(
        label=_without_seed(folder.name),
        record=record,
        path=folder,
        evaluation=_evaluation(folder / "evaluation.json", record),
        localization=_localization(folder),
        pictures=_pictures(folder),
    )


def _evaluation(file: Path, record: Mapping[str, Any]) -> dict[str, Any]:
    """What was measured about the weights of the record; nothing of those from before."""
    evaluation = read_evaluation(file) if file.is_file() else {}
    own = record.get("weights_sha256", {}).values()
    measured = evaluation.get("settings", {}).get("weights_sha256")
    return {} if own and measured and measured not in own else evaluation


def _pictures(folder: Path) -> tuple[Path, ...]:
    """What other commands drew; of a figure that is there as PNG and as SVG, the latter."""
    found = [file for file in folder.rglob("*") if _is_picture(file, folder)]
    return tuple(sorted(file for file in found if file.suffix != ".png" or file.with_suffix(".svg") not in found))


def _is_picture(file: Path, folder: Path) -> bool:
    """Whether it is a picture in ``folder`` and no link to what lies elsewhere, which a page would show to others."""
    named = file.suffix.lower() in _PICTURES and file.stem not in _DRAWN
    return named and file.is_file() and Path(os.path.realpath(file)).is_relative_to(os.path.realpath(folder))


def _tell_apart(runs: Sequence[Run]) -> list[Run]:
    found = Counter(run.key for run in runs)
    twice = {(data, label) for (data, label, _), count in found.items() if count > 1}
    return [
        replace(run, label=f"{_place(run.path)}/{run.label}") if (run.data, run.label) in twice else run for run in runs
    ]


def _place(path: Path) -> str:
    """The name of the folder that holds the run, or of the one that holds ``records``."""
    above = path.resolve().parent
    return above.parent.name if above.name == "records" else above.name


def _without_seed(name: str) -> str:
    return re.sub(r"-seed\d+$", "", name)


def _rounded(value: float) -> float:
    return value if isinstance(value, int) else float(f"{value:.6g}")


def _localization(folder: Path) -> dict[str, Any]:
    file = folder / _LOCALIZATION
    return read_localization(file) if file.is_file() else {}
