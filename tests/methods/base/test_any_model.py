"""Networks of every kind: each is mixed as its labels say, in content and in gradient, or refused by name."""

from collections import namedtuple
from dataclasses import dataclass, replace
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils import parametrizations
from torch.utils.checkpoint import checkpoint

from alignmixup import AlignMixup, ManifoldMixup
from alignmixup.taps.outputs import logits_of

pytestmark = [
    pytest.mark.filterwarnings("ignore:AlignMixup at layer:UserWarning"),
    pytest.mark.filterwarnings("ignore:None of the inputs have requires_grad:UserWarning"),
    pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor that is not a leaf:UserWarning"),
    pytest.mark.filterwarnings("ignore:`torch.jit:FutureWarning"),
    pytest.mark.filterwarnings("ignore:`torch.jit:DeprecationWarning"),
]
X, PERM = torch.randn(4, 3, 8, 8, generator=torch.Generator().manual_seed(5)), torch.tensor([3, 0, 1, 2])
Pair = namedtuple("Pair", "one two")


@dataclass
class Output:
    logits: Tensor
    features: Tensor


class Net(nn.Module):
    """Modules by name, and a forward that is given."""

    def __init__(self, run, **modules):
        super().__init__()
        self.run = run
        for name, module in modules.items():
            setattr(self, name, module)

    def forward(self, *args, **kwargs):
        return self.run(self, *args, **kwargs)


def conv(a=3, b=8, **options):
    return nn.Conv2d(a, b, 3, padding=1, **options)


def plain(*others):
    return nn.Sequential(conv(), *others, nn.ReLU(inplace=True), conv(8, 8), nn.ReLU(), nn.Flatten(), nn.Linear(512, 5))


def two(run, **modules):
    return Net(run, **{"a": conv(), "b": conv(8, 8), "fc": nn.Linear(8, 5), **modules})


def head(net, x):
    return net.fc(x.relu().mean((2, 3)))


def tokens(net, x):
    return net.embed(x).flatten(2).mT


def tutorial(net, x):
    return net.fc(net.pool(net.b(net.pool(net.a(x)).relu())).amax((2, 3)))


def branches(net, x):
    pair = net.mid(net.a(x))
    return head(net, torch.cat([pair.one, pair.two], 1))


def recurrent(net, x):
    return net.fc(net.cells(tokens(net, x))[0][:, -1])


def frames(net, x):
    return head(net, net.c(net.a(x.flatten(0, 1)).unflatten(0, x.shape[:2]).mean(1)))


def frozen(net, x):
    with torch.no_grad():
        x = net.b(net.a(x))
    return net.fc(x.mul_(net.gain).mean((2, 3)).tanh())


def capsules(net, x):
    votes = F.normalize(net.b(net.a(x)).unflatten(1, (2, 4)).flatten(3).mT.flatten(1, 2), dim=-1) @ net.weight
    for _ in range(2):
        out = F.normalize(votes.mean(1, keepdim=True), dim=-1)
        votes = votes * (votes * out).sum(-1, keepdim=True).sigmoid()
    return votes.sum(1)


def noisy(net, x):
    return x + 0.5 * torch.randn_like(x) if net.training else x


def with_gain(net):
    net.gain = nn.Parameter(torch.tensor(1.5))
    return net


def with_weight(net):
    net.weight = nn.Parameter(torch.randn(4, 5) * 0.5)
    return net


def hooked(change):
    net = plain()
    net[2].register_forward_hook(change)
    return net


def checkpointed(mode):
    return lambda net, x: head(net, checkpoint(net.b, net.a(x), use_reentrant=mode))


