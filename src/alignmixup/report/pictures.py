"""Pictures that other commands drew in the run folders, as data inside the page."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from pathlib import Path

from alignmixup.report.html import escape, figure, tag
from alignmixup.report.rows import Row

_TYPES = {".png": "png", ".jpg": "jpeg", ".jpeg": "jpeg", ".gif": "gif", ".webp": "webp"}


def of_rows(rows: Sequence[Row]) -> dict[Path, str]:
    """The pictures of all runs, with captions."""
    return {
        picture: f"{row.name}, seed {run.record['seed']}: {picture.relative_to(run.path)}"
        for row in rows
        for run in row.runs
        for picture in run.pictures
    }


def embed_pictures(pictures: Mapping[Path, str], *, largest: int, all_together: int) -> str:
    """The pictures in their order, as far as they fit; the others are named.

    Args:
        pictures: file -> its caption.
        largest: bytes of one picture.
        all_together: bytes of all pictures.
    """
    figures, left_out, used = [], [], 0
    for picture, caption in pictures.items():
        size = picture.stat().st_size
        if size > largest or used + size > all_together:
            left_out.append(f"{caption} ({size / 2**20:.1f} MiB)")
            continue
        used += size
        figures.append(figure(_image(picture, caption), caption))
    note = f"Too large for this page: {'; '.join(left_out)}." if left_out else ""
    content = tag("div", "".join(figures), class_="pictures") if figures else ""
    return content + (tag("p", escape(note), class_="note") if note else "")


def _image(file: Path, text: str) -> str:
    data = base64.b64encode(file.read_bytes()).decode()
    return f'<img alt="{escape(text)}" loading="lazy" src="data:image/{_TYPES[file.suffix.lower()]};base64,{data}">'
