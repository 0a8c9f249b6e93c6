"""One resumable file per run, replaced atomically: a crash leaves the last good one."""

from __future__ import annotations

import pickle
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from alignmixup.files import check_is_file, write_atomically
from alignmixup.models.weights import check_intact
from alignmixup.training.config import Config
from alignmixup.training.config_file import from_dict
from alignmixup.training.meaning import first_difference
from alignmixup.training.processes.division import Division

FORMAT = 1


def save(path: Path, state: dict[str, Any]) -> None:
    """Write a checkpoint that `load` can read.

    Raises:
        OSError: the disk is full or not writable; the older file is untouched.
    """
    write_atomically(path, lambda file: torch.save({"format": FORMAT, **state}, file))


def load(path: Path) -> dict[str, Any]:
    """Read a checkpoint onto the CPU, whole or not at all, without running any code that the file may hold.

    Raises:
        FileNotFoundError: no such file.
        ValueError: not a checkpoint, damaged, or of another format.
    """
    try:
        check_is_file(path)
        check_intact(path)
        state = torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError:
        raise FileNotFoundError(f"no checkpoint at {path}") from None
    except (RuntimeError, EOFError, OSError, ValueError, pickle.UnpicklingError) as error:
        raise ValueError(
            f"{path} is damaged or no checkpoint ({type(error).__name__}); start anew with --overwrite"
        ) from error
    if not isinstance(state, dict) or state.get("format") != FORMAT:
        found = state.get("format") if isinstance(state, dict) else type(state).__name__
        raise ValueError(f"{path} has checkpoint format {found!r}, expected {FORMAT}; start anew with --overwrite")
    return state


def check_matches(state: dict[str, Any], config: Config, *, path: Path) -> None:
    """Refuse to continue a run with another configuration."""
    stored = from_dict(state["config"], source=str(path))
    difference = first_difference(stored, config)
    if difference:
        raise ValueError(
            f"{path} belongs to another configuration: {difference}. "
            "Continue with its own configuration, choose another --out, or start anew with --overwrite"
        )


def division_of(state: dict[str, Any]) -> Division:
    """How the images of an update were divided when a checkpoint was written; older ones do not say."""
    if "division" in state:
        return Division(**state["division"])
    train = state["config"]["train"]
    return Division(len(state["ranks"]), train["batch_size"], train["accumulation"])


def check_images(
    state: Mapping[str, Any], names: Sequence[str], counts: Sequence[int], digests: Mapping[str, Sequence[str]]
) -> None:
    """Refuse other images than those of before, of which another step of an epoch is made.

    Args:
        state: a checkpoint; older ones say less of their images.
        names: of the classes now, in the order of their labels.
        counts: training images of each class now; none where that is not told.
        digests: of the images of each class in a split now; none of images without files, and on all processes but the
            first.
    """
    check_class_names(state, names, source="the checkpoint")
    way_out = "now; continue with those of then, or train anew"
    stored = state.get("class_counts")
    for name, before, count in zip(names, stored, counts, strict=True) if stored and counts else ():
        if count != before:
            raise ValueError(
                f"the checkpoint is of other training images: {before} of class {name!r} then, {count} {way_out}"
            )
    for split, before in state.get("image_digests", {}).items():
        for name, digest, now in zip(names, before, digests[split], strict=True) if split in digests else ():
            if digest != now:
                raise ValueError(
                    f"the checkpoint is of other {split} images: those of class {name!r} have other names or sizes "
                    f"{way_out}"
                )


def check_class_names(stored: Mapping[str, Any], names: Sequence[str], *, source: str) -> None:
    """Refuse data whose labels mean other classes than those that a network was trained on.

    Args:
        stored: a checkpoint or a record; one of an older version has no ``class_names``, and folders named by numbers
            were then put in order as texts.
        names: of the classes now, in the order of their labels.
        source: what a message calls ``stored``.
    """
    recorded = stored.get("class_names")
    if recorded is None and stored["config"]["data"]["name"] in ("folder", "imagenet"):
        recorded = sorted(names)
    if not recorded or list(recorded) == list(names):
        return
    if len(recorded) != len(names):
        raise ValueError(f"{source} is of {len(recorded)} classes and the data have {len(names)}")
    label = next(number for number, name in enumerate(names) if name != recorded[number])
    raise ValueError(
        f"{source} has class {recorded[label]!r} as label {label}, which is {names[label]!r} in the data now: "
        "rename the class folders so that they come in the order of then, or train anew"
    )
