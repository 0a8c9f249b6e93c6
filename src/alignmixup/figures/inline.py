"""A figure as a part of a page: SVG whose colours are the page's, so that it follows light and dark."""

from __future__ import annotations

import io
import re
from collections.abc import Callable
from html import escape
from typing import IO
from zlib import crc32

from alignmixup.figures.palette import LIGHT

_VARIABLES = {colour: f"var(--{name})" for name, colour in LIGHT.items()}
_FOR_FILES_ONLY = re.compile(
    r"<metadata>.*?</metadata>|<defs>\s*<style.*?</defs>|(?<=\n) +| font-family: [^;]*;", re.DOTALL
)


def inline_svg(draw: Callable[[IO[str]], None], *, label: str) -> str:
    """The SVG element of a figure, for a page that defines the variables of `palette`.

    Nothing in it refers to anything outside; its names end in a number of its own, since a page holds several. The font
    is the page's. What a mark was called by ``gid`` becomes its tooltip.

    Args:
        draw: writes the figure into the open file it is given.
        label: what the figure shows, for those who cannot see it.
    """
    file = io.StringIO()
    draw(file)
    head, _, body = _FOR_FILES_ONLY.sub("", file.getvalue()).partition("<svg ")[2].partition(">")
    body = re.sub(r"<[^>]+>", lambda found: re.sub(r"(\.\d\d)\d+", r"\1", found[0]), body)
    body = re.sub(r"""<g id=(["'])(.*?)\1>""", lambda found: f"<g>{_tooltip(found[2])}", body)
    own = crc32(f"{label}{body}".encode())
    body = re.sub(r'(?<=id=")\w+|(?<=url\(#)\w+|(?<=href="#)\w+', lambda found: f"{found[0]}-{own:x}", body)
    body = re.sub(r"#[0-9a-f]{6}\b", lambda found: _VARIABLES.get(found[0], found[0]), body)
    box = re.search(r'viewBox="[^"]*"', head)
    assert box is not None
    return f'<svg class="chart" {box[0]} role="img" aria-label="{escape(label)}">{body.replace("xlink:href", "href")}'


def _tooltip(name: str) -> str:
    """Names that matplotlib gives by itself have no spaces."""
    return f"<title>{name}</title>" if " " in name else ""
