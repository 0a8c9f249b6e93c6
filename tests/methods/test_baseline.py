import torch

from alignmixup import Baseline


def test_nothing_is_mixed():
    x, y = torch.rand(3, 2), torch.tensor([0, 1, 1])
    mixed = Baseline(num_classes=2)(x, y)
    assert mixed.x is x
    assert mixed.draw is None
    assert mixed.target.tolist() == [[1.0, 0.0], [0.0, 1.0], [0.0, 1.0]]
