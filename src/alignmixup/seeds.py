"""Seeds: numbers that say what random numbers are for, such as (seed, rank, epoch), made into one."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch

_MASK = (1 << 64) - 1
_SKIPPED = 1024  # numbers: ten bits of a seed


@contextmanager
def own_stream() -> Iterator[None]:
    """Let what is drawn inside come from torch's global generator of the CPU, and put that back at the end."""
    with torch.random.fork_rng(devices=[]):
        yield


def mix_bits(*values: int, state: int = 0) -> int:
    """64 bits that depend on all bits of all values and on their order; ``state`` is those of values before them.

    Sums such as ``seed + rank`` would make the second process of one run repeat the first of the next.

    Source:
        Steele, Lea and Flood, Fast splittable pseudorandom number generators, OOPSLA 2014 (SplitMix64).
    """
    for value in values:
        state = (state + (value & _MASK) + 0x9E3779B97F4A7C15) & _MASK
        state = ((state ^ (state >> 30)) * 0xBF58476D1CE4E5B9) & _MASK
        state = ((state ^ (state >> 27)) * 0x94D049BB133111EB) & _MASK
        state ^= state >> 31
    return state


def reseed(generator: torch.Generator, *values: int, state: int = 0) -> None:
    """Start a CPU generator where these values say; ``state`` is :func:`mix_bits` of values before them.

    It uses 32 bits of a seed, of which a long training would see some twice; ten more bits say how many of its numbers
    are passed over.
    """
    bits = mix_bits(*values, state=state)
    generator.manual_seed(bits >> 32)
    torch.empty(bits % _SKIPPED, dtype=torch.int32, device="cpu").random_(generator=generator)
