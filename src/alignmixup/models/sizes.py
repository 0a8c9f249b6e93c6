"""Sizes that a network is made of: checked before any memory is taken for them."""

from collections.abc import Sequence

_LARGEST_STRIDE = 4096


def check_sizes(**values: object) -> None:
    """Raise ValueError unless each value is an integer >= 1, no bool, and each stride one that convolutions take."""
    for name, value in values.items():
        if isinstance(value, bool) or not isinstance(value, int) or value < 1:
            raise ValueError(f"{name} must be an integer >= 1, got {value!r}")
        if "stride" in name and value > _LARGEST_STRIDE:
            raise ValueError(f"{name} must be <= {_LARGEST_STRIDE}, larger than any image, got {value}")


def check_each(name: str, values: Sequence[int], *, count: int, of: str) -> None:
    """Raise ValueError unless there are ``count`` integers >= 1, one for each stage or block."""
    if len(values) != count:
        raise ValueError(f"{name} must hold {count} numbers, one per {of}, got {tuple(values)}")
    for value in values:
        check_sizes(**{name: value})
