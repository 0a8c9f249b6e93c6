"""Temperature scaling: one number that makes a network's confidences fit its errors."""

from __future__ import annotations

import torch
from torch import Tensor

_COLDEST, _HOTTEST = 1e-2, 1e2
_STEPS = 60  # halvings of log 1e4: far below the precision of a temperature from any number of images


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
