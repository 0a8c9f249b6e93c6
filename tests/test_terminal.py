"""Names of others on a terminal: shown as they are, steering nothing."""

import io
import sys

import pytest

from alignmixup.cli import main
from alignmixup.cli.compare.display import BarDisplay, LineDisplay
from alignmixup.cli.table import new_table, show
from alignmixup.data.decode import with_bar
from alignmixup.runs.jobs.queue import Display
from alignmixup.terminal import new_bars, printable, say
from alignmixup.training.progress.display import BarReporter, LineReporter, Reporter
from alignmixup.training.progress.images import image_progress

NAMES = ["[red]x[/red]", "[/]", "[link=https://a.b]x[/link]", ":dog:", "a\x1b[2J\x07", "b\x9b2J\rc", "100 %", "{x}"]
ROW = {"epoch": 0, "train_loss": 1.0, "error_percent": 5.0, "images_per_second": 9.0}


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> Terminal:
    """What a terminal of 100 columns receives that knows no colours."""
    screen = Terminal()
    for key, value in {"TERM": "xterm", "NO_COLOR": "1", "COLUMNS": "100", "LINES": "40"}.items():
        monkeypatch.setenv(key, value)
    return screen


def run(reporter: Reporter, name: str) -> None:
    reporter.start(name, epochs=1, batches=2, first_epoch=0)
    reporter.step(epoch=0, step=1, loss=1.0, images_per_second=9.0)
    reporter.epoch(ROW)
    reporter.close()


def compare(display: Display, name: str) -> None:
    run(display.reporter(name), name)
    display.ended(name, f"failed: {name}")
    display.close()


def measure(name: str) -> None:
    with image_progress(name, images=2) as advance:
        advance(2)


def table(name: str) -> None:
    shown = new_table(name, "number", title=name, caption=name)
    shown.add_row(name, name)
    show(shown, name)


WAYS = {
    "train, lines": lambda name: run(LineReporter(seconds=0), name),
    "train, bar": lambda name: run(BarReporter(), name),
    "compare, lines": lambda name: compare(LineDisplay({name: 1}, total=1), name),
    "compare, bars": lambda name: compare(BarDisplay({name: 1}, total=1), name),
    "images": measure,
    "data": lambda name: list(with_bar(range(3), name, total=3)),
    "table": table,
    "say": lambda name: say(name, ["x", name]),
}


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("way", WAYS)
def test_a_name_is_shown_whole_and_steers_nothing(
    terminal: Terminal, monkeypatch: pytest.MonkeyPatch, way: str, name: str
) -> None:
    monkeypatch.setattr(sys, "stdout", terminal)  # pytest sets its own when a test begins
    WAYS[way](name)
    said = terminal.getvalue()
    assert printable(name) in said
    assert not set("\x07\x9b") & set(said)
    assert name.isprintable() or name not in said


@pytest.mark.parametrize("encoding", ["ascii", "cp1252"])
@pytest.mark.parametrize("errors", ["strict", "surrogateescape"])
def test_letters_that_the_output_lacks_are_escaped(monkeypatch: pytest.MonkeyPatch, encoding: str, errors: str) -> None:
    """A pipe under Windows, and the locale C; a training must not end for the name of its folder."""
    piped = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(piped, encoding=encoding, errors=errors, write_through=True))
    say("☃ first")
    run(LineReporter(seconds=0), "☃ second")
    assert piped.getvalue().count(b"\\u2603") == 2
    assert main(["methods", "alignmixup"]) == 0
    assert b"\\u03bb" in piped.getvalue()  # lambda, in a table of rich


@pytest.mark.parametrize("output", [None, object()])
def test_what_stands_in_place_of_an_output_may_not_say_that_it_is_none(monkeypatch, output):
    monkeypatch.setattr(sys, "stdout", output)
    assert list(with_bar([1, 2], "images", total=2)) == [1, 2]


def test_bars_follow_the_output(terminal: Terminal, monkeypatch: pytest.MonkeyPatch) -> None:
    """The first bar of a process may have gone into a pipe; those above each other share a console."""
    monkeypatch.setattr(sys, "stdout", io.StringIO())
    with new_bars():
        pass
    monkeypatch.setattr(sys, "stdout", terminal)
    with new_bars() as outer, new_bars() as inner:
        outer.add_task("outer", text="")
        inner.add_task("inner", text="")
        assert outer.console is inner.console
    assert "outer" in terminal.getvalue()
