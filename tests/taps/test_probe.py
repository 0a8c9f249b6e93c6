"""Cuts are found by trying, whatever the network is made of."""

import pytest
import torch
import torchvision
from torch import nn
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint

from alignmixup.taps import Inputs, NotCallableError, Probe, Run, feature_maps, layer_use, probe


def conv_net(*tail):
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.ReLU(), nn.Conv2d(8, 6, 3, padding=1), *tail)


def end():
    return nn.Flatten(), nn.Linear(6, 4)


def pool():
    return nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(6, 4)


X = torch.randn(3, 3, 8, 8)


class Net(nn.Module):
    """Modules by name, and a forward that is given."""

    def __init__(self, run, **modules):
        super().__init__()
        self.run = run
        for name, module in modules.items():
            setattr(self, name, module)

    def forward(self, *args, **kwargs):
        return self.run(self, *args, **kwargs)


def conv(a=3, b=8):
    return nn.Conv2d(a, b, 3, padding=1)


def head(net, x):
    return net.fc(x.mean((2, 3)))


def residual(net, x):
    x = net.stem(x)
    return head(net, x + net.branch(x))


def skip_around(net, x):  # a U-Net: what the encoder saw goes past the bottleneck
    low = net.stem(x)
    high = net.inner(F.max_pool2d(low, 2))
    return head(net, net.out(torch.cat([low, F.interpolate(high, scale_factor=2.0)], 1)))


def in_place(net, x):
    return head(net, F.relu_(net.norm(net.stem(x)).mul_(2.0)))


def tuple_midway(net, x):
    a, b = net.split(x)
    return head(net, torch.cat([a, b], 1))


class Split(nn.Module):
    def __init__(self):
        super().__init__()
        self.a, self.b = conv(3, 4), conv(3, 4)

    def forward(self, x):
        return self.a(x), self.b(x)


def twice(net, x):
    return head(net, net.act(net.second(net.act(net.stem(x)))))


def checkpointed(net, x):
    for layer in net.stage:
        x = checkpoint(layer, x, use_reentrant=False)
    return head(net, x)


CUTS = {
    "residual": (residual, {"stem": conv(), "branch": conv(8, 8)}, {"stem": True, "branch": False}),
    "skip": (
        skip_around,
        {"stem": conv(), "inner": conv(8, 8), "out": conv(16, 8)},
        {"stem": True, "inner": False, "out": True},
    ),
    "in place": (in_place, {"stem": conv(), "norm": nn.BatchNorm2d(8)}, {"stem": True, "norm": True}),
    "branches": (tuple_midway, {"split": Split()}, {"split": True, "split.a": False, "split.b": False}),
    "twice": (twice, {"stem": conv(), "act": nn.ReLU(), "second": conv(8, 8)}, {"stem": True, "second": True}),
    "checkpoint": (checkpointed, {"stage": nn.Sequential(conv(), nn.ReLU(), conv(8, 8))}, {"stage.2": True}),
}


@pytest.mark.parametrize("kind", CUTS)
def test_cuts_are_told_from_the_rest(kind):
    torch.manual_seed(0)
    run, modules, expected = CUTS[kind]
    found = probe(Net(run, **modules, fc=nn.Linear(8, 5)).train(), X)
    assert {name: found.is_cut(name) for name in expected} == expected
    for name, is_cut in expected.items():
        assert (abs(found.share(name) - 1) < 1e-3) == is_cut
    assert found.is_cut(found.last())
    assert all(found.is_cut(name) for name in found.early())


