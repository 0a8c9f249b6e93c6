import pytest
import torch
from torch import nn

from alignmixup.functional import alignment, native
from alignmixup.functional import parts as part_module
from alignmixup.functional.alignment import _AlignedInterpolation, align, align_mix
from alignmixup.functional.cells import cells_of
from alignmixup.functional.interpolation import mixup
from alignmixup.functional.transport.plan import assignment_matrix, cost_matrix, sinkhorn

PERM = torch.tensor([1, 2, 0])


def features(scale=1.0, channels=16, size=4, dtype=torch.float32):
    """Maps; at a scale of 1 a plan multiplies rounding in the costs by 300, so compare two ways at a smaller one."""
    torch.manual_seed(0)
    return (scale * torch.randn(3, channels, size, size)).to(dtype)


def reference(maps, perm, lam, keep, epsilon=0.1):
    """The broadcast formulation in float64 with a plain loop run to the end."""
    a = maps.double().flatten(2)
    b = a[perm]
    cost = (a[:, :, :, None] - b[:, :, None, :]).square().sum(1)
    r = cost.shape[1]
    u = v = torch.zeros(cost.shape[:2], dtype=torch.float64)
    for _ in range(5000):
        u = -epsilon * (torch.logsumexp((v[:, None] - cost) / epsilon, 2) + torch.tensor(r).log())
        v = -epsilon * (torch.logsumexp((u[:, :, None] - cost) / epsilon, 1) + torch.tensor(r).log())
    assignment = r * ((u[:, :, None] + v[:, None] - cost) / epsilon).exp()
    weight = lam.double()[:, None, None]
    if keep == "first":
        mixed = weight * a + (1 - weight) * b @ assignment.mT
    else:
        mixed = weight * a @ assignment + (1 - weight) * b
    return mixed.view(maps.shape)


@pytest.mark.parametrize("keep", ["first", "partner"])
def test_align_mix_equals_the_broadcast_formulation(keep):
    maps, lam = features(scale=0.15), torch.tensor([0.2, 0.5, 0.9])
    expected = reference(maps, PERM, lam, keep)
    torch.testing.assert_close(align_mix(maps, PERM, lam, keep).double(), expected, atol=2e-3, rtol=0)


def test_align_by_hand():
    a, b = torch.tensor([[[1.0, 2.0]]]), torch.tensor([[[3.0, 5.0]]])
    half = torch.full((1, 2, 2), 0.5)
    to_first, to_partner = align(a, b, half)
    assert to_first.tolist() == [[[4.0, 4.0]]]
    assert to_partner.tolist() == [[[1.5, 1.5]]]


def test_align_averages_when_the_grids_differ():
    a, b = torch.rand(2, 3, 4), torch.rand(2, 3, 6)
    plan = torch.full((2, 4, 6), 1 / 24)
    to_first, to_partner = align(a, b, assignment_matrix(plan))
    torch.testing.assert_close(to_first, b.mean(2, keepdim=True).expand(2, 3, 4))
    torch.testing.assert_close(to_partner, a.mean(2, keepdim=True).expand(2, 3, 6))


def test_a_shuffled_copy_is_put_back():
    torch.manual_seed(0)
    a = 3 * torch.randn(1, 32, 9)
    shuffle = torch.randperm(9)
    plan = sinkhorn(cost_matrix(a, a[:, :, shuffle])).plan
    to_first, to_partner = align(a, a[:, :, shuffle], assignment_matrix(plan))
    torch.testing.assert_close(to_first, a, atol=1e-3, rtol=0)
    torch.testing.assert_close(to_partner, a[:, :, shuffle], atol=1e-3, rtol=0)


def test_lambda_one_keeps_the_features_and_zero_takes_the_partner():
    maps = features()
    assert torch.equal(align_mix(maps, PERM, torch.ones(3), "first"), maps)
    assert torch.equal(align_mix(maps, PERM, torch.zeros(3), "partner"), maps[PERM])


@pytest.mark.parametrize("keep", ["first", "partner"])
def test_alignment_keeps_the_mean_so_it_cancels_under_pooling(keep):
    maps, lam = features(scale=0.5), torch.tensor([0.2, 0.5, 0.9])
    pooled = align_mix(maps, PERM, lam, keep).mean((2, 3))
    unaligned = mixup(maps, PERM, lam).mean((2, 3))
    # first: column sums are exact by construction; partner: row sums are as exact as the solver converged
    torch.testing.assert_close(pooled, unaligned, atol=1e-6 if keep == "first" else 2e-3, rtol=0)


