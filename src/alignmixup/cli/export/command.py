"""A trained network as a file that runs without this package, and a folder for a model hub.

Write the network of a run as a graph: FILE.pt2 of torch.export, or FILE.onnx (pip install "alignmixup[export]"). It
takes any number of images, and holds what must be done to them and the names of the classes; FILE.json beside it says
the same. Its logits are compared with the network's on noise and on test images first: where they differ no file is
written and the exit status is 1. --hub-folder writes weights, configuration and model card as the Hugging Face Hub
wants them, and uploads nothing.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from alignmixup.cli.arguments import add_networks, add_options, given, load_network, refuse_idle
from alignmixup.runs.options.export import ExportOptions, HubOptions
from alignmixup.terminal import say
from alignmixup.training.config_file import ConfigError


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_networks(parser)
    parser.add_argument("-o", "--out", type=Path, metavar="FILE", help="file that ends in .pt2 or .onnx")
    add_options(parser, ExportOptions)
    hub = parser.add_argument_group("for a model hub")
    hub.add_argument("--hub-folder", type=Path, metavar="DIR", help="folder to fill: safetensors, config, model card")
    add_options(hub, HubOptions)


def run(options: argparse.Namespace) -> int:
    """Write what is asked for; say where it is and how it was checked."""
    if options.out is None and options.hub_folder is None:
        raise ConfigError("say what to write: -o FILE.pt2, -o FILE.onnx or --hub-folder DIR")
    asked = given(options, ExportOptions)
    if options.out is not None:
        ExportOptions(**asked).kind(options.out)  # a wrong ending is said before torch is loaded
    else:
        refuse_idle(options, ExportOptions, "it is of a graph: give -o FILE too, or leave it out")
    if options.hub_folder is None:
        refuse_idle(options, HubOptions, "it is of a folder for a hub: give --hub-folder DIR too, or leave it out")
    _stay_on_the_cpu(options)
    network = load_network(options)
    if options.out is not None:
        from alignmixup.runs.export.graph import export

        print_export(options.out, export(network, options.out, **asked))
    if options.hub_folder is not None:
        from alignmixup.runs.export.hub import write_hub_folder

        files = write_hub_folder(network, options.hub_folder, **given(options, HubOptions))
        say(f"{options.hub_folder}: {', '.join(files)}")
        say(f"Nothing was uploaded. To do so: hf upload YOUR_NAME/MODEL {options.hub_folder}")
    return 0


def _stay_on_the_cpu(options: argparse.Namespace) -> None:
    """Refuse another device than the CPU, where graphs are made and compared; ``auto`` is the CPU here."""
    keys = [(text, *text.partition("=")) for text in options.set]
    told = {text: value.strip(" \"'") for text, key, _, value in keys if key.strip() == "train.device"}
    for device in (*told.values(), options.device):
        if device not in (None, "auto", "cpu"):
            raise ConfigError(f"--device {device}: an export is made and checked on the CPU; leave the device out")
    options.set = [text for text in options.set if text not in told]
    options.device = "cpu"


def print_export(out: Path, facts: Mapping[str, Any]) -> None:
    """Where it is, what goes in and out, and how far it is from the network."""
    shape = " x ".join(map(str, facts["input"]["shape"]))
    say(f"{out}: {shape} -> {facts['output']['shape'][1]} logits, float32, of {facts['weights']['file']}")
    for name, found in facts["check"].items():
        others = f"; {found['other_class']} get another class" if found["other_class"] else ""
        say(
            f"  on {found['images']} {name} the logits differ by at most {found['largest_difference']:.1e} "
            f"(largest: {found['largest_logit']:.3g}){others}"
        )
    say(f"{out}.json: mean, std, size and classes; they are in the file too")
