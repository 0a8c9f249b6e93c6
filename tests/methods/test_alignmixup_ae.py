import copy
import logging
from functools import partial

import pytest
import torch
import torchvision
from torch import nn
from torch._dynamo.testing import CompileCounter
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint

from alignmixup import methods
from alignmixup.functional import align_mix
from alignmixup.functional.reconstruction import structural_similarity
from alignmixup.methods.alignmixup_ae import AEDraw, AlignMixupAE

PERM = torch.tensor([1, 2, 3, 4, 5, 6, 0])
LAM = torch.full((7,), 0.3)
CLEAN = AEDraw(lam=torch.ones(7), perm=torch.arange(7), layer=None, keep="first", clean=True)


def mixed_draw(layer):
    return AEDraw(lam=LAM, perm=PERM, layer=layer, keep="first", clean=False)


def build(net, **options):
    known = {"num_classes": 5, "layer": "stage4", "mean": (0.5,), "std": (0.25,), "decoder_width": 4}
    return AlignMixupAE(net, generator=torch.Generator().manual_seed(0), **{**known, **options})


def prepared(net, batch, **options):
    mixer = build(net, **options)
    mixer.prepare(batch[0])
    generator = torch.Generator().manual_seed(2)
    for parameter in mixer.parameters():
        if not parameter.any():  # weights that begin as zeros let no gradient through
            nn.init.normal_(parameter, std=0.3, generator=generator)
    return mixer


def until(net, x, stage="stage4"):
    """The map of a stage, as the training network computes it; leaves running statistics alone."""
    twin = copy.deepcopy(net)
    twin.load_state_dict(net.state_dict())
    features = twin.stem(x)
    for number in range(1, int(stage[-1]) + 1):
        features = twin.get_submodule(f"stage{number}")(features)
    return features


def targets(y):
    return torch.eye(5)[y]


def test_a_clean_batch_is_classified_and_reconstructed(net, batch):
    x, y = batch
    mixer = prepared(net, batch, reconstruction_weight=0.7)
    features = until(net, x)
    with mixer.mix(x, targets(y), CLEAN) as clean:
        logits = net(clean.x)
        loss = clean.loss(logits)
    assert clean.x is x
    assert torch.equal(clean.target, targets(y))
    torch.testing.assert_close(loss, F.cross_entropy(logits, y) + 0.7 * F.mse_loss(mixer.decoder(features), x))


def gradients(net, mixer, x, y):
    net.zero_grad()
    with mixer.mix(x, targets(y), CLEAN) as clean:
        clean.loss(net(clean.x)).backward()
    return {name: parameter.grad for name, parameter in net.named_parameters()}


