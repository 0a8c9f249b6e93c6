"""Files of weights: written whole, read undamaged, and put into the model that they are of."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path

from torch import Tensor, nn

from alignmixup.files import write_atomically
from alignmixup.outside import require


def save_model(path: Path, model: nn.Module) -> str:
    """Write the weights as safetensors, atomically; they load into the plain model with ``strict=True``.

    Returns:
        SHA-256 of the file.
    """
    return save_tensors(path, model.state_dict())


def save_tensors(path: Path, state: Mapping[str, Tensor]) -> str:
    """`save_model`, of a state dict."""
    safetensors = require("safetensors.torch")
    # Cloned: safetensors refuses tensors that share memory, and a strict load wants every name.
    tensors = {name: value.detach().cpu().contiguous().clone() for name, value in state.items()}
    content = safetensors.save(tensors, metadata={"format": "pt"})
    write_atomically(path, lambda file: file.write(content))
    return hashlib.sha256(content).hexdigest()


def read_model_weights(path: Path, *, sha256: str | None = None) -> dict[str, Tensor]:
    """Read what `save_model` wrote; ``sha256`` is what it returned, None where that is not known.

    Raises:
        FileNotFoundError: no such file.
        ValueError: damaged.
    """
    safetensors = require("safetensors.torch")
    if not path.is_file():
        raise FileNotFoundError(f"no weights at {path}: the run is not finished, or this is no run folder")
    content = path.read_bytes()
    if sha256 not in (None, hashlib.sha256(content).hexdigest()):
        raise ValueError(
            f"{path} is not the file that its run wrote: its SHA-256 differs from that in record.json; it is damaged "
            "or was exchanged. --checkpoint FILE measures other weights"
        )
    try:
        tensors: dict[str, Tensor] = safetensors.load(content)
    except Exception as error:  # safetensors raises its own error type
        raise ValueError(f"{path} is damaged or no safetensors file: {error}") from error
    return tensors


def load_model_weights(path: Path, model: nn.Module) -> None:
    """Load what `save_model` wrote; errors as of `read_model_weights` and `fill`."""
    fill(model, read_model_weights(path), path)


def fill(model: nn.Module, tensors: Mapping[str, Tensor], path: Path) -> None:
    """Give a model the weights that were read from ``path``.

    Raises:
        ValueError: the weights of another model.
    """
    try:
        model.load_state_dict(tensors, strict=True)
    except RuntimeError as error:
        differing = misfit(tensors, model.state_dict()) or str(error)
        raise ValueError(f"{path} does not fit the model of its configuration: {differing}") from error


def misfit(there: Mapping[str, Tensor], wanted: Mapping[str, Tensor]) -> str:
    """The first tensor that is missing, left over or of another shape, and how many more there are; or nothing."""
    read, model = ({name: list(value.shape) for name, value in one.items()} for one in (there, wanted))
    differing = [name for name in dict.fromkeys([*model, *read]) if read.get(name) != model.get(name)]
    if not differing:
        return ""
    name, more = differing[0], f" (and {len(differing) - 1} more)" if len(differing) > 1 else ""
    return f"{name} is {read.get(name, 'missing')} there, and {model.get(name, 'missing')} in the model{more}"
