import pytest
import torch
from tests.networks import TinyTransformer
from torch import nn
from torch.utils.checkpoint import checkpoint

from alignmixup import Switch, TransMix
from alignmixup.methods.cutmix import CutMixDraw
from alignmixup.methods.transmix import inside_box, token_grid
from alignmixup.models import PreActResNet18, build
from alignmixup.taps import class_attention


def batch(size=16, channels=3):
    generator = torch.Generator().manual_seed(1)
    return torch.randn(6, channels, size, size, generator=generator), torch.tensor([0, 1, 2, 0, 1, 2])


def attention_by_hand(net, x):
    """The last attention with every step written out, (B, heads, N, N)."""
    patches = net.patches(x).flatten(2).transpose(1, 2)
    tokens = torch.cat([net.class_token.expand(len(x), -1, -1), patches], 1)
    tokens = net.stage2.norm1(net.stage1(tokens))
    layer = net.stage2.attention
    query, key, _ = (tokens @ layer.in_proj_weight.T + layer.in_proj_bias).chunk(3, 2)
    heads = [
        (q @ k.transpose(1, 2) / q.shape[2] ** 0.5).softmax(2)
        for q, k in zip(query.chunk(layer.num_heads, 2), key.chunk(layer.num_heads, 2), strict=True)
    ]
    return torch.stack(heads, 1)


def published_share(attention, box, size, side):
    """The partner's share as in the published code: the mask reduced by nearest neighbours, then sums."""
    mask = torch.zeros(1, 1, size, size)
    mask[..., box[0] : box[2], box[1] : box[3]] = 1
    mask = nn.Upsample(size=side)(mask).view(-1)
    return (attention * mask).sum(1) / attention.sum(1)


@pytest.mark.parametrize("share", [0.0, 0.5, 1.0])
@pytest.mark.parametrize("lam_per", ["batch", "sample"])
def test_labels_are_those_of_the_published_code(share, lam_per):
    net, (x, y) = TinyTransformer(3), batch()
    mixer = TransMix(net, num_classes=3, attention_share=share, lam_per=lam_per, seed=0)
    for _ in range(5):
        with mixer(x, y) as mixed:
            net(mixed.x)
        attention = attention_by_hand(net, mixed.x).detach()[:, :, 0, 1:].mean(1)
        for row in range(6):
            box = mixed.draw.box[row].tolist()
            area = (box[2] - box[0]) * (box[3] - box[1]) / 256
            attended = float(published_share(attention[row : row + 1], box, 16, 4))
            partner = (1 - share) * area + share * attended
            expected = torch.zeros(3)
            expected[y[row]] += 1 - partner
            expected[y[mixed.perm[row]]] += partner
            torch.testing.assert_close(mixed.target[row], expected, rtol=1e-4, atol=1e-4)
            torch.testing.assert_close(mixed.lam[row], torch.tensor(1 - partner), rtol=1e-4, atol=1e-4)


def test_labels_are_by_area_until_the_model_has_seen_the_batch_and_change_in_place():
    net, (x, y) = TinyTransformer(3), batch()
    mixer = TransMix(net, num_classes=3, seed=0, lam_per="sample")
    mixed = mixer(x, y)
    target, drawn = mixed.target, mixed.draw.lam.clone()
    assert torch.equal(mixed.lam, drawn)
    with mixed:
        with pytest.raises(RuntimeError, match="labels of this batch are found by the forward pass: call model"):
            mixed.loss(torch.zeros(6, 3))
        net(mixed.x)
    assert torch.equal(mixed.output_target, target)
    assert mixed.target is target
    assert not torch.allclose(mixed.lam, drawn, atol=1e-3)
    assert torch.equal(mixed.draw.lam, drawn)  # so that it can be replayed
    assert not target.requires_grad


def test_each_forward_has_the_loss_of_its_own_labels():
    net, (x, y) = TinyTransformer(3), batch()
    with TransMix(net, num_classes=3, seed=0)(x, y) as mixed:
        first = mixed.loss(net(mixed.x))
        with torch.no_grad():
            net.class_token.mul_(-3)
        second = mixed.loss(net(mixed.x))
        second.backward()
        del first
    with TransMix(net, num_classes=3, seed=0)(x, y) as mixed:  # R-Drop: both losses in one backward pass
        sum(mixed.loss(net(mixed.x)) for _ in range(2)).backward()


def test_a_drop_in_hands_out_the_target_that_changes():
    net, (x, y) = TinyTransformer(3), batch()
    scoped = TransMix(net, num_classes=3, seed=0)
    with scoped(x, y) as mixed:
        net(mixed.x)
    mixup_fn = TransMix(net, num_classes=3, seed=0).drop_in()
    images, target = mixup_fn(x, y)
    net(images)
    assert torch.equal(target, mixed.target)
    mixup_fn.close()