WORKS: dict[str, Any] = {  # a network, and what it is called with
    "shared pool": lambda: (two(tutorial, pool=nn.MaxPool2d(2)), X),
    "named tuple": lambda: (
        two(branches, mid=Net(lambda net, x: Pair(net.p(x), net.q(x)), p=conv(8, 4), q=conv(8, 4))),
        X,
    ),
    "dataclass": lambda: (two(lambda net, x: Output(head(net, net.a(x)), x)), X),
    "dictionary": lambda: (two(lambda net, x: {"loss": torch.zeros(()), "logits": head(net, net.b(net.a(x)))}), X),
    "tuple with a loss": lambda: (two(lambda net, x: (torch.zeros(()), head(net, net.b(net.a(x))))), X),
    "list of images": lambda: (two(lambda net, x: head(net, net.b(net.a(torch.stack(list(x)))))), X),
    "checkpoint": lambda: (two(checkpointed(False)), X),
    "reentrant checkpoint": lambda: (two(checkpointed(True)), X),
    "weight norm": lambda: (nn.Sequential(parametrizations.weight_norm(conv()), plain()[1:]), X),
    "spectral norm": lambda: (nn.Sequential(nn.utils.spectral_norm(conv()), plain()[1:]), X),
    "scripted part": lambda: (plain(torch.jit.script(nn.Sequential(conv(8, 8)))), X),
    "recurrent": lambda: (two(recurrent, embed=nn.Conv2d(3, 8, 2, 2), cells=nn.LSTM(8, 8, 2, batch_first=True)), X),
    "video": lambda: (two(frames, c=conv(8, 8)), torch.stack([X, X.flip(0), X.flip(2)], 1)),
    "one frame": lambda: (two(frames, c=conv(8, 8)), X[:, None]),
    "capsules": lambda: (with_weight(two(capsules)), X),
    "channels last": lambda: (
        plain(nn.BatchNorm2d(8)).to(memory_format=torch.channels_last),
        X.contiguous(memory_format=torch.channels_last),
    ),
    "bfloat16": lambda: (plain().bfloat16(), X.bfloat16()),
    "batch norm of two": lambda: (plain(nn.BatchNorm2d(8)), X[:2]),
    "dropout": lambda: (plain(nn.Dropout2d(0.5)), X),
    "stochastic depth in a container": lambda: (
        plain(
            Net(lambda net, x: x + net.c(x) * (torch.rand(len(x), 1, 1, 1) < 0.5 if net.training else 1), c=conv(8, 8))
        ),
        X,
    ),
    "noise before and behind": lambda: (
        plain(*(Net(lambda net, x: noisy(net, net.c(x)), c=conv(8, 8)) for _ in range(2)), nn.BatchNorm2d(8)),
        X,
    ),
    "patches that are dropped in training": lambda: (
        two(
            lambda net, x: net.fc(net.a(net.drop(tokens(net, x))).sin().mean(1)),
            embed=nn.Conv2d(3, 8, 2, 2),
            drop=Net(lambda net, x: x[:, torch.randperm(16)[:9]] if net.training else x, inner=nn.Identity()),
            a=nn.Linear(8, 8),
        ),
        X,
    ),
    "no_grad backbone": lambda: (with_gain(two(frozen)), X),
    "fake quantisation": lambda: (plain(torch.ao.quantization.FakeQuantize()), X),
    "a hook that changes the output": lambda: (hooked(lambda module, args, output: output * 2), X),
    "a hook that makes the output anew": lambda: (
        hooked(lambda module, args, output: F.conv2d(args[0], module.weight, module.bias, padding=1)),
        X,
    ),
}


def early_exit(net, x):
    early = net.a(x)
    late = head(net, net.b(early))
    return (late, net.aux(early.mean((2, 3)))) if net.training else late


def time_major(net, x):
    return net.fc(net.a(tokens(net, x).transpose(0, 1)).relu().mean(0))


def bypassed(net, x):
    x = net.a(x)
    kept = x if net.training else 0.0
    return net.b(x) + kept


def random_when_training(net, x):
    x = net.a(x)
    return head(net, x + net.b(x) * (torch.rand(len(x), 1, 1, 1) < 0.5 if net.training else 1.0))


