"""What a stage gets, and what it has found."""

import json
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.gpu import page


@dataclass(frozen=True)
class Task:
    """What a stage gets.

    Attributes:
        device: where it computes.
        toy: smallest sizes.
        data: root of CIFAR-100, or a packed file.
        work: folder for what is needed between stages; gone afterwards.
        out: folder of the report.
        resume: folder of an earlier report.
        seconds: how long it may take.
    """

    device: str
    toy: bool
    data: Path
    work: Path
    out: Path
    resume: Path | None
    seconds: float


class Findings:
    """What a stage has found so far, on the disk after each part."""

    def __init__(self, path: Path) -> None:
        self._path, self._found = path, {}
        self._write()

    def put(self, name: str, value: Any) -> None:
        self._found[name] = value
        self._write()

    def part(self, name: str, find: Callable[[], Any]) -> None:
        """Find something; a failure is what was found."""
        try:
            self.put(name, find())
        except Exception:
            self.put(name, {"failed": traceback.format_exc(limit=-6)})
            print(f"{name} failed:\n{traceback.format_exc()}", flush=True)

    def _write(self) -> None:
        self._path.write_text(json.dumps(page.plain(self._found)))
