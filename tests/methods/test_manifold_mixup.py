import torch

from alignmixup import ManifoldMixup
from alignmixup.methods.manifold_mixup import ManifoldDraw

PERM = torch.tensor([1, 2, 3, 4, 5, 6, 0])


def draw(layer, lam=0.3):
    return ManifoldDraw(lam=torch.full((7,), lam), perm=PERM, layer=layer)


def test_a_hidden_layer_is_interpolated(net, batch):
    x, _ = batch
    mixer = ManifoldMixup(net, num_classes=5, layer="stage2")
    with mixer.mix(x, torch.eye(5)[batch[1]], draw("stage2")) as mixed:
        assert mixed.x is x
        logits = net(mixed.x)
    features = net.stage2(net.stage1(net.stem(x)))
    rest = net.stage4(net.stage3(0.3 * features + 0.7 * features[PERM]))
    torch.testing.assert_close(logits, net.head(net.pool(net.norm(rest)).flatten(1)), atol=1e-4, rtol=1e-4)


def test_the_input_is_interpolated(net, batch):
    x, y = batch
    mixer = ManifoldMixup(net, num_classes=5, layer="stage1")
    mixed = mixer.mix(x, torch.eye(5)[y], draw(None))
    torch.testing.assert_close(mixed.x, 0.3 * x + 0.7 * x[PERM])
    torch.testing.assert_close(mixed.target, 0.3 * torch.eye(5)[y] + 0.7 * torch.eye(5)[y][PERM])


def test_lambda_one_is_the_clean_batch(net, batch):
    x, y = batch
    mixer = ManifoldMixup(net, num_classes=5, layer="stage1")
    clean = net(x)
    with mixer.mix(x, torch.eye(5)[y], draw("stage1", lam=1.0)) as mixed:
        assert torch.equal(net(mixed.x), clean)
    assert torch.equal(mixed.target, torch.eye(5)[y])


def test_gradients_flow_into_both_samples(net, batch):
    x = batch[0].clone().requires_grad_()
    mixer = ManifoldMixup(net.eval().train(), num_classes=5, layer="stage1")
    for module in net.modules():  # batch statistics would mix the samples on their own
        if isinstance(module, torch.nn.BatchNorm2d):
            module.eval()
    with mixer.mix(x, torch.eye(5)[batch[1]], draw("stage1")) as mixed:
        grad = torch.autograd.grad(net(mixed.x)[0].sum(), x)[0]
    reached = grad.flatten(1).abs().sum(1) > 0
    assert reached.tolist() == [True, True, False, False, False, False, False]
