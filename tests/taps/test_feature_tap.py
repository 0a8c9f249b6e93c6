import copy
import gc
import pickle
import weakref
from functools import partial
from types import SimpleNamespace

import pytest
import torch
from torch import nn

from alignmixup import AlignMixup
from alignmixup.taps import Attachment, FeatureTap, Form, LayerMix, unwrap
from alignmixup.taps.outputs import tensors_of


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.first = nn.Conv2d(3, 4, 3, padding=1)
        self.second = nn.Conv2d(4, 5, 3, padding=1)

    def forward(self, x):
        return self.second(self.first(x).relu()).mean((2, 3))


def double(features):
    return 2 * features


def add(features, amount):
    return features + amount


X = torch.randn(2, 3, 4, 4)


@pytest.fixture
def net():
    torch.manual_seed(0)
    return Net()


def run(net, tap, hidden, check=True):
    tap.push(hidden)
    try:
        return net(X)
    finally:
        tap.pop(hidden, check=check)


def test_a_live_function_replaces_the_output(net):
    tap = Attachment(net)
    name = tap.attach("second")
    torch.testing.assert_close(run(net, tap, {name: double}), 2 * net(X))


def test_a_layer_may_be_given_as_a_module_or_by_another_of_its_names(net):
    net.alias = net.first
    tap = Attachment(net)
    assert tap.attach(net.first) == tap.attach("alias") == "first"
    assert len(net.first._forward_hooks) == 1


def test_there_is_one_tap_and_one_hook_for_a_model(net):
    one, two = Attachment(net), Attachment(net)
    one.attach("first")
    one.attach("first")
    two.attach("first")
    assert one.tap is two.tap is FeatureTap.of(net)
    assert len(net.first._forward_hooks) == 1


def test_nothing_happens_outside_a_block_and_in_eval_mode(net):
    tap = Attachment(net, ("second",))
    clean = net(X)
    net.eval()
    assert torch.equal(run(net, tap, {"second": double}, check=False), clean)


def test_frozen_parts_still_mix_while_the_root_trains(net):
    tap = Attachment(net, ("second",))
    net.second.eval()
    torch.testing.assert_close(run(net, tap, {"second": double}), 2 * net(X))


def test_inner_blocks_shadow_outer_ones(net):
    tap = Attachment(net, ("second",))
    clean = net(X)
    outer, inner = {"second": double}, {}
    tap.push(outer)
    tap.push(inner)
    assert torch.equal(net(X), clean)
    tap.pop(inner, check=True)
    torch.testing.assert_close(net(X), 2 * clean)
    tap.pop(outer, check=True)
    assert FeatureTap.of(net).depth == 0


def test_a_block_ends_with_its_own_functions_and_after_those_inside_it(net):
    tap = Attachment(net, ("second",))
    clean, outer, inner = net(X), {"second": double}, {"second": lambda x: 3 * x}
    tap.push(outer)
    tap.push(inner)
    with pytest.raises(RuntimeError, match="a block ended before one that began inside it"):
        tap.pop(outer, check=True)
    torch.testing.assert_close(net(X), 3 * clean)
    tap.pop(inner, check=True)
    assert torch.equal(net(X), clean)


def test_an_inner_run_does_not_count_for_the_outer_block(net):
    tap = Attachment(net, ("second",))
    outer = {"second": double}
    tap.push(outer)
    run(net, tap, {"second": double})
    with pytest.raises(RuntimeError, match="layer 'second' never ran in training mode"):
        tap.pop(outer, check=True)
    assert FeatureTap.of(net).depth == 0


def test_a_layer_that_never_ran_is_an_error(net):
    tap = Attachment(net, ("first",))
    hidden = {"first": double}
    tap.push(hidden)
    with pytest.raises(RuntimeError, match=r"layer 'first' never ran .* call model\(batch.x\) inside it"):
        tap.pop(hidden, check=True)


def found(net):
    """All that hooks could have left in a model."""
    kinds = [key for key in vars(net) if "hook" in key]
    return {name: [dict(vars(m)[kind] or {}) for kind in kinds] for name, m in net.named_modules()}, sorted(vars(net))


@pytest.mark.parametrize("leave", [lambda tap: tap.release(), lambda tap: None])
def test_a_released_or_forgotten_attachment_leaves_the_model_as_it_was(net, leave):
    net.first.register_forward_hook(lambda *_: None)  # one of the user's own stays
    before, pickled = found(net), list(net.state_dict())
    tap = Attachment(net, ("first", "second"))
    tap.on_forward(lambda *_: None)
    leave(tap)
    del tap
    gc.collect()
    assert found(net) == before
    assert list(net.state_dict()) == pickled


def test_a_hook_that_others_use_stays(net):
    one, two = Attachment(net, ("second",)), Attachment(net, ("second",))
    one.release()
    one.release()
    torch.testing.assert_close(run(net, two, {"second": double}), 2 * net(X))
    with pytest.raises(RuntimeError, match="detached from its model"):
        one.attach("first")
    two.release()
    with pytest.raises(RuntimeError, match="the hook of layer 'second' is gone: its mixer was detached"):
        two.push({"second": double})


def test_a_model_is_not_kept_alive():
    net = Net()
    Attachment(net, ("first",)).release()
    watched = weakref.ref(net)
    del net
    gc.collect()
    assert watched() is None


