"""StyleAutoencoder: the frozen pair of networks in whose features StyleMix and StyleCutMix mix."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from alignmixup.models.style_encoders import (
    PatchDecoder,
    PatchEncoder,
    ResidualDecoder,
    ResidualEncoder,
    VggDecoder,
    VggEncoder,
    resize,
)
from alignmixup.outside import require
from alignmixup.records import read_style_description, sealed

__all__ = ["StyleAutoencoder", "load_style_autoencoder", "style_file_bytes", "vgg19_weights"]

FORMAT = 1
_KEY = "style_autoencoder"
_DATA_SETS = ("digits", "cifar10", "cifar100", "tiny-imagenet", "imagenet")


class StyleAutoencoder(nn.Module):
    """Images in [0, 1] to feature maps and back.

    Args:
        kind: ``"patches"``: an orthonormal transform, see `PatchEncoder`, whose inverse is exact; nothing is learned.
            ``"residual"``: first stages of a trained `PreActResNet18` and a decoder trained for them, at the
            images' own size. ``"vgg19"``: the published one, VGG-19 up to relu4_1 at 224 pixels and its mirror.
        settings: keywords of the encoder.

    Attributes:
        class_style: (K, D) float32 mean style vector of each class, for StyleCutMix's automatic γ; None where unknown.

    Raises:
        ValueError: unknown kind, or a setting out of range.

    Example:
        >>> import torch
        >>> from alignmixup.models.style_autoencoder import StyleAutoencoder
        >>> autoencoder = StyleAutoencoder("patches", {"patch": 4})
        >>> autoencoder.encode(torch.rand(2, 3, 32, 32)).shape
        torch.Size([2, 48, 8, 8])
    """

    class_style: Tensor | None

    def __init__(self, kind: str, settings: Mapping[str, Any] | None = None) -> None:
        super().__init__()
        self.kind, self.settings = kind, dict(settings or {})
        self.encoder: nn.Module
        self.decoder: nn.Module
        if kind == "patches":
            self.encoder, self.decoder = PatchEncoder(**self.settings), PatchDecoder(**self.settings)
        elif kind == "residual":
            self.encoder = encoder = ResidualEncoder(**self.settings)
            channels = self.settings.get("in_channels", 3)
            self.decoder = ResidualDecoder(widths=encoder.widths, strides=encoder.strides, out_channels=channels)
        elif kind == "vgg19":
            self.encoder, self.decoder = VggEncoder(), VggDecoder()
        else:
            raise ValueError(f"kind must be 'patches', 'residual' or 'vgg19', got {kind!r}")
        self.register_buffer("class_style", None)

    @property
    def channels(self) -> int | None:
        """Channels of the images; None for any number."""
        return {"patches": None, "vgg19": 3}.get(self.kind, self.settings.get("in_channels", 3))

    def taps(self, images: Tensor) -> tuple[Tensor, ...]:
        """Map (B, C, H, W) images to the maps whose statistics are the style, finest first; the last is mixed."""
        taps: tuple[Tensor, ...] = self.encoder(images)
        return taps

    def encode(self, images: Tensor) -> Tensor:
        """Map (B, C, H, W) images in [0, 1] to the (B, c, h, w) features that are mixed.

        Raises:
            ValueError: the encoder was made for another number of channels.
        """
        if self.channels not in (None, images.shape[1]):
            raise ValueError(
                f"this style autoencoder was trained on images of {self.channels} channels, got {images.shape[1]}"
            )
        return self.taps(images)[-1]

    def decode(self, features: Tensor, size: tuple[int, int]) -> Tensor:
        """Map features back to float32 images (B, C, H, W) in [0, 1] of the given height and width."""
        return self.draw(features, size).clamp(0, 1)

    def draw(self, features: Tensor, size: tuple[int, int]) -> Tensor:
        """Decode without the limits of [0, 1], whose gradient would vanish: for training."""
        images = self.decoder(features).float()
        return resize(images, size) if self.kind == "vgg19" else images[..., : size[0], : size[1]]


def load_style_autoencoder(source: str | Path) -> StyleAutoencoder:
    """Build an autoencoder, frozen and in eval mode.

    Args:
        source: a file of ``alignmixup train-style``; or ``"patches:P"``, the orthonormal transform of P x P pixels,
            which needs no file (``"patches"`` is ``"patches:4"``).

    Raises:
        FileNotFoundError: no such file; the message has the command that makes it.
        ValueError: damaged, or no style autoencoder, or a patch that is no number >= 2.
        ImportError: safetensors, of the ``train`` extra, is not installed.
    """
    name, _, patch = str(source).partition(":")
    if name == "patches":
        if not (patch or "4").isdecimal() or int(patch or "4") < 2:
            raise ValueError(f'a patch is a number of pixels >= 2, such as "patches:4", got {str(source)!r}')
        return StyleAutoencoder("patches", {"patch": int(patch or "4")}).eval()
    settings, tensors = _read(Path(source))
    try:
        autoencoder = StyleAutoencoder(settings["kind"], settings["settings"])
        autoencoder.class_style = tensors.get("class_style")  # a buffer that is None cannot be loaded into
        autoencoder.load_state_dict(tensors)
    except (KeyError, TypeError, ValueError, RuntimeError) as error:
        raise ValueError(f"{source} is damaged: {str(error).splitlines()[0]}; {_make(Path(source))}") from error
    return autoencoder.eval().requires_grad_(False)


def style_file_bytes(autoencoder: StyleAutoencoder, measured: Mapping[str, Any]) -> bytes:
    """Content of the file that `load_style_autoencoder` reads: weights as safetensors, the rest as its metadata.

    ``measured`` are numbers to keep beside, such as the reconstruction error.
    """
    described = {"format": FORMAT, "kind": autoencoder.kind, "settings": autoencoder.settings}
    tensors = {name: value.detach().cpu().contiguous().clone() for name, value in autoencoder.state_dict().items()}
    described |= {"measured": dict(measured), "tensors_sha256": _digest(tensors)}
    metadata = {"format": "pt", _KEY: json.dumps(sealed(described))}
    content: bytes = require("safetensors.torch").save(tensors, metadata=metadata)
    return content


def vgg19_weights() -> dict[str, Tensor]:
    """State dict of torchvision's VGG-19 from the local cache of weights; nothing is downloaded.

    Raises:
        FileNotFoundError: it is not there; the message says how to put it there.
        ImportError: torchvision is not installed.
    """
    published = require("torchvision.models").VGG19_Weights.IMAGENET1K_V1
    file = Path(torch.hub.get_dir()) / "checkpoints" / Path(published.url).name
    if not file.is_file():
        raise FileNotFoundError(
            f"the VGG-19 weights are not at {file}: fetch {published.url} and put it there, or use an encoder that "
            "needs none (--encoder residual)"
        )
    state: dict[str, Tensor] = torch.load(file, map_location="cpu", weights_only=True)
    return state


def _read(file: Path) -> tuple[dict[str, Any], dict[str, Tensor]]:
    if not file.is_file():
        raise FileNotFoundError(f'no style autoencoder at {file}; {_make(file)}, or take "patches", which needs none')
    safe_open = require("safetensors").safe_open
    try:
        with safe_open(file, framework="pt") as opened:
            metadata = opened.metadata() or {}
            tensors = {name: opened.get_tensor(name) for name in opened.keys()}  # noqa: SIM118  (not a mapping)
    except Exception as error:  # safetensors raises its own error type
        raise ValueError(f"{file} is damaged or no safetensors file ({error}); {_make(file)}") from error
    if _KEY not in metadata:
        raise ValueError(f"{file} holds no style autoencoder (weights of a classifier?); {_make(file)}")
    try:
        described = read_style_description(metadata[_KEY], str(file), version=FORMAT)
    except ValueError as error:
        raise ValueError(f"{error}; {_make(file)}") from None
    if described.get("tensors_sha256", digest := _digest(tensors)) != digest:
        raise ValueError(f"{file} is damaged: the checksum of its tensors differs; {_make(file)}")
    return described, tensors


def _digest(tensors: Mapping[str, Tensor]) -> str:
    return hashlib.sha256(require("safetensors.torch").save(dict(tensors))).hexdigest()


def _make(file: Path) -> str:
    """Tell the command that makes a file; the bundled configurations name it after its data set."""
    data = file.stem if file.stem in _DATA_SETS else "DATASET"
    root = "" if data == "digits" else " --set data.root=DIR"
    return f"make one with `alignmixup train-style --data {data} --out {file}{root}`"
