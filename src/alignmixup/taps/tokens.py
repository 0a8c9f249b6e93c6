"""Which tokens of a model lie at no position: those that no image changes."""

from typing import Any

import torch
from torch import Tensor, nn

from alignmixup.taps.layout import ExtraTokens, guess_layout, named_tokens
from alignmixup.taps.outputs import tensors_of
from alignmixup.taps.quiet import Training, looking
from alignmixup.taps.sample import Inputs

_SAME = 1e-5  # of the largest value: rounding of rows that stand elsewhere in a product


def extra_tokens(root: nn.Module, inputs: Inputs, *, reveal: bool = True, training: Training = "none") -> ExtraTokens:
    """Find the class, register and prompt tokens of a model, by name and by running it once.

    Two different images with noise leave only those tokens alike that no image reaches, wherever they stand. It is
    told where sequences of a length first have some: behind the next attention they differ too.

    Args:
        root: the unwrapped model.
        inputs: what it is called with; inputs that take no noise tell nothing.
        reveal: see :func:`looking`.
        training: see :func:`looking`.
    """
    named = named_tokens(root)
    if not inputs.takes_noise:
        return named
    fixed: dict[int, tuple[int, ...]] = {}

    def note(module: nn.Module, args: Any, output: Any) -> None:
        sequences = [t for t in tensors_of(output) if _is_sequence(module, t)]
        shapes = {t.shape for t in sequences}
        for tensor in [*(t for t in tensors_of(args) if t.shape in shapes), *sequences]:
            if tensor.shape[1] not in fixed and (places := _alike(tensor)):
                fixed[tensor.shape[1]] = places

    args, kwargs = inputs.pairs(1, noise=True)
    with looking(root, reveal=reveal, training=training):
        handles = [
            module.register_forward_hook(note)
            for module in root.modules()
            if not isinstance(module, torch.jit.ScriptModule)  # which take no hooks
        ]
        try:
            root(*args, **kwargs)
        except Exception:  # it may refuse noise: names tell, and what was seen before
            pass
        finally:
            for handle in handles:
                handle.remove()
    return ExtraTokens(named.named, fixed)


def _is_sequence(module: nn.Module, tensor: Tensor) -> bool:
    """Tokens (2, N, C) of the two images."""
    has_features = tensor.ndim == 3 and tensor.shape[0] == 2 and tensor.numel() > 0 and tensor.is_floating_point()
    return has_features and guess_layout(module, tuple(tensor.shape)) == "tokens"


def _alike(tensor: Tensor) -> tuple[int, ...]:
    """Places of the tokens that are the same in both rows; none where all or no tokens are."""
    apart = (tensor[0] - tensor[1]).float().abs().amax(1)
    same = (apart <= _SAME * tensor.float().abs().amax()).tolist()
    if all(same):
        return ()
    count, end = len(same), max(place for place, alike in enumerate(same) if not alike)
    return tuple(place - count if place > end else place for place, alike in enumerate(same) if alike)
