"""FMix."""

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from alignmixup.functional.sampling import to_device
from alignmixup.methods.base import Draw, MixedBatch, RegionMixer
from alignmixup.options import option


@dataclass(frozen=True, eq=False, kw_only=True)
class FMixDraw(Draw):
    """Draw of FMix; ``lam`` is the share of the first example before it is rounded to whole pixels.

    Attributes:
        noise: (B, H, W // 2 + 1, 2) float32, standard normal: real and imaginary parts of spectra before they decay.
    """

    noise: Tensor


@dataclass(eq=False, kw_only=True)
class FMix(RegionMixer):
    """Show the partner in regions of any shape: where a random image of low frequencies is dark.

    White noise is decayed in the Fourier domain by 1 / frequency^decay. Of the image that it makes, the brightest share
    λ of the pixels shows the first example. Labels follow the exact number of pixels.

    Source:
        Harris et al., FMix: Enhancing Mixed Sample Data Augmentation, 2020 (arXiv 2002.12047), section 4, and its
        published code for the least frequency and the soft edge.
    """

    alpha: float = option(1.0, paper="1.0")
    decay: float = option(
        3.0, "power by which high frequencies are weaker; the larger, the smoother the regions", paper="3", minimum=0
    )
    softness: float = option(
        0.0, "share of the pixels, on each side of the edge, over which one image fades into the other", paper="0",
        minimum=0, maximum=0.5,
    )  # fmt: skip
    variant: Literal["as_described", "as_released"] = option(
        "as_described",
        '"as_described": a complex spectrum; or "as_released": the published code reads the two parts of each '
        "coefficient as two real ones, so that masks are the same turned by 180 degrees about the first pixel, and "
        "squeezed along rows",
        paper='its code is "as_released"',
    )

    def draw(self, x: Tensor, target: Tensor) -> FMixDraw:
        """Draw partners, λ and the noise of the spectra, shared as λ is."""
        batch, _, height, width = self.check_images(x)
        perm = self.draw_perm(batch)
        lam = self.draw_lam(perm).float()
        count = 1 if self.lam_per == "batch" else batch
        noise = torch.randn(
            count, height, width // 2 + 1, 2, dtype=torch.float32, device="cpu", generator=self.generator
        )
        if self.lam_per == "pair":
            noise = noise[perm.minimum(perm[perm])]
        noise = to_device(noise, x.device).expand(batch, *noise.shape[1:])
        return FMixDraw(lam=to_device(lam, x.device), perm=to_device(perm, x.device), noise=noise)

    def mix(self, x: Tensor, target: Tensor, draw: Draw, *, masks: Tensor | None = None) -> MixedBatch:
        """Make the masks, show the partners, and mix the labels by area."""
        draw = self.expect(FMixDraw, draw)
        _, _, height, width = self.check_images(x)
        noise = draw.noise[:1] if draw.noise.stride(0) == 0 else draw.noise  # one spectrum for all
        values = low_frequency_images(noise, height, width, self.decay, self.variant)
        mask, lam = split(values, draw.lam, self.softness)
        return self.shown(x, target, draw, mask, lam=lam, masks=masks)


def low_frequency_images(noise: Tensor, height: int, width: int, decay: float, variant: str) -> Tensor:
    """Decay white noise (B, H, W // 2 + 1, 2) by 1 / f^decay and transform it: (B, H, W) float32.

    f is no smaller than the least frequency of the longer side.
    """
    rows = torch.fft.fftfreq(height, dtype=torch.float32, device=noise.device)
    columns = torch.fft.rfftfreq(width, dtype=torch.float32, device=noise.device)
    frequency = torch.hypot(rows[:, None], columns).clamp_min(1 / max(height, width))
    # relative to the least one, else float32 overflows at large powers; what is bright does not depend on it
    scale = (frequency * max(height, width)) ** -decay
    decayed = noise.float() * scale[..., None]
    if variant == "as_released":
        spectrum = decayed.flatten(2)[..., : width // 2 + 1].to(torch.complex64)
    else:
        spectrum = torch.view_as_complex(decayed)
    image: Tensor = torch.fft.irfft2(spectrum, s=(height, width))
    return image


def split(values: Tensor, lam: Tensor, softness: float) -> tuple[Tensor, Tensor]:
    """Give the brightest share λ (B,) of the pixels of each image, (B, H, W) or one (1, H, W), to the first example.

    Returns:
        (B, H, W) float32 weights of the first example, 1 to 0 in order of brightness: a step, or with ``softness`` a
        slope over twice that share of the pixels, less where λ leaves less. And their exact means, (B,) float32.
    """
    pixels = values[0].numel()
    order = values.flatten(1).argsort(dim=1, descending=True, stable=True)
    rank = torch.empty_like(order).scatter_(1, order, torch.arange(pixels, device=order.device).expand_as(order))
    shown = (lam * pixels).round()[:, None]
    soft = torch.minimum(shown, pixels - shown).clamp(1, max(int(softness * pixels), 1))
    mask = ((shown + soft - 1 - rank) / (2 * soft - 1)).clamp(0, 1)
    return mask.view(-1, *values.shape[1:]), shown[:, 0] / pixels
