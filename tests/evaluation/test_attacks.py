"""Attacks against a plain float64 reference, in closed form on linear networks, and what they must leave alone."""

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from alignmixup.evaluation.attacks import Attack, _starts, attack_path, fgsm, fgsm_attack, pgd, robust_error

MEAN, STD = (0.4, 0.5, 0.6), (0.2, 0.25, 0.3)


def network(dtype: torch.dtype = torch.float64) -> nn.Module:
    torch.manual_seed(0)
    layers = [nn.Conv2d(3, 8, 3, padding=1), nn.BatchNorm2d(8), nn.Tanh(), nn.Flatten(), nn.Linear(8 * 25, 4)]
    return nn.Sequential(*layers, nn.Dropout()).to(dtype)


def batch(dtype: torch.dtype = torch.float64, images: int = 6) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(1)
    pixels = torch.rand(images, 3, 5, 5, generator=generator, dtype=torch.float64)
    return pixels.to(dtype), torch.randint(0, 4, (images,), generator=generator)


def loss(model: nn.Module, pixels: Tensor, labels: Tensor) -> Tensor:
    mean, std = (torch.tensor(v, dtype=pixels.dtype).view(1, 3, 1, 1) for v in (MEAN, STD))
    return F.cross_entropy(model((pixels - mean) / std), labels, reduction="sum")


def reference_pgd(
    model: nn.Module, clean: Tensor, labels: Tensor, start: Tensor, epsilon: float, step: float, iterations: int
) -> Tensor:
    """The update as it is written down, one image at a time."""
    found = []
    for image, label, begin in zip(clean, labels, start, strict=True):
        x = begin
        for _ in range(iterations):
            x = x.detach().clone().requires_grad_()
            (gradient,) = torch.autograd.grad(loss(model, x[None], label[None]), x)
            x = x.detach() + step * torch.sign(gradient)
            x = torch.clip(image + torch.clip(x - image, -epsilon, epsilon), 0, 1)
        found.append(x)
    return torch.stack(found)


def test_fgsm_is_its_formula() -> None:
    model, (pixels, labels) = network().eval(), batch()
    x = pixels.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(loss(model, x, labels), x)
    expected = torch.clip(pixels + 8 / 255 * gradient.sign(), 0, 1)
    torch.testing.assert_close(fgsm(model, pixels, labels, mean=MEAN, std=STD), expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize("random_start", [False, True])
def test_pgd_is_its_formula(random_start: bool) -> None:
    model, (pixels, labels) = network().eval(), batch()
    generator = torch.Generator().manual_seed(3)
    found = pgd(model, pixels, labels, mean=MEAN, std=STD, random_start=random_start, generator=generator)
    start = pixels
    if random_start:
        uniform = torch.rand((6, 1, 3, 5, 5), generator=torch.Generator().manual_seed(3))[:, 0].double()
        start = torch.clip(pixels + 4 / 255 * (2 * uniform - 1), 0, 1)
    expected = reference_pgd(model, pixels, labels, start, 4 / 255, 2 / 255, 20)
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-12)


def test_float32_agrees_with_float64() -> None:
    model, (pixels, labels) = network().eval(), batch(images=40)
    exact = attack_path(model, pixels, labels, Attack(), mean=MEAN, std=STD)
    single = attack_path(model.float(), pixels.float(), labels, Attack(), mean=MEAN, std=STD)
    torch.testing.assert_close(single.path_loss.double(), exact.path_loss, rtol=1e-3, atol=1e-4)
    assert (single.pixels - exact.pixels).abs().mean() < 1e-4  # a sign may tip where a gradient is nearly zero


def test_a_linear_network_in_closed_form() -> None:
    # two classes, margin w·x: the worst case in the ball is margin - epsilon · |w|_1 / std
    head = nn.Linear(3, 2, bias=False, dtype=torch.float64)
    with torch.no_grad():
        head.weight.copy_(torch.tensor([[1.0, -2.0, 3.0], [0.0, 0.0, 0.0]]))
    model = nn.Sequential(nn.Flatten(), head)
    pixels, labels = torch.full((1, 3, 1, 1), 0.5, dtype=torch.float64), torch.tensor([0])
    found = pgd(model, pixels, labels, mean=MEAN, std=STD, epsilon=0.1, step=0.03)
    assert (found - pixels).flatten().tolist() == pytest.approx([-0.1, 0.1, -0.1])


def test_stays_in_the_ball_and_in_the_pixel_range() -> None:
    model, (pixels, labels) = network(), batch()
    pixels = (pixels * 3 - 1).clamp(0, 1)  # many zeros and ones
    found = pgd(model, pixels, labels, mean=MEAN, std=STD, epsilon=0.1, step=0.04, restarts=3)
    assert (found - pixels).abs().max() <= 0.1 + 1e-12
    assert found.min() >= 0
    assert found.max() <= 1


