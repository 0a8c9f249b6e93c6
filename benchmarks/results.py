"""The tables of the documentation from the stored records in ``results/``.

    python -m benchmarks.results            # rebuild them
    python -m benchmarks.results --check    # exit status 1 if one differs from its records

A table stands between ``<!-- results NAME: COLUMN, COLUMN -->`` and ``<!-- end of results -->``. NAME is a folder of
``results/`` with a file ``records.jsonl``, which ``alignmixup report RUNS --records results/NAME`` fills.
"""

import argparse
import sys
from collections.abc import Iterable
from pathlib import Path

from alignmixup.report.markdown import rebuild

ROOT = Path(__file__).parents[1]


def outdated(pages: Iterable[Path], results: Path, *, write: bool) -> list[Path]:
    """Pages with a table that is not what its records make; with ``write`` they are put right."""
    found = []
    for page in pages:
        text = page.read_text(encoding="utf-8")
        rebuilt = rebuild(text, results)
        if rebuilt != text:
            found.append(page)
            if write:
                page.write_text(rebuilt, encoding="utf-8")
    return found


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="change nothing")
    options = parser.parse_args()
    pages = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
    for page in (changed := outdated(pages, ROOT / "results", write=not options.check)):
        print(f"{page.relative_to(ROOT)}: {'differs from its records' if options.check else 'rebuilt'}")
    return 1 if changed and options.check else 0


if __name__ == "__main__":
    sys.exit(main())