def test_the_reconstruction_trains_the_encoder_and_not_the_head(net, batch):
    x, y = batch
    mixer = prepared(net, batch, reconstruction_weight=2.0)
    found = gradients(net, mixer, x, y)
    classified = torch.autograd.grad(F.cross_entropy(net(x), y), list(net.parameters()))
    encoder = list(nn.ModuleList([net.stem, net.stage1, net.stage2, net.stage3, net.stage4]).parameters())
    features = net.stage4(net.stage3(net.stage2(net.stage1(net.stem(x)))))
    reconstructed = torch.autograd.grad(2.0 * F.mse_loss(mixer.decoder(features), x), encoder)
    for (name, gradient), first, second in zip(found.items(), classified, reconstructed, strict=False):
        torch.testing.assert_close(gradient, first + second, msg=name, atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(found["head.weight"], classified[-2])
    assert all(parameter.grad.abs().sum() > 0 for parameter in mixer.parameters())


def test_detached_features_train_the_decoder_alone(net, batch):
    x, y = batch
    mixer = prepared(net, batch, detach_features=True)
    found = gradients(net, mixer, x, y)
    classified = torch.autograd.grad(F.cross_entropy(net(x), y), list(net.parameters()))
    torch.testing.assert_close(list(found.values()), list(classified))
    assert all(parameter.grad.abs().sum() > 0 for parameter in mixer.parameters())


def test_the_classifier_never_sees_a_decoded_image(net, batch):
    """It runs once a step, on the batch's own images, and nothing that it says depends on the decoder."""
    x, y = batch
    mixer = prepared(net, batch, reconstruct_aligned=True)
    seen = {"network": [], "stem": []}
    net.register_forward_pre_hook(lambda _, args: seen["network"].append(args[0]))
    net.stem.register_forward_pre_hook(lambda _, args: seen["stem"].append(args[0]))
    for step in range(1, 10):
        with mixer(x, y) as mixed:
            logits = net(mixed.x)
            mixed.loss(logits).backward(retain_graph=True)
        assert [len(inputs) for inputs in seen.values()] == [step, step]
        assert seen["network"][-1] is mixed.x is seen["stem"][-1]
        assert mixed.draw.layer is None or mixed.x is x
        unused = torch.autograd.grad(logits.sum(), list(mixer.parameters()), allow_unused=True)
        assert all(gradient is None for gradient in unused)


@pytest.mark.parametrize(("share", "clean"), [(1 / 3, "001001001"), (0.5, "010101010"), (1.0, "111111111")])
def test_clean_batches_are_evenly_spaced(net, batch, share, clean):
    for seed in (0, 1):
        mixer = build(net, clean_share=share)
        mixer.generator.manual_seed(seed)
        assert "".join(str(int(mixer(*batch).draw.clean)) for _ in range(9)) == clean


@pytest.mark.parametrize("share", [0.05, 0.29, 0.7])
def test_the_share_of_clean_batches_is_exact(net, batch, share):
    mixer = build(net, clean_share=share)
    mixer.prepare(batch[0])
    clean = [mixer.draw(batch[0], targets(batch[1])).clean for _ in range(300)]
    assert all(abs(sum(clean[:count]) - share * count) <= 1 for count in range(1, 301))


def test_a_clean_draw_has_its_own_pairs(net, batch):
    first, partner, lam = build(net).mix(batch[0], targets(batch[1]), CLEAN).pair_targets()
    assert torch.equal(lam, torch.ones(7))
    assert torch.equal(first, partner)


def test_mixed_batches_are_alignmixups(net, batch):
    x, y = batch
    mixer = prepared(net, batch, layer=["stage3", "stage4"])
    for layer in (None, "stage3", "stage4"):
        ours = mixer.mix(x, targets(y), mixed_draw(layer))
        theirs = methods.build("alignmixup", model=net, num_classes=5, options={"layer": ["stage3", "stage4"]}).mix(
            x, targets(y), mixed_draw(layer)
        )
        assert ours.auxiliary is None
        found = []
        for mixed in (ours, theirs):
            with mixed, torch.no_grad():
                found.append(copy.deepcopy(net)(mixed.x) if layer is None else net(mixed.x))
        torch.testing.assert_close(*found)


def test_aligned_batches_are_reconstructed_from_their_clean_map(net, batch):
    x, y = batch
    mixer = prepared(net, batch, clean_share=0, input_probability=0.0, reconstruct_aligned=True)
    features = until(net, x)
    with mixer.mix(x, targets(y), mixed_draw("stage4")) as mixed:
        logits = net(mixed.x)
        auxiliary = mixed.auxiliary()
    torch.testing.assert_close(auxiliary, F.mse_loss(mixer.decoder(features), x))
    aligned = align_mix(features, PERM, LAM, "first")
    tail = copy.deepcopy(net)
    torch.testing.assert_close(logits, tail.head(tail.pool(tail.norm(aligned)).flatten(1)), atol=1e-4, rtol=1e-4)
    assert all(mixer(*batch).auxiliary is not None for _ in range(6))


def test_only_batches_whose_map_is_clean_are_reconstructed(net, batch):
    x, y = batch
    options = {"layer": ["stage2", "stage3", "stage4"], "decoder_layer": "stage3", "reconstruct_aligned": True}
    mixer = prepared(net, batch, **options)
    features = until(net, x, "stage3")
    for layer, reconstructed in ((None, False), ("stage2", False), ("stage3", True), ("stage4", True)):
        with mixer.mix(x, targets(y), mixed_draw(layer)) as mixed, torch.no_grad():
            net(mixed.x)
            assert (mixed.auxiliary is not None) == reconstructed
            if reconstructed:
                torch.testing.assert_close(mixed.auxiliary(), F.mse_loss(mixer.decoder(features), x))


def test_a_layer_behind_all_mixing_has_nothing_to_reconstruct(net, batch):
    mixer = build(net, layer="stage2", decoder_layer="stage4", clean_share=0, reconstruct_aligned=True)
    with pytest.raises(ValueError, match="mixing at 'stage2' comes before decoder_layer='stage4'"):
        mixer.prepare(batch[0])


@pytest.mark.filterwarnings("ignore:AlignMixup at layer:UserWarning")
def test_the_decoder_layer_follows_the_aligned_one(net, batch):
    assert prepared(net, batch, layer=["stage2", "stage3"]).decoder_layer == "stage3"
    assert prepared(net, batch, layer=None).decoder_layer == "norm"
    mixer = prepared(net, batch, layer=None, decoder_layer=net.stage2)
    assert mixer.decoder_layer == "stage2"
    assert (mixer.decoder.in_channels, mixer.decoder.feature_size, mixer.decoder.image_size) == (8, (8, 8), (16, 16))


@pytest.mark.parametrize("ask", [lambda m: m.parameters(), lambda m: m.decoder, lambda m: m.decode(torch.zeros(1))])
def test_there_is_no_decoder_before_prepare(net, ask):
    with pytest.raises(RuntimeError, match=r"call mixer.prepare\(size=.*or mixer.prepare\(x\) with a batch"):
        ask(build(net))


def test_forgotten_parameters_are_reported_once(net, batch, caplog):
    forgetful, careful = build(net, clean_share=1.0), prepared(net, batch, clean_share=1.0)
    for mixer, warnings in ((forgetful, 1), (careful, 0)):
        caplog.clear()
        with caplog.at_level(logging.WARNING, logger="alignmixup"):
            for _ in range(2):
                with mixer(*batch) as clean:
                    clean.loss(net(clean.x))
        assert caplog.text.count("trains only if the optimizer has its parameters") == warnings


def test_the_loss_needs_the_forward_pass(net, batch):
    with pytest.raises(RuntimeError, match=r"no feature map to reconstruct from: call model\(batch.x\)"):
        build(net).mix(batch[0], targets(batch[1]), CLEAN).auxiliary()


def test_initial_weights_follow_the_seed_and_leave_the_generators_alone(net, batch):
    weights = []
    for seed in (3, 3, 4):
        torch.manual_seed(seed)
        torch.rand(seed)
        before = torch.get_rng_state()
        weights.append(torch.cat([parameter.flatten() for parameter in prepared(net, batch).parameters()]))
        assert torch.equal(torch.get_rng_state(), before)
    assert torch.equal(weights[0], weights[1])
    assert not torch.equal(weights[0], weights[2])


def test_the_decoder_travels_with_the_state(net, batch, tmp_path):
    mixer = prepared(net, batch)
    for _ in range(4):
        mixer(*batch)
    with torch.no_grad():
        for parameter in mixer.parameters():
            parameter.add_(1.0)
    torch.save(mixer.state_dict(), tmp_path / "state.pt")
    state = torch.load(tmp_path / "state.pt", weights_only=True)
    torch.manual_seed(9)
    late, early = build(net), prepared(net, batch)
    parameters = list(early.parameters())
    for other in (late, early):
        other.load_state_dict(state)
    assert late.state_dict()["decoder"].keys() == state["decoder"].keys()  # saved again before it is made
    late.prepare(batch[0])
    assert all(own is before for own, before in zip(early.parameters(), parameters, strict=True))
    for other in (late, early):
        assert all(torch.equal(a, b) for a, b in zip(mixer.parameters(), other.parameters(), strict=True))
        assert [other(*batch).draw.clean for _ in range(3)] == [False, True, False]


def test_another_decoder_is_refused(net, batch):
    state = prepared(net, batch).state_dict()
    with pytest.raises(ValueError, match=r"the saved decoder has another layer, width or image size: .*size mismatch"):
        prepared(net, batch, decoder_width=8).load_state_dict(state)
    late = build(net, decoder_width=8)
    late.load_state_dict(state)
    with pytest.raises(ValueError, match="the saved decoder has another layer, width or image size"):
        late.prepare(batch[0])


def test_decoded_maps_are_images(net, batch):
    x, _ = batch
    mixer = prepared(net, batch)
    features = mixer.encode(x)
    assert torch.equal(features, until(net.eval(), x))
    net.train()
    images = mixer.decode(features)
    assert images.dtype == torch.float32
    assert images.min() >= 0
    assert images.max() <= 1
    torch.testing.assert_close(images, (0.25 * mixer.decoder(features) + 0.5).clamp(0, 1))
    with pytest.raises(ValueError, match="it must know how the images were normalised"):
        prepared(net, batch, mean=None, std=None).decode(features)


@pytest.mark.parametrize("loss", ["mse", "l1", "perceptual"])
def test_reconstruction_losses(net, batch, loss):
    x, y = batch
    mixer = prepared(net, batch, reconstruction_loss=loss)
    decoded = mixer.decoder(until(net, x))
    pixels, shown = (0.25 * images + 0.5 for images in (x, decoded))
    similarity = structural_similarity(shown.clamp(0, 1), pixels.clamp(0, 1))
    expected = {
        "mse": (decoded - x).square().mean(),
        "l1": (decoded - x).abs().mean(),
        "perceptual": 0.84 * (1 - similarity) + 0.16 * (decoded - x).abs().mean(),
    }[loss]
    with mixer.mix(x, targets(y), CLEAN) as clean:
        net(clean.x)
        torch.testing.assert_close(clean.auxiliary(), expected)


def test_the_loss_is_computed_in_float32(net, batch):
    x, y = batch
    mixer = prepared(net, batch)
    exact = F.mse_loss(mixer.decoder(until(net, x)), x).item()
    with torch.autocast("cpu", dtype=torch.bfloat16), mixer.mix(x, targets(y), CLEAN) as clean:
        net(clean.x)
        auxiliary = clean.auxiliary()
    assert auxiliary.dtype == torch.float32
    assert auxiliary.item() == pytest.approx(exact, rel=0.05)


def test_the_decoder_learns(net, batch):
    x, y = batch
    mixer = build(net, clean_share=1.0, decoder_width=16)
    mixer.prepare(x)
    optimizer = torch.optim.AdamW([*net.parameters(), *mixer.parameters()], lr=1e-2)
    losses = []
    for _ in range(80):
        with mixer(x, y) as clean:
            clean.loss(net(clean.x)).backward()
            losses.append(clean.auxiliary().item())
        optimizer.step()
        optimizer.zero_grad()
    assert losses[-1] < 0.6 * losses[0]


def test_two_forwards_use_the_later_map(net, batch):
    x, y = batch
    mixer = prepared(net, batch)
    with mixer.mix(x, targets(y), CLEAN) as clean:
        net(clean.x)
        with torch.no_grad():
            net.stem[0].weight.mul_(-1)
        features = until(net, x)
        net(clean.x)
        torch.testing.assert_close(clean.auxiliary(), F.mse_loss(mixer.decoder(features), x))


def test_tokens_are_decoded_as_their_grid():
    torch.manual_seed(0)
    vit = torchvision.models.VisionTransformer(
        image_size=16, patch_size=4, num_layers=3, num_heads=2, hidden_dim=8, mlp_dim=8, num_classes=5
    )
    x, y = torch.randn(3, 3, 16, 16), torch.tensor([0, 1, 2])
    mixer = build(vit, layer=None, clean_share=1.0)
    mixer.prepare(x)
    assert mixer.decoder.feature_size == (4, 4)
    optimizer = torch.optim.SGD([*vit.parameters(), *mixer.parameters()], lr=0.1)
    with mixer(x, y) as clean:
        clean.loss(vit(clean.x)).backward()
    optimizer.step()
    assert mixer.decode(mixer.encode(x)).shape == (3, 3, 16, 16)


def test_flat_inputs_are_refused():
    net = nn.Sequential(nn.Linear(6, 8), nn.Unflatten(1, (2, 2, 2)), nn.Flatten(), nn.Linear(8, 5))
    with pytest.raises(ValueError, match=r"reconstructs images of shape \(B, C, H, W\), got \(4, 6\)"):
        build(net, layer="1", layout="channels_first").prepare(torch.randn(4, 6))


class Checkpointed(nn.Module):
    def __init__(self, net, use_reentrant):
        super().__init__()
        self.net, self.run = net, partial(checkpoint, use_reentrant=use_reentrant)

    def forward(self, x):
        net = self.net
        x = net.stem(x)
        for stage in (net.stage1, net.stage2, net.stage3, net.stage4):
            x = self.run(stage, x)
        return net.head(net.pool(net.norm(x)).flatten(1))


@pytest.mark.parametrize(
    ("layer", "use_reentrant"), [("stage4", False), ("stage4.0", False), ("stage3", True), ("stage4", True)]
)
def test_checkpointed_gradients_are_exact(net, batch, layer, use_reentrant):
    x, y = batch
    expected = gradients(net, prepared(net, batch, layer=layer), x, y)
    model = Checkpointed(net, use_reentrant=use_reentrant)
    found = gradients(model, prepared(model, batch, layer=f"net.{layer}"), x, y)
    torch.testing.assert_close(list(found.values()), list(expected.values()), atol=1e-5, rtol=1e-4)


def test_the_inside_of_a_reentrant_checkpoint_is_refused_unless_detached(net, batch):
    x, y = batch
    model = Checkpointed(net, use_reentrant=True)
    with pytest.raises(RuntimeError, match=r"use checkpoint\(..., use_reentrant=False\), or detach_features=True"):
        gradients(model, prepared(model, batch, layer="net.stage4.0"), x, y)
    gradients(model, prepared(model, batch, layer="net.stage4.0", detach_features=True), x, y)


def test_compiled_steps_equal_eager_ones_and_nothing_is_compiled_again(net, batch):
    torch._dynamo.reset()
    twin = copy.deepcopy(net)
    counter = CompileCounter()
    compiled = torch.compile(twin, backend=counter, fullgraph=True)
    models = ((net, net), (twin, compiled))
    mixers = [prepared(root, batch, reconstruct_aligned=True, keep="first") for root, _ in models]
    losses = [[], []]
    for step in range(18):
        for (_, model), mixer, found in zip(models, mixers, losses, strict=True):
            with mixer(*batch) as mixed:
                loss = mixed.loss(model(mixed.x))
                loss.backward()
            found.append(loss.item())
        if step == 8:
            warm = counter.frame_count
    torch.testing.assert_close(losses[1], losses[0], rtol=1e-4, atol=1e-5)
    assert counter.frame_count == warm <= 3  # input, clean, aligned
    torch._dynamo.reset()


def test_it_is_one_of_a_switch(net, batch):
    mixers = [{"name": "alignmixup_ae", "layer": "stage4", "clean_share": 0.5, "decoder_width": 4}, "cutmix"]
    switch = methods.build("switch", model=net, num_classes=5, options={"mixers": mixers})
    with pytest.raises(RuntimeError, match=r"or mixer.prepare\(x\)"):
        list(switch.parameters())
    switch.prepare(batch[0])
    assert len(list(switch.parameters())) > 0
    for _ in range(8):
        with switch(*batch) as mixed:
            mixed.loss(net(mixed.x)).backward()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"clean_share": 1.5}, r"clean_share must be in \[0, 1\], got 1.5"),
        ({"clean_share": 0.0}, "clean_share=0 leaves nothing to reconstruct: set reconstruct_aligned=True"),
        ({"reconstruction_weight": 0.0}, "reconstruction_weight must be > 0, got 0.0"),
        ({"reconstruction_loss": "lpips"}, "must be 'mse', 'l1' or 'perceptual', got 'lpips'"),
        ({"reconstruction_loss": "perceptual", "mean": None, "std": None}, r"it needs mean=\.\.\. and std="),
        ({"decoder_layer": "stage9"}, "no layer 'stage9'"),
        ({"decoder_width": 0}, "decoder_width must be >= 1, got 0"),
        ({"decoder_width": 2.5}, "decoder_width must be a whole number, got 2.5"),
    ],
)
def test_bad_options_are_refused_at_construction(net, options, message):
    with pytest.raises(ValueError, match=message):
        build(net, **options)


