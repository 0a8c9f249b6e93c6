"""Calibration: do confidences mean what they say?

Every measure takes ``probs`` (N, K), rows summing to 1, and integer ``labels`` (N,) in [0, K), tensors or arrays, and
where it sorts images into bins, their number ``bins`` >= 1, usually 15; it raises ValueError for anything else. All is
computed in float64 on the CPU and is a fraction in [0, 1] unless it says otherwise; papers print it times 100.
"""

from dataclasses import asdict, dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

_CHUNK = 1 << 22  # probabilities that classwise bins are counted for at once
_COLDEST, _HOTTEST = 1e-2, 1e2  # temperatures
_STEPS = 60  # halvings of log 1e4: far below the precision of a temperature from any number of images


@dataclass(frozen=True)
class ReliabilityBins:
    """What a reliability diagram shows: M + 1 edges on [0, 1] and, of each bin, its images, their mean confidence and
    accuracy.

    Empty bins have confidence and accuracy 0.
    """

    edges: list[float]
    counts: list[int]
    confidence: list[float]
    accuracy: list[float]


def reliability_bins(probs: Tensor, labels: Tensor, bins: int = 15) -> ReliabilityBins:
    """Sort images by confidence into bins of equal width.

    Convention:
        - Confidence is the largest probability; among equal ones the lower class is predicted.
        - Bins are (lo, hi]; the first includes 0 and the last, as (lo, hi] says, confidences of exactly 1.
    """
    confidence, right = _confidence(*_checked(probs, labels, bins))
    edges = _edges(bins)
    index = _bin_index(confidence, bins)
    counts = torch.bincount(index, minlength=bins)
    share = counts.clamp(min=1)
    return ReliabilityBins(
        edges.tolist(),
        counts.tolist(),
        (torch.bincount(index, confidence, minlength=bins) / share).tolist(),
        (torch.bincount(index, right, minlength=bins) / share).tolist(),
    )


def expected_calibration_error(probs: Tensor, labels: Tensor, bins: int = 15) -> float:
    """Mean gap between confidence and accuracy: sum over bins of |B|/N · |acc(B) - conf(B)|, bins as in
    `reliability_bins`.

    Source:
        Guo et al., On Calibration of Modern Neural Networks, ICML 2017, Eq. 3; binning after Naeini et al., AAAI 2015.

    Example:
        >>> probs = torch.tensor([[0.9, 0.1], [0.4, 0.6]])
        >>> round(expected_calibration_error(probs, torch.tensor([0, 0])), 4)
        0.35
    """
    weight, gap, _ = _gaps(probs, labels, bins)
    return float(weight @ gap.abs())


def overconfidence_error(probs: Tensor, labels: Tensor, bins: int = 15) -> float:
    """Sum over bins of |B|/N · conf(B) · max(conf(B) - acc(B), 0): only confidence beyond accuracy counts.

    Source:
        Thulasidasan et al., On Mixup Training: Improved Calibration and Predictive Uncertainty, NeurIPS 2019, Sec. 3.
    """
    weight, gap, confidence = _gaps(probs, labels, bins)
    return float((weight * confidence) @ (-gap).clamp(min=0))


def maximum_calibration_error(probs: Tensor, labels: Tensor, bins: int = 15) -> float:
    """The largest gap |acc(B) - conf(B)| of a bin that holds an image; one image may decide it.

    Source:
        Guo et al., ICML 2017, Eq. 5.
    """
    _, gap, _ = _gaps(probs, labels, bins)
    return float(gap.abs().max())


def adaptive_calibration_error(probs: Tensor, labels: Tensor, bins: int = 15) -> float:
    """The expected calibration error over bins of equal mass instead of equal width.

    Convention:
        - Images are sorted by confidence and cut into ``bins`` runs whose lengths differ by at most one, the longer
          ones first; with fewer images than bins each is a bin.
        - Images of equal confidence share their accuracy, so that the order of the images never matters.

    Source:
        Nguyen & O'Connor, Posterior Calibration and Exploratory Analysis for Natural Language Processing Models,
        EMNLP 2015; the adaptive ECE of Mukhoti et al., NeurIPS 2020. Deviation: the treatment of ties.
    """
    confidence, right = _confidence(*_checked(probs, labels, bins))
    values, group, counts = torch.unique(confidence, return_inverse=True, return_counts=True)
    accuracy = torch.bincount(group, right) / counts
    order = group.sort().values
    gap = accuracy[order] - values[order]
    return float(sum(part.sum().abs() for part in gap.tensor_split(min(bins, len(gap)))) / len(gap))


