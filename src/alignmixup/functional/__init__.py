"""Pure functions on tensors: sampling, labels, interpolation, transport and alignment. They import torch only."""

from alignmixup.functional.alignment import align, align_mix
from alignmixup.functional.interpolation import box_lam, box_mask, cutmix, mixup
from alignmixup.functional.labels import one_hot, smooth, soft_labels
from alignmixup.functional.sampling import beta, cutmix_box
from alignmixup.functional.transport import TransportPlan, assignment_matrix, cost_matrix, sinkhorn

__all__ = [
    "TransportPlan",
    "align",
    "align_mix",
    "assignment_matrix",
    "beta",
    "box_lam",
    "box_mask",
    "cost_matrix",
    "cutmix",
    "cutmix_box",
    "mixup",
    "one_hot",
    "sinkhorn",
    "smooth",
    "soft_labels",
]
