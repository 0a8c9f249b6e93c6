from collections import OrderedDict, UserDict, namedtuple
from dataclasses import dataclass
from types import MappingProxyType, SimpleNamespace

import pytest
import torch

from alignmixup.taps.sample import Inputs


def test_two_different_examples_are_repeated():
    x = torch.tensor([[1.0], [1.0], [5.0]])
    (pairs,), _ = Inputs((x,), {}, 3).pairs(2)
    assert pairs.flatten().tolist() == [1.0, 5.0, 1.0, 5.0]


def test_a_batch_of_one_or_of_copies_gets_a_second_by_noise():
    for x in (torch.randn(1, 3, 4, 4), torch.zeros(4, 3, 4, 4)):
        (pairs,), _ = Inputs((x,), {}, len(x)).pairs(2)
        assert not torch.equal(pairs[0], pairs[1])
        assert torch.equal(pairs[:2], pairs[2:])


def test_everything_with_the_batch_axis_is_taken_and_nothing_else():
    x, meta, scale = torch.randn(3, 2), torch.arange(3), torch.randn(2, 5)
    (a, size), options = Inputs((x, (224, 224, 3)), {"meta": {"m": meta}, "scale": scale}, 3).pairs(1)
    assert torch.equal(a, x[:2])
    assert torch.equal(options["meta"]["m"], meta[:2])
    assert options["scale"] is scale
    assert size == (224, 224, 3)


@dataclass(frozen=True)
class Record:
    image: torch.Tensor
    size: torch.Size


class Plain:
    def __init__(self, image, size):
        self.image, self.size = image, size


@pytest.mark.parametrize(
    "kind",
    [
        Record,
        Plain,
        lambda image, size: SimpleNamespace(image=image, size=size),
        namedtuple("Named", "image size"),
        *(lambda image, size, kind=kind: kind({"image": image, "size": size})
          for kind in (dict, OrderedDict, UserDict, MappingProxyType)),
        lambda image, size: [image, size],
        lambda image, size: (image, size),
    ],
)  # fmt: skip
def test_examples_are_taken_from_whatever_holds_them(kind):
    x = torch.randn(3, 2)
    given = kind(x, x.shape)
    (taken,), options = Inputs((given,), {"again": {"deep": given}}, 3).pairs(1)
    for holder in (taken, options["again"]["deep"]):
        assert type(holder) is type(given)
        image, size = (
            (holder.image, holder.size)
            if hasattr(holder, "image")
            else (holder["image"], holder["size"])
            if hasattr(holder, "keys")
            else holder
        )
        assert torch.equal(image, x[:2])
        assert size == (3, 2)


@pytest.mark.parametrize("kind", [lambda **entries: entries, SimpleNamespace])
def test_an_entry_for_each_example_may_hold_more_than_the_image(kind):
    images, same = torch.randn(4, 3, 5, 5), torch.zeros(3, 5, 5)
    entries = [kind(image=image, label=torch.tensor(row)) for row, image in enumerate(images)]
    (picked,), _ = Inputs((entries,), {}, 4).pairs(2)
    assert [*map(id, picked)] == [*map(id, (entries[0], entries[1]) * 2)]
    copies = [kind(image=same), kind(image=same), kind(image=images[0])]
    (picked,), _ = Inputs((copies,), {}, 3).pairs(1)
    assert picked[1] is copies[2]
    views = [kind(image=images)] * 4  # as many as examples, and each holds them all
    (picked,), _ = Inputs((views,), {}, 4).pairs(1)
    assert len(picked) == 4


def test_an_object_is_moved_with_what_it_holds():
    moved = Inputs((Plain(torch.zeros(2, 3), [torch.zeros(2)]),), {}, 2).to(torch.device("meta")).args[0]
    assert moved.image.is_meta
    assert moved.size[0].is_meta


class Slots:
    __slots__ = ("image",)

    def __init__(self, image):
        self.image = image


@pytest.mark.parametrize("kind", [Slots, iter, torch.Tensor.numpy, lambda x: lambda: x, lambda x: x.flatten()[None]])
def test_images_that_nothing_can_be_taken_of_are_named(kind):
    given = kind(torch.randn(4, 3))
    with pytest.raises(ValueError, match=rf"no images of the batch of 4 .* called with \({type(given).__name__}\)"):
        Inputs((given,), {}, 4).pairs(1)


def test_only_images_differ_where_their_shape_is_known():
    x, meta = torch.randn(3, 2), torch.randn(3, 5)
    (a, b), _ = Inputs((x, meta), {}, 3, (2,)).pairs(1)
    assert torch.equal(a, x[:2])
    assert torch.equal(b, meta[[0, 0]])


def test_lists_of_images_and_lists_of_inputs_are_told_apart():
    images = [torch.randn(3, 4, 4) for _ in range(4)]
    (picked,), _ = Inputs((images,), {}, 4).pairs(1)
    assert len(picked) == 2
    assert picked[0] is images[0]
    streams = [torch.randn(2, 3), torch.randn(2, 3)]
    (both,), _ = Inputs((streams,), {}, 2).pairs(2)
    assert [stream.shape for stream in both] == [(4, 3), (4, 3)]