def test_published_options_of_alignmixup_stay(net):
    mixer = AlignMixupAE(net, num_classes=5)
    assert (mixer.alpha, mixer.epsilon, mixer.iterations, mixer.input_probability) == (2.0, 0.1, 100, 0.5)


def test_its_module_is_the_decoder_of_a_size(net, caplog):
    mixer = build(net)
    mixer.prepare(size=32)
    twin = nn.ModuleList([net, mixer.module])
    assert mixer.decoder.image_size == (32, 32)
    assert set(mixer.parameters()) <= set(twin.parameters())
    with mixer(torch.randn(2, 3, 32, 32), torch.tensor([0, 1])) as mixed:
        mixed.loss(net(mixed.x)).backward()
    assert "trains only if the optimizer" not in caplog.text  # whoever asked for the module trains it


@pytest.mark.parametrize("arguments", [{}, {"x": torch.zeros(2, 3, 32, 32), "size": 32}])
def test_images_or_a_size_prepare(net, arguments):
    with pytest.raises(TypeError, match="a batch of images, or size="):
        build(net).prepare(**arguments)


@pytest.mark.parametrize("size", [(1, 2, 3, 4), 0, (3, 0, 3), (2.5, 2)])
def test_a_size_that_is_none_is_named(net, size):
    with pytest.raises(ValueError, match="size must be"):
        build(net).prepare(size=size)
