"""Nobody waits at a pipe: whatever reads a file says at once that it is none."""

import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from alignmixup import files, records
from alignmixup.data import decode, image_file, label_map
from alignmixup.data.boxes import csv_files, xml_files
from alignmixup.data.sets import cifar
from alignmixup.data.sets.release import Release
from alignmixup.models import weights
from alignmixup.models.style_autoencoder import load_style_autoencoder
from alignmixup.training import checkpoint, config_file
from alignmixup.training.weights import read_model_weights

READERS: dict[str, Callable[[Path], Any]] = {
    "array.npy": files.read_array,
    "record.json": records.read_json,
    "records.jsonl": records.read_records,
    "image.png": decode.decode_image,
    "image.jpg": decode.decode_pixels,
    "size.jpg": image_file.image_size,
    "map.json": label_map.read_label_map,
    "map.txt": label_map.read_label_map,
    "boxes.csv": csv_files.read_box_csv,
    "cat.xml": lambda path: xml_files.read_xml_boxes(path.parent, ["train/cat.jpg"]),
    "data_batch_1": cifar.read_batch,
    "wnids.txt": Release("tiny-imagenet", "tiny-imagenet-200", "tiny-imagenet-200.zip", ("wnids.txt",)).lines,
    "weights.pth": weights.read_weights,
    "weights.safetensors": weights.read_weights,
    "style.safetensors": load_style_autoencoder,
    "model.safetensors": read_model_weights,
    "checkpoint.pt": checkpoint.load,
    "config.toml": config_file.load,
    "base.toml": config_file.load_complete,
}


@pytest.fixture(autouse=True)
def patience() -> Iterator[None]:
    """Twenty seconds, after which a read that waits is a failure."""

    def give_up(*_: object) -> None:
        pytest.fail("it waits at a pipe")

    before = signal.signal(signal.SIGALRM, give_up)
    signal.alarm(20)
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, before)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no named pipes on Windows: waiting at one is not tried there")
@pytest.mark.parametrize("name", READERS)
def test_nobody_waits_at_a_pipe(name: str, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / name)
    with pytest.raises((ValueError, OSError), match=r"(?i)no .*|missing|not a readable") as refusal:
        READERS[name](tmp_path / name)
    assert name in str(refusal.value)
    assert "\n" not in str(refusal.value)
