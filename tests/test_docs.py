"""The code in README and docs runs as printed."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
BLOCK = re.compile(r"^```python\n(.*?)^```", re.DOTALL | re.MULTILINE)
# other people's programs: long to import, and with warnings of their own
LOOPS = [pytest.mark.xdist_group("processes"), pytest.mark.filterwarnings("ignore")]
WITH_CODE = [
    pytest.param(page, marks=LOOPS if page.name == "loops.md" else [])
    for page in PAGES
    if BLOCK.search(page.read_text())
]


@pytest.mark.parametrize("page", WITH_CODE, ids=lambda p: str(p.relative_to(ROOT)))
@pytest.mark.filterwarnings("ignore:AlignMixup at layer:UserWarning")
def test_code_blocks_run_in_order(page, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    scope = {"__name__": "documentation"}
    blocks = BLOCK.findall(page.read_text())
    for block in blocks:
        exec(compile(block, str(page), "exec"), scope)
    assert blocks


def test_tests_that_are_named_exist():
    named = [one for page in PAGES for one in re.findall(r"`(?:tests/)?([\w/]+\.py)::(test_\w+)`", page.read_text())]
    assert len(named) > 20
    missing = [name for file, name in named if f"def {name}(" not in (ROOT / "tests" / file).read_text()]
    assert not missing


def test_links_lead_somewhere():
    wrong = [
        f"{page.relative_to(ROOT)} links to {target}"
        for page in PAGES
        for target in re.findall(r"\]\(([^)#]+)[^)]*\)", page.read_text())
        if "://" not in target and not (page.parent / target).exists()
    ]
    assert not wrong, "\n".join(wrong)
