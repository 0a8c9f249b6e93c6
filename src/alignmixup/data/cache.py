"""Decoded images kept on disk, so that the next run need not decode them again."""

import hashlib
import logging
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from torch import Tensor

from alignmixup.files import clear_leftovers, temporary_name
from alignmixup.outside import require

__all__ = ["cached", "decoded", "fingerprint"]

_log = logging.getLogger(__name__)
_VERSION = "1"  # raise it when the same files would decode to something else


def decoded(
    paths: Sequence[Path], decode: Callable[[], Tensor], *, root: Path, file: str | None, settings: str
) -> Tensor:
    """The images of ``paths``, from the cache ``file`` in ``root`` or decoded and kept there; None keeps nothing."""
    if file is None:
        return decode()
    key = fingerprint(paths, root=root, settings=settings)
    return cached(root / file, key, lambda: {"images": decode()})["images"]


def fingerprint(paths: Sequence[Path], *, root: Path, settings: str) -> str:
    """A digest of the files' names, sizes and times of change, and of how they are decoded."""
    digest = hashlib.sha256(f"{_VERSION} {settings}\n".encode())
    for path in paths:
        try:
            stat = path.stat()
        except FileNotFoundError as error:
            raise FileNotFoundError(
                f"{path} is listed in its data set but missing: restore it from the release"
            ) from error
        name = os.fsencode(path.relative_to(root))
        digest.update(name + f"\0{stat.st_size}\0{stat.st_mtime_ns}\n".encode())
    return digest.hexdigest()


def cached(path: Path, key: str, build: Callable[[], Mapping[str, Tensor]]) -> dict[str, Tensor]:
    """The tensors in the cache file ``path`` if it was written for ``key``; else those that ``build`` makes,
    then kept.

    The file appears under its name only when complete. Where it cannot be written (read-only or full disk)
    the run goes on without it.
    """
    found = _read(path, key)
    if found is not None:
        return found
    tensors = {name: tensor.contiguous() for name, tensor in build().items()}
    try:
        _write(path, key, tensors)
    except OSError as error:
        _log.warning("decoded images are not kept at %s (%s): the next run decodes again", path, error)
    return tensors


def _read(path: Path, key: str) -> dict[str, Tensor] | None:
    if not path.is_file():
        return None
    try:
        with require("safetensors").safe_open(path, framework="pt") as file:
            if (file.metadata() or {}).get("fingerprint") == key:
                return {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (no dictionary)
        _log.info("%s belongs to other files or settings: decoding again", path)
    except ImportError:
        raise
    except Exception as error:  # whatever is wrong with a cache, the images themselves are still there
        _log.warning("%s is unreadable (%s): decoding again", path, error)
    return None


def _write(path: Path, key: str, tensors: Mapping[str, Tensor]) -> None:
    save = require("safetensors.torch").save_file
    path.parent.mkdir(parents=True, exist_ok=True)
    clear_leftovers(path.parent)  # of a killed process, as large as the data set
    temporary = temporary_name(path)
    try:
        save(dict(tensors), temporary, metadata={"fingerprint": key})
        os.replace(temporary, path)
    except OSError:
        raise
    except Exception as error:  # the library reports a full disk as an error of its own
        raise OSError(str(error)) from error
    finally:
        temporary.unlink(missing_ok=True)
