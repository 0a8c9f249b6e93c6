import copy
import dataclasses
import gc
import logging
import pickle
import warnings

import pytest
import torch
import torchvision
from torch import nn
from torch.optim.swa_utils import AveragedModel

from alignmixup import AlignMixup, AlignMixupAE, DenseMultiMix, ManifoldMixup, MultiMix, Switch, methods
from alignmixup.methods.base import HiddenMixer, layer_mixer
from alignmixup.taps import FeatureTap


def pickled(model):
    return pickle.loads(pickle.dumps(model))


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def layers_drawn(mixer, batch, count=600):
    drawn = [mixer(*batch).draw.layer for _ in range(count)]
    return {layer: drawn.count(layer) / count for layer in set(drawn)}


def test_shares_of_input_and_layers(net, batch):
    mixer = ManifoldMixup(
        net,
        num_classes=5,
        layer=["stage1", net.stage2],
        layer_probabilities=[3, 1],
        input_probability=0.2,
        generator=seeded(),
    )
    shares = layers_drawn(mixer, batch)
    assert shares[None] == pytest.approx(0.2, abs=0.05)
    assert shares["stage1"] == pytest.approx(0.6, abs=0.06)
    assert shares["stage2"] == pytest.approx(0.2, abs=0.05)


def test_layers_are_found_and_logged(net, batch, caplog):
    mixer = ManifoldMixup(net, num_classes=5)
    with caplog.at_level(logging.INFO, logger="alignmixup"):
        mixer(*batch)
    assert (
        "ManifoldMixup mixes at layer stage1: shape (7, 4, 16, 16), 256 positions (found automatically)" in caplog.text
    )
    assert set(FeatureTap.of(net).hooks) == {"stage1", "stage2"}


def test_an_unread_layer_is_refused():
    torch.manual_seed(0)
    vit = torchvision.models.VisionTransformer(
        image_size=16, patch_size=8, num_layers=2, num_heads=2, hidden_dim=8, mlp_dim=8, num_classes=5
    )
    mixer = AlignMixup(vit, num_classes=5, layer="encoder.layers.encoder_layer_1", input_probability=0.0)
    with pytest.raises(ValueError, match="cannot change the output: the classifier reads nothing from its positions"):
        mixer(torch.randn(2, 3, 16, 16), torch.tensor([0, 1]))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"layer": "stage9"}, "no layer 'stage9' in PreActResNet18 .*did you mean stage"),
        ({"layer": []}, "layer names no layer"),
        ({"input_probability": -0.1}, r"input_probability must be in \[0, 1\], got -0.1"),
        (
            {"layer": ["stage1", "stage2"], "layer_probabilities": [1.0]},
            "one non-negative number for each of",
        ),
        ({"layout": "nchw"}, "layout must be 'channels_first', 'channels_last' or 'tokens', got 'nchw'"),
    ],
)
def test_bad_options_are_refused_at_construction(net, options, message):
    with pytest.raises(ValueError, match=message):
        ManifoldMixup(net, num_classes=5, **options)


def test_a_model_is_needed():
    with pytest.raises(ValueError, match="ManifoldMixup mixes inside the model: pass it as"):
        ManifoldMixup(num_classes=5)


class Twice(nn.Module):
    """One pooling module, used twice, as in PyTorch's tutorial."""

    def __init__(self):
        super().__init__()
        self.one, self.two, self.pool, self.fc = conv(3, 6), conv(6, 8), nn.MaxPool2d(2), nn.Linear(8 * 16, 5)

    def forward(self, x):
        return self.fc(self.pool(self.two(self.pool(self.one(x)).relu()).relu()).flatten(1))


class Residual(nn.Module):
    def __init__(self):
        super().__init__()
        self.one, self.two, self.fc = conv(3, 6), conv(6, 6), nn.Linear(6 * 256, 5)

    def forward(self, x):
        x = self.one(x)
        return self.fc((x + self.two(x).relu()).flatten(1))


class WithMeta(Residual):
    def forward(self, x, meta, *, scale=1.0):
        return super().forward(x) * scale + meta


def conv(inputs, outputs):
    return nn.Conv2d(inputs, outputs, 3, padding=1)


