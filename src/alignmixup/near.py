"""What to say about a name that is not known: the ones like it, and all of them where they are few."""

import difflib
from collections.abc import Iterable, Sequence

__all__ = ["alternatives", "near"]

_LISTED = 20  # more names than these are not read to their end


def near(name: str, known: Iterable[str], *, prefix: str = "") -> str:
    """The end of a message that refuses ``name``: ``did you mean mixup? Known: baseline, cutmix, mixup``.

    Capitals, and whether words are joined by ``-`` or ``_``, make no difference to what is near.

    Args:
        name: as received.
        known: the names there are.
        prefix: what stands before each near name, such as ``optimizer.``.
    """
    names = list(known)
    plain = {_plain(one): one for one in reversed(names)}
    matches = [prefix + plain[match] for match in difflib.get_close_matches(_plain(name), plain, n=3)]
    question = f"did you mean {alternatives(matches)}?" if matches else ""
    if len(names) <= _LISTED:
        listed = ", ".join(names) or "none"
    elif matches:
        return question
    else:
        listed = f"{', '.join(names[:_LISTED])} and {len(names) - _LISTED} more"
    return f"{question} Known: {listed}" if question else f"known: {listed}"


def _plain(name: str) -> str:
    return name.casefold().replace("_", "-")


def alternatives(words: Sequence[str]) -> str:
    """Join words as in ``a, b or c``."""
    return " or ".join([", ".join(words[:-1]), words[-1]] if len(words) > 1 else words)
