import pytest
import torch

from alignmixup.data.color import color_jitter, lighting

X = torch.tensor([0.2, 0.4, 0.6, 0.8, 0.1, 0.5]).view(1, 3, 1, 2)  # red .2 .4, green .6 .8, blue .1 .5


@pytest.mark.parametrize("kind", [0, 1, 2])
def test_each_step_by_hand(kind):
    amount = torch.zeros(1, 3)
    amount[0, kind] = 0.25
    grey = 0.299 * X[:, 0] + 0.587 * X[:, 1] + 0.114 * X[:, 2]
    target = [torch.zeros(1), grey.mean(), grey][kind]
    expected = X + 0.25 * (target - X)
    torch.testing.assert_close(color_jitter(X, amount, torch.tensor([[0, 1, 2]])), expected)


def test_order_is_that_of_each_image():
    x = torch.rand(2, 3, 4, 4, generator=torch.Generator().manual_seed(0))
    amount = torch.tensor([[0.3, -0.2, 0.4], [0.3, -0.2, 0.4]])
    order = torch.tensor([[2, 0, 1], [1, 2, 0]])
    together = color_jitter(x, amount, order)
    for i, steps in enumerate(order.tolist()):
        alone = x[i : i + 1]
        for kind in steps:
            single = torch.zeros(1, 3)
            single[0, kind] = amount[i, kind]
            alone = color_jitter(alone, single, torch.tensor([[0, 1, 2]]))
        torch.testing.assert_close(together[i : i + 1], alone)


def test_no_amount_changes_nothing():
    torch.testing.assert_close(color_jitter(X, torch.zeros(1, 3), torch.tensor([[1, 0, 2]])), X)


def test_lighting_by_hand():
    noise = torch.tensor([[0.1, 0.0, -0.2]])
    first, third = 0.1 * 0.2175, -0.2 * 0.0045
    shift = [
        -0.5675 * first + 0.4009 * third,
        -0.5808 * first - 0.8140 * third,
        -0.5836 * first + 0.4203 * third,
    ]
    torch.testing.assert_close(lighting(X, noise), X + torch.tensor(shift).view(1, 3, 1, 1))
