import pytest
import torch
from torch import nn

from alignmixup.models import PreActResNet18
from alignmixup.models.preact_resnet import PreActBlock, StridedPointwise


def multiply_adds(model: nn.Module, image_size: int) -> int:
    """Multiply-adds of the convolutions and the linear layer for one image, counted while it runs."""
    total = 0

    def count(module: nn.Module, _: object, output: torch.Tensor) -> None:
        nonlocal total
        if isinstance(module, nn.Conv2d):
            total += output[0].numel() * module.weight[0].numel()
        elif isinstance(module, nn.Linear):
            total += module.weight.numel()

    handles = [module.register_forward_hook(count) for module in model.modules()]
    with torch.no_grad():
        model.eval()(torch.zeros(1, 3, image_size, image_size))
    for handle in handles:
        handle.remove()
    return total


@pytest.mark.parametrize(
    ("variant", "stem_stride", "image_size", "giga"),
    [("A", 1, 32, 0.556), ("B", 1, 32, 0.556), ("A", 1, 64, 2.22), ("B", 2, 64, 0.556)],
)
def test_multiply_adds_are_the_published_ones(variant, stem_stride, image_size, giga):
    model = PreActResNet18(10, variant=variant, stem_stride=stem_stride)
    assert multiply_adds(model, image_size) / 1e9 == pytest.approx(giga, rel=2e-3)


def test_parameter_count_by_hand():
    convolutions = 27 * 64 + 9 * 64 * 64 * 4
    for small, large in ((64, 128), (128, 256), (256, 512)):
        convolutions += 9 * small * large + 3 * 9 * large * large + small * large
    norms = sum(2 * n for n in (64, 64, 64, 64, 64, 128, 128, 128, 128, 256, 256, 256, 256, 512, 512, 512))
    head = 512 * 10 + 10
    count = {v: sum(p.numel() for p in PreActResNet18(10, variant=v).parameters()) for v in ("A", "B")}
    assert count["B"] == convolutions + norms + head == 11_171_146
    assert count["A"] == count["B"] + 2 * 64  # the stem's BN


@pytest.mark.parametrize(("variant", "expected"), [("A", 0.0), ("B", -3.0)])
def test_identity_shortcut_carries_activated_tensor_in_a_and_raw_input_in_b(variant, expected):
    block = PreActBlock(4, 4, stride=1, variant=variant).eval()
    nn.init.zeros_(block.conv2.weight)  # the residual branch gives 0, the shortcut alone remains
    assert block.shortcut is None
    torch.testing.assert_close(block(torch.full((1, 4, 2, 2), -3.0)), torch.full((1, 4, 2, 2), expected))


@pytest.mark.parametrize("variant", ["A", "B"])
def test_projection_shortcut_starts_from_the_activated_tensor(variant):
    block = PreActBlock(4, 8, stride=2, variant=variant).eval()
    nn.init.zeros_(block.conv2.weight)
    assert block.shortcut is not None
    assert block.shortcut.weight.shape == (8, 4, 1, 1)
    torch.testing.assert_close(block(torch.full((1, 4, 4, 4), -3.0)), torch.zeros(1, 8, 2, 2))


def test_stem_and_norm_by_variant_and_option():
    a, b = PreActResNet18(10, width=4), PreActResNet18(10, width=4, variant="B", final_norm=True)
    assert [type(m) for m in a.stem] == [nn.Conv2d, nn.BatchNorm2d, nn.ReLU]
    assert isinstance(b.stem, nn.Conv2d)
    assert isinstance(a.norm, nn.Identity)
    assert [type(m) for m in b.norm] == [nn.BatchNorm2d, nn.ReLU]
    names = ["stem", "stage1", "stage2", "stage3", "stage4", "norm", "pool", "head"]
    assert [name for name, _ in a.named_children()] == [name for name, _ in b.named_children()] == names


