"""What the package imports beside PyTorch is in an extra, and who lacks it is told which."""

import ast
import importlib
import re
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
EXTRAS = PROJECT["optional-dependencies"]
# modules whose distribution has another name; the others come with what they are mapped to
DISTRIBUTIONS = {
    "cv2": "opencv-python-headless",
    "huggingface_hub": "timm",
    "ignite": "pytorch-ignite",
    "markupsafe": "jinja2",
    "maxflow": "pymaxflow",
    "ot": "pot",
    "PIL": "pillow",
    "sklearn": "scikit-learn",
    "triton": "torch",
}


def packages(extra):
    """Names of all that an extra brings, other extras of ours followed."""
    found = set()
    for requirement in EXTRAS[extra]:
        name, others = re.match(r"([\w-]+)(?:\[(.*?)\])?", requirement).groups()
        found |= {name.lower()} if name != "alignmixup" else set().union(*map(packages, others.split(",")))
    return found


def imported():
    """(file, module, extra) of every import: extra is None for an import statement, as there nothing says it."""
    for file in sorted((ROOT / "src").rglob("*.py")):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                yield from ((file, name.name, None) for name in node.names)
            elif isinstance(node, ast.ImportFrom) and not node.level:
                yield file, node.module, None
            elif isinstance(node, ast.Call) and getattr(node.func, "id", "") == "require":
                named = {word.arg: word.value.value for word in node.keywords}
                if isinstance(node.args[0], ast.Constant):
                    yield file, node.args[0].value, named.get("extra", "train")


def distribution(module):
    top = module.partition(".")[0]
    return DISTRIBUTIONS.get(top, top.lower())


def test_what_is_imported_is_declared():
    core = {re.match(r"[\w-]+", requirement)[0] for requirement in PROJECT["dependencies"]}
    known = core | {"alignmixup", *sys.stdlib_module_names}.union(*map(packages, EXTRAS))
    unknown = {f"{file.name}: {module}" for file, module, _ in imported() if distribution(module) not in known}
    assert not unknown


def test_an_extra_that_is_named_brings_what_is_missing():
    wrong = {
        f"{file.name}: {module} is not in [{extra}]"
        for file, module, extra in imported()
        if extra is not None and distribution(module) not in packages(extra)
    }
    assert not wrong


def test_the_oldest_torch_is_the_one_that_is_tested():
    tested = (ROOT / "constraints-oldest.txt").read_text(encoding="utf-8")
    for requirement in [*PROJECT["dependencies"], *EXTRAS["train"]]:
        name, oldest = requirement.split(">=")
        assert not name.startswith("torch") or f"\n{name}=={oldest}.0\n" in tested


def test_what_needs_a_newer_torch_names_one_that_is_newer_than_the_oldest():
    (oldest,) = (one.removeprefix("torch>=") for one in PROJECT["dependencies"])
    named = {
        first
        for file in (ROOT / "tests").rglob("*.py")
        for first in re.findall(r"mark\.needs_torch\(\s*\"([^\"]*)\"", file.read_text(encoding="utf-8"))
    }
    assert named
    assert all(tuple(map(int, first.split("."))) > tuple(map(int, oldest.split("."))) for first in named)


@pytest.mark.parametrize("extra", EXTRAS)
def test_no_extra_brings_two_opencv_packages(extra):
    assert len({name for name in packages(extra) if name.startswith("opencv")}) <= 1


@pytest.mark.parametrize("extra", ["train", "integrations", "cluster", "export", "attacks"])
def test_a_users_own_opencv_stays_as_it_is(extra):
    assert not any(name.startswith("opencv") for name in packages(extra))


@pytest.mark.parametrize("program", ["lightning", "transformers"])
def test_an_integration_names_its_extra(program, monkeypatch):
    there = [name for name in sys.modules if name.startswith(f"{program}.")]
    for name in [program, *there]:
        monkeypatch.setitem(sys.modules, name, None)
    monkeypatch.delitem(sys.modules, f"alignmixup.integrations.{program}", raising=False)
    with pytest.raises(ImportError) as error:
        importlib.import_module(f"alignmixup.integrations.{program}")
    assert str(error.value).endswith(f'{program} is needed for this: pip install "alignmixup[{program}]"')
