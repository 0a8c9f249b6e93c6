"""Accelerate's and Ignite's checkpoints take a mixer as it is, and its stream continues."""

import pytest
import torch
from accelerate import Accelerator
from ignite.engine import Engine, Events
from ignite.handlers import Checkpoint, DiskSaver
from tests.integrations.clients import CLASSES, data

from alignmixup import Mixup

pytestmark = [pytest.mark.filterwarnings("ignore"), pytest.mark.xdist_group("processes")]


def draws(mixer, count=3):
    x, y = data()[:4]
    return [float(mixer(x, y).lam[0]) for _ in range(count)]


def test_accelerate(tmp_path):
    accelerator, mixer = Accelerator(cpu=True), Mixup(num_classes=CLASSES)
    accelerator.register_for_checkpointing(mixer)
    draws(mixer)
    accelerator.save_state(str(tmp_path))
    expected = draws(mixer)
    draws(mixer)
    accelerator.load_state(str(tmp_path))
    assert draws(mixer) == expected


def test_ignite(tmp_path):
    mixer, other = Mixup(num_classes=CLASSES), Mixup(num_classes=CLASSES)
    engine = Engine(lambda engine, items: draws(mixer, 1))
    saved = Checkpoint({"mixer": mixer}, DiskSaver(str(tmp_path), require_empty=False))
    engine.add_event_handler(Events.COMPLETED, saved)
    engine.run(range(4))
    expected = draws(mixer)
    Checkpoint.load_objects({"mixer": other}, torch.load(tmp_path / saved.last_checkpoint, weights_only=True))
    assert draws(other) == expected