def test_the_batch_must_be_seen_whole_and_inside_the_block():
    net, (x, y) = TinyTransformer(3), batch()
    mixer = TransMix(net, num_classes=3, seed=0)
    with pytest.raises(RuntimeError, match=r"mixed with 6 images and the model sees 3: give it the whole"), mixer(x, y):
        net(x[:3])
    with pytest.raises(RuntimeError, match="never ran in training mode"), mixer(x, y):
        pass


def test_checkpointed_blocks_and_a_switch_give_the_same_labels():
    net, (x, y) = TinyTransformer(3), batch()
    with TransMix(net, num_classes=3, seed=0)(x, y) as mixed:
        mixed.loss(net(mixed.x)).backward()
    expected = mixed.target.clone(), net.class_token.grad.clone()
    net.class_token.grad = None
    block = net.stage2.forward
    net.stage2.forward = lambda tokens: checkpoint(block, tokens, use_reentrant=False)
    with TransMix(net, num_classes=3, seed=0)(x, y) as mixed:
        mixed.loss(net(mixed.x)).backward()
    torch.testing.assert_close((mixed.target, net.class_token.grad), expected, rtol=1e-4, atol=1e-5)
    switch = Switch(net, mixers=["transmix"], num_classes=3, seed=0)
    with switch(x, y) as mixed:
        net(mixed.x)
    assert not torch.equal(mixed.lam, mixed.draw.inner.lam)


def test_compiled_labels_equal_eager_ones():
    torch._dynamo.reset()
    net, (x, y) = TinyTransformer(3), batch()
    eager, mixer = TransMix(net, num_classes=3, seed=0), TransMix(net, num_classes=3, seed=0)
    compiled = torch.compile(net, backend="aot_eager", fullgraph=True)
    for _ in range(3):
        with eager(x, y) as expected:
            net(expected.x)
        with mixer(x, y) as mixed:
            mixed.loss(compiled(mixed.x)).backward()
        assert not torch.allclose(mixed.lam, mixed.draw.lam, atol=1e-4)
        torch.testing.assert_close(mixed.target, expected.target, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("fused", [True, False])
@pytest.mark.parametrize("qk_norm", [True, False])
def test_the_attention_of_timm(fused, qk_norm):
    from timm.layers.attention import Attention

    torch.manual_seed(0)
    layer, tokens = Attention(12, 3, qkv_bias=True, qk_norm=qk_norm, norm_layer=nn.LayerNorm), torch.randn(2, 7, 12)
    layer.fused_attn = fused
    seen = []
    layer.attn_drop.register_forward_hook(lambda module, args, output: seen.append(args[0]))
    layer.fused_attn = False
    layer(tokens)
    torch.testing.assert_close(class_attention(layer, tokens), seen[0][:, :, 0].mean(1), rtol=1e-4, atol=1e-5)


def test_networks_of_the_libraries():
    from transformers import ViTConfig, ViTForImageClassification

    sizes = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 16}
    networks = {
        "timm:test_vit": (build("timm:test_vit", num_classes=3, options={"image_size": 64}), "blocks.5.attn"),
        "transformers": (ViTForImageClassification(ViTConfig(image_size=64, num_labels=3, **sizes)), "attention"),
    }
    for net, name in networks.values():
        mixer = TransMix(net.train(), num_classes=3, seed=0)
        assert name in mixer._attention.layer
        x, y = batch(64)
        with mixer(x, y) as mixed:
            output = net(mixed.x)
            mixed.loss(output if isinstance(output, torch.Tensor) else output.logits).backward()
        assert not torch.allclose(mixed.lam, mixed.draw.lam, atol=1e-4)
        assert bool(((mixed.lam >= 0) & (mixed.lam <= 1)).all())


class Averaged(TinyTransformer):
    def forward(self, x):
        patches = self.patches(x).flatten(2).transpose(1, 2)
        tokens = torch.cat([self.class_token.expand(len(x), -1, -1), patches], 1)
        return self.head(self.norm(self.stage2(self.stage1(tokens)))[:, 1:].mean(1))


def test_what_it_needs_is_said_at_construction():
    with pytest.raises(ValueError, match=r"TransMix weighs labels by the model's attention: pass it as TransMix\("):
        TransMix(num_classes=3)
    with pytest.raises(ValueError, match=r"PreActResNet18 has no class token, .* use a vision transformer"):
        TransMix(PreActResNet18(3, width=4), num_classes=3)
    odd = TinyTransformer(3)
    odd.stage1 = odd.stage2 = nn.Identity()
    with pytest.raises(ValueError, match="TinyTransformer has no attention layer of a kind that is known"):
        TransMix(odd, num_classes=3)
    with pytest.raises(ValueError, match=r"'stage3' is no attention layer of .* it has stage1.attention, stage2.att"):
        TransMix(TinyTransformer(3), num_classes=3, layer="stage3")


