from itertools import product

import maxflow
import numpy as np
import pytest
import torch

from alignmixup.functional import comixup_masks
from alignmixup.functional.comixup import rounds as comixup_rounds
from alignmixup.functional.comixup.potts import PottsSolver
from alignmixup.functional.comixup.rounds import HalfLabels


def edges(height, width):
    index = np.arange(height * width).reshape(height, width)
    down = np.stack([index[:-1].ravel(), index[1:].ravel()], 1)
    return np.concatenate([down, np.stack([index[:, :-1].ravel(), index[:, 1:].ravel()], 1)])


def energies(unary, similarity, labels, weight, height, width):
    """Energy (N,) of labellings (N, r), in float64."""
    ends = edges(height, width)
    unary, price = unary.astype(np.float64), weight * (1 - similarity.astype(np.float64))
    own = unary[np.arange(labels.shape[1]), labels].sum(1)
    return own + price[labels[:, ends[:, 0]], labels[:, ends[:, 1]]].sum(1)


def swap(unary, similarity, weight, height, width):
    """Alpha-beta swap from label 0, pairs in the order of the published solver, one minimum cut each."""
    labels = np.zeros(len(unary), dtype=int)
    price = weight * (1 - similarity.astype(np.float64))
    near = [[] for _ in labels]
    for one, other in edges(height, width):
        near[one].append(other)
        near[other].append(one)
    before = np.inf
    while (now := energies(unary, similarity, labels[None], weight, height, width)[0]) < before - 1e-12:
        before = now
        for a in range(unary.shape[1]):
            for b in range(unary.shape[1] - 1, a, -1):
                labels = cut(unary, price, near, labels, a, b)
    return labels


def cut(unary, price, near, labels, a, b):
    """Give each block that has label a or b the better of the two, all together."""
    members = np.flatnonzero((labels == a) | (labels == b))
    if not len(members) or not np.isfinite(unary[members][:, [a, b]]).all():
        return labels
    graph = maxflow.GraphFloat()
    graph.add_nodes(len(members))
    node = {block: i for i, block in enumerate(members)}
    for block, i in node.items():
        outside = [labels[other] for other in near[block] if other not in node]
        costs = [unary[block, label] + price[label, outside].sum() for label in (a, b)]
        graph.add_tedge(i, costs[1] - min(costs), costs[0] - min(costs))
        for other in near[block]:
            if node.get(other, -1) > i:
                graph.add_edge(i, node[other], price[a, b], price[a, b])
    graph.maxflow()
    labels = labels.copy()
    labels[members] = [a if graph.get_segment(i) == 0 else b for i in range(len(members))]
    return labels


def solve(unary, similarity, weight, height, width):
    return PottsSolver(height, width, len(unary), weight, like=unary)(unary, similarity)


def problems(count, inputs, height, width, seed=0):
    """Problems as Co-Mixup meets them: peaked saliency, a charge on some inputs, half/half labels of the most used."""
    generator = torch.Generator().manual_seed(seed)
    place = torch.rand(count, inputs, 2, generator=generator) * torch.tensor([height - 1.0, width - 1.0])
    spread = 0.5 + torch.rand(count, inputs, generator=generator)
    rows, columns = torch.arange(float(height)), torch.arange(float(width))
    far = (rows[:, None] - place[..., :1, None]) ** 2 + (columns - place[..., 1:, None]) ** 2
    saliency = (-far / spread[..., None, None] ** 2).exp() + torch.rand(
        count, inputs, height, width, generator=generator
    )
    saliency = saliency.flatten(2) / saliency.sum((2, 3))[..., None]
    charge = 2.0 * (torch.rand(count, inputs, generator=generator) < 0.4)
    counts = torch.randint(0, 4, (count, inputs), generator=generator).float()
    labels = HalfLabels(torch.eye(inputs).expand(count, -1, -1))
    prices, similarity, _ = labels((charge[..., None] - saliency).mT.contiguous(), counts)
    return prices, similarity


def test_two_blocks_by_hand():
    # apart: 0 + 0 + 0.5; both with label 0: 0 + 0.4; both with label 1: 0.6 + 0
    unary = torch.tensor([[[0.0, 0.6], [0.4, 0.0]]])
    eye = torch.eye(2)[None]
    assert solve(unary, eye, 0.5, 1, 2).tolist() == [[0, 0]]
    assert solve(unary, eye, 0.3, 1, 2).tolist() == [[0, 1]]


