"""Style of feature maps: adaptive instance normalisation, its mixtures, and how far the styles of classes lie apart.

The style of a map is the mean and the standard deviation of each channel over the positions; what remains is content.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from alignmixup.functional.arguments import ROUNDING, booleans, floating, integers, paired, readable, weights
from alignmixup.functional.interpolation import partners
from alignmixup.functional.precision import single

EPSILON = 1e-5


def style_statistics(features: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and standard deviation of each channel over the positions, std = sqrt(unbiased variance + 1e-5).

    Args:
        features: (B, C, h, w) floating point; a single position has variance 0.

    Returns:
        Two tensors (B, C, 1, 1), float32, or float64 for float64 features.

    Source:
        Huang and Belongie, Arbitrary Style Transfer in Real-time with Adaptive Instance Normalization, ICCV 2017, Eqs.
        (5) and (6) for the place of the constant; its published code for the unbiased variance.
    """
    floating("features", features, "B C h w")
    wide = single(features)
    if len(features) == 0:
        nothing = wide.new_zeros(0, features.shape[1], 1, 1)
        return nothing, nothing
    positions = features.shape[2] * features.shape[3]
    variance, mean = torch.var_mean(wide, dim=(2, 3), correction=min(1, positions - 1), keepdim=True)
    return mean, (variance + EPSILON).sqrt()


def adain(content: Tensor, style: Tensor) -> Tensor:
    """Give one feature map the style of another: σ(s) (c - μ(c)) / σ(c) + μ(s), for each sample and channel.

    Convention:
        - the first argument keeps its content (where what is), the second gives mean and deviation.

    Args:
        content: (B, C, h, w) floating point; half precision is computed in float32.
        style: (B, C, h', w'); the maps may differ in size.

    Returns:
        Shape and dtype of ``content``.

    Source:
        Huang and Belongie, AdaIN, ICCV 2017, Eq. (8).

    Example:
        >>> import torch
        >>> content, style = torch.tensor([[[[0.0, 1.0, 2.0]]]]), torch.tensor([[[[5.0, 15.0, 25.0]]]])
        >>> adain(content, style).flatten().round(decimals=2)
        tensor([ 5., 15., 25.])
    """
    floating("content", content, "B C h w")
    floating("style", style, "B C h w", like=content, B=content.shape[0], C=content.shape[1])
    mean, std = style_statistics(content)
    style_mean, style_std = style_statistics(style)
    return torch.addcmul(style_mean, content - mean, style_std / std).to(content.dtype)


def stylemix(
    features: Tensor, perm: Tensor, content_ratio: Tensor | float, style_ratio: Tensor | float, overlap: Tensor | float
) -> Tensor:
    """Mix content and style of each feature map with its partner's in different shares.

    With F the features, F' = F[π] and r_c, r_s, t the content ratio, the style ratio and the overlap, the result is
    t F + (1 - r_c - r_s + t) F' + (r_c - t) AdaIN(F, F') + (r_s - t) AdaIN(F', F).

    Convention:
        - all three weigh the FIRST example: ratios and overlap 1 return ``features``, 0 its partner; content ratio 1
          with style ratio and overlap 0 gives the first's content in the partner's style.

    Args:
        features: (B, C, h, w) floating point; half precision is computed in float32.
        perm: (B,) integer partner of each sample.
        content_ratio: (B,) in [0, 1], or one number for all.
        style_ratio: the same.
        overlap: (B,) or one number, in [max(0, r_c + r_s - 1), min(r_c, r_s)], so that no weight is negative: the
            share of the first example as it is, content and style together.

    Returns:
        Shape and dtype of ``features``; differentiable in ``features``.

    Source:
        Hong, Choi, Kim, StyleMix: Separating Content and Style for Enhanced Data Augmentation, CVPR 2021, section 3.

    Example:
        >>> import torch
        >>> features = torch.tensor([[[[0.0, 2.0]]], [[[30.0, 10.0]]]])
        >>> stylemix(features, torch.tensor([1, 0]), 1.0, 0.0, 0.0)[0].round(decimals=2)
        tensor([[[10., 30.]]])
    """
    perm = paired("features", features, perm, "B C h w")
    ratios = {"content_ratio": content_ratio, "style_ratio": style_ratio, "overlap": overlap}
    content, style, both = (weights(name, ratio, features).view(-1, 1, 1, 1) for name, ratio in ratios.items())
    _check_overlap(content_ratio, style_ratio, overlap)
    mean, std = style_statistics(features)
    partner_mean, partner_std = mean[perm], std[perm]
    # Each term is affine in F - μ or F' - μ', so two products and one sum replace two restyled maps. The means then
    # add up to μ and μ' in the shares of the styles.
    scale = both + (content - both) * (partner_std / std)
    partner_scale = (1 - content - style + both) + (style - both) * (std / partner_std)
    centred = features - mean
    mixed = torch.addcmul(torch.lerp(partner_mean, mean, style), centred, scale)
    return mixed.addcmul(partners(centred, perm), partner_scale).to(features.dtype)


