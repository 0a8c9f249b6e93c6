import torch
from torch import nn

from alignmixup.taps import Attachment, LayerMix
from alignmixup.taps.kept import KeptMap, keep_map


def test_the_map_is_the_layers_own_though_what_follows_works_in_place():
    net = nn.Sequential(nn.Conv2d(3, 4, 1), nn.ReLU(inplace=True))
    x, seen = torch.randn(2, 3, 4, 4), KeptMap()
    tap = Attachment(net, ("0",))
    hidden = {"0": LayerMix(lambda features: keep_map(features, seen=seen, then=None))}
    tap.push(hidden)
    net(x)
    tap.pop(hidden, check=True)
    torch.testing.assert_close(seen.unchanged(), net[0](x))
    assert (seen.unchanged() < 0).any()
    seen.unchanged().sum().backward()
    assert net[0].weight.grad.abs().sum() > 0


def test_a_map_that_nobody_changes_is_not_exchanged():
    seen, features = KeptMap(), torch.randn(2, 3, 4, 4)
    assert keep_map(features, seen=seen, then=None) is features
    assert seen.unchanged() is features
    doubled = keep_map(features, seen=seen, then=lambda maps: 2 * maps)
    assert torch.equal(doubled, 2 * features)
    assert seen.unchanged() is features
