"""Input gradients: equal to plain autograd, and without a trace on the model."""

import copy
import dataclasses
import os
import tempfile

import pytest
import torch
import torch.distributed as dist
from alignmixup.methods.gradients import input_gradient, input_saliency, saliency_of
from tests.processes import in_two_processes
from torch import nn
from torch.nn import functional as F
from torch.nn.parallel import DistributedDataParallel
from torch.utils.checkpoint import checkpoint

from alignmixup import ManifoldMixup
from alignmixup.models import PreActResNet18

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")


@pytest.fixture
def exact(net):
    """The network in float64, with running statistics that are not those of the batch."""
    net.double()
    with torch.no_grad():
        net(torch.randn(9, 3, 16, 16, dtype=torch.float64, generator=torch.Generator().manual_seed(5)))
    return net


@pytest.fixture
def data(batch):
    return batch[0].double(), F.one_hot(batch[1], 5).double()


def clean_loss(model, x, target, weight=1.0):
    return weight * 2 / 5 * F.cross_entropy(model(x), target)


def gradients(model):
    return {name: None if p.grad is None else p.grad.clone() for name, p in model.named_parameters()}


@pytest.mark.parametrize("train_statistics", [False, True])
def test_gradient_is_that_of_the_summed_cross_entropy(exact, data, train_statistics):
    x, target = data
    found, auxiliary = input_gradient(exact, x, target, train_statistics=train_statistics)
    assert auxiliary is None
    twin = copy.deepcopy(exact).train(train_statistics)
    leaf = x.clone().requires_grad_()
    F.cross_entropy(twin(leaf), target, reduction="sum").backward()
    torch.testing.assert_close(found, leaf.grad)
    assert not found.requires_grad


@pytest.mark.parametrize("scale", ["bce_softmax", "cross_entropy"])
@pytest.mark.parametrize(("columns", "multi_label"), [(5, True), (1, False), (1, True)])
def test_of_yes_no_questions_it_is_that_of_the_binary_cross_entropy(columns, multi_label, scale):
    torch.manual_seed(0)
    model = PreActResNet18(columns, width=4).double()
    x, target = torch.randn(4, 3, 8, 8).double(), torch.randint(2, (4, columns)).double()
    options = {"clean_weight": 0.7, "clean_scale": scale, "multi_label": multi_label}
    found, auxiliary = input_gradient(model, x, target, train_statistics=True, **options)
    auxiliary().backward()
    twin, leaf = copy.deepcopy(model), x.clone().requires_grad_()
    twin.zero_grad()
    loss = F.binary_cross_entropy_with_logits(twin(leaf), target, reduction="sum")
    torch.testing.assert_close(found, torch.autograd.grad(loss, leaf, retain_graph=True)[0])
    term = 0.7 * loss / 4 / (columns if scale == "bce_softmax" else 1)  # its mean, or a sum over the questions
    term.backward()
    torch.testing.assert_close(auxiliary(), term)
    torch.testing.assert_close(gradients(model), gradients(twin))


def test_saliency_is_the_root_mean_square_over_channels():
    gradient = torch.tensor([3.0, 0.0, 4.0]).view(1, 3, 1, 1)
    torch.testing.assert_close(saliency_of(gradient), torch.tensor([[[(25 / 3) ** 0.5]]]))


def test_saliency_does_not_depend_on_batch_mates_in_eval_mode(exact, data):
    x, target = data
    together, _ = input_saliency(exact, x, target, train_statistics=False)
    alone, _ = input_saliency(exact, x[2:3], target[2:3], train_statistics=False)
    assert together.dtype == torch.float32
    torch.testing.assert_close(together[2:3], alone)


@pytest.mark.parametrize("weight", [0.0, 0.7])
@pytest.mark.parametrize("train_statistics", [False, True])
def test_the_model_is_left_alone(exact, data, weight, train_statistics):
    x, target = data
    exact.stage2.eval()
    exact.stage3.requires_grad_(False)
    exact.head.weight.grad = torch.ones_like(exact.head.weight)
    before = copy.deepcopy(exact.state_dict())
    buffers = {name: id(buffer) for name, buffer in exact.named_buffers()}
    flags = [(module.training, [p.requires_grad for p in module.parameters()]) for module in exact.modules()]
    copied, generator = x.clone(), torch.get_rng_state()
    with torch.no_grad():
        input_saliency(exact, x, target, train_statistics=train_statistics, clean_weight=weight)
    assert all(torch.equal(value, before[name]) for name, value in exact.state_dict().items())
    assert {name: id(buffer) for name, buffer in exact.named_buffers()} == buffers
    assert [(m.training, [p.requires_grad for p in m.parameters()]) for m in exact.modules()] == flags
    assert torch.equal(exact.head.weight.grad, torch.ones_like(exact.head.weight))
    assert all(p.grad is None for name, p in exact.named_parameters() if name != "head.weight")
    assert torch.equal(x, copied)
    assert torch.equal(torch.get_rng_state(), generator)


