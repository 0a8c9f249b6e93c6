"""The plot of several methods."""

from pathlib import Path
from typing import Any

import pytest

from alignmixup.figures.comparison import draw_comparison


def method(name: str, errors: list[float], spread: float | None) -> dict[str, Any]:
    return {
        "name": name,
        "runs": [{"last10_error_percent": error} for error in errors],
        "mean": {"last10_error_percent": sum(errors) / len(errors)},
        "spread": {"last10_error_percent": spread},
    }


def test_the_papers_number_does_not_stretch_the_axis(tmp_path: Path) -> None:
    near, far = (method("a", [20.0], None) | {"published_error_percent": error} for error in (18.0, 2.0))
    sizes = []
    for entry in (near, far, method("a", [20.0], None)):
        draw_comparison({"data": "cifar100", "methods": [entry]}, tmp_path / "x.png")
        sizes.append((tmp_path / "x.png").read_bytes())
    assert sizes[0] != sizes[1]  # a diamond and a line about it
    assert sizes[1] == sizes[2]


@pytest.mark.parametrize("spread", [None, 0.5])
def test_writes_a_png(tmp_path: Path, spread: float | None) -> None:
    file = tmp_path / "comparison.png"
    draw_comparison({"data": "digits", "methods": [method("a", [1.0, 2.0], spread), method("b", [3.0], None)]}, file)
    assert file.read_bytes().startswith(b"\x89PNG")
