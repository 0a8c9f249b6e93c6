"""Out-of-distribution detection: scores of each set beside those of the test images, and the ROC curves."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from alignmixup.evaluation.ood import cut_to_equal, detection_metrics, score
from alignmixup.figures.axes import fold, panels
from alignmixup.figures.palette import INK, SOFT, dashes, series
from alignmixup.figures.save import Target, drawing
from alignmixup.outside import require

_COLUMNS = 4
_BINS = 40
_HEADINGS = {
    "msp": "largest probability",
    "energy": "log-sum-exp of the logits",
    "entropy": "minus entropy (nats)",
    "max_logit": "largest logit",
}


def draw_ood(
    in_logits: Tensor, out_logits: Mapping[str, Tensor], path: Target, *, name: str = "msp", title: str = ""
) -> None:
    """Draw one histogram for each out-of-distribution set, and all ROC curves, of the score ``name``.

    The logits (N, K) and set -> (M, K) are cut to equal counts, as in `evaluate_ood`, whose errors hold.
    In-distribution is positive.
    """
    count = len(out_logits) + 1
    columns, rows = min(_COLUMNS, count), -(-count // _COLUMNS)
    scores = {
        key: tuple(score(name, part) for part in cut_to_equal(in_logits, logits)) for key, logits in out_logits.items()
    }
    shown = torch.cat([part for pair in scores.values() for part in pair])
    low, high = float(shown.min()), float(shown.max())
    limits = (low, high) if high > low else (low - 0.5, high + 0.5)
    aurocs = {key: 100 * detection_metrics(*pair)["auroc"] for key, pair in scores.items()}
    labels = {key: f"{_short(key)}: AUROC {auroc:.1f} %" for key, auroc in aurocs.items()}
    beside = min(columns, max(1, int(3.1 * columns / (0.6 + 0.075 * max(map(len, labels.values()))))))
    height = 2.7 * rows + 0.2 * -(-count // beside) + 0.3 * bool(title)
    with drawing(path, width=3.1 * columns, height=height) as figure:
        grid = panels(figure, count, columns=columns)
        for number, (axes, (key, (s_in, s_out))) in enumerate(zip(grid, scores.items(), strict=False)):
            _draw_histogram(axes, s_in, s_out, limits, colour=series(number + 1), label=labels[key])
            axes.set_title(fold(_short(key)))
            axes.set_xlabel(_HEADINGS[name])
        _draw_roc(grid[-1], scores)
        known = dict(pair for axes in grid[:-1] for pair in zip(*axes.get_legend_handles_labels()[::-1], strict=True))
        figure.legend(known.values(), known.keys(), loc="outside lower center", ncols=beside)  # covers no curve
        figure.suptitle(title)


def _short(name: str) -> str:
    """A set without the way to its folder."""
    _, _, folder = name.partition(":")
    return f"folder:{Path(folder).name}" if folder else name


def _draw_histogram(
    axes: Any, s_in: Tensor, s_out: Tensor, limits: tuple[float, float], *, colour: str, label: str
) -> None:
    for part, tint, name in ((s_in, SOFT, "in-distribution"), (s_out, colour, label)):
        share = [1 / len(part)] * len(part)
        axes.hist(part.numpy(), bins=_BINS, range=limits, weights=share, color=tint, alpha=0.55, label=name)
    axes.set_xlim(limits)
    axes.set_yticks([])
    axes.set_ylabel("share of images")


def _draw_roc(axes: Any, scores: Mapping[str, tuple[Tensor, ...]]) -> None:
    metrics = require("sklearn.metrics")
    for number, (s_in, s_out) in enumerate(scores.values()):
        is_in = torch.cat((torch.ones(len(s_in)), torch.zeros(len(s_out))))
        false_rate, true_rate, _ = metrics.roc_curve(is_in.numpy(), torch.cat((s_in, s_out)).numpy())
        axes.plot(false_rate, true_rate, color=series(number + 1), linestyle=dashes(number + 1))
    axes.plot([0, 1], [0, 1], ":", color=INK, linewidth=0.8)
    axes.axhline(0.95, color=SOFT, linewidth=0.8)
    axes.set(xlim=(0, 1), ylim=(0, 1.01))
    axes.set(xlabel="accepted of the others", ylabel="accepted of the test images")
    axes.set_title("ROC")
