"""The C solver and distances against the batched solver they repeat, and against float64."""

import shutil

import pytest
import torch
from torch import Tensor

from alignmixup.functional import native
from alignmixup.functional.transport.cpu import distances_native, native_fits, solve_newton_native
from alignmixup.functional.transport.plan import cost_matrix, sinkhorn
from alignmixup.functional.transport.solvers import solve_newton

pytestmark = pytest.mark.skipif(
    shutil.which("cc") is None, reason="no C compiler: the C code is not tried here, tensor operations serve"
)


def features(batch: int, channels: int, positions: int, seed: int = 0) -> Tensor:
    return torch.randn(batch, channels, positions, generator=torch.Generator().manual_seed(seed))


def random_cost(batch: int, r: int, s: int, *, channels: int = 512) -> Tensor:
    return cost_matrix(features(batch, channels, r, 100 * r + s), features(batch, channels, s, 1))


SHAPES = [(1, 1), (1, 5), (5, 1), (4, 4), (9, 16), (16, 9), (15, 17), (16, 16), (16, 49), (49, 49), (64, 64), (33, 200)]


@pytest.mark.parametrize(("r", "s"), SHAPES)
def test_it_repeats_the_batched_solver(r, s):
    cost = random_cost(5, r, s)
    plan, rounds = solve_newton_native(cost, 0.1, 100, 1e-5)
    expected, expected_rounds = solve_newton(cost, 0.1, 100, 1e-5)
    assert plan.shape == (5, r, s)
    assert (rounds - expected_rounds).abs().max() <= 5  # a cycle, where an error comes out close to the target
    assert (plan - expected).abs().max() * r <= 1e-3
    assert ((plan.sum(2) * r - 1).abs().mean(1) <= 1.2e-5).all()


@pytest.mark.parametrize("iterations", [1, 4, 5, 7, 12, 21])
def test_it_repeats_the_schedule_of_few_rounds(iterations):
    cost = random_cost(3, 16, 16)
    plan, rounds = solve_newton_native(cost, 0.1, iterations, 1e-5)
    expected, expected_rounds = solve_newton(cost, 0.1, iterations, 1e-5)
    assert torch.equal(rounds, expected_rounds)
    torch.testing.assert_close(plan, expected, atol=1e-5, rtol=1e-3)


@pytest.mark.parametrize("scale", [1e-6, 1e-3, 1.0, 1e3, 1e6])
def test_every_scale_of_cost(scale):
    cost = scale * torch.rand(4, 12, 12, generator=torch.Generator().manual_seed(0))
    plan, _ = solve_newton_native(cost, 0.1, 100, 1e-5)
    exact, _ = solve_newton(cost.double(), 0.1, 400, 1e-9)
    assert (plan - exact).abs().max() * 12 <= 1e-2 if scale < 1e6 else plan.isfinite().all()


def test_degenerate_costs():
    same = features(2, 64, 16)
    for cost in (cost_matrix(same, same), torch.zeros(1, 9, 9), -random_cost(1, 9, 9)):
        plan, rounds = solve_newton_native(cost, 0.1, 100, 1e-5)
        assert (rounds < 100).all()
        assert (plan.sum(2) * plan.shape[1] - 1).abs().max() < 1e-4


def test_no_sample_depends_on_its_batch_or_on_the_threads():
    cost = random_cost(64, 16, 20)
    plan, rounds = solve_newton_native(cost, 0.1, 100, 1e-5)
    threads = torch.get_num_threads()
    try:
        for count in (1, 3):
            torch.set_num_threads(count)
            again, rounds_again = solve_newton_native(cost, 0.1, 100, 1e-5)
            assert torch.equal(plan, again)
            assert torch.equal(rounds, rounds_again)
    finally:
        torch.set_num_threads(threads)
    alone, _ = solve_newton_native(cost[7:8], 0.1, 100, 1e-5)
    assert torch.equal(alone[0], plan[7])
    assert solve_newton_native(cost[:0], 0.1, 100, 1e-5)[0].shape == (0, 16, 20)


def test_denormals_are_as_before_afterwards():
    tiny = torch.full((4,), 1e-39)
    solve_newton_native(random_cost(8, 16, 16), 0.1, 100, 1e-5)
    assert (tiny * 0.5 > 0).all()


def test_it_serves_sinkhorn_and_only_where_it_fits(monkeypatch):
    cost = random_cost(3, 9, 9)
    assert native_fits(cost)
    assert not native_fits(cost.double())
    assert not native_fits(torch.zeros(1, 2, 257))
    served = sinkhorn(cost)
    monkeypatch.setattr(native, "library", lambda: None)
    assert not native_fits(cost)
    torch.testing.assert_close(served.plan, sinkhorn(cost).plan, atol=1e-5, rtol=1e-3)


@pytest.mark.parametrize(
    ("channels", "r", "s"), [(1, 1, 1), (3, 5, 2), (64, 16, 16), (70, 17, 33), (200, 49, 49), (16, 3, 130)]
)
@pytest.mark.parametrize("layout", ["channels first", "channels last", "mixed", "strided"])
def test_distances(channels, r, s, layout):
    a, b = features(4, channels, r) + 30, features(6, channels, s, 1) + 30  # a common offset, which may cancel
    partner = torch.tensor([5, 0, 2, 2])
    exact = torch.cdist(a.double().mT, b[partner].double().mT, compute_mode="donot_use_mm_for_euclid_dist").square()
    if layout == "channels last":
        a, b = (x.mT.contiguous().mT for x in (a, b))
    elif layout == "mixed":
        b = b.mT.contiguous().mT
    elif layout == "strided":
        a, b = (x.repeat_interleave(2, 2)[:, :, ::2] for x in (a, b))
    found = distances_native(a, b, partner)
    torch.testing.assert_close(found.double(), exact, atol=1e-4, rtol=1e-5)


def test_long_sums_stay_exact():
    a, b = features(2, 4096, 16), features(2, 4096, 16, 1)
    found = distances_native(a, b, torch.arange(2))
    exact = torch.cdist(a.double().mT, b.double().mT, compute_mode="donot_use_mm_for_euclid_dist").square()
    assert ((found - exact).abs() / exact).max() < 1e-6


def test_partners_out_of_range():
    for bad in (torch.tensor([0, 3]), torch.tensor([-1, 0])):
        with pytest.raises(IndexError, match="index beyond its tensor"):
            distances_native(features(2, 4, 4), features(3, 4, 4), bad)
