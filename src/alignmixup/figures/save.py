"""Make and write figures without a display."""

from __future__ import annotations

from pathlib import Path
from typing import Any


def new_figure(*, width: float, height: float) -> Any:
    """An empty figure, in inches; not registered with pyplot, so nothing needs closing.

    Raises:
        ImportError: matplotlib is not installed.
    """
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise ImportError('matplotlib is needed for figures: pip install "alignmixup[train]"') from error
    return Figure(figsize=(width, height), layout="constrained")


def save_png(figure: Any, path: Path) -> None:
    """Write a figure as PNG at 150 dots per inch."""
    figure.savefig(path, dpi=150, format="png")