def test_alignment_does_real_work_after_a_nonlinearity():
    maps, lam = features(scale=0.5), torch.tensor([0.2, 0.5, 0.9])
    pooled = align_mix(maps, PERM, lam).relu().mean((2, 3))
    unaligned = mixup(maps, PERM, lam).relu().mean((2, 3))
    assert (pooled - unaligned).abs().max() > 0.02


@pytest.mark.parametrize("keep", ["first", "partner"])
def test_gradients_flow_into_both_maps_and_not_into_the_plan(keep):
    maps = features(channels=4, size=2, dtype=torch.float64).requires_grad_()
    lam = torch.tensor([0.3, 0.6, 0.9], dtype=torch.float64)
    a = maps.detach().flatten(2)
    assignment = assignment_matrix(sinkhorn(cost_matrix(a, a[PERM])).plan)

    def with_constant_plan(maps):
        first = maps.flatten(2)
        to_first, to_partner = align(first, first[PERM], assignment)
        weight = lam[:, None, None]
        if keep == "first":
            return (weight * first + (1 - weight) * to_first).view(maps.shape)
        return (weight * to_partner + (1 - weight) * first[PERM]).view(maps.shape)

    grad = torch.autograd.grad(align_mix(maps, PERM, lam, keep).square().sum(), maps)[0]
    expected = torch.autograd.grad(with_constant_plan(maps).square().sum(), maps)[0]
    torch.testing.assert_close(grad, expected)
    assert torch.autograd.gradcheck(with_constant_plan, (maps,))


@pytest.mark.parametrize("keep", ["first", "partner"])
@pytest.mark.parametrize("perm", [[1, 2, 0], [0, 1, 2], [1, 1, 0]])
def test_first_and_second_derivatives_with_the_plan_held(keep, perm):
    maps = features(channels=3, size=2, dtype=torch.float64).flatten(2).requires_grad_()
    perm, lam = torch.tensor(perm), torch.tensor([0.3, 0.6, 0.9], dtype=torch.float64)
    plan = sinkhorn(cost_matrix(maps.detach(), maps.detach()[perm])).plan

    def mix(maps):
        return _AlignedInterpolation.apply(maps, perm, lam, assignment_matrix(plan), keep, False)

    assert torch.autograd.gradcheck(mix, (maps,))
    assert torch.autograd.gradgradcheck(mix, (maps,))


@pytest.mark.parametrize("keep", ["first", "partner"])
def test_working_in_parts_changes_nothing(keep, monkeypatch):
    torch.manual_seed(0)
    maps, perm, lam = 0.3 * torch.randn(7, 8, 3, 3), torch.randperm(7), torch.rand(7)

    def result():
        leaf = maps.clone().requires_grad_()
        mixed = align_mix(leaf, perm, lam, keep)
        return mixed, torch.autograd.grad(mixed.square().sum(), leaf)[0]

    monkeypatch.setattr(native, "library", lambda: None)
    whole = result()
    monkeypatch.setattr(part_module, "PART_BYTES", 1)
    assert len(part_module.parts(maps)) == 3
    torch.testing.assert_close(result(), whole)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_other_precisions_agree_with_float32(dtype):
    maps, lam = features(scale=0.3), torch.tensor([0.2, 0.5, 0.9])
    rounded = maps.to(dtype)
    mixed = align_mix(rounded, PERM, lam)
    assert mixed.dtype == dtype
    torch.testing.assert_close(mixed.float(), align_mix(rounded.float(), PERM, lam), atol=1e-2, rtol=0)


def test_autocast_does_not_lower_the_precision():
    maps, lam = features(scale=0.3), torch.tensor([0.2, 0.5, 0.9])
    with torch.autocast("cpu", dtype=torch.bfloat16):
        inside = align_mix(maps, PERM, lam)
        inside_align = align(maps.flatten(2), maps.flatten(2), torch.eye(16).expand(3, 16, 16))[0]
    assert inside.dtype == torch.float32
    torch.testing.assert_close(inside, align_mix(maps, PERM, lam))
    assert torch.equal(inside_align, maps.flatten(2))


def test_one_position_is_plain_mixup():
    maps, lam = torch.randn(3, 8, 1, 1), torch.tensor([0.2, 0.5, 0.9])
    torch.testing.assert_close(align_mix(maps, PERM, lam), mixup(maps, PERM, lam))


