"""``python -m alignmixup``."""

import sys

from alignmixup.cli import main

if __name__ == "__main__":
    sys.exit(main())
