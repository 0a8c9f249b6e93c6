"""``alignmixup localize``: how well a classifier finds what it names, without having been shown boxes."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from alignmixup.cli.config_options import add_set
from alignmixup.training.config_file import check_keys

if TYPE_CHECKING:
    from alignmixup.evaluation.localization.contour_boxes import Contours
    from alignmixup.runs.localize import Task


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
    return parser


def run(options: argparse.Namespace) -> int:
    """Measure, print the table, write record and figures."""
    from alignmixup.cli.localize_report import print_tables, write_report
    from alignmixup.runs.folder import RunFolder
    from alignmixup.runs.localize import Found, localize_run
    from alignmixup.runs.localize_maps import score_stored_maps

    contours: tuple[Contours, ...] = ("largest", "all") if options.contours == "both" else (options.contours,)
    _check(options)
    found: list[Found] = []
    if options.maps is not None:
        stored = score_stored_maps(options.maps, options.boxes, options.images, contours=contours, step=options.step)
        results = write_report([stored.record], stored, [], options.out, step=options.step)
    else:
        for folder in options.folders:
            found.append(localize_run(RunFolder(folder), _task(options, contours)))
            print(_how(found[-1].record))
        results = write_report([one.record for one in found], found[0].boxes, found, options.out, step=options.step)
    print_tables(results)
    print(", ".join(str(path) for path in sorted(options.out.glob("locali[sz]ation*"))))
    return 0


def _check(options: argparse.Namespace) -> None:
    from alignmixup.evaluation.localization.box_accuracy import check_options
    from alignmixup.runs.folder import RunFolder
    from alignmixup.training.config_file import FREE_KEYS

    check_options("all", options.step, (0.5,))
    if bool(options.folders) == (options.maps is not None):
        raise ValueError("name run folders, or a folder of score maps with --maps")
    if options.maps is not None and options.boxes is None:
        raise ValueError("--maps needs --boxes: a CSV file, or a folder with localization.txt")
    for name, least in (("resize", 1), ("limit", 1), ("pictures", 0)):
        value = getattr(options, name)
        if value is not None and value < least:
            raise ValueError(f"--{name} must be >= {least}, got {value}")
    if options.cam == "cam" and options.layer:
        raise ValueError("--layer is for Grad-CAM: CAM's map is the one that global average pooling receives")
    for folder in options.folders:
        RunFolder(folder).check()
    check_keys(options.set, (*FREE_KEYS, "train.precision", "train.channels_last"), "a measurement can change {} alone")


def _task(options: argparse.Namespace, contours: Sequence[Contours]) -> Task:
    from alignmixup.runs.localize import Task

    return Task(
        boxes=options.boxes,
        resize=options.resize,
        contours=contours,
        step=options.step,
        kind=options.cam,
        layer=options.layer,
        limit=options.limit,
        pictures=options.pictures,
        maps_out=options.maps_out,
        with_crop=options.cutmix_paper,
        overrides=options.set,
    )


def _how(record: dict[str, Any]) -> str:
    name = {"cam": "CAM", "gradcam": "Grad-CAM"}[record["activation"]]
    return (
        f"{record['run']}: {name} of the true class at {record['layer']!r}; images of {record['input_pixels']} pixels, "
        f"both sides scaled; maps scaled to {record['map_pixels']} pixels"
    )
