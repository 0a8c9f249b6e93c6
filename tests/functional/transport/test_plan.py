"""Cost matrix, Sinkhorn and assignment matrix: hand-computed, invariants, references (POT, golden vectors), errors."""

import math
import sys
import warnings
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import Tensor

from alignmixup.functional.transport import plan as transport
from alignmixup.functional.transport.plan import (
    TransportPlan,
    _solve_operator,
    assignment_matrix,
    cost_matrix,
    relative_cost,
    sinkhorn,
)

with warnings.catch_warnings():  # its sources have invalid escape sequences
    warnings.simplefilter("ignore")
    import ot

SOLVERS = ["newton", "plain"]
SHAPES = [(1, 1), (1, 5), (5, 1), (2, 2), (9, 16), (16, 9), (16, 16), (49, 49)]


def features(batch: int, channels: int, positions: int, *, scale: float = 1.0, seed: int = 0) -> Tensor:
    return scale * torch.randn(batch, channels, positions, generator=torch.Generator().manual_seed(seed))


def random_cost(batch: int, r: int, s: int, *, scale: float = 1.0, seed: int = 0) -> Tensor:
    a = features(batch, 64, r, scale=scale, seed=seed)
    return cost_matrix(a, features(batch, 64, s, scale=scale, seed=seed + 1))


def marginal_error(plan: Tensor) -> Tensor:
    rows, columns = plan.sum(2) - 1 / plan.shape[1], plan.sum(1) - 1 / plan.shape[2]
    return rows.abs().sum(1) + columns.abs().sum(1)


def golden_cost(arrays: dict[str, np.ndarray]) -> Tensor:
    maps = torch.from_numpy(arrays["feat"]).flatten(2)
    return cost_matrix(maps, maps[torch.from_numpy(arrays["indices"]).long()])


# Hand-computed values


def test_cost_by_hand():
    a = torch.tensor([[[0.0, 1.0], [0.0, 2.0]]])
    b = torch.tensor([[[3.0, 1.0, 0.0], [4.0, 2.0, 0.0]]])
    assert torch.allclose(cost_matrix(a, b), torch.tensor([[[25.0, 5.0, 0.0], [8.0, 0.0, 5.0]]]), atol=1e-5)


@pytest.mark.parametrize("solver", SOLVERS)
@pytest.mark.parametrize("gap", [0.0, 0.3, 2.0, 20.0])
def test_two_by_two_by_hand(solver, gap):
    # Symmetric cost: one Sinkhorn round solves it, and P_01 / P_00 = exp(-gap / epsilon).
    plan = sinkhorn(torch.tensor([[[5.0, 5.0 + gap], [5.0 + gap, 5.0]]]), epsilon=0.5, solver=solver).plan[0]
    share = 0.5 / (1 + math.exp(-gap / 0.5))
    assert plan.numpy() == pytest.approx(np.array([[share, 0.5 - share], [0.5 - share, share]]), abs=1e-7)


def test_uniform_cost_gives_the_uniform_plan():
    plan = sinkhorn(torch.full((1, 3, 6), 7.0)).plan
    assert torch.allclose(plan, torch.full((1, 3, 6), 1 / 18))


def test_assignment_by_hand():
    assert assignment_matrix(torch.tensor([[[0.5, 0.0], [0.0, 0.5]]])).tolist() == [[[1.0, 0.0], [0.0, 1.0]]]


# Invariants of the cost


def test_cost_matches_differences_and_keeps_precision_under_a_common_offset():
    a, b = features(3, 20, 5) + 1000, features(3, 20, 7, seed=1) + 1000
    brute = (a.double()[:, :, :, None] - b.double()[:, :, None, :]).square().sum(1)
    assert (cost_matrix(a, b) - brute).abs().max() < 1e-4


def test_cost_is_never_negative():
    a = features(4, 8, 9, scale=100.0)
    assert cost_matrix(a, a).min() >= 0


def test_cost_is_differentiable():
    a, b = features(2, 3, 4).double().requires_grad_(), features(2, 3, 5, seed=1).double().requires_grad_()
    assert torch.autograd.gradcheck(cost_matrix, (a, b))


