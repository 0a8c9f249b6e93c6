"""torch.func on all public functions: what eager code gives, or a sentence that says why not."""

import pytest
import torch
from tests.functional.test_arguments import calls, function, tensor_arguments
from torch import Tensor
from torch.autograd import forward_ad

WHOLE_BATCHES = {
    "comixup_compose", "comixup_masks", "puzzlemix", "puzzlemix_energy", "puzzlemix_mask", "puzzlemix_transport",
}  # fmt: skip
ARGUMENTS = [(name, argument) for name in sorted(calls()) for argument in tensor_arguments(name)]
FLOATING = [(name, argument) for name, argument in ARGUMENTS if calls()[name][argument].is_floating_point()]


def tensors(output) -> list[Tensor]:
    if isinstance(output, Tensor):
        return [output]
    parts = output if isinstance(output, tuple) else vars(output).values()
    return [part for part in parts if isinstance(part, Tensor)]


def call(name, argument):
    others = calls()[name]
    return lambda value: tuple(tensors(function(name)(**{**others, argument: value})))


def two_values(name, argument) -> Tensor:
    """The argument of two batches: another one too, unless others forbid it."""
    value = calls()[name][argument]
    try:
        call(name, argument)(value.roll(1, 0))
    except ValueError:
        return torch.stack([value, value])
    return torch.stack([value, value.roll(1, 0)])


@pytest.mark.parametrize(("name", "argument"), ARGUMENTS)
def test_several_batches_by_vmap_are_each_as_alone(name, argument):
    run, values = call(name, argument), two_values(name, argument)
    if name in WHOLE_BATCHES:
        with pytest.raises(TypeError, match=rf"^{name} does not run inside torch.func.vmap: .*; call it in a loop"):
            torch.func.vmap(run)(values)
        return
    alone = tuple(map(torch.stack, zip(*map(run, values), strict=True)))
    torch.testing.assert_close(torch.func.vmap(run)(values), alone, atol=1e-4, rtol=1e-3)


@pytest.mark.filterwarnings("ignore:`torch.jit.script` is:FutureWarning")  # of torch's own forward mode
@pytest.mark.parametrize(("name", "argument"), FLOATING)
def test_derivatives_by_torch_func_are_those_of_autograd(name, argument):
    run, value = call(name, argument), calls()[name][argument]

    def loss(value):
        outputs = [output for output in run(value) if output.is_floating_point()]
        return sum((output * torch.linspace(1, 2, output.numel()).view(output.shape)).sum() for output in outputs)

    leaf = value.clone().requires_grad_()
    total = loss(leaf)
    if not isinstance(total, Tensor):  # whole numbers have no derivative
        return
    expected = torch.autograd.grad(total, leaf, allow_unused=True)[0] if total.requires_grad else None
    expected = torch.zeros_like(value) if expected is None else expected
    torch.testing.assert_close(torch.func.grad(loss)(value), expected, atol=1e-4, rtol=1e-3)
    if name not in WHOLE_BATCHES:
        found = torch.func.vmap(torch.func.grad(loss))(value[None])
        torch.testing.assert_close(found[0], expected, atol=1e-4, rtol=1e-3)
    if name == "style_distances":  # torch.cdist has no forward mode
        return
    direction = torch.randn(value.shape, generator=torch.Generator().manual_seed(3))
    _, slope = torch.func.jvp(loss, (value,), (direction,))
    torch.testing.assert_close(slope, (direction * expected).sum(), atol=1e-3, rtol=1e-3)


@pytest.mark.filterwarnings("ignore:`torch.jit.script` is:FutureWarning")  # of torch's own forward mode
@pytest.mark.parametrize(("name", "argument"), FLOATING)
def test_forward_derivatives_without_torch_func_are_the_same(name, argument):
    if name == "style_distances":  # torch.cdist has no forward mode
        return
    run, value = call(name, argument), calls()[name][argument]
    direction = torch.randn(value.shape, generator=torch.Generator().manual_seed(3))

    def floats(value):
        return tuple(output for output in run(value) if output.is_floating_point())

    if not floats(value):  # whole numbers have no derivative
        return
    _, expected = torch.func.jvp(floats, (value,), (direction,))
    with forward_ad.dual_level():
        duals = [forward_ad.unpack_dual(output) for output in floats(forward_ad.make_dual(value, direction))]
    for dual, slope in zip(duals, expected, strict=True):
        found = torch.zeros_like(dual.primal) if dual.tangent is None else dual.tangent
        torch.testing.assert_close(found, slope, atol=1e-4, rtol=1e-3)
