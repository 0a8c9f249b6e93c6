"""From configuration to parts, and errors that name the table."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import nn

from alignmixup.training.build import build_loaders, build_mixer, build_model, check_takes, example_images, load_data
from alignmixup.training.config import Config, ModelConfig
from alignmixup.training.config_file import ConfigError
from alignmixup.training.engine import Engine
from alignmixup.training.weights import load_model_weights, save_model

MakeConfig = Callable[..., Config]


def test_data_options_are_used(tiny_config: MakeConfig) -> None:
    dataset = load_data(tiny_config("data.subset=3", "data.image_size=16", "data.normalization=half"))
    assert (len(dataset.train), dataset.image_size, dataset.mean) == (30, 16, (0.5,))


@pytest.mark.parametrize("options", [["method.name=remix"], ["method.name=switch", 'method.mixers=["remix"]']])
def test_remix_gets_the_counts_of_the_images_that_are_trained_on(tiny_config: MakeConfig, options: list[str]) -> None:
    config = tiny_config("data.subset=20", "data.imbalance=10", *options)
    dataset = load_data(config)
    mixer = build_mixer(config, build_model(config, dataset), dataset)
    counts = [20, 15, 11, 9, 7, 5, 4, 3, 2, 2]
    assert torch.bincount(dataset.train.labels).tolist() == list(mixer.class_counts) == counts  # type: ignore[attr-defined]
    for one in getattr(mixer, "_mixers", ()):
        assert list(one.class_counts) == counts
    own = tiny_config("method.name=remix", "method.class_counts=[9, 1, 1, 1, 1, 1, 1, 1, 1, 1]")
    assert build_mixer(own, build_model(own, dataset), dataset).class_counts == [9] + [1] * 9  # type: ignore[attr-defined]


def test_loaders_use_the_batch_sizes(tiny_config: MakeConfig) -> None:
    config = tiny_config("train.batch_size=7", "evaluation.batch_size=100")
    train, test = build_loaders(config, load_data(config), Engine(config.train))
    assert [len(y) for _, y in train] == [7] * 8 + [4]
    assert next(iter(test))[0].shape == (100, 1, 8, 8)


def test_example_images_are_the_first_of_the_test_batches(tiny_config: MakeConfig) -> None:
    config = tiny_config("train.channels_last=true")
    dataset, engine = load_data(config), Engine(config.train)
    images = example_images(config, dataset, engine)
    assert torch.equal(images, next(iter(build_loaders(config, dataset, engine)[1]))[0][:2])


def test_no_complete_batch_is_refused(tiny_config: MakeConfig) -> None:
    config = tiny_config("train.batch_size=64", "train.drop_last=true")
    with pytest.raises(ValueError, match="no batch from 60 images: batch_size=64, drop_last=True"):
        build_loaders(config, load_data(config), Engine(config.train))


def test_model_follows_seed_and_images(tiny_config: MakeConfig) -> None:
    config = tiny_config()
    dataset = load_data(config)
    first, second = build_model(config, dataset), build_model(config, dataset)
    other = build_model(tiny_config("train.seed=1"), dataset)
    assert torch.equal(first.head.weight, second.head.weight)
    assert not torch.equal(first.head.weight, other.head.weight)
    named = tiny_config("model.name=preact_resnet18")
    named.model.options.pop("in_channels", None)  # type: ignore[attr-defined]
    assert build_model(named, dataset)(torch.zeros(2, 1, 8, 8)).shape == (2, 10)


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("model.widht=8", r"\[model\]: .*'widht'.*width"),
        ("model.name=preact_resnet81", r"\[model\]: unknown model 'preact_resnet81'.*preact_resnet18"),
        ("model.width=0", r"\[model\]: width must be an integer >= 1, got 0"),
        ("method.name=mixpu", r"\[method\]: unknown method 'mixpu'.*mixup"),
        ("method.alhpa=1.0", r"\[method\]: .*'alhpa'.*alpha"),
        ("method.alpha=-1.0", r"\[method\]: alpha must be > 0, got -1.0"),
        ("method.alpha=often", r"\[method\]: alpha must be a number, got 'often'"),
        ("method.multi_label=1", r"\[method\]: multi_label must be true or false, got 1"),
        ("model.final_norm=1", r"\[model\]: final_norm must be true or false, got 1"),
    ],
)
def test_bad_parts_name_their_table(tiny_config: MakeConfig, override: str, message: str) -> None:
    config = tiny_config(override)
    dataset = load_data(config)
    with pytest.raises(ConfigError, match=message):
        build_mixer(config, build_model(config, dataset), dataset)


def test_weights_round_trip_strictly(tmp_path: Path) -> None:
    model = nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2)).to(memory_format=torch.channels_last)
    model[1].weight = model[1].bias  # shared memory, which the file format refuses by itself
    save_model(tmp_path / "model.safetensors", model)
    other = nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2))
    load_model_weights(tmp_path / "model.safetensors", other)
    assert all(torch.equal(value, other.state_dict()[name]) for name, value in model.state_dict().items())


def test_bad_weights_are_named(tmp_path: Path) -> None:
    file = tmp_path / "model.safetensors"
    with pytest.raises(FileNotFoundError, match="no weights at"):
        load_model_weights(file, nn.Linear(1, 1))
    file.write_bytes(b"garbled")
    with pytest.raises(ValueError, match=r"model.safetensors is damaged or no safetensors file"):
        load_model_weights(file, nn.Linear(1, 1))
    save_model(file, nn.Linear(2, 1))
    with pytest.raises(ValueError, match=r"is .* there, and .* in the model"):
        load_model_weights(file, nn.Linear(1, 1))


@pytest.mark.parametrize(
    ("name", "options", "reason"),
    [
        ("timm:test_vit", {}, "divisible by patch size"),
        ("torchvision:alexnet", {}, "Output size is too small"),
        ("timm:convnext_atto", {"patch_size": 3}, "patches of model.patch_size=3 do not fill them"),
    ],
)
def test_a_network_that_cannot_work_on_the_images_is_refused(
    tiny_config: MakeConfig, name: str, options: dict[str, int], reason: str
) -> None:
    config = replace(tiny_config(), model=ModelConfig(name, options))
    network = build_model(config, load_data(config))
    with pytest.raises(ConfigError, match=rf"cannot work on images of 8 x 8 pixels \(.*{reason}.*set data.image_size"):
        check_takes(config, network, torch.zeros(2, 1, 8, 8))
    assert network.training


def test_a_network_that_leaves_out_a_part_of_the_images_is_refused(tiny_config: MakeConfig) -> None:
    config = replace(tiny_config(), model=ModelConfig("own:patches", {}))
    with pytest.raises(ConfigError, match="own:patches leaves out 2 pixels at a side of images of 8 x 8 pixels"):
        check_takes(config, nn.Sequential(nn.Conv2d(1, 2, 3, stride=3), nn.Flatten()), torch.zeros(2, 1, 8, 8))
    check_takes(config, nn.Sequential(nn.Conv2d(1, 2, 3, stride=2), nn.Flatten()), torch.zeros(2, 1, 8, 8))