def test_nothing_else_is_touched() -> None:
    model, (pixels, labels) = network(torch.float32), batch(torch.float32)
    model[1].eval()
    for parameter in model.parameters():
        parameter.grad = torch.full_like(parameter, 7.0)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    copy, state = pixels.clone(), torch.get_rng_state()
    with torch.autocast("cpu", torch.bfloat16), torch.no_grad():
        inside = pgd(model, pixels, labels, mean=MEAN, std=STD)
    assert inside.equal(pgd(model, pixels, labels, mean=MEAN, std=STD))  # autocast made no difference
    assert pixels.equal(copy)
    assert not inside.requires_grad
    assert all(bool((parameter.grad == 7).all()) for parameter in model.parameters())
    assert all(value.equal(before[name]) for name, value in model.state_dict().items())
    assert model.training
    assert not model[1].training
    assert torch.get_rng_state().equal(state)


def test_saturated_networks_are_counted() -> None:
    head = nn.Linear(3, 2, bias=False)
    with torch.no_grad():
        head.weight.copy_(torch.tensor([[1e4, 1e4, 1e4], [0.0, 0.0, 0.0]]))
    model = nn.Sequential(nn.Flatten(), head)
    pixels = torch.ones(2, 3, 1, 1)
    path = attack_path(model, pixels, torch.tensor([0, 1]), fgsm_attack(), mean=MEAN, std=STD)
    assert path.zero_gradient.tolist() == [1, 0]  # the right one has loss exactly zero
    assert path.pixels[0].equal(pixels[0])


def loader(batch_size: int, images: int = 24) -> list[tuple[Tensor, Tensor]]:
    pixels, labels = batch(torch.float32, images)
    mean, std = (torch.tensor(v).view(1, 3, 1, 1) for v in (MEAN, STD))
    x = (pixels - mean) / std
    return list(zip(x.split(batch_size), labels.split(batch_size), strict=True))


def test_robust_error_counts_and_does_not_depend_on_the_batch_size() -> None:
    model, attack, seen = network(torch.float32).eval(), Attack(iterations=4, restarts=3), []
    result = robust_error(model, loader(24), attack, mean=MEAN, std=STD, progress=seen.append)
    assert seen == [24]
    assert len(result["path_error_percent"]) == len(result["path_loss"]) == 5
    small = robust_error(model, loader(7), attack, mean=MEAN, std=STD)
    assert small["restart_error_percent"] == result["restart_error_percent"]
    assert small["path_loss"] == pytest.approx(result["path_loss"], rel=1e-4)
    assert result["restart_error_percent"] == sorted(result["restart_error_percent"])
    assert result["error_percent"] == result["restart_error_percent"][-1]
    assert result["path_error_percent"][-1] == result["restart_error_percent"][0]
    # by hand: what `pgd` returns, classified
    pixels, labels = batch(torch.float32, 24)
    found = pgd(model, pixels, labels, mean=MEAN, std=STD, iterations=4)
    mean, std = (torch.tensor(v).view(1, 3, 1, 1) for v in (MEAN, STD))
    wrong = model((found - mean) / std).argmax(dim=1) != labels
    one = robust_error(model, loader(24), Attack(iterations=4), mean=MEAN, std=STD)
    assert one["error_percent"] == pytest.approx(100 * float(wrong.float().mean()), abs=100 / 24 + 1e-6)


def test_restarts_attack_only_who_is_left() -> None:
    model, (pixels, labels) = network(torch.float32).eval(), batch(torch.float32)
    sizes = []
    model.register_forward_hook(lambda module, inputs, output: sizes.append(len(output)))
    path = attack_path(model, pixels, labels, Attack(iterations=1, restarts=2), mean=MEAN, std=STD)
    left = int((~path.wrong[0]).sum())
    assert 0 < left < 6
    assert sizes == [6, 6, left, left]
    assert bool((path.wrong[1] | ~path.wrong[0]).all())


def test_zero_epsilon_changes_nothing() -> None:
    model, (pixels, labels) = network().eval(), batch()
    assert pgd(model, pixels, labels, mean=MEAN, std=STD, epsilon=0).equal(pixels)
    assert fgsm(model, pixels, labels, mean=MEAN, std=STD, epsilon=0).equal(pixels)


