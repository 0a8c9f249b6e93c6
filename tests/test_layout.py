"""The repository's order: imports run one way, the core needs torch only, every method has its four files."""

import ast
import subprocess
import sys
from importlib.machinery import PathFinder
from pathlib import Path

import pytest

from alignmixup import methods

ROOT = Path(__file__).parents[1]
SOURCE = ROOT / "src" / "alignmixup"
FILES = sorted(SOURCE.rglob("*.py"))

# every room may use these
BOTTOM = {"files", "records", "outside", "near", "modules", "normalization", "options", "seeds", "terminal"}
# and itself and the rooms named here
ALLOWED = {
    "functional": "",
    "taps": "",
    "files": "",
    "records": "",
    "outside": "",
    "near": "",
    "modules": "",
    "normalization": "",
    "options": "",
    "seeds": "",
    "terminal": "",
    "models": "",
    "data": "",
    "methods": "functional taps models",
    "integrations": "methods taps",
    "evaluation": "methods functional taps models data",
    "training": "evaluation methods functional taps models data",
    "runs": "figures training evaluation methods functional taps models data",
    "figures": "evaluation methods functional taps models data",
    "report": "runs figures training evaluation methods functional taps models data",
    "benchmarks": "runs training evaluation methods functional taps models data",
    "cli": "benchmarks report figures runs training evaluation methods functional taps models data",
}
CORE = {"functional", "taps", "methods", "models", *BOTTOM}
CORE_OUTSIDE = {"torch", *sys.stdlib_module_names}
# a kernel can only be written at a module's top; the module is imported where CUDA and Triton, which torch brings, are
KERNELS = {"cuda.py"}
# of the card of a method
HEADINGS = ["## Idea", "## Use", "## Options", "## Details and deviations", "## Cost", "## Source"]


def part_of(path):
    return path.relative_to(SOURCE).parts[0].removesuffix(".py")


def imports(path, *, top_level_only=False):
    tree = ast.parse(path.read_text(encoding="utf-8"))
    nodes = tree.body if top_level_only else ast.walk(tree)
    for node in nodes:
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.level:
            yield "." * node.level + (node.module or "")
        elif isinstance(node, ast.ImportFrom) and node.module == "alignmixup":
            yield from (f"alignmixup.{alias.name}" for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield node.module


def test_imports_run_one_way():
    wrong = []
    for path in FILES:
        room = part_of(path)
        if room not in ALLOWED:
            continue
        allowed = {room, *BOTTOM, *ALLOWED[room].split()}
        for name in imports(path):
            if name.startswith("."):
                wrong.append(f"{path.relative_to(SOURCE)}: relative import of {name}")
            elif name.startswith("alignmixup."):
                inner = name.split(".")[1]
                if inner not in allowed and inner != "__version__":
                    wrong.append(f"{path.relative_to(SOURCE)} imports {name}: an upward arrow")
    assert not wrong, "\n".join(wrong)


def test_every_room_has_its_place_in_the_order():
    rooms = {part_of(path) for path in FILES} - {"__init__", "__main__"}
    assert rooms == set(ALLOWED)


def test_all_that_is_printed_goes_through_one_place():
    """Names and texts of others steer neither the terminal nor rich: see ``terminal.py``."""
    wrong = []
    for path in FILES:
        if path.name == "terminal.py":
            continue
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            called = ast.unparse(node.func) if isinstance(node, ast.Call) else ""
            module = str(getattr(node.args[0], "value", "")) if called == "require" else ""
            shows = module.startswith("rich") and module not in ("rich.table", "rich.cells")
            if called in ("print", "sys.stdout.write", "sys.stderr.write") or shows:
                wrong.append(f"{path.relative_to(SOURCE)}, line {node.lineno}: {called}({module})")
        wrong += [
            f"{path.relative_to(SOURCE)} imports rich" for name in imports(path) if f"{name}.".startswith("rich.")
        ]
    assert not wrong, "\n".join(wrong)


def test_the_core_needs_torch_only():
    wrong = []
    for path in FILES:
        if part_of(path) in CORE:
            allowed = CORE_OUTSIDE | {"alignmixup"} | ({"triton"} if path.name in KERNELS else set())
            outside = {name.split(".")[0] for name in imports(path, top_level_only=True)} - allowed
            wrong += [f"{path.relative_to(SOURCE)} imports {name} at its top" for name in sorted(outside)]
    assert not wrong, "\n".join(wrong)


def test_every_method_has_its_four_files():
    wrong = []
    for name in methods.available():
        card = ROOT / "docs" / "methods" / f"{name}.md"
        files = [
            SOURCE / "methods" / f"{name}.py",
            ROOT / "tests" / "methods" / f"test_{name}.py",
            card,
            ROOT / "configs" / "digits" / f"{name}.toml",
        ]
        wrong += [f"method {name} lacks {file.relative_to(ROOT)}" for file in files if not file.exists()]
        if card.exists():
            headings = [line for line in card.read_text(encoding="utf-8").splitlines() if line.startswith("## ")]
            if headings != HEADINGS:
                wrong.append(f"{card.relative_to(ROOT)} has the headings {headings}, not {HEADINGS}")
    assert not wrong, "\n".join(wrong)


def test_a_folder_can_be_taken_in_at_a_look():
    counts = {folder: len(list(folder.glob("*.py"))) for folder in {path.parent for path in FILES}}
    crowded = {str(folder.relative_to(SOURCE)): count for folder, count in counts.items() if count > 15}
    assert set(crowded) <= {"methods"}, crowded


@pytest.mark.xdist_group("layout")
def test_groups_of_tests_stay_together(request):
    """Else both workers import the heavy programs and make each other's fixtures."""
    if request.config.getoption("loadgroup", False):  # as a worker of `make test` has it
        assert request.node.nodeid.endswith("@layout")


def run(code):
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout


def test_the_rooms_above_the_core_load_torch_only_when_used():
    code = "import sys, alignmixup.evaluation, alignmixup.training, alignmixup.figures; print('torch' in sys.modules)"
    assert run(code).strip() == "False"


def test_the_import_costs_little_more_than_torch_and_loads_nothing_heavy():
    code = (
        "import sys, time; import torch; middle = time.process_time(); "
        "import alignmixup; alignmixup.AlignMixup; alignmixup.functional; print(time.process_time() - middle); "
        "from alignmixup import methods, models, taps; "
        "heavy = ('torchvision', 'timm', 'scipy', 'matplotlib', 'sklearn', 'rich', 'PIL', 'lightning'); "
        "print(*(m for m in heavy if m in sys.modules))"
    )
    for last in (False, True):
        seconds, *heavy = run(code).split()
        assert not heavy
        if float(seconds) < 0.2:
            break
        assert not last, seconds


def test_a_process_of_a_test_finds_the_tests_of_this_folder(tmp_path):
    """Some distributions install a package ``tests``; a folder without ``__init__.py`` would lose to it."""
    (tmp_path / "tests").mkdir()
    (tmp_path / "tests/__init__.py").touch()
    found = PathFinder.find_spec("tests", [str(ROOT), str(tmp_path)])
    assert found.origin == str(ROOT / "tests/__init__.py")
