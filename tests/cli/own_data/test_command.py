"""``alignmixup data``."""

from typing import Any

import pytest
from PIL import Image

from alignmixup.cli import main


def test_a_folder_in_order(folder: Any, capsys: pytest.CaptureFixture[str]) -> None:
    root = folder("train", "val", count=3)
    assert main(["data", str(root)]) == 0
    captured = capsys.readouterr()
    lines = captured.out.splitlines()
    assert lines[0].split() == ["class", "train", "val"]
    assert lines[1].split() == ["a", "3", "3"]
    assert lines[3].split() == ["all", "2", "6", "6"]
    assert "width: 20 to 20 pixels, median 20" in lines
    assert "modes: L 12" in lines
    assert lines[-1] == "nothing odd"
    assert captured.err.endswith(f"next: alignmixup train --data '{root}'\n")


def test_what_is_odd(folder: Any, capsys: pytest.CaptureFixture[str]) -> None:
    root = folder(count=30)
    for name in ("A", ".ipynb_checkpoints"):
        (root / name).mkdir()
        for number in range(2):
            Image.new("RGB", (40, 30)).save(root / name / f"{number}.png")
    (root / "a" / "broken.png").write_bytes(b"no image")
    (root / "a" / "notes.txt").write_text("x")
    assert main(["data", str(root)]) == 1
    out = capsys.readouterr().out
    for text in (
        "cannot be used",
        "broken.png",
        "nearly one name",
        ".ipynb_checkpoints",
        "no images (.txt: 1",
        "from 2 to 31",
    ):
        assert text in out
    assert "width: 20 to 40 pixels" in out
    assert main(["train", "--data", str(root)]) == 1  # the file is named before anything is trained
    assert "broken.png" in capsys.readouterr().err


def test_many_classes_are_told_by_the_largest_and_the_smallest(folder: Any, capsys: pytest.CaptureFixture[str]) -> None:
    root = folder(count=1, side=4, classes="abcdefghijklmnopqrstuvwxyz")
    assert main(["data", str(root)]) == 0
    out = capsys.readouterr().out
    assert "..." in out
    assert "all 26" in out
