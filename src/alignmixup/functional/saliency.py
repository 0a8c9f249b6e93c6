"""Saliency maps of images without a network: fine-grained contrast and spectral residual, as OpenCV computes them.

OpenCV's detectors are what published code calls, so their 8-bit arithmetic (fixed-point weights, roundings,
truncations, sums modulo 256) is part of the definition and is reproduced; here they take whole batches on any device.
"""

import torch
from torch import Tensor
from torch.nn import functional as F

from alignmixup.functional.arguments import check_tensor
from alignmixup.functional.parts import in_parts
from alignmixup.functional.precision import where_wide

HALF_WIDTHS = (12, 24, 48, 28, 56, 112)
SPECTRUM_SIZE = 64


def fine_grained_saliency(images: Tensor) -> Tensor:
    """Contrast of each pixel with its surround, at six scales.

    The grey image g, blurred twice by a 3 × 3 Gaussian, is compared with the mean m_s of a square around each pixel
    without the pixel itself, for half-widths s = 12, 24, 28, 48, 56, 112. With ⌊·⌋ truncation to bytes,
    on = Σ_s ⌊max(g - m_s, 0)⌋ and off = Σ_s ⌊max(m_s - g, 0)⌋, each scaled to a maximum of 255 over its image;
    the map is (on + off) mod 256, divided by 255.

    Convention:
        - the surround of half-width s spans rows and columns -s + 1 to +s around the pixel, cut at the border.
        - the strongest "on" and the strongest "off" pixel are both at the maximum: maps have ties.
        - a flat image of more than one pixel has the map 0.
        - RGB is read as BGR, as where published code calls OpenCV: red weighs 0.114 and blue 0.299 in g.

    Args:
        images: (B, 3, H, W) uint8, RGB.

    Returns:
        (B, H, W) float32 in [0, 1], multiples of 1/255; no gradient. Equal to OpenCV's to the last bit up to
        65,793 pixels; beyond, OpenCV's float32 sums round and ours do not.

    Source:
        Montabone and Soto, Human detection using a mobile platform and novel features derived from a visual saliency
        mechanism, Image and Vision Computing 28(3), 2010; OpenCV's ``StaticSaliencyFineGrained``.

    Example:
        >>> import torch
        >>> images = torch.zeros(1, 3, 9, 9, dtype=torch.uint8)
        >>> images[0, :, 2, 6] = 40
        >>> most_salient(fine_grained_saliency(images))
        tensor([[2, 6]])
    """
    _check_images(images)
    return in_parts(lambda part: _fine_grained(images[part]), images)


def _fine_grained(images: Tensor) -> Tensor:
    smooth = _grey(images)
    for _ in range(2):
        smooth = ((_binomial_sum(smooth) + 8) / 16).floor()
    return _contrast(smooth, smooth.int())


def raw_byte_saliency(images: Tensor) -> Tensor:
    """Fine-grained detector given floats, as the released SaliencyMix code does: hardly a saliency.

    OpenCV takes each pixel's own value from the grey image as one byte, whatever its type. In a row of float32 it so
    reads the bytes of the row's first quarter, most of which are low bits of fractions; only the surround's mean is
    in the units of the image. The map's maximum is where a byte happens to be near 255.

    Convention:
        - byte j of a row belongs to the pixel of column j // 4, lowest byte first.

    Args:
        images: (B, 3, H, W) floating point, normalised; read in float32.

    Returns:
        (B, H, W) float32 in [0, 1]. Equal to OpenCV's but for single grey levels: its sums round otherwise.

    Source:
        Uddin et al., SaliencyMix, ICLR 2021, published code.
    """
    _check_shape(images)
    red, green, blue = where_wide(images.detach()).float().unbind(dim=1)
    # the bits matter here: OpenCV starts with green and adds the others by fused multiply-add, with float32 weights
    smooth = (red.double() * 0.11400000005960464 + (green * 0.587).double()).float()
    smooth = (blue.double() * 0.29899999499320984 + smooth.double()).float()
    for _ in range(2):
        smooth = _binomial_sum(smooth) / 16
    own = smooth.contiguous().view(torch.uint8)[..., : images.shape[3]]
    return _contrast(own.float(), smooth).to(images.device)


