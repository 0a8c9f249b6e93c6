"""Two examples of a batch, as often as wanted, in whatever form the model takes its inputs."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor


@dataclass(frozen=True)
class Inputs:
    """What a model was, or is to be, called with.

    Attributes:
        args: positional arguments.
        kwargs: named arguments.
        batch: number of examples B.
    """

    args: tuple[Any, ...]
    kwargs: Mapping[str, Any]
    batch: int

    def pairs(self, count: int, *, noise: bool = False) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """Give arguments with two different examples, ``count`` times one after the other.

        The second is the first one that differs from the first, or a copy with noise.

        Args:
            count: how often; the model sees 2 ``count`` rows.
            noise: add noise to both examples, for where they give the same output.
        """
        second = self._second()

        def take(tensor: Tensor) -> Tensor:
            pair = tensor[[0, second or 0]]
            if tensor.is_floating_point() and (noise or second is None):
                generator = torch.Generator().manual_seed(0)
                spread = tensor.detach().float().std(correction=0).nan_to_num().clamp_min(1e-2)
                pair = pair + (torch.randn(pair.shape, generator=generator).to(tensor.device) * spread).to(tensor)
            return torch.cat([pair] * count)

        args, kwargs = self._mapped(take, [0, second or 0] * count)
        return args, kwargs

    def _second(self) -> int | None:
        """Row of the first example that differs from the first."""
        found: list[int] = []

        def look(tensor: Tensor) -> Tensor:
            if not found and tensor.ndim > 1 and tensor.is_floating_point():
                other = (tensor != tensor[:1]).flatten(1).any(1).nonzero()
                if len(other):
                    found.append(int(other[0]))
            return tensor

        self._mapped(look, list(range(self.batch)))
        return found[0] if found else None

    def _mapped(self, take: Callable[[Tensor], Tensor], rows: list[int]) -> Any:
        """Apply a function to every tensor with the batch axis, and pick rows of lists with an entry per example."""

        def visit(value: Any) -> Any:
            if isinstance(value, Tensor):
                return take(value) if value.ndim and value.shape[0] == self.batch else value
            if isinstance(value, dict):
                return {key: visit(entry) for key, entry in value.items()}
            if isinstance(value, list | tuple):
                if len(value) == self.batch and _one_each(value):
                    return type(value)(value[row] for row in rows)
                new = [visit(entry) for entry in value]
                return type(value)(*new) if hasattr(value, "_fields") else type(value)(new)
            return value

        return tuple(visit(value) for value in self.args), {name: visit(value) for name, value in self.kwargs.items()}


def _one_each(entries: Sequence[Any]) -> bool:
    """Tell a list of images, which may differ in size, from a few inputs that each hold the batch."""
    count = len(entries)
    return all(isinstance(e, Tensor) and not (e.ndim and e.shape[0] == count) for e in entries)
