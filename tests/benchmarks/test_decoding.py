"""Large images from files against torchvision's ways."""

import math

import pytest
from PIL import Image

from alignmixup.benchmarks import decoding

KEYS = ["part", "case", "workers", "images/s", "ms per image", "ours is faster", "min", "max"]
TINY = ("--images", "4", "--batch", "2", "--size", "16")


def test_rows(options_of):
    report = decoding.run(options_of("decoding", *TINY, "--workers", "0", "1"))
    assert all(list(row) == KEYS for row in report.rows)
    numbers = [row[key] for row in report.rows for key in KEYS[3:]]
    assert all(number > 0 and math.isfinite(number) for number in numbers)
    assert [row["workers"] for row in report.rows if row["part"] == "loader"] == [0, 0, 0, 1, 1, 1]
    ours = [row for row in report.rows if row["case"].startswith("ours")]
    assert len(ours) == 4
    assert all(row["ours is faster"] == row["min"] == row["max"] == 1.0 for row in ours)
    assert "images/s with 1 workers" in report.notes[1]


def test_a_missing_rival_becomes_a_note(options_of, monkeypatch):
    monkeypatch.setattr(decoding, "has", lambda library: False)
    report = decoding.run(options_of("decoding", *TINY, "--workers", "0"))
    assert not any("torchvision" in row["case"] for row in report.rows)
    assert report.notes[-1].startswith("torchvision is not installed")


def test_images_are_like_photographs(tmp_path):
    sizes = decoding.write_images(tmp_path, 4)
    assert all(60 < size / 1024 < 125 for size in sizes)
    with Image.open(tmp_path / "train" / "class3" / "000003.jpg") as image:
        assert image.size == (500, 375)
    assert len(list((tmp_path / "val").rglob("*.jpg"))) == 4


def test_workers_by_hand():
    def rows(rates):
        return [{"part": "loader", "case": "ours", "workers": w, "images/s": rate} for w, rate in rates.items()]

    several = decoding.workers_note(rows({0: 90.0, 2: 200.0, 1: 110.0}), 1000)
    assert "90 images/s with 0, 110 images/s with 1, 200 images/s with 2 workers" in several
    assert "at 110 images/s each, 1000 images/s take 10 workers" in several
    assert "at 90 images/s each, 1000 images/s take 12 workers" in decoding.workers_note(rows({0: 90.0}), 1000)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--images", "3"], "--images must be >= 4, .*, got 3"),
        (["--batch", "0"], "got 0 and 224"),
        (["--size", "0"], "got 8 and 0"),
        (["--workers", "0", "-1"], "--workers must be >= 0, got -1"),
        (["--feed", "nan"], "--feed must be > 0 and finite, got nan"),
    ],
)
def test_bad_values_are_named(options_of, arguments, message):
    with pytest.raises(ValueError, match=message):
        decoding.run(options_of("decoding", *arguments))
