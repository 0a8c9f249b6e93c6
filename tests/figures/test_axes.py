"""Ticks that read well."""

import pytest

from alignmixup.figures.axes import count_epochs, log_scale
from alignmixup.figures.save import new_figure


def labels(axis):
    low, high = axis.get_view_interval()
    return axis.get_major_formatter().format_ticks([at for at in axis.get_majorticklocs() if low <= at <= high])


@pytest.mark.parametrize(("low", "high"), [(49, 90), (2, 60), (0.5, 90)])
def test_log_scale_shows_several_plain_numbers(low, high):
    axes = new_figure(width=4, height=3).subplots()
    axes.plot([1, 2, 3], [high, (low + high) / 2, low])
    log_scale(axes)
    found = labels(axes.yaxis)
    assert len(found) >= 3
    assert all(low <= float(label) * 1.2 and float(label) <= high * 1.2 for label in found)


def test_epochs_are_whole_numbers():
    axes = new_figure(width=4, height=3).subplots()
    axes.plot([1, 2, 3], [1, 2, 3])
    count_epochs(axes)
    found = labels(axes.xaxis)
    assert len(found) >= 2
    assert all(label.isdigit() for label in found)
