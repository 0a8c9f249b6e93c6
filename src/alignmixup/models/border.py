"""How much of an image's border a network leaves out, found by running it."""

import torch
from torch import Tensor, nn

from alignmixup.modules import evaluation_mode
from alignmixup.seeds import own_stream

__all__ = ["unseen_border"]

_LOOKS = 8  # a maximum over positions sends its gradient to one of them alone


def unseen_border(model: nn.Module, images: Tensor) -> int:
    """Rows or columns at one side of an image that no logit depends on; 0 where that cannot be told.

    The gradient tells it, of noise: a part of an image may be constant, and lie where an activation is flat.

    Args:
        model: the network, which stays as it is.
        images: (B, C, H, W); noise of their shape, dtype and device is shown.
    """
    seen = torch.zeros(images.shape[-2:], dtype=torch.bool, device=images.device)
    generator = torch.Generator().manual_seed(0)
    for _ in range(_LOOKS):
        noise = torch.randn(images.shape, generator=generator).to(images).requires_grad_()
        exact = torch.autocast(images.device.type, enabled=False)  # small gradients vanish in half precision
        with evaluation_mode(model), own_stream(), torch.enable_grad(), exact:
            logits = model(noise)
        if not logits.requires_grad:
            return 0
        (gradient,) = torch.autograd.grad(logits.square().sum(), noise, allow_unused=True)
        if gradient is None:
            return 0
        seen |= gradient.ne(0).flatten(0, 1).any(0)
        rows, columns = (seen.any(axis).nonzero().flatten() for axis in (1, 0))
        if not len(rows):
            return 0
        height, width = seen.shape
        sides = [rows[0], height - 1 - rows[-1], columns[0], width - 1 - columns[-1]]
        unseen = max(int(side) for side in sides)
        if not unseen:
            return 0
    return unseen
