"""Figures without a display."""

import importlib
import sys
from pathlib import Path

import pytest

from alignmixup.figures.save import new_figure, save_png


def test_size_in_pixels(tmp_path: Path) -> None:
    image = importlib.import_module("PIL.Image")
    save_png(new_figure(width=2, height=1), tmp_path / "a.png")
    with image.open(tmp_path / "a.png") as opened:
        assert opened.size == (300, 150)


def test_missing_matplotlib_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(ImportError, match=r'pip install "alignmixup\[train\]"'):
        new_figure(width=1, height=1)
