"""The package imports nothing heavy."""

import subprocess
import sys


def test_imports_no_torch() -> None:
    code = "import sys, alignmixup.evaluation, alignmixup.training, alignmixup.figures; print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