def test_it_comes_back_as_it_was_after_an_error(net, batch):
    net.stage2.eval()
    flags = [module.training for module in net.modules()]
    before = copy.deepcopy(net.state_dict())
    with pytest.raises(RuntimeError):
        input_saliency(net, batch[0][:, :2], F.one_hot(batch[1], 5), train_statistics=True)
    assert [module.training for module in net.modules()] == flags
    assert all(torch.equal(value, before[name]) for name, value in net.state_dict().items())


class Counting(nn.Module):
    """Replaces its buffer instead of writing into it."""

    def __init__(self):
        super().__init__()
        self.register_buffer("seen", torch.zeros(()))
        self.fc = nn.Linear(12, 5)

    def forward(self, x):
        self.seen = self.seen + 1
        return self.fc(x.flatten(1))


def test_a_buffer_that_is_replaced_comes_back():
    net = Counting()
    input_saliency(net, torch.randn(2, 3, 2, 2), torch.eye(5)[:2], train_statistics=True)
    assert net.seen == 0


@pytest.mark.parametrize("scale", ["bce_softmax", "cross_entropy"])
def test_the_clean_term_equals_plain_autograd(exact, data, scale):
    """Mixed and clean loss together, with frozen and with unused parameters, over two accumulated batches."""
    x, target = data
    exact.stage1.requires_grad_(False)
    exact.unused = nn.Parameter(torch.ones(3))
    twin = copy.deepcopy(exact)
    for shift in (0.0, 0.3):
        mixed = x.roll(1, 0) + shift
        _, auxiliary = input_saliency(
            exact, x + shift, target, train_statistics=True, clean_weight=0.7, clean_scale=scale
        )
        loss = F.cross_entropy(exact(mixed), target) + auxiliary()
        loss.backward()
        clean = clean_loss(twin, x + shift, target, 0.7 if scale == "bce_softmax" else 0.7 * 5 / 2)
        expected = F.cross_entropy(twin(mixed), target) + clean
        expected.backward()
        torch.testing.assert_close(loss, expected)
    for name, gradient in gradients(twin).items():
        torch.testing.assert_close(gradients(exact)[name], gradient, rtol=1e-10, atol=1e-12)
    assert exact.unused.grad is None
    assert exact.stem[0].weight.grad is not None


def test_hooks_of_parameters_see_the_whole_gradient_once(exact, data):
    x, target = data
    seen = []
    exact.head.weight.register_hook(lambda gradient: seen.append(gradient) or 3 * gradient)
    _, auxiliary = input_saliency(exact, x, target, train_statistics=True, clean_weight=1.0)
    assert not seen
    (exact(x).mean() + auxiliary()).backward()
    assert len(seen) == 1
    torch.testing.assert_close(exact.head.weight.grad, 3 * seen[0])


def test_a_step_may_use_the_clean_term_once_per_forward(exact, data):
    x, target = data
    _, auxiliary = input_saliency(exact, x, target, train_statistics=True, clean_weight=1.0)
    auxiliary().backward()
    once = gradients(exact)
    (auxiliary() + auxiliary()).backward()
    for name, gradient in gradients(exact).items():
        torch.testing.assert_close(gradient, 3 * once[name])
    with torch.no_grad():
        assert not auxiliary().requires_grad


def test_loss_scaling_reaches_the_stored_gradients(net, batch):
    x, target = batch[0], F.one_hot(batch[1], 5).float()
    _, auxiliary = input_saliency(net, x, target, train_statistics=True, clean_weight=1.0)
    auxiliary().backward()
    plain = gradients(net)
    net.zero_grad()
    scaler = torch.amp.GradScaler("cpu", init_scale=1024.0)
    optimizer = torch.optim.SGD(net.parameters(), lr=0.0)
    scaler.scale(auxiliary()).backward()
    torch.testing.assert_close(net.head.weight.grad, 1024 * plain["head.weight"])
    scaler.unscale_(optimizer)
    for name, gradient in gradients(net).items():
        torch.testing.assert_close(gradient, plain[name])


