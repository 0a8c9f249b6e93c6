"""Run folders without a training."""

from pathlib import Path

from alignmixup.data import ImageData
from alignmixup.training.build import build_model, load_data
from alignmixup.training.config import Config
from alignmixup.training.config_file import dump
from alignmixup.training.weights import save_model


def write_run(folder: Path, config: Config, images: ImageData | None = None) -> Path:
    """A folder with the configuration, and the weights of a network for its images that was never trained."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.toml").write_text(dump(config))
    save_model(folder / "model.safetensors", build_model(config, images or load_data(config)))
    return folder
