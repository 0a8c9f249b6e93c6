"""Make and write figures without a display, all in one style."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from alignmixup.figures.palette import CARD, GRID, INK, SOFT
from alignmixup.outside import require

Target = Path | IO[str]
_METADATA = {"png": {}, "pdf": {"CreationDate": None}, "svg": {"Date": None}}  # one record, one file
_STYLE = {
    "axes.axisbelow": True,
    "axes.edgecolor": SOFT,
    "axes.facecolor": CARD,
    "axes.grid": True,
    "axes.labelcolor": SOFT,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "axes.titlecolor": INK,
    "axes.titlesize": "medium",
    "figure.facecolor": CARD,
    "figure.titlesize": "medium",
    "font.size": 9,
    "grid.color": GRID,
    "legend.fontsize": "small",
    "legend.frameon": False,
    "lines.linewidth": 1.6,
    "lines.markersize": 5,
    "pdf.fonttype": 42,  # publishers refuse type 3
    "svg.hashsalt": "alignmixup",
    "text.color": INK,
    "text.parse_math": False,  # names of others may hold dollars
    "xtick.color": SOFT,
    "ytick.color": SOFT,
}


def check_format(path: Path) -> str:
    """The kind of file that a path's ending asks for.

    Raises:
        ValueError: none that figures are written as.
    """
    ending = path.suffix.lower().removeprefix(".")
    if ending not in _METADATA:
        raise ValueError(f"a figure is written as .png, .pdf or .svg, got {path}")
    return ending


@contextmanager
def drawing(target: Target, *, width: float, height: float) -> Iterator[Any]:
    """An empty figure that is written when the block ends.

    It is not registered with pyplot, so nothing needs closing.

    Args:
        target: a file whose ending says its kind, PNG with 150 dots per inch; or an open one that takes SVG whose texts
            remain texts.
        width: in inches.
        height: in inches.

    Raises:
        ValueError: another kind of file.
        ImportError: matplotlib is not installed.
    """
    ending = check_format(target) if isinstance(target, Path) else "svg"
    matplotlib, figures = require("matplotlib"), require("matplotlib.figure")
    texts = "path" if isinstance(target, Path) else "none"
    with matplotlib.rc_context({**_STYLE, "svg.fonttype": texts}):
        figure = figures.Figure(figsize=(width, height), layout="constrained")
        yield figure
        figure.savefig(target, dpi=150, format=ending, metadata=_METADATA[ending])
