"""Which torch the tests run with."""

import torch

_HERE = tuple(map(int, torch.__version__.split(".")[:2]))


def is_older(first: str) -> bool:
    """Whether torch is older than ``first``, such as ``"2.7"``."""
    return tuple(map(int, first.split("."))) > _HERE
