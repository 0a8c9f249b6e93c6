"""The migration tables name every option of timm's Mixup and of torchvision's, and equal draws give equal batches."""

import inspect
from pathlib import Path

import pytest
import torch
from timm.data import Mixup as TimmMixup
from torchvision.transforms import v2

from alignmixup import CutMix, Mixup
from alignmixup.functional import box_lam
from alignmixup.methods.base import Draw
from alignmixup.methods.cutmix import CutMixDraw

PAGE = (Path(__file__).parents[2] / "docs" / "loops.md").read_text(encoding="utf-8")
X, Y, LAM = torch.randn(4, 3, 8, 8), torch.tensor([0, 1, 2, 3]), 0.3


@pytest.mark.parametrize(
    ("heading", "theirs"), [("timm", TimmMixup), ("torchvision", v2.MixUp), ("torchvision", v2.CutMix)]
)
def test_the_tables_name_every_option(heading, theirs):
    section = PAGE.split(f"## From {heading}'s")[1].split("\n## ")[0]
    missing = [name for name in inspect.signature(theirs).parameters if f"`{name}" not in section]
    assert not missing


@pytest.mark.parametrize("multi_label", [False, True])
def test_timm_mixes_images_and_labels_alike(multi_label, monkeypatch):
    theirs = TimmMixup(label_smoothing=0.1, num_classes=5, multi_label=multi_label)
    monkeypatch.setattr(theirs, "_params_per_batch", lambda: (LAM, False))
    y = torch.eye(5)[Y] if multi_label else Y
    x, target = theirs(X.clone(), y)
    mixer = Mixup(num_classes=5, label_smoothing=0.1, multi_label=multi_label)
    batch = mixer.mix(X, mixer.clean(X, y).target, Draw(lam=torch.full((4,), LAM), perm=torch.arange(4).flip(0)))
    torch.testing.assert_close(batch.x, x)
    torch.testing.assert_close(batch.target, target)


def test_torchvision_mixes_images_and_labels_alike(monkeypatch):
    perm, box = torch.arange(4).roll(1), torch.tensor([[1, 2, 4, 7]])
    lam = box_lam(box, 8, 8)
    mixup = Draw(lam=torch.full((4,), LAM), perm=perm)
    cutmix = CutMixDraw(lam=lam.expand(4), perm=perm, box=box.expand(4, 4))
    params = {"lam": LAM, "lam_adjusted": float(lam), "box": (2, 1, 7, 4)}
    for theirs, ours, draw in ((v2.MixUp, Mixup, mixup), (v2.CutMix, CutMix, cutmix)):
        monkeypatch.setattr(theirs, "make_params", lambda self, inputs: params)
        x, target = theirs(num_classes=5)(X, Y)
        mixer = ours(num_classes=5)
        batch = mixer.mix(X, mixer.clean(X, Y).target, draw)
        torch.testing.assert_close(batch.x, x)
        torch.testing.assert_close(batch.target, target)