X, Y = torch.randn(4, 3, 16, 16, generator=seeded()), torch.arange(4)
METHODS = pytest.mark.parametrize("method", [AlignMixup, ManifoldMixup])


@METHODS
@pytest.mark.parametrize(
    ("model", "layer", "message"),
    [
        (Twice, "pool", r"layer 'pool' runs 2 times in one forward: .* carry everything: '"),
        (Residual, "two", r"layer 'two' does not carry everything: .*, [-0-9.]+ of the logits follow .*: 'one'"),
        (lambda: nn.Sequential(nn.ModuleList([conv(3, 3)])[0], nn.Flatten(), nn.Linear(768, 5)), "1", None),
    ],
)
def test_a_layer_that_is_no_cut_is_refused_with_the_nearest_that_are(method, model, layer, message):
    torch.manual_seed(0)
    mixer = method(model().train(), num_classes=5, layer=layer, input_probability=0.0)
    if message is None and method is ManifoldMixup:  # a vector is a cut as well
        mixer.prepare(X)
        return
    with pytest.raises(ValueError, match=message or "which has no positions to align"):
        mixer(X, Y)


@METHODS
def test_the_proof_can_be_switched_off(method):
    mixer = method(Residual().train(), num_classes=5, layer="two", input_probability=0.0, carry_test=False)
    with mixer(X, Y) as batch:
        batch.loss(mixer.model(batch.x)).backward()


@METHODS
@pytest.mark.parametrize("layer", ["one", None])
@pytest.mark.parametrize("options", [{}, {"scale": 2.0}])
def test_a_model_that_takes_more_than_images_is_looked_at_from_its_own_forward(method, layer, options):
    torch.manual_seed(0)
    model, meta = WithMeta().train(), torch.randn(4, 5)
    mixer = method(model, num_classes=5, layer=layer, input_probability=0.0, generator=seeded())
    for k in range(3):
        with mixer(X, Y) as batch:
            batch.loss(model(batch.x, meta, **options)).backward()
        assert bool(batch.hidden) == (layer is not None or k > 0)
    assert mixer._layers
    assert not model._forward_pre_hooks


class WithOrder(nn.Module):
    """Channels are the last axis of its features, and a table of positions stands before them."""

    def __init__(self):
        super().__init__()
        self.features, self.table, self.classes = nn.Conv2d(3, 5, 4, 4), nn.Parameter(torch.randn(4, 5)), 5
        self.layer = Beside(self)

    def forward(self, x, meta):
        table, maps = self.layer(self.features(x).movedim(1, -1))
        return (maps + table[:, None]).sin().cumsum(1).mean((1, 2)) + meta


class Beside(nn.Module):
    def __init__(self, outer):
        super().__init__()
        self.scale, self.outer = nn.Parameter(torch.ones(1)), [outer]

    def forward(self, maps):
        return self.outer[0].table, maps * self.scale


@METHODS
def test_the_first_batch_of_such_a_model_is_mixed_as_all_others(method):
    torch.manual_seed(0)
    model, meta = WithOrder().train(), torch.randn(4, 5)
    logits = []
    for prepared in (True, False):
        mixer = method(model, num_classes=5, layer="layer", input_probability=0.0, layout="channels_last", seed=0)
        if prepared:
            mixer.prepare(X, meta)
        with mixer(X, Y) as batch:
            logits.append(model(batch.x, meta))
        mixer.detach()
    torch.testing.assert_close(*logits, rtol=0, atol=0)


@METHODS
def test_such_a_model_can_be_prepared_and_a_bad_layer_is_found_in_its_forward(method):
    model, meta = WithMeta().train(), torch.randn(4, 5)
    mixer = method(model, num_classes=5, input_probability=0.0)
    mixer.prepare(X, meta, scale=2.0)
    assert mixer._layers
    bad = method(model, num_classes=5, layer="two", input_probability=0.0)
    with pytest.raises(ValueError, match="layer 'two' does not carry everything"), bad(X, Y) as batch:
        model(batch.x, meta)
    with pytest.raises(ValueError, match=r"WithMeta cannot be called as prepare\(...\) was"):
        method(model, num_classes=5).prepare(X, meta, other=1)


