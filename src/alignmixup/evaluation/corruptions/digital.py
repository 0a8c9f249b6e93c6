"""Digital: contrast, elastic, pixelate, JPEG and saturation. See `noise` for what a corruption takes."""

import io
from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from alignmixup.evaluation.corruptions.blur import smooth
from alignmixup.evaluation.corruptions.draws import Draws
from alignmixup.evaluation.corruptions.strengths import Parameters
from alignmixup.outside import require


def contrast(x: Tensor, parameters: Parameters, draws: Draws) -> Tensor:
    """Pull each channel towards its mean over the image."""
    (keep,) = parameters
    mean = x.mean(dim=(2, 3), keepdim=True)
    return (x - mean) * keep + mean


def elastic_transform(x: Tensor, parameters: Parameters, draws: Draws) -> Tensor:
    """Stretch by a random affine map, then move each pixel by a smooth random field.

    Convention:
        - The map takes three points, (c + s, c + s), (c + s, c - s) and (c - s, c - s) with c = H // 2 and s = H // 3,
          to themselves plus U(-jitter, jitter) per coordinate.
    """
    amplitude, sigma, jitter = parameters
    side = x.shape[-1]
    middle, third = float(side // 2), float(side // 3)
    corners = torch.tensor([[third, third], [third, -third], [-third, -third]], dtype=torch.float64) + middle
    moved = corners + jitter * (2 * draws.uniform(3, 2).double() - 1)
    ones = torch.ones(len(x), 3, 1, dtype=torch.float64)
    back = torch.linalg.solve(torch.cat((moved, ones), dim=2), corners.expand(len(x), -1, -1))  # (B, 3, 2)
    line = torch.arange(side, dtype=torch.float64)
    here = torch.stack((line.expand(side, -1), line[:, None].expand(-1, side), torch.ones(side, side).double()), dim=-1)
    x = _sample(x, (here.flatten(0, 1) @ back).view(-1, side, side, 2), at_edge=False)
    if amplitude == 0:
        return x
    shift = amplitude * smooth(2 * draws.uniform(2, side, side) - 1, sigma, border="symmetric", truncate=3.0)
    return _sample(x, here[..., :2].float() + shift.permute(0, 2, 3, 1), at_edge=True)


def pixelate(x: Tensor, parameters: Parameters, draws: Draws) -> Tensor:
    """Shrink by box averaging and enlarge again, with PIL as published."""
    (factor,) = parameters
    pil = require("PIL.Image")
    side = x.shape[-1]
    small = max(int(side * factor), 1)

    def one(image: Any) -> Any:
        return image.resize((small, small), pil.Resampling.BOX).resize((side, side), pil.Resampling.BOX)

    return _each(x, one)


def jpeg_compression(x: Tensor, parameters: Parameters, draws: Draws) -> Tensor:
    """Write and read as JPEG of a low quality, with PIL as published."""
    quality = int(parameters[0])
    pil = require("PIL.Image")

    def one(image: Any) -> Any:
        file = io.BytesIO()
        image.save(file, "JPEG", quality=quality)
        return pil.open(file)

    return _each(x, one)


def saturate(x: Tensor, parameters: Parameters, draws: Draws) -> Tensor:
    """Scale the saturation S of HSV and add to it; hue and value are kept.

    Convention:
        - Grey pixels have hue 0, as in scikit-image, and so turn red where saturation is added. Grey IMAGES (one
          channel) stay as they are.
    """
    scale, added = parameters
    if x.shape[1] == 1:
        return x
    value = x.amax(dim=1, keepdim=True)
    saturation = (value - x.amin(dim=1, keepdim=True)) / value.clamp(min=1e-6)
    changed = (saturation * scale + added).clamp(0, 1)
    # each channel is value * (1 - saturation * share), where share depends on the hue alone
    red = torch.tensor([0.0, 1.0, 1.0]).view(1, 3, 1, 1)
    share = torch.where(saturation > 0, (value - x) / (value * saturation).clamp(min=1e-6), red)
    return value * (1 - changed * share)


def _sample(x: Tensor, where: Tensor, *, at_edge: bool) -> Tensor:
    """Linear interpolation at ``where`` (B, H, H, 2) in pixels (x, y), of the image mirrored beyond its border.

    The mirror is the edge of the image, which repeats the outermost pixels, or these pixels' centres, which does not.
    """
    side = x.shape[-1]
    scaled = (2 * where + 1) / side - 1 if at_edge else 2 * where / (side - 1) - 1
    return F.grid_sample(x, scaled.float(), padding_mode="reflection", align_corners=not at_edge)


def _each(x: Tensor, one: Callable[[Any], Any]) -> Tensor:
    """Apply a function of PIL images, RGB or grey, to each of the images (B, C, H, W) in [0, 1]."""
    pil, numpy = require("PIL.Image"), require("numpy")
    coded = (x * 255).round().to(torch.uint8).permute(0, 2, 3, 1)
    coded = coded[..., 0] if coded.shape[-1] == 1 else coded
    done = numpy.stack([numpy.asarray(one(pil.fromarray(image))) for image in coded.contiguous().numpy()])
    changed = torch.from_numpy(done).float() / 255
    return changed.unsqueeze(1) if changed.dim() == 3 else changed.permute(0, 3, 1, 2)
