import copy
import pickle
from functools import partial

import pytest
import torch
from torch import nn

from alignmixup.taps import FeatureTap, unwrap


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.first = nn.Conv2d(3, 4, 3, padding=1)
        self.second = nn.Conv2d(4, 5, 3, padding=1)

    def forward(self, x):
        return self.second(self.first(x).relu()).mean((2, 3))


class Attention(nn.Module):
    """Returns a tuple, as attention layers do."""

    def forward(self, x):
        return x, "weights"


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
        tap.pop(check=check)


def test_a_live_function_replaces_the_output(net):
    tap = FeatureTap.of(net)
    name = tap.attach("second")
    torch.testing.assert_close(run(net, tap, {name: double}), 2 * net(X))


def test_a_layer_may_be_given_as_a_module(net):
    assert FeatureTap.of(net).attach(net.first) == "first"


def test_there_is_one_tap_and_one_hook_for_a_model(net):
    tap = FeatureTap.of(net)
    tap.attach("first")
    tap.attach("first")
    assert FeatureTap.of(net) is tap
    assert len(net.first._forward_hooks) == 1


def test_nothing_happens_outside_a_block_and_in_eval_mode(net):
    tap = FeatureTap.of(net)
    tap.attach("second")
    clean = net(X)
    net.eval()
    assert torch.equal(run(net, tap, {"second": double}, check=False), clean)


def test_frozen_parts_still_mix_while_the_root_trains(net):
    tap = FeatureTap.of(net)
    tap.attach("second")
    net.second.eval()
    torch.testing.assert_close(run(net, tap, {"second": double}), 2 * net(X))


def test_inner_blocks_shadow_outer_ones(net):
    tap = FeatureTap.of(net)
    tap.attach("second")
    clean = net(X)
    tap.push({"second": double})
    tap.push({})
    assert torch.equal(net(X), clean)
    tap.pop(check=True)
    torch.testing.assert_close(net(X), 2 * clean)
    tap.pop(check=True)
    assert tap.depth == 0


def test_an_inner_run_does_not_count_for_the_outer_block(net):
    tap = FeatureTap.of(net)
    tap.attach("second")
    tap.push({"second": double})
    run(net, tap, {"second": double})
    with pytest.raises(RuntimeError, match="layer 'second' never ran in training mode"):
        tap.pop(check=True)
    assert tap.depth == 0


def test_a_layer_that_never_ran_is_an_error(net):
    tap = FeatureTap.of(net)
    tap.attach("first")
    tap.push({"first": double})
    with pytest.raises(RuntimeError, match=r"layer 'first' never ran .* call model\(batch.x\) inside it"):
        tap.pop(check=True)


def test_copies_and_pickles_start_empty(net):
    tap = FeatureTap.of(net)
    tap.attach("second")
    clean = net(X)
    tap.push({"second": double})
    twin, loaded = copy.deepcopy(net), pickle.loads(pickle.dumps(net))
    assert torch.equal(twin(X), clean)
    assert torch.equal(loaded(X), clean)
    assert FeatureTap.of(twin) is not tap
    assert FeatureTap.of(twin).root is twin
    tap.pop(check=False)


def test_the_state_dict_is_unchanged(net):
    keys = list(net.state_dict())
    FeatureTap.of(net).attach("first")
    assert list(net.state_dict()) == keys


def test_tuples_keep_their_other_entries():
    net = nn.Sequential(nn.Conv2d(3, 6, 1), Attention())
    tap = FeatureTap.of(net)
    tap.attach("1")
    tap.push({"1": double})
    features, weights = net(X)
    tap.pop(check=True)
    torch.testing.assert_close(features, 2 * net[0](X))
    assert weights == "weights"


def test_a_layer_without_a_tensor_is_refused():
    class Odd(nn.Module):
        def forward(self, x):
            return {"features": x}

    net = nn.Sequential(Odd())
    tap = FeatureTap.of(net)
    tap.attach("0")
    with pytest.raises(TypeError, match="layer '0' returns dict: mixing needs a tensor"):
        run(net, tap, {"0": double}, check=False)


@pytest.mark.parametrize("wrap", [lambda m: torch.compile(m, backend="eager"), lambda m: m])
def test_unwrap_finds_the_users_model(net, wrap):
    assert unwrap(wrap(net)) is net


def test_data_parallel_is_refused(net):
    with pytest.raises(TypeError, match="DataParallel is not supported: use DistributedDataParallel"):
        unwrap(nn.DataParallel(net))


def test_unknown_layers_list_near_names(net):
    with pytest.raises(ValueError, match="no layer 'secnd' in Net; near names: 'second'"):
        FeatureTap.of(net).attach("secnd")


def test_a_module_of_another_model_is_refused(net):
    with pytest.raises(ValueError, match="the given Linear is not a layer inside this Net"):
        FeatureTap.of(net).attach(nn.Linear(1, 1))


def test_compiled_models_mix_with_one_graph_for_each_function():
    net = Net()
    tap = FeatureTap.of(net)
    tap.attach("first")
    tap.attach("second")
    counter = torch._dynamo.testing.CompileCounter()
    compiled = torch.compile(net, backend=counter, fullgraph=True)
    for step in range(12):
        amount = torch.full((1,), float(step))
        name = ("first", "second")[step % 2]
        tap.push({name: partial(add, amount=amount)})
        mixed = compiled(X)
        tap.pop(check=True)
        torch.testing.assert_close(mixed, run(net, tap, {name: partial(add, amount=amount)}))
    assert counter.frame_count == 2
