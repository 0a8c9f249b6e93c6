import pytest
import torch
import torchvision
from torch import nn

from alignmixup.taps.probe import evaluating, feature_maps, layer_use, probe


def conv_net(*tail):
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.ReLU(), nn.Conv2d(8, 6, 3, padding=1), *tail)


POOL = (nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(6, 4))
X = torch.randn(3, 3, 8, 8)


def test_evaluating_restores_each_flag():
    net = conv_net(nn.Dropout())
    net.train()
    net[1].eval()
    with evaluating(net):
        assert not any(module.training for module in net.modules())
        assert not torch.is_grad_enabled()
    assert [m.training for m in net] == [True, False, True, True]


def test_probe_lists_layers_with_positions_in_order():
    found = probe(conv_net(*POOL), X)
    assert [(layer.name, layer.shape) for layer in found.layers] == [
        ("0", (2, 8, 8, 8)),
        ("1", (2, 8, 8, 8)),
        ("2", (2, 6, 8, 8)),
    ]
    assert found.last() == "2"


def test_probe_leaves_the_model_as_it_was():
    net = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU())
    before = {name: value.clone() for name, value in net.state_dict().items()}
    state = torch.get_rng_state()
    probe(net, X)
    layer_use(net, X, "0")
    assert all(torch.equal(value, before[name]) for name, value in net.state_dict().items())
    assert torch.equal(torch.get_rng_state(), state)
    assert not net[0]._forward_hooks
    assert net.training


def test_a_model_without_positions_is_refused():
    with pytest.raises(ValueError, match=r"no layer of Sequential has an output with several positions"):
        probe(nn.Sequential(nn.Flatten(), nn.Linear(192, 4)), X)


@pytest.mark.parametrize(
    ("tail", "layer", "expected"),
    [
        (POOL, "2", "mean"),
        (POOL, "0", "positions"),
        ((nn.ReLU(), *POOL), "2", "positions"),
        ((nn.Conv2d(6, 6, 1), *POOL), "2", "mean"),
        ((nn.Flatten(), nn.Linear(384, 4)), "2", "positions"),
    ],
)
def test_layer_use_tells_what_the_classifier_reads(tail, layer, expected):
    assert layer_use(conv_net(*tail), X, layer) == expected


def test_a_branch_that_is_thrown_away_is_read_by_nothing():
    class Discard(nn.Module):
        def __init__(self):
            super().__init__()
            self.used, self.unused = nn.Conv2d(3, 4, 1), nn.Conv2d(3, 4, 1)

        def forward(self, x):
            self.unused(x)
            return self.used(x).mean((2, 3))

    assert layer_use(Discard(), X, "unused") == "nothing"


def test_stages_of_a_residual_network():
    found = probe(torchvision.models.resnet18(num_classes=4), torch.randn(2, 3, 64, 64))
    assert found.last() == "layer4"
    assert found.early() == ("layer1", "layer2")


def test_blocks_of_a_vision_transformer():
    net = torchvision.models.VisionTransformer(
        image_size=32, patch_size=8, num_layers=4, num_heads=2, hidden_dim=16, mlp_dim=16, num_classes=4
    )
    assert not net.heads.head.weight.any()  # torchvision starts heads at zero: the output shows nothing
    x = torch.randn(2, 3, 32, 32)
    found = probe(net, x)
    prefix = "encoder.layers.encoder_layer_"
    assert found.prefix_tokens == 1
    assert found.last() == f"{prefix}1"
    assert found.early() == (f"{prefix}0", f"{prefix}1")
    assert layer_use(net, x, f"{prefix}3") == "nothing"
    assert layer_use(net, x, f"{prefix}1") == "positions"


def test_feature_maps_come_in_the_order_of_the_network():
    net = conv_net(*POOL)
    flags = [module.training for module in net.modules()]
    maps = feature_maps(net, X, ["2", "0"])
    assert list(maps) == ["0", "2"]
    torch.testing.assert_close(maps["0"], net[0](X))
    torch.testing.assert_close(maps["2"], net[2](net[0](X).relu()))
    assert not maps["2"].requires_grad
    assert [module.training for module in net.modules()] == flags
    assert not net[0]._forward_hooks


def test_feature_maps_are_shown_channels_first_and_without_class_tokens():
    torch.manual_seed(0)
    vit = torchvision.models.VisionTransformer(
        image_size=16, patch_size=4, num_layers=2, num_heads=2, hidden_dim=8, mlp_dim=8, num_classes=5
    )
    name = "encoder.layers.encoder_layer_0"
    tokens = []
    vit.get_submodule(name).register_forward_hook(lambda _, args, output: tokens.append(output))
    features = feature_maps(vit, torch.randn(3, 3, 16, 16), [name])[name]
    torch.testing.assert_close(features.flatten(2).transpose(1, 2), tokens[0][:, 1:])


def test_a_layer_that_never_runs_is_named():
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.used, self.spare = nn.Conv2d(3, 4, 3), nn.Conv2d(3, 4, 3)

        def forward(self, x):
            return self.used(x)

    with pytest.raises(ValueError, match="Net never runs layer 'spare': name another one"):
        feature_maps(Net(), X, ["used", "spare"])
