import warnings

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from alignmixup import AlignMixup, ManifoldMixup
from alignmixup.functional import align_mix
from alignmixup.methods.alignmixup import AlignDraw
from alignmixup.methods.manifold_mixup import ManifoldDraw
from alignmixup.models import PreActResNet18

PERM = torch.tensor([1, 2, 3, 4, 5, 6, 0])
LAM = torch.full((7,), 0.3)


def draw(layer="norm", keep="first"):
    return AlignDraw(lam=LAM, perm=PERM, layer=layer, keep=keep)


@pytest.mark.parametrize("keep", ["first", "partner"])
def test_the_layer_is_aligned_and_interpolated(net, batch, keep):
    x, y = batch
    mixer = AlignMixup(net, num_classes=5, layer="stage3")
    with mixer.mix(x, torch.eye(5)[y], draw("stage3", keep)) as mixed:
        logits = net(mixed.x)
    features = net.stage3(net.stage2(net.stage1(net.stem(x))))
    rest = net.stage4(align_mix(features, PERM, LAM, keep))
    torch.testing.assert_close(logits, net.head(net.pool(net.norm(rest)).flatten(1)), atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(mixed.target, 0.3 * torch.eye(5)[y] + 0.7 * torch.eye(5)[y][PERM])


class Sequence(nn.Module):
    """A network of sequences or of images that pools without a module, in front of its last one."""

    def __init__(self, axes, join):
        super().__init__()
        convolution, self.join = (nn.Conv1d if axes == 1 else nn.Conv2d), join
        self.one, self.two, self.last = convolution(2, 8, 3), convolution(8, 8, 3), nn.Identity()
        self.head = nn.LazyLinear(5)

    def pooled(self, x):
        x = self.two(F.relu(self.one(x))).relu()
        pooled = (F.max_pool1d if x.ndim == 3 else F.max_pool2d)(x, 2)
        return torch.cat((pooled, -pooled), 1) if self.join else pooled

    def forward(self, x):
        return self.head(self.last(self.pooled(x)).flatten(1))


@pytest.mark.parametrize(
    ("shape", "join"), [((2, 24), False), ((2, 24), True), ((2, 20), False), ((2, 24, 12), False)], ids=str
)
def test_positions_are_aligned_and_not_channels_behind_functions_without_a_module(shape, join):
    torch.manual_seed(0)
    x, lam, perm = torch.randn(4, *shape), torch.full((4,), 0.3), torch.tensor([1, 2, 3, 0])
    model = Sequence(len(shape) - 1, join).train()
    model(x)
    mixer = AlignMixup(model, num_classes=5)
    mixer.prepare(x)
    assert mixer.layers == ("last",)
    with mixer.mix(x, torch.eye(4, 5), AlignDraw(lam=lam, perm=perm, layer="last", keep="first")) as mixed:
        logits = model(mixed.x)
    torch.testing.assert_close(logits, model.head(align_mix(model.pooled(x), perm, lam).flatten(1)))


@pytest.mark.filterwarnings("ignore:AlignMixup at layer:UserWarning")
def test_the_published_recipe_is_the_default(net, batch):
    mixer = AlignMixup(net, num_classes=5, generator=torch.Generator().manual_seed(0))
    assert (mixer.alpha, mixer.epsilon, mixer.iterations) == (2.0, 0.1, 100)
    drawn = [mixer(*batch).draw for _ in range(800)]
    hidden = [d for d in drawn if d.layer is not None]
    assert {d.layer for d in hidden} == {"norm"}
    assert len(hidden) / 800 == pytest.approx(0.5, abs=0.05)
    assert sum(d.keep == "first" for d in hidden) / len(hidden) == pytest.approx(0.5, abs=0.07)


def test_the_alignment_cancels_in_the_published_network(batch):
    """With only a pooled linear head behind it, logits and gradients are those of pooled Manifold mixup."""
    torch.manual_seed(0)
    net = PreActResNet18(5, width=4)
    x, y = batch
    aligned = AlignMixup(net, num_classes=5)
    with pytest.warns(UserWarning, match="the alignment cancels"):
        aligned(x, y)
    pooled = ManifoldMixup(net, num_classes=5, layer="pool")
    gradients = []
    for batch_mixed in (
        aligned.mix(x, torch.eye(5)[y], draw(aligned._layers[0])),
        pooled.mix(x, torch.eye(5)[y], ManifoldDraw(lam=LAM, perm=PERM, layer="pool")),
    ):
        net.zero_grad()
        with batch_mixed as mixed:
            logits = net(mixed.x)
            mixed.loss(logits).backward()
        gradients.append((logits.detach(), net.stem[0].weight.grad.clone()))
    torch.testing.assert_close(gradients[0], gradients[1], atol=1e-5, rtol=1e-4)


def test_it_warns_once_and_not_where_alignment_counts(net, batch):
    torch.manual_seed(0)
    mixer = AlignMixup(PreActResNet18(5, width=4), num_classes=5)
    with pytest.warns(UserWarning, match="layer 'norm': the model reads only the mean of this map"):
        mixer(*batch)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        mixer(*batch)
        AlignMixup(net, num_classes=5, layer="stage4")(*batch)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"keep": "own"}, "keep must be 'first', 'partner' or 'random', got 'own'"),
        ({"epsilon": 0.0}, "epsilon must be > 0, got 0.0"),
        ({"iterations": 0}, "iterations must be >= 1, got 0"),
        ({"tolerance": 0.0}, "tolerance must be > 0 or None, got 0.0"),
        ({"solver": "magic"}, "solver must be .* got 'magic'"),
    ],
)
def test_bad_options_are_refused_at_construction(net, options, message):
    with pytest.raises(ValueError, match=message):
        AlignMixup(net, num_classes=5, **options)
