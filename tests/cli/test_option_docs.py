"""Meanings of options, read from docstrings."""

import inspect

import pytest

from alignmixup import methods, models
from alignmixup.cli.option_docs import explain


class Base:
    """Summary.

    Args:
        alpha, beta: shared
            text of both.
        own: of the base.

    Source:
        not: an option
    """


class Derived(Base):
    """Summary.

    Args:
        own: of the derived.
    """

    def __init__(self, alpha: float = 1.0, own: bool = True, bare: tuple[int, ...] = (1, 2)) -> None: ...


def test_entries_are_joined_and_overridden() -> None:
    found = {o.name: o for o in explain(inspect.signature(Derived).parameters, Derived)}
    assert found["alpha"].meaning == "shared text of both."
    assert found["own"].meaning == "of the derived."
    assert (found["own"].default, found["bare"].default, found["bare"].meaning) == ("true", "[1, 2]", "")


@pytest.mark.parametrize("name", methods.available())
def test_every_option_of_every_method_is_explained(name: str) -> None:
    assert all(option.meaning for option in explain(methods.options(name), methods.load(name)))


def test_every_option_of_the_network_is_explained() -> None:
    assert all(o.meaning for o in explain(models.options("preact_resnet18"), models.PreActResNet18))
