"""Reading what commands wrote about runs."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from alignmixup.files import check_is_file
from alignmixup.records.schemas import (
    EVALUATION,
    LOCALIZATION,
    RECORD,
    RESULTS,
    STYLE,
    complaint_of_evaluation,
    complaint_of_localization,
    complaint_of_record,
)
from alignmixup.records.sealing import read_json, read_object
from alignmixup.records.validation import complaint, shown

RECORD_FORMAT = 1
EVALUATION_FILE = "evaluation.json"


def last_ten(curve: Sequence[Mapping[str, Any]]) -> list[float]:
    """Errors of the tests in the last ten epochs of a curve, in percent: fewer than ten where tests were rarer."""
    evaluated = [row for row in curve if "error_percent" in row]
    return [row["error_percent"] for row in evaluated if row["epoch"] > evaluated[-1]["epoch"] - 10]


def read_record(path: Path) -> dict[str, Any]:
    """Read the record of a finished run.

    Raises:
        FileNotFoundError: there is none.
        ValueError: damaged, or something else.
    """
    try:
        record = read_json(path)
    except FileNotFoundError:
        raise FileNotFoundError(f"no record at {path}: the run is not finished, or this is no run folder") from None
    return _checked_record(record, str(path))


def _checked_record(record: dict[str, Any], place: str) -> dict[str, Any]:
    if record.get("format") != RECORD_FORMAT:
        raise ValueError(f"{place} is no run record of format {RECORD_FORMAT}")
    return _checked(record, RECORD, place, complaint_of_record)


def read_records(path: Path) -> list[dict[str, Any]]:
    """Read a file of stored records, one run a line.

    Raises:
        FileNotFoundError: no such file.
        ValueError: no line, or one that is damaged, no record, or of a run that another line holds.
    """
    records = []
    for _, record in each_record(path):
        if isinstance(record, ValueError):
            raise record
        records.append(record)
    return records


def each_record(path: Path) -> Iterator[tuple[str, dict[str, Any] | ValueError]]:
    """Give each line's place with its record, or with what is wrong with it; errors of the file as `read_records`."""
    check_is_file(path)
    seen: set[tuple[str, str, int]] = set()
    lines = path.read_bytes().splitlines()
    if not lines:
        raise ValueError(f"{path} holds no record")
    for number, line in enumerate(lines, start=1):
        place = f"{path}, line {number}"
        try:
            record = _checked_record(read_object(line, place), place)
            if not isinstance(record.get("label"), str):
                raise ValueError(f"{place} has no label, the name of its row")
            key = (record["config"]["data"]["name"], record["label"], record["seed"])
            if key in seen:
                raise ValueError(f"{place}: {key[1]} with seed {key[2]} is there twice")
            seen.add(key)
        except ValueError as error:
            yield place, error
        else:
            yield place, record


def read_evaluation(path: Path) -> dict[str, Any]:
    """Read what ``evaluate`` wrote about one network; errors as of `read_json`, and of another form."""
    return _checked(
        read_json(path), EVALUATION, path, complaint_of_evaluation, way_out="run `alignmixup evaluate` again"
    )


def read_localization(path: Path) -> dict[str, Any]:
    """Read what ``localize`` wrote; errors as of `read_json`, and of another form."""
    return _checked(
        read_json(path), LOCALIZATION, path, complaint_of_localization, way_out="run `alignmixup localize` again"
    )


def read_results(path: Path) -> dict[str, Any]:
    """Read the table of a comparison; errors as of `read_json`, and of another form."""
    return _checked(read_json(path), RESULTS, path)


def read_style_description(text: str, place: str, *, version: int) -> dict[str, Any]:
    """Read what a style autoencoder's file says of its networks; errors as of `read_json`, and of another form."""
    described = read_object(text.encode(), place)
    if described.get("format") != version:
        raise ValueError(f"{place} has format {shown(described.get('format'))}, expected {version}")
    return _checked(described, STYLE, place)


def _checked(
    content: dict[str, Any],
    form: Any,
    path: Path | str,
    further: Callable[[Mapping[str, Any]], str] = lambda _: "",
    *,
    way_out: str = "",
) -> dict[str, Any]:
    if found := complaint(content, form) or further(content):
        ending = f"; it may be of another version: {way_out}" if way_out else ""
        raise ValueError(f"{path} is damaged: {found}{ending}")
    return content
