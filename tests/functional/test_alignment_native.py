"""The C interpolation and its gradient against float64 tensor operations."""

import shutil

import pytest
import torch
from torch import Tensor

from alignmixup.functional import alignment, native
from alignmixup.functional.alignment import align_mix
from alignmixup.functional.alignment_native import (
    gradient_native,
    interpolate_native,
    interpolates_natively,
    is_permutation,
)

pytestmark = pytest.mark.skipif(
    shutil.which("cc") is None, reason="no C compiler: the C code is not tried here, tensor operations serve"
)


def make(batch: int, channels: int, r: int, *, last: bool) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(batch + channels + r)
    maps = torch.randn(batch, channels, r, generator=generator)
    assignment = torch.rand(batch, r, r, generator=generator).softmax(2)
    perm, lam = torch.randperm(batch, generator=generator), torch.rand(batch, generator=generator)
    return maps.mT.contiguous().mT if last else maps, perm, lam, assignment


def exact(maps: Tensor, perm: Tensor, lam: Tensor, assignment: Tensor, *, to_first: bool) -> Tensor:
    weight = lam.double()[:, None, None]
    maps, assignment = maps.double(), assignment.double()
    if to_first:
        return weight * maps + (1 - weight) * (maps[perm] @ assignment.mT)
    return weight * (maps @ assignment) + (1 - weight) * maps[perm]


@pytest.mark.parametrize("to_first", [True, False])
@pytest.mark.parametrize("last", [False, True])
@pytest.mark.parametrize(
    ("batch", "channels", "r"), [(1, 1, 1), (2, 3, 5), (5, 64, 16), (3, 70, 17), (4, 33, 49), (2, 8, 200)]
)
def test_interpolation_and_gradient(batch, channels, r, last, to_first):
    maps, perm, lam, assignment = make(batch, channels, r, last=last)
    assert interpolates_natively(maps)
    found = interpolate_native(maps, perm, lam, assignment, to_first=to_first)
    leaf = maps.double().requires_grad_()
    expected = exact(leaf, perm, lam, assignment, to_first=to_first)
    torch.testing.assert_close(found.double(), expected.detach(), atol=1e-5, rtol=1e-5)
    assert found.is_contiguous() == maps.is_contiguous()
    grad = torch.randn(batch, channels, r, generator=torch.Generator().manual_seed(0))
    grad = grad.mT.contiguous().mT if last else grad
    (expected_grad,) = torch.autograd.grad(expected, leaf, grad.double())
    found_grad = gradient_native(grad, perm, lam, assignment, to_first=to_first)
    torch.testing.assert_close(found_grad.double(), expected_grad, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("keep", ["first", "partner"])
@pytest.mark.parametrize("memory", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize("repeated", [False, True])
def test_align_mix_is_what_tensor_operations_make(keep, memory, repeated, monkeypatch):
    generator = torch.Generator().manual_seed(0)
    features = torch.randn(6, 40, 3, 5, generator=generator).to(memory_format=memory)
    perm = torch.tensor([1, 1, 0, 5, 5, 2]) if repeated else torch.tensor([1, 2, 0, 5, 3, 4])
    lam = torch.rand(6, generator=generator)
    upstream = torch.randn(features.shape, generator=generator)

    def both() -> tuple[Tensor, Tensor]:
        leaf = features.clone().requires_grad_()
        mixed = align_mix(leaf, perm, lam, keep)
        return mixed.detach(), torch.autograd.grad(mixed, leaf, upstream)[0]

    natively = both()
    monkeypatch.setattr(native, "library", lambda: None)
    for found, expected in zip(natively, both(), strict=True):
        torch.testing.assert_close(found, expected, atol=1e-3, rtol=1e-3)
        assert found.stride() == expected.stride()


def test_without_mixing_nothing_changes():
    maps, perm, _, assignment = make(4, 10, 9, last=False)
    one, zero = torch.ones(4), torch.zeros(4)
    assert torch.equal(interpolate_native(maps, perm, one, assignment, to_first=True), maps)
    assert torch.equal(interpolate_native(maps, perm, zero, assignment, to_first=False), maps[perm])


def test_gradients_of_gradients_are_those_of_tensor_operations():
    maps, perm, lam, assignment = make(3, 4, 9, last=False)

    def second(maps: Tensor) -> Tensor:
        leaf = maps.clone().requires_grad_()
        mixed = alignment._AlignedInterpolation.apply(leaf, perm, lam.to(maps), assignment.to(maps), "first", False)
        (grad,) = torch.autograd.grad(mixed.pow(3).sum(), leaf, create_graph=True)
        return torch.autograd.grad(grad.square().sum(), leaf)[0]

    torch.testing.assert_close(second(maps).double(), second(maps.double()), atol=1e-3, rtol=1e-4)


def test_what_is_a_permutation():
    assert is_permutation(torch.tensor([2, 0, 1]))
    assert not is_permutation(torch.tensor([2, 2, 1]))
    assert is_permutation(torch.tensor([], dtype=torch.int64))


def test_maps_of_other_strides_are_left_to_tensor_operations():
    assert not interpolates_natively(torch.zeros(2, 4, 6)[:, :, ::2])
    assert not interpolates_natively(torch.zeros(2, 4, 6).double())
