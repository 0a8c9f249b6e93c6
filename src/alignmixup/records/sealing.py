"""JSON files with a checksum of what they hold."""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from alignmixup.files import check_is_file, write_json
from alignmixup.records.validation import shown

_LARGEST = 1e30  # nothing that is measured is larger, and figures and sums of such numbers overflow
_DEEPEST = 40
_SEAL = "sha256_of_the_rest"


def read_json(path: Path) -> dict[str, Any]:
    """Read a JSON file that holds an object, all of whose numbers are of a size that can be worked with.

    Raises:
        FileNotFoundError: no such file.
        ValueError: damaged, or something else.
    """
    check_is_file(path)
    return read_object(path.read_bytes(), str(path))


def read_object(text: bytes, place: str) -> dict[str, Any]:
    """Read the JSON text of an object, found at ``place``; errors as of `read_json`."""
    try:
        content = json.loads(text.decode("utf-8"))
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{place} is damaged or no JSON: {error}") from None
    if not isinstance(content, dict):
        raise ValueError(f"{place} is no JSON object")
    if complaint := _oversized(content, "", 0):
        raise ValueError(f"{place} is damaged: {complaint}")
    seal = content.pop(_SEAL, None)
    if seal is not None and seal != _digest(content):
        raise ValueError(f"{place} is damaged or was edited: its checksum differs; if you edited it, remove {_SEAL}")
    return content


def write_sealed(path: Path, content: Mapping[str, Any]) -> None:
    """Write a JSON file that `read_json` reads, atomically, with a checksum; a number that is not finite is refused."""
    write_json(path, sealed(content))


def sealed(content: Mapping[str, Any]) -> dict[str, Any]:
    """The content, and a checksum of it that `read_json` compares and leaves out."""
    return {**content, _SEAL: _digest(json.loads(json.dumps(content)))}


def _digest(content: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


def _oversized(value: Any, name: str, depth: int) -> str:
    """The first number that is not finite or larger than any that is measured; empty without one."""
    if depth > _DEEPEST:
        return f"{name:.60} is nested more than {_DEEPEST} times"
    if isinstance(value, dict):
        return next(filter(None, (_oversized(one, f"{name}.{key}", depth + 1) for key, one in value.items())), "")
    if isinstance(value, list):
        return next(filter(None, (_oversized(one, f"{name}[{n}]", depth + 1) for n, one in enumerate(value))), "")
    if isinstance(value, int | float) and not abs(value) <= _LARGEST:  # NaN and infinity are not
        return f"{name.removeprefix('.')} is {shown(value)}"
    return ""
