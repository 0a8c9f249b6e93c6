"""Options are declared once; what is refused, and how it is said."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Annotated, Any, Literal

import pytest

from alignmixup.options import About, Option, Options, option, options_of, parameters_of


@dataclass(kw_only=True)
class Base(Options):
    share: float = option(0.5, "share of something, in [0, 1]", paper="0.1", minimum=0, maximum=1, hint="or leave it")
    count: int = option(3, "how many", minimum=1)
    kind: Literal["hard", "soft"] = option("hard", "how")
    flag: bool = option(False, "on or off")
    size: int | None = option(None, "a size", above=1)
    steps: Sequence[int] = option((1, 2), "steps", minimum=1)
    table: str | Mapping[str, Any] = option("x", "a name or a table")
    names: tuple[str, ...] = option((), "names", choices=("a", "b"))


@dataclass(kw_only=True)
class Derived(Base):
    share: float = 0.25
    count: int = option(4, paper="4")
    bare: float = 1.0


@pytest.mark.parametrize(
    ("values", "error", "message"),
    [
        ({"share": 1.5}, ValueError, "share must be in [0, 1], got 1.5; or leave it"),
        ({"share": float("nan")}, ValueError, "share must be in [0, 1], got nan"),
        ({"share": True}, TypeError, "share must be a number, got True"),
        ({"share": "1"}, TypeError, "share must be a number, got '1'"),
        ({"share": None}, TypeError, "share must be a number, got None"),
        ({"count": 0}, ValueError, "count must be >= 1, got 0"),
        ({"count": 1.5}, ValueError, "count must be a whole number, got 1.5"),
        ({"count": True}, TypeError, "count must be a whole number, got True"),
        ({"kind": "mild"}, ValueError, "kind must be 'hard' or 'soft', got 'mild'"),
        ({"kind": None}, ValueError, "kind must be 'hard' or 'soft', got None"),
        ({"flag": 1}, TypeError, "flag must be true or false, got 1"),
        ({"size": 1}, ValueError, "size must be > 1 or None, got 1"),
        ({"size": "big"}, TypeError, "size must be a whole number or None, got 'big'"),
        ({"steps": 3}, TypeError, "steps must be a list, got 3"),
        ({"steps": "12"}, TypeError, "steps must be a list, got '12'"),
        ({"steps": [1, 0]}, ValueError, "every element of steps must be >= 1, got 0"),
        ({"steps": [1, "2"]}, TypeError, "every element of steps must be a whole number, got '2'"),
        ({"table": 3}, TypeError, "table must be a text or a Mapping, got 3"),
        ({"names": "a"}, TypeError, "names must be a list, got 'a'"),
        ({"names": ("a", "c")}, ValueError, "every element of names must be 'a' or 'b', got 'c'"),
    ],
)
def test_wrong_values_are_refused_in_a_sentence(values, error, message):
    for cls in (Base, Derived):
        with pytest.raises(error, match=re.escape(message)):
            cls(**values)
        with pytest.raises(error, match=re.escape(message)):
            replace(cls(), **values)


def test_right_values_are_taken():
    value = Base(share=1, count=2, kind="soft", flag=True, size=2, steps=[4], table={"a": 1}, names=["b"])
    assert (value.share, value.steps, value.size) == (1, [4], 2)
    assert Base(size=None) == Base()


def test_a_value_does_not_change():
    value = Base()
    with pytest.raises(AttributeError, match=r"count of Base cannot change: .*replace\(base, count=5\)"):
        value.count = 5
    assert value.count == 3


def test_a_redeclared_option_says_only_what_differs():
    share, count, bare = (options_of(Derived)[name] for name in ("share", "count", "bare"))
    assert (share.default, share.paper, share.accepted) == (0.25, "0.1", "in [0, 1]")
    assert (count.default, count.paper, count.help, count.accepted) == (4, "4", "how many", ">= 1")
    assert (bare.default, bare.help, bare.type) == (1.0, None, float)
    assert list(options_of(Derived))[:3] == ["share", "count", "bare"]  # what is particular stands first


def test_words_for_help_and_tables():
    known = options_of(Base)
    assert known["share"].meaning == "share of something, in [0, 1]"
    assert known["count"].meaning == "how many (>= 1)"
    assert known["kind"].meaning == "how ('hard' or 'soft')"
    assert [known[name].written for name in ("flag", "steps", "size", "share")] == ["false", "[1, 2]", "None", "0.5"]
    assert Option(name="x", type=float, above=0, below=1).accepted == "in (0, 1)"
    assert [Option(name="x", type=int, maximum=2).accepted, Option(name="x", type=int, below=2).accepted] == [
        "<= 2",
        "< 2",
    ]


def test_part_of_takes_the_options_that_are_its_own():
    assert Base.part_of(Derived(count=9, bare=2.0)) == Base(share=0.25, count=9)


def test_keywords_of_a_function_are_options_too():
    def build(num: int, *, width: Annotated[int, About(help="channels")] = 64, path: str | None = None, **rest): ...

    known = parameters_of(build)
    assert list(known) == ["num", "width", "path"]
    assert (known["width"].default, known["width"].help, known["num"].written) == (64, "channels", "required")
    with pytest.raises(TypeError, match="path must be a text or None, got 3"):
        known["path"].check(3)