@pytest.mark.parametrize("container", [tuple, list, lambda heads: dict(zip(("main", "other"), heads, strict=True))])
def test_heads_that_exist_in_training_only_count(container):
    def run(net, x):
        early = net.early(x)
        main = net.head(net.late(early).mean((2, 3)))
        return container([main, net.other(early.mean((2, 3)))]) if net.training else main

    modules = {"early": nn.Conv2d(3, 6, 3), "late": nn.Conv2d(6, 6, 3), "head": nn.Linear(6, 4)}
    net = Net(run, **modules, other=nn.Linear(6, 4)).train()
    found = probe(net, X)
    assert found.last() == "early"
    assert not found.is_cut("late")
    assert found.share("late") < 0.9
    assert probe(net.eval(), X).last() == "late"
    assert not net.training


def test_modules_that_run_twice_or_never_are_no_candidates():
    found = probe(Net(twice, stem=conv(), act=nn.ReLU(), second=conv(8, 8), fc=nn.Linear(8, 5)), X)
    assert found.run.calls["act"] == 2
    assert "act" not in [layer.name for layer in found.layers]
    found = probe(Net(checkpointed, stage=nn.Sequential(conv(), conv(8, 8)), fc=nn.Linear(8, 5)), X)
    assert found.run.calls["stage"] == 0
    assert found.nearest("stage") == ["stage.1", "stage.0"]


@pytest.mark.parametrize("hide", ["head", "gain", "tiny gain"])
def test_what_starts_at_zero_hides_nothing(hide):
    class Scaled(nn.Module):
        def __init__(self):
            super().__init__()
            self.stem, self.branch, self.fc = conv(), conv(8, 8), nn.Linear(8, 5)
            self.gain = nn.Parameter(torch.full((8, 1, 1), 1.0 if hide == "head" else 0.0 if hide == "gain" else 1e-6))
            if hide == "head":
                nn.init.zeros_(self.fc.weight)

        def forward(self, x):
            x = self.stem(x)
            return self.fc((self.branch.forward(x) * self.gain + F.relu(self.short(x))).mean((2, 3)))

        def short(self, x):
            return self.skip(x)

    model = Scaled()
    model.skip = nn.Identity()
    found = probe(model, X)
    assert found.is_cut("stem")
    assert not found.is_cut("skip")  # at the start all that counts goes through it


@pytest.mark.parametrize("steps", [0, 3])
@pytest.mark.parametrize(
    "noise",
    [
        nn.Dropout(0.5),
        nn.BatchNorm2d(8),
        nn.BatchNorm2d(8, track_running_stats=False),
        Net(lambda net, x: F.dropout(x, 0.5)),
        Net(lambda net, x: x * (torch.rand(len(x), 1, 1, 1) < 0.8) if net.training else x),
    ],
)
def test_randomness_and_batch_statistics_do_not_spoil_the_proof(noise, steps):
    torch.manual_seed(0)
    model = nn.Sequential(conv(), noise, conv(8, 6), *pool()).train()
    for _ in range(steps):
        model(torch.randn(4, 3, 8, 8))
    found = probe(model, X)
    assert all(found.is_cut(name) for name in ("0", "1", "2"))


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16, torch.float16])
def test_every_precision_is_proved(dtype):
    found = probe(conv_net(nn.ReLU(), *pool()).to(dtype), X.to(dtype))
    assert [found.is_cut(layer.name) for layer in found.layers] == [True] * 4


@pytest.mark.parametrize("size", [1, 2, 5])
def test_every_batch_size_is_proved(size):
    for x in (torch.randn(size, 3, 9, 7), torch.zeros(size, 3, 9, 7)):
        assert probe(conv_net(*pool()), x).is_cut("0")


@pytest.mark.parametrize(("batch", "most"), [(1, 16), (4, 16), (12, 24), (64, 32)])
def test_a_look_needs_no_more_memory_than_training(batch, most):
    sizes = []
    blocks = [part for _ in range(15) for part in (nn.Conv2d(3, 3, 3, padding=1), nn.BatchNorm2d(3))]
    net = nn.Sequential(*blocks, nn.Flatten(), nn.Linear(3 * 64, 5))
    net.register_forward_pre_hook(lambda module, args: sizes.append(len(args[0])))
    found = probe(net, torch.randn(batch, 3, 8, 8))
    found.last()
    found.early()
    found.nearest("3")
    assert max(sizes) <= most


