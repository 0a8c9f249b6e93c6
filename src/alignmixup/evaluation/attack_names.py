"""Attacks by name, with options written as on a command line."""

from collections.abc import Callable
from dataclasses import fields
from functools import partial
from typing import Any

from alignmixup.evaluation.attacks import Attack, fgsm_attack
from alignmixup.evaluation.auto_attack import AutoAttack, auto_attack_package
from alignmixup.near import near

AnyAttack = Attack | AutoAttack
_OF_PGD = tuple(item.name for item in fields(Attack) if item.name not in ("name", "norm"))
_PRESETS: dict[str, tuple[Callable[..., AnyAttack], tuple[str, ...]]] = {
    "fgsm": (fgsm_attack, ("epsilon",)),
    "pgd": (Attack, _OF_PGD),
    "pgd-l2": (partial(Attack, name="pgd-l2", norm="l2", epsilon=0.5, step=0.1), _OF_PGD),
    "autoattack": (AutoAttack, ("epsilon",)),
    "autoattack-l2": (partial(AutoAttack, name="autoattack-l2", norm="l2", epsilon=0.5), ("epsilon",)),
}
_WORDS = {"true": True, "false": False}


def available() -> tuple[str, ...]:
    """Names that `parse_attack` accepts."""
    return tuple(_PRESETS)


def parse_attack(text: str) -> AnyAttack:
    """An attack written as ``NAME`` or ``NAME:KEY=VALUE,KEY=VALUE``; numbers are written 8/255 or 0.03.

    "fgsm" has epsilon 8/255; "pgd" has epsilon 4/255, step 2/255, 20 iterations and one random start. Its other options
    are those of `Attack`; fgsm takes epsilon alone, one step of that size being what it is. "pgd-l2" has epsilon 0.5
    and step 0.1; "autoattack" (epsilon 8/255) and "autoattack-l2" (0.5) take epsilon alone.

    Raises:
        ImportError: autoattack, without the extra ``attacks``.
        ValueError: unknown name or option (near ones are listed), or a value that cannot be read or is out of range.

    Example:
        >>> parse_attack("pgd:epsilon=8/255,iterations=50").iterations
        50
    """
    name, _, rest = (part.strip() for part in text.partition(":"))
    if name not in _PRESETS:
        raise ValueError(f"unknown attack {name!r}; {near(name, _PRESETS)}")
    build, known = _PRESETS[name]
    options: dict[str, Any] = {}
    for part in filter(None, rest.split(",")):
        key, equals, value = (piece.strip() for piece in part.partition("="))
        if key not in known or not equals:
            raise ValueError(f"{name} has no option {part!r}, written KEY=VALUE; {near(key, known)}")
        options[key] = _read(key, value)
    try:
        attack = build(**options)
    except ValueError as error:
        raise ValueError(f"attack {text}: {error}") from None
    if isinstance(attack, AutoAttack):
        auto_attack_package()  # missed now rather than after the attacks before it
    return attack


def parse_number(text: str) -> float:
    """A number written 0.03 or 8/255; ValueError where it is neither."""
    numerator, slash, denominator = text.partition("/")
    try:
        return float(numerator) / float(denominator) if slash else float(numerator)
    except (ValueError, ZeroDivisionError):
        raise ValueError(f"{text!r} is not a number; write 8/255 or 0.03") from None


def describe(attack: AnyAttack) -> str:
    """The attack in a table's words: ``pgd 4/255, 20 x 2/255``."""
    if isinstance(attack, AutoAttack):
        return f"{attack.name} {_in_255(attack.epsilon)}"
    if attack.iterations == 1 and not attack.random_start and attack.step >= attack.epsilon:
        return f"{attack.name} {_in_255(attack.epsilon)}"
    restarts = f", {attack.restarts} restarts" if attack.restarts > 1 else ""
    start = "" if attack.random_start else ", from the image"
    steps = f"{attack.iterations} x {_in_255(attack.step)}"
    return f"{attack.name} {_in_255(attack.epsilon)}, {steps}{restarts}{start}"


def _read(key: str, value: str) -> float | int | bool:
    if key == "random_start":
        if value not in _WORDS:
            raise ValueError(f"{key} must be true or false, got {value!r}")
        return _WORDS[value]
    if key in ("iterations", "restarts"):
        try:
            return int(value)
        except ValueError:
            raise ValueError(f"{key} must be a whole number, got {value!r}") from None
    try:
        return parse_number(value)
    except ValueError as error:
        raise ValueError(f"{key}: {error}") from None


def _in_255(value: float) -> str:
    levels = 255 * value
    return f"{round(levels)}/255" if value % 1 and abs(levels - round(levels)) < 1e-6 else f"{value:.4g}"
