"""Style autoencoders: what they are, their file, and what is said about wrong ones."""

import json
import random
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import torch

from alignmixup.models.style_autoencoder import (
    StyleAutoencoder,
    load_style_autoencoder,
    style_file_bytes,
    vgg19_weights,
)

SETTINGS: dict[str, Any] = {"stages": 2, "width": 4, "mean": [0.5, 0.4, 0.3], "std": [0.2, 0.2, 0.2]}


def images(*shape: int) -> torch.Tensor:
    return torch.rand(*shape, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize(("source", "patch"), [("patches", 4), ("patches:2", 2)])
@pytest.mark.parametrize("size", [(8, 8), (7, 9)])
def test_patches_come_back_exactly(source: str, patch: int, size: tuple[int, int]) -> None:
    autoencoder = load_style_autoencoder(source)
    x = images(2, 3, *size)
    features = autoencoder.encode(x)
    assert features.shape[1] == 3 * patch**2
    torch.testing.assert_close(autoencoder.decode(features, size), x)
    assert list(autoencoder.parameters()) == []


def test_decoded_images_are_images() -> None:
    autoencoder = StyleAutoencoder("patches", {"patch": 2})
    features = 5 * autoencoder.encode(images(1, 1, 4, 4)) - 1
    assert autoencoder.draw(features, (4, 4)).max() > 1
    decoded = autoencoder.decode(features, (4, 4))
    assert decoded.min() >= 0
    assert decoded.max() == 1


@pytest.mark.parametrize("class_style", [None, torch.arange(6.0).view(2, 3)])
def test_a_file_brings_everything_back_frozen(tmp_path: Path, class_style: torch.Tensor | None) -> None:
    torch.manual_seed(0)
    autoencoder = StyleAutoencoder("residual", SETTINGS).eval()
    autoencoder.encoder.get_buffer("scale").copy_(torch.tensor([1.0, 2.0, 3.0]))
    autoencoder.class_style = class_style
    file = tmp_path / "a.safetensors"
    file.write_bytes(style_file_bytes(autoencoder, {"psnr_db": 20.0}))
    loaded = load_style_autoencoder(file)
    x = images(2, 3, 9, 12)
    features = autoencoder.encode(x)
    assert torch.equal(loaded.encode(x), features)
    assert torch.equal(loaded.decode(features, (9, 12)), autoencoder.decode(features, (9, 12)))
    assert loaded.decode(features, (9, 12)).shape == x.shape
    assert not any(parameter.requires_grad for parameter in loaded.parameters())
    assert not any(module.training for module in loaded.modules())
    if class_style is None:
        assert loaded.class_style is None
    else:
        assert torch.equal(loaded.class_style, class_style)
    with safetensors.safe_open(file, framework="pt") as opened:
        assert json.loads(opened.metadata()["style_autoencoder"])["measured"] == {"psnr_db": 20.0}


def test_vgg_works_at_224_pixels_whatever_the_image() -> None:
    torch.manual_seed(0)
    autoencoder = StyleAutoencoder("vgg19").eval()
    with torch.no_grad():
        features = autoencoder.encode(images(1, 3, 32, 32))
        assert features.shape == (1, 512, 28, 28)
        assert autoencoder.decode(features, (32, 32)).shape == (1, 3, 32, 32)


def test_a_missing_file_names_the_command_that_makes_it(tmp_path: Path) -> None:
    missing = tmp_path / "cifar100.safetensors"
    command = (
        rf"alignmixup train-style --data cifar100 --out {missing} --set data.root=DIR`.*\"patches\", which needs none"
    )
    with pytest.raises(FileNotFoundError, match=command):
        load_style_autoencoder(missing)
    with pytest.raises(FileNotFoundError, match=r"train-style --data digits --out digits\.safetensors`"):
        load_style_autoencoder("digits.safetensors")
    with pytest.raises(FileNotFoundError, match=r"train-style --data DATASET --out mine\.safetensors"):
        load_style_autoencoder("mine.safetensors")


def test_files_of_something_else(tmp_path: Path) -> None:
    file = tmp_path / "a.safetensors"
    file.write_bytes(b"garbled")
    with pytest.raises(ValueError, match=r"a.safetensors is damaged or no safetensors file .*train-style"):
        load_style_autoencoder(file)
    safetensors.torch.save_file({"weight": torch.zeros(2)}, file)
    with pytest.raises(ValueError, match=r"holds no style autoencoder \(weights of a classifier"):
        load_style_autoencoder(file)
    metadata = {"style_autoencoder": json.dumps({"format": 0})}
    safetensors.torch.save_file({"weight": torch.zeros(2)}, file, metadata=metadata)
    with pytest.raises(ValueError, match="has format 0, expected 1"):
        load_style_autoencoder(file)
    metadata = {"style_autoencoder": json.dumps({"format": 1, "kind": "residual", "settings": SETTINGS})}
    safetensors.torch.save_file({"weight": torch.zeros(2)}, file, metadata=metadata)
    with pytest.raises(ValueError, match=r"is damaged: Error\(s\) in loading state_dict"):
        load_style_autoencoder(file)


@pytest.mark.parametrize(
    ("described", "complaint"),
    [
        ("{", "is damaged or no JSON"),
        ("[" * 100_000, "is damaged or no JSON"),
        ("3", "is no JSON object"),
        ('{"format": 1}', "is damaged: kind is missing"),
        ('{"format": 1, "kind": "residual", "settings": []}', "is damaged: settings is no object"),
        ('{"format": 1, "kind": ["residual"], "settings": {}}', "is damaged: kind is"),
        ('{"format": 1, "kind": "residual", "settings": {"width": 1e999}}', r"is damaged: settings\.width is inf"),
        ('{"format": 1, "kind": "residual", "settings": {"mean": ["x"]}}', r"is damaged: settings\.mean"),
        ('{"format": 1, "kind": "residual", "settings": {"widht": 4}}', "is damaged: .*unexpected keyword"),
    ],
)
def test_a_description_of_another_form_is_refused(tmp_path: Path, described: str, complaint: str) -> None:
    file = tmp_path / "a.safetensors"
    safetensors.torch.save_file({"weight": torch.zeros(2)}, file, metadata={"style_autoencoder": described})
    with pytest.raises(ValueError, match=f"a.safetensors {complaint}.*train-style") as refusal:
        load_style_autoencoder(file)
    assert "\n" not in str(refusal.value)


def test_a_flipped_bit_is_no_other_autoencoder(tmp_path: Path) -> None:
    file, draw = tmp_path / "a.safetensors", random.Random(0)
    content, refused = style_file_bytes(StyleAutoencoder("residual", SETTINGS), {"psnr_db": 20.0}), 0
    file.write_bytes(content)
    whole = load_style_autoencoder(file)
    for _ in range(200):
        changed, bit = bytearray(content), draw.randrange(8 * len(content))
        changed[bit // 8] ^= 1 << bit % 8
        file.write_bytes(changed)
        try:
            loaded = load_style_autoencoder(file)
            assert (loaded.kind, loaded.settings) == (whole.kind, whole.settings)
            assert all(map(torch.equal, loaded.state_dict().values(), whole.state_dict().values()))
        except ValueError as error:
            assert str(file) in str(error)  # noqa: PT017 - either is right
            refused += 1
    assert refused > 150


@pytest.mark.parametrize("source", ["patches:1", "patches:x", "patches:-2"])
def test_bad_patches(source: str) -> None:
    with pytest.raises(ValueError, match=f"a patch is a number of pixels >= 2.*got '{source}'"):
        load_style_autoencoder(source)


def test_wrong_channels_and_kinds() -> None:
    with pytest.raises(ValueError, match="trained on images of 3 channels, got 1"):
        StyleAutoencoder("residual", SETTINGS).encode(images(1, 1, 8, 8))
    with pytest.raises(ValueError, match="kind must be 'patches', 'residual' or 'vgg19', got 'resnet'"):
        StyleAutoencoder("resnet")


def test_vgg_weights_are_never_downloaded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))
    with pytest.raises(
        FileNotFoundError, match=r"VGG-19 weights are not at .*vgg19-.*\.pth: fetch https?://.*put it there"
    ):
        vgg19_weights()
    from torchvision.models import VGG19_Weights

    file = tmp_path / "checkpoints" / Path(VGG19_Weights.IMAGENET1K_V1.url).name
    file.parent.mkdir()
    torch.save({"features.0.bias": torch.ones(2)}, file)
    assert torch.equal(vgg19_weights()["features.0.bias"], torch.ones(2))
