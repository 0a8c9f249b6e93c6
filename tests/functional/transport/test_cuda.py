"""The fused kernel against the solver it repeats: interpreted, and on a GPU. Compiled for two generations of GPUs."""

import os
import subprocess
import sys

import pytest
import torch
from torch import Tensor

from alignmixup.functional.transport.plan import cost_matrix
from alignmixup.functional.transport.solvers import solve_newton

pytestmark = [
    pytest.mark.skipif(sys.platform != "linux", reason="torch has Triton on Linux only: the kernel is not tried here"),
    pytest.mark.xdist_group("transport_kernel"),  # one interpreter run serves all comparisons
]

# Triton decides at its import whether it interprets, for the whole process.
INTERPRET = """
import sys, torch
from alignmixup.functional.transport.cuda import fused_fits, solve_newton_fused
cases = torch.load(sys.argv[1])
assert all(fused_fits(case[0]) == (max(case[0].shape) <= 64) for case in cases.values())
torch.save({name: solve_newton_fused(*case) for name, case in cases.items() if fused_fits(case[0])}, sys.argv[2])
"""


def random_cost(batch: int, r: int, s: int, *, channels: int = 512, relu: bool = False) -> Tensor:
    generator = torch.Generator().manual_seed(100 * r + s)
    a, b = (torch.randn(batch, channels, positions, generator=generator) for positions in (r, s))
    return cost_matrix(a.relu(), b.relu()) if relu else cost_matrix(a, b)


def make_cases() -> dict[str, tuple[Tensor, float, int, float]]:
    shapes = [(1, 1), (1, 5), (5, 1), (4, 4), (9, 16), (16, 9), (16, 16), (25, 25), (16, 49)]
    cases = {f"gauss {r} {s}": (random_cost(2 if r == s == 16 else 1, r, s), 0.1, 100, 1e-5) for r, s in shapes}
    for r in (16, 49):
        cases[f"relu {r}"] = (random_cost(1, r, r, relu=True), 0.1, 100, 1e-5)
    for r in (64, 100):
        cases[f"large {r}"] = (random_cost(1, r, r), 1.0, 35, 1e-3)
    for iterations in (1, 4, 5, 7, 12, 21):
        cases[f"iterations {iterations}"] = (random_cost(1, 16, 16), 0.1, iterations, 1e-5)
    same = torch.randn(1, 64, 16, generator=torch.Generator().manual_seed(0))
    cases["identical"] = (cost_matrix(same, same), 0.1, 100, 1e-5)
    cases["zero"] = (torch.zeros(1, 9, 9), 0.1, 100, 1e-5)
    cases["negative"] = (-random_cost(1, 9, 9), 0.1, 100, 1e-5)
    scales = torch.logspace(-6, 6, 7)[:, None, None]
    cases["scales"] = (scales * torch.rand(7, 12, 12, generator=torch.Generator().manual_seed(0)), 0.1, 100, 1e-5)
    cases["alone"] = (cases["scales"][0][4:5], 0.1, 100, 1e-5)
    cases["none"] = (torch.zeros(0, 9, 9), 0.1, 100, 1e-5)
    return cases


CASES = make_cases()


@pytest.fixture(scope="module")
def interpreted(tmp_path_factory) -> dict[str, tuple[Tensor, Tensor]]:
    folder = tmp_path_factory.mktemp("kernel")
    torch.save(CASES, folder / "cases.pt")
    command = [sys.executable, "-c", INTERPRET, folder / "cases.pt", folder / "solved.pt"]
    environment = {**os.environ, "TRITON_INTERPRET": "1", "OMP_NUM_THREADS": "1"}
    result = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    assert result.returncode == 0, result.stderr
    return torch.load(folder / "solved.pt")


def row_error(plan: Tensor) -> Tensor:
    return (plan.sum(2) * plan.shape[1] - 1).abs().mean(1)


def check_against_the_solver(
    solved: tuple[Tensor, Tensor], case: tuple[Tensor, float, int, float], *, atol: float, name: str
) -> None:
    (plan, rounds), (cost, _, _, target) = solved, case
    expected, expected_rounds = solve_newton(*case)
    assert plan.shape == cost.shape, name
    assert plan.dtype == torch.float32, name
    assert rounds.dtype == torch.int64, name
    assert plan.isfinite().all(), name
    assert torch.allclose(plan.sum(1) * cost.shape[2], torch.ones(()), atol=1e-6), name
    assert ((rounds - expected_rounds).abs() <= 5).all(), name
    same = rounds == expected_rounds  # one cycle more or less leaves another part of the error
    assert torch.allclose((plan * cost.shape[1])[same], (expected * cost.shape[1])[same], atol=atol, rtol=0), name
    reached = row_error(expected) <= target
    assert (row_error(plan)[reached] <= target + 1e-6).all(), name


