"""What the stages found, as JSON and as a Markdown page."""

import json
import math
from pathlib import Path
from typing import Any

from alignmixup.benchmarks.report import cell
from alignmixup.files import write_json


def write(out: Path, report: dict[str, Any]) -> None:
    """Write ``gpu.json`` and ``gpu.md``, anew after each stage: a command that is cut off leaves what it had."""
    write_json(out / "gpu.json", plain(report))
    lines = ["# GPU report", "", f"`{report['command']}`, {report['seconds']:.0f} s.", ""]
    if report["lacks"]:
        lines += ["Lacking: " + "; ".join(report["lacks"]) + ".", ""]
    lines += _table([{"stage": name, **_status(stage)} for name, stage in report["stages"].items()])
    for name, stage in report["stages"].items():
        lines += ["", f"## {name}", ""]
        for key, value in stage["found"].items():
            lines += _part(key, value)
        if stage["error"]:
            lines += ["```", stage["error"].strip(), "```", ""]
    (out / "gpu.md").write_text("\n".join(lines) + "\n", encoding="utf-8")


def _status(stage: dict[str, Any]) -> dict[str, Any]:
    failures = [key for key, value in stage["found"].items() if isinstance(value, dict) and "failed" in value]
    return {
        "status": stage["status"],
        "s": stage["seconds"],
        "allowed s": stage["allowed"],
        "parts that failed": ", ".join(failures),
    }


def _part(key: str, value: Any) -> list[str]:
    if isinstance(value, dict) and "failed" in value:
        return [f"**{key}** failed:", "", "```", str(value["failed"]).strip(), "```", ""]
    if isinstance(value, dict):
        value = [{"": name, "value": one} for name, one in value.items()]
    if isinstance(value, list) and value and all(isinstance(row, dict) for row in value):
        return [f"**{key}**", "", *_table(value), ""]
    return [f"**{key}**: {cell(value)}", ""]


def _table(rows: list[dict[str, Any]]) -> list[str]:
    keys = list(dict.fromkeys(key for row in rows for key in row))
    shown = [" | ".join(str(cell(row.get(key))).replace("|", "/").replace("\n", " ") for key in keys) for row in rows]
    return [f"| {line} |" for line in (" | ".join(keys), " | ".join("---" for _ in keys), *shown)]


def plain(value: Any) -> Any:
    """Numbers that JSON has not become text."""
    if isinstance(value, dict):
        return {str(key): plain(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [plain(one) for one in value]
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    return value if isinstance(value, str | int | float | bool | None) else str(value)


def read(path: Path) -> dict[str, Any]:
    """A report of an earlier call."""
    report: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return report
