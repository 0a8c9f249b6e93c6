"""What is shown on a terminal: names of folders, classes and runs, and texts in files, may be of others.

Everything goes through here, so that no such text steers the terminal and rich reads no markup in it.
"""

import io
import logging
import os
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from typing import Any, TextIO

from alignmixup.outside import require

__all__ = [
    "bar_width",
    "errors_only",
    "is_live",
    "is_terminal",
    "new_bars",
    "new_console",
    "printable",
    "say",
    "write_all_letters",
]


_SHORT = 6  # characters of a bar for which there is no room beside the texts


def printable(text: str) -> str:
    """A text of lines without what would steer a terminal."""
    return "".join(c if c.isprintable() or c in "\n\t" else ascii(c)[1:-1] for c in text)


def say(*texts: object, sep: str = " ", end: str = "\n", file: TextIO | None = None, flush: bool = False) -> None:
    """As ``print``, of `printable` texts, in the letters that the output has."""
    file = sys.stdout if file is None else file
    print(*(_writable(str(text), file) for text in texts), sep=sep, end=end, file=file, flush=flush)


def _writable(text: str, file: TextIO | None) -> str:
    """A printable text in the letters of the output's encoding; no measurement is lost for a name that it lacks."""
    encoding = getattr(file, "encoding", None) or "utf-8"
    return printable(text).encode(encoding, "backslashreplace").decode(encoding)


@contextmanager
def errors_only(logger: str) -> Iterator[None]:
    """Let a logger tell of errors alone."""
    chosen = logging.getLogger(logger)
    before = chosen.level
    chosen.setLevel(logging.ERROR)
    try:
        yield
    finally:
        chosen.setLevel(before)


def write_all_letters() -> None:
    """Let standard output escape the letters that its encoding lacks, in a C locale or a pipe under Windows."""
    if isinstance(sys.stdout, io.TextIOWrapper) and sys.stdout.errors in ("strict", "surrogateescape"):
        sys.stdout.reconfigure(errors="backslashreplace")


def is_terminal() -> bool:
    """Whether standard output is a terminal; there may be none, and what stands in its place may not say."""
    isatty = getattr(sys.stdout, "isatty", None)
    return isatty is not None and bool(isatty())


def is_live() -> bool:
    """Whether standard output can show what moves: a terminal that is not dumb."""
    return is_terminal() and os.environ.get("TERM", "").lower() not in ("dumb", "unknown")


def new_console() -> Any:
    """A console of rich that prints texts as they are: ``[b]`` and ``:x:`` in a name are letters."""
    return require("rich.console").Console(markup=False, emoji=False)


def _shared_console() -> Any:
    """One for all bars, which may stand above each other, as long as the output is the same: rich asks only once."""
    output = getattr(sys.stdout, "rich_proxied_file", sys.stdout)  # open bars stand in its place
    return _console_of(id(output), is_live(), *map(os.environ.get, ("COLUMNS", "LINES", "TERM", "NO_COLOR")))


@lru_cache(maxsize=1)
def _console_of(*output: object) -> Any:
    return new_console()


def new_bars(*, timed: bool = False) -> Any:
    """Bars of rich: title, bar and the task's ``text``, and the time left if ``timed``; gone when they are closed."""
    progress, text = require("rich.progress"), require("rich.text")

    class Words(progress.ProgressColumn):  # type: ignore[misc, name-defined]
        """A text of the task in one line; rich's own column reads markup."""

        def __init__(self, field: str) -> None:
            super().__init__()
            self._field = field

        def render(self, task: Any) -> Any:
            words = task.fields.get(self._field, "") if self._field else task.description
            return text.Text(" ".join(_writable(words, sys.stdout).split("\n")), no_wrap=True)

    bar = (progress.BarColumn(bar_width=bar_width()),) if bar_width() > _SHORT else ()
    left = (progress.TimeRemainingColumn(),) if timed else ()
    return progress.Progress(Words(""), *bar, Words("text"), *left, console=_shared_console(), transient=True)


def bar_width() -> int:
    """Characters of a bar in this terminal."""
    return max(0, min(24, shutil.get_terminal_size().columns // 8))
