"""A style autoencoder from settings and data to file: its training, continued too, and the styles of the classes."""

from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
import torch

from alignmixup import data
from alignmixup.functional.style import adain, style_vector
from alignmixup.models import PreActResNet18
from alignmixup.models.style_autoencoder import StyleAutoencoder, load_style_autoencoder
from alignmixup.training.build import build_model, load_data
from alignmixup.training.config import Config
from alignmixup.training.engine import Engine
from alignmixup.training.style.config import StyleConfig
from alignmixup.training.style.train import build_autoencoder, train_style
from alignmixup.training.style.trainer import StyleTrainer, style_losses
from alignmixup.training.weights import save_model

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


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"epochs": 0}, "style.epochs must be >= 1, got 0"),
        ({"stages": 5}, "style.stages must be in \\[1, 4\\], got 5"),
        ({"lr": 0.0}, "style.lr must be > 0, got 0"),
        ({"style_weight": -1.0}, "style.style_weight must be >= 0, got -1"),
        ({"encoder": "vgg16"}, "style.encoder must be 'residual' or 'vgg19', got 'vgg16'"),
    ],
)
def test_values_out_of_range(values: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        StyleConfig(**values)  # type: ignore[arg-type]


SETTINGS = {"stages": 1, "width": 4, "mean": [0.3], "std": [0.4], "in_channels": 1}


def make_autoencoder() -> StyleAutoencoder:
    torch.manual_seed(0)
    autoencoder = StyleAutoencoder("residual", SETTINGS).eval()
    autoencoder.encoder.requires_grad_(False)
    return autoencoder


@pytest.fixture
def make(tiny_config: Callable[..., Config], tmp_path: Path) -> Callable[..., StyleTrainer]:
    config = tiny_config()
    dataset = data.load("digits", subset=6)

    def build(style: StyleConfig, *, config: Config = config, **changes: Any) -> StyleTrainer:
        with closing(Engine(config.train)) as engine:
            return StyleTrainer(
                make_autoencoder(),
                style,
                dataset=dataset,
                config=config,
                engine=engine,
                unfinished=tmp_path / "a.unfinished",
                **changes,
            )

    return build


def images(count: int = 4) -> torch.Tensor:
    return torch.rand(count, 3, 8, 8, generator=torch.Generator().manual_seed(0))


def test_a_perfect_autoencoder_loses_nothing_but_the_limits_of_its_style() -> None:
    reconstruction, content, style = style_losses(
        StyleAutoencoder("patches", {"patch": 2}), images(), torch.tensor([1, 2, 3, 0])
    )
    for loss in (reconstruction, content, style):
        assert loss < 1e-6


def test_losses_by_hand() -> None:
    class Half(StyleAutoencoder):
        """Decodes at half the contrast."""

        def draw(self, features: torch.Tensor, size: tuple[int, int]) -> torch.Tensor:
            return super().draw(features, size) / 2

    x, perm = images(), torch.tensor([1, 2, 3, 0])
    autoencoder = Half("patches", {"patch": 2})
    found = style_losses(autoencoder, x, perm)
    features = autoencoder.encode(x)
    wanted = adain(features, features[perm])
    torch.testing.assert_close(found[0], (x / 2).square().mean())
    torch.testing.assert_close(found[1], (wanted / 2).square().mean())
    own, partner = style_vector([wanted / 2]), style_vector([features])[perm]
    torch.testing.assert_close(found[2], 2 * (own - partner).square().mean())


def test_training_lowers_the_losses_and_leaves_the_encoder_alone(make: Callable[..., StyleTrainer]) -> None:
    trainer = make(StyleConfig(epochs=15, batch_size=16, stages=1, lr=0.02))
    encoder = {name: value.clone() for name, value in trainer.autoencoder.encoder.state_dict().items()}
    before = trainer.measure()
    trainer.fit()
    after = trainer.finish()
    assert after["psnr_db"] > before["psnr_db"] + 3
    assert after["style_loss"] < before["style_loss"] / 2
    for name, value in trainer.autoencoder.encoder.state_dict().items():
        assert name == "scale" or torch.equal(value, encoder[name])


def test_the_encoders_maps_get_unit_mean_square(make: Callable[..., StyleTrainer]) -> None:
    trainer = make(StyleConfig(epochs=1, batch_size=60, stages=1))
    trainer._calibrate()
    ((x, _),) = trainer._pixels(trainer.train_loader)
    for tap in trainer.autoencoder.taps(x):
        torch.testing.assert_close(tap.square().mean(), torch.tensor(1.0))


def test_the_styles_of_the_classes_are_means_over_all_their_images(make: Callable[..., StyleTrainer]) -> None:
    trainer = make(StyleConfig(epochs=3, batch_size=7, stages=1))
    trainer.finish()
    trainer.train_loader.set_epoch(3)
    batches = list(trainer._pixels(trainer.train_loader))
    x, y = (torch.cat(parts) for parts in zip(*batches, strict=True))
    vectors = style_vector(trainer.autoencoder.taps(x))
    expected = torch.stack([vectors[y == label].mean(0) for label in range(10)])
    assert trainer.autoencoder.class_style is not None
    torch.testing.assert_close(trainer.autoencoder.class_style, expected)


def test_a_stopped_training_continues_to_the_same_bits(make: Callable[..., StyleTrainer]) -> None:
    style = StyleConfig(epochs=3, batch_size=16, stages=1)
    whole = make(style)
    whole.fit()
    whole.unfinished.unlink()

    class StopError(Exception):
        pass

    class Stopping:
        def start(self, title: str, **_: int) -> None: ...
        def step(self, **_: float) -> None: ...
        def close(self) -> None: ...
        def epoch(self, row: dict[str, Any]) -> None:
            if row["epoch"] == 1:
                raise StopError

    with pytest.raises(StopError):
        make(style, reporter=Stopping()).fit()
    resumed = make(style)
    resumed.fit()
    assert resumed.epoch == 3
    for name, value in resumed.autoencoder.state_dict().items():
        assert torch.equal(value, whole.autoencoder.state_dict()[name]), name


def test_other_settings_do_not_continue(make: Callable[..., StyleTrainer], tiny_config: Callable[..., Config]) -> None:
    make(StyleConfig(epochs=1, batch_size=16, stages=1)).fit()
    with pytest.raises(ValueError, match=r"unfinished training with other settings: --batch-size, --lr\. Continue"):
        make(StyleConfig(epochs=1, batch_size=8, stages=1, lr=0.1)).fit()
    with pytest.raises(ValueError, match=r"other settings: train.seed: 0 there, 1 now\. .*--overwrite"):
        make(StyleConfig(epochs=1, batch_size=16, stages=1), config=tiny_config("train.seed=1")).fit()


def test_a_loss_that_is_not_finite_saves_nothing(make: Callable[..., StyleTrainer]) -> None:
    trainer = make(StyleConfig(epochs=1, batch_size=16, stages=1, lr=1e20))
    with pytest.raises(FloatingPointError, match=r"not finite at epoch 0 step .*Try a smaller --lr \(now 1e\+20\)"):
        trainer.fit()
    assert not trainer.unfinished.exists()