@pytest.mark.parametrize("name", ["resnet18", "mobilenet_v2", "densenet121", "vit"])
def test_a_search_takes_less_than_three_batches_of_rows(name):
    torch.manual_seed(0)
    if name == "vit":  # the last block is read through its class token alone
        net = torchvision.models.VisionTransformer(
            image_size=32, patch_size=8, num_layers=8, num_heads=2, hidden_dim=16, mlp_dim=16, num_classes=4
        )
    else:
        net = torchvision.models.get_model(name, weights=None, num_classes=4)
    rows = []
    net.register_forward_pre_hook(lambda module, args: rows.append(len(args[0])))
    probe(net.train(), torch.randn(32, 3, 32, 32)).last()
    assert sum(rows) < 3 * 32


def test_channels_last_memory_changes_nothing():
    model = conv_net(*pool()).to(memory_format=torch.channels_last)
    found = probe(model, X.contiguous(memory_format=torch.channels_last))
    assert found.last() == "2"
    assert all(form.layout == "channels_first" for layer in found.layers for form in layer.forms)


@pytest.mark.parametrize(
    ("call", "inputs"),
    [
        (lambda net, x, meta: head(net, net.stem(x)) + meta, Inputs((X, torch.randn(3, 5)), {}, 3)),
        (lambda net, x, *, scale: head(net, net.stem(x)) * scale, Inputs((X,), {"scale": 2.0}, 3)),
        (lambda net, xs: head(net, net.stem(torch.stack(xs))), Inputs((list(X),), {}, 3)),
        (lambda net, batch: head(net, net.stem(batch["image"])), Inputs(({"image": X},), {}, 3)),
        (lambda net, x: {"logits": head(net, net.stem(x)), "loss": torch.tensor(1.0)}, Inputs((X,), {}, 3)),
        (lambda net, x: (net.stem(x).mean((2, 3)), head(net, net.stem.forward(x))), Inputs((X,), {}, 3)),
    ],
)
def test_any_signature_and_any_output(call, inputs):
    found = Probe(Run(Net(call, stem=conv(), fc=nn.Linear(8, 5)), inputs))
    assert found.run.calls["stem"] == 1
    assert found.share("stem") <= 1.001


def test_a_model_that_cannot_be_called_says_so():
    with pytest.raises(NotCallableError, match="TypeError"):
        probe(Net(lambda net, x, meta: x, stem=conv()), X)


def test_a_model_that_ignores_its_images_proves_nothing():
    with pytest.raises(ValueError, match="the same finite logits for two different images"):
        probe(Net(lambda net, x: net.fc(torch.ones(len(x), 8)), fc=nn.Linear(8, 5)), X)


def test_probe_lists_layers_with_positions_in_order():
    found = probe(conv_net(*pool()), X)
    assert [(layer.name, layer.shape) for layer in found.layers] == [
        ("0", (2, 8, 8, 8)),
        ("1", (2, 8, 8, 8)),
        ("2", (2, 6, 8, 8)),
    ]
    assert found.last() == "2"


