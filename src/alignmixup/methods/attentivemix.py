"""AttentiveMix."""

from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from alignmixup import models
from alignmixup.functional.interpolation import cell_mask
from alignmixup.functional.sampling import to_device
from alignmixup.methods.base import Draw, MixedBatch, RegionMixer
from alignmixup.methods.base.annotations import grid_over
from alignmixup.options import option
from alignmixup.taps import Form, Inputs, NotCallableError, Run, feature_maps, unwrap


@dataclass(eq=False, kw_only=True)
class AttentiveMix(RegionMixer):
    """Paste the cells of the partner that a network attends to most, where they stand; labels follow the exact areas.

    Attention is the mean magnitude of a feature map at each of its positions, without gradients and in eval mode. A
    position's cell is its part of the image.

    Source:
        Walawalkar, Shen, Liu, Savvides, Attentive CutMix: An Enhanced Data Augmentation Approach for Deep Learning
        Based Image Classification, ICASSP 2020 (arXiv 2003.13048).
    """

    alpha: float = option(1.0, "parameter of λ ~ Beta(α, α), which is drawn where share is 0", paper="no λ")
    attention: nn.Module | str | None = option(
        None,
        "the network that attends: a module, which sees the images as the classifier does; a name such as "
        '"torchvision:resnet50", with the weights that its library has; or None for the classifier itself as it learns',
        paper="a ResNet-50 trained on ImageNet",
        repr=False,
        fixed=True,
    )
    layer: str | None = option(
        None,
        "its layer whose output is the map; None for the last that has positions",
        paper="the last stage",
        fixed=True,
    )
    share: float = option(
        6 / 49,
        "share of the cells that is pasted, at least one cell, in [0, 1); with 0 it is drawn: 1 - λ, from none to all",
        paper="6 of 7 x 7 cells; 6 of 8 x 8 on CIFAR in a public code",
        minimum=0,
        below=1,
    )

    looks_inside: ClassVar[bool] = True

    def __post_init__(self) -> None:
        super().__post_init__()
        given = self.attention
        if given is None and self._root is None:
            raise ValueError(
                "AttentiveMix needs a network that attends: the classifier, as AttentiveMix(model, ...), or another, "
                'as AttentiveMix(attention="torchvision:resnet50", ...)'
            )
        if isinstance(given, str):
            given = models.build(given, num_classes=self.num_classes or 2, options={"pretrained": True})
            given.eval().requires_grad_(False)
        self._attention: nn.Module | None = None if given is None else unwrap(given)
        self._layer = self.layer or ""
        self._form: Form | None = None
        network = self._network
        if self._layer and self._layer not in dict(network.named_modules()):
            raise ValueError(f"{type(network).__name__} has no layer {self._layer!r}: name one of its named_modules()")

    @property
    def _network(self) -> nn.Module:
        network = self._root if self._attention is None else self._attention
        assert network is not None
        return network

    def _reason_for_model(self) -> str:
        return "AttentiveMix asks the model where to look" if self._attention is None else ""

    def prepare(self, x: Tensor | None = None, *others: Any, size: Any = None, **options: Any) -> None:
        """Look at the network with two images, to find its last map; arguments are those of :meth:`Mixer.prepare`.

        Raises:
            ValueError: it cannot be called with images alone, or has no layer with positions.
        """
        if self._form is not None:
            return
        network, x = self._network, self._example(x, size)
        try:
            layers = Run(network, Inputs((self._as_seen(x),), {}, len(x))).layers
        except NotCallableError as error:
            raise ValueError(
                f"AttentiveMix runs {type(network).__name__} on images alone, and it cannot be called so ({error}): "
                "give another network, attention=..."
            ) from error
        maps = {layer.name: layer.forms[0] for layer in layers if layer.positions > 1 and layer.forms[0] is not None}
        if self.layer is None and maps:
            self._layer = list(maps)[-1]
        if self._layer not in maps:
            which = "no layer" if self.layer is None else f"layer {self.layer!r}"
            has = "has" if self.layer is None else "has no"
            raise ValueError(f"{which} of {type(network).__name__} {has} positions: name another, layer=...")
        self._form = maps[self._layer]

    def _as_seen(self, x: Tensor) -> Tensor:
        """The images where the network is, in its precision."""
        network = self._network
        known = next((p for p in network.parameters() if p.is_floating_point()), x)
        if self._attention is not None and known.device != x.device:
            network.to(x.device)
        return x.detach().to(known.dtype)

    def draw(self, x: Tensor, target: Tensor) -> Draw:
        """Draw partners, and λ where the number of cells is not given."""
        if self.share == 0:
            return super().draw(x, target)
        perm = to_device(self.draw_perm(len(x)), x.device)
        return Draw(lam=torch.full((len(x),), 1 - self.share, dtype=torch.float32, device=x.device), perm=perm)

    def mix(self, x: Tensor, target: Tensor, draw: Draw, *, masks: Tensor | None = None) -> MixedBatch:
        """Find the cells, paste them, and mix the labels by area."""
        draw = self.expect(Draw, draw)
        self.check_images(x)
        self.prepare(x)
        assert self._form is not None
        forms = {self._layer: self._form}
        features = feature_maps(self._network, self._as_seen(x), [self._layer], forms=forms)[self._layer]
        grid_over(features.shape[2:], x.shape[2:], self._layer, "its attention has no places in the image")
        attention = features.float().abs().mean(1)[draw.perm]
        pasted = most_attended(attention, 1 - draw.lam, at_least=int(self.share > 0))
        mask = cell_mask(~pasted, *x.shape[2:])
        return self.shown(x, target, draw, mask, lam=mask.float().mean((1, 2)), masks=masks)


def most_attended(attention: Tensor, share: Tensor, *, at_least: int) -> Tensor:
    """Mark the cells of each map (B, h, w) with most attention, a share (B,) of them: (B, h, w) bool."""
    cells = attention[0].numel()
    count = (share * cells).round().clamp_min(at_least)
    order = attention.flatten(1).argsort(dim=1, descending=True, stable=True)
    return (order.argsort(dim=1) < count[:, None]).view(attention.shape)