def test_agrees_with_the_solver(interpreted):
    assert CASES.keys() - interpreted.keys() == {"large 100"}
    for name, solved in interpreted.items():
        check_against_the_solver(solved, CASES[name], atol=3e-5, name=name)


@pytest.mark.parametrize("name", ["gauss 16 16", "gauss 9 16", "relu 49", "identical"])
def test_is_as_close_to_the_optimum_as_the_solver(name, interpreted):
    cost, epsilon, iterations, target = CASES[name]
    optimum, _ = solve_newton(cost.double(), epsilon, iterations, 1e-9)
    plan, _ = solve_newton(cost, epsilon, iterations, target)
    error, expected = ((p - optimum).abs().max() * cost.shape[1] for p in (interpreted[name][0], plan))
    assert error <= 1.5 * expected + 1e-5


def test_a_sample_does_not_depend_on_its_batch(interpreted):
    assert torch.equal(interpreted["alone"][0][0], interpreted["scales"][0][4])
    assert interpreted["alone"][1][0] == interpreted["scales"][1][4]


def test_takes_only_costs_on_a_gpu():
    from alignmixup.functional.transport.cuda import fused_fits

    assert not fused_fits(torch.zeros(1, 4, 4))
    assert not fused_fits(torch.zeros(1, 4, 129, device="meta"))


@pytest.mark.parametrize(("arch", "side"), [(80, 64), (90, 16), (90, 64)])
def test_is_built_without_a_gpu(tmp_path, monkeypatch, arch, side):
    import triton
    from triton.backends.compiler import GPUTarget
    from triton.compiler import ASTSource

    from alignmixup.functional.transport.cuda import _solve_sample, warps

    monkeypatch.setenv("TRITON_CACHE_DIR", str(tmp_path))
    types = ["*fp32", "*fp32", "*i64", "i32", "i32", "fp32", "fp32", "i32", "constexpr", "constexpr"]
    signature = dict(zip(_solve_sample.arg_names, types, strict=True))
    source = ASTSource(_solve_sample, signature, {"rows": side, "columns": side})  # the third has had two names
    options = {"num_warps": warps(side, side), "enable_fp_fusion": True}
    compiled = triton.compile(source, target=GPUTarget("cuda", arch, 32), options=options)
    assert compiled.asm["cubin"]
    assert compiled.metadata.shared <= 48 * 1024  # what a block gets unasked, on every GPU


@pytest.fixture
def kernel(monkeypatch):
    """The module, without memory of what ran and what failed."""
    from alignmixup.functional.transport import cuda

    monkeypatch.setattr(cuda, "_compiled", set())
    monkeypatch.setattr(cuda, "_failed", set())
    return cuda


def same(found: tuple[Tensor, Tensor], expected: tuple[Tensor, Tensor]) -> bool:
    return all(torch.equal(a, b) for a, b in zip(found, expected, strict=True))


@pytest.mark.parametrize("error", [RuntimeError, OSError, SystemError, AttributeError, AssertionError, None])
@pytest.mark.parametrize("shape", [(9, 16), (16, 9), (16, 16)])
def test_a_kernel_that_cannot_run_is_replaced_by_the_solver_and_not_tried_again(
    kernel, monkeypatch, caplog, error, shape
):
    tried, launch = [], kernel._launch

    def refused(*arguments):
        tried.append(arguments[-1])
        if error:
            raise error("no such\narchitecture")
        launch(*arguments)  # without a GPU, or with a tensor on the CPU, Triton itself refuses

    monkeypatch.setattr(kernel, "_launch", refused)
    case = (random_cost(2, *shape), 0.1, 100, 1e-5)
    for _ in range(3):
        assert same(kernel.solve_newton_fused(*case), solve_newton(*case))
    assert len(tried) == len(caplog.records) == 1
    message = caplog.records[0].getMessage()
    assert "tensor operations serve instead" in message
    assert "\n" not in message
    assert not error or f"{error.__name__}: no such architecture" in message
    other = (random_cost(1, 16, 25), 0.1, 100, 1e-5)  # another tile may run
    assert same(kernel.solve_newton_fused(*other), solve_newton(*other))
    assert len(tried) == 2


