"""Training loss and test error of one run over its epochs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from alignmixup.figures.axes import count_epochs, log_scale
from alignmixup.figures.save import new_figure, save_png


def draw_curves(record: dict[str, Any], path: Path) -> None:
    """Plot a run's record into a PNG file.

    Args:
        record: what a run folder's ``record.json`` holds.
        path: the file to write.
    """
    curve = record["curve"]
    evaluated = [row for row in curve if "error_percent" in row]
    figure = new_figure(width=9, height=3.4)
    left, right = figure.subplots(1, 2)
    epochs = [row["epoch"] + 1 for row in curve]
    left.plot(epochs, [row["train_loss"] for row in curve], color="tab:blue")
    left.set(ylabel="training loss (mixed labels)")
    right.plot([row["epoch"] + 1 for row in evaluated], [row["error_percent"] for row in evaluated], color="tab:red")
    metrics = record["metrics"]
    right.set(ylabel="test error (%)")
    if metrics["best_error_percent"] > 0:
        log_scale(right)
    right.set_title(
        f"best {metrics['best_error_percent']:.2f} %, last 10 {metrics['last10_error_percent']:.2f} %",
        fontsize="medium",
    )
    for axes in (left, right):
        axes.grid(alpha=0.3, which="both")
        count_epochs(axes)
    figure.suptitle(
        f"{record['config']['method']['name']} on {record['config']['data']['name']}, seed {record['seed']}"
    )
    save_png(figure, path)
