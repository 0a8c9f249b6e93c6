"""State dicts from files and from the publishers of networks, with errors that name the way out."""

import argparse
import logging
import re
import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor, nn

from alignmixup.outside import require

__all__ = ["check_intact", "download_weights", "load_except_head", "read_weights"]

_log = logging.getLogger(__name__)

# under which training scripts keep the state dict, and what wrappers put before the names in it
_WRAPPINGS = ("state_dict", "model_state_dict", "model_state", "model", "net", "network", "weights")
_PREFIXES = ("module.", "_orig_mod.")
_PART = re.compile(r"-\d+-of-(\d+)\.\w+$")  # model-00001-of-00002.safetensors, beside model.safetensors.index.json
_COUNTER = "n_averaged"  # of torch's AveragedModel, beside the network


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


def read_weights(path: str | Path, *, key: str | None = None) -> Mapping[str, Tensor]:
    """The state dict in a file, .pth or .safetensors, without running any code that the file may hold.

    What training scripts wrap it in is taken off: a dictionary with ``state_dict``, ``model``, ``net``..., and
    ``module.`` or ``_orig_mod.`` before every name. ``key`` says which of several it is, such as the average of the
    weights beside the last ones.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it is damaged, no state dict, a part of one, or several of one network and no ``key``.
    """
    if not Path(path).is_file():
        raise FileNotFoundError(f"no weights at {path}: expected a state dict, .pth or .safetensors")
    part = _PART.search(str(path))
    if str(path).endswith(".index.json") or (part and int(part[1]) > 1):
        raise ValueError(
            f"{path} is of a checkpoint in several files: put the state dicts of all into one mapping, save that by "
            "torch.save(state, 'model.pth'), and name it"
        )
    try:
        if Path(path).suffix == ".safetensors":
            state = require("safetensors.torch").load_file(str(path))
        else:
            if zipfile.is_zipfile(path):
                check_intact(path)
            with torch.serialization.safe_globals([argparse.Namespace]):  # scripts save their arguments too
                state = torch.load(path, map_location="cpu", weights_only=True)
    except ImportError:
        raise
    except Exception as error:  # a damaged file raises anything from EOFError to SafetensorError
        # torch's own text advises to read the file in a way that may run code
        unsupported = re.search(r"unsupported .*?(?= was not | whose |$)", str(error), re.IGNORECASE | re.MULTILINE)
        saved_whole = "it holds an object, perhaps a network saved whole: save its state_dict() in place of it"
        damaged = "it is damaged" if "weights_only" in str(error) else error
        reason = f"{unsupported[0]}; {saved_whole}" if unsupported else damaged
        raise ValueError(f"{path} is not a readable state dict ({type(error).__name__}: {reason})") from error
    return _unwrapped(_chosen(state, path, key), path)


def check_intact(path: str | Path) -> None:
    """Compare a file of ``torch.save`` with the checksums in it, which ``torch.load`` does not look at.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: a part differs from what was written, or it is no such file.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            damaged = archive.testzip()
    except (zipfile.BadZipFile, NotImplementedError, RuntimeError, EOFError, UnicodeDecodeError, zlib.error) as error:
        raise ValueError(f"{path} is damaged: {error}") from error
    if damaged is not None:
        raise ValueError(f"{path} is damaged: the checksum of {damaged} is wrong")


def _chosen(state: Any, path: str | Path, key: str | None) -> Any:
    """What a script saved, or the part of it that is named, where there are several of one network."""
    parts = {} if not isinstance(state, Mapping) or _is_state_dict(state) else _parts(state)
    if key is not None:
        if key not in parts:
            raise ValueError(f"{path} holds no state dict under {key!r}; it has {', '.join(parts) or 'a bare one'}")
        return state[key]
    usual = next((name for name in _WRAPPINGS if name in parts), next(iter(parts), None))
    rivals = [name for name in parts if name != usual and parts[name] & parts[str(usual)]]
    if rivals:
        raise ValueError(
            f"{path} holds several state dicts of a network: {', '.join([str(usual), *rivals])}; say which with --key "
            "(key=...), or save the one that is wanted by itself"
        )
    return state if usual is None else state[usual]


def _parts(state: Mapping[Any, Any]) -> dict[str, frozenset[str]]:
    """The state dicts in what a script saved, each with its last names, which no wrapper changes."""
    found = {}
    for key, value in state.items():
        inner = value
        while isinstance(inner, Mapping) and not _is_state_dict(inner):
            inner = next((inner[name] for name in _WRAPPINGS if isinstance(inner.get(name), Mapping)), None)
        if isinstance(key, str) and isinstance(inner, Mapping) and inner:
            plain = [name for name in inner if name != _COUNTER]
            found[key] = frozenset(".".join(name.split(".")[-2:]) for name in plain)
    return found


def _unwrapped(state: Any, path: str | Path) -> Mapping[str, Tensor]:
    """The mapping from names to tensors inside what a script saved."""
    seen = [type(state).__name__]
    while isinstance(state, Mapping) and not _is_state_dict(state):
        key = next((key for key in _WRAPPINGS if isinstance(state.get(key), Mapping)), None)
        if key is None:
            seen.append(f"with the keys {', '.join(map(str, list(state)[:5]))}")
            break
        state = state[key]
    if not isinstance(state, Mapping) or not _is_state_dict(state):
        raise ValueError(
            f"{path} is not a state dict: expected a mapping from names to tensors, bare or under one of "
            f"{', '.join(_WRAPPINGS)}; got {' '.join(seen)}"
        )
    state = {name: value for name, value in state.items() if name != _COUNTER}
    while prefix := next((one for one in _PREFIXES if state and all(key.startswith(one) for key in state)), ""):
        state = {key.removeprefix(prefix): value for key, value in state.items()}
    return cast(Mapping[str, Tensor], state)


def _is_state_dict(state: Mapping[Any, Any]) -> bool:
    return all(isinstance(key, str) and isinstance(value, Tensor) for key, value in state.items())


def _is_head(own: Tensor, given: Tensor, num_classes: int) -> bool:
    return own.shape[:1] == (num_classes,) and own.shape[1:] == given.shape[1:]
