"""How far a measurement is: a live bar on a terminal, plain lines elsewhere."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext

from alignmixup.terminal import is_live, new_bars, say
from alignmixup.training.progress.display import TimeLeft

_SECONDS = 10.0  # between lines; what takes less says nothing


@contextmanager
def image_progress(title: str, *, images: int) -> Iterator[Callable[[int], None]]:
    """Context that gives a function to call with the number of images done since the last call."""
    left, done, printed = TimeLeft(), 0, time.monotonic()
    left.start(images)
    with new_bars() if is_live() else nullcontext() as bars:
        task = bars and bars.add_task(title, total=images, text="starting")

        def advance(count: int) -> None:
            nonlocal done, printed
            done += count
            text = f"{done}/{images} images  {left.after(max(images - done, 0))} left"
            if bars:
                bars.update(task, completed=done, text=text)
            elif time.monotonic() - printed >= _SECONDS:
                printed = time.monotonic()
                say(f"{title}  {text}", flush=True)

        yield advance