@METHODS
def test_the_look_costs_two_forwards_once(method):
    model, calls = Residual().train(), []
    model.register_forward_pre_hook(lambda module, args: calls.append(len(args[0])))
    mixer = method(model, num_classes=5, layer="one", input_probability=0.0)
    for _ in range(3):
        mixer(X, Y)
    assert calls == [2, 10]
    for _ in range(200):
        mixer(X, Y)
    assert calls[2:] == [2, 6]


@METHODS
@pytest.mark.parametrize("kind", ["conv1d", "conv3d", "non-square", "class token"])
def test_labels_say_what_the_content_is(method, kind):
    """With λ = 0 the logits are the partner's."""
    torch.manual_seed(0)
    model, shape = {
        "conv1d": (nn.Sequential(nn.Conv1d(2, 6, 3), nn.ReLU(inplace=True), nn.Flatten(), nn.Linear(48, 5)), (2, 10)),
        "conv3d": (nn.Sequential(nn.Conv3d(1, 4, 2), nn.ReLU(), nn.Flatten(), nn.Linear(4 * 24, 5)), (1, 3, 4, 5)),
        "non-square": (nn.Sequential(conv(3, 4), nn.ReLU(inplace=True), nn.Flatten(), nn.Linear(4 * 24, 5)), (3, 4, 6)),
        "class token": (
            torchvision.models.VisionTransformer(
                image_size=16, patch_size=4, num_layers=3, num_heads=2, hidden_dim=8, mlp_dim=8, num_classes=5
            ),
            (3, 16, 16),
        ),
    }[kind]
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.5)
    x, target, perm = torch.randn(3, *shape), torch.eye(3, 5), torch.tensor([1, 2, 0])
    mixer = method(model.train(), num_classes=5, input_probability=0.0)
    mixer.prepare(x)
    for layer in mixer._layers:
        draw = dataclasses.replace(mixer.draw(x, target), lam=torch.zeros(3), perm=perm, layer=layer, keep="partner")
        with mixer.mix(x, target, draw) as batch, torch.no_grad():
            torch.testing.assert_close(model(batch.x), model.eval()(x)[perm])
            model.train()
            torch.testing.assert_close(batch.target, target[perm])


def test_the_report_says_what_a_batch_costs(net, batch):
    (report,) = AlignMixup(net, num_classes=5, layer="stage3").check(batch[0])
    assert (report.name, report.shape, report.positions, report.use) == ("stage3", (7, 16, 4, 4), 16, "positions")
    assert report.share == pytest.approx(1, abs=1e-3)
    assert report.milliseconds > 0
    assert "stage3: shape (7, 16, 4, 4), 16 positions, about" in str(report)


@pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor that is not a leaf:UserWarning")
def test_a_compiled_training_step_equals_an_eager_one(net, batch):
    def step(mixer, x, y):
        with mixer(x, y) as mixed:
            loss = mixed.loss(net(mixed.x))
            loss.backward()
        return loss

    torch._dynamo.reset()  # what other tests compiled knows no hook of this network
    losses = []
    for compiled in (False, True):
        net.zero_grad()
        mixer = AlignMixup(net, num_classes=5, layer="stage2", input_probability=0.0, generator=seeded(3))
        run = torch.compile(step, backend="eager") if compiled else step
        losses.append([run(mixer, *batch).item() for _ in range(2)])
    assert losses[0] == pytest.approx(losses[1], rel=1e-4)
    torch._dynamo.reset()


@pytest.mark.filterwarnings("ignore:AlignMixup at layer:UserWarning")
@pytest.mark.parametrize("leave", ["detach", "delete"])
def test_saved_and_scripted_models_are_the_plain_ones(leave):
    plain = torchvision.models.resnet18(num_classes=3)
    model = copy.deepcopy(plain)
    mixer = AlignMixup(model, num_classes=3)
    mixer.check(torch.randn(2, 3, 64, 64))
    if leave == "detach":
        mixer.detach()
    del mixer
    gc.collect()
    assert b"alignmixup" not in pickle.dumps(model)
    for own, new in zip(plain.modules(), model.modules(), strict=True):
        assert len(new._forward_hooks) == len(own._forward_hooks)
        assert len(new._forward_pre_hooks) == len(own._forward_pre_hooks)
    assert sorted(vars(model)) == sorted(vars(plain))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch's own: it is deprecated
        torch.jit.script(model)


