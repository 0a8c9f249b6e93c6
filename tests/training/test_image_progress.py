"""Progress off and on a terminal."""

import sys

import pytest

from alignmixup.training.progress import images as evaluate_progress
from alignmixup.training.progress.images import image_progress


def test_lines_that_say_how_far(monkeypatch, capsys):
    monkeypatch.setattr(evaluate_progress, "_SECONDS", 0.0)
    with image_progress("attack", images=100) as advance:
        advance(40)
        advance(60)
    out = capsys.readouterr().out.splitlines()
    assert out[0].startswith("attack  40/100 images  0:00 left")
    assert out[1].startswith("attack  100/100 images")


def test_what_is_quick_says_nothing(capsys):
    with image_progress("attack", images=100) as advance:
        advance(100)
    assert capsys.readouterr().out == ""


def test_a_bar_on_a_terminal(monkeypatch):
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True, raising=False)
    with image_progress("attack", images=10) as advance:
        advance(10)
    with pytest.raises(KeyError), image_progress("attack", images=10):
        raise KeyError