def always_random(net, x):
    return head(net, net.b(net.a(x))) + 3 * torch.randn(len(x), 5)


def hidden_state(net, x):
    return net.fc(net.a(tokens(net, x))[1][-1])


def plain_around(inner):
    return nn.Sequential(nn.InstanceNorm2d(3), inner)


def plain_frames():
    def run(net, x):
        return head(net, net.a(x.unflatten(2, (2, 4)).transpose(1, 2).flatten(0, 1)).unflatten(0, (len(x), 2)).mean(1))

    return two(run)


class Tokens(nn.Module):
    """A map as tokens, and back."""

    def forward(self, x):
        return x.flatten(2).mT if x.ndim == 4 else x.mT.unflatten(2, (8, 8))


def drops(function, *options):
    return lambda: Net(lambda net, x: net.inner(function(x, *options, net.training)), inner=nn.Identity())


DRAWING = {  # blocks with a random part that a look leaves out, so that paths of training stay
    "attention": lambda: nn.TransformerEncoderLayer(8, 2, 8, 0.5, batch_first=True),
    **{
        function.__name__: drops(function, *options)
        for function, *options in (
            *((function, 0.5) for function in (F.dropout, torch.dropout, torch.alpha_dropout, torch.feature_dropout)),
            (lambda x, training: F.rrelu(x, training=training),),
        )
    },
}


def noisy_bypass(net, x):
    features = net.a(noisy(net, x))
    return head(net, net.b(features) + (0.1 * features if net.training else 0))


def noisy_early_exit(net, x):
    return early_exit(net, noisy(net, x))


def shuffled(net, x):
    order = torch.randperm(len(x)) if net.training else torch.arange(len(x))
    return head(net, net.b(net.a(x)[order]))[order.argsort()]


def sorted_in_training(net, x):
    order = noisy(net, x).mean((1, 2, 3)).argsort() if net.training else torch.arange(len(x))
    return head(net, net.b(net.a(x)[order]))[order.argsort()]


LSTM = {"embed": nn.Conv2d(3, 8, 2, 2), "a": nn.GRU(8, 8, 2, batch_first=True)}
REFUSED: dict[str, Any] = {  # a network, the layer that is named, and why it is refused
    "a head in training only": (lambda: plain_around(two(early_exit, aux=nn.Linear(8, 5))), "1.b", "does not carry"),
    **{
        f"a head in training only, with {name}": (
            lambda block=block: plain_around(
                two(early_exit, aux=nn.Linear(8, 5), b=nn.Sequential(Tokens(), block(), Tokens()))
            ),
            "1.b",
            "does not carry",
        )
        for name, block in DRAWING.items()
    },
    "a noisy shortcut in training only": (lambda: two(noisy_bypass), "b", "not in training.*: 'a'"),
    "a noisy head in training only": (
        lambda: plain_around(two(noisy_early_exit, aux=nn.Linear(8, 5))),
        "1.b",
        "not in training.*: '1.a'",
    ),
    "shuffled in training": (lambda: two(shuffled), "b", "images stand in another order.*: 'a'"),
    "sorted in training": (lambda: two(sorted_in_training), "b", "images stand in another order.*: 'a'"),
    "a shortcut in training only": (
        lambda: nn.Sequential(Net(bypassed, a=conv(), b=conv(8, 8)), nn.Flatten(), nn.Linear(512, 5)),
        "0.b",
        "does not carry everything",
    ),
    "a random shortcut": (lambda: two(random_when_training), "b", "does not carry everything"),
    "random logits": (lambda: two(always_random), "a", "its logits are random in eval mode too"),
    "time-major tokens": (
        lambda: two(time_major, embed=nn.Conv2d(3, 8, 2, 2), a=nn.Linear(8, 8)),
        "a",
        "no floating-point tensor with the batch axis in front",
    ),
    "frames in the batch axis": (plain_frames, "a", "the batch axis in front|does not carry"),
    "a hidden state": (lambda: two(hidden_state, **LSTM), "a", "does not carry everything"),
    "lazy": (lambda: nn.Sequential(nn.LazyConv2d(8, 3), nn.Flatten(), nn.LazyLinear(5)), "0", "has no values yet"),
    "meta": (lambda: plain().to("meta"), "0", "has no values yet"),
}


