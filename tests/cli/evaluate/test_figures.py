"""A figure for each part that all results hold."""

from pathlib import Path

from alignmixup.cli.evaluate import figures as evaluate_figures
from alignmixup.cli.evaluate.figures import draw_figures, mean_corruptions


def test_parts_that_all_have(monkeypatch):
    drawn = []
    for name in ("draw_reliability", "draw_attacks"):
        monkeypatch.setattr(evaluate_figures, name, lambda groups, path, name=name: drawn.append((name, list(groups))))
    results = [{"method": "a", "calibration": {}, "attacks": {}}, {"method": "b", "calibration": {}}]
    assert draw_figures(results, Path("x/found.json")) == [Path("x/found-calibration.png")]
    assert drawn == [("draw_reliability", ["a", "b"])]


def test_the_figure_of_scores_is_named_where_it_is(tmp_path):
    assert draw_figures([{"method": "a", "ood": {}}], tmp_path / "found.json") == []
    (tmp_path / "found-ood.png").touch()
    assert draw_figures([{"method": "a", "ood": {}}], tmp_path / "found.json") == [tmp_path / "found-ood.png"]


def test_runs_of_a_method_are_averaged():
    def run(clean, errors):
        return {
            "kinds": ["fog"],
            "severities": [1, 5],
            "clean_error_percent": clean,
            "error_percent": {"fog": errors},
            "kind_error_percent": {"fog": sum(errors) / 2},
            "mean_error_percent": sum(errors) / 2,
        }

    mean = mean_corruptions([run(1.0, [2.0, 4.0]), run(3.0, [4.0, 10.0])])
    assert mean == run(2.0, [3.0, 7.0])
