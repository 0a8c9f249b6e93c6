"""Say what is odd in a folder of images.

Look at every image below DIR, which holds class folders, or train/ and test/ (or val/) with class folders: images of
each class, sizes, modes, and what is odd: unreadable and skipped files, classes of nearly one name, far more images in
one class than in another. Ends with the command that trains on them.
"""

from __future__ import annotations

import argparse
import shlex
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from alignmixup.cli.table import new_table, show
from alignmixup.terminal import say

if TYPE_CHECKING:
    from alignmixup.data.inspection import FolderReport

_CLASSES = 20  # more of them are told in numbers


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("folder", type=Path, metavar="DIR", help="folder of class folders, or of train/ and test/")


def run(options: argparse.Namespace) -> int:
    """Print the table and what is odd; the status is 1 where an image cannot be used."""
    from alignmixup.data.inspection import inspect_folder

    report = inspect_folder(options.folder, follow=_followed)
    show(_counts(report))
    for name, spread in (("width", report.widths), ("height", report.heights)):
        if spread:
            say(f"{name}: {spread[0]} to {spread[2]} pixels, median {spread[1]:g}")
    for name, counted in (("modes", report.modes), ("formats", report.formats)):
        say(f"{name}: {', '.join(f'{kind} {count}' for kind, count in counted.most_common()) or 'none'}")
    remarks = report.remarks()
    say("\n".join(f"odd: {line}" for line in remarks) or "nothing odd")
    options.suggested = f"alignmixup train --data {shlex.quote(str(options.folder))}"
    return int(bool(report.unreadable))


def _counts(report: FolderReport) -> Any:
    """Images of each class and split; of many classes, of the largest and the smallest."""
    splits = report.splits
    names = list(splits[0].counts)
    splits_named = [report.root.name if split.split == "." else split.split for split in splits]
    table = new_table("class", *splits_named, box=None, pad_edge=False)
    shown = names
    if len(names) > _CLASSES:
        ranked = sorted(names, key=lambda name: -splits[0].counts[name])
        shown = [*ranked[: _CLASSES // 2], "...", *ranked[-_CLASSES // 2 :]]
    for name in shown:
        table.add_row(name, *("" if name == "..." else str(split.counts.get(name, 0)) for split in splits))
    table.add_row(f"all {len(names)}", *(str(sum(split.counts.values())) for split in splits))
    return table


def _followed(results: Iterable[Any], total: int) -> Iterable[Any]:
    from alignmixup.training.progress.images import image_progress

    with image_progress("looking at images", images=total) as advance:
        for result in results:
            advance(1)
            yield result
