"""The scoped form on unmodified models of torchvision and timm, with the layer found automatically."""

import pytest
import timm
import torch
import torchvision
from torch import nn
from torchvision.models import SwinTransformer, VisionTransformer, convnext, vgg

from alignmixup import AlignMixup, ManifoldMixup

pytestmark = pytest.mark.filterwarnings("ignore:AlignMixup at layer:UserWarning")

SMALL = [
    ("torchvision", "resnet18", 64),
    ("torchvision", "vgg11_bn", 64),
    ("torchvision", "mobilenet_v3_small", 64),
    ("torchvision", "convnext_tiny", 64),
    ("torchvision", "swin_t", 64),
    ("torchvision", "vit_b_32", 64),
    ("timm", "resnet26d", 64),
    ("timm", "vit_tiny_patch16_224", 64),
    ("timm", "convnext_atto", 64),
    ("timm", "mixer_s32_224", 224),
]


def vgg11_bn():
    """The classifier of the published one has a hundred million weights."""
    with torch.device("meta"):
        model = vgg.VGG(nn.Identity(), init_weights=False)
    model.features = vgg.make_layers(vgg.cfgs["A"], batch_norm=True)
    model.classifier = nn.Sequential(nn.Linear(512 * 7 * 7, 32), nn.ReLU(), nn.Dropout(), nn.Linear(32, 4))
    return model


def convnext_tiny():
    blocks = [(12, 24, 3), (24, 48, 3), (48, 96, 9), (96, None, 3)]
    return convnext.ConvNeXt([convnext.CNBlockConfig(*block) for block in blocks], num_classes=4)


def swin_t():
    options = {"patch_size": [4, 4], "window_size": [7, 7], "num_classes": 4}
    return SwinTransformer(embed_dim=24, depths=[2, 2, 6, 2], num_heads=[1, 2, 4, 8], **options)


def vit_b_32():
    options = {"image_size": 64, "patch_size": 32, "num_classes": 4}
    return VisionTransformer(num_layers=12, num_heads=4, hidden_dim=48, mlp_dim=96, **options)


NARROW = {build.__name__: build for build in (vgg11_bn, convnext_tiny, swin_t, vit_b_32)}


def create(library, name, image_size):
    """As published, the largest with fewer channels: layers and their names are the same."""
    if name in NARROW:
        return NARROW[name]()
    if library == "torchvision":
        return torchvision.models.get_model(name, num_classes=4)
    options = {"img_size": image_size} if name.startswith(("vit", "mixer")) else {}
    return timm.create_model(name, num_classes=4, **options)


def changed_by_mixing(method, library, name, image_size, **options):
    torch.manual_seed(0)
    model = create(library, name, image_size)
    for module in model.modules():
        if isinstance(module, nn.Dropout) or type(module).__name__ in ("StochasticDepth", "DropPath"):
            module.eval()
    x, y = torch.randn(2, 3, image_size, image_size), torch.tensor([0, 1])
    mixer = method(model, num_classes=4, input_probability=0.0, generator=torch.Generator().manual_seed(3), **options)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    while True:
        with mixer(x, y) as batch:
            if bool((batch.draw.perm == torch.arange(2)).any()):
                model(batch.x)  # paired with itself: nothing to see
                continue
            loss = batch.loss(model(batch.x), nn.functional.cross_entropy)
            loss.backward()
        optimizer.step()
        return loss, batch, model


EXPECTED = {
    "resnet18": ("layer4", ("layer1", "layer2")),
    "convnext_tiny": ("features", ("features.1", "features.3")),
    "swin_t": ("permute", ("features.1", "features.3")),
    "vit_b_32": (
        "encoder.layers.encoder_layer_10",
        ("encoder.layers.encoder_layer_2", "encoder.layers.encoder_layer_5"),
    ),
    "vit_tiny_patch16_224": ("blocks.10", ("blocks.2", "blocks.5")),
    "resnet26d": ("layer4", ("layer1", "layer2")),
}


@pytest.mark.parametrize(("library", "name", "image_size"), SMALL)
def test_alignmixup_finds_the_layer_and_takes_a_step_on(library, name, image_size):
    loss, batch, model = changed_by_mixing(AlignMixup, library, name, image_size)
    assert bool(loss.isfinite())
    (layer,) = batch.hidden
    gradients = [p.grad for p in model.get_submodule(layer).parameters() if p.grad is not None]
    assert all(bool(g.isfinite().all()) for g in gradients)
    if name in EXPECTED:
        manifold = ManifoldMixup(model, num_classes=4)
        manifold(torch.randn(2, 3, image_size, image_size), torch.tensor([0, 1]))
        assert ((layer,), manifold.layers) == ((EXPECTED[name][0],), EXPECTED[name][1])


def test_class_and_register_tokens_are_interpolated_as_they_stand():
    torch.manual_seed(0)
    model = timm.create_model("vit_tiny_patch16_224", num_classes=4, img_size=64, reg_tokens=2)
    x, target = torch.randn(2, 3, 64, 64), torch.eye(2, 4)
    seen = []
    mixer = AlignMixup(model, num_classes=4, layer="blocks.3", input_probability=0.0, keep="first")
    mixer.prepare(x)
    model.blocks[4].register_forward_pre_hook(lambda module, args: seen.append(args[0].detach()))
    draw = mixer.draw(x, target)
    swap = type(draw)(lam=torch.full((2,), 0.25), perm=torch.tensor([1, 0]), layer="blocks.3", keep="first")
    model(x)
    with mixer.mix(x, target, swap) as batch:
        model(batch.x)
    clean, mixed = seen
    torch.testing.assert_close(mixed[:, :3], 0.25 * clean[:, :3] + 0.75 * clean[:, :3].flip(0))
    assert not torch.allclose(clean[:, 3:], mixed[:, 3:], atol=1e-3)
