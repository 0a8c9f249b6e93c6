"""StyleCutMix."""

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from alignmixup.functional.interpolation import box_lam, box_mask, mix_pairs
from alignmixup.functional.precision import exact_product
from alignmixup.functional.sampling import to_device
from alignmixup.functional.style import adain, style_distances, stylecutmix
from alignmixup.methods.base import Draw, MixedBatch
from alignmixup.methods.base.pair_mixer import LamPer
from alignmixup.methods.stylemix import StyleMix
from alignmixup.options import option


@dataclass(frozen=True, eq=False, kw_only=True)
class StyleCutMixDraw(Draw):
    """Draw of StyleCutMix; ``lam`` is the exact share of pixels inside the box.

    Attributes:
        content_box: (B, 4) int64 ``y0, x0, y1, x1``, half-open: where the FIRST example's content stands.
        style_ratio: (B,) float32 weight of the first example's style.
        gamma: (B,) float32 share of the images as they are in what is mixed; None where the classes decide it.
    """

    content_box: Tensor
    style_ratio: Tensor
    gamma: Tensor | None


@dataclass(eq=False, kw_only=True)
class StyleCutMix(StyleMix):
    """CutMix of content, while style is mixed everywhere: inside and outside the box stand restyled images.

    Source:
        Hong, Choi, Kim, StyleMix: Separating Content and Style for Enhanced Data Augmentation, CVPR 2021, section 3.
        Deviations: the autoencoder; distances relative to their mean, which features of any scale share.
    """

    alpha: float = option(1.0, paper="1.0")
    lam_per: LamPer = option("batch", paper='one box, style ratio and γ for the batch; γ per pair with "auto"')
    probability: float = option(1.0, paper="0.5 on CIFAR")
    gamma: Literal["drawn", "auto"] = option(
        "drawn",
        'how much of an image stays as it is when it takes its partner\'s style: "drawn" from Beta, one for all as '
        'lam_per says; or "auto": tanh(distance / delta), so the further the styles of two classes lie apart, the less '
        "is restyled; this needs an autoencoder made by `train-style`, whose file has the styles of the classes",
        paper="both",
        fixed=True,
    )
    gamma_alpha: float = option(
        0.8, 'parameter of the Beta distribution of a "drawn" γ, > 0', paper="0.8 on CIFAR", above=0
    )
    delta: float = option(
        2.2,
        'scale of the distances for "auto", > 0, in units of the mean distance between two classes',
        paper="1.6 on CIFAR-10, 2.2 on CIFAR-100 in these units (1 and 3 in the paper's)",
        above=0,
        fixed=True,
    )
    same_class_distance: float = option(
        1.5,
        'what two images of one class count as for "auto", in the same units',
        paper="3.2 on CIFAR-10, 1.5 on CIFAR-100 (2 in the paper's)",
        minimum=0,
        fixed=True,
    )

    def _check_autoencoder(self) -> None:
        super()._check_autoencoder()
        self._gammas: Tensor | None = None
        if self.gamma == "drawn":
            return
        styles = getattr(self._autoencoder, "class_style", None)
        if styles is None:
            raise ValueError(
                f"gamma='auto' needs the styles of the classes, which autoencoder={self.autoencoder!r} lacks: use a "
                "file made by `alignmixup train-style --data DATASET --out FILE`, or gamma='drawn'"
            )
        if self.num_classes is not None and len(styles) != self.num_classes:
            raise ValueError(
                f"gamma='auto' needs the styles of {self.num_classes} classes, and autoencoder={self.autoencoder!r} "
                f"has those of {len(styles)}: it was made for other data"
            )
        self._gammas = class_gammas(styles, delta=self.delta, same_class_distance=self.same_class_distance)

    def draw(self, x: Tensor, target: Tensor) -> StyleCutMixDraw:
        """Draw partners, boxes, the style ratio and, if it is not the classes' own, γ."""
        batch, _, height, width = self.check_images(x)
        perm = self.draw_perm(batch)
        style, content = self.draw_lam(perm), self.draw_lam(perm)
        box = self.draw_box(1 - content, perm, height, width)
        gamma = self.draw_lam(perm, alpha=self.gamma_alpha).float() if self.gamma == "drawn" else None
        return StyleCutMixDraw(
            lam=to_device(1 - box_lam(box, height, width), x.device),
            perm=to_device(perm, x.device),
            content_box=to_device(box, x.device),
            style_ratio=to_device(style.float(), x.device),
            gamma=None if gamma is None else to_device(gamma, x.device),
        )

    def mix(self, x: Tensor, target: Tensor, draw: Draw) -> MixedBatch:
        """Restyle both images of each pair, paste, and mix the labels by the areas and by the shares of the styles."""
        draw = self.expect(StyleCutMixDraw, draw)
        gamma = self._auto_gamma(target, draw.perm) if draw.gamma is None else draw.gamma
        mask = ~box_mask(draw.content_box, x.shape[2], x.shape[3])
        with torch.no_grad():
            features = self.encode(x)
            partner = features[draw.perm]
            both = torch.cat([adain(features, partner), adain(partner, features)])
            restyled, partner_restyled = self.decode(both, x).chunk(2)
        ratios = {"style_ratio": draw.style_ratio, "gamma": gamma}
        mixed = stylecutmix(x, draw.perm, mask, **ratios, restyled=restyled, partner_restyled=partner_restyled)
        style = gamma * draw.lam + (1 - gamma) * draw.style_ratio
        lam = self.label_weight(draw.lam, style)
        return MixedBatch(mixed, mix_pairs(target, draw.perm, lam), target, draw=draw, lam=lam)

    def _reason_for_labels(self) -> str:
        """γ = "auto" is looked up by class."""
        return "with gamma='auto' compares classes" if self.gamma == "auto" else ""

    def _auto_gamma(self, target: Tensor, perm: Tensor) -> Tensor:
        """Look γ up for each pair, (B,); soft labels weigh the pairs of classes."""
        assert self._gammas is not None
        self._gammas = self._gammas.to(target.device)
        weights = target / target.sum(1, keepdim=True).clamp_min(1e-6)
        return (exact_product(weights, self._gammas) * weights[perm]).sum(1)


def class_gammas(styles: Tensor, *, delta: float, same_class_distance: float) -> Tensor:
    """γ = tanh(distance / delta) of each two classes, (K, K) float32 in [0, 1), from the classes' mean styles (K, D).

    Distances are in units of their mean over pairs of two classes. That of a class to itself, which would be 0, is
    given.
    """
    distances = style_distances(styles.double())
    classes = len(distances)
    relative = distances / (distances.sum() / max(classes * (classes - 1), 1)).clamp_min(1e-12)
    return torch.tanh(relative.fill_diagonal_(same_class_distance) / delta).float()
