"""The C code against OpenCV's contours, number for number."""

import shutil

import pytest
import torch

from alignmixup.evaluation.localization import contour_boxes
from alignmixup.evaluation.localization.contour_boxes import tabulate_by_opencv, tabulate_natively, tabulates_natively

pytestmark = pytest.mark.skipif(
    shutil.which("cc") is None, reason="no C compiler: the C code is not tried here, OpenCV serves"
)

NAMES = ("best_all", "best_largest", "largest", "counts", "peaks")


def random_levels(kind, generator):
    height, width = torch.randint(1, 34, (2,), generator=generator).tolist()
    noise = torch.rand(4, height, width, generator=generator)
    if kind == "smooth":
        noise = torch.nn.functional.avg_pool2d(noise, 5, 1, 2, count_include_pad=False)
        noise = (noise - noise.amin((1, 2), keepdim=True)) / (noise.amax((1, 2), keepdim=True) + 1e-9)
    elif kind == "few levels":
        noise = (noise * 4).floor() / 4
    elif kind == "sparse":
        noise = noise * (torch.rand(noise.shape, generator=generator) < 0.2)
    elif kind == "dense":
        noise = noise.clamp_min(0.3) * (torch.rand(noise.shape, generator=generator) < 0.8)
    elif kind == "binary":
        noise = (noise < 0.5).float()
    return (noise * 255).to(torch.uint8)


@pytest.mark.parametrize("kind", ["noise", "smooth", "few levels", "sparse", "dense", "binary"])
def test_it_agrees_with_opencv(kind):
    generator = torch.Generator().manual_seed(0)
    for _ in range(4):
        levels = random_levels(kind, generator)
        corners = torch.randint(0, 34, (4, 3, 2, 2), generator=generator).sort(2).values
        boxes = [own[:count].flatten(1) for own, count in zip(corners, (1, 2, 3, 1), strict=True)]
        native, reference = tabulate_natively(levels, boxes), tabulate_by_opencv(levels, boxes)
        for name in NAMES:
            assert torch.equal(getattr(native, name), getattr(reference, name)), name


def test_it_agrees_with_opencv_on_a_map_of_full_size():
    generator = torch.Generator().manual_seed(1)
    maps = torch.nn.functional.interpolate(torch.rand(1, 1, 14, 14, generator=generator), (224, 224), mode="bicubic")
    maps = (maps[0] - maps.min()) / (maps.max() - maps.min())
    levels, boxes = (maps * 255).to(torch.uint8), [torch.tensor([[30, 40, 150, 160]])]
    native, reference = tabulate_natively(levels, boxes), tabulate_by_opencv(levels, boxes)
    assert all(torch.equal(getattr(native, name), getattr(reference, name)) for name in NAMES)


def test_a_map_does_not_depend_on_its_batch():
    generator = torch.Generator().manual_seed(2)
    levels = torch.randint(0, 256, (5, 20, 30), generator=generator).to(torch.uint8)
    boxes = [torch.tensor([[2, 3, 9, 10 + n]]) for n in range(5)]
    together = tabulate_natively(levels, boxes)
    for n in range(5):
        alone = tabulate_natively(levels[n : n + 1], boxes[n : n + 1])
        assert all(torch.equal(getattr(alone, name)[0], getattr(together, name)[n]) for name in NAMES)


def test_it_is_asked_for_only_where_it_is(monkeypatch):
    monkeypatch.setattr(contour_boxes, "library", lambda: None)
    assert not tabulates_natively()