def test_a_normalised_cost_makes_epsilon_relative_to_the_scale():
    maps, lam = features(), torch.tensor([0.2, 0.5, 0.9])
    small = align_mix(maps, PERM, lam, normalize_cost=True)
    large = align_mix(10 * maps, PERM, lam, normalize_cost=True)
    torch.testing.assert_close(large, 10 * small, rtol=1e-3, atol=1e-3)


def test_nan_features_stay_with_their_own_pair():
    maps = features()
    maps[0] = float("nan")
    mixed = align_mix(maps, PERM, torch.full((3,), 0.5))
    assert torch.equal(mixed.isnan().flatten(1).all(1), torch.tensor([True, False, True]))
    assert bool(mixed[1].isfinite().all())


def test_align_mix_compiles_without_graph_breaks():
    maps, lam = features(scale=0.15), torch.tensor([0.2, 0.5, 0.9])
    compiled = torch.compile(align_mix, backend="eager", fullgraph=True)
    for keep in ("first", "partner"):
        torch.testing.assert_close(compiled(maps, PERM, lam, keep), align_mix(maps, PERM, lam, keep))


@pytest.mark.parametrize("keep", ["first", "partner"])
def test_channels_last_memory_is_kept_and_gives_the_same_result(keep):
    maps, lam = features(scale=0.15), torch.tensor([0.2, 0.5, 0.9])
    mixed = align_mix(maps.to(memory_format=torch.channels_last), PERM, lam, keep)
    torch.testing.assert_close(mixed, align_mix(maps, PERM, lam, keep))
    assert mixed.is_contiguous(memory_format=torch.channels_last)


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        (
            {"features": torch.zeros(3, 4)},
            ValueError,
            r"features must have shape \(B, C, \*positions\), got \(3, 4\)",
        ),
        (
            {"features": torch.zeros(2, 4, 2, 2)},
            ValueError,
            r"features of shape \(2, 4, 2, 2\) does not match perm",
        ),
        (
            {"features": torch.zeros(3, 4, 2, 2).long()},
            TypeError,
            "features must be floating point, got torch.int64",
        ),
        ({"keep": "own"}, ValueError, "keep must be 'first' or 'partner', got 'own'"),
        ({"epsilon": 0.0}, ValueError, "epsilon"),
        ({"iterations": 0}, ValueError, "iterations"),
        ({"tolerance": -1.0}, ValueError, "tolerance"),
        ({"solver": "magic"}, ValueError, "solver"),
    ],
)
def test_bad_arguments_are_refused(change, error, message):
    arguments = {"features": features(), "perm": PERM, "lam": torch.ones(3), **change}
    with pytest.raises(error, match=message):
        align_mix(**arguments)


def test_align_names_the_shapes_that_do_not_fit():
    with pytest.raises(ValueError, match=r"\(B, r, s\) with B = 1, r = 4, s = 6, got \(1, 6, 4\)"):
        align(torch.zeros(1, 3, 4), torch.zeros(1, 3, 6), torch.zeros(1, 6, 4))


def test_pooling_and_a_linear_head_cannot_tell_alignment_from_manifold_mixup():
    """The published network: logits and gradients are those of mixup of the pooled features."""
    head = nn.Linear(16, 5).double()
    maps = features(scale=0.5, dtype=torch.float64).requires_grad_()
    lam = torch.tensor([0.2, 0.5, 0.9], dtype=torch.float64)
    aligned = head(align_mix(maps, PERM, lam, "first").mean((2, 3)))
    pooled = head(mixup(maps.mean((2, 3)), PERM, lam))
    torch.testing.assert_close(aligned, pooled, atol=1e-9, rtol=0)
    weights = torch.randn(3, 5, dtype=torch.float64)
    torch.testing.assert_close(
        torch.autograd.grad((aligned * weights).sum(), maps)[0],
        torch.autograd.grad((pooled * weights).sum(), maps)[0],
        atol=1e-9,
        rtol=0,
    )