def test_cost_withstands_a_reduced_matmul_precision():
    a, b = features(2, 512, 16), features(2, 512, 16, seed=1)
    exact = cost_matrix(a, b)
    torch.set_float32_matmul_precision("medium")
    try:
        rounded = cost_matrix(a, b)
    finally:
        torch.set_float32_matmul_precision("highest")
    assert (rounded - exact).abs().max() < 1e-3


@pytest.mark.parametrize("norm", [1e2, 1e4, 1e6, 1e8])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_cost_by_a_matrix_product_is_as_exact_as_its_type_where_norms_are_large(norm, dtype):
    # two far groups of near positions: no centre makes their norms small
    group = torch.tensor([1.0, 1.0, -1.0, -1.0])
    a, b = (features(2, 64, 4, seed=seed).to(dtype) * 0.1 + group * (norm / 64) ** 0.5 for seed in (0, 1))
    brute = (a.double()[:, :, :, None] - b.double()[:, :, None, :]).square().sum(1)
    cost = transport._distances(a, b)  # what a GPU computes; C code serves a CPU
    assert cost.dtype == dtype
    exact = 2 * torch.finfo(dtype).eps * brute + norm * 2e-15
    assert ((cost.double() - brute).abs() <= exact).all()


@pytest.mark.parametrize("epsilon", [1e-300, 1e-50, 1e-38, 1e38, 1e300])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("native", [False, True])
def test_an_epsilon_beyond_the_type_is_its_limit(epsilon, dtype, native, monkeypatch):
    if not native:
        monkeypatch.setattr(transport, "native_fits", lambda cost: False)
    result = sinkhorn(torch.rand(2, 4, 4, generator=torch.Generator().manual_seed(0)).to(dtype), epsilon=epsilon)
    assert result.plan.isfinite().all()
    assert torch.allclose(result.plan.sum(1), torch.full((), 0.25, dtype=dtype))
    if epsilon > 1:
        assert torch.allclose(result.plan, torch.full((), 1 / 16, dtype=dtype))


# Invariants of the plan


@pytest.mark.parametrize("scale", [0.1, 1.0, 3.0])
@pytest.mark.parametrize(("r", "s"), SHAPES)
def test_converges_with_exact_columns(r, s, scale):
    cost = random_cost(8, r, s, scale=scale)
    result = sinkhorn(cost)
    assert result.converged.all()
    assert result.marginal_error.max() < 5e-5
    assert torch.equal(result.marginal_error, marginal_error(result.plan))
    assert (result.plan.sum(1) * s - 1).abs().max() < 1e-6
    assert (result.plan >= 0).all()


@pytest.mark.parametrize("solver", SOLVERS)
def test_columns_are_exact_when_rows_are_not(solver):
    result = sinkhorn(random_cost(4, 16, 16, scale=3.0), iterations=3, solver=solver)
    assert not result.converged.any()
    assert (result.plan.sum(1) * 16 - 1).abs().max() < 1e-6
    assert (assignment_matrix(result.plan).sum(1) - 1).abs().max() < 1e-6


def test_rows_of_the_assignment_sum_to_one():
    assignment = assignment_matrix(sinkhorn(random_cost(4, 12, 20)).plan)
    assert (assignment.sum(2) - 1).abs().max() < 1e-3
    assert (assignment.sum(1) - 12 / 20).abs().max() < 1e-6


@pytest.mark.parametrize("solver", SOLVERS)
def test_equivariant_to_permutations_of_positions(solver):
    cost = random_cost(2, 9, 9, scale=0.5)
    rows, columns = torch.randperm(9), torch.randperm(9)
    plan = sinkhorn(cost, iterations=200, solver=solver).plan
    permuted = sinkhorn(cost[:, rows][:, :, columns], iterations=200, solver=solver).plan
    assert torch.allclose(permuted, plan[:, rows][:, :, columns], atol=2e-5)


