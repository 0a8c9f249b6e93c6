"""Code in README, docs and the reference runs as printed, links lead somewhere, and sentences can be read aloud."""

import doctest
import inspect
import re
from importlib import import_module
from pathlib import Path

import pytest

from alignmixup.cli import build_parser
from alignmixup.cli.parser import commands_of, options_of_parser

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
TEXTS = [*PAGES, ROOT / "CHANGELOG.md", ROOT / "CONTRIBUTING.md", ROOT / "SECURITY.md", ROOT / "results/README.md"]
LONGEST_SENTENCE = 40
CODE = re.compile(r"^(```|~~~).*?^\1", re.DOTALL | re.MULTILINE)
BLOCK = re.compile(r"^```python\n(.*?)^```", re.DOTALL | re.MULTILINE)
# other people's programs: long to import, and with warnings of their own
LOOPS = [pytest.mark.xdist_group("processes"), pytest.mark.filterwarnings("ignore")]
WITH_CODE = [
    pytest.param(page, marks=LOOPS if page.name == "loops.md" else [])
    for page in PAGES
    if BLOCK.search(page.read_text(encoding="utf-8"))
]


@pytest.mark.parametrize("page", WITH_CODE, ids=lambda p: str(p.relative_to(ROOT)))
@pytest.mark.filterwarnings("ignore:AlignMixup at layer:UserWarning")
def test_code_blocks_run_in_order(page, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    scope = {"__name__": "documentation"}
    blocks = BLOCK.findall(page.read_text(encoding="utf-8"))
    for block in blocks:
        exec(compile(block, str(page), "exec"), scope)
    assert blocks


def reference():
    """Every name of the API reference, as the pages in docs/api list them, with what it names."""
    for page in sorted((ROOT / "docs/api").glob("*.md")):
        scope = ""
        for kind, name, members in re.findall(
            r"^\.\. (automodule|autoclass|autofunction|currentmodule):: (\S+)\n(?:   :members: ?(.*)\n)?",
            page.read_text(encoding="utf-8"),
            re.MULTILINE,
        ):
            if kind == "currentmodule":
                scope = name
                continue
            full = name if "." in name else f"{scope}.{name}"
            where, _, last = full.rpartition(".")
            module = import_module(full if kind == "automodule" else where)
            names = [last] if kind != "automodule" else members.split(", ") if members else module.__all__
            yield from ((f"{module.__name__}.{each}", getattr(module, each)) for each in names)


def has_card(value):
    room, _, name = getattr(value, "__module__", "").rpartition(".")
    page = ROOT / f"docs/methods/{name}.md"
    return (
        room == "alignmixup.methods"
        and page.exists()
        and any(value.__name__ in block for block in BLOCK.findall(page.read_text(encoding="utf-8")))
    )


# a method's example is the one of its card; an alias of types can have none
EXAMPLES = {
    name: value for name, value in reference() if callable(value) and inspect.getdoc(value) and not has_card(value)
}


@pytest.mark.parametrize("name", EXAMPLES)
def test_every_public_name_has_an_example_that_runs(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    value = inspect.unwrap(EXAMPLES[name])
    scope = dict(vars(import_module(value.__module__)))
    example = doctest.DocTestParser().get_doctest(inspect.getdoc(value), scope, name, None, 0)
    assert example.examples, f"{name} stands in the API reference without an example"
    assert not any(each.options.get(doctest.SKIP) for each in example.examples), f"the example of {name} is skipped"
    told = []
    doctest.DocTestRunner().run(example, out=told.append)
    assert not told, "".join(told)


def test_the_reference_names_what_modules_offer():
    there = {name for name, _ in reference()}
    offered = [
        f"{module}.{name}"
        for module in ("alignmixup.functional", "alignmixup.runs")
        for name in import_module(module).__all__
    ]
    assert set(offered) <= there
    import alignmixup

    classes = {f"alignmixup.{name}" for name in alignmixup.__all__ if inspect.isclass(getattr(alignmixup, name))}
    assert classes <= there


def anchors(page):
    """What a link to a part of the page may name, as GitHub and myst make it from a heading."""
    included = re.findall(r"^```{include} (.+)", page.read_text(encoding="utf-8"), re.MULTILINE)
    text = CODE.sub("", page.read_text(encoding="utf-8")) + "".join(
        (page.parent / name).read_text(encoding="utf-8") for name in included
    )
    titles = re.findall(r"^#+ (.+)$", re.sub(r"\[([^]]*)\]\([^)]*\)", r"\1", text), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


def is_missing(page, target, anchor):
    there = (page.parent / target) if target else page
    return not there.exists() or bool(anchor and there.suffix == ".md" and anchor not in anchors(there))


def test_tests_that_are_named_exist():
    named = [
        one
        for page in PAGES
        for one in re.findall(r"`(?:tests/)?([\w/]+\.py)::(test_\w+)`", page.read_text(encoding="utf-8"))
    ]
    assert len(named) > 20
    missing = [
        name for file, name in named if f"def {name}(" not in (ROOT / "tests" / file).read_text(encoding="utf-8")
    ]
    assert not missing


def in_dialogue(block):
    """What is typed in a block that shows answers too."""
    return "\n".join(re.findall(r"^\$ .*", block[0], re.MULTILINE))


def commands_shown(text):
    """Each command of a page with its words, in blocks of code and in running text."""
    text = re.sub(r"\\\n\s*", " ", text)
    text = re.sub(r"^```(?:text|console)\n.*?^```", in_dialogue, text, flags=re.DOTALL | re.MULTILINE)
    for line in re.findall(r"(?:^(?:\$ )?|`|; )alignmixup ([a-z][^\n`;|]*)", text, re.MULTILINE):
        command, *words = re.split(r" #|  ", line)[0].split()
        yield command, words


def test_commands_have_the_options_that_pages_and_messages_show():
    commands = commands_of(build_parser())
    shown = [(page, *each) for page in TEXTS for each in commands_shown(page.read_text(encoding="utf-8"))]
    assert len(shown) > 150
    wrong = []
    for page, command, words in shown:
        if command not in commands:
            wrong.append(f"{page.relative_to(ROOT)}: no command {command}")
            continue
        parsers = [commands[command], *(part for name, part in commands_of(commands[command]).items() if name in words)]
        options = {text for parser in parsers for each in options_of_parser(parser) for text in each.option_strings}
        named = [word.partition("=")[0] for word in words if re.fullmatch(r"--?[a-z][a-z-]*(=.*)?", word)]
        wrong += [f"{page.relative_to(ROOT)}: {command} has no {word}" for word in named if word not in options]
    assert not wrong, "\n".join(wrong)
    hidden = [
        text
        for parser in commands.values()
        for each in set(parser._actions) - set(options_of_parser(parser))
        for text in each.option_strings
    ]
    sources = "".join(path.read_text(encoding="utf-8") for path in (ROOT / "src").rglob("*.py"))
    assert [text for text in hidden if len(re.findall(rf"{text}\b", sources)) > 1] == []


def test_every_picture_is_shown_on_a_page():
    text = "".join(page.read_text(encoding="utf-8") for page in TEXTS)
    assert [picture.name for picture in (ROOT / "docs/images").iterdir() if f"images/{picture.name})" not in text] == []


def test_fractions_have_braces():
    """The site's formulas read 12 in a fraction of 1 over 2 as one number."""
    wrong = [
        f"{page.relative_to(ROOT)}: {one}"
        for page in PAGES
        for one in re.findall(r"\\t?frac\d.*", page.read_text(encoding="utf-8"))
    ]
    assert not wrong, "\n".join(wrong)


def test_links_lead_somewhere():
    wrong = [
        f"{page.relative_to(ROOT)} links to {target}{'#' + anchor if anchor else ''}"
        for page in TEXTS
        for target, anchor in re.findall(
            r"\]\(([^)#\s]*)#?([^)\s]*)[^)]*\)", CODE.sub("", page.read_text(encoding="utf-8"))
        )
        if "://" not in target and is_missing(page, target, anchor)
    ]
    assert not wrong, "\n".join(wrong)


def sentences(text):
    """The sentences of a page; code, formulas, tables and headings aside. A piece of code counts as one word."""
    text = CODE.sub("\n\n", text)
    text = re.sub(r"<!--.*?-->|\$\$.*?\$\$", "", text, flags=re.DOTALL)
    text = re.sub(r"^\s*(\||#).*$", "\n", text, flags=re.MULTILINE)
    text = re.sub(r"!?\[([^\]]*)\]\([^)]*\)", r"\1", text)
    text = re.sub(r"`[^`]+`|\$[^$]+\$", "CODE", text)
    for block in re.split(r"\n\s*\n|^\s*(?:[-*]|\d+\.)\s", text, flags=re.MULTILINE):
        yield from re.split(r"(?<=[.!?])[\"')*]*\s+(?=[\"'(*A-Z0-9λεα])", " ".join(block.split()))


@pytest.mark.parametrize("page", TEXTS, ids=lambda p: str(p.relative_to(ROOT)))
def test_no_sentence_is_longer_than_a_reader_holds(page):
    counted = [
        (len(re.findall(r"\S*\w\S*", sentence)), sentence) for sentence in sentences(page.read_text(encoding="utf-8"))
    ]
    too_long = [f"{words} words: {sentence}" for words, sentence in counted if words > LONGEST_SENTENCE]
    assert not too_long, "\n".join(too_long)
