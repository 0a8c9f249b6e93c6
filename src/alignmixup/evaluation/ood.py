"""Out-of-distribution detection: does a score tell test images from images of another kind?"""

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import torch
from torch import Tensor

from alignmixup.data.splits import evenly_spaced
from alignmixup.evaluation.summary import mean_over_sets
from alignmixup.near import near
from alignmixup.outside import require

SCORES = ("msp", "energy", "entropy", "max_logit")

CONVENTIONS = {
    "units": "shares in [0, 1]; all but fpr95 are better when higher",
    "score": "higher means more in-distribution; computed in float64 from float32 logits, temperature 1, the network's "
    "input not perturbed",
    "auroc": "P(s_in > s_out) + P(s_in = s_out) / 2",
    "aupr_in": "average precision (no trapezoids), in-distribution positive",
    "aupr_out": "average precision (no trapezoids), out-of-distribution positive, score negated",
    "fpr95": "share of the OOD images with s >= d, d the largest threshold with P(s_in >= d) >= 0.95; no interpolation",
    "tnr95": "1 - fpr95",
    "detection_accuracy": "max over thresholds d of P(s_in > d) / 2 + P(s_out <= d) / 2: never below 0.5",
    "detection_accuracy_at_half": "msp alone: the same at d = 0.5, the second reading of 'detection accuracy'",
    "auroc_float32": "msp alone: auroc of softmax computed in float32, where confidences saturate at 1 and tie",
}
"""What each number in the result of ``evaluate_ood`` is, in words."""


def score(name: str, logits: Tensor) -> Tensor:
    """A detector's score, float64, of each image: higher means more in-distribution.

    Convention:
        - ``msp`` largest softmax probability; ``energy`` log-sum-exp of the logits (the energy with its sign turned);
          ``entropy`` minus the entropy of softmax, in nats; ``max_logit`` the largest logit. Temperature 1.
        - float64: in float32 the largest probability is exactly 1 from a margin of 17 in the logits on, and all images
          beyond it would tie.

    Raises:
        ValueError: an unknown name, or logits that are not (N, K), floating and finite.

    Source:
        Hendrycks and Gimpel, ICLR 2017 (msp); Liu et al., Energy-based out-of-distribution detection, NeurIPS 2020
        (energy); Hendrycks et al., Scaling out-of-distribution detection for real-world settings, ICML 2022
        (max_logit).
    """
    if name not in SCORES:
        raise ValueError(f"unknown score {name!r}; {near(name, SCORES)}")
    if logits.dim() != 2 or not logits.is_floating_point() or 0 in logits.shape:
        raise ValueError(f"logits must be floating and (N, K), got {logits.dtype} of shape {tuple(logits.shape)}")
    unreadable = int((~logits.isfinite().all(dim=1)).sum())
    if unreadable:
        raise ValueError(
            f"{unreadable} of {len(logits)} images have logits that are not finite: no score can rank them"
        )
    logits = logits.double()
    if name == "msp":
        return logits.softmax(dim=1).amax(dim=1)
    if name == "energy":
        return logits.logsumexp(dim=1)
    if name == "max_logit":
        return logits.amax(dim=1)
    log_probs = logits.log_softmax(dim=1)
    return (log_probs.exp() * log_probs).sum(dim=1)


