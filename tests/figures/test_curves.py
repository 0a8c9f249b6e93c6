"""The plot of one run."""

from pathlib import Path

from alignmixup.figures.curves import draw_curves


def test_writes_a_png(tmp_path: Path) -> None:
    curve = [
        {"epoch": 0, "train_loss": 1.0},
        {"epoch": 1, "train_loss": 0.5, "error_percent": 20.0},
        {"epoch": 2, "train_loss": 0.4, "error_percent": 0.0},
    ]
    record = {
        "curve": curve,
        "metrics": {"best_error_percent": 0.0, "last10_error_percent": 10.0},
        "config": {"method": {"name": "cutmix"}, "data": {"name": "digits"}},
        "seed": 0,
    }
    file = tmp_path / "curves.png"
    draw_curves(record, file)
    assert file.read_bytes().startswith(b"\x89PNG")
