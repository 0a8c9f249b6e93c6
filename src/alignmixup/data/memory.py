"""Whether images fit into this machine, known before hours of work or a killed process."""

import os

__all__ = ["check_memory"]


def check_memory(count: int, channels: int, image_size: int, *, bytes_each: int = 1) -> None:
    """Refuse ``count`` square images, held at a time, that need more than all memory.

    Raises:
        ValueError: they do not fit; says what would.
    """
    needed, there = count * channels * image_size**2 * bytes_each, _memory()
    if there is not None and needed > there:
        raise ValueError(
            f"{count} images of {channels}x{image_size}x{image_size} need {needed / 2**30:,.0f} GiB, and this machine "
            f"has {there / 2**30:,.0f}: choose a smaller image_size (data.image_size), or fewer images at a time"
        )


def _memory() -> int | None:
    """Bytes of this machine's memory, where the system says it."""
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, ValueError, OSError):
        return None
