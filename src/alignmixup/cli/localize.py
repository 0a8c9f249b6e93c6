"""``alignmixup localize``: how well a classifier finds what it names, without having been shown boxes."""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any

from alignmixup.cli.config_options import add_set, add_trust
from alignmixup.outside import require
from alignmixup.runs.comparison import mean_and_spread


def add_parser(subparsers: Any) -> argparse.ArgumentParser:
    """Describe the command."""
    parser: argparse.ArgumentParser = subparsers.add_parser(
        "localize",
        help="weakly supervised localisation of finished runs, or of stored score maps",
        description="Turn the class activation maps of finished runs into boxes and compare these with those of the "
        "images: MaxBoxAcc, MaxBoxAccV2 and Top-1 localisation. Several runs make one table, with mean and spread over "
        "the seeds of a method. --maps scores stored maps of any network instead. Ends in localization.json and "
        "figures.",
    )
    parser.add_argument("folders", nargs="*", type=Path, metavar="RUN", help="run folders")
    parser.add_argument("--maps", type=Path, metavar="DIR", help="score maps, DIR/IMAGE.npy (H, W) in [0, 1]")
    parser.add_argument(
        "--boxes",
        type=Path,
        metavar="SOURCE",
        help="CSV file (path,x0,y0,x1,y1), folder with localization.txt and image_sizes.txt, or folder of XML files "
        "(default: the data set's own)",
    )
    parser.add_argument("--images", type=Path, metavar="DIR", help="with --maps: where the images are, for their sizes")
    parser.add_argument(
        "--resize", type=int, metavar="N", help="side of the images the network sees (default: as in its training)"
    )
    parser.add_argument("--contours", choices=("both", "largest", "all"), default="both", help="(default: both)")
    parser.add_argument("--step", type=float, default=0.001, help="distance between thresholds (default: 0.001)")
    parser.add_argument("--cam", choices=("auto", "cam", "gradcam"), default="auto", help="kind of map (default: auto)")
    parser.add_argument("--layer", metavar="NAME", help="layer of Grad-CAM (default: the last map)")
    parser.add_argument("--cutmix-paper", action="store_true", help="also the CutMix paper's protocol on centre crops")
    parser.add_argument("--limit", type=int, metavar="N", help="evenly spaced test images (default: all)")
    parser.add_argument("--pictures", type=int, default=8, metavar="N", help="images to draw (default: 8)")
    parser.add_argument("--maps-out", type=Path, metavar="DIR", help="write score maps as DIR/RUN/IMAGE.npy")
    parser.add_argument("--out", type=Path, default=Path("localization"), metavar="DIR", help="(default: localization)")
    add_set(parser)
    add_trust(parser)
    return parser


def run(options: argparse.Namespace) -> int:
    """Measure, print the table, write record and figures."""
    from alignmixup import runs
    from alignmixup.runs.localization import LocalizationProtocol, measure_localization
    from alignmixup.runs.localization_report import write_report
    from alignmixup.runs.stored_maps import score_stored_maps

    protocol = LocalizationProtocol(**{item.name: getattr(options, item.name) for item in fields(LocalizationProtocol)})
    if bool(options.folders) == (options.maps is not None):
        raise ValueError("name run folders, or a folder of score maps with --maps")
    if options.maps is not None and options.boxes is None:
        raise ValueError("--maps needs --boxes: a CSV file, or a folder with localization.txt")
    measured = []
    for network in [runs.load(folder, overrides=options.set, trust=options.trust) for folder in options.folders]:
        measured.append(measure_localization(network, protocol))
        print(_how(measured[-1].record))
    if options.maps is not None:
        stored = score_stored_maps(options.maps, options.boxes, options.images, protocol=protocol)
        results = write_report([stored.record], stored, [], options.out, step=options.step)
    else:
        records = [one.record for one in measured]
        results = write_report(records, measured[0].boxes, measured, options.out, step=options.step)
    print_tables(results)
    print(", ".join(str(path) for path in sorted(options.out.glob("locali[sz]ation*"))))
    return 0


def print_tables(results: Mapping[str, Any]) -> None:
    """Print box accuracies, a line for each group and one for the centred box; for runs, Top-1 localisation too."""
    from alignmixup.evaluation.localization.protocols import TOP1_CONVENTIONS
    from alignmixup.runs.localization_report import CENTRE, numbers_of

    groups = results["groups"]
    centre = {"name": CENTRE, "mean": numbers_of(results["centre"]), "runs": []}
    centre["spread"] = dict.fromkeys(centre["mean"])
    headings = {
        f"{key}.{which}": f"{name}, {which} contour{'s' if which == 'all' else ''}"
        for which in results["centre"]["contours"]
        for key, name in (("max_box_acc", "IoU 0.5"), ("max_box_acc_v2", "mean of 3 IoU"))
    } | {"max_box_acc.largest": "MaxBoxAcc", "max_box_acc_v2.all": "MaxBoxAccV2"}
    headings = {key: name for key, name in headings.items() if key in centre["mean"]}
    title = f"{results['data']}: boxes at the best threshold, % of {results['images']} images"
    _print(title, headings, [*groups, centre])
    if "error_percent" in groups[0]["mean"]:
        top1 = {"error_percent": "error", **{f"top1.{name}": name.replace("at-", "at-\n") for name in TOP1_CONVENTIONS}}
        top1 |= {"cutmix_paper": "CutMix paper"} if "cutmix_paper" in groups[0]["mean"] else {}
        _print("Top-1 localisation by convention (class right and IoU of 0.5), %", top1, groups)


def _print(title: str, headings: Mapping[str, str], lines: Sequence[Mapping[str, Any]]) -> None:
    table = require("rich.table").Table(title=title)
    table.add_column("", overflow="fold")
    for name in headings.values():
        table.add_column(name, justify="right", overflow="fold")
    table.add_column("seeds", justify="right")
    for line in lines:
        table.add_row(line["name"], *(mean_and_spread(line, key) for key in headings), str(len(line["runs"]) or ""))
    require("rich.console").Console().print(table)


def _how(record: dict[str, Any]) -> str:
    name = {"cam": "CAM", "gradcam": "Grad-CAM"}[record["activation"]]
    return (
        f"{record['run']}: {name} of the true class at {record['layer']!r}; images of {record['input_pixels']} pixels, "
        f"both sides scaled; maps scaled to {record['map_pixels']} pixels"
    )
