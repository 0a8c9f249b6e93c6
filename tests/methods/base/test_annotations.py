"""Masks and boxes travel along with the images."""

from itertools import product

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint
from torchvision import tv_tensors
from torchvision.models import VisionTransformer

from alignmixup import (
    AlignMixup,
    Baseline,
    CutMix,
    ManifoldMixup,
    Mixup,
    PuzzleMix,
    ResizeMix,
    SaliencyMix,
    Switch,
)
from alignmixup.functional.alignment import align_mix
from alignmixup.functional.transport.plan import assignment_matrix, cost_matrix, sinkhorn
from alignmixup.methods.base import MixedBatch, Mixer

GREY = {"mean": (0.0,), "std": (1.0,)}


def network() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(1, 6, 3, 2, 1), nn.ReLU(), nn.Conv2d(6, 8, 3, 2, 1), nn.Flatten(), nn.Linear(8 * 16, 5)
    )


def images(batch: int = 6) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(1)
    return torch.rand(batch, 1, 16, 16, generator=generator), torch.arange(batch) % 5


def mixers(seed: int = 0) -> dict[str, Mixer]:
    model, common = network(), {"num_classes": 5, "seed": seed}
    return {
        "mixup": Mixup(**common),
        "cutmix": CutMix(lam_per="sample", **common),
        "cutmix_pair": CutMix(lam_per="pair", **common),
        "resizemix": ResizeMix(lam_per="sample", **common),
        "saliencymix": SaliencyMix(lam_per="sample", **GREY, **common),
        "puzzlemix": PuzzleMix(model, blocks=(4,), **GREY, **common),
        "manifold": ManifoldMixup(model, layer="0", **common),
    }


