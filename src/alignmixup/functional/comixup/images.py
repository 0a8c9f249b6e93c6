"""From saliency maps to Co-Mixup's problem, and from its masks to images."""

import torch
from torch import Tensor
from torch.nn import functional as F

from alignmixup.functional.arguments import floating, readable, whole_batches


def block_means(saliency: Tensor, blocks: int) -> Tensor:
    """Average saliency maps (B, H, W) over a grid of blocks, (B, n, n); n divides H and W."""
    height, width = saliency.shape[1:]
    return F.avg_pool2d(saliency[:, None], (height // blocks, width // blocks))[:, 0]


def peak_distances(saliency: Tensor, window: int = 8, stride: int = 1) -> Tensor:
    """Measure how far apart the most salient places of a group's images are.

    Args:
        saliency: (G, m, H, W) maps of G groups.
        window: side of the window whose mean is maximised, in pixels; cut to the image.
        stride: step of the window, in pixels.

    Returns:
        (G, m, m) L1 distances between the windows, in steps; of equal windows the first, row by row, counts.

    Source:
        Kim et al., Co-Mixup, ICLR 2021, and its published code: window 8 and stride 1; stride 8 on ImageNet.
    """
    groups, inputs, height, width = saliency.shape
    size = (min(window, height), min(window, width))
    pooled = F.avg_pool2d(saliency.flatten(0, 1)[:, None], size, stride)
    place = pooled.flatten(1).argmax(1).view(groups, inputs)
    steps = torch.stack([place // pooled.shape[-1], place % pooled.shape[-1]], -1)
    return (steps[:, :, None] - steps[:, None]).abs().sum(-1).to(saliency.dtype)


@whole_batches
def comixup_compose(x: Tensor, masks: Tensor) -> Tensor:
    """Assemble images from blocks of several: two gathers and a mean, since a block has at most two sources.

    Convention:
        - ``masks[g, j, y, x, i]`` is the weight of input i in block (y, x) of output j of group g.

    Args:
        x: (B, C, H, W) floating-point images, B = G m, group after group.
        masks: (G, m, h, w, m) weights as :func:`comixup_masks` gives them: one 1 or twice 1/2 in a block; h and w
            divide H and W.

    Returns:
        Shape, dtype, device and memory format of ``x``.

    Source:
        Kim et al., Co-Mixup, ICLR 2021, Eq. (1).

    Example:
        >>> import torch
        >>> x = torch.tensor([1.0, 2.0]).view(2, 1, 1, 1).expand(2, 1, 1, 2)
        >>> masks = torch.tensor([[[[[1.0, 0.0], [0.0, 1.0]]], [[[0.5, 0.5], [0.0, 1.0]]]]])
        >>> comixup_compose(x, masks).flatten(1)
        tensor([[1.0000, 2.0000],
                [1.5000, 2.0000]])
    """
    floating("x", x, "B C H W")
    inputs = masks.shape[-1] if isinstance(masks, Tensor) and masks.ndim else 0
    floating("masks", masks, "G m h w m", like=x, m=inputs)
    groups, inputs, rows, columns, _ = masks.shape
    batch, channels, height, width = x.shape
    if batch != groups * inputs or height % rows or width % columns:
        raise ValueError(f"images {tuple(x.shape)} do not fit masks {tuple(masks.shape)}")
    if masks.numel() and readable(masks):
        wrong = ((masks != 0) & (masks != 0.5) & (masks != 1)).any(-1) | (masks.sum(-1) != 1)
        if wrong.any():
            got = masks[wrong][0].tolist()
            raise ValueError(f"masks must be one 1 or twice 1/2 in a block, as comixup_masks gives them, got {got}")
    first = masks.argmax(-1)
    last = inputs - 1 - masks.flip(-1).argmax(-1)
    group = torch.arange(groups, device=x.device).view(-1, 1, 1, 1) * inputs
    block = torch.arange(rows * columns, device=x.device).view(rows, columns)
    cut = x.view(batch, channels, rows, height // rows, columns, width // columns).permute(0, 2, 4, 1, 3, 5)
    tiles = cut.reshape(batch * rows * columns, -1)
    one, other = (tiles.index_select(0, ((group + i) * (rows * columns) + block).flatten()) for i in (first, last))
    mixed = other.lerp_(one, 0.5).view(cut.shape).permute(0, 3, 1, 4, 2, 5)
    return torch.empty_like(x).copy_(mixed.reshape(x.shape))
