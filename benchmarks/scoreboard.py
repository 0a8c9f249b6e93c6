"""``docs/scoreboard.md`` from the stored records in ``results/``.

python -m benchmarks.scoreboard            # write it
python -m benchmarks.scoreboard --check    # exit status 1 if it differs from the records
"""

import argparse
import sys
from pathlib import Path

from alignmixup.report.scoreboard import build_scoreboard

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "scoreboard.md"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="change nothing")
    options = parser.parse_args()
    text = build_scoreboard(ROOT / "results")
    differs = not PAGE.is_file() or PAGE.read_text(encoding="utf-8") != text
    if differs and not options.check:
        PAGE.write_text(text, encoding="utf-8")
    if differs:
        print(f"{PAGE.relative_to(ROOT)}: {'differs from its records' if options.check else 'written'}")
    return 1 if differs and options.check else 0


if __name__ == "__main__":
    sys.exit(main())
