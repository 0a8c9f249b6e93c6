"""What every method promises, checked for each file of the folder through its digits configuration."""

import copy
from dataclasses import replace

import pytest
import torch
from tests.functional.test_arguments import other_defaults
from tests.networks import fitting, plain_net
from torch import nn

from alignmixup import Baseline, Mixer, methods
from alignmixup.options import options_of
from alignmixup.taps import FeatureTap

pytestmark = [
    pytest.mark.parametrize("name", methods.available()),
    pytest.mark.filterwarnings("ignore:AlignMixup at layer:UserWarning"),
]

HIDDEN = 12  # draws after which every branch of a method has been seen


@pytest.fixture
def net(name):
    """One convolution a stage: hundreds of tests train it."""
    return fitting(name, plain_net(5))


def step(net, mixer, x, y):
    with mixer(x, y) as batch:
        loss = batch.loss(net(batch.x), nn.functional.cross_entropy)
        loss.backward()
    return loss.detach(), batch


def forward(net, x):
    """Run the network and restore its running statistics, which a method that looks at it in eval mode would see."""
    buffers = {name: buffer.clone() for name, buffer in net.named_buffers()}
    with torch.no_grad():
        logits = net(x)
        for name, buffer in net.named_buffers():
            buffer.copy_(buffers[name])
    return logits


def test_inputs_are_left_alone(name, make, net, batch):
    x, y = batch
    copies = x.clone(), y.clone()
    mixer = make(name)
    for _ in range(HIDDEN):
        step(net, mixer, x, y)
    assert torch.equal(x, copies[0])
    assert torch.equal(y, copies[1])


def test_shapes_dtypes_and_sums(name, make, net, batch):
    for size in (1, 2, 7):
        x, y = batch[0][:size], batch[1][:size]
        mixer = make(name)
        for _ in range(HIDDEN):
            mixed = mixer(x, y)
            rows = size if mixed.clean_weight is None else 2 * size  # the clean images stand in front
            assert mixed.x.shape == (rows, *x.shape[1:])
            assert mixed.x.dtype == x.dtype
            rows = getattr(mixer, "mixtures", rows)
            assert mixed.target.shape == (rows, 5)
            assert mixed.target.dtype == torch.float32
            torch.testing.assert_close(mixed.target.sum(1), torch.ones(rows))
            assert bool((mixed.target >= 0).all())


def test_odd_batches_train(name, make, net, batch):
    mixer = make(name)
    for size in (2, 3, 7):
        loss, _ = step(net, mixer, batch[0][:size], batch[1][:size])
        assert bool(loss.isfinite())


def test_same_seed_same_batches(name, make, net, batch):
    one, two, other = make(name, seed=3), make(name, seed=3), make(name, seed=4)

    def loss(mixer):
        with mixer(*batch) as mixed, torch.no_grad():
            return mixed.loss(forward(net, mixed.x)).item()

    differs = isinstance(one, Baseline)
    for _ in range(HIDDEN):
        # BatchNorm uses batch statistics in training, so equal draws give equal losses
        found = loss(one)
        assert found == loss(two)
        differs = differs or found != loss(other)
    assert differs


def test_a_draw_is_replayed(name, make, net, batch):
    mixer = make(name)
    x, y = batch
    for _ in range(HIDDEN):
        mixed = mixer(x, y)
        if mixed.draw is None:
            continue
        again = mixer.mix(x, mixed.clean_target[: len(x)], mixed.draw)
        assert torch.equal(mixed.x, again.x)
        assert torch.equal(mixed.target, again.target)
        assert list(mixed.hidden) == list(again.hidden)


def test_state_continues_the_stream(name, make, net, batch):
    mixer = make(name)
    step(net, mixer, *batch)
    state = copy.deepcopy(mixer.state_dict())
    expected = [mixer(*batch).target for _ in range(4)]
    resumed = make(name, seed=99)
    resumed.load_state_dict(state)
    assert all(torch.equal(resumed(*batch).target, target) for target in expected)


