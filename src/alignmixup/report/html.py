"""Pieces of HTML as text. Everything that comes from outside goes through `escape`."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape as _escape


def escape(value: object) -> str:
    """Text for HTML and SVG, also inside attributes."""
    return _escape(str(value), quote=True)


def tag(name: str, content: str = "", **attributes: object) -> str:
    """An element; attribute names lose a trailing underscore and write - for _; None leaves an attribute out.

    Args:
        name: of the element.
        content: HTML, escaped already.
        attributes: their values are escaped here.
    """
    written = "".join(
        f' {key.rstrip("_").replace("_", "-")}="{escape(value)}"'
        for key, value in attributes.items()
        if value is not None
    )
    return f"<{name}{written}>{content}</{name}>"


def table(
    headings: Sequence[str], rows: Iterable[Sequence[str]], *, caption: str, note: str = "", best: int | None = None
) -> str:
    """A table with a heading for each column and each row, that scrolls sideways where the page is narrow.

    Args:
        headings: of the columns, text.
        rows: cells, text; the first is the row's heading.
        caption: text, what the table shows.
        note: text below the caption.
        best: index of the row to emphasise.
    """
    head = "".join(tag("th", escape(heading), scope="col") for heading in headings)
    body = "".join(
        tag(
            "tr",
            tag("th", escape(row[0]), scope="row") + "".join(tag("td", escape(cell)) for cell in row[1:]),
            class_="best" if number == best else None,
        )
        for number, row in enumerate(rows)
    )
    text = escape(caption) + (tag("span", escape(note), class_="note") if note else "")
    content = tag("caption", text) + tag("thead", tag("tr", head)) + tag("tbody", body)
    return tag("div", tag("table", content), class_="scroll", tabindex="0", role="region", aria_label=caption)


def figure(content: str, caption: str) -> str:
    """A figure with its caption, HTML and text."""
    return tag("figure", content + tag("figcaption", escape(caption)))


def section(title: str, content: str, *, level: int = 2) -> str:
    """A section with its heading; nothing where there is no content."""
    return tag("section", tag(f"h{level}", escape(title)) + content) if content else ""


def details(summary: str, content: str) -> str:
    """A part that opens on demand; the content is HTML."""
    return tag("details", tag("summary", escape(summary)) + content)


def code(text: str) -> str:
    """A block of code that scrolls by itself."""
    return tag("pre", tag("code", escape(text)), tabindex="0")
