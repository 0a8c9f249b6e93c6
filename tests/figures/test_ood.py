"""The picture of detection."""

import pytest
import torch

from alignmixup.figures.ood import draw_ood


@pytest.mark.parametrize("name", ["msp", "energy"])
def test_a_histogram_for_each_set_and_all_roc_curves(tmp_path, drawn, name):
    generator = torch.Generator().manual_seed(0)
    in_logits = 4 * torch.randn(200, 5, generator=generator)
    sets = {"uniform": torch.randn(300, 5, generator=generator), "folder:/far/away/flat": torch.zeros(100, 5)}
    draw_ood(in_logits, sets, tmp_path / "a.png", name=name, title="title")
    *histograms, roc = drawn[0].axes
    names = ["uniform", "folder:flat"]
    assert [axes.get_title() for axes in histograms] == names
    for axes in histograms:
        shares = [sum(bar.get_height() for bar in bars) for bars in axes.containers]
        assert shares == pytest.approx([1, 1])
    assert [text.get_text().split()[0] for text in roc.figure.legends[0].get_texts()][1:] == [
        f"{name}:" for name in names
    ]
    for line in roc.lines[:2]:
        assert (line.get_xdata()[-1], line.get_ydata()[-1]) == (1, 1)


def test_a_legend_of_long_names_stays_in_the_picture(tmp_path, drawn):
    names = [f"folder:/way/to/a_folder_of_images_with_a_rather_long_name_{number}" for number in range(5)]
    draw_ood(torch.randn(9, 2), {name: torch.randn(9, 2) for name in names}, tmp_path / "a.png")
    (legend,) = drawn[0].legends
    assert len(legend.get_texts()) == 6
    assert legend.get_window_extent().x0 > 0
    assert legend.get_window_extent().x1 < drawn[0].bbox.width


def test_five_sets_take_two_rows_and_equal_scores_can_be_drawn(tmp_path, drawn):
    draw_ood(torch.zeros(3, 2), {str(i): torch.zeros(2, 2) for i in range(5)}, tmp_path / "a.png")
    assert len(drawn[0].axes) == 6
    assert len({round(axes.get_position().y0, 3) for axes in drawn[0].axes}) >= 2
