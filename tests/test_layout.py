"""The repository's order: imports run one way, tests mirror the source, every method has its four files."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

from alignmixup import methods

ROOT = Path(__file__).parents[1]
SOURCE = ROOT / "src" / "alignmixup"
FILES = sorted(SOURCE.rglob("*.py"))

# each room may import itself, outside.py and the rooms named here
ALLOWED = {
    "functional": "",
    "taps": "",
    "outside": "",
    "models": "",
    "data": "",
    "methods": "functional taps models",
    "evaluation": "methods functional taps models data",
    "training": "evaluation methods functional taps models data",
    "runs": "figures training evaluation methods functional taps models data",
    "figures": "evaluation methods functional taps models data",
    "report": "runs figures training evaluation methods functional taps models data",
    "benchmarks": "runs training evaluation methods functional taps models data",
    "cli": "benchmarks report figures runs training evaluation methods functional taps models data",
}
CORE = {"functional", "taps", "methods", "models", "outside"}
CORE_OUTSIDE = {"torch", *sys.stdlib_module_names}
# a kernel can only be written at a module's top; the module is imported where CUDA and Triton, which torch brings, are
KERNELS = {"cuda.py"}


def part_of(path):
    return path.relative_to(SOURCE).parts[0].removesuffix(".py")


def imports(path, *, top_level_only=False):
    tree = ast.parse(path.read_text())
    nodes = tree.body if top_level_only else ast.walk(tree)
    for node in nodes:
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            if node.module == "alignmixup":
                yield from (f"alignmixup.{alias.name}" for alias in node.names)
            else:
                yield node.module


@pytest.mark.parametrize("path", [p for p in FILES if part_of(p) in ALLOWED], ids=lambda p: str(p.relative_to(SOURCE)))
def test_imports_run_one_way(path):
    room = part_of(path)
    allowed = {room, "outside", *ALLOWED[room].split()}
    for name in imports(path):
        if name.startswith("alignmixup."):
            inner = name.split(".")[1]
            assert inner in allowed or inner == "__version__", f"{path.name} imports {name}: an upward arrow"


@pytest.mark.parametrize("path", [p for p in FILES if part_of(p) in CORE], ids=lambda p: str(p.relative_to(SOURCE)))
def test_the_core_needs_torch_only(path):
    allowed = CORE_OUTSIDE | {"alignmixup"} | ({"triton"} if path.name in KERNELS else set())
    outside = {name.split(".")[0] for name in imports(path, top_level_only=True)} - allowed
    assert not outside, f"{path.name} imports {outside} at its top: the core needs torch only"


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(SOURCE)))
def test_every_source_file_has_its_test(path):
    if path.name in ("__init__.py", "__main__.py", "base.py") and path.parent != SOURCE / "methods":
        return
    relative = path.relative_to(SOURCE)
    if path.name == "__init__.py" or part_of(path) in ("runs", "cli"):  # there it is one test file an idea
        return
    expected = ROOT / "tests" / relative.parent / f"test_{relative.name}"
    assert expected.exists(), f"{relative} has no {expected.relative_to(ROOT)}"


@pytest.mark.parametrize("name", methods.available())
def test_every_method_has_its_four_files(name):
    for expected in (
        SOURCE / "methods" / f"{name}.py",
        ROOT / "tests" / "methods" / f"test_{name}.py",
        ROOT / "docs" / "methods" / f"{name}.md",
        ROOT / "configs" / "digits" / f"{name}.toml",
    ):
        assert expected.exists(), f"method {name} lacks {expected.relative_to(ROOT)}"
    headings = [
        line for line in (ROOT / "docs/methods" / f"{name}.md").read_text().splitlines() if line.startswith("## ")
    ]
    assert headings == [
        "## Idea",
        "## Use",
        "## Options",
        "## Details and deviations",
        "## Cost",
        "## Source",
    ]


def test_a_folder_can_be_taken_in_at_a_look():
    counts = {folder: len(list(folder.glob("*.py"))) for folder in {path.parent for path in FILES}}
    crowded = {str(folder.relative_to(SOURCE)): count for folder, count in counts.items() if count > 15}
    assert set(crowded) <= {"methods", "data", "training"}, crowded


def run(code):
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout


def test_importing_the_package_loads_nothing_heavy():
    code = (
        "import sys, alignmixup; from alignmixup import AlignMixup, functional, methods, models, taps; "
        "heavy = ('torchvision', 'timm', 'scipy', 'matplotlib', 'sklearn', 'rich', 'PIL'); "
        "print([m for m in heavy if m in sys.modules])"
    )
    assert run(code).strip() == "[]"


def test_the_command_line_answers_without_torch():
    code = (
        "import sys\nfrom alignmixup.cli import main\n"
        "try:\n    main(['--help'])\nexcept SystemExit:\n    pass\nprint('torch' in sys.modules)"
    )
    assert run(code).strip().endswith("False")


def test_the_import_costs_little_more_than_torch():
    code = (
        "import time; start = time.process_time(); import torch; middle = time.process_time(); "
        "import alignmixup; alignmixup.AlignMixup; alignmixup.functional; print(time.process_time() - middle)"
    )
    assert min(float(run(code)) for _ in range(2)) < 0.2
