import gc
import weakref
from collections import OrderedDict, UserDict, defaultdict, namedtuple
from dataclasses import dataclass, field
from types import MappingProxyType, SimpleNamespace

import pytest
import torch
from torch import nn

from alignmixup.taps.outputs import find_logits, first_tensor, logits_of, map_tensors, replaced, tensors_of

Pair = namedtuple("Pair", ["features", "size"])


@dataclass
class Record:
    features: torch.Tensor
    name: str


@dataclass(frozen=True)
class Counted:
    features: torch.Tensor
    mean: torch.Tensor = field(init=False)
    layers: int = field(init=False, default=3)

    def __post_init__(self):
        object.__setattr__(self, "mean", self.features.mean(1, keepdim=True))


class Named(dict):
    def __init__(self, name, **entries):
        super().__init__(entries)
        self.name = name


class Plain:
    def __init__(self, **attributes):
        vars(self).update(attributes)


ONE = torch.ones(2, 3)


@pytest.mark.parametrize(
    "output",
    [(ONE, "weights"), [ONE, None], {"a": ONE, "b": 3}, OrderedDict(a=ONE), Pair(ONE, 4), Record(ONE, "x"), ((ONE,),)],
)
def test_containers_keep_their_types_and_what_is_no_tensor(output):
    doubled = map_tensors(lambda t: 2 * t, output)
    assert type(doubled) is type(output)
    assert [t.tolist() for t in tensors_of(doubled)] == [(2 * ONE).tolist()]
    assert tensors_of(output)[0] is ONE


@pytest.mark.parametrize(
    "output",
    [
        *(Counted(ONE), Named("x", a=ONE), defaultdict(list, a=ONE), UserDict(a=ONE), MappingProxyType({"a": ONE})),
        *(SimpleNamespace(a=ONE, layers=3), Plain(a=[ONE], name="x")),
    ],
)
def test_containers_keep_what_else_they_have(output):
    doubled = map_tensors(lambda t: 2 * t, output)
    assert type(doubled) is type(output)
    assert all(torch.equal(new, 2 * old) for new, old in zip(tensors_of(doubled), tensors_of(output), strict=True))
    for name in ("layers", "name", "default_factory"):
        assert getattr(doubled, name, None) == getattr(output, name, None)


@pytest.mark.needs_torch("2.15", "compiled code is broken up where a container is made anew (not tried in between)")
@pytest.mark.parametrize("make", [lambda t: {"a": t}, lambda t: OrderedDict(a=t), Counted, lambda t: (t, None, 3)])
def test_containers_are_made_anew_in_one_graph(make):
    def double(tensor):
        return tensors_of(map_tensors(lambda t: 2 * t, make(tensor)))[0]

    assert torch.equal(torch.compile(double, backend="eager", fullgraph=True)(ONE), 2 * ONE)


@pytest.mark.parametrize("thing", [None, "text", 3, nn.Linear(1, 1), Plain, Plain(weights={}), torch.float32])
def test_things_without_tensors_are_left_as_they_are(thing):
    assert map_tensors(lambda t: 2 * t, (ONE, thing))[1] is thing


def test_the_same_tensor_twice_is_replaced_once():
    calls = []
    first, second = map_tensors(lambda t: calls.append(1) or t + 1, (ONE, ONE))
    assert first is second
    assert len(calls) == 1


def test_integers_and_scalars_are_left_alone():
    output = torch.arange(3), torch.tensor(1.0)
    assert map_tensors(lambda t: t + 1, output) == output


@pytest.mark.parametrize(
    "output",
    [
        ONE,
        {"loss": torch.tensor(1.0), "logits": ONE},
        {"scores": ONE},
        (torch.zeros(2, 8, 4, 4), ONE),
        (torch.zeros(2, 8), ONE),
        Pair(torch.zeros(2, 5, 8), ONE),
    ],
)
def test_logits_are_found(output):
    assert find_logits(output, 3) is ONE


@pytest.mark.parametrize("output", [None, {"n": 3}, torch.rand(()), torch.rand(3, 5)])
def test_what_is_no_logits_is_refused(output):
    with pytest.raises(ValueError, match=r"Net returns .* for 2 examples: expected logits \(B, K\)"):
        logits_of("Net", output, 2)


def test_one_tensor_of_an_output_is_shown_and_replaced():
    first, second = torch.rand(2, 3), torch.rand(2)
    output = {"names": ["a"], "tensors": (first, second)}
    assert first_tensor(output) is first
    assert first_tensor({"names": ["a"]}) is None
    new = replaced(output, first, second)
    assert new["tensors"][0] is second
    assert new["names"] == ["a"]


def test_there_may_be_no_logits():
    assert find_logits("text") is None


def test_nothing_holds_the_tensors_of_an_output_afterwards():
    """Activations would else stay until Python collects garbage."""
    gc.disable()
    try:
        tensor = torch.zeros(2, 3)
        alive = weakref.ref(tensor)
        tensors_of((tensor, {"more": [tensor]}))
        del tensor
        assert alive() is None
    finally:
        gc.enable()