def stylecutmix(
    x: Tensor,
    perm: Tensor,
    mask: Tensor,
    *,
    style_ratio: Tensor | float,
    gamma: Tensor | float,
    restyled: Tensor,
    partner_restyled: Tensor,
) -> Tensor:
    """Take the content of each image inside a mask and its partner's outside, in a style that is mixed everywhere.

    Inside stands r_s x + (1 - r_s) g with g = γ x + (1 - γ) ``restyled``, the image drawn towards its partner's style;
    outside (1 - r_s) x' + r_s g' with g' = γ x' + (1 - γ) ``partner_restyled``, x' = x[π].

    Convention:
        - ``style_ratio`` weighs the first example's style; γ = 1 leaves all images as they are: CutMix.
        - the mask is 1 where the FIRST example's content stands.

    Args:
        x: (B, C, H, W) floating point images.
        perm: (B,) integer partner of each image.
        mask: (B, 1, H, W) bool, or (1, 1, H, W) for all.
        style_ratio: (B,) in [0, 1], or one number for all.
        gamma: the same.
        restyled: (B, C, H, W) content of each image, style of its partner.
        partner_restyled: (B, C, H, W) content of each partner, style of the image.

    Returns:
        Shape and dtype of ``x``.

    Source:
        Hong et al., StyleMix, CVPR 2021, section 3: its four-term sum, whose pixelwise weights leave these two cases.

    Example:
        >>> import torch
        >>> x, mask = torch.tensor([1.0, 3.0]).view(2, 1, 1, 1).expand(2, 1, 1, 2), torch.tensor([[[[True, False]]]])
        >>> perm = torch.tensor([1, 0])
        >>> stylecutmix(x, perm, mask, style_ratio=0.5, gamma=0.0, restyled=2 * x, partner_restyled=x[perm])[0]
        tensor([[[1.5000, 3.0000]]])
    """
    perm = paired("x", x, perm, "B C H W")
    batch, channels, height, width = x.shape
    sizes = {"B": batch, "C": channels, "H": height, "W": width}
    floating("restyled", restyled, "B C H W", like=x, **sizes)
    floating("partner_restyled", partner_restyled, "B C H W", like=x, **sizes)
    if isinstance(mask, Tensor) and len(mask) == 1:
        sizes["B"] = 1
    booleans("mask", mask, "B 1 H W", like=x, **sizes)
    wide = single(x)
    style, kept = (
        weights(name, ratio, x).view(-1, 1, 1, 1) for name, ratio in (("style_ratio", style_ratio), ("gamma", gamma))
    )
    content = torch.where(mask, wide, partners(wide, perm))
    target = torch.where(mask, restyled.to(wide.dtype), partner_restyled.to(wide.dtype))
    return torch.lerp(content, target, (1 - kept) * torch.where(mask, 1 - style, style)).to(x.dtype)


def style_vector(maps: Sequence[Tensor]) -> Tensor:
    """Describe the style of each image in one row, (B, 2 ΣC_i) float32.

    It holds, for each of several maps (B, C_i, h_i, w_i), the means of the channels, then their standard deviations.
    """
    return torch.cat([part.flatten(1) for features in maps for part in style_statistics(features)], dim=1)


def class_style_sums(vectors: Tensor, labels: Tensor, num_classes: int) -> tuple[Tensor, Tensor]:
    """Add up style vectors (B, D) class by class, every image of a batch counted.

    Returns:
        Sums (K, D) and counts (K,), both float64, to be added over batches; sums / counts are the class means.

    Source:
        Deviation from the published code of StyleMix, which assigns where it means to add: of several images of a
        class in a batch only one counts there.
    """
    floating("vectors", vectors, "B D")
    labels = integers("labels", labels, "B", below=num_classes, like=vectors, B=len(vectors))
    wide = vectors.double()
    sums = wide.new_zeros(num_classes, wide.shape[1]).index_add_(0, labels, wide)
    return sums, wide.new_zeros(num_classes).index_add_(0, labels, wide.new_ones(len(labels)))


def style_distances(class_means: Tensor) -> Tensor:
    """Mean squared difference of the styles of each two classes.

    Args:
        class_means: (K, D) mean style vector of each class.

    Returns:
        (K, K) float32 (float64 for float64), symmetric, 0 on the diagonal.

    Source:
        Hong et al., StyleMix, CVPR 2021, section 3, and its published code.

    Example:
        >>> import torch
        >>> style_distances(torch.tensor([[0.0, 0.0], [0.0, 2.0]]))
        tensor([[0., 2.],
                [2., 0.]])
    """
    floating("class_means", class_means, "K D")
    wide = single(class_means)
    difference = torch.cdist(wide, wide, compute_mode="donot_use_mm_for_euclid_dist")
    return difference.square() / class_means.shape[1]


def _check_overlap(content: Tensor | float, style: Tensor | float, overlap: Tensor | float) -> None:
    """Refuse an overlap that makes a weight negative; tensors on a device are not looked at."""
    content, style, overlap = (
        ratio if isinstance(ratio, Tensor) else torch.tensor(ratio, dtype=torch.float64, device="cpu")
        for ratio in (content, style, overlap)
    )
    if not readable(content, style, overlap):
        return
    low, high = (content + style - 1).clamp_min(0), torch.minimum(content, style)
    bad = ((overlap < low - ROUNDING) | (overlap > high + ROUNDING)).flatten()
    if bad.any():
        least, largest, received = (float(value.expand(bad.shape)[bad][0]) for value in (low, high, overlap))
        raise ValueError(
            f"overlap must be in [max(0, content_ratio + style_ratio - 1), min(content_ratio, style_ratio)] = "
            f"[{least:g}, {largest:g}], got {received:g}"
        )
