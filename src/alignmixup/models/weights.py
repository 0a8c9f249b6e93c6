"""State dicts from files and from the publishers of networks, with errors that name the way out."""

import importlib
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor, nn

__all__ = ["download_weights", "library", "load_except_head", "read_weights"]

_log = logging.getLogger(__name__)


def download_weights(entry: Any) -> Mapping[str, Tensor]:
    """The state dict of an entry of a torchvision weights enumeration, downloaded once.

    Raises:
        FileNotFoundError: it is not here and cannot be downloaded.
    """
    try:
        return cast(Mapping[str, Tensor], entry.get_state_dict(progress=False, check_hash=True))
    except OSError as error:
        target = Path(torch.hub.get_dir()) / "checkpoints" / Path(entry.url).name
        raise FileNotFoundError(
            f"the pretrained weights could not be downloaded from {entry.url} ({error}). "
            f"Fetch that file by hand and put it at {target}, or name it in the option weights=PATH"
        ) from error


def library(module: str) -> Any:
    """Import a module of the ``train`` extra.

    Raises:
        ImportError: it is not installed.
    """
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise ImportError(f'{module} is needed for this model: pip install "alignmixup[train]"') from error


def load_except_head(model: nn.Module, state: Mapping[str, Tensor], num_classes: int) -> None:
    """Load ``state``; layers that differ only by having ``num_classes`` outputs keep their start values.

    Raises:
        ValueError: missing, unknown or misshapen tensors.
    """
    own = model.state_dict()
    auxiliary = ("aux1.", "aux2.", "AuxLogits.")
    given = {key: value for key, value in state.items() if not key.startswith(auxiliary)}
    differing = [key for key, value in given.items() if key in own and value.shape != own[key].shape]
    kept = [key for key in differing if _is_head(own[key], given[key], num_classes)]
    problems = {
        "missing": own.keys() - given.keys(),
        "unknown": given.keys() - own.keys(),
        "of another shape": set(differing) - set(kept),
    }
    found = [f"{len(keys)} {kind} ({', '.join(sorted(keys)[:3])}...)" for kind, keys in problems.items() if keys]
    if found:
        raise ValueError(f"the weights do not fit the model; tensors: {'; '.join(found)}")
    model.load_state_dict({**given, **{key: own[key] for key in kept}})
    if kept:
        _log.info("weights loaded; starting afresh for %d classes: %s", num_classes, ", ".join(kept))


def read_weights(path: str | Path) -> Mapping[str, Tensor]:
    """The state dict in a file, .pth or .safetensors.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it is damaged, or no state dict.
    """
    if not Path(path).is_file():
        raise FileNotFoundError(f"no weights at {path}: expected a state dict, .pth or .safetensors")
    try:
        if Path(path).suffix == ".safetensors":
            return cast(Mapping[str, Tensor], library("safetensors.torch").load_file(str(path)))
        state = torch.load(path, map_location="cpu", weights_only=True)
    except ImportError:
        raise
    except Exception as error:  # a damaged file raises anything from EOFError to SafetensorError
        raise ValueError(f"{path} is not a readable state dict ({type(error).__name__}: {error})") from error
    if not isinstance(state, Mapping) or not all(isinstance(value, Tensor) for value in state.values()):
        kind = type(state).__name__
        raise ValueError(f"{path} is not a state dict: expected a mapping from names to tensors, got {kind}")
    return cast(Mapping[str, Tensor], state)


def _is_head(own: Tensor, given: Tensor, num_classes: int) -> bool:
    return own.shape[:1] == (num_classes,) and own.shape[1:] == given.shape[1:]
