"""The table of what `alignmixup localize` measured."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from alignmixup.evaluation.published import published_localization
from alignmixup.report.html import table
from alignmixup.report.names import spell
from alignmixup.runs.comparison import mean_and_spread


def localization_table(found: Sequence[Mapping[str, Any]]) -> str:
    """A row for each group of runs, and the paper's numbers where it has any; empty without a group.

    Args:
        found: contents of ``localization.json``.
    """
    groups = [(group, one) for one in found for group in one.get("groups", ())]
    keys = list(dict.fromkeys(key for group, _ in groups for key in group["mean"]))
    if not keys:
        return ""
    headings = ["method", "runs", *(_spell(key) for key in keys), "paper"]
    cells = [
        [spell(group["name"]), str(len(group["runs"])), *(_cell(group, key) for key in keys), _reported(group, one)]
        for group, one in groups
    ]
    if not any(row[-1] for row in cells):
        headings, cells = headings[:-1], [row[:-1] for row in cells]
    return table(headings, cells, caption="Localisation by score maps", note="In percent, mean ± standard deviation.")


def _spell(key: str) -> str:
    return key.removesuffix("_percent").replace("_", " ").replace(".", ", ")


def _cell(group: Mapping[str, Any], key: str) -> str:
    return mean_and_spread(group, key) if key in group["mean"] else ""


def _reported(group: Mapping[str, Any], result: Mapping[str, Any]) -> str:
    run: Mapping[str, Any] = next((run for run in result.get("runs", ()) if run.get("run") in group["runs"]), {})
    numbers = published_localization(result.get("data", ""), run.get("model", ""), run.get("method", ""))
    return f"Top-1 {numbers['top1']:.1f}, MaxBoxAcc-v2 {numbers['maxboxacc_v2']:.1f}" if numbers else ""
