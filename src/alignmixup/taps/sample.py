"""Two examples of a batch, as often as wanted, in whatever form the model takes its inputs."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from alignmixup.taps.outputs import children_of, rebuilt


@dataclass(frozen=True)
class Inputs:
    """What a model was, or is to be, called with.

    Attributes:
        args: positional arguments.
        kwargs: named arguments.
        batch: number of examples B.
        image: shape of one image: inputs of other axes or channels (metadata, labels) are then the same for both
            examples, since no layer mixes them; None lets all differ.
    """

    args: tuple[Any, ...]
    kwargs: Mapping[str, Any]
    batch: int
    image: tuple[int, ...] | None = None

    def pairs(
        self, count: int, *, noise: bool = False, swapped: bool = False
    ) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """Give arguments with two different examples, ``count`` times one after the other: 2 ``count`` rows.

        The second is the first one that differs from the first, or a copy with noise; where they are ``swapped`` it
        stands in front. ``noise`` is added to both where they give the same output.
        """
        second, shapes = self._second(), set[tuple[int, ...]]()
        lists: list[int] = []
        self._mapped(lambda tensor: shapes.add(tuple(tensor.shape[1:])), [], lambda images: lists.append(len(images)))
        if not shapes and not lists:
            given = ", ".join(type(value).__name__ for value in (*self.args, *self.kwargs.values())) or "nothing"
            raise ValueError(
                f"no images of the batch of {self.batch} are found in what the model is called with ({given}), to "
                "prove its layers with two of them: call it with tensors, or with lists, dictionaries or objects that "
                "have them as attributes, or name layers with carry_test=False to mix at them unchecked"
            )
        image = self.image if self.image in shapes else None

        def take(tensor: Tensor) -> Tensor:
            differs = image is None or (tensor.ndim == len(image) + 1 and tensor.shape[1:2] == image[:1])
            pair = tensor[[0, (second or 0) if differs else 0]]
            if differs and tensor.is_floating_point() and (noise or second is None):
                generator = torch.Generator().manual_seed(0)
                spread = tensor.detach().float().std(correction=0).nan_to_num().clamp_min(1e-2)
                noise_of = torch.randn(pair.shape, dtype=torch.float32, device="cpu", generator=generator)
                pair = pair + (noise_of.to(tensor.device) * spread).to(tensor)
            return torch.cat([pair.flip(0) if swapped else pair] * count)

        args, kwargs = self._mapped(take, ([second or 0, 0] if swapped else [0, second or 0]) * count)
        return args, kwargs

    @property
    def takes_noise(self) -> bool:
        """Noise can be added to the images: they are floating-point tensors."""
        shapes: list[tuple[int, ...]] = []

        def look(tensor: Tensor) -> None:
            if tensor.is_floating_point():
                shapes.append(tuple(tensor.shape[1:]))

        self._mapped(look, [])
        return self.image in shapes if self.image is not None else bool(shapes)

    def two(self) -> "Inputs":
        """The same with two different examples only."""
        with torch.no_grad():
            args, kwargs = self.pairs(1)
        return Inputs(args, kwargs, 2, self.image)

    def to(self, device: torch.device) -> "Inputs":
        """The same on another device."""

        def visit(value: Any, objects: bool = True) -> Any:
            if isinstance(value, Tensor):
                return value.to(device)
            return _changed(value, visit, objects)

        return Inputs(visit(self.args), visit(dict(self.kwargs)), self.batch, self.image)

    def _second(self) -> int | None:
        """Row of the first example that differs from the first."""
        found: list[int] = []

        def look(tensor: Tensor) -> Tensor:
            if not found and tensor.ndim > 1 and tensor.is_floating_point():
                other = (tensor != tensor[:1]).flatten(1).any(1).nonzero()
                found.extend(int(row) for row in other[:1])
            return tensor

        def look_at_list(examples: Sequence[list[Tensor]]) -> None:
            if not found:
                pairs = (zip(example, examples[0], strict=True) for example in examples)
                found.extend([row for row, pair in enumerate(pairs) if not all(torch.equal(*two) for two in pair)][:1])

        self._mapped(look, list(range(self.batch)), look_at_list)
        return found[0] if found else None

    def _mapped(
        self,
        take: Callable[[Tensor], Any],
        rows: list[int],
        see_list: Callable[[Sequence[list[Tensor]]], None] = lambda examples: None,
    ) -> Any:
        """Apply a function to every tensor with the batch axis, and pick rows of lists with an entry per example."""

        def visit(value: Any, objects: bool = True) -> Any:
            if isinstance(value, Tensor):
                return take(value) if value.ndim and value.shape[0] == self.batch else value
            if isinstance(value, list | tuple) and len(value) == self.batch:
                held = [[*_tensors_in(entry)] for entry in value]
                if _one_each(held):
                    see_list(held)
                    return type(value)(value[row] for row in rows)
            return _changed(value, visit, objects)

        return tuple(visit(value) for value in self.args), {name: visit(value) for name, value in self.kwargs.items()}


def _one_each(held: Sequence[list[Tensor]]) -> bool:
    """Tell a list of images, which may differ in size, from a few inputs that each hold the batch, by their tensors."""
    count = len(held)
    # as many images as channels are still images
    return all(held) and not any(e.ndim not in (0, 3) and e.shape[0] == count for own in held for e in own)


def _changed(value: Any, visit: Callable[[Any, bool], Any], objects: bool) -> Any:
    """A container or object with what ``visit`` makes of its entries; in an object no other: they may form a circle."""
    entries, deeper = children_of(value, objects=objects), objects and children_of(value) is not None
    return value if entries is None else rebuilt(value, {key: visit(entry, deeper) for key, entry in entries})


def _tensors_in(value: Any, objects: bool = True) -> Iterator[Tensor]:
    if isinstance(value, Tensor):
        yield value
    else:
        for _, entry in children_of(value, objects=objects) or ():
            yield from _tensors_in(entry, objects and children_of(value) is not None)