METHODS = pytest.mark.parametrize("method", [AlignMixup, ManifoldMixup])


def quiet(model):
    """In training mode, but for what draws or looks at the batch."""
    for module in model.train().modules():
        module.training = module is model
    return model


def logits(model, x):
    return logits_of("net", model(x), len(x)).float()


def state(model):
    hooks = [(len(m._forward_hooks), len(m._forward_pre_hooks), m.training) for m in model.modules()]
    return hooks, {name: value.clone() for name, value in model.state_dict().items()}


@METHODS
@pytest.mark.parametrize("kind", WORKS)
def test_content_is_mixed_as_labels_are(kind, method):
    torch.manual_seed(0)
    model, x = WORKS[kind]()
    size = len(x)
    hooks, values = state(model.train())
    mixer = method(model, num_classes=5, input_probability=0.0, generator=torch.Generator().manual_seed(0))
    mixer.prepare(x)
    assert mixer.layers
    torch.testing.assert_close(state(model)[1], values, rtol=0, atol=0)
    perm = PERM if size == 4 else torch.tensor([1, 0])
    target = torch.eye(size, 5)
    for layer in mixer.layers:
        draw = replace(mixer.draw(x, target), lam=torch.zeros(size), perm=perm, layer=layer, keep="partner")
        runs = []
        for hidden in (mixer.mix(x, target, draw), mixer.clean(x, target)):
            quiet(model).zero_grad()
            with hidden as batch:
                found = logits(model, batch.x)
                found.square().sum().backward()  # the same, whichever row an image stands in
                with torch.no_grad():
                    unmixed = logits(model.eval(), x)
            runs.append((batch.target, found, unmixed, [p.grad for p in model.parameters()]))
        (mixed_target, mixed, one, gradients), (_, clean, other, expected) = runs
        rounding = {"atol": 0.05, "rtol": 0.05} if x.dtype == torch.bfloat16 else {"atol": 1e-4, "rtol": 1e-3}
        torch.testing.assert_close(mixed_target, target[perm])
        torch.testing.assert_close(mixed, clean[perm], **rounding)
        torch.testing.assert_close(one, other)  # in eval mode nothing is mixed
        for own, right in zip(gradients, expected, strict=True):
            assert (own is None) == (right is None)
            if own is not None:
                torch.testing.assert_close(own, right, **rounding)
        model.train().zero_grad()
    mixer.detach()
    assert state(model)[0] == hooks


@METHODS
@pytest.mark.parametrize("kind", REFUSED)
def test_what_cannot_be_right_is_refused_by_name(kind, method):
    torch.manual_seed(0)
    make, layer, reason = REFUSED[kind]
    mixer = method(make().train(), num_classes=5, layer=layer, input_probability=0.0)
    with pytest.raises(ValueError, match=reason):
        mixer.prepare(X)


def test_a_hook_of_the_models_own_cannot_undo_what_was_mixed():
    model = plain()
    mixer = ManifoldMixup(model, num_classes=5, layer="2", input_probability=0.0)
    model[2].register_forward_hook(lambda module, args, output: F.conv2d(args[0], module.weight, padding=1))
    draw = replace(mixer.draw(X, torch.eye(4, 5)), lam=torch.zeros(4), perm=PERM)
    with mixer.mix(X, torch.eye(4, 5), draw) as batch:
        mixed = model(batch.x)
    torch.testing.assert_close(mixed, model(X)[PERM])


