"""Numbers that tell interpolation paths apart: means over pairs with standard errors, and paired differences."""

from typing import Any

import torch
from torch import Tensor

from alignmixup.evaluation.paths.measure import Interpolation, PathScores

_CURVES = ("own", "partner", "either", "entropy", "decoded_either", "sharpness")
_EQUAL = 1e-4  # areas that differ by less are equal: rounding, where alignment cancels


def summarise_paths(found: Interpolation) -> dict[str, Any]:
    """Content of a JSON file about many pairs: all of them, and those whose two images the classifier knows.

    Convention:
        - ``area`` is the mean of ``either`` over λ in [0, 1] (trapezoids), ``dip`` its minimum along the path.
        - Standard errors are those of means over pairs taken as independent, from the sample deviation; None with one.
        - ``against_none`` compares each aligned path with the unaligned one, pair by pair; ``kept_half`` over those λ
          alone at which the example whose geometry is kept weighs 1/2 or more.

    Raises:
        ValueError: λ = 1/2 is not among the coefficients.
    """
    if not (found.lam == 0.5).any():
        raise ValueError(f"the coefficients must include 1/2 (an odd number of even steps), got {found.lam.tolist()}")
    ratios = found.psnr
    content = {
        "lam": [round(value, 6) for value in found.lam.tolist()],
        "all": _summarise(found, torch.arange(len(found.ends_right))),
        "ends_right": _summarise(found, torch.nonzero(found.ends_right).flatten()),
    }
    return content if ratios is None else {**content, "reconstruction_psnr_db": mean_with_error(ratios.flatten())}


def mean_with_error(values: Tensor) -> dict[str, float | None]:
    """Mean over the first axis of (N,) values and its standard error, from the sample deviation; None for one."""
    values = values.double()
    error = (values.std() / len(values) ** 0.5).item() if len(values) > 1 else None
    return {"mean": values.mean().item(), "standard_error": error}


def area(scores: PathScores, lam: Tensor) -> Tensor:
    """Mean over λ of the probability that the class is one of the pair's, (N,)."""
    return -torch.trapezoid(scores.either, lam, dim=1)


def _summarise(found: Interpolation, index: Tensor) -> dict[str, Any]:
    if not len(index):
        return {"pairs": 0}
    paths = {name: scores.select(index) for name, scores in found.paths.items()}
    unaligned = paths["none"]
    return {
        "pairs": len(index),
        "paths": {name: _of_path(scores, found.lam) for name, scores in paths.items()},
        "against_none": {
            name: _against(
                paths[name], unaligned, found.lam, kept=found.lam >= 0.5 if name == "first" else found.lam <= 0.5
            )
            for name in paths
            if name != "none"
        },
    }


def _of_path(scores: PathScores, lam: Tensor) -> dict[str, Any]:
    curves: dict[str, Any] = {}
    for name in _CURVES:
        values = getattr(scores, name)
        if values is not None:
            columns = [mean_with_error(column) for column in values.unbind(1)]
            curves[name] = {key: [column[key] for column in columns] for key in ("mean", "standard_error")}
    numbers = {
        "area": mean_with_error(area(scores, lam)),
        "dip": mean_with_error(scores.either.min(dim=1).values),
        "mean_entropy": mean_with_error(scores.entropy.mean(1)),
    }
    if scores.frame_change is not None:
        numbers["frame_change"] = mean_with_error(scores.frame_change.mean(1))
    return {**numbers, "curves": curves}


def _against(aligned: PathScores, unaligned: PathScores, lam: Tensor, *, kept: Tensor) -> dict[str, Any]:
    difference = area(aligned, lam) - area(unaligned, lam)
    higher, equal = (difference > _EQUAL).double(), (difference.abs() <= _EQUAL).double()
    gained = aligned.either - unaligned.either
    half = -torch.trapezoid(gained[:, kept], lam[kept], dim=1) / 0.5
    return {
        "area_difference": mean_with_error(difference),
        "kept_half_difference": mean_with_error(half),
        "dip_difference": mean_with_error(aligned.either.min(dim=1).values - unaligned.either.min(dim=1).values),
        "middle_difference": mean_with_error(gained[:, lam == 0.5].squeeze(1)),
        "share_higher": mean_with_error(higher),
        "share_equal": mean_with_error(equal),
    }
