"""The plot of a classifier's beliefs along paths."""

import pytest

from alignmixup.figures.confidence import draw_confidence


@pytest.mark.parametrize("error", [0.1, None])
@pytest.mark.parametrize("names", [("either", "own", "partner", "entropy", "sharpness"), ("either", "entropy")])
def test_a_panel_for_each_quantity_with_a_line_for_each_path(tmp_path, drawn, names, error):
    curves = {name: {"mean": [1.0, 0.5, 0.8], "standard_error": [error] * 3} for name in names}
    paths = {path: {"curves": curves} for path in ("first", "partner", "none")}
    draw_confidence({"lam": [1, 0.5, 0], "all": {"paths": paths}}, tmp_path / "a.png", title="title")
    panels = drawn[0].axes
    assert len(panels) == len(names)
    for axes in panels:
        assert [list(line.get_ydata()) for line in axes.lines] == [[1.0, 0.5, 0.8]] * 3
        assert axes.get_xlim() == (1, 0)
        bands = [band.get_datalim(axes.transData).extents.tolist() for band in axes.collections]
        assert bands == ([] if error is None else [pytest.approx([0, 0.4, 1, 1.1])] * 3)
    (legend,) = drawn[0].legends
    assert [text.get_text() for text in legend.get_texts()][-1] == "not aligned"
    assert drawn[0].get_suptitle() == "title"
