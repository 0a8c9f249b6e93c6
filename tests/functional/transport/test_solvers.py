"""Inside the solvers: the path without host reads, the Newton system, the published round."""

import math

import pytest
import torch

from alignmixup.functional.transport import solvers
from alignmixup.functional.transport.plan import cost_matrix
from alignmixup.functional.transport.solvers import solve_newton, solve_plain


@pytest.fixture
def cost():
    maps = torch.randn(24, 32, 12, generator=torch.Generator().manual_seed(0))
    return cost_matrix(maps, maps.roll(1, 0)) * torch.logspace(-2, 1, 24)[:, None, None]


@pytest.mark.parametrize("iterations", [1, 4, 5, 6, 13, 100])
def test_frozen_and_dropped_samples_give_the_same_plans(cost, iterations, monkeypatch):
    # On a GPU finished samples are frozen, on CPU they are dropped from the batch.
    dropped = solve_newton(cost, 0.1, iterations, 1e-5)
    monkeypatch.setattr(solvers, "may_stop_early", lambda cost: False)
    frozen = solve_newton(cost, 0.1, iterations, 1e-5)
    assert torch.equal(dropped[0], frozen[0])
    assert torch.equal(dropped[1], frozen[1])


def test_plain_without_early_exit_gives_the_same_plans(cost, monkeypatch):
    stopped = solve_plain(cost, 1.0, 400, 1e-3, None)
    monkeypatch.setattr(solvers, "may_stop_early", lambda cost: False)
    frozen = solve_plain(cost, 1.0, 400, 1e-3, None)
    assert torch.equal(stopped[0], frozen[0])
    assert torch.equal(stopped[1], frozen[1])


def test_one_plain_round_by_hand():
    cost = torch.tensor([[[0.0, math.log(3.0)], [0.0, 0.0]]])
    plan, rounds = solve_plain(cost, 1.0, 1, None, None)
    # Rows first: [3/8, 1/8], [1/4, 1/4]. Then columns: of 5/8 and 3/8, scaled to 1/2.
    assert torch.allclose(plan, torch.tensor([[[0.3, 1 / 6], [0.2, 1 / 3]]]), atol=1e-6)
    assert rounds.tolist() == [1]


def test_newton_step_restores_the_row_masses_to_first_order():
    plan = torch.rand(5, 6, 8, generator=torch.Generator().manual_seed(0), dtype=torch.float64) + 0.1
    plan = plan / (plan.sum(1, keepdim=True) * 8)
    wanted = 1e-4 * torch.randn(5, 6, 1, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    wanted = wanted - wanted.mean(1, keepdim=True)
    rows = solvers._solve_rows(plan, wanted)
    columns = -(plan * rows).sum(1, keepdim=True) * 8
    moved = plan * (rows + columns).exp()
    assert torch.allclose((moved - plan).sum(2, keepdim=True) * 6, wanted, atol=1e-6)
    assert (moved.sum(1) * 8 - 1).abs().max() < 1e-6


def test_newton_step_resolves_near_permutations():
    # Rows tied by 1e-5 of their mass: formed by subtraction, the float32 system would be mostly rounding error.
    weak = 1e-5
    plan = torch.tensor([[[1 - weak, weak], [weak, 1 - weak]]]) / 2
    step = solvers._solve_rows(plan, torch.tensor([[[1e-6], [-1e-6]]])).flatten()
    exact = 2e-6 / (4 * weak * (1 - weak))
    noise = solvers.NOISE * torch.finfo(torch.float32).eps
    assert (step[0] - step[1]).item() == pytest.approx(2e-6 / (4 * weak * (1 - weak) + noise), rel=1e-4)
    assert noise < 4 * weak
    assert (step[0] - step[1]).item() == pytest.approx(exact, rel=0.3)


def test_a_failed_factorisation_takes_no_step():
    plan = torch.full((2, 3, 3), 1 / 9)
    plan[0] = torch.nan
    steps = solvers._solve_rows(plan, torch.tensor([0.01, 0.0, -0.01]).view(1, 3, 1).expand(2, 3, 1))
    assert torch.equal(steps[0], torch.zeros(3, 1))
    assert steps[1].abs().max() > 0


def test_newton_needs_far_fewer_rounds_than_plain():
    maps = torch.randn(8, 512, 16, generator=torch.Generator().manual_seed(0))
    cost = cost_matrix(maps, maps.roll(1, 0))
    _, newton = solve_newton(cost, 0.1, 100, 1e-3)
    _, plain = solve_plain(cost, 0.1, 1000, 1e-3, None)
    assert newton.max() <= 60
    assert plain.median() > 5 * newton.median()