@pytest.mark.parametrize("duplicate", [copy.deepcopy, AveragedModel, pytest.param(pickled, id="pickled")])
def test_a_copy_that_is_trained_in_place_of_the_model_is_refused(duplicate, net, batch):
    mixer = ManifoldMixup(net, num_classes=5, layer="stage2", input_probability=0.0)
    other = duplicate(net).train()
    with (
        pytest.raises(RuntimeError, match="the one that the mixer was built on and no copy of it"),
        mixer(*batch) as mixed,
    ):
        mixed.loss(other(mixed.x)).backward()


@pytest.mark.filterwarnings("ignore:AlignMixup at layer:UserWarning")
@pytest.mark.parametrize("method", [AlignMixup, ManifoldMixup, MultiMix, DenseMultiMix, AlignMixupAE])
def test_a_loss_without_the_block_is_refused(method, batch):
    """In and behind its block a batch has a loss; without it labels would be mixed and features not."""
    x, y = batch
    pooled = nn.Sequential(conv(3, 8), nn.ReLU(), conv(8, 8), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 10))
    options = {"input_probability": 0.0} if issubclass(method, HiddenMixer) else {"mixtures": len(x)}
    if method is AlignMixupAE:
        options |= {"reconstruct_aligned": True, "clean_share": 0.0}
    mixer = method(pooled, layer=None if method is MultiMix else "2", num_classes=10, **options)
    mixer.prepare(x)
    mixed = mixer(x, y)
    with pytest.raises(RuntimeError, match=r"with mixer\(x, y\) as batch"):
        mixed.loss(torch.randn(len(mixed.target), 10))
    with mixed:
        logits = pooled(mixed.x)
        inside = mixed.loss(logits)
    assert torch.equal(mixed.loss(logits), inside)


class Skipping(nn.Module):
    """A part of the features goes past the middle, if it ``skips``; ``other`` are inputs beside the images."""

    def __init__(self):
        super().__init__()
        self.stem, self.middle, self.head = conv(3, 8), conv(8, 8), nn.Linear(8, 5)
        self.skips = False

    def forward(self, x, *other):
        features = self.stem(x).relu()
        skipped = features if self.skips else 0.0
        return self.head((self.middle(features).relu() + skipped).mean(dim=(2, 3)))


@pytest.mark.parametrize("inputs", [1, 2, "2, compiled"])
@pytest.mark.parametrize("method", [AlignMixup, ManifoldMixup, "switch"])
def test_a_model_that_takes_another_path_later_is_refused_within_200_batches(method, inputs, batch):
    x, y = batch[0][:2, :, :8, :8], batch[1][:2]
    model = called = Skipping()
    others = [] if inputs == 1 else [torch.zeros(2)]
    options = {"layer": "middle", "input_probability": 0.0}
    if method == "switch":
        mixer = Switch(model, mixers=["mixup", {"name": "manifold_mixup", **options}], num_classes=5, seed=0)
    else:
        mixer = method(model, num_classes=5, seed=0, **options)
    if inputs == "2, compiled":
        mixer.prepare(x, *others)
        torch._dynamo.reset()
        called = torch.compile(model, backend="eager")
    with pytest.raises(ValueError, match="takes another path than it did before: layer 'middle' does not carry"):  # noqa: PT012
        for batches in range(202):
            model.skips = batches >= 40
            with mixer(x, y) as mixed:
                mixed.loss(called(mixed.x, *others))
    assert batches >= 198