@pytest.mark.parametrize("solver", SOLVERS)
@pytest.mark.parametrize("tolerance", [None, 1e-2])
@pytest.mark.parametrize(("r", "s"), [(16, 16), (49, 49), (9, 16), (16, 9)])
def test_a_sample_does_not_notice_its_batch(solver, tolerance, r, s):
    cost = random_cost(64, r, s) * torch.logspace(-3, 1, 64)[:, None, None]
    together = sinkhorn(cost, tolerance=tolerance, solver=solver)
    for i in (0, 31, 63):
        alone = sinkhorn(cost[i : i + 1], tolerance=tolerance, solver=solver)
        assert torch.equal(alone.plan[0], together.plan[i])
        assert alone.iterations[0] == together.iterations[i]
    part = sinkhorn(cost[20:41], tolerance=tolerance, solver=solver)
    assert torch.equal(part.plan, together.plan[20:41])


def test_inputs_are_unmodified_and_the_plan_is_constant():
    cost = random_cost(2, 8, 8).requires_grad_()
    before = cost.detach().clone()
    for solver in SOLVERS:
        assert not sinkhorn(cost, solver=solver).plan.requires_grad
        assert torch.equal(cost, before)


@pytest.mark.parametrize("solver", SOLVERS)
def test_tolerance_stops_each_sample(solver):
    cost = random_cost(6, 12, 12, scale=0.3) * torch.tensor([0.01, 0.1, 0.3, 1.0, 1.0, 0.03])[:, None, None]
    loose = sinkhorn(cost, iterations=3000, tolerance=1e-2, solver=solver)
    tight = sinkhorn(cost, iterations=3000, tolerance=1e-4, solver=solver)
    assert loose.converged.all()
    assert tight.converged.all()
    assert tight.marginal_error.max() <= 1e-4
    assert (loose.iterations <= tight.iterations).all()
    assert loose.iterations.unique().numel() > 1


@pytest.mark.parametrize("solver", SOLVERS)
@pytest.mark.parametrize("iterations", [1, 2, 5, 7, 12])
def test_iterations_cap_the_rounds(solver, iterations):
    result = sinkhorn(random_cost(3, 16, 16, scale=3.0), iterations=iterations, solver=solver)
    assert result.iterations.tolist() == [iterations] * 3
    assert result.plan.isfinite().all()


# Extremes


@pytest.mark.parametrize("scale", [1e-6, 1e-3, 1.0, 1e3, 1e6])
@pytest.mark.parametrize("solver", SOLVERS)
def test_any_cost_scale(solver, scale):
    cost = scale * torch.rand(8, 20, 20, generator=torch.Generator().manual_seed(0))
    result = sinkhorn(cost, solver=solver)
    assert result.plan.isfinite().all()
    assert torch.equal(result.converged, result.marginal_error <= 1e-3)
    if solver == "newton":
        assert result.converged.all()
        exact = torch.tensor([assignment_cost(matrix) for matrix in cost])
        entropy = 0.1 * math.log(20)  # no entropic plan costs more than the best assignment plus this
        spent = (result.plan * cost).sum((1, 2))
        assert (spent <= exact + entropy + 1e-4 * scale).all()
        assert (spent >= exact - 1e-3 * scale).all()


def assignment_cost(cost: Tensor) -> float:
    n = len(cost)
    return float(ot.emd2(np.full(n, 1 / n), np.full(n, 1 / n), cost.double().numpy()))


@pytest.mark.parametrize("solver", SOLVERS)
def test_zero_and_identical_maps(solver):
    zero = sinkhorn(torch.zeros(2, 9, 9), solver=solver)
    assert torch.allclose(zero.plan, torch.full((2, 9, 9), 1 / 81))
    maps = features(3, 32, 9, scale=3.0)
    identical = assignment_matrix(sinkhorn(cost_matrix(maps, maps), solver=solver).plan)
    assert torch.allclose(identical, torch.eye(9).expand(3, -1, -1), atol=1e-6)


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), -float("inf")])
@pytest.mark.parametrize("solver", SOLVERS)
def test_a_bad_sample_poisons_no_other(solver, bad):
    cost = random_cost(5, 8, 8)
    clean = sinkhorn(cost, solver=solver)
    cost[2, 3, 4] = bad
    result = sinkhorn(cost, solver=solver)
    others = [0, 1, 3, 4]
    assert result.plan[2].isnan().all()
    assert not result.converged[2]
    assert torch.equal(result.plan[others], clean.plan[others])