def detection_metrics(s_in: Tensor, s_out: Tensor) -> dict[str, float]:
    """How well a threshold on scores (N,) and (M,) tells in- from out-of-distribution images; in words:
    ``CONVENTIONS``.

    Average precision depends on the ratio of the two counts: compare only equal ratios.

    Raises:
        ValueError: an empty set, another shape, or scores that are not a number.
        ImportError: scikit-learn is not installed.

    Source:
        Hendrycks and Gimpel, ICLR 2017 (AUROC, AUPR); Liang et al., Enhancing the reliability of out-of-distribution
        image detection in neural networks, ICLR 2018 (TNR at TPR 95 %, detection accuracy).

    Example:
        >>> detection_metrics(torch.tensor([3.0, 2.0]), torch.tensor([2.0, 1.0]))["auroc"]
        0.875
    """
    s_in, s_out = _checked("in-distribution", s_in), _checked("out-of-distribution", s_out)
    metrics = require("sklearn.metrics")
    together = torch.cat((s_in, s_out)).numpy()
    is_in = torch.cat((torch.ones(len(s_in)), torch.zeros(len(s_out)))).numpy()
    needed = -(-95 * len(s_in) // 100)  # in whole numbers: 0.95 * N may lie just above one
    fpr95 = float((s_out >= s_in.sort(descending=True).values[needed - 1]).double().mean())
    return {
        "auroc": float(metrics.roc_auc_score(is_in, together)),
        "aupr_in": float(metrics.average_precision_score(is_in, together)),
        "aupr_out": float(metrics.average_precision_score(1 - is_in, -together)),
        "fpr95": fpr95,
        "tnr95": 1 - fpr95,
        "detection_accuracy": _detection_accuracy(s_in, s_out),
    }


def evaluate_ood(
    in_logits: Tensor,
    out_logits: Mapping[str, Tensor],
    *,
    scores: Sequence[str] = SCORES,
    counts: Literal["equal", "all"] = "equal",
) -> dict[str, Any]:
    """Detection of each out-of-distribution set by each score, and the mean over the sets.

    Logits are (N, K) of the test images, and of each set (M, K) of the same network, its images normalised as those of
    training. ``counts``: "equal" cuts the larger of the two sides, evenly spread, to the size of the smaller, for each
    set; "all" takes what there is, which changes both AUPR.

    Returns:
        JSON-ready: ``scores``, ``counts``, ``conventions``, ``sets`` (name -> ``in_images``, ``out_images`` and score
        -> metrics) and ``mean`` (score -> metrics, each set weighing the same).

    Raises:
        ValueError: no set or no score, an unknown one, logits of different classes or not finite.
    """
    if not out_logits or not scores or len(set(scores)) != len(scores):
        raise ValueError(f"name one set and one score at least, each once; got {list(out_logits)} and {list(scores)}")
    if counts not in ("equal", "all"):
        raise ValueError(f"counts must be 'equal' or 'all', got {counts!r}")
    sets: dict[str, Any] = {}
    for name, logits in out_logits.items():
        if logits.shape[1:] != in_logits.shape[1:]:
            shapes = f"{tuple(logits.shape)} and {tuple(in_logits.shape)}"
            raise ValueError(f"{name} and the in-distribution images need logits of the same classes, got {shapes}")
        inside, outside = cut_to_equal(in_logits, logits) if counts == "equal" else (in_logits, logits)
        sets[name] = {"in_images": len(inside), "out_images": len(outside)}
        sets[name] |= {key: _metrics_of(key, inside, outside) for key in scores}
    given = {"scores": list(scores), "counts": counts, "conventions": CONVENTIONS}
    return {**given, "sets": sets, "mean": mean_over_sets(sets)}


def cut_to_equal(first: Tensor, second: Tensor) -> tuple[Tensor, Tensor]:
    """Both cut to the length of the shorter; evenly spread, since files are often sorted by class."""
    size = min(len(first), len(second))
    return first[evenly_spaced(len(first), size)], second[evenly_spaced(len(second), size)]


def _metrics_of(name: str, inside: Tensor, outside: Tensor) -> dict[str, float]:
    s_in, s_out = score(name, inside), score(name, outside)
    result = detection_metrics(s_in, s_out)
    if name == "msp":
        kept, refused = (s_in > 0.5).double().mean(), (s_out <= 0.5).double().mean()
        result["detection_accuracy_at_half"] = float(kept / 2 + refused / 2)
        single = [logits.float().softmax(dim=1).amax(dim=1) for logits in (inside, outside)]
        result["auroc_float32"] = detection_metrics(*single)["auroc"]
    return result


def _checked(which: str, scores: Tensor) -> Tensor:
    if scores.dim() != 1 or not len(scores):
        raise ValueError(f"{which} scores must be (N,), N >= 1, got shape {tuple(scores.shape)}")
    scores = scores.detach().double().cpu()
    if not bool(scores.isfinite().all()):
        raise ValueError(f"{int((~scores.isfinite()).sum())} of {len(scores)} {which} scores are not finite")
    return scores


def _detection_accuracy(s_in: Tensor, s_out: Tensor) -> float:
    # a threshold below all scores gives 1/2; between two scores nothing changes
    thresholds = torch.cat((s_in, s_out))
    rejected_in = torch.searchsorted(s_in.sort().values, thresholds, right=True).double() / len(s_in)
    rejected_out = torch.searchsorted(s_out.sort().values, thresholds, right=True).double() / len(s_out)
    return max(0.5, float((1 - rejected_in + rejected_out).max()) / 2)
