import pytest
import torch
from torch import nn

from alignmixup import AttentiveMix
from alignmixup.methods.attentivemix import most_attended
from alignmixup.models import PreActResNet18


class Bright(nn.Module):
    """Attends to what is bright, on a map of 4 x 4 positions."""

    def __init__(self):
        super().__init__()
        self.cells = nn.Conv2d(1, 2, 4, stride=4, bias=False)
        nn.init.ones_(self.cells.weight)
        self.head = nn.Linear(2, 3)

    def forward(self, x):
        return self.head(self.cells(x).mean((2, 3)))


def lit():
    """Images that are dark but for one cell, and the cell of each."""
    x, cells = torch.zeros(5, 1, 16, 16), [(0, 0), (1, 2), (3, 3), (2, 1), (0, 3)]
    for image, (row, column) in zip(x, cells, strict=True):
        image[:, 4 * row : 4 * row + 4, 4 * column : 4 * column + 4] = 1
    return x, torch.tensor([0, 1, 2, 0, 1]), cells


def test_the_partners_brightest_cell_is_pasted_where_it_stands():
    x, y, cells = lit()
    mixer = AttentiveMix(attention=Bright(), num_classes=3, share=1 / 16, seed=0)
    batch = mixer(x, y)
    for number, partner in enumerate(batch.perm.tolist()):
        row, column = cells[partner]
        pasted = torch.zeros(16, 16, dtype=torch.bool)
        pasted[4 * row : 4 * row + 4, 4 * column : 4 * column + 4] = True
        assert torch.equal(batch.mask()[number] == 0, pasted)
        assert torch.equal(batch.x[number], torch.where(pasted, x[partner], x[number]))
    torch.testing.assert_close(batch.lam, torch.full((5,), 15 / 16))


@pytest.mark.parametrize(("share", "number"), [(6 / 49, 6), (0.5, 24), (0.001, 1), (0.999, 49)])
def test_the_share_of_cells(share, number):
    maps = torch.randn(3, 7, 7)
    assert most_attended(maps, torch.full((3,), share), at_least=1).sum((1, 2)).tolist() == [number] * 3


def test_a_drawn_share_may_be_nothing_or_all():
    maps = torch.randn(3, 2, 3)
    marked = most_attended(maps, torch.tensor([0.0, 0.4, 1.0]), at_least=0)
    assert marked.sum((1, 2)).tolist() == [0, 2, 6]
    assert marked[1].flatten().nonzero().flatten().tolist() == sorted(maps[1].flatten().topk(2).indices.tolist())


def test_the_last_map_of_any_network_is_found_and_the_network_left_as_it_is():
    torch.manual_seed(0)
    net = PreActResNet18(5, width=4)
    before = {key: value.clone() for key, value in net.state_dict().items()}
    mixer = AttentiveMix(net, num_classes=5)
    batch = mixer(torch.randn(4, 3, 32, 32), torch.arange(4))
    assert mixer._layer in ("stage4", "norm")  # without a last norm, the same map
    assert all(module.training for module in net.modules())
    assert all(torch.equal(value, before[key]) for key, value in net.state_dict().items())
    torch.testing.assert_close(batch.lam, torch.full((4,), 14 / 16))  # round(6 / 49 * 16) of 4 x 4 cells


def test_cells_that_do_not_divide_the_image_count_their_pixels():
    mixer = AttentiveMix(attention=Bright(), num_classes=3, share=0.3)
    batch = mixer(torch.rand(5, 1, 23, 18), torch.tensor([0, 1, 2, 0, 1]))
    torch.testing.assert_close(batch.lam, batch.mask().mean((1, 2)))
    torch.testing.assert_close(
        batch.x != torch.where(batch.mask()[:, None] > 0, batch.x, -1), batch.mask()[:, None] == 0
    )


def test_half_precision_images_and_a_network_in_eval_mode():
    x, y, _ = lit()
    network = Bright().eval()
    batch = AttentiveMix(attention=network, num_classes=3, share=0.1)(x.bfloat16(), y)
    assert batch.x.dtype == torch.bfloat16
    assert batch.mixed
    assert not network.training


def test_what_it_needs():
    with pytest.raises(ValueError, match=r"needs a network that attends: the classifier, as AttentiveMix\(model"):
        AttentiveMix(num_classes=3)
    with pytest.raises(ValueError, match="Bright has no layer 'stage9'"):
        AttentiveMix(attention=Bright(), layer="stage9", num_classes=3)
    flat = nn.Sequential(nn.Flatten(), nn.Linear(256, 3))
    with pytest.raises(ValueError, match="no layer of Sequential has positions"):
        AttentiveMix(flat, num_classes=3)(*lit()[:2])