def test_clusters_of_unequal_size_and_ties():
    generator = torch.Generator().manual_seed(0)
    centres = 5 * torch.randn(8, 64, 4, generator=generator)
    maps = [
        torch.gather(centres, 2, torch.randint(0, 4, (8, 1, 25), generator=generator).expand(-1, 64, -1))
        + 0.3 * torch.randn(8, 64, 25, generator=generator)
        for _ in range(2)
    ]
    assert sinkhorn(cost_matrix(*maps)).converged.all()
    assert sinkhorn(torch.randint(0, 4, (8, 20, 20), generator=generator).float()).converged.all()


def test_empty_batch():
    result = sinkhorn(torch.zeros(0, 4, 4))
    assert result.plan.shape == (0, 4, 4)
    assert result.converged.shape == (0,)


# Independent references


@pytest.mark.parametrize(("r", "s", "epsilon"), [(16, 16, 1.0), (9, 14, 1.0), (14, 9, 0.5)])
def test_matches_pot(r, s, epsilon):
    cost = random_cost(2, r, s, scale=0.3).double()
    newton = sinkhorn(cost, epsilon).plan
    plain = sinkhorn(cost, epsilon, 20_000, 1e-9, solver="plain").plan
    for i in range(2):
        expected = ot.bregman.sinkhorn_log(
            np.full(r, 1 / r), np.full(s, 1 / s), cost[i].numpy(), epsilon, numItermax=50_000, stopThr=1e-12
        )
        assert np.abs(newton[i].numpy() - expected).max() < 1e-7
        assert np.abs(plain[i].numpy() - expected).max() < 1e-7


def test_float32_agrees_with_float64_on_real_scales():
    cost = random_cost(16, 25, 25, scale=3.0)
    single, double = sinkhorn(cost), sinkhorn(cost.double(), tolerance=1e-7, iterations=300)
    assert double.converged.all()
    assert (assignment_matrix(single.plan) - assignment_matrix(double.plan)).abs().max() < 2e-3


GOLDEN = ["alignmixup_r16_nettrained", "alignmixup_r49_x3", "alignmixup_r64_x3", "alignmixup_r64_perm"]


@pytest.mark.parametrize("name", GOLDEN)
def test_golden_parity_with_the_published_loop(golden, name):
    arrays = golden(name)
    result = sinkhorn(golden_cost(arrays), 0.1, 100, solver="plain", batch_stop=0.1)
    error = np.abs(assignment_matrix(result.plan).numpy() - arrays["R_off"]).max((1, 2))
    assert (error <= 2e-3 + 5 * arrays["stat_noise_f64"]).all()
    assert result.iterations.tolist() == [int(arrays["n_iter_off"])] * len(error)


@pytest.mark.parametrize("name", GOLDEN)
def test_golden_optimum(golden, name):
    arrays = golden(name)
    cost = golden_cost(arrays)
    result = sinkhorn(cost)
    assert result.converged.all()
    assert result.marginal_error.max() < 2e-5
    error = np.abs(assignment_matrix(result.plan).numpy() - arrays["R_conv"]).max((1, 2))
    assert (error <= 2e-3 + 2 * arrays["stat_maxdiff_R_f32_long"]).all()
    spent = (result.plan.double() * cost).sum((1, 2)).numpy()
    assert spent == pytest.approx(arrays["stat_cost_conv"], rel=1e-5, abs=1e-4)


# dtypes, autocast, compilation


@pytest.mark.parametrize("solver", SOLVERS)
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_dtypes(solver, dtype):
    wide = torch.float64 if dtype == torch.float64 else torch.float32
    a, b = features(2, 16, 9).to(dtype), features(2, 16, 9, seed=1).to(dtype)
    cost = cost_matrix(a, b)
    assert cost.dtype == wide
    assert torch.allclose(cost, cost_matrix(a.to(wide), b.to(wide)))
    result = sinkhorn(cost.to(dtype), epsilon=1.0, solver=solver)
    assert result.plan.dtype == result.marginal_error.dtype == wide
    assert torch.equal(result.plan, sinkhorn(cost.to(dtype).to(wide), epsilon=1.0, solver=solver).plan)


