"""Weakly supervised localisation of trained networks, or of stored score maps.

Turn the class activation maps of runs, or of a model by name, into boxes and compare these with those of the images:
MaxBoxAcc, MaxBoxAccV2 and Top-1 localisation. Several runs make one table, with mean and spread over the seeds of a
method. --maps scores stored maps of any network instead. Ends in localization.json and figures.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from alignmixup.cli.arguments import add_networks, add_options, load_networks, refuse_idle
from alignmixup.cli.table import new_table, show
from alignmixup.runs.comparison.results import mean_and_spread
from alignmixup.runs.options.localization import LocalizationProtocol
from alignmixup.runs.options.network import NetworkChoice
from alignmixup.terminal import say
from alignmixup.training.config_file import ConfigError


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_networks(parser, nargs="*")
    parser.add_argument("--maps", type=Path, metavar="DIR", help="score maps, DIR/IMAGE.npy (H, W) in [0, 1]")
    parser.add_argument("--images", type=Path, metavar="DIR", help="with --maps: where the images are, for their sizes")
    add_options(parser, LocalizationProtocol)
    parser.add_argument("--out", type=Path, default=Path("localization"), metavar="DIR", help="(default: localization)")


def run(options: argparse.Namespace) -> int:
    """Measure, print the table, write record and figures."""
    from alignmixup.runs.localization import measure_localization
    from alignmixup.runs.localization_report import check_together, reporting_to, write_report
    from alignmixup.runs.stored.maps import score_stored_maps

    protocol = LocalizationProtocol.part_of(options)
    if bool(options.target) == (options.maps is not None):
        raise ValueError("name run folders or a model, or a folder of score maps with --maps")
    if options.maps is not None and options.boxes is None:
        raise ValueError("--maps needs --boxes: a CSV file, or a folder with localization.txt")
    _check_idle(options)
    with reporting_to(options.out):
        measured = []
        networks = load_networks(options, options.target)
        check_together(networks, options.maps_out)
        for network in networks:
            measured.append(measure_localization(network, protocol))
            say(_how(measured[-1].record))
        if options.maps is not None:
            measured.append(score_stored_maps(options.maps, options.boxes, options.images, protocol=protocol))
        print_tables(write_report(measured, options.out, step=options.step, figures=options.figures))
    say(", ".join(str(path) for path in sorted(options.out.glob("locali[sz]ation*"))))
    return 0


def _check_idle(options: argparse.Namespace) -> None:
    """Refuse what says nothing of stored maps beside ``--maps``, and of networks without it."""
    if options.maps is None:
        if options.images is not None:
            raise ConfigError(f"--images {options.images}: it goes with --maps; the images of a network are in --root")
        return
    why = "it is for networks, and --maps scores all maps that have boxes as they are; leave it out"
    if options.set:
        raise ConfigError(f"--set {options.set[0]}: {why}")
    refuse_idle(options, NetworkChoice, why)
    refuse_idle(options, LocalizationProtocol, why, but=("boxes", "contours", "step", "figures"))


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
    table = new_table("", *headings.values(), "seeds", title=title)
    for line in lines:
        table.add_row(line["name"], *(mean_and_spread(line, key) for key in headings), str(len(line["runs"]) or ""))
    show(table)


def _how(record: dict[str, Any]) -> str:
    name = {"cam": "CAM", "gradcam": "Grad-CAM"}[record["activation"]]
    return (
        f"{record['run']}: {name} of the true class at {record['layer']!r}; images of {record['input_pixels']} pixels, "
        f"both sides scaled; maps scaled to {record['map_pixels']} pixels; {record['outputs']} outputs compete"
    )
