"""Records as runs write them, without training."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from alignmixup.training.config import to_dict
from alignmixup.training.config_file import dump, load

Make = Callable[..., Path]


@pytest.fixture
def make(tmp_path: Path) -> Make:
    """Writes a run folder: ``make("mixup", 0, [30, 20])`` has these test errors; returns the folder."""

    def write(
        label: str,
        seed: int,
        errors: list[float],
        *,
        name: str = "",
        root: str = "runs",
        overrides: tuple[str, ...] = (),
        processor: str = "A processor",
        torch: str = "2.15",
    ) -> Path:
        config = load(name or f"digits/{label}", [f"train.seed={seed}", f"train.epochs={len(errors)}", *overrides])
        folder = tmp_path / root / f"{label}-seed{seed}"
        folder.mkdir(parents=True)
        curve = [
            {"epoch": epoch, "lr": 0.1, "train_loss": 2.0 / (epoch + 1), "images": 100, "train_seconds": 30.0}
            | {"images_per_second": 3.3, "error_percent": error, "top5_error_percent": 1.0, "cross_entropy": error / 20}
            for epoch, error in enumerate(errors)
        ]
        metrics = {
            "best_error_percent": min(errors),
            "best_epoch": errors.index(min(errors)),
            "last_error_percent": errors[-1],
            "last10_error_percent": sum(errors[-10:]) / len(errors[-10:]),
            "last_top5_error_percent": 1.0,
            "last_cross_entropy": errors[-1] / 20,
            "epochs": len(errors),
            "seconds": 30.0 * len(errors),
            "train_seconds": 30.0 * len(errors),
            "images_per_second": 3.3,
            "parameters": 1000,
        }
        record: dict[str, Any] = {
            "format": 1,
            "finished": True,
            "config": to_dict(config),
            "seed": seed,
            "metrics": metrics,
            "curve": curve,
            "effective_batch_size": config.train.batch_size * config.train.accumulation,
            "environment": {"processor": processor, "gpu": None, "packages": {"torch": torch}, "processes": 1},
            "revision": {"commit": "0123456789abcdef", "dirty": False},
        }
        (folder / "record.json").write_text(json.dumps(record))
        (folder / "config.toml").write_text(dump(config))
        return folder

    return write
