"""The configurations that come with the package, by their names, such as ``digits/cutmix``."""

from __future__ import annotations

import difflib
from pathlib import Path


def bundled_folder() -> Path:
    """Folder of the bundled configurations: inside an installed package, or ``configs/`` of a checkout."""
    package = Path(__file__).resolve().parents[1]
    installed = package / "configs"
    return installed if installed.is_dir() else package.parents[1] / "configs"


def bundled_names() -> list[str]:
    """Names of the bundled configurations that run by themselves."""
    folder = bundled_folder()
    names = [file.relative_to(folder).with_suffix("").as_posix() for file in folder.rglob("*.toml")]
    return sorted(name for name in names if not is_part(name))


def near_bundled(name: str) -> str:
    """The end of a message that refuses the name of a configuration: those like it, and where all are listed."""
    names, last = bundled_names(), name.rpartition("/")[2]
    alike = [one for one in names if one.rpartition("/")[2] == last][:3]
    matches = difflib.get_close_matches(name, names, n=3) or alike
    question = f"did you mean {' or '.join(matches)}? " if matches else ""
    return f"{question}`alignmixup configs` lists the {len(names)} bundled ones"


def is_part(name: str) -> bool:
    """Whether a bundled file is a part of others, with a name or folder that begins with ``_``."""
    return any(one.startswith("_") for one in name.split("/"))