def test_copies_and_pickles_are_idle_and_need_no_package_of_ours(net):
    tap = Attachment(net, ("second",))
    clean = net(X)
    hidden = {"second": double}
    tap.push(hidden)
    dumped = pickle.dumps(net)
    twin, loaded = copy.deepcopy(net), pickle.loads(dumped)
    assert torch.equal(twin(X), clean)
    assert torch.equal(loaded(X), clean)
    assert b"alignmixup" not in dumped
    own = Attachment(twin, ("second",))
    tap.pop(hidden, check=False)
    torch.testing.assert_close(run(twin, own, {"second": double}), 2 * clean)
    assert torch.equal(net(X), clean)


def test_a_copied_attachment_belongs_to_the_copied_model(net):
    twin, tap = copy.deepcopy((net, Attachment(net, ("second",))))
    torch.testing.assert_close(run(twin, tap, {"second": double}), 2 * net(X))


@pytest.mark.parametrize(
    "wrap", [lambda t: (t, "weights"), lambda t: [t, t], lambda t: {"a": t}, lambda t: ({"a": t},)]
)
def test_every_tensor_of_an_output_is_mixed(wrap):
    class Branches(nn.Module):
        def forward(self, x):
            return wrap(x)

    net = nn.Sequential(nn.Conv2d(3, 6, 1), Branches())
    plain = net(X)
    mixed = run(net, Attachment(net, ("1",)), {"1": LayerMix(double, whole=True)})
    for own, new in zip(tensors_of(plain), tensors_of(mixed), strict=True):
        torch.testing.assert_close(new, 2 * own)
    assert type(mixed) is type(plain)


def test_branches_of_different_forms_are_each_seen_in_their_own():
    class Branches(nn.Module):
        def forward(self, x):
            return x, x.flatten(2).mT, x.mean((2, 3))

    net, seen = nn.Sequential(Branches()), []

    def note(features):
        seen.append(tuple(features.shape))
        return features

    forms = Form("channels_first"), Form("tokens"), Form("channels_first")
    run(net, Attachment(net, ("0",)), {"0": LayerMix(note, forms)})
    assert seen == [(2, 3, 4, 4), (2, 3, 4, 4), (2, 3, 1)]


def test_a_layer_without_a_tensor_is_refused():
    class Odd(nn.Module):
        def forward(self, x):
            return {"features": "none"}

    net = nn.Sequential(Odd())
    with pytest.raises(TypeError, match="layer '0' returns dict: mixing needs a tensor"):
        run(net, Attachment(net, ("0",)), {"0": double}, check=False)


@pytest.mark.parametrize("wrap", [lambda m: torch.compile(m, backend="eager"), lambda m: m])
def test_unwrap_finds_the_users_model(net, wrap):
    assert unwrap(wrap(net)) is net


def test_data_parallel_is_refused(net):
    with pytest.raises(TypeError, match="DataParallel is not supported: use DistributedDataParallel"):
        unwrap(nn.DataParallel(net))


def test_unknown_layers_list_near_names(net):
    with pytest.raises(ValueError, match=r"no layer 'secnd' in Net .*did you mean second\?"):
        FeatureTap.of(net).resolve("secnd")


def test_a_hook_that_looks_may_come_inside_the_block(net):
    """As those that libraries put on a layer at its first run, and that see what was mixed."""
    tap, seen = Attachment(net, ("second",)), []
    hidden = {"second": double}
    tap.push(hidden)
    net.second.register_forward_hook(lambda layer, args, output: seen.append(output))
    net(X)
    tap.pop(hidden, check=True)
    net(X)
    mixed, plain = seen
    torch.testing.assert_close(mixed, 2 * plain)


def test_an_object_beside_the_features_is_the_models_own():
    """It is neither copied nor mixed, and may hold itself; an object that is all of the output is mixed."""

    class Layer(nn.Module):
        def forward(self, x):
            self.context = SimpleNamespace(seen=x)
            self.context.parent = self.context
            return 3 * x, self.context

    net = nn.Sequential(Layer())
    mixed, context = run(net, Attachment(net, ("0",)), {"0": double})
    torch.testing.assert_close(mixed, 6 * X)
    assert context is net[0].context
    assert context.seen is X


def test_a_module_of_another_model_is_refused(net):
    with pytest.raises(ValueError, match="the given Linear is not a layer inside this Net"):
        FeatureTap.of(net).resolve(nn.Linear(1, 1))


def test_compiled_models_mix_with_one_graph_for_each_function():
    net = Net()
    tap = Attachment(net, ("first", "second"))
    counter = torch._dynamo.testing.CompileCounter()
    compiled = torch.compile(net, backend=counter, fullgraph=True)
    for step in range(12):
        amount = torch.full((1,), float(step))
        name = ("first", "second")[step % 2]
        hidden = {name: partial(add, amount=amount)}
        tap.push(hidden)
        mixed = compiled(X)
        tap.pop(hidden, check=True)
        torch.testing.assert_close(mixed, run(net, tap, {name: partial(add, amount=amount)}))
    assert counter.frame_count == 2


def test_a_replica_of_data_parallel_is_refused(net, monkeypatch):
    """Where the model was wrapped after its mixer, so that only the hook can know; replicas need GPUs."""
    mixer = AlignMixup(net, layer="first", num_classes=5, input_probability=0.0, carry_test=False)
    monkeypatch.setattr(net.first, "_is_replica", True, raising=False)  # as torch marks them
    with (
        pytest.raises(TypeError, match="DataParallel is not supported"),
        mixer(torch.randn(4, 3, 8, 8), torch.arange(4)) as batch,
    ):
        net(batch.x)