def test_a_model_without_trained_parameters_has_a_term_without_gradient(net, batch):
    net.requires_grad_(False)
    saliency, auxiliary = input_saliency(net, batch[0], F.one_hot(batch[1], 5), train_statistics=True, clean_weight=1.0)
    assert saliency.sum() > 0
    assert not auxiliary().requires_grad


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_autocast_does_not_underflow(net, batch, dtype):
    x, target = batch[0], F.one_hot(batch[1], 5).float()
    expected, _ = input_saliency(net, x, target, train_statistics=False)
    with torch.autocast("cpu", dtype=dtype):
        found, auxiliary = input_saliency(net, x, target, train_statistics=False, clean_weight=1.0)
    assert found.dtype == torch.float32
    assert F.cosine_similarity(found.flatten(1), expected.flatten(1)).min() > 0.97
    auxiliary().backward()
    assert all(bool(p.grad.isfinite().all()) for p in net.parameters())
    # a network that is sure of its answer has gradients below float16's smallest number
    with torch.no_grad():
        net.head.weight.mul_(12)
        net.head.bias.mul_(12)
    with torch.autocast("cpu", dtype=dtype):
        sure, _ = input_saliency(net, x, net(x).softmax(1).round(), train_statistics=False)
    assert bool(sure.isfinite().all())


def test_flat_models_and_half_images_are_fine(net, batch):
    x, target = batch[0], F.one_hot(batch[1], 5).float()
    half, _ = input_saliency(net, x.half(), target, train_statistics=False)
    full, _ = input_saliency(net, x, target, train_statistics=False)
    torch.testing.assert_close(half, full, rtol=0.05, atol=1e-3)
    nhwc, _ = input_saliency(net, x.to(memory_format=torch.channels_last), target, train_statistics=False)
    torch.testing.assert_close(nhwc, full, rtol=1e-3, atol=1e-5)
    nn.init.zeros_(net.head.weight)
    zero, _ = input_saliency(net, x, target, train_statistics=False)
    assert torch.equal(zero, torch.zeros_like(zero))


def test_an_enclosing_batch_does_not_mix_the_clean_images(net, batch):
    x, target = batch[0], F.one_hot(batch[1], 5).float()
    expected, _ = input_saliency(net, x, target, train_statistics=True)
    mixer = ManifoldMixup(net, layer="stage2", num_classes=5, input_probability=0.0)
    with mixer(*batch) as mixed:
        inside, _ = input_saliency(net, x, target, train_statistics=True)
        net(mixed.x)
    torch.testing.assert_close(inside, expected)


def test_only_what_is_asked_for_is_computed(net, batch):
    """Without a clean term no gradient of a parameter; with it one backward pass for both."""
    x, target = batch[0], F.one_hot(batch[1], 5).float()

    def backward_convolutions(weight):
        with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU]) as profile:
            input_saliency(net, x, target, train_statistics=True, clean_weight=weight)
        return sum(event.count for event in profile.key_averages() if event.key == "aten::convolution_backward")

    assert backward_convolutions(0.0) == backward_convolutions(1.0)
    asked = []
    for parameter in net.parameters():
        parameter.register_hook(asked.append)
    input_saliency(net, x, target, train_statistics=True)
    assert not asked


class Checkpointed(nn.Module):
    def __init__(self, net):
        super().__init__()
        self.net = net

    def forward(self, x):
        return checkpoint(self.net, x, use_reentrant=False)


def test_checkpointed_models(net, batch):
    x, target = batch[0], F.one_hot(batch[1], 5).float()
    before = copy.deepcopy(net.state_dict())
    expected, term = input_saliency(net, x, target, train_statistics=True, clean_weight=1.0)
    found, other = input_saliency(Checkpointed(net), x, target, train_statistics=True, clean_weight=1.0)
    torch.testing.assert_close(found, expected)
    torch.testing.assert_close(other(), term())
    assert all(torch.equal(value, before[name]) for name, value in net.state_dict().items())