def spectral_residual_saliency(images: Tensor) -> Tensor:
    """What is unexpected in the spectrum of an image.

    With F the Fourier transform of the grey image, resized to 64 × 64, and L = ``log(1 + |F|)``: the spectral residual
    is R = L - (3 × 3 mean of L), and the map is the square of the blurred ``|F⁻¹(exp(R) · F / |F|)|``, divided by
    its maximum and resized back.

    Convention:
        - a frequency that the image has not (F = 0) has phase 0.
        - RGB is read as BGR, as where published code calls OpenCV: red weighs 0.114 and blue 0.299.

    Args:
        images: (B, 3, H, W) uint8, RGB.

    Returns:
        (B, H, W) float32 in [0, 1]; no gradient. Equal to OpenCV's up to the precision of its arctangent, about
        0.001.

    Source:
        Hou and Zhang, Saliency Detection: A Spectral Residual Approach, CVPR 2007, section 2; OpenCV's
        ``StaticSaliencySpectralResidual`` for sizes, blurs and ``log(1 + |F|)``.

    Example:
        >>> import torch
        >>> images = torch.zeros(1, 3, 32, 32, dtype=torch.uint8)
        >>> images[..., 20:24, 8:12] = 255
        >>> saliency = spectral_residual_saliency(images)
        >>> bool(saliency[0, 20:24, 8:12].mean() > 3 * saliency.mean())
        True
    """
    _check_images(images)
    if len(images) == 0:  # which the FFT of torch 2.11 refuses
        return images.new_zeros(images.shape[:1] + images.shape[2:], dtype=torch.float32)
    small = where_wide(_resize_to_spectrum(_grey(images))).double()
    saliency = in_parts(lambda part: _spectral_residual(small[part]), small).to(images.device)
    return F.interpolate(saliency[:, None], images.shape[2:], mode="bilinear", align_corners=False)[:, 0]


def _spectral_residual(grey: Tensor) -> Tensor:
    spectrum = torch.fft.fft2(grey)
    amplitude = spectrum.abs()
    level = amplitude.log1p()
    near = _pad(level, 1, 1)
    residual = level - F.avg_pool2d(near[:, None], 3, stride=1)[:, 0]
    # rounding leaves about 1e-10 of an absent frequency; its phase would be noise, another one on each device
    phase = torch.where(amplitude > 1e-6, spectrum / amplitude, 1.0)
    saliency = torch.fft.ifft2(residual.exp() * phase).abs()
    saliency = _gaussian(saliency).square()
    return (saliency / saliency.amax((1, 2), keepdim=True)).float()