@pytest.mark.parametrize("change", ["smaller images", "saturated"])
@pytest.mark.parametrize("method", [AlignMixup, DenseMultiMix])
def test_what_a_later_batch_shows_of_a_cut_ends_no_training(method, change, batch, monkeypatch):
    """A map of one position, and features that the classifier does not read any more, are no other path."""
    monkeypatch.setattr(layer_mixer, "_LOOK_AGAIN", 1)
    model = nn.Sequential(
        conv(3, 4), nn.ReLU(), nn.MaxPool2d(8), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 5)
    )
    options = {"mixtures": 7} if method is DenseMultiMix else {"input_probability": 0.0}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        mixer = method(model, num_classes=5, layer="2", seed=0, **options)
        mixer.prepare(batch[0])
    for step in range(6):
        x = batch[0]
        if step > 2 and change == "smaller images":
            x = x[:, :, :8, :8]
        elif step > 2:
            with torch.no_grad():
                model[0].weight.zero_()
                model[0].bias.fill_(step)
        with mixer(x, batch[1]) as mixed:
            mixed.loss(model(mixed.x)).backward()


def test_looking_again_changes_nothing(monkeypatch, net, batch):
    """Not the draws, nor the weights, nor the buffers; and what diverged says so itself, not by its layers."""
    states = []
    for again in (5, 1000):
        monkeypatch.setattr(layer_mixer, "_LOOK_AGAIN", again)
        torch.manual_seed(0)
        model = copy.deepcopy(net)
        mixer = ManifoldMixup(model, num_classes=5, layer="stage2", seed=0)
        for step in range(12):
            with mixer(*batch) as mixed:
                mixed.loss(model(mixed.x)).backward()
            if step == 9:
                tensors = [*model.state_dict().values(), *(p.grad for p in model.parameters()), torch.rand(1)]
                states.append([tensor.clone() for tensor in tensors])
                with torch.no_grad():
                    model.head.weight.fill_(torch.nan)
    assert all(torch.equal(one, other) for one, other in zip(*states, strict=True))


def test_looking_again_compiles_nothing_anew(monkeypatch, net, batch):
    monkeypatch.setattr(layer_mixer, "_LOOK_AGAIN", 2)
    torch._dynamo.reset()
    mixer = ManifoldMixup(net, num_classes=5, layer="stage2", input_probability=0.0, seed=0)
    mixer.prepare(batch[0])
    compiled = torch.compile(net, backend="eager")
    for step in range(8):
        with torch._dynamo.config.patch(error_on_recompile=step > 1), mixer(*batch) as mixed:
            mixed.loss(compiled(mixed.x)).backward()
    torch._dynamo.reset()


@pytest.mark.parametrize("again", ["alone", "switch", "nested", "prepared", "drop_in", "copied"])
@pytest.mark.parametrize("method", ["alignmixup", "alignmixup_ae", "manifold_mixup", "multimix"])
def test_a_batch_that_is_dropped_without_its_block_is_told_of_once(method, again, net, batch, caplog):
    """Its labels may have been used, while its features were never mixed; whoever enters the block hears nothing."""
    x, y = batch
    options = {"mixtures": 7} if method == "multimix" else {"layer": "stage3"}
    options |= {"input_probability": 0.0} if method in ("alignmixup", "manifold_mixup") else {}
    options |= {"clean_share": 0.0, "reconstruct_aligned": True} if method == "alignmixup_ae" else {}
    mixer = methods.build(method, model=net, num_classes=5, options=options)
    for _ in range({"switch": 1, "nested": 2}.get(again, 0)):
        mixer = Switch(net, mixers=[mixer], num_classes=5)
    if again == "prepared":
        mixer.prepare(x)
    if again == "drop_in" and not mixer.has_auxiliary and method != "multimix":
        step = mixer.drop_in()
        for _ in range(3):
            net(step(x, y)[0])
        step.close()
    else:
        for _ in range(3):
            with mixer(x, y) as mixed:
                mixed.loss(net(mixed.x))
            if again == "copied":
                copy.copy(mixed), dataclasses.replace(mixed, lam=mixed.lam + 0), copy.deepcopy(mixed._block)
        del mixed
    net.eval()
    mixer(x, y)
    net.train()
    mixer.clean(x, y)
    gc.collect()

    def told():
        return [message for message in caplog.messages if "its block was never entered" in message]

    assert not told()
    for _ in range(3):
        target = mixer(x, y).target
    assert target.shape[1] == 5
    assert len(told()) == 1