@pytest.mark.filterwarnings("ignore:`torch.jit.script` is:FutureWarning")  # of torch's own forward mode
@pytest.mark.parametrize("keep", ["first", "partner"])
@pytest.mark.parametrize("back", [False, True])
@pytest.mark.parametrize("perm", [[1, 2, 0], [1, 1, 0]])
def test_derivatives_by_maps_and_lambda_of_every_order_and_mode(keep, back, perm):
    maps = features(channels=2, size=2, dtype=torch.float64).flatten(2).requires_grad_()
    lam = torch.tensor([0.3, 0.6, 0.9], dtype=torch.float64, requires_grad=True)
    assignment = torch.rand(3, 4, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(0))

    def mix(maps, lam):
        return alignment._WithTangents.apply(maps, torch.tensor(perm), lam, assignment, keep, back)

    assert torch.autograd.gradcheck(mix, (maps, lam), check_forward_ad=True)
    assert torch.autograd.gradgradcheck(mix, (maps, lam))


@pytest.mark.parametrize("keep", ["first", "partner"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
@pytest.mark.parametrize("size", [2, 5])
def test_lambda_has_a_gradient(keep, dtype, size):
    maps = features(scale=0.3, channels=3, size=size, dtype=dtype)
    lam = torch.tensor([0.3, 0.6, 0.9], requires_grad=True)
    upstream = torch.randn(maps.shape, generator=torch.Generator().manual_seed(0))

    def value(lam):
        return (align_mix(maps, PERM, lam, keep, max_positions=9).float() * upstream).flatten(1).sum(1)

    (found,) = torch.autograd.grad(value(lam).sum(), lam)
    difference = (value(torch.ones(3)) - value(torch.zeros(3))).detach()  # it is linear
    torch.testing.assert_close(found, difference, atol=0.1 if dtype == torch.bfloat16 else 1e-4, rtol=1e-3)


@pytest.mark.filterwarnings("ignore:`torch.jit.script` is:FutureWarning")  # of torch's own forward mode
@pytest.mark.parametrize("keep", ["first", "partner"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("max_positions", [None, 4])
def test_transforms_of_torch_func(keep, dtype, max_positions):
    maps, lam = features(scale=0.3, channels=3, size=3, dtype=dtype), torch.tensor([0.2, 0.5, 0.9], dtype=dtype)

    def mix(maps, perm, lam):
        return align_mix(maps, perm, lam, keep, max_positions=max_positions)

    def loss(maps, perm, lam):
        return mix(maps, perm, lam).pow(3).sum()

    several = {
        0: torch.stack([maps, maps.flip(0)]),
        1: torch.stack([PERM, PERM.flip(0)]),
        2: torch.stack([lam, lam / 2]),
    }
    for place, values in several.items():
        given = [maps, PERM, lam]
        dims = tuple(0 if i == place else None for i in range(3))
        alone = [mix(*[value if i == place else given[i] for i in range(3)]) for value in values]
        given[place] = values
        torch.testing.assert_close(torch.func.vmap(mix, dims)(*given), torch.stack(alone), atol=1e-5, rtol=1e-4)
    leaves = maps.clone().requires_grad_(), lam.clone().requires_grad_()
    expected = torch.autograd.grad(loss(leaves[0], PERM, leaves[1]), leaves)
    found = torch.func.grad(loss, (0, 2))(maps, PERM, lam)
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-4)
    _, tangent = torch.func.jvp(lambda lam: loss(maps, PERM, lam), (lam,), (torch.ones_like(lam),))
    torch.testing.assert_close(tangent, expected[1].sum(), atol=1e-5, rtol=1e-4)
    per_batch = torch.func.vmap(torch.func.grad(loss), (0, None, None))(several[0], PERM, lam)
    torch.testing.assert_close(per_batch[0], expected[0], atol=1e-5, rtol=1e-4)


# Any number of position axes, and coarse to fine


@pytest.mark.parametrize("positions", [(12,), (3, 4), (2, 3, 2), (1, 12), (2, 1, 3, 2)])
def test_the_shape_of_the_grid_does_not_matter(positions):
    flat, lam = features(scale=0.3, channels=3, size=4).flatten(2)[..., :12], torch.tensor([0.2, 0.5, 0.9])
    mixed = align_mix(flat.reshape(3, 3, *positions), PERM, lam)
    assert mixed.shape == (3, 3, *positions)
    torch.testing.assert_close(mixed.flatten(2), align_mix(flat, PERM, lam))


@pytest.mark.parametrize("keep", ["first", "partner"])
def test_at_the_bound_every_position_is_aligned_by_itself(keep):
    maps, lam = features(scale=0.3), torch.tensor([0.2, 0.5, 0.9])
    exact = align_mix(maps, PERM, lam, keep, max_positions=None)
    assert torch.equal(align_mix(maps, PERM, lam, keep, max_positions=16), exact)
    assert not torch.equal(align_mix(maps, PERM, lam, keep, max_positions=15), exact)


@pytest.mark.parametrize("positions", [(6, 6), (7, 5), (9, 4), (13,), (30, 2), (3, 4, 5)])
@pytest.mark.parametrize("keep", ["first", "partner"])
def test_cells_average_with_convex_weights_that_use_every_position_alike(positions, keep):
    """The assignment of all positions, read off by mixing unit vectors of the positions of one map."""
    count = torch.Size(positions).numel()
    maps = torch.randn(2, count, *positions, generator=torch.Generator().manual_seed(0))
    # the plan is that of the random maps; unit vectors added to them show where positions go
    perm, lam = torch.tensor([1, 0]), torch.full((2,), 0.0 if keep == "first" else 1.0)
    leaf = maps.clone().requires_grad_()
    mixed = align_mix(leaf, perm, lam, keep, max_positions=8, normalize_cost=True)
    weights = torch.stack(
        [
            torch.autograd.grad(one.sum(), leaf, retain_graph=True)[0][:, 0].flatten(1).sum(0)
            for one in mixed[0, 0].flatten()
        ]
    )
    assert weights.shape == (count, count)
    assert weights.min() >= 0
    torch.testing.assert_close(weights.sum(1), torch.ones(count), atol=2e-3, rtol=0)
    torch.testing.assert_close(weights.sum(0), torch.ones(count), atol=2e-3, rtol=0)


@pytest.mark.parametrize("positions", [(8, 8), (9, 7), (21,), (4, 5, 4)])
def test_cells_that_were_shuffled_are_put_back(positions):
    cells = cells_of(positions, 16)
    covered = cells.covered(positions)
    maps = 3 * torch.randn(2, 8, *positions, generator=torch.Generator().manual_seed(0))
    content = cells.split(maps[:1][covered])
    maps[1] = maps[0]
    maps[1:][covered] = cells.join(content[:, :, torch.randperm(cells.number)], 8)
    back = align_mix(maps, torch.tensor([1, 0]), torch.zeros(2), max_positions=16)
    torch.testing.assert_close(back[0], maps[0], atol=1e-3, rtol=0)


def test_an_image_aligned_with_itself_stays_as_it_is():
    maps = 3 * torch.randn(1, 16, 11, 9, generator=torch.Generator().manual_seed(0))
    mixed = align_mix(maps, torch.tensor([0]), torch.tensor([0.3]), max_positions=12)
    torch.testing.assert_close(mixed, maps, atol=1e-4, rtol=0)


def test_large_maps_keep_memory_format_gradients_and_compile():
    maps = features(scale=0.3, channels=3, size=7).to(memory_format=torch.channels_last)
    lam = torch.tensor([0.2, 0.5, 0.9])
    mixed = align_mix(maps, PERM, lam, max_positions=9)
    assert mixed.is_contiguous(memory_format=torch.channels_last)
    torch.testing.assert_close(mixed.mean((2, 3)), mixup(maps, PERM, lam).mean((2, 3)), atol=1e-5, rtol=0)
    compiled = torch.compile(lambda maps: align_mix(maps, PERM, lam, max_positions=9), backend="eager", fullgraph=True)
    torch.testing.assert_close(compiled(maps), mixed, atol=1e-3, rtol=1e-3)


def test_a_bound_that_is_none():
    with pytest.raises(ValueError, match="max_positions must be a whole number >= 1, got 0"):
        align_mix(features(), PERM, torch.ones(3), max_positions=0)


@pytest.mark.parametrize("dtype", [torch.bool, torch.int64, torch.uint8])
def test_other_values_must_be_floating_point(dtype):
    with pytest.raises(TypeError, match="values must be floating point"):
        align_mix(torch.rand(2, 3, 2, 2), torch.tensor([1, 0]), 0.5, values=torch.ones(2, 1, 2, 2, dtype=dtype))


@pytest.mark.parametrize("shape", [(2, 1, 4, 1), (2, 1, 4, 4), (3, 1, 2, 2), (2, 1, 4)])
def test_other_values_must_have_the_features_positions(shape):
    with pytest.raises(ValueError, match="values must have"):
        align_mix(torch.rand(2, 3, 2, 2), torch.tensor([1, 0]), 0.5, values=torch.rand(shape))
