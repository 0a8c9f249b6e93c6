"""What a look at a model must not do to the step around it, and what it must not miss."""

import copy
import random

import pytest
import torch
from torch import nn
from torch.nn import functional as F
from torch.nn.utils import parametrizations, parametrize

from alignmixup import (
    AlignMixup,
    AlignMixupAE,
    AttentiveMix,
    CoMixup,
    ManifoldMixup,
    MultiMix,
    PuzzleMix,
    TransMix,
)

X, Y = torch.rand(4, 3, 16, 16, generator=torch.Generator().manual_seed(5)), torch.arange(4)
HIDDEN = pytest.mark.parametrize("method", [AlignMixup, ManifoldMixup])


class Net(nn.Module):
    """Two convolutions, the second of which a second view goes around."""

    def __init__(self, *, zero_head=False):
        super().__init__()
        torch.manual_seed(0)
        self.a, self.b, self.head = nn.Conv2d(3, 8, 3, 2, 1), nn.Conv2d(8, 8, 3, 2, 1), nn.Linear(8, 5)
        if zero_head:
            nn.init.zeros_(self.head.weight), nn.init.zeros_(self.head.bias)

    def forward(self, x, view=None):
        x = self.b(self.a(x).relu()).relu()
        around = 0 if view is None else F.adaptive_avg_pool2d(view.repeat(1, 3, 1, 1)[:, :8], 4)
        return self.head((x + around).mean((2, 3)))


class Images(Net):
    def forward(self, x):
        return super().forward(x)


def built(method, model, **options):
    if method in (AlignMixup, ManifoldMixup):
        options = {"input_probability": 0.0, "layer": "a"} | options
    return method(model, num_classes=5, **options)


@pytest.mark.parametrize("zero_head", [False, True])
@pytest.mark.parametrize(
    "method", [AlignMixup, AlignMixupAE, ManifoldMixup, AttentiveMix, PuzzleMix, CoMixup, MultiMix]
)
def test_a_look_inside_autocast_leaves_the_step_its_weights_and_gradients(method, zero_head):
    """Autocast keeps copies of weights: one that the look made would be used by the step."""
    outcomes = []
    options = {"mean": (0.0,) * 3, "std": (1.0,) * 3} if method in (PuzzleMix, AlignMixupAE) else {}
    for looked_at in (False, True):
        model = Images(zero_head=zero_head).train()
        mixer = built(method, model, seed=3, **options)
        if not looked_at:
            mixer.prepare(X)
        with torch.autocast("cpu", torch.bfloat16), mixer(X, Y) as batch:
            logits = model(batch.x)
            batch.loss(logits).backward()
        outcomes.append([logits, *(p.grad for p in model.parameters())])
        assert not zero_head or not logits.any()
        mixer.detach()
    for own, right in zip(*outcomes, strict=True):
        assert own is not None
        torch.testing.assert_close(own, right)


class LowRank(nn.Linear):
    """A LoRA layer, as loralib's: its `train` merges an update into the weight, and takes it out."""

    def __init__(self, inputs, outputs):
        super().__init__(inputs, outputs)
        self.down, self.up, self.merged = nn.Linear(inputs, 2), nn.Linear(2, outputs, bias=False), False
        nn.init.zeros_(self.up.weight)

    def train(self, mode=True):
        super().train(mode)
        if mode == self.merged:
            self.weight.data += (self.up.weight @ self.down.weight) * (-1 if mode else 1)
            self.merged = not mode
        return self

    def forward(self, x):
        return super().forward(x) if self.merged else super().forward(x) + self.up(self.down(x))


class Remembers(Images):
    """Counts, keeps a state, fills a cache and a list, and writes to attributes that were not there."""

    def __init__(self):
        super().__init__()
        self.head, self.calls, self.cache, self.sizes, self.last = LowRank(8, 5), 0, {"first": 1}, [], None

    def forward(self, x):
        self.calls += 1
        self.cache[len(x)] = x
        self.sizes.append(len(x))
        self.last = self.new = x.mean()
        return super().forward(x)


class MadeLate(Images):
    """Makes its head when it first runs."""

    def __init__(self):
        super().__init__()
        del self.head
        self.head = None

    def forward(self, x):
        if self.head is None:
            self.head = nn.Linear(8, 5)
        return super().forward(x)


@pytest.mark.parametrize("method", [AlignMixup, PuzzleMix])
def test_a_head_that_a_look_made_is_the_one_that_trains(method):
    model = MadeLate().train()
    mixer = built(method, model, seed=3, **({"mean": (0.0,) * 3, "std": (1.0,) * 3} if method is PuzzleMix else {}))
    mixer.prepare(X)
    if method is PuzzleMix:  # whose first look is that of the saliency
        mixer(X, Y)
    head = model.head
    assert {id(parameter) for parameter in head.parameters()} < {id(parameter) for parameter in model.parameters()}
    with mixer(X, Y) as batch:
        batch.loss(model(batch.x)).backward()
    assert model.head is head
    assert head.weight.grad is not None


