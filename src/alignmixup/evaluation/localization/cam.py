"""Class activation maps of any classifier, and score maps in [0, 1] from them."""

import logging
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from alignmixup.taps import FeatureTap, probe, unwrap
from alignmixup.taps.layout import ExtraTokens, guess_layout, tell_form
from alignmixup.taps.outputs import first_tensor, logits_of, replaced
from alignmixup.taps.quiet import evaluating
from alignmixup.taps.sample import Inputs
from alignmixup.taps.tokens import extra_tokens

_log = logging.getLogger(__name__)
Kind = Literal["auto", "cam", "gradcam"]
_CLOSE = 1e-4  # of the largest value: rounding of a mean in single precision


@dataclass(frozen=True)
class Place:
    """Where a map is taken from: a layer's "output", or its "input" where no layer's output is what the pooling
    receives.

    ``kind`` is "cam" where the classifier is one linear layer, ``head``, on the mean of the map, else "gradcam".
    """

    kind: Literal["cam", "gradcam"]
    layer: str
    side: Literal["output", "input"]
    head: str


class ClassActivation:
    """Maps of where a network sees a class.

    CAM is ``mean over channels of W[y, c] A[c, i, j]`` with the feature map A that global average pooling receives and
    the weights W of the linear layer behind it: no bias, no ReLU. It exists where the classifier is just that, which is
    found out by running it. Elsewhere Grad-CAM serves: ``relu(mean over channels of g[c] A[c, i, j])`` where g is the
    mean over positions of the gradient of the class's logit. Both need the network in eval mode and put it there.

    Args:
        model: gives logits (B, K); wrapped or not.
        x: (B, C, H, W) a batch as the model takes it, to look at it with.
        kind: "auto" takes CAM where it exists and says so where it does not; "cam" insists; "gradcam" takes Grad-CAM.
        layer: dotted name of the layer whose output Grad-CAM uses; None takes CAM's map where it exists, else the
            last layer through which everything passes and whose positions are read.

    Raises:
        ValueError: "cam" where it does not exist, "cam" with a layer, an unknown layer or kind.

    Source:
        Zhou et al., Learning Deep Features for Discriminative Localization, CVPR 2016 (CAM; mean and no bias as in the
        code of Choe et al., CVPR 2020); Selvaraju et al., Grad-CAM, ICCV 2017.
    """

    def __init__(self, model: nn.Module, x: Tensor, *, kind: Kind = "auto", layer: str | None = None) -> None:
        if kind not in ("auto", "cam", "gradcam"):
            raise ValueError(f'kind must be "auto", "cam" or "gradcam", got {kind!r}')
        if kind == "cam" and layer is not None:
            raise ValueError(
                "layer is an option of Grad-CAM: CAM's map is the one that global average pooling receives"
            )
        self.root = unwrap(model)
        self._tokens = extra_tokens(self.root, Inputs((x,), {}, len(x)))
        self.place = self._choose(x, kind, layer)

    def __call__(self, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        """Maps (B, h, w) float64 on the CPU of the classes ``y`` (B,) int64 in images ``x``, and logits (B, K).

        No gradient is left anywhere.
        """
        compute = self._cam if self.place.kind == "cam" else self._gradcam
        with evaluating(self.root):
            maps, logits = compute(x, y)
        return maps.detach().cpu().double(), logits.detach()

    def _choose(self, x: Tensor, kind: Kind, layer: str | None) -> Place:
        found = None if layer is not None else find_linear_head(self.root, x, self._tokens)
        if found is not None and kind != "gradcam":
            return found
        if kind == "cam":
            raise ValueError(
                f"{type(self.root).__name__} has no linear layer on global average pooling, so no CAM: "
                'take kind="gradcam"'
            )
        if found is not None:
            return Place("gradcam", found.layer, found.side, "")
        if layer is not None:
            layer = FeatureTap.of(self.root).resolve(layer)  # unknown names are refused with near ones
        else:
            layer = probe(self.root, x).last()
            _log.info("%s: no linear layer on global average pooling; Grad-CAM at %s", type(self.root).__name__, layer)
        return Place("gradcam", layer, "output", "")

    def _cam(self, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        kept: list[Tensor] = []
        with _watching(self.root, self.place, kept.append):
            logits = self._logits(x)
        features = self._as_map(kept[-1])
        weights = cast(Tensor, self.root.get_submodule(self.place.head).weight)[y].float()
        return torch.einsum("bchw,bc->bhw", features, weights) / features.shape[1], logits

    def _gradcam(self, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        kept: list[Tensor] = []

        def restart(features: Tensor) -> Tensor:
            kept.append(features.detach().requires_grad_())
            return kept[-1].clone()  # what follows may work in place

        with torch.enable_grad(), _watching(self.root, self.place, restart):
            logits = self._logits(x)
            if not kept:
                raise ValueError(f"{type(self.root).__name__} never runs layer {self.place.layer!r}: name another one")
            (slope,) = torch.autograd.grad(logits.float().gather(1, y[:, None]).sum(), kept[-1])
        features, weights = self._as_map(kept[-1].detach()), self._as_map(slope).mean(dim=(2, 3))
        return F.relu(torch.einsum("bchw,bc->bhw", features, weights) / features.shape[1]), logits

    def _logits(self, x: Tensor) -> Tensor:
        return logits_of(type(self.root).__name__, self.root(x), len(x))

    def _as_map(self, features: Tensor) -> Tensor:
        return _as_map(self._tokens, self.root.get_submodule(self.place.layer), features).float()


def find_linear_head(model: nn.Module, x: Tensor, tokens: ExtraTokens) -> Place | None:
    """Find the map whose mean over positions one linear layer turns into the logits; None where there is none.

    The model, unwrapped, is run twice on two images: once to see what the linear layer that makes the logits reads,
    once to see which layer's output (or input) has that mean.
    """
    x = x[:2]
    with evaluating(model):
        name, pooled = _linear_at_the_end(model, x)
        found: list[tuple[Place, Tensor]] = []
        if pooled is None:
            return None

        def look(module: nn.Module, place: Place, features: Tensor) -> None:
            if features.ndim in (3, 4) and _has_mean(tokens, module, features, pooled):
                found.append((place, features.clone()))

        with ExitStack() as hooks:
            for layer, module in model.named_modules():
                if layer:
                    for side in ("input", "output"):
                        place = Place("cam", layer, side, name)
                        hooks.enter_context(_watching(model, place, partial(look, module, place)))
            model(x)
    if not found:
        return None
    # the last is what the pooling reads; it is called by the layer that made it, if there is one
    last = found[-1][1]
    makers = [place for place, features in found if place.side == "output" and torch.equal(features, last)]
    return makers[-1] if makers else found[-1][0]


def score_maps(maps: Tensor, size: tuple[int, int]) -> Tensor:
    """Maps (B, h, w) scaled to ``size``, height and width, and to [0, 1], float64, as localisation takes them.

    Convention:
        - bicubic (a = -0.75, half-pixel centres, borders replicated) first, minimum and maximum of the result second:
          bicubic overshoots. A map that is constant or holds NaN or infinity becomes zero.

    Source:
        Choe et al., Evaluating Weakly Supervised Object Localization Methods Right, CVPR 2020, released code.
    """
    maps = maps.double()
    flat = maps.flatten(1)
    usable = flat.isfinite().all(1) & (flat.amax(1) > flat.amin(1))
    large = F.interpolate(maps[:, None], size=size, mode="bicubic", align_corners=False)[:, 0]
    low, high = large.amin((1, 2), keepdim=True), large.amax((1, 2), keepdim=True)
    scaled = (large - low) / (high - low)
    usable &= scaled.flatten(1).isfinite().all(1)
    return torch.where(usable[:, None, None], scaled, 0.0)


def _linear_at_the_end(model: nn.Module, x: Tensor) -> tuple[str, Tensor | None]:
    """Name of the linear layer whose output are the logits, and what it reads."""
    seen: list[tuple[str, Tensor, Tensor]] = []

    def note(name: str, module: nn.Module, arguments: tuple[Tensor, ...], output: Tensor) -> None:
        seen.append((name, arguments[0].clone(), output.clone()))

    linear = [(name, module) for name, module in model.named_modules() if isinstance(module, nn.Linear)]
    handles = [module.register_forward_hook(partial(note, name)) for name, module in linear]
    try:
        logits = logits_of(type(model).__name__, model(x), len(x))
    finally:
        for handle in handles:
            handle.remove()
    for name, read, output in reversed(seen):
        if read.ndim == 2 and torch.equal(output, logits):
            return name, read.float()
    return "", None


def _has_mean(tokens: ExtraTokens, module: nn.Module, features: Tensor, pooled: Tensor) -> bool:
    if features.shape[0] != len(pooled) or pooled.shape[1] not in features.shape:
        return False
    try:
        maps = _as_map(tokens, module, features).float()
    except ValueError:  # a shape without a clear layout
        return False
    if maps.shape[1] != pooled.shape[1] or maps.shape[2] * maps.shape[3] == 1:
        return False
    return bool((maps.mean(dim=(2, 3)) - pooled).abs().max() <= _CLOSE * pooled.abs().max())


def _as_map(tokens: ExtraTokens, module: nn.Module, features: Tensor) -> Tensor:
    """(B, C, h, w) of a layer's output in any layout, without class and register tokens."""
    shape = tuple(features.shape)
    return tell_form(guess_layout(module, shape), shape, tokens, {}).to_map(features)


@contextmanager
def _watching(model: nn.Module, place: Place, see: Callable[[Tensor], Tensor | None]) -> Iterator[None]:
    """Show the first tensor of a layer's output (or input) to a function, and put what that returns in its place."""

    def shown(values: Any) -> Any:
        first = first_tensor(values)
        new = None if first is None else see(first)
        return None if first is None or new is None else replaced(values, first, new)

    module = model.get_submodule(place.layer)
    if place.side == "output":
        handle = module.register_forward_hook(lambda _, _arguments, output: shown(output))
    else:
        handle = module.register_forward_pre_hook(lambda _, arguments: shown(arguments))
    try:
        yield
    finally:
        handle.remove()
