"""Figures of errors under attack."""

import pytest

from alignmixup.figures import attacks
from alignmixup.figures.attacks import draw_attacks


def part(*, checked):
    paths = [
        {"label": "fgsm", "path_error_percent": [20.0, 60.0]},
        {"label": "pgd", "path_error_percent": [25.0, 50, 70]},
    ]
    sweep = {"name": "epsilon", "epsilon": [0.0, 0.01, 0.02], "error_percent": [20.0, 50.0, 80.0]}
    checks = {"attack": "pgd", "images": 9, "checks": [{"name": "noise"}, sweep]}
    return {"attacks": {"images": 30, "attacks": paths} | ({"checks": checks} if checked else {})}


@pytest.mark.parametrize("checked", [True, False])
def test_draws_paths_and_the_sweep(tmp_path, monkeypatch, checked):
    figures = []
    monkeypatch.setattr(attacks, "save_png", lambda figure, path: figures.append(figure))
    draw_attacks({"a": [part(checked=checked)] * 2, "b": [part(checked=checked)]}, tmp_path / "a.png")
    panels = figures[0].axes
    assert len(panels) == 1 + checked
    assert [line.get_label() for line in panels[0].lines] == ["a: fgsm", "a: pgd", "b: fgsm", "b: pgd"]
    assert list(panels[0].lines[1].get_ydata()) == [25, 50, 70]
    if checked:
        assert panels[1].lines[0].get_xdata() == pytest.approx([0, 2.55, 5.1])


def test_writes_a_png(tmp_path):
    draw_attacks({"a": [part(checked=True)]}, tmp_path / "a.png")
    assert (tmp_path / "a.png").read_bytes().startswith(b"\x89PNG")
