"""What must be known to use a network's weights: what goes in, what comes out, where they are from."""

from __future__ import annotations

from typing import Any

from alignmixup import __version__
from alignmixup.data.dataset import FileSplit, ImageData, TestView
from alignmixup.data.decode import crop_margin
from alignmixup.runs.record import best_chosen_on, source_revision
from alignmixup.runs.run import Run
from alignmixup.training.config import to_dict

FORMAT = 1


def facts_of(run: Run) -> dict[str, Any]:
    """Input, output, classes, weights and origin of a network, ready for JSON; no path of this machine is in it."""
    x, _ = run.images([0])
    return {
        "format": FORMAT,
        "model": run.config.model.name,
        "method": run.method,
        "data": run.data.name,
        "input": {
            "name": "images",
            "shape": ["batch", *x.shape[1:]],
            "dtype": "float32",
            "channels": {1: "grey", 3: "RGB"}.get(x.shape[1], str(x.shape[1])),
            "mean": list(run.data.mean),
            "std": list(run.data.std),
            "preparation": preparation(run.data, side=x.shape[-1]),
        },
        "output": {
            "name": "logits",
            "shape": ["batch", run.data.num_classes],
            "probabilities": "soft-max of the logits",
        },
        "classes": list(run.data.class_names),
        "weights": weights_of(run),
        "made_by": {"alignmixup": __version__, "revision": source_revision()["commit"]},
    }


def test_view(data: ImageData, *, side: int) -> tuple[TestView, int]:
    """What a test image shows, and the pixels that it is scaled to before ``side`` by ``side`` of them are cut out."""
    if data.test.paths is None or data.test_view == "whole":
        return "whole", side
    if data.test_crop is not None:
        return data.test_view, round(side * crop_margin(side, data.test_crop))
    edge_to_edge = not isinstance(data.test, FileSplit) and data.name != "cub"  # folders that are decoded into memory
    return data.test_view, side if edge_to_edge else round(side * 256 / 224)


def preparation(data: ImageData, *, side: int) -> str:
    """What is done to a test image until the network sees it."""
    view, pixels = test_view(data, side=side)
    scaled = f"{'shorter side' if view == 'center' else 'both sides'} scaled to {pixels} pixels"
    if view != "whole":
        scaled += f", centre {side} x {side} cut out"
    if data.test.paths is None:
        seen = f"{side} x {side} pixels, as the data set has them"
    else:
        seen = f"{scaled} (bilinear, antialiased)"
    return f"{seen}; values from 0..255 to 0..1; minus mean, divided by std, for each channel"


def weights_of(run: Run) -> dict[str, Any]:
    """Which weights they are, their hash, and the epoch (from 1) that they are of.

    A record of a hub folder tells it of the one file that is there, by the name that it had in its run.
    """
    told = (run.record or {}).get("weights")
    if told and run.folder and run.weights == run.folder.weights:
        return {**told, "sha256": run.fingerprint}
    found: dict[str, Any] = {"file": run.weights.name if run.weights else "published", "sha256": run.fingerprint}
    if run.record and run.folder and run.weights in run.folder.all_weights:
        metrics, best = run.record["metrics"], run.weights == run.folder.best_weights
        found["epoch"] = metrics["best_epoch"] + 1 if best else metrics["epochs"]
        found["epochs"] = metrics["epochs"]
        if best:
            found["chosen_on"] = best_chosen_on(to_dict(run.config))
    return found
