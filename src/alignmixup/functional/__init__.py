"""Pure functions on tensors: sampling, labels, interpolation, transport and alignment. They import torch only.

Arguments are refused alike everywhere, by `alignmixup.functional.arguments`: with a TypeError what is of another kind
(no tensor, one that is not floating point or holds no integers where they are needed), with a ValueError shapes and
devices that do not fit, and values out of range: of numbers, of options, and of tensors on the CPU, where looking is
free. A docstring names other errors only.
"""

from alignmixup.functional.alignment import align, align_mix
from alignmixup.functional.cells import alignment_size
from alignmixup.functional.comixup.images import comixup_compose
from alignmixup.functional.comixup.masks import comixup_masks, comixup_objective
from alignmixup.functional.interpolation import box_lam, box_mask, cutmix, mixup
from alignmixup.functional.labels import one_hot, smooth, soft_labels
from alignmixup.functional.puzzlemix.images import puzzlemix, puzzlemix_energy, puzzlemix_mask, puzzlemix_transport
from alignmixup.functional.saliency import fine_grained_saliency, spectral_residual_saliency
from alignmixup.functional.sampling import beta, cutmix_box
from alignmixup.functional.style import adain, style_distances, stylecutmix, stylemix
from alignmixup.functional.transport.plan import TransportPlan, assignment_matrix, cost_matrix, sinkhorn

__all__ = [
    "TransportPlan",
    "adain",
    "align",
    "align_mix",
    "alignment_size",
    "assignment_matrix",
    "beta",
    "box_lam",
    "box_mask",
    "comixup_compose",
    "comixup_masks",
    "comixup_objective",
    "cost_matrix",
    "cutmix",
    "cutmix_box",
    "fine_grained_saliency",
    "mixup",
    "one_hot",
    "puzzlemix",
    "puzzlemix_energy",
    "puzzlemix_mask",
    "puzzlemix_transport",
    "sinkhorn",
    "smooth",
    "soft_labels",
    "spectral_residual_saliency",
    "style_distances",
    "stylecutmix",
    "stylemix",
]