def test_what_the_first_batch_shows():
    with pytest.raises(ValueError, match=r"Averaged does not read its class token behind .* averages the patches"):
        TransMix(Averaged(3), num_classes=3)(*batch())
    net = TinyTransformer(3)
    masked = net.stage2.attention.forward
    net.stage2.attention.forward = lambda *args, **kwargs: masked(
        *args, attn_mask=torch.triu(torch.full((17, 17), -1e9), 1), **kwargs
    )
    with pytest.raises(ValueError, match="computes more than softmax"):
        TransMix(net, num_classes=3)(*batch())
    with pytest.raises(ValueError, match="has no attention layer of a kind that is known"):
        TransMix(build("timm:beit_base_patch16_224", num_classes=3, options={"image_size": 32}), num_classes=3)


def test_zero_heads_do_not_hide_that_the_token_is_read():
    net = TinyTransformer(3)
    nn.init.zeros_(net.head.weight)
    TransMix(net, num_classes=3).prepare(size=16)


def test_patches_that_are_not_square_lie_where_the_model_cuts_them():
    """A box over the left half of the columns covers the tokens of the left half, whatever their shape."""
    net, (x, y) = TinyTransformer(3), batch()
    net.patches = nn.Conv2d(3, 16, (2, 8), stride=(2, 8))
    mixer = TransMix(net, num_classes=3, attention_share=1.0, seed=0)
    box = torch.tensor([[0, 0, 16, 8]]).expand(6, 4)
    draw = CutMixDraw(lam=torch.full((6,), 0.5), perm=torch.arange(6).roll(1), box=box)
    mixer.prepare(x)
    with mixer.mix(x, torch.eye(3)[y], draw) as mixed:
        net(mixed.x)
    attention = attention_by_hand(net, mixed.x).detach()[:, :, 0, 1:].mean(1)
    kept = attention.unflatten(1, (8, 2))[:, :, 1].sum(1) / attention.sum(1)
    torch.testing.assert_close(mixed.lam, kept, rtol=1e-4, atol=1e-4)


def test_grids():
    assert token_grid(2, (34, 31), (16, 16)) == (2, 1)
    assert token_grid(12, (34, 31), (16, 16)) == token_grid(12, (34, 31))
    assert token_grid(140, (224, 160)) == (14, 10)
    assert token_grid(140, (230, 165)) == (14, 10)
    with pytest.raises(ValueError, match=r"17 tokens are no grid over images of 16 x 16 pixels"):
        token_grid(17, (16, 16))
    inside = inside_box(torch.tensor([[0, 0, 8, 8], [1, 4, 16, 5]]), (4, 4), (16, 16))
    assert inside[0].int().tolist() == [[1, 1, 0, 0], [1, 1, 0, 0], [0] * 4, [0] * 4]
    assert inside[1].int().tolist() == [[0] * 4, [0, 1, 0, 0], [0, 1, 0, 0], [0, 1, 0, 0]]


class Around(nn.Module):
    def __init__(self, inner, run):
        super().__init__()
        self.inner, self.run = inner, run

    def forward(self, *args, **options):
        return self.run(self.inner, *args, **options)


AROUND = {
    "scaled": lambda inner, *args, **options: (inner(*args, **options)[0] / 2, None),
    "checkpointed": lambda inner, *args, **options: checkpoint(inner, *args, use_reentrant=False, **options),
    "other tokens": lambda inner, *args, **options: inner(*[tokens.sin() for tokens in args], **options),
}


@pytest.mark.parametrize("kind", AROUND)
def test_what_is_put_around_the_attention_may_come_before_the_mixer_or_after(kind):
    x, y = torch.randn(4, 3, 16, 16, generator=torch.Generator().manual_seed(0)), torch.arange(4)
    labels = []
    for early in (True, False):
        model = TinyTransformer(5)
        mixer = None if early else TransMix(model, num_classes=5, seed=0)
        model.stage2.attention = Around(model.stage2.attention, AROUND[kind])
        mixer = mixer or TransMix(model, num_classes=5, seed=0)
        with mixer(x, y) as batch:
            batch.loss(model(batch.x)).backward()
        labels.append(batch.output_target)
    torch.testing.assert_close(labels[0], labels[1], rtol=0, atol=0)
