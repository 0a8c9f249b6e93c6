"""Criteria on logits (B, K) and soft labels (B, K): each returns a scalar and computes in float32."""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

Criterion = Callable[[Tensor, Tensor], Tensor]

# Both logarithms of the binary cross-entropy are cut here, as in torch.nn.BCELoss.
_LOG_FLOOR = -100.0


def cross_entropy(logits: Tensor, target: Tensor) -> Tensor:
    """Soft-label cross-entropy, averaged over the batch."""
    return F.cross_entropy(logits.float(), target.float())


def bce_softmax(logits: Tensor, target: Tensor) -> Tensor:
    """Binary cross-entropy of the softmax probabilities, averaged over batch and classes.

    With p = softmax(logits) the loss is the mean over B and K of -[t log p + (1 - t) log(1 - p)], both
    logarithms cut at -100. log(1 - p) is log1p(-p) except at the largest logit, where p may round to 1: there
    it is the log-sum-exp over the other classes. So it stays finite and accurate for any confidence.

    Convention:
        - Its gradient is about 1/K to 2/K of that of the cross-entropy; learning rates do not carry over.

    Args:
        logits: (B, K) with K >= 2; half precision is computed in float32.
        target: (B, K), rows sum to 1.

    Raises:
        ValueError: fewer than two classes.
    Source:
        Loss of the Manifold mixup, Puzzle Mix and Co-Mixup codes (softmax followed by torch.nn.BCELoss).
    """
    if logits.dim() != 2 or logits.shape[1] < 2:
        raise ValueError(f"bce_softmax needs logits of shape (batch, classes >= 2), got {tuple(logits.shape)}")
    logits, target = logits.float(), target.float()
    log_probs = F.log_softmax(logits, dim=1)
    largest = F.one_hot(logits.argmax(dim=1), logits.shape[1]).bool()
    # Probabilities other than the largest are at most 1/2. The largest is zeroed before log1p, since where()
    # around log1p(-1) = -inf would still send a NaN gradient back.
    rest = torch.log1p(-log_probs.exp().masked_fill(largest, 0.0))
    others = logits.masked_fill(largest, -torch.inf).logsumexp(dim=1, keepdim=True)
    log_one_minus = torch.where(largest, others - logits.logsumexp(dim=1, keepdim=True), rest)
    loss = target * log_probs.clamp(min=_LOG_FLOOR) + (1 - target) * log_one_minus.clamp(min=_LOG_FLOOR)
    return -loss.mean()


def bce_logits(logits: Tensor, target: Tensor) -> Tensor:
    """Multi-label binary cross-entropy: each class is a yes/no question; averaged over batch and classes."""
    return F.binary_cross_entropy_with_logits(logits.float(), target.float())


CRITERIA: dict[str, Criterion] = {
    "cross_entropy": cross_entropy,
    "bce_softmax": bce_softmax,
    "bce_logits": bce_logits,
}
