"""Speed and memory, one question a file: rivals take turns in one run, on the machine at hand.

A question is a module with ``add_options(parser)`` and ``run(options) -> Report``. Its first docstring line is what
``alignmixup benchmark --help`` shows. These modules import torch when they run, not before.
"""

from __future__ import annotations

QUESTIONS = ("alignment", "step", "scaling", "loading", "decoding", "mixing")
