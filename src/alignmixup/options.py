"""Options: declared once, as fields of a dataclass; checked, listed and explained from there. Imports no torch."""

from __future__ import annotations

import inspect
import math
import types
from collections.abc import Callable, Mapping, Sequence
from dataclasses import MISSING, Field, dataclass, field, fields, replace
from functools import cache
from numbers import Integral, Real
from typing import Annotated, Any, Literal, NoReturn, Self, Union, get_args, get_origin, get_type_hints

from alignmixup.near import alternatives

__all__ = ["About", "Option", "Options", "option", "options_of", "parameters_of"]

_WORDS = {bool: "true or false", int: "a whole number", float: "a number", str: "a text"}


@dataclass(frozen=True, kw_only=True)
class About:
    """What is said of an option beside its name, type and default. What is not said is as in the base class.

    Attributes:
        help: what it means.
        paper: its values in the papers, for the method's card.
        choices: the texts that it takes; a ``Literal`` type says them already.
        minimum: least value, of a number or of each number of a list.
        above: what it is greater than.
        maximum: greatest value.
        below: what it is less than.
        hint: the way out, at the end of the message about a refused value.
        fixed: it cannot change once its object is built.
    """

    help: str | None = None
    paper: str | None = None
    choices: tuple[str, ...] | None = None
    minimum: float | None = None
    above: float | None = None
    maximum: float | None = None
    below: float | None = None
    hint: str | None = None
    fixed: bool | None = None


def option(default: Any, help: str | None = None, *, repr: bool = True, **about: Any) -> Any:
    """Declare a field of a dataclass as an option.

    Args:
        default: its default, or a function that makes it.
        help: what it means; None where a subclass changes the default alone.
        repr: show it where the object is printed.
        about: see :class:`About`.
    """
    key = "default_factory" if inspect.isfunction(default) else "default"
    return field(**{key: default}, repr=repr, metadata={"about": About(help=help, **about)})


@dataclass(frozen=True, kw_only=True)
class Option(About):
    """A declared option.

    Attributes:
        name: its name.
        type: its type.
        default: its default; ``inspect.Parameter.empty`` where there is none to show.
    """

    name: str
    type: Any
    default: Any = inspect.Parameter.empty

    @property
    def accepted(self) -> str:
        """The values that it takes, in words, such as ``in [0, 1]``; empty where anything of its type goes."""
        if texts := self.texts:
            return alternatives([f"'{text}'" for text in texts])
        low = self.minimum if self.above is None else self.above
        high = self.maximum if self.below is None else self.below
        if low is not None and high is not None:
            return f"in {'[' if self.above is None else '('}{low:g}, {high:g}{']' if self.below is None else ')'}"
        if low is not None:
            return f"{'>=' if self.above is None else '>'} {low:g}"
        return "" if high is None else f"{'<=' if self.below is None else '<'} {high:g}"

    @property
    def texts(self) -> tuple[str, ...]:
        """The texts that it takes; empty where it takes others too."""
        literals = (get_args(kind) for kind in _kinds(self.type) if get_origin(kind) is Literal)
        return self.choices or next(literals, ())

    @property
    def meaning(self) -> str:
        """Its help, and the values that it takes where the help does not say them."""
        text, accepted = self.help or "", self.accepted
        said = accepted in text or (self.texts and all(choice in text for choice in self.texts))
        return text if said else f"{text} ({accepted})".strip()

    @property
    def written(self) -> str:
        """Its default, as a configuration would write it."""
        if self.default is inspect.Parameter.empty:
            return "required"
        if isinstance(self.default, bool):
            return str(self.default).lower()
        return str(list(self.default)) if isinstance(self.default, tuple) else str(self.default)

    def check(self, value: Any, name: str | None = None) -> None:
        """Refuse a value of another type or out of range.

        Args:
            value: what it is to be.
            name: what a message calls it; None for its own name.

        Raises:
            TypeError: another type.
            ValueError: out of range, or a fraction where whole numbers are taken.
        """
        name, kinds = name or self.name, _kinds(self.type)
        lists = [kind for kind in kinds if _is_list(kind)]
        texts = () if lists else self.texts
        if isinstance(value, list | tuple) and lists and get_args(lists[0]):
            each = replace(self, type=get_args(lists[0])[0])
            for element in value:
                each.check(element, f"every element of {name}")
        elif texts and not (value in texts or _fits(value, [k for k in kinds if k is types.NoneType])):
            self._refuse(ValueError, name, self.accepted, value)
        elif not texts and not _fits(value, kinds):
            fraction = int in kinds and isinstance(value, Real) and not isinstance(value, bool)
            hintless = replace(self, hint=None) if {int, float} & set(kinds) else self  # a hint is about the range
            hintless._refuse(
                ValueError if fraction else TypeError, name, alternatives([_named(k) for k in kinds]), value
            )
        elif isinstance(value, Real) and not isinstance(value, bool) and not self._in_range(float(value)):
            words = self.accepted or "a finite number"
            self._refuse(ValueError, name, f"{words} or None" if types.NoneType in kinds else words, value)

    def _in_range(self, value: float) -> bool:
        return (
            math.isfinite(value)
            and (self.minimum is None or value >= self.minimum)
            and (self.above is None or value > self.above)
            and (self.maximum is None or value <= self.maximum)
            and (self.below is None or value < self.below)
        )

    def _refuse(self, error: type[Exception], name: str, expected: str, value: Any) -> NoReturn:
        raise error(f"{name} must be {expected}, got {value!r}" + (f"; {self.hint}" if self.hint else ""))