def test_float64_reaches_further():
    assert sinkhorn(random_cost(4, 9, 9).double()).marginal_error.max() < 1e-7


@pytest.mark.parametrize("solver", SOLVERS)
def test_autocast_changes_nothing(solver):
    a, b = features(3, 64, 16), features(3, 64, 16, seed=1)
    cost = cost_matrix(a, b)
    plan = sinkhorn(cost, solver=solver).plan
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(cost_matrix(a, b), cost)
        assert torch.equal(sinkhorn(cost, solver=solver).plan, plan)


@pytest.mark.parametrize(("options"), [{}, {"tolerance": 1e-2}, {"solver": "plain", "batch_stop": 0.1}])
def test_compiles_whole_and_computes_the_same(options):
    def solve(a: Tensor, b: Tensor) -> TransportPlan:
        return sinkhorn(cost_matrix(a, b), **options)

    torch._dynamo.reset()
    compiled = torch.compile(solve, fullgraph=True, backend="aot_eager")
    for r, s in ((16, 9), (9, 16)):
        a, b = features(6, 16, r, scale=0.5), features(6, 16, s, scale=0.5, seed=1)
        expected = solve(a, b)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            got = compiled(a, b)
        # compiled code makes the cost by a matrix product
        torch.testing.assert_close(got.plan, expected.plan, atol=1e-6, rtol=1e-3)
        assert torch.equal(got.iterations, expected.iterations)
        assert torch.equal(got.converged, expected.converged)


@pytest.mark.parametrize("solver", SOLVERS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize(
    "laid_out",
    [
        lambda cost: cost,
        lambda cost: cost.mT.contiguous().mT,
        lambda cost: cost[:1].expand(2, -1, -1),
        lambda cost: cost[:, :, ::2],
        lambda cost: cost[:0],
        lambda cost: cost.mT,
    ],
    ids=["contiguous", "transposed", "expanded", "strided", "empty", "more rows than columns"],
)
def test_the_operator_is_registered_correctly(solver, dtype, laid_out):
    cost = laid_out(random_cost(2, 4, 6)).to(dtype)
    options = {"solver": solver, "epsilon": 0.1, "iterations": 7, "tolerance": None, "batch_stop": None}
    torch.library.opcheck(_solve_operator, (cost,), options)


def test_the_package_has_no_other_operator():
    names = [name for name in torch._C._dispatch_get_all_op_names() if name.startswith("alignmixup::")]
    assert names == ["alignmixup::solve_transport"]


@pytest.mark.parametrize("options", [{}, {"solver": "plain"}, {"tolerance": 1e-2}])
def test_vmap_solves_several_batches_at_once(options):
    costs = torch.stack([random_cost(2, 5, 4), random_cost(2, 5, 4, seed=3)], 1)
    together = torch.func.vmap(lambda cost: sinkhorn(cost, **options), in_dims=1)(costs)
    alone = [sinkhorn(cost, **options) for cost in costs.unbind(1)]
    for found, expected in zip(together, map(torch.stack, zip(*alone, strict=True)), strict=True):
        torch.testing.assert_close(found, expected)
    with pytest.raises(ValueError, match="use tolerance instead"):
        torch.func.vmap(lambda cost: sinkhorn(cost, solver="plain", batch_stop=0.1))(costs)


@pytest.mark.parametrize("solver", SOLVERS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_cost_whose_sum_overflows_spoils_its_own_sample_only(solver, dtype):
    cost = random_cost(2, 9, 9).to(dtype)
    alone = sinkhorn(cost[:1], solver=solver).plan
    cost[1] = torch.finfo(dtype).max / 4
    cost[1, 0, 0] = 0
    result = sinkhorn(cost, solver=solver)
    assert torch.equal(result.plan[:1], alone)
    assert result.plan[1].isnan().all()
    assert not result.converged[1]


@pytest.mark.gpu
@pytest.mark.parametrize("solver", SOLVERS)
def test_reads_nothing_back_from_the_gpu(solver):
    cost = random_cost(16, 25, 25)
    on_gpu = cost.cuda()
    sinkhorn(on_gpu, solver=solver)
    torch.cuda.set_sync_debug_mode("error")
    try:
        result = sinkhorn(on_gpu, solver=solver)
    finally:
        torch.cuda.set_sync_debug_mode("default")
    if solver == "newton":
        assert result.converged.all()
        assert torch.allclose(result.plan.cpu(), sinkhorn(cost).plan, atol=1e-3 / 25)


# Errors


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"epsilon": 0.0}, "epsilon must be > 0, got 0.0"),
        ({"epsilon": -1.0}, "epsilon must be > 0, got -1.0"),
        ({"epsilon": math.nan}, "epsilon must be > 0, got nan"),
        ({"iterations": 0}, "iterations must be >= 1, got 0"),
        ({"iterations": 2.5}, "iterations must be a whole number, got 2.5"),
        ({"iterations": True}, "iterations must be a whole number, got True"),
        ({"epsilon": "small"}, "epsilon must be a number, got 'small'"),
        ({"tolerance": 0.0}, "tolerance must be > 0 or None, got 0.0"),
        ({"tolerance": math.inf}, "tolerance must be > 0 or None, got inf"),
        ({"solver": "fast"}, "solver must be 'newton' or 'plain', got 'fast'"),
        ({"batch_stop": 0.1}, "batch_stop needs solver='plain'"),
        ({"batch_stop": -0.1, "solver": "plain"}, "batch_stop must be > 0 or None, got -0.1"),
    ],
)
def test_bad_options(options, message):
    with pytest.raises((TypeError, ValueError), match=message):
        sinkhorn(torch.zeros(1, 2, 2), **options)


