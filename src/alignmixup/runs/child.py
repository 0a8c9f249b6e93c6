"""One run of ``alignmixup compare --jobs N``: a process that reads its configuration and writes its progress."""

from __future__ import annotations

import sys
import tomllib
from contextlib import redirect_stdout
from pathlib import Path
from typing import cast

from alignmixup.runs.folder import Mode, RunFolder
from alignmixup.training.config_file import from_dict


def main(folder: str, mode: str) -> int:
    """Train as the standard input says; return the exit status.

    Args:
        folder: the run folder.
        mode: what to do with a run that is there already.
    """
    from alignmixup.figures.curves import draw_curves
    from alignmixup.runs.progress_stream import StreamReporter
    from alignmixup.runs.scheduler import INTERRUPTED
    from alignmixup.runs.train import run
    from alignmixup.training.trainer import InterruptedRunError

    config = from_dict(tomllib.loads(sys.stdin.read()), source="standard input")
    paths = RunFolder(Path(folder))
    reporter = StreamReporter(sys.stdout)
    with redirect_stdout(sys.stderr):  # what anything else prints belongs to the log
        try:
            record = run(config, paths, mode=cast(Mode, mode), reporter=reporter)
        except (InterruptedRunError, KeyboardInterrupt):
            return INTERRUPTED
        if not paths.curves_are_current:
            draw_curves(record, paths.curves)
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