def classwise_calibration_error(probs: Tensor, labels: Tensor, bins: int = 15) -> float:
    """The calibration error of every class's probability, predicted or not, averaged over the classes.

    For class k all N images are sorted by their probability of k; "accuracy" is the share of them whose label is k.

    Source:
        Kull et al., Beyond Temperature Scaling, NeurIPS 2019, Eq. 3; the static calibration error of Nixon et al. 2019.
    """
    probs, labels = _checked(probs, labels, bins)
    images, classes = probs.shape
    cells = torch.arange(classes) * bins
    gap = torch.zeros(classes * bins, dtype=torch.float64)
    rows = max(1, _CHUNK // classes)
    for part, y in zip(torch.split(probs, rows), torch.split(labels, rows), strict=True):
        index = cells + _bin_index(part, bins)
        gap -= torch.bincount(index.flatten(), part.flatten(), minlength=len(gap))
        gap += torch.bincount(index.gather(1, y[:, None]).flatten(), minlength=len(gap))
    return float(gap.abs().sum() / (images * classes))


def brier_score(probs: Tensor, labels: Tensor) -> float:
    """Mean over images of the squared distance between probabilities and one-hot label, in [0, 2].

    Source:
        Brier, Verification of Forecasts Expressed in Terms of Probability, 1950, Eq. 2 (sum over classes, not halved).
    """
    probs, labels = _checked(probs, labels, 1)
    own = probs.gather(1, labels[:, None]).squeeze(1)
    return float((probs.square().sum(dim=1) - 2 * own + 1).mean())


def negative_log_likelihood(probs: Tensor, labels: Tensor) -> float:
    """Mean over images of -log of the label's probability, in nats; infinite where one of them is 0."""
    probs, labels = _checked(probs, labels, 1)
    return float(-probs.gather(1, labels[:, None]).log().mean())


def fit_temperature(logits: Tensor, labels: Tensor) -> float:
    """The temperature T in [0.01, 100] that minimises the cross-entropy of softmax(logits / T); above 1 if
    over-confident.

    The cross-entropy is convex in 1/T, so the sign of its derivative there, the mean of E_p[z] - z_y, tells the side of
    the minimum; it is found by bisection of log T. A network that is right about every image has no minimum and gets
    0.01. Logits (N, K) are finite, N >= 1; arg-max and error never change.

    Source:
        Guo et al., On Calibration of Modern Neural Networks, ICML 2017, Sec. 4.2.

    Example:
        >>> logits = torch.tensor([[2.0, 0.0]] * 4)
        >>> round(fit_temperature(logits, torch.tensor([0, 0, 0, 1])), 4)  # 2 / log 3: confidence becomes 3/4
        1.8205
    """
    logits = logits.detach().to("cpu", torch.float64)
    own = logits.gather(1, labels.to("cpu", torch.int64)[:, None]).mean()
    low, high = torch.tensor([_COLDEST, _HOTTEST], dtype=torch.float64).log()
    for _ in range(_STEPS):
        middle = (low + high) / 2
        expected = ((logits / middle.exp()).softmax(dim=1) * logits).sum(dim=1).mean()
        low, high = (middle, high) if expected > own else (low, middle)
    return float(high.exp())


def evaluate_calibration(logits: Tensor, labels: Tensor, *, bins: int = 15, temperature: bool = True) -> dict[str, Any]:
    """Every measure of this file, ready for JSON, of finite floating logits (N, K), else ValueError.

    Convention:
        - Errors, confidence and accuracy are in percent, ``brier`` in [0, 2], ``negative_log_likelihood`` in nats.
        - The soft-max is taken in float64. In float32 confidences near 1 become exact ones.
        - ``temperature``, of two images or more, is fitted on those at even places and everything under ``temperature``
          is measured on those at odd places, before and after; the other measures are those of all images, unscaled.
    """
    if logits.ndim != 2 or not logits.is_floating_point():
        raise ValueError(f"logits must be floating point of shape (N, K), got {logits.dtype} of {tuple(logits.shape)}")
    broken = int((~logits.isfinite()).any(dim=1).sum())
    if broken:
        raise ValueError(f"the logits of {broken} of {len(logits)} images are not finite: the network has diverged")
    logits = logits.detach().to("cpu", torch.float64)
    result = _measures(logits, labels, bins)
    result["bins"] = bins
    result["reliability"] = asdict(reliability_bins(logits.softmax(dim=1), labels, bins))
    if temperature and len(logits) > 1:
        labels = labels.cpu()
        fitted = fit_temperature(logits[::2], labels[::2])
        held_out, y = logits[1::2], labels[1::2]
        result["temperature"] = {
            "value": fitted,
            "fitted_images": len(logits) - len(y),
            "images": len(y),
            "before": _measures(held_out, y, bins),
            "after": _measures(held_out / fitted, y, bins),
        }
    return result


def _measures(logits: Tensor, labels: Tensor, bins: int) -> dict[str, Any]:
    probs = logits.softmax(dim=1)
    probs, labels = _checked(probs, labels, bins)
    confidence, right = _confidence(probs, labels)
    return {
        "ece_percent": 100 * expected_calibration_error(probs, labels, bins),
        "adaptive_ece_percent": 100 * adaptive_calibration_error(probs, labels, bins),
        "classwise_ece_percent": 100 * classwise_calibration_error(probs, labels, bins),
        "overconfidence_percent": 100 * overconfidence_error(probs, labels, bins),
        "mce_percent": 100 * maximum_calibration_error(probs, labels, bins),
        "brier": brier_score(probs, labels),
        "negative_log_likelihood": float(F.cross_entropy(logits, labels)),
        "mean_confidence_percent": 100 * float(confidence.mean()),
        "accuracy_percent": 100 * float(right.mean()),
    }


def _gaps(probs: Tensor, labels: Tensor, bins: int) -> tuple[Tensor, Tensor, Tensor]:
    """Of each bin: its share of the images, accuracy minus confidence, confidence; zeros where it is empty."""
    found = reliability_bins(probs, labels, bins)
    counts = torch.tensor(found.counts, dtype=torch.float64)
    confidence = torch.tensor(found.confidence, dtype=torch.float64)
    return counts / counts.sum(), torch.tensor(found.accuracy, dtype=torch.float64) - confidence, confidence


def _confidence(probs: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    """The largest probability of each image, and 1 where its class is the label, as float64."""
    predicted = probs.argmax(dim=1)  # the first of equal ones; max does not promise that
    return probs.gather(1, predicted[:, None]).squeeze(1), (predicted == labels).double()


def _edges(bins: int) -> Tensor:
    return torch.arange(bins + 1, dtype=torch.float64) / bins


def _bin_index(values: Tensor, bins: int) -> Tensor:
    """Bin of each value in [0, 1]: the one whose (lo, hi] it lies in."""
    return torch.bucketize(values.contiguous(), _edges(bins)[1:-1])


def _checked(probs: Tensor, labels: Tensor, bins: int) -> tuple[Tensor, Tensor]:
    """Probabilities as float64 and labels as int64 on the CPU, also from arrays; errors for what is neither."""
    probs, labels = torch.as_tensor(probs), torch.as_tensor(labels)
    if type(bins) is not int or bins < 1:
        raise ValueError(f"bins must be an integer >= 1, got {bins!r}")
    if probs.ndim != 2 or 0 in probs.shape or not probs.is_floating_point():
        raise ValueError(f"probs must be floating point of shape (N, K), got {probs.dtype} of {tuple(probs.shape)}")
    if labels.shape != probs.shape[:1] or labels.is_floating_point() or labels.dtype == torch.bool:
        expected = f"integers of shape ({len(probs)},)"
        raise ValueError(f"labels must be {expected}, got {labels.dtype} of {tuple(labels.shape)}")
    tolerance = 1e-3 if probs.dtype in (torch.float32, torch.float64) else 2e-2
    probs, labels = probs.detach().to("cpu", torch.float64), labels.to("cpu", torch.int64)
    off = (probs.sum(dim=1) - 1).abs()
    if not bool(((probs >= 0) & (probs <= 1)).all() and (off <= tolerance).all()):
        raise ValueError(
            f"probs must be probabilities whose rows sum to 1; they range from {float(probs.min()):.4g} to "
            f"{float(probs.max()):.4g} and a row is off by {float(off.max()):.4g}. Pass logits.softmax(dim=1)"
        )
    low, high = int(labels.min()), int(labels.max())
    if low < 0 or high >= probs.shape[1]:
        raise ValueError(f"labels must lie in [0, {probs.shape[1]}), they range from {low} to {high}")
    return probs, labels