@pytest.mark.parametrize(
    "method", [AlignMixup, AlignMixupAE, ManifoldMixup, AttentiveMix, PuzzleMix, CoMixup, MultiMix]
)
def test_a_look_leaves_what_modules_keep_and_merge_as_it_was(method):
    model = Remembers().train()
    attributes = {name: value for name, value in vars(model).items() if not name.startswith("_")}
    weights = copy.deepcopy(model.state_dict())
    pixels = {"mean": (0.0,) * 3, "std": (1.0,) * 3} if method in (PuzzleMix, AlignMixupAE) else {}
    mixer = built(method, model, seed=3, **({"layer": "a"} if method is AlignMixupAE else {}), **pixels)
    if method is not MultiMix:  # which needs a classifier that is a linear layer, and refuses this one
        mixer.prepare(X)
        batch = mixer(X, Y)
    else:
        with pytest.raises(ValueError, match="has no Linear layer at its end"):
            mixer.prepare(X)
        batch = mixer.clean(X, Y)
    assert {name: value for name, value in vars(model).items() if not name.startswith("_")} == attributes
    assert (model.cache, model.sizes, model.head.merged) == ({"first": 1}, [], False)
    for name, value in model.state_dict().items():
        assert torch.equal(value, weights[name]), name
    with batch:
        batch.loss(model(batch.x)).backward()
    assert model.calls == 1
    assert model.head.up.weight.grad is not None


@pytest.mark.parametrize(
    "method", [AlignMixup, AlignMixupAE, ManifoldMixup, AttentiveMix, PuzzleMix, CoMixup, MultiMix]
)
def test_a_look_leaves_the_step_its_parametrized_weights_and_gradients(method):
    """Where what a parametrization makes is kept for a while: what the look made would be used by the step."""
    outcomes = []
    options = {"mean": (0.0,) * 3, "std": (1.0,) * 3} if method in (PuzzleMix, AlignMixupAE) else {}
    for looked_at in (False, True):
        model = Images().train()
        parametrizations.weight_norm(model.b)
        nn.init.zeros_(model.b.parametrizations.weight.original0)  # a gain that a look swaps
        mixer = built(method, model, seed=3, **options)
        if not looked_at:
            mixer.prepare(X)
            mixed = mixer(X, Y)
        with parametrize.cached(), mixer(X, Y) if looked_at else mixed as batch:
            logits = model(batch.x)
            batch.loss(logits).backward()
        outcomes.append([logits, *(p.grad for p in model.parameters())])
    for own, right in zip(*outcomes, strict=True):
        assert own is not None
        torch.testing.assert_close(own, right)


@HIDDEN
@pytest.mark.parametrize("how", ["by place", "by name"])
def test_a_model_that_is_trained_by_another_call_than_was_proved_is_looked_at_again(method, how):
    model = Net().train()
    mixer = built(method, model)
    places, names = ([X], {}) if how == "by place" else ([], {"view": X})
    with pytest.raises(ValueError, match="layer 'a' does not carry everything"), mixer(X, Y) as batch:
        model(batch.x, *places, **names)


@HIDDEN
def test_a_model_of_optional_inputs_that_are_not_used_costs_no_second_look(method):
    model, calls = Net().train(), []
    model.register_forward_pre_hook(lambda module, args: calls.append(len(args[0])))
    mixer = built(method, model)
    for _ in range(3):
        with mixer(X, Y) as batch:
            model(batch.x)
    assert calls == [2, 10, 4, 4, 4]
    assert len(model._forward_pre_hooks) == 1


@HIDDEN
def test_a_compiled_model_of_optional_inputs_is_one_graph_that_is_made_once(method):
    torch._dynamo.reset()
    model = Net().train()
    mixer = built(method, model, seed=0, **({"keep": "first"} if method is AlignMixup else {}))
    mixer.prepare(X)
    compiled = torch.compile(model, backend="eager", fullgraph=True)
    for step in range(4):
        with torch._dynamo.config.patch(error_on_recompile=step > 1), mixer(X, Y) as batch:
            batch.loss(compiled(batch.x)).backward()
        assert batch.mixed
    torch._dynamo.reset()


@HIDDEN
@pytest.mark.parametrize("layer", ["a", None])
def test_a_compiled_model_of_several_inputs_is_refused_where_nobody_looked_at_it(method, layer):
    class Needs(Net):
        def forward(self, x, view):
            return super().forward(x) + view.mean((1, 2, 3))[:, None]

    torch._dynamo.reset()
    model = Needs().train()
    mixer = built(method, model, layer=layer)
    compiled = torch.compile(model, backend="eager")
    with mixer(X, Y) as batch:
        compiled(batch.x, X)
    with pytest.raises(ValueError, match=r"Needs takes more than images, .* call mixer.prepare\(x, ...\) once"):
        mixer(X, Y)
    mixer.detach()
    torch._dynamo.reset()


@HIDDEN
def test_a_layer_that_runs_several_times_in_training_only_is_refused(method):
    class Deep(Images):
        def forward(self, x):
            x = self.a(x)
            for _ in range(random.randint(2, 3) if self.training else 1):
                x = x + self.loop(x)
            return self.head(x.mean((2, 3)))

    model = Deep()
    model.loop = nn.Conv2d(8, 8, 3, 1, 1)
    with pytest.raises(ValueError, match=r"'loop' runs [23] times"):
        built(method, model.train(), layer="loop").prepare(X)