def test_last_map_without_final_norm_is_raw_and_with_it_not_negative():
    torch.manual_seed(0)
    x = torch.randn(2, 3, 16, 16)
    for final_norm, negative in ((False, True), (True, False)):
        model = PreActResNet18(10, width=4, final_norm=final_norm)
        seen = []
        model.norm.register_forward_hook(lambda _module, _inputs, output, seen=seen: seen.append(output))
        model(x)
        assert bool((seen[0] < 0).any()) is negative


@pytest.mark.parametrize(
    ("size", "options", "side"),
    [
        (32, {}, 4),
        (64, {}, 8),
        (64, {"stem_stride": 2}, 4),
        (8, {"strides": (1, 2, 1, 1)}, 4),
        (8, {"strides": (1, 1, 2, 2)}, 2),
    ],
)
def test_last_map_size(size, options, side):
    model = PreActResNet18(7, width=4, in_channels=1, **options)
    seen = []
    model.stage4.register_forward_hook(lambda _module, _inputs, output: seen.append(output.shape))
    assert model(torch.zeros(2, 1, size, size)).shape == (2, 7)
    assert seen == [(2, 32, side, side)]


def test_starts_from_pytorch_defaults():
    torch.manual_seed(3)
    expected = nn.Conv2d(3, 8, 3, padding=1, bias=False).weight
    torch.manual_seed(3)
    torch.testing.assert_close(PreActResNet18(10, width=8, variant="B").stem.weight, expected)


def test_gradients_reach_every_parameter():
    model = PreActResNet18(5, width=4, final_norm=True)
    model(torch.randn(4, 3, 8, 8)).square().sum().backward()
    assert all(p.grad is not None and torch.isfinite(p.grad).all() for p in model.parameters())


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"variant": "C"}, 'variant must be "A" or "B", got \'C\''),
        ({"width": 0}, "width must be an integer >= 1, got 0"),
        ({"stem_stride": 1.5}, "stem_stride must be an integer >= 1, got 1.5"),
        ({"stem_stride": 100_000_000}, "stem_stride must be <= 4096, larger than any image, got 100000000"),
        ({"strides": (1, 2, 5000, 1)}, "strides must be <= 4096"),
        ({"in_channels": True}, "in_channels must be an integer >= 1, got True"),
        ({"strides": (1, 2)}, "strides must hold 4 numbers"),
        ({"strides": (1, 2, 0, 1)}, "strides must be an integer >= 1, got 0"),
    ],
)
def test_bad_options(options, message):
    with pytest.raises(ValueError, match=message):
        PreActResNet18(10, **options)


def test_bad_num_classes():
    with pytest.raises(ValueError, match="num_classes must be an integer >= 1, got -1"):
        PreActResNet18(-1)


@pytest.mark.parametrize("memory", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize("side", [1, 7, 8])
def test_strided_pointwise_is_the_convolution(memory, side):
    ours, theirs = StridedPointwise(8, 16, 1, stride=2), nn.Conv2d(8, 16, 1, stride=2)
    ours.load_state_dict(theirs.state_dict())
    x = torch.randn(3, 8, side, side)
    results = []
    for layer, image in ((ours, x.to(memory_format=memory)), (theirs, x)):
        leaf = image.clone().requires_grad_()
        output = layer(leaf)
        output.square().sum().backward()
        results.append((output, leaf.grad, layer.weight.grad, layer.bias.grad))
    for found, expected in zip(*results, strict=True):
        torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)


def test_narrow_networks_train_in_channels_last_memory():
    # strided 1x1 convolutions of 8 channels at 64 pixels made processes crash
    net = PreActResNet18(5, width=8).to(memory_format=torch.channels_last)
    x = torch.randn(4, 3, 64, 64).to(memory_format=torch.channels_last)
    for _ in range(3):
        net(x).sum().backward()
    assert all(parameter.grad.isfinite().all() for parameter in net.parameters())
