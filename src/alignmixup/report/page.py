"""The whole report: one HTML page that needs nothing else."""

import base64
import json
import zlib
from collections.abc import Mapping, Sequence
from datetime import date
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from alignmixup.evaluation.published import PROTOCOL, SOURCE
from alignmixup.figures import palette
from alignmixup.records import last_ten
from alignmixup.report.charts import draw_charts, draw_reliabilities
from alignmixup.report.collect import Run, Shared
from alignmixup.report.names import spell_data
from alignmixup.report.reproduce import command_for, config_text, split_keys
from alignmixup.report.rows import KEY, Row, build_rows, warnings
from alignmixup.report.tables import Table, duration, error_table, evaluation_tables, localization_tables
from alignmixup.runs.comparison.results import mean_and_spread
from alignmixup.runs.record import machine

_MIB = 2**20
_TYPES = {".jpg": "jpeg", ".svg": "svg+xml"}  # where the ending does not say it


def build_page(
    runs: Sequence[Run],
    *,
    shared: Shared | None = None,
    title: str = "",
    commands: Sequence[str] = (),
    made_on: date | None = None,
    largest_picture: int = 2 * _MIB,
    all_pictures: int = 16 * _MIB,
) -> str:
    """The page of at least one run; each data set among them gets a part of its own.

    Args:
        runs: finished ones.
        shared: what was measured and drawn for several runs at once.
        title: its heading; made from the runs where it is empty.
        commands: what was typed to make the runs; without, a command is worked out for each row.
        made_on: day of the report; today where it is None.
        largest_picture: bytes of one picture; larger ones are named only.
        all_pictures: bytes of all pictures together.
    """
    sets: dict[str, list[Run]] = {}
    for run in runs:
        sets.setdefault(run.data, []).append(run)
    names = " and ".join(spell_data(name) for name in sets)
    limits = {"largest": largest_picture, "together": all_pictures // len(sets)}
    pages = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    pages.filters["svg"] = Markup  # what `inline_svg` made is escaped
    text = pages.get_template("page.html").render(
        title=title or f"{len(runs)} run{'s' if len(runs) > 1 else ''} on {names}",
        palette=palette,
        facts=_facts(runs),
        sets=[_data_set(name, own, alone=len(sets) == 1, limits=limits) for name, own in sets.items()],
        shared_localization=localization_tables(shared.localizations) if shared else [],
        shared_pictures=embed(
            {file: file.name for file in shared.pictures}, largest=largest_picture, together=all_pictures
        )
        if shared
        else ([], []),
        commands=list(commands or dict.fromkeys(command_for(run) for run in runs)),
        typed=bool(commands),
        places=_places(runs),
        day=(made_on or date.today()).isoformat(),
        source=SOURCE,
    )
    return text


def _facts(runs: Sequence[Run]) -> dict[str, str]:
    """What, when, where, at a glance."""
    days = sorted({run.date for run in runs})

    def each(values: Sequence[object]) -> str:
        return ", ".join(dict.fromkeys(map(str, values)))

    return {
        "Data": each([spell_data(run.data) for run in runs]),
        "Network": each([_network(run) for run in runs]),
        "Epochs": each([run.record["metrics"]["epochs"] for run in runs]),
        "Runs and seeds": f"{len(runs)} runs, {len({run.record['seed'] for run in runs})} seeds",
        "Time of all runs": duration(sum(run.record["metrics"]["seconds"] for run in runs)),
        "Trained": days[0] if len(days) == 1 else f"{days[0]} to {days[-1]}",
        "On": each([machine(run.record) for run in runs]),
        "Revision": each([_revision(run) for run in runs]),
    }


def _data_set(name: str, runs: Sequence[Run], *, alone: bool, limits: Mapping[str, int]) -> dict[str, Any]:
    """Everything about one data set."""
    rows = build_rows(runs)
    pictures = {
        picture: f"{row.name}, seed {run.record['seed']}: {picture.relative_to(run.path)}"
        for row in rows
        for run in row.runs
        for picture in run.pictures
    }
    return {
        "prefix": "" if alone else f"{spell_data(name)}: ",
        "rows": rows,
        "lead": _summary(rows),
        "errors": error_table(rows),
        "caveats": _caveats(rows),
        "evaluation": evaluation_tables(rows),
        "charts": draw_charts(rows),
        "reliability": draw_reliabilities(rows),
        "localization": localization_tables([run.localization for row in rows for run in row.runs if run.localization]),
        "pictures": embed(pictures, **limits),
        **_configurations(rows),
    }


def _summary(rows: Sequence[Row]) -> str:
    """One or two sentences that the numbers support."""
    best = min(rows, key=lambda row: row.summary["mean"][KEY])
    runs = "one run" if len(best.runs) == 1 else f"{len(best.runs)} runs"
    text = f"Lowest error: {best.name} with {best.error()} % (mean of the last ten epochs, {runs})."
    if best.against:
        mean, spread = best.against["mean"][KEY], best.against["spread"][KEY]
        text += f" That is {mean_and_spread(best.against, KEY, sign=True)} against the baseline with the same seeds"
        text += ", which differs in more than the method" if best.apart else ""
        if spread is None:
            text += "; one pair of runs says nothing about chance."
        else:
            text += ", within the spread: no difference shown." if abs(mean) <= spread else "."
    return text


def _caveats(rows: Sequence[Row]) -> list[str]:
    notes = warnings(rows)
    if any(row.published is not None for row in rows):
        notes.append(f"Paper: {SOURCE}: {PROTOCOL}.")
        options = [row.runs[0].config for row in rows if row.published is not None]
        narrow = any(config["model"].get("width", 64) != 64 for config in options)
        if narrow or any(config["data"].get("subset") or config["data"].get("imbalance", 1) != 1 for config in options):
            notes.append(
                "The runs here use a narrower network or fewer images than the paper: its numbers set the scale."
            )
    tested = min(len(last_ten(run.record["curve"])) for row in rows for run in row.runs)
    if tested < 10:
        notes.append(f"Of the last ten epochs only {tested} {'were' if tested > 1 else 'was'} tested in some run.")
    if any(len(row.runs) == 1 for row in rows):
        notes.append("One run has no spread: differences to it may be chance.")
    return notes


def _configurations(rows: Sequence[Row]) -> dict[str, Any]:
    """What differs between the rows, what they share, and every configuration in full."""
    differing, shared = split_keys([row.runs[0] for row in rows])
    configs = [row.runs[0].config for row in rows]

    def cell(config: Mapping[str, Any], key: str) -> str:
        table, _, name = key.partition(".")
        return _shown(config[table][name]) if name in config.get(table, {}) else ""

    cells = [[key, *(cell(config, key) for config in configs)] for key in differing]
    compared = Table(["key", *(row.name for row in rows)], cells, caption="What differs between the rows")
    return {
        "differing": compared if len(rows) > 1 and differing else None,
        "common": [f"{key} = {_shown(value)}" for key, value in shared.items()] if len(rows) > 1 else [],
        "texts": [(row.name, [run.record["seed"] for run in row.runs], config_text(row.runs[0])) for row in rows],
    }


def _shown(value: Any) -> str:
    return f"{value:.6g}" if isinstance(value, float) else json.dumps(value, ensure_ascii=False)


def embed(pictures: Mapping[Path, str], *, largest: int, together: int) -> tuple[list[tuple[str, str]], list[str]]:
    """Pictures (file -> caption) as data inside the page, in their order, as far as the bytes of one and of all allow.

    Returns:
        Caption and address of each; and captions of those left out, with their sizes.

    Raises:
        ValueError: a PNG that is damaged: it has checksums, other kinds have none.
    """
    shown, left_out, used = [], [], 0
    for file, caption in pictures.items():
        size = file.stat().st_size
        if size > largest or used + size > together:
            left_out.append(f"{caption} ({size / _MIB:.1f} MiB)")
            continue
        used += size
        ending = file.suffix.lower()
        kind, content = _TYPES.get(ending, ending.removeprefix(".")), file.read_bytes()
        if kind == "png" and not _is_intact(content):
            raise ValueError(f"{file} is damaged or no PNG: draw it again, or remove it")
        shown.append((caption, f"data:image/{kind};base64,{base64.b64encode(content).decode()}"))
    return shown, left_out


def _is_intact(png: bytes) -> bool:
    """Whether the chunks of a PNG follow each other and have their checksums."""
    start, last = 8, b""
    while start + 12 <= len(png):
        length = int.from_bytes(png[start : start + 4], "big")
        last, end = png[start + 4 : start + 8], start + 8 + length
        if zlib.crc32(png[start + 4 : end]) != int.from_bytes(png[end : end + 4], "big"):
            return False
        start = end + 4
    return png.startswith(b"\x89PNG\r\n\x1a\n") and last == b"IEND" and start == len(png)


def _places(runs: Sequence[Run]) -> dict[str, str]:
    """Machine and revision of the runs there -> all that is known of it."""
    places: dict[str, list[Run]] = {}
    for run in runs:
        key = json.dumps([run.record.get("environment", {}), run.record.get("revision", {})], sort_keys=True)
        places.setdefault(key, []).append(run)
    found = {}
    for own in places.values():
        environment, revision = own[0].record.get("environment", {}), own[0].record.get("revision", {})
        facts = {key: value for key, value in environment.items() if key != "packages" and value is not None}
        facts |= {"revision": _revision(own[0]), **environment.get("packages", {})}
        dirty = " (with changes that are not in that revision)" if revision.get("dirty") else ""
        heading = f"{len(own)} of {len(runs)} runs: {machine(own[0].record)}, {_revision(own[0])}{dirty}"
        found[heading] = "\n".join(f"{key}: {value}" for key, value in facts.items())
    return found


def _network(run: Run) -> str:
    model = run.config["model"]
    name = str(model["name"])
    return f"{name}, width {model['width']}" if "width" in model else name


def _revision(run: Run) -> str:
    commit = run.record.get("revision", {}).get("commit")
    return str(commit)[:7] if commit else "unknown revision"
