"""The tables of options in docs/methods/*.md, from what the methods declare.

python -m benchmarks.cards      # writes those that differ, and names them
"""

import re
from pathlib import Path

from alignmixup import methods
from alignmixup.options import Option, options_of

FOLDER = Path(__file__).parents[1] / "docs" / "methods"
TABLE = re.compile(r"(?<=^## Options\n)\n(?:(?:\|.*\n)+\n)?", re.MULTILINE)  # and the blank lines around it


def table(name: str) -> str:
    """The table of a method: what is particular to it first; the images' normalisation where it looks at pixels."""
    known = options_of(methods.load(name))
    listed = [*methods.options(name).values(), *(known[key] for key in ("mean", "std") if key in known)]
    rows = [f"| `{item.name}` | {written(item)} | {item.paper or '-'} | {item.meaning} |" for item in listed]
    return "\n".join(["| option | default | paper | meaning |", "|---|---|---|---|", *rows]) + "\n"


def written(item: Option) -> str:
    """A default as Python writes it; fractions to four digits."""
    default = round(item.default, 4) if type(item.default) is float else item.default
    return f"`{default!r}`".replace("'", '"')


def card(name: str) -> tuple[Path, str, str]:
    """File, text, and the text as it should be."""
    path = FOLDER / f"{name}.md"
    text = path.read_text(encoding="utf-8")
    wanted, count = TABLE.subn(lambda _: f"\n{table(name)}\n", text)
    if count != 1:
        raise ValueError(f"{path} has no section '## Options' with a blank line below it, for the table")
    return path, text, wanted


def differing() -> list[str]:
    """Names of the methods whose card's table is not what they declare."""
    return [name for name in methods.available() for _, text, wanted in [card(name)] if text != wanted]


if __name__ == "__main__":
    for changed in differing():
        path, _, wanted = card(changed)
        path.write_text(wanted)
        print(path)
