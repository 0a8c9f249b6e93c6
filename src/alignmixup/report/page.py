"""The whole report: one HTML page that needs nothing else."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import date
from typing import Any

from alignmixup.evaluation.published import PROTOCOL, SOURCE
from alignmixup.evaluation.summary import headline
from alignmixup.report.charts import draw_all, draw_reliability
from alignmixup.report.css import STYLE, series_rules
from alignmixup.report.html import code, details, escape, section, table, tag
from alignmixup.report.localization import localization_table
from alignmixup.report.names import spell_data
from alignmixup.report.pictures import embed_pictures, of_rows
from alignmixup.report.reproduce import command_for, config_text, split_keys
from alignmixup.report.rows import Row, build_rows
from alignmixup.report.runs import Run, Shared
from alignmixup.report.svg import SERIES
from alignmixup.runs.comparison import mean_and_spread
from alignmixup.runs.record import last_ten

_KEY = "last10_error_percent"
_MIB = 2**20
_SHORT = 12  # rows of a table that stands open


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
    """The page.

    Args:
        runs: at least one; each data set among them gets a part of its own.
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
    title = title or f"{len(runs)} run{'s' if len(runs) > 1 else ''} on {names}"
    parts = [
        _data_part(name, own, alone=len(sets) == 1, limits=(largest_picture, all_pictures // len(sets)))
        for name, own in sets.items()
    ]
    if shared is not None:
        found = {picture: picture.name for picture in shared.pictures}
        parts.append(section("Localisation of all", localization_table(shared.localizations)))
        pictures = embed_pictures(found, largest=largest_picture, all_together=all_pictures)
        parts.append(section("Pictures of all", pictures))
    parts += [section("How to make it again", _commands(runs, commands)), section("Where it ran", _places(runs))]
    day = (made_on or date.today()).isoformat()
    head = (
        '<meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{escape(title)}</title><style>{STYLE}{series_rules(SERIES)}</style>"
    )
    body = (
        tag("header", tag("h1", escape(title)) + _facts(runs))
        + tag("main", "".join(parts))
        + tag("footer", f"Made by alignmixup on {day} from the records of the runs. Paper: {escape(SOURCE)}.")
    )
    return f'<!doctype html>\n<html lang="en"><head>{head}</head><body>{body}</body></html>\n'


def _facts(runs: Sequence[Run]) -> str:
    """What, when, where, at a glance."""
    days = sorted({run.date for run in runs})
    seconds = sum(run.record["metrics"]["seconds"] for run in runs)
    facts = {
        "Data": ", ".join(dict.fromkeys(spell_data(run.data) for run in runs)),
        "Network": ", ".join(dict.fromkeys(_network(run) for run in runs)),
        "Epochs": ", ".join(dict.fromkeys(str(run.record["metrics"]["epochs"]) for run in runs)),
        "Runs and seeds": f"{len(runs)} runs, {len({run.record['seed'] for run in runs})} seeds",
        "Time of all runs": _duration(seconds),
        "Trained": days[0] if len(days) == 1 else f"{days[0]} to {days[-1]}",
        "On": ", ".join(dict.fromkeys(_machine(run) for run in runs)),
        "Revision": ", ".join(dict.fromkeys(_revision(run) for run in runs)),
    }
    items = "".join(tag("div", tag("dt", escape(key)) + tag("dd", escape(value))) for key, value in facts.items())
    return tag("dl", items, class_="facts")


def _data_part(name: str, runs: Sequence[Run], *, alone: bool, limits: tuple[int, int]) -> str:
    """Everything about one data set."""
    rows = build_rows(runs)
    results = _summary(rows) + _error_table(rows) + _caveats(rows) + draw_all(rows)
    largest, together = limits
    own = "" if alone else f"{spell_data(name)}: "
    pictures = embed_pictures(of_rows(rows), largest=largest, all_together=together)
    parts = [
        section(f"{own}Test error" if own else "Test error", results),
        section(f"{own}Evaluation" if own else "Evaluation", _evaluation_table(rows) + draw_reliability(rows)),
        section(f"{own}Localisation" if own else "Localisation", localization_table(_localizations(rows))),
        section(f"{own}Pictures" if own else "Pictures", pictures),
        section(f"{own}Configurations" if own else "Configurations", _configurations(rows)),
    ]
    return "".join(parts)


def _summary(rows: Sequence[Row]) -> str:
    """One or two sentences that the numbers support."""
    best = min(rows, key=lambda row: row.summary["mean"][_KEY])
    runs = "one run" if len(best.runs) == 1 else f"{len(best.runs)} runs"
    text = f"Lowest error: {best.name} with {best.error()} % (mean of the last ten epochs, {runs})."
    if best.against:
        mean, spread = best.against["mean"][_KEY], best.against["spread"][_KEY]
        text += f" That is {mean_and_spread(best.against, _KEY, sign=True)} against the baseline with the same seeds"
        if spread is None:
            text += "; one pair of runs says nothing about chance."
        else:
            text += ", within the spread: no difference shown." if abs(mean) <= spread else "."
    return tag("p", escape(text), class_="lead")


def _error_table(rows: Sequence[Row]) -> str:
    columns: dict[str, list[str]] = {
        "method": [row.name for row in rows],
        "runs": [str(len(row.runs)) for row in rows],
        "last 10 (%)": [row.error() for row in rows],
        "minus baseline": [mean_and_spread(row.against, _KEY, sign=True) if row.against else "" for row in rows],
        "minus unaligned": [mean_and_spread(row.unaligned, _KEY, sign=True) if row.unaligned else "" for row in rows],
        "best (%)": [row.error("best_error_percent") for row in rows],
        "paper, best (%)": ["" if row.published is None else f"{row.published:.2f}" for row in rows],
        "last (%)": [row.error("last_error_percent") for row in rows],
        "cross-entropy": [mean_and_spread(row.summary, "last_cross_entropy", digits=3) for row in rows],
        "time of a run": [_duration(row.summary["mean"]["seconds"]) for row in rows],
        "images/s": [f"{row.summary['mean']['images_per_second']:.0f}" for row in rows],
    }
    shown = {heading: cells for heading, cells in columns.items() if any(cells)}
    errors = [row.summary["mean"][_KEY] for row in rows]
    note = (
        "Mean ± standard deviation over the runs. Last 10: mean over the tests in the last ten epochs, the number "
        "to compare. Best: the best epoch, chosen on the test set, as the papers report it. Minus baseline: paired by "
        "seed, below 0 is better."
        + (
            " Minus unaligned: the same against Manifold mixup at the same layers."
            if any(columns["minus unaligned"])
            else ""
        )
    )
    cells = list(zip(*shown.values(), strict=True))
    return table(list(shown), cells, caption="Test error", note=note, best=errors.index(min(errors)))


def _caveats(rows: Sequence[Row]) -> str:
    notes = []
    if any(row.published is not None for row in rows):
        notes.append(f"Paper: {SOURCE}: {PROTOCOL}.")
        options = [row.runs[0].config for row in rows if row.published is not None]
        if any(config["model"].get("width", 64) != 64 or config["data"].get("subset") for config in options):
            notes.append(
                "The runs here use a narrower network or fewer images than the paper: its numbers set the scale."
            )
    tested = min(len(last_ten(run.record["curve"])) for row in rows for run in row.runs)
    if tested < 10:
        notes.append(f"Of the last ten epochs only {tested} {'were' if tested > 1 else 'was'} tested in some run.")
    if any(len(row.runs) == 1 for row in rows):
        notes.append("One run has no spread: differences to it may be chance.")
    return tag("ul", "".join(tag("li", escape(note)) for note in notes), class_="caveats") if notes else ""


def _evaluation_table(rows: Sequence[Row]) -> str:
    """Calibration, attacks, other data, corruptions: whatever `alignmixup evaluate` measured in any run."""
    found = [(row, run, _headline(run)) for row in rows for run in row.runs if run.evaluation]
    keys = list(dict.fromkeys(key for _, _, numbers in found for key in numbers))
    if not keys:
        return ""
    headings = ["method", "seed", *(key.removesuffix("_percent").replace("_", " ") for key in keys)]
    cells = [
        [row.name, str(run.record["seed"]), *(f"{numbers[key]:.3f}" if key in numbers else "" for key in keys)]
        for row, run, numbers in found
    ]
    note = "In percent but for cross-entropy, Brier score and the measures of detection."
    return table(headings, cells, caption="Further measures of the final weights", note=note)


def _headline(run: Run) -> dict[str, float]:
    try:
        return headline(run.evaluation)
    except (KeyError, TypeError) as error:
        file = run.path / "evaluation.json"
        raise ValueError(
            f"{file} is of another version ({error}): run `alignmixup evaluate {run.path}` again"
        ) from None


def _localizations(rows: Sequence[Row]) -> list[Mapping[str, Any]]:
    return [run.localization for row in rows for run in row.runs if run.localization]


def _configurations(rows: Sequence[Row]) -> str:
    """What differs between the rows, what they share, and every configuration in full."""
    differing, shared = split_keys([row.runs[0] for row in rows])
    flat = [{f"{t}.{k}": v for t, values in row.runs[0].config.items() for k, v in values.items()} for row in rows]
    cells = [[key, *("" if key not in one else _shown(one[key]) for one in flat)] for key in differing]
    parts = []
    if len(rows) > 1 and differing:
        compared = table(["key", *(row.name for row in rows)], cells, caption="What differs between the rows")
        short = len(differing) <= _SHORT
        parts.append(compared if short else details(f"What differs between the rows ({len(differing)} keys)", compared))
    if len(rows) > 1:
        text = "\n".join(f"{key} = {_shown(value)}" for key, value in shared.items())
        parts.append(details(f"What all rows share ({len(shared)} keys)", code(text)))
    for row in rows:
        seeds = ", ".join(str(run.record["seed"]) for run in row.runs)
        parts.append(details(f"{row.name}: the whole configuration (seeds {seeds})", code(config_text(row.runs[0]))))
    return "".join(parts)


def _shown(value: Any) -> str:
    return f"{value:.6g}" if isinstance(value, float) else json.dumps(value, ensure_ascii=False)


def _commands(runs: Sequence[Run], commands: Sequence[str]) -> str:
    if commands:
        return code("\n".join(commands))
    made = dict.fromkeys(command_for(run) for run in runs)
    return code("\n".join(made)) + tag("p", "Then <code>alignmixup report</code> with the run folders.")


def _places(runs: Sequence[Run]) -> str:
    places: dict[str, list[Run]] = {}
    for run in runs:
        key = json.dumps([run.record.get("environment", {}), run.record.get("revision", {})], sort_keys=True)
        places.setdefault(key, []).append(run)
    parts = []
    for own in places.values():
        environment, revision = own[0].record.get("environment", {}), own[0].record.get("revision", {})
        packages = environment.get("packages", {})
        facts = {key: value for key, value in environment.items() if key != "packages" and value is not None}
        facts |= {"revision": _revision(own[0])} | {f"{name}": version for name, version in packages.items()}
        text = "\n".join(f"{key}: {value}" for key, value in facts.items())
        dirty = " (with changes that are not in that revision)" if revision.get("dirty") else ""
        parts.append(
            details(f"{len(own)} of {len(runs)} runs: {_machine(own[0])}, {_revision(own[0])}{dirty}", code(text))
        )
    return "".join(parts)


def _network(run: Run) -> str:
    model = run.config["model"]
    name = str(model["name"])
    return f"{name}, width {model['width']}" if "width" in model else name


def _machine(run: Run) -> str:
    environment = run.record.get("environment", {})
    return str(environment.get("gpu") or environment.get("processor") or "unknown machine")


def _revision(run: Run) -> str:
    commit = run.record.get("revision", {}).get("commit")
    return str(commit)[:7] if commit else "unknown revision"


def _duration(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.1f} s"
    if seconds < 5400:
        return f"{seconds / 60:.1f} min"
    return f"{seconds / 3600:.1f} h"
