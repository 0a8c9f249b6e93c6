"""Make and write figures without a display, all in one style: as files, and as parts of a page."""

import io
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from html import escape
from pathlib import Path
from typing import IO, Any, Literal, get_args
from zlib import crc32

from alignmixup.figures.palette import CARD, GRID, INK, LIGHT, SOFT
from alignmixup.files import write_atomically
from alignmixup.outside import require

Target = str | Path | IO[str]
FigureKind = Literal["png", "pdf", "svg"]
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

_VARIABLES = {colour: f"var(--{name})" for name, colour in LIGHT.items()}
_FOR_FILES_ONLY = re.compile(r"<metadata>.*?</metadata>|<defs>\s*<style.*?</defs>|(?<=\n) +", re.DOTALL)
_GROUP = re.compile(r"""<g id=(["'])(.*)\1>""")


def check_format(path: Path) -> str:
    """The kind of file that a path's ending asks for; ValueError where figures are not written as that."""
    ending = path.suffix.lower().removeprefix(".")
    if ending not in _METADATA:
        raise ValueError(f"a figure is written as .png, .pdf or .svg, got {path}")
    return ending


def figure_of_each_kind(file: Path) -> list[Path]:
    """The names that a figure may have."""
    return [file.with_suffix(f".{kind}") for kind in get_args(FigureKind)]


def figures_to_draw(file: Path, kind: FigureKind) -> list[Path]:
    """A figure as ``kind``, and as what lies there already of the other kinds, which would else show old numbers."""
    wanted = file.with_suffix(f".{kind}")
    return [wanted, *(one for one in figure_of_each_kind(file) if one != wanted and one.is_file())]


@contextmanager
def drawing(target: Target, *, width: float, height: float) -> Iterator[Any]:
    """An empty figure, so many inches wide and high, that is written when the block ends; pyplot does not know of it.

    ``target`` is a file whose ending says its kind, PNG with 150 dots per inch; or an open one that takes SVG whose
    texts remain texts. ValueError for another kind of file, ImportError without matplotlib.
    """
    target = Path(target) if isinstance(target, str) else target
    ending = check_format(target) if isinstance(target, Path) else "svg"
    matplotlib, figures = require("matplotlib"), require("matplotlib.figure")
    texts = "path" if isinstance(target, Path) else "none"
    with matplotlib.rc_context({**_STYLE, "svg.fonttype": texts}):
        figure = figures.Figure(figsize=(width, height), layout="constrained")
        yield figure
        write = partial(figure.savefig, dpi=150, format=ending, metadata=_METADATA[ending])
        if isinstance(target, Path):
            write_atomically(target, write)
        else:
            write(target)


def inline_svg(draw: Callable[[IO[str]], None], *, label: str) -> str:
    """The SVG element of the figure that ``draw`` writes, for a page that defines the variables of `palette`.

    Nothing in it refers to anything outside; its names end in a number of its own, since a page holds several. The font
    is the page's. What a mark was called by ``gid`` becomes its tooltip. ``label`` says what the figure shows, for
    those who cannot see it.
    """
    file = io.StringIO()
    draw(file)
    head, _, body = _FOR_FILES_ONLY.sub("", file.getvalue()).partition("<svg ")[2].partition(">")
    own = f"{crc32(f'{label}{body}'.encode()):x}"
    body = re.sub(r"<[^>]+>", lambda found: _page_tag(found[0], own), body)
    box = re.search(r'viewBox="[^"]*"', head)
    assert box is not None
    return f'<svg class="chart" {box[0]} role="img" aria-label="{escape(label)}">{body}'


def _page_tag(tag: str, own: str) -> str:
    """A tag as a page needs it. Names that matplotlib gives to groups by itself have no spaces."""
    if group := _GROUP.fullmatch(tag):
        return f"<g><title>{group[2]}</title>" if " " in group[2] else "<g>"
    tag = re.sub(r"(\.\d\d)\d+| font-family: [^;]*;|xlink:(?=href)", r"\1", tag)
    tag = re.sub(r'((?<=\bid=")|(?<=url\(#)|(?<=href="#))\w+', rf"\g<0>-{own}", tag)
    return re.sub(r"#[0-9a-f]{6}\b", lambda found: _VARIABLES.get(found[0], found[0]), tag)
