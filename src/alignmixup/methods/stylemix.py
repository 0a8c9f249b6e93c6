"""StyleMix."""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from alignmixup.functional.interpolation import mix_pairs
from alignmixup.functional.sampling import to_device
from alignmixup.functional.style import stylemix
from alignmixup.methods.base import Draw, MixedBatch, PairMixer, Pixels
from alignmixup.methods.base.pair_mixer import LamPer
from alignmixup.models.style_autoencoder import StyleAutoencoder, load_style_autoencoder
from alignmixup.options import option

_WHERE_FROM = (
    'name a file made by `alignmixup train-style --data DATASET --out FILE`, or take "patches", an orthonormal '
    "transform that needs no training"
)


@dataclass(frozen=True, eq=False, kw_only=True)
class StyleMixDraw(Draw):
    """Draw of StyleMix; ``lam`` is the content ratio.

    Attributes:
        style_ratio: (B,) float32 weight of the first example's style.
        overlap: (B,) float32 share of the first example as it is, content and style together.
    """

    style_ratio: Tensor
    overlap: Tensor


@dataclass(eq=False, kw_only=True)
class StyleMix(PairMixer, Pixels):
    """Mix content and style of two images in different shares, in the features of a frozen autoencoder.

    Needs ``mean`` and ``std``, since the autoencoder sees pixels. Content and style ratio are drawn as λ is and shared
    as ``lam_per`` says; the λ of the labels is the ``lam`` of the batch.

    Source:
        Hong, Choi, Kim, StyleMix: Separating Content and Style for Enhanced Data Augmentation, CVPR 2021, section 3.
        Deviation: the autoencoder; the published weights are not to be had.
    """

    alpha: float = option(0.5, paper="0.5 on CIFAR")
    lam_per: LamPer = option("batch", paper="one pair of ratios for the batch")
    probability: float = option(1.0, paper="0.2 on CIFAR")
    autoencoder: str | nn.Module = option(
        "",
        'a file made by `alignmixup train-style`; "patches" or "patches:P", an orthonormal transform of patches of 4 '
        "or P pixels, which needs no training; or a module with encode and decode; it is frozen and none of the "
        "classifier's parameters",
        paper="VGG-19 and its mirror, trained files",
        hint=_WHERE_FROM,
        fixed=True,
    )
    content_share: float = option(
        0.7,
        "share of the label that content decides, in [0, 1]; style decides the rest",
        paper="0.7",
        minimum=0,
        maximum=1,
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        source = self.autoencoder
        self._autoencoder: Any = source if isinstance(source, nn.Module) else load_style_autoencoder(source)
        self._autoencoder.eval().requires_grad_(False)
        self._device: torch.device | None = None
        self._check_autoencoder()

    def _check_options(self) -> None:
        super()._check_options()
        if self.autoencoder == "":
            raise ValueError(f"{type(self).__name__} mixes in the features of an autoencoder, got none: {_WHERE_FROM}")

    def _check_autoencoder(self) -> None:
        """Refuse an autoencoder that does not fit the options; a module need not be one of ours."""
        if not all(callable(getattr(self._autoencoder, name, None)) for name in ("encode", "decode")):
            kind = type(self._autoencoder).__name__
            raise TypeError(f"autoencoder must have encode(images) and decode(features, size), got a {kind}")
        if self.mean is None:
            self.pixels(torch.empty(0, device="cpu"))  # says what is missing
        channels = self._autoencoder.channels if isinstance(self._autoencoder, StyleAutoencoder) else None
        if self.mean is not None and channels is not None and len(self.mean) not in (1, channels):
            raise ValueError(
                f"this style autoencoder was trained on images of {channels} channels, and mean has {len(self.mean)}"
            )

    def draw(self, x: Tensor, target: Tensor) -> Draw:
        """Draw partners, content ratio, style ratio, and the overlap of the two."""
        perm = self.draw_perm(x.shape[0])
        content, style = self.draw_lam(perm), self.draw_lam(perm)
        low, high = (content + style - 1).clamp_min(0), torch.minimum(content, style)
        overlap = low + (high - low) * self.draw_lam(perm, alpha=1.0)
        content, style, overlap = (to_device(value.float(), x.device) for value in (content, style, overlap))
        return StyleMixDraw(lam=content, perm=to_device(perm, x.device), style_ratio=style, overlap=overlap)

    def mix(self, x: Tensor, target: Tensor, draw: Draw) -> MixedBatch:
        """Encode, mix, decode; the label follows content and style in their shares."""
        draw = self.expect(StyleMixDraw, draw)
        with torch.no_grad():
            features = stylemix(self.encode(x), draw.perm, draw.lam, draw.style_ratio, draw.overlap)
            mixed = self.decode(features, x)
        lam = self.label_weight(draw.lam, draw.style_ratio)
        return MixedBatch(mixed, mix_pairs(target, draw.perm, lam), target, draw=draw, lam=lam)

    def label_weight(self, content: Tensor, style: Tensor) -> Tensor:
        """Weight of the first example's label, given its shares of content and style."""
        return self.content_share * content + (1 - self.content_share) * style

    def encode(self, x: Tensor) -> Tensor:
        """Map normalised images to features; the autoencoder follows them to their device."""
        self.check_images(x)
        if self._device != x.device:
            self._autoencoder.to(x.device)
            self._device = x.device
        features: Tensor = self._autoencoder.encode(self.pixels(x))
        return features

    def decode(self, features: Tensor, like: Tensor) -> Tensor:
        """Map features to normalised images of the size, type and memory format of ``like``."""
        pixels: Tensor = self._autoencoder.decode(features, (like.shape[2], like.shape[3]))
        return self.normalized(pixels).to(like.dtype)
