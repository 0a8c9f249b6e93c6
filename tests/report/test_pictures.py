"""Pictures inside the page."""

import base64
from collections.abc import Callable
from pathlib import Path

from alignmixup.report.pictures import embed_pictures, of_rows
from alignmixup.report.rows import build_rows
from alignmixup.report.runs import find_runs

Make = Callable[..., Path]


def test_pictures_are_data_and_large_ones_are_named(make: Make) -> None:
    folder = make("alignmixup", 0, [30.0])
    for name, size in (("a.png", 10), ("b.gif", 2000), ("c.webp", 90), ("d.jpg", 90)):
        (folder / name).write_bytes(b"x" * size)
    pictures = of_rows(build_rows(find_runs([folder])))
    assert next(iter(pictures.values())) == "AlignMixup, seed 0: a.png"
    got = embed_pictures(pictures, largest=1000, all_together=150)
    assert f'src="data:image/png;base64,{base64.b64encode(b"x" * 10).decode()}"' in got
    assert "data:image/webp;" in got
    assert got.count("<img") == 2
    assert "Too large for this page: AlignMixup, seed 0: b.gif (0.0 MiB); AlignMixup, seed 0: d.jpg" in got
    assert got.count("alt=") == 2


def test_no_picture_no_text() -> None:
    assert embed_pictures({}, largest=1, all_together=1) == ""