def test_an_interrupt_is_no_failure_of_the_kernel(kernel, monkeypatch):
    def interrupted(*arguments):
        raise KeyboardInterrupt

    monkeypatch.setattr(kernel, "_launch", interrupted)
    with pytest.raises(KeyboardInterrupt):
        kernel.solve_newton_fused(random_cost(1, 4, 4), 0.1, 100, 1e-5)
    assert not kernel._failed


def test_nothing_is_compiled_while_a_graph_is_captured(kernel, monkeypatch, caplog):
    launched, capturing = [], [True]
    monkeypatch.setattr(kernel, "_launch", lambda *arguments: launched.append(arguments[-1]))
    monkeypatch.setattr(kernel, "_capturing", lambda cost: capturing[0])
    case = (random_cost(1, 16, 16), 0.1, 100, 1e-5)
    assert same(kernel.solve_newton_fused(*case), solve_newton(*case))
    assert not launched
    capturing[0] = False
    kernel.solve_newton_fused(*case)
    capturing[0] = True
    kernel.solve_newton_fused(*case)
    assert len(launched) == 2
    # another address or another size is another compilation
    shifted = torch.cat([torch.zeros(1), case[0].flatten()])[1:].view(1, 16, 16)
    for cost in (shifted, random_cost(1, 25, 25)):
        assert same(kernel.solve_newton_fused(cost, *case[1:]), solve_newton(cost, *case[1:]))
    assert len(launched) == 2
    assert not caplog.records


def test_no_number_of_rounds_overflows_the_kernels_counter(kernel, monkeypatch):
    seen = []
    monkeypatch.setattr(kernel, "_launch", lambda *arguments: seen.append(arguments[5]))
    kernel.solve_newton_fused(torch.zeros(1, 4, 4), 0.1, 10**12, 1e-5)
    assert 10**9 < seen[0] < 2**31 - 100


@pytest.mark.parametrize(("r", "s", "takes"), [(64, 64, True), (32, 128, True), (128, 16, True), (65, 64, False)])
def test_only_tiles_that_stay_in_registers_are_taken(kernel, monkeypatch, r, s, takes):
    monkeypatch.setattr(kernel.triton, "JITFunction", type(None))  # as interpreted: any device will do
    assert kernel.fused_fits(torch.zeros(1, r, s)) == takes
    assert not kernel.fused_fits(torch.zeros(1, r, s, dtype=torch.float64))


@pytest.mark.gpu
@pytest.mark.parametrize("name", CASES)
def test_agrees_with_the_solver_on_a_gpu(name):
    from alignmixup.functional.transport import cuda
    from alignmixup.functional.transport.cuda import fused_fits, solve_newton_fused

    cost, *options = CASES[name]
    assert fused_fits(cost.cuda()) == (max(cost.shape) <= 64)
    plan, rounds = solve_newton_fused(cost.cuda(), *options)
    assert not cuda._failed, "the solver served: this would compare it with itself"
    check_against_the_solver((plan.cpu(), rounds.cpu()), CASES[name], atol=3e-4, name=name)


@pytest.mark.gpu
@pytest.mark.parametrize("r", [16, 49, 64, 128])
def test_a_sample_does_not_depend_on_its_batch_on_a_gpu(r):
    from alignmixup.functional.transport.cuda import solve_newton_fused

    cost = random_cost(300, r, r).cuda()
    plan, rounds = solve_newton_fused(cost, 0.1, 100, 1e-5)
    alone, rounds_alone = solve_newton_fused(cost[123:124], 0.1, 100, 1e-5)
    assert torch.equal(plan[123], alone[0])
    assert rounds[123] == rounds_alone[0]


@pytest.mark.gpu
@pytest.mark.parametrize("warmed", [False, True])
def test_a_captured_graph_replays_the_same_numbers(warmed):
    from alignmixup.functional.transport import cuda

    cuda._compiled.clear()
    cost = random_cost(8, 16, 16).cuda()
    expected, _ = cuda.solve_newton_fused(cost, 0.1, 100, 1e-5) if warmed else solve_newton(cost, 0.1, 100, 1e-5)
    torch.cuda.synchronize()
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        plan, _ = cuda.solve_newton_fused(cost, 0.1, 100, 1e-5)
    plan.zero_()
    graph.replay()
    assert torch.allclose(plan, expected, atol=1e-6)


@pytest.mark.gpu
def test_takes_float32_tiles_that_stay_in_registers():
    from alignmixup.functional.transport.cuda import fused_fits

    assert fused_fits(torch.zeros(1, 64, 64, device="cuda"))
    assert not fused_fits(torch.zeros(1, 64, 65, device="cuda"))
    assert not fused_fits(torch.zeros(1, 4, 4, device="cuda", dtype=torch.float64))
