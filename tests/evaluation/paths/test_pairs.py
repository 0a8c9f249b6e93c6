"""Who is paired with whom."""

import pytest
import torch

from alignmixup.evaluation.paths.pairs import draw_pairs

LABELS = torch.tensor([2, 0, 1, 1, 0, 2, 1, 5])


def draw(count, classes, *, labels=LABELS, seed=0):
    return draw_pairs(labels, count, classes=classes, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("classes", ["same", "different", "any"])
def test_every_allowed_pair_is_as_likely_and_no_other_occurs(classes):
    pairs = draw(40_000, classes)
    counts = torch.zeros(8, 8).index_put((pairs[:, 0], pairs[:, 1]), torch.ones(40_000), accumulate=True)
    same = LABELS[:, None] == LABELS[None]
    allowed = {"same": same, "different": ~same, "any": torch.ones_like(same)}[classes] & ~torch.eye(
        8, dtype=torch.bool
    )
    usable = allowed.any(1)
    expected = allowed.float() / allowed.sum(1, keepdim=True).clamp_min(1) * 40_000 / usable.sum()
    assert (counts[~allowed] == 0).all()
    assert ((counts - expected).abs() < 5 * expected.sqrt() + 1e-6).all()


def test_every_image_comes_first_once_before_one_comes_twice():
    assert draw(8, "any")[:, 0].sort().values.tolist() == list(range(8))
    assert draw(12, "any")[:, 0].bincount().tolist().count(2) == 4


def test_the_seed_decides():
    assert torch.equal(draw(20, "any"), draw(20, "any"))
    assert not torch.equal(draw(20, "any"), draw(20, "any", seed=1))


def test_bad_input():
    with pytest.raises(ValueError, match="must be >= 1, got 0"):
        draw(0, "any")
    with pytest.raises(ValueError, match="one of same, different, any, got 'equal'"):
        draw(1, "equal")
    with pytest.raises(ValueError, match="no two images of the same class among 2"):
        draw(1, "same", labels=torch.tensor([0, 1]))
    with pytest.raises(ValueError, match="no two images of different classes among 2"):
        draw(1, "different", labels=torch.tensor([1, 1]))
    with pytest.raises(ValueError, match="no two images at all among 1"):
        draw(1, "any", labels=torch.tensor([1]))
