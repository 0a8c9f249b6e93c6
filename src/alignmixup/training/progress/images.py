"""How far a measurement is: a live bar on a terminal, plain lines elsewhere."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from alignmixup.training.progress.display import TimeLeft

_SECONDS = 10.0  # between lines; what takes less says nothing


@contextmanager
def image_progress(title: str, *, images: int) -> Iterator[Callable[[int], None]]:
    """Context that gives a function to call with the number of images done since the last call.

    Args:
        title: what is being measured.
        images: how many there are in all.
    """
    left = TimeLeft()
    left.start(images)
    if sys.stdout.isatty():
        with _bar(title, images, left) as advance:
            yield advance
    else:
        yield _lines(title, images, left)


def _lines(title: str, images: int, left: TimeLeft) -> Callable[[int], None]:
    done, printed = 0, time.monotonic()

    def advance(count: int) -> None:
        nonlocal done, printed
        done += count
        if time.monotonic() - printed >= _SECONDS:
            printed = time.monotonic()
            print(f"{title}  {done}/{images} images  {left.after(max(images - done, 0))} left", flush=True)

    return advance


@contextmanager
def _bar(title: str, images: int, left: TimeLeft) -> Iterator[Callable[[int], None]]:
    from rich.progress import BarColumn, Progress, TextColumn

    columns = (TextColumn("{task.description}"), BarColumn(bar_width=24), TextColumn("{task.fields[text]}"))
    done = 0
    with Progress(*columns, transient=True) as bar:
        task = bar.add_task(title, total=images, text="starting")

        def advance(count: int) -> None:
            nonlocal done
            done += count
            text = f"{done}/{images} images  {left.after(max(images - done, 0))} left"
            bar.update(task, completed=done, text=text)

        yield advance
