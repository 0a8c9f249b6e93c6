"""A style autoencoder from data to file."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from alignmixup.models import PreActResNet18
from alignmixup.models.style_autoencoder import load_style_autoencoder
from alignmixup.training.build import build_model, load_data, save_model
from alignmixup.training.config import Config
from alignmixup.training.style.config import StyleConfig
from alignmixup.training.style.train import build_autoencoder, train_style

QUICK = StyleConfig(epochs=1, batch_size=16)


@pytest.fixture
def run(tiny_config: Callable[..., Config], tmp_path: Path) -> tuple[Config, Path]:
    """A configuration and weights of its network, as a finished run has them."""
    config = tiny_config()
    network = build_model(config, load_data(config))
    with torch.no_grad():
        for buffer in network.buffers():
            buffer.add_(1)
    save_model(tmp_path / "model.safetensors", network)
    return config, tmp_path / "model.safetensors"


def test_the_encoder_is_the_beginning_of_the_runs_network(run: tuple[Config, Path]) -> None:
    config, weights = run
    dataset = load_data(config)
    autoencoder = build_autoencoder(config, QUICK, dataset, weights=weights)
    network = build_model(config, dataset)
    assert isinstance(network, PreActResNet18)
    import safetensors.torch

    network.load_state_dict(safetensors.torch.load_file(weights))
    network.eval()
    for layer in network.modules():
        if isinstance(layer, torch.nn.Conv2d):
            layer.padding_mode = "replicate"  # as in the encoder
    x = torch.rand(2, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    normalised = (x - dataset.mean[0]) / dataset.std[0]
    expected = network.stage2(network.stage1(network.stem(normalised)))
    torch.testing.assert_close(autoencoder.encode(x), expected)
    trained = [name for name, parameter in autoencoder.named_parameters() if parameter.requires_grad]
    assert trained
    assert all(name.startswith("decoder.") for name in trained)


def test_one_file_with_everything(run: tuple[Config, Path], tmp_path: Path) -> None:
    config, weights = run
    out = tmp_path / "new" / "style.safetensors"
    state = torch.get_rng_state()
    measured = train_style(config, QUICK, out, weights=weights)
    torch.set_rng_state(state)
    assert set(measured) == {"psnr_db", "reconstruction_loss", "content_loss", "style_loss", "seconds"}
    assert [file.name for file in out.parent.iterdir()] == [out.name]
    autoencoder = load_style_autoencoder(out)
    assert autoencoder.class_style is not None
    assert autoencoder.class_style.shape == (10, 2 * (4 + 4 + 8))
    assert bool(autoencoder.class_style.isfinite().all())


def test_what_is_there_is_not_lost(run: tuple[Config, Path], tmp_path: Path) -> None:
    config, weights = run
    out = tmp_path / "style.safetensors"
    out.write_bytes(b"precious")
    with pytest.raises(ValueError, match="is there already: --overwrite replaces it"):
        train_style(config, QUICK, out, weights=weights)
    assert out.read_bytes() == b"precious"
    train_style(config, QUICK, out, weights=weights, overwrite=True)
    load_style_autoencoder(out)


def test_bad_input(
    run: tuple[Config, Path],
    tiny_config: Callable[..., Config],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    config, weights = run
    dataset = load_data(config)
    with pytest.raises(ValueError, match="needs the weights of a trained network"):
        build_autoencoder(config, QUICK, dataset, weights=None)
    with pytest.raises(FileNotFoundError, match=r"no weights at none\.safetensors"):
        build_autoencoder(config, QUICK, dataset, weights=Path("none.safetensors"))
    with pytest.raises(ValueError, match="takes RGB images, and digits has 1 channel"):
        build_autoencoder(config, StyleConfig(encoder="vgg19"), dataset, weights=None)
    other = tiny_config("model.name=torchvision:resnet18")
    with pytest.raises(ValueError, match="and the run has torchvision:resnet18"):
        build_autoencoder(other, QUICK, dataset, weights=weights)
