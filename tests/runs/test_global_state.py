"""What a call of the library leaves of the process: nothing but its result is another than before."""

import logging
import os
import random
import signal
import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2  # noqa: F401 - what importing changes is not the question
import matplotlib as mpl
import matplotlib.pyplot
import numpy as np
import PIL.Image
import pytest
import rich.console  # noqa: F401
import sklearn.metrics  # noqa: F401
import torch
import torchvision  # noqa: F401

from alignmixup import methods, runs
from alignmixup.evaluation.auto_attack import AutoAttack, auto_attack_error
from alignmixup.report.collect import find_runs
from alignmixup.report.page import build_page
from alignmixup.runs import pictures

QUICK = ["train.epochs=1", "data.subset=6", "model.width=4", "train.device=cpu", "train.threads=1"]
_BACKENDS = {
    "cudnn": ("enabled", "benchmark", "deterministic", "allow_tf32"),
    "cuda.matmul": ("allow_tf32",),
    "mkldnn": ("enabled",),
}


def state() -> dict[str, Any]:
    """All that a call could leave changed."""
    flags = {}
    for name, keys in _BACKENDS.items():
        part: Any = torch.backends
        for one in name.split("."):
            part = getattr(part, one)
        flags |= {f"{name}.{key}": getattr(part, key) for key in keys}
    loggers = {name: one for name, one in logging.Logger.manager.loggerDict.items() if isinstance(one, logging.Logger)}
    numbers = np.random.get_state(legacy=False)
    return {
        "levels": {name: one.level for name, one in {**loggers, "": logging.getLogger()}.items() if one.level},
        "handlers": {name: list(one.handlers) for name, one in loggers.items() if one.handlers},
        "disabled loggers": logging.root.manager.disable,
        "warnings": (list(warnings.filters), warnings.showwarning),
        "environment": dict(os.environ),
        "folder": os.getcwd(),
        "sys.path": list(sys.path),
        "hooks": (sys.excepthook, sys.stdout, sys.stderr),
        "signals": {number: signal.getsignal(number) for number in signal.valid_signals()},
        "random": (random.getstate(), torch.get_rng_state().tolist(), str(numbers)),
        "threads": torch.get_num_threads(),
        "dtype": torch.get_default_dtype(),
        "gradients": (torch.is_grad_enabled(), torch.is_anomaly_enabled(), torch.is_inference_mode_enabled()),
        "deterministic": (torch.are_deterministic_algorithms_enabled(), torch.get_deterministic_debug_mode()),
        "precision": torch.get_float32_matmul_precision(),
        "backends": flags,
        "autocast": (torch.is_autocast_enabled("cpu"), torch.get_autocast_dtype("cpu")),
        "matplotlib": dict(mpl.rcParams),
        "figures": mpl.pyplot.get_fignums(),
        "largest image": PIL.Image.MAX_IMAGE_PIXELS,
    }


def changed(before: dict[str, Any], after: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in before.items():
        then, now = (one if isinstance(one, dict) else {"": one} for one in (value, after[key]))
        found |= {
            f"{key}: {name}": (then.get(name), now.get(name))
            for name in {**then, **now}
            if then.get(name) != now.get(name)
        }
    return found


def page() -> str:
    return build_page(find_runs([Path("run")]))


def mix() -> None:
    for name in methods.available():
        methods.options(name)
    with methods.build("cutmix", num_classes=10, seed=0)(torch.zeros(4, 3, 8, 8), torch.arange(4)):
        pass


CALLS: dict[str, Callable[[], Any]] = {
    "load": lambda: runs.load("run").model,
    "train": lambda: runs.train("digits/mixup", "new", overrides=QUICK),
    "compare": lambda: runs.compare(["digits/baseline"], seeds=1, overrides=QUICK, out="both"),
    "evaluate": lambda: runs.evaluate("run", what="all", limit=20, out="out.json", overwrite=True),
    "picture_gallery": lambda: pictures.picture_gallery("run", "gallery.png", methods="mixup,cutmix", columns=2),
    "picture_matches": lambda: pictures.picture_matches("run", "align.png", pairs=1),
    "measure_interpolation": lambda: pictures.measure_interpolation("run", "paths.png", pairs=2),
    "report": page,
    "mix": mix,
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("state")
    runs.train("digits/alignmixup", place / "run", overrides=QUICK)
    return place


@pytest.mark.parametrize("name", CALLS)
def test_a_call_leaves_the_process_as_it_was(folder: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.chdir(folder)
    before = state()
    CALLS[name]()
    assert not changed(before, state())


def test_autoattack_leaves_the_process_as_it_was() -> None:
    pytest.importorskip("pyautoattack", reason="no pyautoattack: what it leaves is not tried here")
    torch.manual_seed(0)
    model = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(3 * 8 * 8, 4))
    small = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(3 * 8 * 8, 3))
    images = [(torch.rand(2, 3, 8, 8), torch.tensor([0, 1]))]
    before = state()
    auto_attack_error(model, images, AutoAttack(), mean=[0.5] * 3, std=[0.5] * 3)
    assert not changed(before, state())
    with pytest.raises(ValueError, match="needs 4 classes"):
        auto_attack_error(small, images, AutoAttack(), mean=[0.5] * 3, std=[0.5] * 3)
    assert not changed(before, state())