def test_bad_tensors():
    with pytest.raises(ValueError, match=r"shape \(B, r, s\), got \(4, 4\): give one sample a batch axis"):
        sinkhorn(torch.zeros(4, 4))
    with pytest.raises(ValueError, match=r"cost must have shape \(B, r, s\), got \(2, 0, 4\)"):
        sinkhorn(torch.zeros(2, 0, 4))
    with pytest.raises(TypeError, match=r"cost must be floating point, got torch.int64"):
        sinkhorn(torch.zeros(1, 2, 2, dtype=torch.int64))
    with pytest.raises(TypeError, match="a must be floating point"):
        cost_matrix(torch.zeros(1, 2, 2, dtype=torch.int64), torch.zeros(1, 2, 2))
    with pytest.raises(ValueError, match=r"b must have shape \(B, C, \*positions\) with B = 2, C = 3"):
        cost_matrix(torch.zeros(2, 3, 4), torch.zeros(2, 5, 4))
    with pytest.raises(ValueError, match=r"a must have shape \(B, C, \*positions\), got \(2, 3\)"):
        cost_matrix(torch.zeros(2, 3), torch.zeros(2, 3))
    with pytest.raises(ValueError, match=r"plan must have shape \(B, r, s\)"):
        assignment_matrix(torch.zeros(4, 4))


@pytest.mark.skipif(sys.platform != "linux", reason="torch brings Triton on Linux only: the choice is not tried here")
def test_the_kernel_serves_cuda_and_nothing_else(monkeypatch):
    from alignmixup.functional.transport import cuda as transport_kernel

    on_cuda = SimpleNamespace(device=torch.device("cuda"))
    for fits, expected in ((True, transport_kernel.solve_newton_fused), (False, transport.solve_newton)):
        monkeypatch.setattr(transport_kernel, "fused_fits", lambda _, fits=fits: fits)
        assert transport._newton(on_cuda) is expected
    monkeypatch.setattr(transport, "_has_triton", lambda: False)
    assert transport._newton(on_cuda) is transport.solve_newton


def test_relative_costs_have_mean_one_and_zero_stays_zero():
    cost = torch.rand(3, 4, 5)
    cost[1] = 0
    relative = relative_cost(1000 * cost)
    torch.testing.assert_close(relative.mean(dim=(1, 2)), torch.tensor([1.0, 0.0, 1.0]))
    torch.testing.assert_close(relative, relative_cost(cost))
