"""The plot of a classifier's beliefs along paths."""

import pytest

from alignmixup.figures.confidence import draw_confidence


@pytest.mark.parametrize("error", [0.1, None])
@pytest.mark.parametrize("names", [("either", "own", "partner", "entropy"), ("either", "entropy", "decoded_either")])
def test_writes_a_png(tmp_path, names, error):
    curves = {name: {"mean": [1.0, 0.5, 0.8], "standard_error": [error] * 3} for name in names}
    paths = {path: {"curves": curves} for path in ("first", "partner", "none")}
    file = tmp_path / "a.png"
    draw_confidence({"lam": [1, 0.5, 0], "all": {"paths": paths}}, file, title="title")
    assert file.read_bytes().startswith(b"\x89PNG")