class Options:
    """Base of dataclasses whose fields are options: a value that is checked when it is made, and does not change."""

    def __post_init__(self) -> None:
        for name, item in options_of(type(self)).items():
            item.check(getattr(self, name), self._called(name))
        self._check_options()

    def _called(self, name: str) -> str:
        """What messages call an option."""
        return name

    def _check_options(self) -> None:
        """Check what options must be together; each by itself is checked already."""

    def __setattr__(self, name: str, value: Any) -> None:
        if name in vars(self) and name in options_of(type(self)):
            self._change(name, value)
        else:
            super().__setattr__(name, value)

    def _change(self, name: str, value: Any) -> None:
        raise AttributeError(
            f"{name} of {type(self).__name__} cannot change: make another, "
            f"dataclasses.replace({type(self).__name__.lower()}, {name}={value!r})"
        )

    @classmethod
    def part_of(cls, other: Any) -> Self:
        """Take the options of this class from an object that has them among its own."""
        return cls(**{name: getattr(other, name) for name in options_of(cls)})


def options_of(cls: type) -> Mapping[str, Option]:
    """List the options of a dataclass, what is particular to it first.

    A field that redeclares one of a base class need say only what differs; one without :func:`option` has no help.
    """
    return _options_of(cls)


@cache
def _options_of(cls: Any) -> Mapping[str, Option]:
    kinds = _type_hints(cls)
    known: dict[str, Field[Any]] = {item.name: item for item in fields(cls) if item.init}
    order = dict.fromkeys(name for base in cls.__mro__ for name in inspect.get_annotations(base))
    return {name: _declared(cls, known[name], kinds.get(name, Any)) for name in order if name in known}


def _declared(cls: type, item: Field[Any], kind: Any) -> Option:
    said: dict[str, Any] = {}
    for base in reversed(cls.__mro__):
        own = base.__dict__.get("__dataclass_fields__", {}).get(item.name)
        if own is not None and "about" in own.metadata:
            said |= {key: value for key, value in vars(own.metadata["about"]).items() if value is not None}
    default = inspect.Parameter.empty if item.default is MISSING else item.default
    return Option(name=item.name, type=kind, default=default, **said)


def parameters_of(function: Callable[..., Any]) -> dict[str, Option]:
    """List the keywords of a function as options; ``Annotated[int, About(help="...")]`` says what they are."""
    hints = _type_hints(function.__init__ if isinstance(function, type) else function)  # type: ignore[misc]
    found = {}
    for name, parameter in inspect.signature(function).parameters.items():
        if parameter.kind is parameter.VAR_KEYWORD:
            continue
        kind = hints.get(name, Any)
        about = get_args(kind)[1] if get_origin(kind) is Annotated else About()
        kind = get_args(kind)[0] if get_origin(kind) is Annotated else kind
        found[name] = Option(name=name, type=kind, default=parameter.default, **vars(about))
    return found


def _type_hints(of: Any) -> dict[str, Any]:
    try:
        return get_type_hints(of, include_extras=True)
    except NameError:  # a name that is imported for type checkers only
        return {}


def _kinds(kind: Any) -> tuple[Any, ...]:
    """The alternatives of a type."""
    return get_args(kind) if get_origin(kind) in (Union, types.UnionType) else (kind,)


def _is_list(kind: Any) -> bool:
    origin = get_origin(kind) or kind
    return isinstance(origin, type) and origin is not str and issubclass(origin, Sequence)


def _fits(value: Any, kinds: Sequence[Any]) -> bool:
    """A value is of one of some types: a whole number is a number, true is none, and a list may be a tuple."""
    for kind in kinds:
        origin = get_origin(kind) or kind
        if origin in (int, float):
            if isinstance(value, Integral if origin is int else Real) and not isinstance(value, bool):
                return True
        elif _is_list(kind):
            if isinstance(value, list | tuple):
                return True
        elif kind is Any or not isinstance(origin, type) or isinstance(value, origin):
            return True
    return False


def _named(kind: Any) -> str:
    if kind is types.NoneType:
        return "None"
    if _is_list(kind):
        return "a list"
    return _WORDS.get(kind) or f"a {getattr(kind, '__name__', kind)}"