@METHODS
def test_a_scripted_layer_is_refused_by_name(method):
    model = plain(torch.jit.script(conv(8, 8)))
    with pytest.raises(TypeError, match="layer '1' is a ScriptModule, which takes no hooks"):
        method(model, num_classes=5, layer="1")


class Around(nn.Module):
    def __init__(self, run, inner):
        super().__init__()
        self.run, self.inner = run, inner

    def forward(self, x):
        return self.run(self.inner, x)


AROUND = {
    "as it was": (lambda inner, x: inner(x), True),
    "checkpointed": (lambda inner, x: checkpoint(inner, x, use_reentrant=False), True),
    "something behind": (lambda inner, x: inner(x).sin(), True),
    "past it": (lambda inner, x: inner(x) + x, False),
    "twice": (lambda inner, x: inner(inner(x)), False),
    "in two parts": (lambda inner, x: inner(x) + x.roll(1, 2), False),
}


@pytest.mark.parametrize("after_a_batch", [False, True])
@pytest.mark.parametrize("place", ["b", "outer"])
@pytest.mark.parametrize("kind", AROUND)
def test_what_is_put_around_a_layer_later_is_looked_at_too(kind, place, after_a_batch):
    run, is_right = AROUND[kind]
    torch.manual_seed(0)
    inner = nn.Sequential(conv(8, 8)) if place == "outer" else conv(8, 8)
    net = two(lambda net, x: head(net, getattr(net, place)(net.a(x))), **{place: inner})
    layer = inner[0] if place == "outer" else inner
    mixer = ManifoldMixup(net, layer=layer, num_classes=5, input_probability=0.0, seed=0)
    labels = torch.arange(4)
    if after_a_batch:
        with mixer(X, labels) as batch:
            net(batch.x)
    setattr(net, place, Around(run, inner))
    if not is_right:
        with pytest.raises(ValueError, match=r"does not carry everything|runs 2 times"), mixer(X, labels) as batch:
            net(batch.x)
        return
    with mixer(X, labels) as batch:
        logits = net(batch.x)
    lam = batch.lam.view(-1, 1, 1, 1)
    features = inner(net.a(X))
    mixed = lam * features + (1 - lam) * features[batch.perm]
    torch.testing.assert_close(logits, head(net, run(lambda x: mixed, X)))


@METHODS
@pytest.mark.parametrize("order", [tuple, lambda entries: tuple(entries)[::-1], lambda entries: {"a": [*entries]}])
@pytest.mark.parametrize("size", [2, 3, 4, 8])
def test_what_a_layer_returns_beside_its_features_stays_as_it_is(size, order, method):
    """A table of positions is the same for all examples, also where it has as many rows as the batch or a look."""
    for rows in (1, 2, 3, 4, 5, 8, 10, 16):
        torch.manual_seed(rows)
        table, x = nn.Parameter(torch.randn(rows, 8)), torch.randn(size, 3, 8, 8)

        def both(net, x, table=table):
            return order((table, net.c(x)))

        def run(net, x):
            one, other = out["a"] if isinstance(out := net.two(net.a(x)), dict) else out
            table, features = (one, other) if one.ndim == 2 else (other, one)
            weights = torch.linspace(0.1, 1, len(table))[:, None]
            return head(net, (features + (weights * table).sum(0)[:, None, None]).sin())

        model = two(run, two=Net(both, c=conv(8, 8)))
        mixer = method(model, num_classes=5, layer="two", input_probability=0.0)
        mixer.prepare(x)
        target, perm = torch.full((size, 5), 0.2), torch.arange(size).roll(1)
        draw = replace(mixer.draw(x, target), lam=torch.zeros(size), perm=perm, keep="partner")
        with mixer.mix(x, target, draw) as batch:
            mixed = model(batch.x)
        torch.testing.assert_close(mixed, model(x)[perm], rtol=1e-4, atol=1e-5)