@pytest.mark.parametrize("method", [AlignMixup, AlignMixupAE, ManifoldMixup, AttentiveMix])
def test_images_stay_as_they_are_where_the_model_works_in_place(method):
    class InPlace(Images):
        def forward(self, x):
            return super().forward(x.sub_(0.5).div_(0.5))

    model, x = InPlace().train(), X.clone()
    mixer = built(method, model)
    mixer.prepare(x)
    mixer(x, Y)
    assert torch.equal(x, X)


@HIDDEN
def test_a_copy_of_a_mixer_that_waits_looks_itself(method):
    class Needs(Net):
        def forward(self, x, view):
            return super().forward(x, view)

    model = Needs().train()
    mixer = built(method, model)
    mixer(X, Y)
    model, mixer = copy.deepcopy((model, mixer))
    with pytest.raises(ValueError, match="layer 'a' does not carry everything"), mixer(X, Y) as batch:
        model(batch.x, X)


@HIDDEN
def test_a_second_view_of_another_resolution_is_a_way_past_a_layer(method):
    class Needs(Net):
        def forward(self, x, view):
            return super().forward(x, view)

    mixer = built(method, Needs().train())
    with pytest.raises(ValueError, match="layer 'a' does not carry everything"):
        mixer.prepare(X, F.avg_pool2d(X, 2))


@HIDDEN
def test_the_first_batch_of_values_of_such_a_model_is_one_of_values(method):
    class Needs(Net):
        def forward(self, x, meta):
            return super().forward(x)[:, :1] + meta

    model = Needs().train()
    mixer = method(model, num_classes=1, targets="values", input_probability=0.0)
    for _ in range(2):
        with mixer(X, torch.rand(4)) as batch:
            predictions = model(batch.x, torch.rand(4, 1))
        assert batch.values
        assert batch.target.shape == (4,)
        with pytest.raises(ValueError, match="the targets are values"):
            batch.loss(predictions)


def test_a_classifier_that_is_only_derived_from_a_linear_layer_is_no_end_of_an_embedding():
    class Cosine(nn.Linear):
        def forward(self, x):
            return F.linear(F.normalize(x, dim=1), F.normalize(self.weight, dim=1))

    model = Images()
    model.head = Cosine(8, 5)
    with pytest.raises(ValueError, match="has no Linear layer at its end through which everything goes"):
        MultiMix(model.train(), num_classes=5).prepare(X)


@pytest.mark.parametrize(("rows", "columns", "refused"), [(2, 8, True), (4, 8, True), (4, 4, False)])
def test_attention_of_tokens_without_a_known_grid_is_refused(rows, columns, refused):
    class Patches(nn.Module):
        def __init__(self):
            super().__init__()
            self.embed, self.head = nn.Linear(48, 8), nn.Linear(8, 5)

        def forward(self, x):
            cut = x.unfold(2, 4, 4).unfold(3, 4, 4).permute(0, 2, 3, 1, 4, 5).reshape(len(x), -1, 48)
            return self.head(self.embed(cut).mean(1))

    x = torch.rand(4, 3, 4 * rows, 4 * columns)
    mixer = AttentiveMix(Patches().train(), num_classes=5, layer="embed")
    if refused:
        with pytest.raises(ValueError, match=r"are no grid over images of .* its attention has no places in the image"):
            mixer(x, Y)
    else:
        assert mixer(x, Y).x.shape == x.shape


def test_patches_that_are_dropped_in_training_have_no_attention_to_share():
    class Drops(nn.Module):
        def __init__(self):
            super().__init__()
            self.patch = nn.Conv2d(3, 8, 4, 4)
            self.cls_token = nn.Parameter(torch.randn(1, 1, 8))
            self.block = nn.TransformerEncoderLayer(8, 2, 16, 0.0, batch_first=True)
            self.head = nn.Linear(8, 5)

        def forward(self, x):
            tokens = self.patch(x).flatten(2).transpose(1, 2)
            tokens = tokens[:, torch.randperm(16)[:4]] if self.training else tokens
            tokens = torch.cat([self.cls_token.expand(len(x), -1, -1), tokens], 1)
            return self.head(self.block(tokens)[:, 0])

    model = Drops().train()
    mixer = TransMix(model, num_classes=5)
    with pytest.raises(RuntimeError, match="5 tokens reach the attention layer, and 17 did"), mixer(X, Y) as batch:
        model(batch.x)


def test_alignmixup_ae_counts_a_batch_once():
    model, calls = Images().train(), []
    mixer = AlignMixupAE(model, num_classes=5, layer="a", mean=(0.0,) * 3, std=(1.0,) * 3)
    mixer.prepare(X)
    model.register_forward_pre_hook(lambda module, args: calls.append(len(args[0])))
    for _ in range(199):
        mixer(X, Y)
    assert not calls
    for _ in range(3):
        mixer(X, Y)
    assert len(calls) == 2