def test_compiled_models(net, batch):
    x, target = batch[0], F.one_hot(batch[1], 5).float()
    compiled = torch.compile(net, backend="eager")
    compiled(x)
    expected, _ = input_saliency(net, x, target, train_statistics=False)
    found, _ = input_saliency(compiled, x, target, train_statistics=False)
    torch.testing.assert_close(found, expected)
    net.compile(backend="eager")
    found, _ = input_saliency(net, x, target, train_statistics=False)
    torch.testing.assert_close(found, expected)


def test_errors(net, batch):
    with pytest.raises(ValueError, match=r"shape \(B, C, H, W\), got \(7, 48\)"):
        input_saliency(net, torch.zeros(7, 48), torch.zeros(7, 5), train_statistics=False)
    with pytest.raises(ValueError, match="clean_weight must be >= 0, got -1"):
        input_saliency(net, batch[0], torch.zeros(7, 5), train_statistics=False, clean_weight=-1)


def build(rank):
    torch.manual_seed(0)
    generator = torch.Generator().manual_seed(10 + rank)
    net = PreActResNet18(5, width=4).double()
    target = F.one_hot(torch.randint(5, (4,), generator=generator), 5).double()
    return net, torch.randn(4, 3, 16, 16, generator=generator, dtype=torch.float64), target


def total_gradient(model, x, target):
    _, auxiliary = input_saliency(model, x, target, train_statistics=True, clean_weight=1.0)
    (F.cross_entropy(model(x.roll(1, 0)), target) + auxiliary()).backward()


def worker(rank, folder):
    torch.set_num_threads(1)
    os.environ["OMP_NUM_THREADS"] = "1"
    dist.init_process_group("gloo", init_method=f"file://{folder}/store", rank=rank, world_size=2)
    net, x, target = build(rank)
    total_gradient(DistributedDataParallel(net), x, target)
    torch.save(gradients(net), f"{folder}/{rank}.pt")
    dist.destroy_process_group()


@pytest.mark.xdist_group("processes")
def test_processes_average_the_clean_term_too():
    with tempfile.TemporaryDirectory() as folder:
        in_two_processes(worker, folder)
        found = [torch.load(f"{folder}/{rank}.pt") for rank in range(2)]
    alone = []
    for rank in range(2):
        net, x, target = build(rank)
        total_gradient(net, x, target)
        alone.append(gradients(net))
    for name, gradient in found[0].items():
        torch.testing.assert_close(gradient, found[1][name])
        torch.testing.assert_close(gradient, (alone[0][name] + alone[1][name]) / 2, rtol=1e-9, atol=1e-12)


class Wrapped(nn.Module):
    """A classifier whose output is packed in some way."""

    def __init__(self, pack):
        super().__init__()
        self.pack, self.conv, self.fc = pack, nn.Conv2d(3, 4, 3), nn.Linear(4 * 36, 5)

    def forward(self, x):
        features = self.conv(x).flatten(1)
        return self.pack(features, self.fc(features))


@dataclasses.dataclass
class Output:
    features: torch.Tensor
    logits: torch.Tensor


@pytest.mark.parametrize(
    "pack",
    [
        lambda features, logits: {"features": features, "logits": logits},
        lambda features, logits: (features, logits),
        lambda features, logits: (logits, features),
        Output,
    ],
)
def test_logits_are_found_in_any_output(pack):
    x, target = torch.randn(2, 3, 8, 8), torch.eye(2, 5)
    torch.manual_seed(0)
    model = Wrapped(pack)
    found, _ = input_gradient(model, x, target, train_statistics=False)
    model.pack = lambda features, logits: logits
    expected, _ = input_gradient(model, x, target, train_statistics=False)
    assert torch.equal(found, expected)


def test_what_gives_no_gradient_is_refused_in_one_sentence():
    class Frozen(Wrapped):
        def forward(self, x):
            with torch.no_grad():
                features = self.conv(x).flatten(1)
            return self.fc(features)

    class WithMeta(Wrapped):
        def forward(self, x, meta):
            return super().forward(x)

    x, target = torch.randn(2, 3, 8, 8), torch.eye(2, 5)
    with pytest.raises(ValueError, match="no gradient of the loss reaches the images through Frozen"):
        input_gradient(Frozen(None), x, target, train_statistics=False)
    with pytest.raises(TypeError, match=r"runs the model on the images alone, and WithMeta.forward takes more"):
        input_gradient(WithMeta(None), x, target, train_statistics=False)
    with pytest.raises(TypeError, match=r"needs logits of shape \(2, 5\) from Wrapped"):
        input_gradient(Wrapped(lambda features, logits: features), x, target, train_statistics=False)
