import pytest
import torch
from torchvision.transforms import v2

from alignmixup.functional.interpolation import box_lam, box_mask, cutmix, lerp, mixup
from alignmixup.functional.sampling import cutmix_box


def test_mixup_by_hand_and_at_the_ends():
    x = torch.tensor([[0.0, 8.0], [4.0, 0.0]])
    perm = torch.tensor([1, 0])
    assert mixup(x, perm, torch.tensor([0.75, 0.5])).tolist() == [[1.0, 6.0], [2.0, 4.0]]
    assert torch.equal(mixup(x, perm, torch.ones(2)), x)
    assert torch.equal(mixup(x, perm, torch.zeros(2)), x[perm])


def test_mixup_matches_torchvision():
    torch.manual_seed(0)
    x = torch.rand(6, 3, 8, 8)
    theirs = v2.MixUp(num_classes=4)
    expected = theirs.transform(x, {"lam": 0.3, "labels": None, "batch_size": 6})
    ours = mixup(x, torch.arange(6).roll(1), torch.full((6,), 0.3))
    torch.testing.assert_close(ours, expected)


def test_cutmix_matches_torchvision():
    x = torch.rand(4, 3, 8, 8)
    theirs = v2.CutMix(num_classes=4)
    params = {"box": (2, 1, 6, 4), "labels": None, "batch_size": 4, "lam_adjusted": 0.0}
    expected = theirs.transform(x, params)
    ours = cutmix(x, torch.arange(4).roll(1), torch.tensor([1, 2, 4, 6]))
    assert torch.equal(ours, expected)


def test_inputs_stay_as_they_are():
    x, perm, box = torch.rand(3, 2, 4, 4), torch.tensor([1, 2, 0]), torch.tensor([[0, 0, 2, 2]] * 3)
    copy = x.clone()
    mixup(x, perm, torch.rand(3))
    cutmix(x, perm, box)
    assert torch.equal(x, copy)


@pytest.mark.parametrize("mix", ["mixup", "cutmix one box", "cutmix own boxes"])
def test_channels_last_images_stay_channels_last(mix):
    x, perm = torch.rand(4, 3, 6, 6), torch.tensor([1, 2, 3, 0])
    boxes = {
        "cutmix one box": torch.tensor([1, 2, 4, 6]),
        "cutmix own boxes": torch.tensor([[0, 0, i, 3] for i in range(4)]),
    }

    def mixed(x):
        return (
            mixup(x, perm, torch.rand(4, generator=torch.Generator().manual_seed(0)))
            if mix == "mixup"
            else cutmix(x, perm, boxes[mix])
        )

    found = mixed(x.to(memory_format=torch.channels_last))
    assert found.is_contiguous(memory_format=torch.channels_last)
    assert torch.equal(found, mixed(x))


def test_one_box_for_all_equals_the_same_box_for_each():
    x, perm, box = torch.rand(3, 2, 5, 6), torch.tensor([1, 2, 0]), torch.tensor([1, 2, 4, 6])
    expected = torch.where(box_mask(box.expand(3, 4), 5, 6), x, x[perm])
    assert torch.equal(cutmix(x, perm, box), expected)
    assert torch.equal(cutmix(x, perm, box.expand(3, 4)), expected)
    assert torch.equal(torch.compile(cutmix, backend="eager", fullgraph=True)(x, perm, box), expected)


def test_each_sample_may_have_its_own_box():
    x = torch.tensor([1.0, 2.0])[:, None, None, None].expand(2, 1, 2, 2)
    mixed = cutmix(x, torch.tensor([1, 0]), torch.tensor([[0, 0, 1, 2], [0, 0, 0, 0]]))
    assert mixed[:, 0].tolist() == [[[2.0, 2.0], [1.0, 1.0]], [[2.0, 2.0], [2.0, 2.0]]]


def test_box_lam_is_the_mean_of_the_mask():
    lam = torch.rand(50, dtype=torch.float64)
    centres = torch.stack([torch.randint(9, (50,)), torch.randint(13, (50,))], 1)
    box = cutmix_box(lam, centres, 9, 13)
    torch.testing.assert_close(box_lam(box, 9, 13), box_mask(box, 9, 13).float().mean((1, 2, 3)))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_dtype_is_kept_and_half_precision_is_computed_in_float32(dtype):
    x = torch.randn(4, 3, 2, 2).to(dtype)
    perm, lam = torch.tensor([1, 2, 3, 0]), torch.tensor([0.1, 0.301, 0.5, 0.999])
    mixed = mixup(x, perm, lam)
    assert mixed.dtype == dtype
    expected = (
        lam.double()[:, None, None, None] * x.double() + (1 - lam.double())[:, None, None, None] * x[perm].double()
    )
    torch.testing.assert_close(mixed, expected.to(dtype))
    assert cutmix(x, perm, torch.tensor([0, 0, 1, 1])).dtype == dtype


def test_gradients_flow_into_both_samples():
    x = torch.randn(4, 3, dtype=torch.float64, requires_grad=True)
    perm, lam = torch.tensor([1, 0, 3, 2]), torch.rand(4)
    assert torch.autograd.gradcheck(lambda x: mixup(x, perm, lam), (x,))
    assert torch.autograd.gradcheck(lambda a: lerp(a.flip(0), a, lam), (x,))


@pytest.mark.parametrize(
    ("x", "error", "message"),
    [
        (torch.zeros(4, 3, 2, 2, dtype=torch.uint8), TypeError, "x must be floating point, got torch.uint8"),
        (
            torch.zeros(5, 3, 2, 2),
            ValueError,
            r"x of shape \(5, 3, 2, 2\) does not match perm of shape \(4,\)",
        ),
    ],
)
def test_bad_images_are_refused(x, error, message):
    perm = torch.arange(4)
    with pytest.raises(error, match=message):
        mixup(x, perm, torch.ones(4))
    with pytest.raises(error, match=message):
        cutmix(x, perm, torch.zeros(4, 4, dtype=torch.int64))


def test_cutmix_needs_four_axes():
    with pytest.raises(ValueError, match=r"x must have shape \(B, C, H, W\), got \(4, 3\)"):
        cutmix(torch.zeros(4, 3), torch.arange(4), torch.zeros(4, dtype=torch.int64))


@pytest.mark.parametrize("box", [(1, 0, 3, 2), (0, 0, 0, 0)])
def test_one_box_for_all_goes_through_transforms(box):
    x, perm, box = torch.rand(3, 4, 2, 4, 4), torch.tensor([1, 2, 3, 0]), torch.tensor(box)
    alone = torch.stack([cutmix(batch, perm, box) for batch in x])
    assert torch.equal(torch.func.vmap(lambda batch: cutmix(batch, perm, box))(x), alone)
    perms = torch.stack([perm, perm.roll(1), perm.roll(2)])
    several = torch.func.vmap(lambda batch, perm: cutmix(batch, perm, box))(x, perms)
    assert torch.equal(several, torch.stack([cutmix(*each, box) for each in zip(x, perms, strict=True)]))
    with torch.autograd.forward_ad.dual_level():
        dual = cutmix(torch.autograd.forward_ad.make_dual(x[0], x[1]), perm, box)
        tangent = torch.autograd.forward_ad.unpack_dual(dual).tangent
    torch.testing.assert_close(tangent, cutmix(x[1], perm, box))
