"""A layer's map of clean examples, kept from the model's own forward pass."""

import torch
from torch import Tensor

from alignmixup.taps.feature_tap import Hidden
from alignmixup.taps.layout import four_axes


class KeptMap:
    """What the tap saw of one batch.

    Attributes:
        features: the map, or None before the forward pass.
        used_without_gradient: a loss was made of it that reaches no encoder.
    """

    def __init__(self) -> None:
        self.features: Tensor | None = None
        self.used_without_gradient = False
        self._copy: Tensor | None = None
        self._version: int | None = None

    def keep(self, features: Tensor, *, copy: bool) -> None:
        """Keep a map; with a copy where it goes on to what may work in place."""
        # in inference mode nobody counts changes, and no gradient asks for the map itself; compiled code cannot ask
        uncounted = not torch.compiler.is_compiling() and torch.is_inference_mode_enabled()
        self.features, self._version = features, None if uncounted else features._version
        # the map itself stays the first choice: as the output of a checkpoint it alone has the gradient
        self._copy = features.clone() if copy else None

    def unchanged(self) -> Tensor:
        """The map as the layer made it, (B, C, h, w)."""
        assert self.features is not None
        changed = self._copy is not None and (self._version is None or self.features._version != self._version)
        return four_axes(self._copy if changed else self.features)  # type: ignore[arg-type]


def keep_map(features: Tensor, *, seen: KeptMap, then: Hidden | None) -> Tensor:
    """Keep a layer's map of the clean examples, and go on with what is to be done there.

    Raises:
        RuntimeError: the map was used before it could have a gradient.
    """
    if seen.used_without_gradient and features.requires_grad:
        raise RuntimeError(
            "the reconstruction cannot reach the encoder from inside a reentrant activation checkpoint, which hides "
            "the first forward pass from autograd: use checkpoint(..., use_reentrant=False), or detach_features=True"
        )
    seen.keep(features, copy=then is None)
    return features if then is None else then(features)
