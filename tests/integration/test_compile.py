"""Mixing inside torch.compile: no graph breaks, no recompilation after warm-up, and the results of eager mode."""

import pytest
import torch
from tests.networks import fitting, plain_net
from torch._dynamo.testing import CompileCounter, CompileCounterWithBackend

from alignmixup import AlignMixup, ManifoldMixup, methods


@pytest.fixture(autouse=True)
def fresh_dynamo():
    torch._dynamo.reset()
    yield
    torch._dynamo.reset()


def batches(count):
    generator = torch.Generator().manual_seed(0)
    for _ in range(count):
        yield torch.randn(4, 3, 16, 16, generator=generator), torch.randint(5, (4,), generator=generator)


def net():
    return plain_net(5)


def losses(model, mixer, count):
    found = []
    for x, y in batches(count):
        with mixer(x, y) as batch:
            loss = batch.loss(model(batch.x))
            loss.backward()
        found.append(loss.item())
    return found


# the input, and two layers in one direction or two
@pytest.mark.parametrize(("method", "graphs"), [(AlignMixup, 5), (ManifoldMixup, 3)])
def test_compiled_steps_equal_eager_steps_with_one_graph_for_each_layer_and_direction(method, graphs):
    options = {"layer": ["stage2", "stage4"], "num_classes": 5}
    eager, model, counter = net(), net(), CompileCounterWithBackend("aot_eager")
    expected = losses(eager, method(eager, **options, generator=torch.Generator().manual_seed(0)), 40)
    mixer = method(model, **options, generator=torch.Generator().manual_seed(0))
    compiled = torch.compile(model, backend=counter, fullgraph=True)
    torch.testing.assert_close(losses(compiled, mixer, 40), expected, rtol=1e-4, atol=1e-5)
    assert counter.frame_count == graphs
    losses(compiled, mixer, 40)
    assert counter.frame_count == graphs


@pytest.mark.parametrize("name", methods.available())
@pytest.mark.filterwarnings("ignore:AlignMixup at layer:UserWarning")
def test_no_step_of_any_method_breaks_the_graph(name, digits_mixer):
    model = fitting(name, net())
    mixer = digits_mixer(name, model)
    if not mixer.is_scoped:
        mixer(*next(batches(1)))
        if not any(module._forward_hooks or module._forward_pre_hooks for module in model.modules()):
            return  # what is compiled is the network alone
    counter = CompileCounter()
    compiled = torch.compile(model, backend=counter, fullgraph=True)  # a break is an error
    losses(compiled, mixer, 12)
    assert counter.frame_count >= 1


def test_a_graph_break_is_an_error_here():
    model = net()

    def broken(module, args, output):
        torch._dynamo.graph_break()

    model.stage2.register_forward_hook(broken)
    with pytest.raises(torch._dynamo.exc.Unsupported):
        losses(torch.compile(model, backend="eager", fullgraph=True), methods.build("mixup", num_classes=5), 1)


def test_a_layer_found_automatically_is_hooked_before_the_first_trace():
    model = net()
    mixer = ManifoldMixup(model, num_classes=5, input_probability=0.0)
    compiled = torch.compile(model, backend="eager")
    assert len(losses(compiled, mixer, 3)) == 3


def test_a_model_compiled_and_run_before_the_mixer_is_an_error():
    model = net()
    compiled = torch.compile(model, backend="eager")
    compiled(next(batches(1))[0])
    mixer = ManifoldMixup(model, layer="stage2", num_classes=5, input_probability=0.0)
    with pytest.raises(RuntimeError, match="build the mixer before the model is first run"):
        losses(compiled, mixer, 1)


@pytest.mark.parametrize("name", ["mixup", "cutmix", "switch", "alignmixup"])
@pytest.mark.filterwarnings("ignore:AlignMixup at layer:UserWarning", "ignore:The .grad attribute:UserWarning")
def test_a_whole_step_that_is_compiled_mixes_as_in_eager_mode_in_few_graphs(name, digits_mixer):
    def step(model, mixer, x, y):
        with mixer(x, y) as batch:
            loss = batch.loss(model(batch.x))
            loss.backward()
        return loss.detach()

    eager, model, counter = net(), net(), CompileCounter()
    mixers = [digits_mixer(name, each) for each in (eager, model)]
    compiled = torch.compile(step, backend=counter)
    for x, y in batches(8):
        expected, found = step(eager, mixers[0], x, y), compiled(model, mixers[1], x, y)
        torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)
    assert counter.frame_count <= 10  # where drawing was traced, it alone made 14


@pytest.mark.slow
def test_inductor_agrees_with_eager():
    options = {"layer": "stage4", "num_classes": 5}
    eager, compiled = net(), net()
    expected = losses(eager, AlignMixup(eager, **options, generator=torch.Generator().manual_seed(0)), 8)
    mixer = AlignMixup(compiled, **options, generator=torch.Generator().manual_seed(0))
    found = losses(torch.compile(compiled), mixer, 8)
    torch.testing.assert_close(found, expected, rtol=2e-3, atol=1e-3)
