"""Settings of axes that several figures share."""

from __future__ import annotations

from typing import Any


def log_scale(axes: Any) -> None:
    """A logarithmic vertical axis with plain numbers (60, not 6 × 10¹), also within one decade."""
    from matplotlib.ticker import LogLocator, NullFormatter, NullLocator, StrMethodFormatter

    axes.set_yscale("log")
    low, high = axes.get_ylim()
    fine = high / low < 8
    axes.yaxis.set_major_locator(LogLocator(subs=(1, 1.5, 2, 3, 4, 5, 6, 7, 8, 9) if fine else (1, 2, 5), numticks=20))
    axes.yaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
    axes.yaxis.set_minor_locator(NullLocator())
    axes.yaxis.set_minor_formatter(NullFormatter())


def count_epochs(axes: Any) -> None:
    """Whole numbers of epochs along the horizontal axis."""
    from matplotlib.ticker import MaxNLocator

    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.set_xlabel("epoch")
