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


@pytest.mark.parametrize("spread", [None, 0.5])
def test_writes_a_png(tmp_path: Path, spread: float | None) -> None:
    file = tmp_path / "comparison.png"
    draw_comparison({"data": "digits", "methods": [method("a", [1.0, 2.0], spread), method("b", [3.0], None)]}, file)
    assert file.read_bytes().startswith(b"\x89PNG")