def test_a_share_that_is_refused_is_never_written_as_that_of_a_cut():
    class Short(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv, self.head, self.short = nn.Conv2d(3, 8, 3), nn.Linear(8 * 36, 5), nn.Linear(3, 5)

        def forward(self, x):
            return self.head(self.conv(x).flatten(1)) + 0.01 * self.short(x.mean((2, 3)))

    torch.manual_seed(0)
    with pytest.raises(ValueError, match=r"the best, 'conv', carries (?!1\.000 )\d\.\d{3,6} of the logits"):
        probe(Short(), X).last()


def test_a_model_without_positions_is_refused():
    with pytest.raises(ValueError, match=r"no layer of Sequential has an output with several positions"):
        probe(nn.Sequential(nn.Flatten(), nn.Linear(192, 4)), X).last()


@pytest.mark.parametrize(
    ("tail", "layer", "expected"),
    [
        (pool(), "2", "mean"),
        (pool(), "0", "positions"),
        ((nn.ReLU(), *pool()), "2", "positions"),
        ((nn.Conv2d(6, 6, 1), *pool()), "2", "mean"),
        ((nn.Flatten(), nn.Linear(384, 4)), "2", "positions"),
    ],
)
def test_layer_use_tells_what_the_classifier_reads(tail, layer, expected):
    assert layer_use(conv_net(*tail), X, layer) == expected


def test_a_branch_that_is_thrown_away_is_read_by_nothing():
    def discard(net, x):
        net.unused(x)
        return head(net, net.used(x))

    assert layer_use(Net(discard, used=conv(), unused=conv(), fc=nn.Linear(8, 5)), X, "unused") == "nothing"


@pytest.mark.parametrize(
    ("make", "x", "last", "early"),
    [
        (lambda: torchvision.models.resnet18(num_classes=4), (2, 3, 64, 64), "layer4", ("layer1", "layer2")),
        (
            lambda: nn.Sequential(nn.Conv1d(2, 6, 5), nn.BatchNorm1d(6), nn.ReLU(), nn.AdaptiveAvgPool1d(1), *end()),
            (2, 2, 50),
            "2",
            None,
        ),
        (
            lambda: nn.Sequential(nn.Conv3d(1, 6, 3), nn.ReLU(), nn.AdaptiveAvgPool3d(1), *end()),
            (2, 1, 8, 9, 7),
            "1",
            None,
        ),
    ],
)
def test_layers_of_maps_of_any_rank(make, x, last, early):
    torch.manual_seed(0)
    found = probe(make(), torch.randn(x))
    assert found.last() == last
    assert all(layer.forms[0].layout == "channels_first" for layer in found.layers)
    if early is not None:
        assert found.early() == early


def test_a_class_token_is_carried_up_to_the_last_block():
    torch.manual_seed(0)
    net = torchvision.models.VisionTransformer(
        image_size=32, patch_size=8, num_layers=4, num_heads=2, hidden_dim=16, mlp_dim=16, num_classes=4
    )
    assert not net.heads.head.weight.any()  # torchvision starts heads at zero: the output shows nothing
    found = probe(net, torch.randn(2, 3, 32, 32))
    prefix = "encoder.layers.encoder_layer_"
    assert all(found.is_cut(f"{prefix}{k}") for k in range(4))
    assert [found.use(f"{prefix}{k}") for k in (0, 2, 3)] == ["positions", "positions", "nothing"]
    assert found.last() == f"{prefix}2"
    assert found.early() == (f"{prefix}0", f"{prefix}1")
    assert found.run.find(f"{prefix}2").forms[0].extra == (0,)


def test_feature_maps_come_in_the_order_of_the_network():
    net = conv_net(*pool())
    flags = [module.training for module in net.modules()]
    maps = feature_maps(net, X, ["2", "0"])
    assert list(maps) == ["0", "2"]
    torch.testing.assert_close(maps["0"], net[0](X))
    torch.testing.assert_close(maps["2"], net[2](net[0](X).relu()))
    assert not maps["2"].requires_grad
    assert [module.training for module in net.modules()] == flags
    assert not net[0]._forward_hooks


def test_feature_maps_are_those_before_an_in_place_operation():
    net = nn.Sequential(nn.Conv2d(3, 4, 1), nn.ReLU(inplace=True))
    torch.testing.assert_close(feature_maps(net, X, ["0"])["0"], net[0](X))


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
    net = Net(lambda net, x: net.used(x), used=conv(), spare=conv())
    with pytest.raises(ValueError, match="Net never runs layer 'spare': name another one"):
        feature_maps(net, X, ["used", "spare"])