@pytest.mark.parametrize("name", sorted(mixers()))
def test_a_mask_that_is_the_image_is_mixed_to_the_mixed_image(name: str) -> None:
    mixer = mixers()[name]
    x, y = images()
    for _ in range(8):
        with mixer(x, y, masks=x) as batch:
            network()(batch.x) if mixer.model is None else mixer.model(batch.x)
            mask = batch.masks
        if batch.hidden:
            lam = batch.lam.view(-1, 1, 1, 1)
            expected = lam * x + (1 - lam) * x[batch.perm]
        else:
            expected = batch.x
        torch.testing.assert_close(mask, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", ["cutmix", "cutmix_pair", "resizemix", "saliencymix"])
@pytest.mark.parametrize("dtype", [torch.bool, torch.uint8, torch.int64])
def test_class_numbers_are_pasted_not_interpolated(name: str, dtype: torch.dtype) -> None:
    mixer = mixers()[name]
    x, y = images()
    numbers = (torch.arange(6)[:, None, None] % (2 if dtype == torch.bool else 6)).expand(6, 16, 16).to(dtype)
    batch = mixer(x, y, masks=numbers)
    outside = batch.mask()
    first, partner = numbers, numbers[batch.perm]
    assert batch.masks.dtype == dtype
    assert torch.equal(batch.masks, torch.where(outside > 0, first, partner))


@pytest.mark.parametrize("unknown", [float("nan"), float("inf")])
@pytest.mark.parametrize("dtype", [torch.float16, torch.float32, torch.float64])
@pytest.mark.parametrize("name", ["cutmix", "cutmix_pair", "resizemix", "saliencymix"])
def test_a_value_that_cannot_be_seen_does_not_count(name: str, dtype: torch.dtype, unknown: float) -> None:
    mixer = mixers()[name]
    x, y = images()
    rows = torch.arange(6.0)[:, None, None]
    depths = torch.where(rows % 2 == 0, unknown, rows).expand(6, 16, 16).to(dtype)
    for _ in range(8):
        batch = mixer(x, y, masks=depths)
        outside, own, partner = batch.mask().expand(6, 16, 16), depths.isfinite(), depths[batch.perm].isfinite()
        seen = torch.where(outside == 1, own, torch.where(outside == 0, partner, own & partner))
        assert torch.equal(batch.masks.isfinite(), seen)


def test_torchvisions_boxes_are_taken_as_tensors_are() -> None:
    x, y = images()
    plain = torch.tensor([[4.0, 4.0, 6.0, 6.0]])
    theirs = tv_tensors.BoundingBoxes(plain, format="XYXY", canvas_size=(16, 16))
    one, other = (CutMix(num_classes=5, seed=0)(x, y, boxes=[own] * 6).boxes for own in (plain, theirs))
    for wanted, got in zip(one, other, strict=True):
        torch.testing.assert_close(got.boxes.as_subclass(torch.Tensor), wanted.boxes)


def test_class_numbers_are_refused_where_they_would_be_interpolated() -> None:
    x, y = images()
    batch = Mixup(num_classes=5)(x, y, masks=torch.zeros(6, 16, 16, dtype=torch.long))
    with pytest.raises(ValueError, match=r"cannot be interpolated.*one_hot"):
        _ = batch.masks


def weights(batch: MixedBatch, sample: int, first: bool) -> Tensor:
    """Weight of one parent at each pixel of a sample."""
    weight = torch.full((16, 16), float(batch.lam[sample])) if batch.mask is None else batch.mask()[sample]
    return weight if first else 1 - weight


def spans(box: Tensor) -> tuple[slice, slice]:
    """Index of the pixels in a box of whole pixels."""
    x0, y0, x1, y1 = box[:4].int().tolist()
    return slice(y0, y1), slice(x0, x1)


@pytest.mark.parametrize("name", ["mixup", "cutmix", "saliencymix"])
def test_boxes_keep_the_share_that_is_seen_and_shrink_to_it(name: str) -> None:
    x, y = images()
    generator = torch.Generator().manual_seed(3)
    low = torch.randint(0, 10, (6, 3, 2), generator=generator)
    side = torch.randint(1, 7, (6, 3, 2), generator=generator)
    boxes = torch.cat((low, low + side, torch.arange(18.0).view(6, 3, 1)), 2)
    for seed in range(6):
        batch = mixers(seed)[name](x, y, boxes=boxes)
        for sample, found in enumerate(batch.boxes):
            partner = int(batch.perm[sample])
            if partner == sample:  # mixed with itself
                assert torch.equal(found.boxes, boxes[sample])
                assert found.weight.eq(1).all()
                continue
            left = dict(zip(zip(found.parent.tolist(), found.index.tolist(), strict=True), found.boxes, strict=True))
            for parent, number in product((sample, partner), range(3)):
                whole, seen = boxes[parent, number], weights(batch, sample, parent == sample)
                inside = seen[spans(whole)]
                if not inside.any():
                    assert (parent, number) not in left
                    continue
                box = left.pop((parent, number))
                share = found.weight[(found.parent == parent) & (found.index == number)]
                assert float(share) == pytest.approx(float(inside.mean()), abs=1e-5)
                assert box[4] == whole[4]
                assert (box[:2] >= whole[:2]).all()
                assert (box[2:4] <= whole[2:4]).all()
                part = seen[spans(box)]
                assert part.sum() == inside.sum()  # all that is seen of the box,
                assert all(edge.any() for edge in (part[0], part[-1], part[:, 0], part[:, -1]))  # and no more
            assert not left


def test_a_resized_partner_takes_its_boxes_along() -> None:
    x, y = images()
    whole = torch.tensor([[0.0, 0.0, 16.0, 16.0], [4.0, 8.0, 8.0, 16.0]]).expand(6, 2, 4)
    batch = ResizeMix(num_classes=5, seed=0)(x, y, boxes=whole)
    for sample, found in enumerate(batch.boxes):
        y0, x0, y1, x1 = batch.draw.box[sample].tolist()
        if int(batch.perm[sample]) == sample:
            continue
        theirs = found.boxes[found.parent != sample]
        expected = torch.tensor([
            [x0, y0, x1, y1],
            [x0 + (x1 - x0) / 4, y0 + (y1 - y0) / 2, x0 + (x1 - x0) / 2, y1],
        ])  # fmt: skip
        torch.testing.assert_close(theirs, expected.float())
        assert found.weight[found.parent != sample].tolist() == pytest.approx([1.0, 1.0], abs=1e-5)


@pytest.mark.parametrize("dtype", [torch.uint8, torch.int16, torch.int64, torch.float16, torch.float64])
def test_boxes_of_any_type_are_moved_as_those_of_float64_are(dtype: torch.dtype) -> None:
    x, y = torch.randn(6, 1, 256, 256), torch.arange(6) % 5
    identity = 200 if dtype == torch.uint8 else 901_000_000_581 if dtype == torch.int64 else 2000
    boxes = torch.tensor([[100.0, 50.0, 240.0, 250.0, identity], [3.0, 5.0, 40.0, 77.0, 1.0]]).double().expand(6, 2, 5)
    one, other = (ResizeMix(num_classes=5, seed=0)(x, y, boxes=own).boxes for own in (boxes, boxes.to(dtype)))
    for wanted, got in zip(one, other, strict=True):
        torch.testing.assert_close(got.boxes[:, :4].double(), wanted.boxes[:, :4], rtol=2e-3, atol=0.2)
        assert got.boxes[:, 4].tolist() == wanted.boxes[:, 4].tolist()
        assert got.weight.tolist() == pytest.approx(wanted.weight.tolist(), abs=0.05)


@pytest.mark.parametrize("method", [CutMix, ResizeMix])
def test_no_box_weighs_more_than_one(method: type[CutMix | ResizeMix]) -> None:
    x, y = torch.randn(40, 1, 33, 20), torch.arange(40) % 5
    corners = torch.rand(40, 3, 2, 2, generator=torch.Generator().manual_seed(0)).sort(2).values
    boxes = corners.flatten(2) * torch.tensor([20.0, 33.0] * 2)
    weights = torch.cat([found.weight for found in method(num_classes=5, seed=0)(x, y, boxes=boxes).boxes])
    assert float(weights.max()) <= 1
    assert (weights == 1).any()


@pytest.mark.parametrize("keep", ["first", "partner"])
def test_masks_follow_the_assignment_of_the_features(keep: str) -> None:
    model = network()
    mixer = AlignMixup(model, layer="2", input_probability=0.0, keep=keep, num_classes=5, seed=0)
    x, y = images()
    masks = torch.rand(6, 2, 16, 16)
    with mixer(x, y, masks=masks) as batch:
        with pytest.raises(RuntimeError, match=r"after model\(batch.x\)"):
            _ = batch.masks
        mixed_logits = model(batch.x)
    features = model[:3](x).detach()
    perm, lam = batch.perm, batch.lam.view(-1, 1, 1)
    a, b = features.flatten(2), features[perm].flatten(2)
    assignment = assignment_matrix(sinkhorn(cost_matrix(a, b), mixer.epsilon, tolerance=mixer.tolerance).plan)
    small = F.adaptive_avg_pool2d(masks, (4, 4)).flatten(2)
    if keep == "first":
        moved = small[perm] @ assignment.mT
    else:
        moved = small @ assignment
    moved = moved.view(6, 2, 4, 4).repeat_interleave(4, 2).repeat_interleave(4, 3)
    lam = lam[..., None]
    expected = lam * masks + (1 - lam) * moved if keep == "first" else lam * moved + (1 - lam) * masks[perm]
    torch.testing.assert_close(batch.masks, expected, rtol=1e-3, atol=1e-4)
    assert not torch.allclose(mixed_logits, model(x), atol=1e-3)


def test_boxes_follow_the_assignment() -> None:
    """Two images, one the other moved by half its width: the match brings the box to the other half."""
    model = nn.Sequential(nn.AvgPool2d(4), nn.Flatten(), nn.Linear(16, 3))
    mixer = AlignMixup(
        model, layer="0", input_probability=0.0, keep="first", num_classes=3, seed=0, epsilon=0.01, carry_test=False
    )
    image = torch.arange(16.0).view(1, 4, 4).repeat_interleave(4, 1).repeat_interleave(4, 2)
    x = torch.stack((image, image.roll(8, 2)))
    boxes = torch.tensor([[0.0, 4.0, 4.0, 8.0, 7.0], [8.0, 8.0, 12.0, 16.0, 9.0]]).expand(2, 2, 5)
    for _ in range(10):
        with mixer(x, torch.tensor([0, 1]), boxes=boxes) as batch:
            model(batch.x)
        if batch.perm.tolist() == [1, 0]:
            break
    for sample, found in enumerate(batch.boxes):
        theirs = found.boxes[found.parent != sample]
        assert theirs.tolist() == [[8.0, 4.0, 12.0, 8.0, 7.0], [0.0, 8.0, 4.0, 16.0, 9.0]]
        assert found.weight.tolist() == pytest.approx([float(batch.lam[0])] * 2 + [1 - float(batch.lam[0])] * 2)


@pytest.mark.parametrize("reentrant", [None, False, True])
def test_masks_follow_tokens_behind_a_class_token(reentrant: bool | None) -> None:
    torch.manual_seed(0)
    model = VisionTransformer(
        image_size=16, patch_size=4, num_layers=3, num_heads=2, hidden_dim=8, mlp_dim=16, num_classes=5
    )
    x, y = images()
    x, masks = x.expand(-1, 3, -1, -1), x
    layer = "encoder.layers.encoder_layer_1"
    mixer = AlignMixup(model, layer=layer, input_probability=0.0, keep="first", num_classes=5, seed=0)
    kept = []
    model.get_submodule("encoder.layers.encoder_layer_0").register_forward_hook(lambda *seen: kept.append(seen[2]))
    with mixer(x, y, masks=masks) as batch:
        if reentrant is None:
            logits = model(batch.x)
        else:
            logits = checkpoint(model, batch.x.clone().requires_grad_(), use_reentrant=reentrant)
        batch.loss(logits).backward()
    tokens = model.get_submodule(layer)(kept[-1])[:, 1:].detach().mT
    plan = sinkhorn(cost_matrix(tokens, tokens[batch.perm]), mixer.epsilon, tolerance=mixer.tolerance).plan
    moved = F.adaptive_avg_pool2d(masks, 4).flatten(2)[batch.perm] @ assignment_matrix(plan).mT
    moved = moved.view(6, 1, 4, 4).repeat_interleave(4, 2).repeat_interleave(4, 3)
    lam = batch.lam.view(-1, 1, 1, 1)
    torch.testing.assert_close(batch.masks, lam * masks + (1 - lam) * moved, rtol=1e-3, atol=1e-3)


def test_an_unmixed_batch_brings_its_own() -> None:
    x, y = images()
    masks, boxes = torch.rand(6, 16, 16), [torch.tensor([[1.0, 2.0, 3.0, 4.0]])] * 5 + [torch.zeros(0, 4)]
    model = network().eval()
    for mixer in (Baseline(num_classes=5), Mixup(model, num_classes=5), AlignMixup(model, layer="2", num_classes=5)):
        batch = mixer(x, y, masks=masks, boxes=boxes)
        assert batch.masks is masks
        assert [len(found.weight) for found in batch.boxes] == [1] * 5 + [0]
        assert all(torch.equal(found.boxes, own) for found, own in zip(batch.boxes, boxes, strict=True))
        assert batch.boxes[3].parent.tolist() == [3]


def test_without_annotations_there_are_none() -> None:
    batch = Mixup(num_classes=5)(*images())
    assert batch.masks is None
    assert batch.boxes is None


def test_methods_that_cannot_bring_them_along_say_so_before_they_draw() -> None:
    x, y = images()
    puzzle = PuzzleMix(network(), blocks=(4,), **GREY, num_classes=5)
    switch = Switch(network(), mixers=[CutMix(), puzzle])
    with pytest.raises(TypeError, match="PuzzleMix cannot bring boxes along"):
        puzzle(x, y, boxes=[torch.zeros(0, 4)] * 6)
    assert puzzle.stream.step == 0
    with pytest.raises(TypeError, match="Switch cannot bring boxes"):
        switch(x, y, boxes=[torch.zeros(0, 4)] * 6)


@pytest.mark.parametrize(
    ("masks", "boxes", "message"),
    [
        (torch.zeros(6, 8, 8), None, "resize them"),
        (torch.zeros(5, 16, 16), None, "masks must be"),
        ([[1]], None, "must be a tensor"),
        (None, [torch.zeros(0, 4)] * 5, "boxes are of 5 images"),
        (None, [torch.zeros(1, 3)] * 6, "must be"),
        (None, [torch.tensor([[3.0, 3.0, 2.0, 4.0]])] * 6, "inside 16 x 16"),
        (None, [torch.tensor([[3.0, 3.0, 20.0, 4.0]])] * 6, "inside 16 x 16"),
        (None, [torch.tensor([[0.1, 0.1, 0.5, float("nan")]])] * 6, "inside 16 x 16"),
        (None, [torch.tensor([[0.1, 0.1, 0.5, 0.5]])] * 6, "normalised"),
        (None, [[1, 2, 3, 4]] * 6, "list of tensors"),
        *((None, [torch.zeros(1, 4, dtype=kind)] * 6, "signed integers") for kind in (torch.uint16, torch.uint32)),
        *(
            (None, [tv_tensors.BoundingBoxes(box, format=order, canvas_size=(16, 16))] * 6, f"0 are {order.name}")
            for order, box in ((form, [[4.0, 4.0, 6.0, 6.0]]) for form in tv_tensors.BoundingBoxFormat)
            if order.name in ("XYWH", "CXCYWH")
        ),
    ],
)
def test_annotations_that_do_not_fit_are_refused(masks: object, boxes: object, message: str) -> None:
    x, y = images()
    with pytest.raises((TypeError, ValueError), match=message):
        Mixup(num_classes=5)(x, y, masks=masks, boxes=boxes)  # type: ignore[arg-type]


def test_values_at_the_positions_move_as_the_features_do() -> None:
    features, perm, lam = torch.rand(4, 3, 5, 5), torch.tensor([1, 2, 3, 0]), torch.rand(4)
    for keep, most in product(("first", "partner"), (256, 9)):
        options = {"keep": keep, "max_positions": most}
        mixed = align_mix(features, perm, lam, **options)
        both = torch.cat((features, 2 * features), 1)
        torch.testing.assert_close(
            align_mix(features, perm, lam, **options, values=both), torch.cat((mixed, 2 * mixed), 1)
        )