@pytest.mark.parametrize(("height", "width"), [(2, 2), (2, 3), (1, 5)])
def test_close_to_the_optimum_of_all_labellings(height, width):
    unary, similarity = problems(60, 3, height, width)
    weight = 0.32 / (height * width)
    found = solve(unary, similarity, weight, height, width).numpy()
    every = np.array(list(product(range(unary.shape[2]), repeat=height * width)))
    gaps = []
    for u, s, labels in zip(unary.numpy(), similarity.numpy(), found, strict=True):
        best = energies(u, s, every, weight, height, width).min()
        gaps.append(energies(u, s, labels[None], weight, height, width)[0] - best)
    assert min(gaps) > -1e-6
    assert np.mean(np.array(gaps) < 1e-6) > 0.9
    assert np.mean(gaps) < 2e-3


@pytest.mark.parametrize(("side", "inputs"), [(4, 8), (4, 20), (8, 6)])
def test_no_worse_than_alpha_beta_swap(side, inputs):
    unary, similarity = problems(12, inputs, side, side, seed=side)
    weight = 0.32 / side**2
    found = solve(unary, similarity, weight, side, side).numpy()
    ours, theirs = [], []
    for u, s, labels in zip(unary.numpy(), similarity.numpy(), found, strict=True):
        swapped = swap(u, s, weight, side, side)
        ours.append(energies(u, s, labels[None], weight, side, side)[0])
        theirs.append(energies(u, s, swapped[None], weight, side, side)[0])
    assert np.mean(ours) <= np.mean(theirs) + 1e-3 * abs(np.mean(theirs))


@pytest.mark.parametrize("name", ["s64_n6_b4_grad", "s32_n8_b8_blob"])
def test_with_alpha_beta_swap_the_published_labelling_comes_out(golden, monkeypatch, name):
    arrays = golden(f"comixup_{name}")

    class Swap(PottsSolver):
        def __init__(self, height, width, groups, weight, *, like):
            super().__init__(height, width, groups, weight, like=like)
            self.grid, self.weight = (height, width), weight

        def __call__(self, unary, similarity):
            return torch.stack([self.one(u, s) for u, s in zip(unary, similarity, strict=True)])

        def one(self, unary, similarity):
            # the published solver orders the half/half labels by their members
            plain = len(arrays["alpha"])
            members = [tuple(np.flatnonzero(row[:plain])) for row in similarity.numpy()[plain:]]
            order = [
                *range(plain),
                *(plain + np.array(sorted(range(len(members)), key=members.__getitem__), dtype=int)),
            ]
            prices = unary.double().numpy()[:, order]
            labels = swap(prices, similarity.numpy()[order][:, order], self.weight, *self.grid)
            return torch.tensor(np.array(order)[labels])

    monkeypatch.setattr(comixup_rounds, "PottsSolver", Swap)
    masks = comixup_masks(
        -torch.from_numpy(arrays["cost_in"]).double(),
        torch.from_numpy(arrays["A_dist"]),
        prior=torch.from_numpy(arrays["alpha"]),
        start=torch.from_numpy(arrays["init_idx"]).long(),
        variant="as_released",
        safeguard=False,
    )
    assert torch.equal(masks.float(), torch.from_numpy(arrays["z"]))


def test_forbidden_labels_are_never_chosen():
    unary = torch.rand(5, 9, 4, generator=torch.Generator().manual_seed(0))
    unary[:, :, 2] = torch.inf
    labels = solve(unary, torch.eye(4).expand(5, -1, -1), 0.1, 3, 3)
    assert not bool((labels == 2).any())


def test_grids_are_solved_one_by_one():
    unary, similarity = problems(6, 5, 3, 4)
    together = solve(unary, similarity, 0.03, 3, 4)
    alone = [solve(unary[i : i + 1], similarity[i : i + 1], 0.03, 3, 4) for i in range(6)]
    assert torch.equal(together, torch.cat(alone))


@pytest.mark.parametrize(("height", "width"), [(1, 1), (1, 4), (3, 3)])
def test_equal_prices_give_one_label(height, width):
    unary = torch.zeros(2, height * width, 3)
    labels = solve(unary, torch.eye(3).expand(2, -1, -1), 0.1, height, width)
    assert bool((labels == labels[:, :1]).all())
