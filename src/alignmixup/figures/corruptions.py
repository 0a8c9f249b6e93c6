"""Errors under common corruptions as bars, and what the corruptions look like."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from alignmixup.figures.save import new_figure, save_png

if TYPE_CHECKING:
    from torch import Tensor

_COLUMNS = 5


def draw_corruptions(results: Mapping[str, dict[str, Any]], path: Path, *, title: str = "") -> None:
    """Draw a bar for each kind and run, with a dot for each severity, into a PNG file.

    Args:
        results: name of a run -> what ``evaluate_corruptions`` returned, all of the same kinds.
        path: the file to write.
        title: stands above.

    Raises:
        ValueError: no run, or runs of different kinds.
        ImportError: matplotlib is not installed.
    """
    if not results or len({tuple(result["kinds"]) for result in results.values()}) != 1:
        raise ValueError(f"draw runs of the same corruptions, at least one; got {list(results)}")
    kinds = next(iter(results.values()))["kinds"]
    figure = new_figure(width=max(6.0, 1.6 + 0.42 * len(kinds) + 0.14 * len(kinds) * len(results)), height=4)
    axes = figure.subplots()
    width = 0.8 / len(results)
    for number, (name, result) in enumerate(results.items()):
        offset = (number - (len(results) - 1) / 2) * width
        heights = [result["kind_error_percent"][kind] for kind in kinds]
        colour = f"C{number}"
        label = f"{name}: mean {result['mean_error_percent']:.1f} %, clean {result['clean_error_percent']:.1f} %"
        axes.bar([x + offset for x in range(len(kinds))], heights, width * 0.95, color=colour, alpha=0.65, label=label)
        axes.axhline(result["clean_error_percent"], color=colour, linewidth=1, linestyle="--")
        for x, kind in enumerate(kinds):
            errors = result["error_percent"][kind]
            axes.plot([x + offset] * len(errors), errors, "_", color="black", markersize=36 * width / 1.6, alpha=0.6)
    axes.set_xticks(range(len(kinds)), [kind.replace("_", " ") for kind in kinds], rotation=45, ha="right")
    axes.set_xlim(-0.6, len(kinds) - 0.4)
    axes.set_ylim(bottom=0)
    axes.set_ylabel("test error (%)")
    severities = next(iter(results.values()))["severities"]
    shown = ", ".join(map(str, severities))
    axes.set_title(title or f"bars: mean over severities {shown}, each a line; dashed: clean", fontsize="medium")
    axes.legend(fontsize="small", loc="upper left", bbox_to_anchor=(0, -0.32), frameon=False)
    axes.grid(alpha=0.3, axis="y")
    save_png(figure, path)


def draw_corruption_grid(
    image: Tensor, path: Path, *, kinds: Sequence[str] = (), severity: int = 3, seed: int = 0
) -> None:
    """Draw an image and all its corruptions of one severity into a PNG file.

    Args:
        image: (C, H, H) uint8, C = 3 or 1.
        path: the file to write.
        kinds: which; none for the 15 of the benchmark.
        severity: 1 to 5.
        seed: of the corruptions.

    Raises:
        ValueError: an unknown kind, a severity out of range, an image of another shape or type.
        ImportError: matplotlib, or a package that the corruptions need, is not installed.
    """
    from alignmixup.evaluation.corruptions.evaluate import corrupt
    from alignmixup.evaluation.corruptions.strengths import KINDS

    pictures = {"original": image}
    pictures |= {kind: corrupt(image[None], kind, severity, seed=seed)[0] for kind in kinds or KINDS}
    columns = min(_COLUMNS, len(pictures))
    rows = -(-len(pictures) // columns)
    figure = new_figure(width=1.5 * columns, height=1.7 * rows)
    grid = figure.subplots(rows, columns, squeeze=False).flatten()
    for axes in grid:
        axes.set_axis_off()
    for axes, (name, picture) in zip(grid, pictures.items(), strict=False):
        pixels = picture.permute(1, 2, 0).expand(-1, -1, 3) if len(picture) == 1 else picture.permute(1, 2, 0)
        axes.imshow(pixels.numpy(), interpolation="nearest")
        axes.set_title(name.replace("_", " "), fontsize=8)
    figure.suptitle(f"severity {severity}", fontsize=9)
    save_png(figure, path)
