"""Figures of errors under attack."""

import pytest

from alignmixup.figures.robustness import draw_attacks


def part(*, checked):
    paths = [
        {"label": "fgsm", "path_error_percent": [20.0, 60.0]},
        {"label": "pgd", "path_error_percent": [25.0, 50, 70]},
    ]
    sweep = {"name": "epsilon", "epsilon": [0.0, 0.01, 0.02], "error_percent": [20.0, 50.0, 80.0]}
    checks = {"attack": "pgd", "images": 9, "checks": [{"name": "noise"}, sweep]}
    return {"attacks": {"images": 30, "attacks": paths} | ({"checks": checks} if checked else {})}


def look_of(line):
    return line.get_color(), line.get_marker(), str(line._dash_pattern)  # get_linestyle names no lengths


@pytest.mark.parametrize("checked", [True, False])
def test_draws_paths_and_the_sweep(tmp_path, drawn, checked):
    draw_attacks({"a": [part(checked=checked)] * 2, "b": [part(checked=checked)]}, tmp_path / "a.png")
    panels = drawn[0].axes
    assert len(panels) == 1 + checked
    (legend,) = drawn[0].legends
    assert {text.get_text() for text in legend.get_texts()} == {"a: fgsm", "a: pgd", "b: fgsm", "b: pgd"}
    assert list(panels[0].lines[1].get_ydata()) == [25, 50, 70]
    assert [line.get_color() for line in panels[0].lines[::2]] == [
        line.get_color() for line in panels[-1].lines[-2:]
    ] or not checked
    if checked:
        assert panels[1].lines[0].get_xdata() == pytest.approx([0, 2.55, 5.1])
    box = legend.get_window_extent()
    assert not any(box.overlaps(axes.get_window_extent()) for axes in panels)  # covers no curve


def test_means_are_of_one_attack_whatever_the_order_and_of_what_all_runs_have(tmp_path, drawn):
    """Results grow one attack at a time: each run's in an order of its own, and one may have more."""
    first, second = part(checked=True), part(checked=True)
    second["attacks"]["attacks"].reverse()
    second["attacks"]["attacks"].append({"label": "more", "path_error_percent": [1.0, 2.0]})
    second["attacks"]["attacks"][0] = {"label": "pgd", "path_error_percent": [35.0, 60, 90]}
    second["attacks"]["checks"] = second["attacks"]["checks"] | {"attack": "another"}
    draw_attacks({"a": [second, first], "b": [second]}, tmp_path / "a.png")
    (axes,) = drawn[0].axes  # one panel: checks of two attacks make no curve
    found = {line.get_label(): list(line.get_ydata()) for line in axes.lines}
    assert found["a: pgd"] == [30, 55, 80]
    assert found["a: fgsm"] == [20, 60]
    assert set(found) == {"a: fgsm", "a: pgd", "b: fgsm", "b: pgd", "b: more"}
    looks = {name: (line.get_linestyle(), line.get_marker()) for name, line in zip(found, axes.lines, strict=True)}
    assert looks["a: pgd"] == looks["b: pgd"]


def test_no_two_lines_look_alike_however_many_there_are(tmp_path, drawn):
    """Colours tell eight methods apart, dashes four attacks."""
    paths = [{"label": f"pgd {n}", "path_error_percent": [20.0, 60.0, 70.0]} for n in range(5)]
    paths += [{"label": f"fgsm {n}", "path_error_percent": [20.0, 60.0]} for n in range(2)]
    paths += [{"label": "autoattack", "error_percent": 90.0}]
    sweep = part(checked=True)["attacks"] | {"attacks": paths}
    draw_attacks({f"method {n}": [{"attacks": sweep}] for n in range(12)}, tmp_path / "a.png")
    for axes, count in zip(drawn[0].axes, (12 * len(paths), 12), strict=True):
        assert len(axes.lines) == len(set(map(look_of, axes.lines))) == count


def test_an_attack_without_a_path_is_named_too(tmp_path, drawn):
    result = part(checked=False)
    result["attacks"]["attacks"].append({"label": "autoattack", "error_percent": 90.0})
    draw_attacks({"a": [result], "b": [result]}, tmp_path / "a.png")
    texts = [text.get_text() for text in drawn[0].legends[0].get_texts()]
    assert texts == [f"{label}: {attack}" for label in "ab" for attack in ("fgsm", "pgd", "autoattack")]
    looks = list(map(look_of, drawn[0].axes[0].lines))
    assert len(set(looks)) == len(looks) == len(texts)