def test_the_default_device_and_type_of_the_process_change_nothing(name, make, net, batch):
    """Nor what is drawn: a seed gives the same batches under ``torch.set_default_dtype`` and ``set_default_device``."""
    one, other = make(name), make(name)

    def outcome(mixer):
        with mixer(*batch) as mixed, torch.no_grad():
            return mixed.loss(forward(net, mixed.x))

    for _ in range(HIDDEN // 2):
        expected = outcome(one)
        with other_defaults():
            found = outcome(other)
        assert (found.dtype, found.item()) == (expected.dtype, expected.item())


def test_global_generators_are_untouched(name, make, net, batch):
    mixer = make(name)
    state = torch.get_rng_state()
    for _ in range(HIDDEN):
        mixer(*batch)
    assert torch.equal(torch.get_rng_state(), state)


def test_the_call_leaves_the_model_alone(name, make, net, batch):
    mixer = make(name)
    net.stage2.eval()
    buffers = {key: value.clone() for key, value in net.named_buffers()}
    flags = {key: module.training for key, module in net.named_modules()}
    for _ in range(HIDDEN):
        mixer(*batch)
    assert all(parameter.grad is None for parameter in net.parameters())
    assert all(torch.equal(value, buffers[key]) for key, value in net.named_buffers())
    assert {key: module.training for key, module in net.named_modules()} == flags


def test_eval_is_the_identity(name, make, net, batch):
    mixer = make(name)
    mixer(*batch)
    net.eval()
    mixed = mixer(*batch)
    assert mixed.x is batch[0]
    assert torch.equal(mixed.target, nn.functional.one_hot(batch[1], 5).float())
    with mixed:
        inside = net(mixed.x)
    assert torch.equal(inside, net(batch[0]))


def test_the_tap_is_empty_afterwards_also_on_errors(name, make, net, batch):
    mixer = make(name)
    for _ in range(HIDDEN):
        step(net, mixer, *batch)
        with pytest.raises(ZeroDivisionError), mixer(*batch):
            raise ZeroDivisionError
    assert FeatureTap.of(net).depth == 0


def test_a_forgotten_forward_is_an_error(name, make, net, batch):
    mixer = make(name)
    for _ in range(HIDDEN):
        mixed = mixer(*batch)
        if mixed.hidden:
            with pytest.raises(RuntimeError, match="never ran in training mode"), mixed:
                pass
        else:
            with mixed:
                pass
    assert FeatureTap.of(net).depth == 0


def test_a_method_unpacks_always_or_never(name, make, net, batch):
    """Whatever the coin, the epoch and the mode."""
    mixer = make(name)
    never = mixer if name == "baseline" else make(name, active_epochs=(5, 6), probability=0.5)
    for k in range(HIDDEN):
        net.train(k % 3 != 2)
        for mixed in (mixer(*batch), never(*batch)):
            if mixer.is_scoped:
                with pytest.raises(TypeError, match=r"with mixer\(x, y\) as batch.*mixer.drop_in\(\)"):
                    x, target = mixed
            else:
                assert not mixed.hidden
                assert mixed.auxiliary is None
                x, target = mixed
                assert x is mixed.x
                assert target is mixed.target


def test_an_empty_batch_comes_back(name, make, net, batch):
    x, y = batch
    mixed = make(name)(x[:0], y[:0])
    assert not mixed.mixed
    assert (mixed.x.shape, mixed.target.shape) == ((0, *x.shape[1:]), (0, 5))


def test_a_size_prepares_as_images_do(name, make, net, batch):
    mixer, sized = make(name), make(name)
    mixer.prepare(batch[0])
    sized.prepare(size=tuple(batch[0].shape[1:]))
    assert getattr(sized, "layers", ()) == getattr(mixer, "layers", ())
    assert [p.shape for p in sized.module.parameters()] == [p.shape for p in mixer.parameters()]


def test_what_a_method_says_of_its_loss_is_true(name, make, net, batch):
    mixer = make(name)
    assert any(mixer(*batch).auxiliary is not None for _ in range(HIDDEN)) == mixer.has_auxiliary


def test_a_detached_mixer_leaves_the_model_as_it_was(name, make, net, batch):
    def hooks():
        return [(sorted(vars(m)), len(m._forward_hooks), len(m._forward_pre_hooks)) for m in net.modules()]

    before = hooks()
    with make(name) as mixer:
        for _ in range(3):
            step(net, mixer, *batch)
    assert hooks() == before


def test_soft_labels_equal_class_indices(name, make, net, batch):
    x, y = batch
    hard, soft = make(name), make(name)
    for _ in range(4):
        assert torch.equal(hard(x, y).target, soft(x, nn.functional.one_hot(y, 5)).target)


def test_a_single_column_is_a_yes_no_question(name, make, batch):
    """It trains as its answer in two classes does, but for what is of class indices; and its smoothing is fair."""
    x, y = batch[0], (batch[1] % 2)[:, None].float()
    torch.manual_seed(0)
    net = fitting(name, plain_net(1))
    mixer = make(name, model=net, num_classes=1, label_smoothing=0.1)
    torch.testing.assert_close(mixer.clean(x, y).target, 0.05 + 0.9 * y)
    for _ in range(4):
        with mixer(x, y) as mixed:
            logits = net(mixed.x)
            with pytest.raises(ValueError, match=r"cross-entropy of a single column is 0 .*binary_cross_entropy_with"):
                mixed.loss(logits)
            assert mixed.loss(logits, nn.functional.binary_cross_entropy_with_logits) > 0


def test_multi_label_targets_train_with_bce(name, make, net, batch):
    x, _ = batch
    y = (torch.rand(7, 5, generator=torch.Generator().manual_seed(0)) > 0.5).int()
    if name == "remix":
        with pytest.raises(ValueError, match=r"images of multi_label have any number of them: use Mixup"):
            make(name, multi_label=True)
        return
    mixer = make(name, multi_label=True, label_smoothing=0.1)
    for _ in range(4):
        with mixer(x, y) as mixed:
            loss = mixed.loss(net(mixed.x), nn.BCEWithLogitsLoss())
            loss.backward()
        assert bool(loss.isfinite())
        assert mixed.target.min() >= 0.05 - 1e-6
        assert mixed.target.max() <= 0.95 + 1e-6


@pytest.mark.parametrize("lam_per", ["batch", "pair", "sample"])
def test_every_kind_of_lambda(name, make, net, batch, lam_per):
    if "lam_per" not in methods.options(name):
        with pytest.raises(ValueError, match=r"has no option 'lam_per'|lam_per has no meaning"):
            make(name, lam_per="sample")
        return
    mixer = make(name, lam_per=lam_per)
    for _ in range(4):
        loss, mixed = step(net, mixer, *batch)
        assert bool(loss.isfinite())
        if mixed.draw is None:
            continue
        lam, perm = mixed.draw.lam, mixed.draw.perm
        assert lam.shape == (7,)
        assert lam.dtype == torch.float32
        if lam_per == "pair":
            assert torch.equal(perm[perm], torch.arange(7))
        # λ, and whatever else a method draws for each sample: ratios, shares, boxes
        drawn = {key: value for key, value in vars(mixed.draw).items() if isinstance(value, torch.Tensor)}
        for key, value in drawn.items():
            if key == "perm" or getattr(mixed.draw, "clean", False):
                continue
            assert (len(value.unique(dim=0)) == 1) == (lam_per == "batch"), key
            if lam_per == "pair":
                assert torch.equal(value, value[perm]), key


def test_a_draw_says_all_of_its_batch(name, make, net, batch):
    """What is shared is decided when it is drawn: mixing reads the draw alone, whatever the mixer's option says."""
    one, shared = make(name), make(name)
    if "lam_per" not in options_of(type(one)):
        return
    one.lam_per, shared.lam_per = "sample", "batch"
    x, target = batch[0], nn.functional.one_hot(batch[1], 5).float()
    one.prepare(x)
    shared.prepare(x)
    for _ in range(HIDDEN):
        draw = one.draw(x, target)
        first, again = one.mix(x, target, draw), shared.mix(x, target, draw)
        assert torch.equal(first.x, again.x)
        assert torch.equal(first.target, again.target)


@pytest.mark.parametrize("lam_per", ["batch", "pair", "sample"])
def test_labels_weigh_what_is_mixed(name, make, net, lam_per):
    """Of images of one brightness each, a mixture has the mean brightness that its label says."""
    by_another_rule = ("remix", "stylemix", "stylecutmix", "transmix")
    if name in by_another_rule or (lam_per != "batch" and "lam_per" not in methods.options(name)):
        return
    mixer = make(name) if lam_per == "batch" else make(name, lam_per=lam_per)
    brightness = torch.tensor([0.1, 0.3, 0.9, 0.5, 0.7])
    for height, width in ((16, 16), (32, 16), (16, 48)):
        x = brightness.view(5, 1, 1, 1).expand(5, 3, height, width)
        for _ in range(HIDDEN // 2):
            mixed = mixer(x, torch.arange(5))
            if not mixed.hidden:
                torch.testing.assert_close(mixed.x.mean((1, 2, 3)), mixed.target @ brightness, atol=1e-5, rtol=0)


def test_pair_targets_give_the_same_loss(name, make, net, batch):
    mixer = make(name)
    for _ in range(4):
        with mixer(*batch) as mixed, torch.no_grad():
            logits = net(mixed.x)
        if not mixed.pairwise:
            with pytest.raises(TypeError, match="mixed from more than two"):
                mixed.pair_targets()
            continue
        first, partner, lam = mixed.pair_targets()
        pairwise = lam * nn.functional.cross_entropy(logits, first, reduction="none")
        pairwise = pairwise + (1 - lam) * nn.functional.cross_entropy(logits, partner, reduction="none")
        without_auxiliary = replace(mixed, auxiliary=None)
        torch.testing.assert_close(pairwise.mean(), without_auxiliary.loss(logits))


def test_two_forwards_of_one_batch_agree(name, make, net, batch):
    mixer = make(name)
    for _ in range(4):
        with mixer(*batch) as mixed, torch.no_grad():
            assert torch.equal(net(mixed.x), net(mixed.x))


def test_training_lowers_the_loss(name, make, net, batch):
    mixer = make(name)
    x, y = batch
    optimizer = torch.optim.SGD(net.parameters(), lr=0.05, momentum=0.9)

    def clean_loss():
        with torch.no_grad():
            return nn.functional.cross_entropy(net(x), y).item()

    before = clean_loss()
    for _ in range(25):
        step(net, mixer, x, y)
        optimizer.step()
        optimizer.zero_grad()
    assert clean_loss() < 0.8 * before


def test_probability_and_epochs_switch_mixing_off(name, make, net, batch):
    never = make(name, probability=0.0)
    assert not never(*batch).mixed
    if name == "baseline":
        with pytest.raises(ValueError, match="active_epochs has no meaning in 'baseline', where nothing is mixed"):
            make(name, active_epochs=(1, 2))
        return
    ranged = make(name, active_epochs=(1, 2), probability=1.0)
    mixed = []
    for epoch in range(3):
        ranged.set_epoch(epoch)
        mixed.append(ranged(*batch).draw is not None)
    assert mixed == [False, True, False]


def test_drop_in_trains_a_loop_that_cannot_be_edited(name, make, net, batch):
    mixer, twin = make(name), make(name)
    if mixer.has_auxiliary or ((late := mixer(*batch).late) and late.early is None):
        with pytest.raises(TypeError, match=r"auxiliary loss, which a drop-in cannot add|finds labels in the forward"):
            mixer.drop_in()
        return
    mixer = make(name)
    mixup_fn = mixer.drop_in()
    for _ in range(HIDDEN):
        with twin(*batch) as mixed, torch.no_grad():
            expected = mixed.loss(forward(net, mixed.x))
        with torch.no_grad():
            x, target = mixup_fn(*batch)
            loss = nn.functional.cross_entropy(net(x), target)
        torch.testing.assert_close(loss, expected)
    mixup_fn.close()
    assert FeatureTap.of(net).depth == 0


def test_autocast_and_half_inputs(name, make, net, batch):
    mixer = make(name)
    x, y = batch
    for _ in range(4):
        with torch.autocast("cpu", dtype=torch.bfloat16), mixer(x, y) as mixed:
            loss = mixed.loss(net(mixed.x))
        assert bool(loss.isfinite())
    for dtype in (torch.float16, torch.bfloat16):
        mixed = mixer(x.to(dtype), y)
        assert mixed.x.dtype == dtype
        assert mixed.target.dtype == torch.float32


def test_copies_of_the_model_stay_unmixed(name, make, net, batch):
    mixer = make(name)
    for _ in range(4):
        with mixer(*batch) as mixed:
            twin = copy.deepcopy(net)
            torch.testing.assert_close(twin(batch[0]), copy.deepcopy(net)(batch[0]))
            with torch.no_grad():
                net(mixed.x)
        clean = copy.deepcopy(twin).eval()(batch[0])
        assert torch.equal(twin.eval()(batch[0]), clean)


def test_masks_say_what_the_labels_say(name, make, net, batch):
    mixer = make(name)
    x, y = batch
    for _ in range(HIDDEN):
        mixed = mixer(x, y)
        if mixed.mask is None:
            continue
        mask, one_hot = mixed.mask(), nn.functional.one_hot(y, 5).float()
        assert mask.min() >= 0
        if mask.ndim == 4:  # weights of a group's inputs; this batch is one group
            torch.testing.assert_close(mask.sum(3), torch.ones(mask.shape[:3]))
            torch.testing.assert_close(mask.mean((1, 2)) @ one_hot, mixed.target)
        else:
            own = mask.mean((1, 2))[:, None]
            torch.testing.assert_close(own * one_hot + (1 - own) * one_hot[mixed.draw.perm], mixed.target)


def test_masks_and_boxes_travel_along_or_are_refused(name, make, net, batch):
    mixer = make(name)
    x, y = batch
    given = {"masks": torch.rand(7, 2, 16, 16), "boxes": torch.tensor([[2.0, 3.0, 9.0, 8.0]]).expand(7, 1, 4)}
    for kind, value in given.items():
        if kind not in mixer.carries:
            with pytest.raises(TypeError, match=f"cannot bring {kind} along"):
                mixer(x, y, **{kind: value})
            continue
        for _ in range(HIDDEN):
            with mixer(x, y, **{kind: value}) as mixed, torch.no_grad():
                forward(net, mixed.x)
            assert (mixed.parents is None) == (not mixed.mixed)
            if kind == "masks":
                assert mixed.masks.shape == value.shape
                assert bool(((mixed.masks >= -1e-5) & (mixed.masks <= 1 + 1e-5)).all())
            else:
                for row, found in enumerate(mixed.boxes):
                    assert set(found.parent.tolist()) <= {row, int(mixed.perm[row])}
                assert all(bool(((found.weight > 0) & (found.weight <= 1 + 1e-5)).all()) for found in mixed.boxes)


def test_lam_perm_and_mixed_say_what_the_labels_say(name, make, net, batch):
    mixer = make(name)
    for mixed in [mixer(*batch) for _ in range(HIDDEN)] + [mixer.clean(*batch)]:
        own, clean = mixed.lam[:, None], mixed.clean_target
        if (weights := getattr(mixed.draw, "weights", None)) is not None:  # of all examples in each mixture
            torch.testing.assert_close(weights.sum(1), torch.ones(len(mixed.target)))
            torch.testing.assert_close(weights @ clean, mixed.target)
            clean = clean[weights.argmax(1)]
        assert own.shape == (len(mixed.target), 1)
        assert isinstance(mixed.mixed, bool)
        if not mixed.mixed:
            assert bool((own == 1).all())
        if mixed.pairwise:
            torch.testing.assert_close(own * clean + (1 - own) * clean[mixed.perm], mixed.target)
        else:
            assert bool(((mixed.target - own * clean) >= -1e-6).all())


def test_a_draw_of_another_method_is_refused_in_a_sentence(name, make, net, batch):
    mixer = make(name, probability=1.0) if "probability" in methods.options(name) else make(name)
    mixer.prepare(batch[0])
    target = mixer.clean(*batch).target
    if name == "baseline":
        return  # it takes None and looks at nothing
    needs = rf"{type(mixer).__name__}.mix needs a \w*Draw \(.*\), got \w+: take it from"
    for wrong in (None, torch.ones(7), Mixer):
        with pytest.raises(TypeError, match=needs):
            mixer.mix(batch[0], target, wrong)
