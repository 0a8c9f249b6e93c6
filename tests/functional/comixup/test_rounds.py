import torch

from alignmixup.functional.comixup import rounds as comixup_rounds
from alignmixup.functional.comixup.rounds import HalfLabels, Problem, objective, solve, tell_apart


def problem(groups=2, inputs=5, side=4, seed=0, **changes):
    generator = torch.Generator().manual_seed(seed)
    saliency = torch.rand(groups, inputs, side * side, generator=generator) ** 4
    saliency = saliency / saliency.sum(-1, keepdim=True)
    return Problem(
        unary=-saliency.mT,
        compatibility=torch.eye(inputs).expand(groups, -1, -1),
        smoothness=0.32 / side**2,
        diversity=1 / side**2,
        capacity=0.83 * side**2,
        soft=False,
        released=False,
    )._replace(**changes)


def start(groups=2, inputs=5, side=4, seed=0):
    return torch.randint(inputs, (groups, inputs, side, side), generator=torch.Generator().manual_seed(seed))


def test_charges_by_hand():
    compatibility = torch.tensor([[[0.9, 0.1], [0.1, 0.9]]])
    usage = torch.tensor([[[10.0, 4.0]]])  # pressure 9.4 and 4.6
    base = problem(1, 2, capacity=5.0, compatibility=compatibility)
    torch.testing.assert_close(base.charge(usage), torch.tensor([[[9.4, 0.0]]]))
    torch.testing.assert_close(base._replace(soft=True).charge(usage), torch.tensor([[[4.4, 0.0]]]))
    # the published order of operations: A ([pressure > capacity] usage)
    torch.testing.assert_close(base._replace(released=True).charge(usage), torch.tensor([[[9.0, 1.0]]]))


def test_half_labels_by_hand():
    labels = HalfLabels(torch.eye(4)[None])
    prices = torch.tensor([[[1.0, 2.0, 4.0, 8.0]]])
    extended, similarity, weights = labels(prices, torch.tensor([[0.0, 5.0, 2.0, 5.0]]))
    # most used: 1, 3 (equally, so in order), 2
    expected = torch.tensor([[[1.0, 2.0, 4.0, 8.0, 5.0 - 5e-4, 3.0 - 5e-4, 6.0 - 5e-4]]])
    torch.testing.assert_close(extended, expected)
    halves = torch.tensor([[0.0, 0.5, 0.0, 0.5], [0.0, 0.5, 0.5, 0.0], [0.0, 0.0, 0.5, 0.5]])
    assert torch.equal(weights[0], torch.cat([torch.eye(4), halves]))
    # a quarter of the price next to a member, the whole price between two half/half labels
    assert torch.equal(1 - similarity[0, 4:, :4], 1 - 1.5 * halves)
    assert torch.equal(similarity[0, 4:, 4:], torch.eye(3))
    assert torch.equal(similarity, similarity.mT)


def test_half_labels_need_used_inputs():
    labels = HalfLabels(torch.eye(4).expand(2, -1, -1))
    extended, _, _ = labels(torch.rand(2, 3, 4), torch.tensor([[0.0, 9.0, 0.0, 7.0], [0.0, 0.0, 16.0, 0.0]]))
    allowed = extended[:, 0, 4:].isfinite()
    assert allowed.tolist() == [[True, False, False], [False, False, False]]


def test_small_groups_have_fewer_pairs():
    assert HalfLabels(torch.eye(1)[None])(torch.rand(1, 4, 1), torch.ones(1, 1))[0].shape == (1, 4, 1)
    assert HalfLabels(torch.eye(2)[None])(torch.rand(1, 4, 2), torch.ones(1, 2))[0].shape == (1, 4, 3)


def test_equal_sets_are_told_apart():
    counts = torch.tensor([[[3.0, 1.0, 0.0], [2.0, 2.0, 0.0], [0.0, 4.0, 0.0], [0.0, 4.0, 0.0], [1.0, 3.0, 0.0]]])
    # 0, 1 and 4 use the same two inputs; 2 and 3 a single one, which is left alone
    expected = torch.tensor([[[1.0, 0, 0], [1, 1, 0], [0, 0, 0], [0, 0, 0], [0, 1, 0]]])
    assert torch.equal(tell_apart(counts), expected)


def test_usage_is_that_of_the_other_outputs_at_every_update(monkeypatch):
    seen = []
    sweeps = []
    sweep_type, charge = comixup_rounds._Sweep, Problem.charge

    class Recorded(sweep_type):
        def __init__(self, *arguments):
            super().__init__(*arguments)
            sweeps.append(self)

    def recorded(self, usage):
        sweep, j = sweeps[0], len(seen) % 5
        assert torch.equal(sweep.counts, sweep.masks.sum((2, 3)))
        assert torch.equal(usage[:, 0], sweep.counts.sum(1) - sweep.counts[:, j])
        seen.append(usage)
        return charge(self, usage)

    monkeypatch.setattr(comixup_rounds, "_Sweep", Recorded)
    monkeypatch.setattr(Problem, "charge", recorded)
    solve(problem(), start(), 4, set_resolve=True, safeguard=False)
    assert len(seen) == 20


def test_groups_are_independent_even_when_one_settles_early():
    # without saliency a group settles at once; the other goes on
    mixed = problem(3)
    mixed.unary[1] = -1 / 16
    together = solve(mixed, start(3), 4, set_resolve=True, safeguard=True)
    for i in range(3):
        one = mixed._replace(unary=mixed.unary[i : i + 1], compatibility=mixed.compatibility[i : i + 1])
        assert torch.equal(together[i : i + 1], solve(one, start(3)[i : i + 1], 4, set_resolve=True, safeguard=True))


def test_rounds_lower_the_objective():
    base, first = problem(4, 8), start(4, 8)
    before = objective(base, torch.eye(8)[first])
    after = objective(base, solve(base, first, 4, set_resolve=False, safeguard=False))
    assert bool((after < before - 1).all())


def test_the_safeguard_never_raises_the_objective():
    base, first = problem(8, 8), start(8, 8)
    sweep = comixup_rounds._Sweep(base, first)
    for _ in range(3):
        sweep(half_labels=True, safeguard=False)
    before = objective(base, sweep.masks)
    sweep(half_labels=True, safeguard=True)
    after = objective(base, sweep.masks)
    assert bool((after <= before + 1e-4).all())
    assert bool((after < before).any())
    assert torch.equal(sweep.counts, sweep.masks.sum((2, 3)))


def test_repeated_problems_lie_side_by_side():
    base = problem(2)
    twice = base.repeat(2)
    assert torch.equal(twice.unary, base.unary[[0, 0, 1, 1]])
    assert base.repeat(1) is base
