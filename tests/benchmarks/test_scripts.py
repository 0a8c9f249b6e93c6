"""The scripts for developers take problems from the tests: what they name must be there."""

import ast
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_what_the_scripts_take_from_the_tests_is_there():
    missing = []
    for script in sorted((ROOT / "benchmarks").rglob("*.py")):
        for node in ast.walk(ast.parse(script.read_text(encoding="utf-8"))):
            if not isinstance(node, ast.ImportFrom) or not (node.module or "").startswith("tests."):
                continue
            file = ROOT / (node.module.replace(".", "/") + ".py")
            body = ast.parse(file.read_text(encoding="utf-8")).body if file.is_file() else []
            defined = {one.name for one in body if isinstance(one, ast.FunctionDef | ast.ClassDef)}
            defined |= {t.id for one in body if isinstance(one, ast.Assign) for t in one.targets if hasattr(t, "id")}
            missing += [f"{script.name}: {node.module}.{a.name}" for a in node.names if a.name not in defined]
    assert not missing, "\n".join(missing)