def test_a_network_of_infinite_logits_is_wrong_and_its_loss_unknown() -> None:
    class Broken(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return x.flatten(1)[:, :4] * float("inf")

    result = robust_error(Broken(), loader(24), Attack(iterations=2), mean=MEAN, std=STD)
    assert result["error_percent"] == 100
    assert result["path_loss"] == [None] * 3


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"epsilon": 8.0}, r"epsilon must be in \[0, 1\], in units of pixels in \[0, 1\] \(8/255\), got 8"),
        ({"epsilon": -0.1}, "epsilon must be in"),
        ({"epsilon": float("nan")}, "epsilon must be in"),
        ({"step": 0.0}, r"step must be in \(0, 1\]"),
        ({"iterations": 0}, "iterations must be an integer >= 1, got 0"),
        ({"restarts": 1.5}, "restarts must be an integer >= 1, got 1.5"),
        ({"restarts": 2, "random_start": False}, "restarts=2 needs random_start=true"),
    ],
)
def test_bad_options(options: dict[str, float], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Attack(**options)


def test_bad_input() -> None:
    model, (pixels, labels) = network(torch.float32), batch(torch.float32)
    with pytest.raises(ValueError, match=r"pixels must be in \[0, 1\], before normalisation, got values from -0"):
        pgd(model, pixels * 2 - 1, labels, mean=MEAN, std=STD)
    with pytest.raises(ValueError, match="a mean and a std > 0 for each channel"):
        pgd(model, pixels, labels, mean=MEAN[:1], std=STD[:1])
    with pytest.raises(TypeError, match="attacks need float32 weights and pixels"):
        pgd(model.bfloat16(), pixels, labels, mean=MEAN, std=STD)
    with pytest.raises(ValueError, match=r"expected pixels \(B, C, H, W\), B >= 1"):
        pgd(network(torch.float32), pixels[:0], labels[:0], mean=MEAN, std=STD)
    for wrong in (labels.int(), labels[:3], labels[:, None]):
        with pytest.raises(ValueError, match=r"labels must be int64 of shape \(B,\), one for each of 6 images"):
            pgd(network(torch.float32), pixels, wrong, mean=MEAN, std=STD)
    with pytest.raises(ValueError, match="nothing to attack"):
        robust_error(network(), [], Attack(), mean=MEAN, std=STD)


def test_pgd_l2_is_its_formula() -> None:
    model, (pixels, labels) = network().eval(), batch()
    options = {"epsilon": 0.4, "step": 0.15, "iterations": 4, "random_start": False, "norm": "l2"}
    found = pgd(model, pixels, labels, mean=MEAN, std=STD, **options)  # type: ignore[arg-type]
    for image, label, reached in zip(pixels, labels, found, strict=True):
        x = image
        for _ in range(4):
            x = x.detach().clone().requires_grad_()
            (gradient,) = torch.autograd.grad(loss(model, x[None], label[None]), x)
            change = x.detach() + 0.15 * gradient / torch.linalg.vector_norm(gradient) - image
            x = torch.clip(image + change * min(1.0, 0.4 / float(torch.linalg.vector_norm(change))), 0, 1)
        torch.testing.assert_close(reached, x, rtol=0, atol=1e-9)
    lengths = (found - pixels).flatten(1).norm(dim=1)
    assert lengths.max() <= 0.4 + 1e-9
    assert lengths.max() > 0.3


def test_starts_of_l2_fill_the_ball_and_do_not_depend_on_the_batch_size() -> None:
    pixels, attack = torch.full((500, 1, 2, 2), 0.5), Attack(norm="l2", epsilon=0.4, step=0.1, restarts=3)
    whole = _starts(pixels, attack, torch.Generator().manual_seed(0))
    generator = torch.Generator().manual_seed(0)
    parts = [_starts(part, attack, generator) for part in pixels.split([7, 493])]
    assert torch.equal(torch.cat(parts), whole)
    lengths = (whole - 0.5).flatten(2).norm(dim=2).flatten() / 0.4
    assert lengths.max() <= 1
    assert (lengths**4).mean() == pytest.approx(0.5, abs=0.03)  # of four dimensions: uniform in [0, 1]


def test_an_epsilon_is_in_the_range_of_its_norm() -> None:
    with pytest.raises(ValueError, match=r"epsilon must be in \[0, 1\]"):
        Attack(epsilon=2.0)
    assert Attack(epsilon=2.0, step=1.5, norm="l2").epsilon == 2
    with pytest.raises(ValueError, match="epsilon must be >= 0 and finite"):
        Attack(epsilon=float("inf"), norm="l2")
    with pytest.raises(ValueError, match="norm must be one of linf, l2, got 'l1'"):
        Attack(norm="l1")  # type: ignore[arg-type]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("margin", [0.0, 40.0, 60.0, 80.0])
def test_a_step_of_l2_has_its_length_however_confident_the_network_is(margin: float, dtype: torch.dtype) -> None:
    pixels, labels = torch.full((2, 3, 5, 5), 0.5, dtype=dtype), torch.tensor([0, 0])
    model = nn.Sequential(nn.Flatten(), nn.Linear(75, 2)).to(dtype)
    with torch.no_grad():
        model[1].bias[0] += margin
    attack = Attack(norm="l2", epsilon=0.5, step=0.1, iterations=1, random_start=False)
    path = attack_path(model, pixels, labels, attack, mean=MEAN, std=STD)
    moved = (path.pixels - pixels).flatten(1).norm(dim=1)
    torch.testing.assert_close(moved, torch.full_like(moved, 0.1), rtol=1e-4, atol=0)


def test_networks_of_double_precision_are_attacked_too() -> None:
    model, (pixels, labels) = network(torch.float64), batch(torch.float64)
    mean, std = (torch.tensor(v, dtype=torch.float64).view(1, 3, 1, 1) for v in (MEAN, STD))
    result = robust_error(model, [((pixels - mean) / std, labels)], Attack(iterations=2), mean=MEAN, std=STD)
    assert result["images"] == 6
