"""How much of an image's border a network leaves out, found by running it."""

import torch
from torch import Tensor, nn

from alignmixup.taps.outputs import find_logits
from alignmixup.taps.quiet import evaluating, nothing_hidden, own_buffers, own_streams

__all__ = ["unseen_border"]

_LOOKS = 8  # a maximum over positions sends its gradient to one of them alone


def unseen_border(model: nn.Module, images: Tensor, *, allowed: int = 0) -> int:
    """Rows or columns at one side of an image that no logit depends on; 0 where that cannot be told.

    The gradient tells it, of noise: a part of an image may be constant, and lie where an activation is flat. Parameters
    that start at zero are replaced meanwhile: a residual branch would hide what it reads.

    Args:
        model: the network, which stays as it is.
        images: (B, C, H, W); noise of their shape, dtype and device is shown.
        allowed: so many are few enough; it looks no further then.
    """
    seen = torch.zeros(images.shape[-2:], dtype=torch.bool, device=images.device)
    generator = torch.Generator().manual_seed(0)
    exact = torch.autocast(images.device.type, enabled=False)  # small gradients vanish in half precision
    with own_buffers(model), own_streams(model), nothing_hidden(model), evaluating(model), torch.enable_grad(), exact:
        for _ in range(_LOOKS):
            noise = torch.randn(images.shape, dtype=torch.float32, device="cpu", generator=generator).to(images)
            logits = find_logits(model(noise.requires_grad_()))
            if logits is None or not logits.requires_grad:
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
            if unseen <= allowed:
                break
    return unseen