def most_salient(saliency: Tensor) -> Tensor:
    """Find the maximum of each map (B, H, W) in [0, 1], in 256 levels: (B, 2) int64 row and column.

    Where several pixels share it the first counts, row by row.
    """
    width = saliency.shape[2]
    first = (saliency * 255).to(torch.uint8).flatten(1).argmax(1)
    return torch.stack([first // width, first % width], dim=1)


def _check_shape(images: Tensor) -> None:
    check_tensor("images", images, "B 3 H W")
    if images.ndim != 4 or images.shape[1] != 3 or 0 in images.shape[2:]:
        raise ValueError(f"saliency needs RGB images of shape (B, 3, H, W), got {tuple(images.shape)}")


def _check_images(images: Tensor) -> None:
    _check_shape(images)
    if images.dtype != torch.uint8:
        raise TypeError(f"saliency needs 8-bit images, got {images.dtype}: scale to [0, 255], round, convert to uint8")


def _grey(images: Tensor) -> Tensor:
    """Grey levels as float32 whole numbers; weights and rounding of OpenCV's 15-bit fixed point, exact in float32."""
    red, green, blue = images.float().unbind(dim=1)
    return ((3735 * red + 19235 * green + 9798 * blue + 16384) / 32768).floor()


def _pad(maps: Tensor, rows: int, columns: int) -> Tensor:
    """Mirror a border around maps, without the edge itself; works for maps of a single row or column too."""
    for axis, width in ((1, rows), (2, columns)):
        if width:
            last = maps.shape[axis] - 1
            index = torch.arange(-width, last + width + 1, device=maps.device).abs()
            maps = maps.index_select(axis, (last - (last - index).abs()).clamp_min(0))
    return maps


def _binomial_sum(maps: Tensor) -> Tensor:
    """Sum of the 3 × 3 neighbours with weights (1, 2, 1) along both axes: 16 times a Gaussian blur."""
    near = _pad(maps, 0, 1)
    maps = near[..., :-2] + near[..., 2:] + 2 * maps
    near = _pad(maps, 1, 0)
    return near[:, :-2] + near[:, 2:] + 2 * maps


def _gaussian(maps: Tensor) -> Tensor:
    """Gaussian blur, 5 × 5 with standard deviation 8."""
    height, width = maps.shape[1:]
    weights = torch.arange(-2, 3, dtype=maps.dtype, device=maps.device).square().div(-2 * 8.0**2).softmax(0)
    near = _pad(maps, 2, 2)
    near = sum((weights[i] * near[:, i : i + height] for i in range(1, 5)), weights[0] * near[:, :height])
    return sum((weights[i] * near[:, :, i : i + width] for i in range(1, 5)), weights[0] * near[:, :, :width])


def _contrast(own: Tensor, values: Tensor) -> Tensor:
    """Combine the contrasts of all scales: on and off, scaled and added as bytes.

    A pixel counts as ``own`` itself, float32 whole numbers in [0, 255], and as ``values`` in the surround of others.
    """
    height, width = values.shape[1:]
    # from max(H, W) on a surround is the whole image
    scales: dict[int, int] = {}  # no Counter: the compiler of torch 2.6 reads none
    for half in (min(half, max(height, width)) for half in HALF_WIDTHS):
        scales[half] = scales.get(half, 0) + 1
    widest = max(scales)
    integral = _running_sums(values, deterministic=torch.are_deterministic_algorithms_enabled())
    integral = F.pad(integral, (widest, widest, 1, 0))  # zeros to the left, and the last column below, to the right
    integral[..., widest + width :] = integral[..., widest + width - 1, None]
    on = off = torch.zeros_like(own, dtype=torch.int32)
    for half, times in scales.items():
        total, count = _window_sums(integral, widest, half, width)
        # int32 holds any window's sum; float32 divides as OpenCV does
        difference = own - (total - own.to(total.dtype)).float() / (count - 1).clamp_min(1)
        difference = difference.int()
        on = on + times * (difference.clamp_min(0) & 255)
        off = off + times * ((-difference).clamp_min(0) & 255)
    return ((_to_bytes(on) + _to_bytes(off)) & 255).float() * (1 / 255)


def _running_sums(values: Tensor, *, deterministic: bool) -> Tensor:
    """Sum of all values above and to the left of each place, itself included."""
    if deterministic and values.is_floating_point():  # CUDA refuses its cumsum of floats then
        wide = values.double()
        down, across = (torch.ones(size, size, dtype=wide.dtype, device=wide.device).tril() for size in wide.shape[1:])
        return (down @ wide @ across.mT).to(values.dtype)
    return values.cumsum(1, dtype=values.dtype).cumsum(2, dtype=values.dtype)


def _window_sums(integral: Tensor, margin: int, half: int, width: int) -> tuple[Tensor, Tensor]:
    """Sum of the square of half-width ``half`` around each pixel, and its number of pixels (H, W)."""
    height = integral.shape[1] - 1
    start = margin - half
    columns = integral[..., start + 2 * half : start + 2 * half + width] - integral[..., start : start + width]
    y, x = (torch.arange(size, device=integral.device) for size in (height, width))
    y0, y1 = (y - half + 1).clamp_min(0), (y + half + 1).clamp_max(height)
    x0, x1 = (x - half + 1).clamp_min(0), (x + half + 1).clamp_max(width)
    total = columns.index_select(1, y1) - columns.index_select(1, y0)
    return total, (y1 - y0)[:, None] * (x1 - x0)


def _to_bytes(total: Tensor) -> Tensor:
    """Scale so that each image's maximum is 255; truncated quotients of float32, as in OpenCV."""
    quotient = total.float() / total.amax((1, 2), keepdim=True).clamp_min(1)
    # 2**32 makes a whole number of any quotient that counts: the product with 255 is exact before it is cut
    return ((quotient * 2.0**32).long() * 255 >> 32).int()


def _resize_to_spectrum(grey: Tensor) -> Tensor:
    """Resize to 64 × 64 by two taps an axis, in OpenCV's exact fixed point: weights of 1/256, rounded once."""
    for axis in (2, 1):
        size = grey.shape[axis]
        place = (torch.arange(SPECTRUM_SIZE, device=grey.device) * 2 + 1) * size - SPECTRUM_SIZE  # in 1/128 pixels
        place = place.clamp(0, (size - 1) * 2 * SPECTRUM_SIZE)
        low = place // (2 * SPECTRUM_SIZE)
        weight = 2 * (place % (2 * SPECTRUM_SIZE)).to(grey.dtype)
        weight = weight if axis == 2 else weight[:, None]
        high = (low + 1).clamp_max(size - 1)
        grey = grey.index_select(axis, low) * (256 - weight) + grey.index_select(axis, high) * weight
    return ((grey + 2**15) / 2**16).floor()
