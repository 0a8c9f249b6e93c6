"""The page as a whole."""

import base64
import os
import re
import subprocess
import sys
from collections.abc import Callable
from datetime import date
from html.parser import HTMLParser
from pathlib import Path

import pytest

from alignmixup.figures.palette import DARK, LIGHT
from alignmixup.report.collect import Shared, find_runs
from alignmixup.report.page import build_page, embed

PNG = base64.b64decode("iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAAAAAA6fptVAAAACklEQVR4nGNgAAAAAgABSK+kcQAAAABJRU5ErkJggg==")

Make = Callable[..., Path]
VOID = {"meta", "img", "br"}
SHORT = ("schedule.name=cosine",)


class Checker(HTMLParser):
    """Fails on an element that is closed wrongly; collects headings, texts and addresses."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.headings: list[str] = []
        self.addresses: list[str] = []
        self.names: list[str] = []

    def handle_starttag(self, name: str, attributes: list[tuple[str, str | None]]) -> None:
        self.addresses += [value or "" for key, value in attributes if key in ("src", "href", "srcset", "action")]
        self.names += [value or "" for key, value in attributes if key == "id"]
        assert not any(key.startswith("on") for key, _ in attributes)
        if name not in VOID:
            self.open.append(name)

    def handle_startendtag(self, name: str, attributes: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(name, attributes)
        if name not in VOID:
            self.open.pop()

    def handle_endtag(self, name: str) -> None:
        assert self.open.pop() == name

    def handle_data(self, data: str) -> None:
        if self.open and re.fullmatch(r"h\d", self.open[-1]):
            self.headings.append(data)


def check(page: str) -> Checker:
    checker = Checker()
    checker.feed(page)
    checker.close()
    assert checker.open == []
    assert all(address.startswith(("data:image/", "#")) for address in checker.addresses)
    inside = {address[1:] for address in checker.addresses if address.startswith("#")}
    inside |= set(re.findall(r"url\(#([^)]*)\)", page))
    assert page.count("url(") == page.count("url(#")
    assert "@import" not in page
    assert inside <= set(checker.names)
    assert len(set(checker.names)) == len(checker.names)
    assert "<script" not in page
    return checker


@pytest.fixture
def page(make: Make, tmp_path: Path) -> str:
    for seed in (0, 1):
        make("baseline", seed, [60.0, 30.0 + seed], name="cifar100/baseline", overrides=("model.width=8", *SHORT))
        folder = make("cutmix", seed, [50.0, 20.0 + seed], name="cifar100/cutmix", overrides=("model.width=8", *SHORT))
    (folder / "morph.png").write_bytes(PNG)
    (folder / "evaluation.json").write_text('{"error_percent": 21.0, "top5_error_percent": 9.0, "cross_entropy": 1.5}')
    return build_page(find_runs([tmp_path]), made_on=date(2026, 1, 2))


def test_it_is_whole_and_needs_nothing_else(page: str) -> None:
    headings = check(page).headings
    assert headings == [
        "4 runs on CIFAR-100", "Test error", "Evaluation", "Pictures", "Configurations", "How to make it again",
        "Where it ran",
    ]  # fmt: skip
    assert page.startswith('<!doctype html>\n<html lang="en">')
    assert "on 2026-01-02 from the records" in page


def test_both_colour_schemes_are_defined_and_print_is_light(page: str) -> None:
    style = page[page.index("<style>") : page.index("</style>")]
    light, dark = re.findall(r":root \{(.*?)\}", style)
    for block, scheme in ((light, LIGHT), (dark, DARK)):
        assert dict(re.findall(r"--(\w+): (#[0-9a-f]{6});", block)) == scheme
    assert re.search(r"@media screen and \(prefers-color-scheme: dark\) \{ :root", style)
    assert set(re.findall(r"var\(--(\w+)\)", page)) <= set(LIGHT)
    assert style.count("{") == style.count("}")


def test_the_charts_stand_in_the_page(page: str) -> None:
    assert page.count('<svg class="chart"') == 4
    assert "Baseline, seed 1: 45.50 %" in page  # the tooltip of a point: (60 + 31) / 2
    legend = re.search(r'<ul class="legend".*?</ul>', page, re.DOTALL)
    assert legend is not None
    assert re.findall(r"</svg>(\w+)", legend[0]) == ["Baseline", "CutMix"]
    assert "fill: var(--card)" in page


def test_it_says_what_the_numbers_say(page: str) -> None:
    assert "Lowest error: CutMix with 35.25 ± 0.35 %" in page
    assert "-10.00 ± 0.00 against the baseline with the same seeds, which differs in more than the method." in page
    assert "23.24" in page  # the paper's baseline
    assert "narrower network" in page
    assert "1.500" in page
    assert "alignmixup train --config cifar100/cutmix --set data.root=DIR" in page


def test_an_evaluation_of_another_version_says_what_to_do(make: Make) -> None:
    folder = make("mixup", 0, [30.0])
    (folder / "evaluation.json").write_text('{"other": 1}')
    with pytest.raises(
        ValueError, match=r"evaluation\.json is damaged: error_percent is missing; .*: run `alignmixup evaluate` again"
    ):
        build_page(find_runs([folder]))


def test_a_difference_within_the_spread_is_called_none(make: Make, tmp_path: Path) -> None:
    for seed, error in enumerate((30.0, 34.0)):
        make("baseline", seed, [31.0 + seed])
        make("mixup", seed, [error - 1])
    page = build_page(find_runs([tmp_path]))
    assert "within the spread: no difference shown" in page
    single = build_page(find_runs(sorted(tmp_path.glob("runs/*-seed0"))))
    assert "one pair of runs says nothing about chance" in single
    assert "One run has no spread" in single
    assert "Of the last ten epochs only 1 was tested" in single
    assert "unaligned" not in page


def test_what_aligning_changed_has_a_column(make: Make, tmp_path: Path) -> None:
    shared = ("method.layer=stage3", "method.input_probability=0", "method.alpha=2")
    for method, error in (("manifold_mixup", 30.0), ("alignmixup", 31.5)):
        make(method, 0, [error], overrides=shared)
    page = build_page(find_runs([tmp_path]))
    assert "minus unaligned" in page
    assert "+1.50" in page


def test_what_a_reader_must_know_stands_in_the_page(make: Make, tmp_path: Path) -> None:
    make("baseline", 0, [50.0], overrides=("model.width=32",))
    folder = make("mixup", 0, [40.0])
    (folder / "morph.png").write_bytes(PNG)
    os.utime(folder / "morph.png", (1e9, 1e9))
    page = build_page(find_runs([tmp_path]))
    assert "-10.00 against the baseline with the same seeds, which differs in more than the method; one pair" in page
    assert "<li>Minus baseline of Mixup: the only baseline differs in model.width too.</li>" in page
    assert "<li>Left out of Mixup, seed 0: morph.png, of a network from before the record; measure or draw" in page
    assert "data:image" not in page


def test_several_data_sets_and_strange_texts(make: Make, tmp_path: Path) -> None:
    make("mixup", 0, [30.0])
    make("a<b>&", 0, [30.0], name="digits/cutmix")
    make("cutmix", 0, [30.0], name="cifar10/cutmix")
    (tmp_path / "runs" / "align<&.gif").write_bytes(b"x")
    found = {"groups": [{"name": "<b>&", "runs": ["x"], "mean": {"<b>&": 1.0}, "spread": {"<b>&": None}}]}
    shared = Shared(localizations=(found,), pictures=(tmp_path / "runs" / "align<&.gif",))
    page = build_page(
        find_runs([tmp_path]), shared=shared, title="<i>", commands=["alignmixup compare --seeds 1 --out <b>&"]
    )
    headings = check(page).headings
    assert headings[0] == "<i>"
    parts = ("Test error", "Configurations")
    assert {f"{name}: {part}" for name in ("CIFAR-10", "Digits") for part in parts} <= set(headings)
    assert {"Localisation of all", "Pictures of all"} <= set(headings)
    assert "a&lt;b&gt;&amp;" in page
    assert "<b>&" not in page
    assert "alignmixup compare --seeds 1 --out &lt;b&gt;&amp;" in page
    assert 'alt="align&lt;&amp;.gif"' in page


def test_a_row_that_differs_in_many_keys_is_folded(make: Make, tmp_path: Path) -> None:
    make("mixup", 0, [30.0])
    make("cutmix", 0, [30.0], name="cifar100/cutmix", overrides=("data.name=digits", "data.root=data"))
    page = build_page(find_runs([tmp_path]))
    check(page)
    assert re.search(r"<summary>What differs between the rows \(\d+ keys\)</summary>", page)
    assert '<th scope="row">model.width</th>' in page or '<th scope="row">train.batch_size</th>' in page


def test_a_damaged_picture_is_refused(tmp_path: Path) -> None:
    for content in (PNG[:-1], PNG[:-20], b"", PNG + b"x", PNG[:20] + b"x" + PNG[21:]):
        (tmp_path / "a.png").write_bytes(content)
        with pytest.raises(ValueError, match=r"a\.png is damaged or no PNG: draw it again, or remove it"):
            embed({tmp_path / "a.png": "a"}, largest=1000, together=1000)


def test_pictures_are_data_and_large_ones_are_named(tmp_path: Path) -> None:
    sizes = {"a.png": len(PNG), "b.gif": 2000, "c.webp": 30, "d.jpg": 30, "e.svg": 30, "f.png": 190}
    for name, size in sizes.items():
        (tmp_path / name).write_bytes(PNG if name == "a.png" else b"x" * size)
    shown, left_out = embed({tmp_path / name: f"the {name}" for name in sizes}, largest=1000, together=len(PNG) + 110)
    assert shown[0] == ("the a.png", f"data:image/png;base64,{base64.b64encode(PNG).decode()}")
    assert [address.partition(";")[0].removeprefix("data:image/") for _, address in shown] == [
        "png", "webp", "jpeg", "svg+xml",
    ]  # fmt: skip
    assert left_out == ["the b.gif (0.0 MiB)", "the f.png (0.0 MiB)"]
    assert embed({}, largest=1, together=1) == ([], [])


def test_pictures_too_large_are_named_in_the_page(make: Make) -> None:
    folder = make("mixup", 0, [30.0])
    (folder / "morph.png").write_bytes(b"x" * 100)
    page = build_page(find_runs([folder]), largest_picture=99)
    assert "Pictures" in check(page).headings
    assert "Too large for this page: Mixup, seed 0: morph.png (0.0 MiB)." in page


def test_a_table_is_made_without_torch_and_without_drawing(make: Make) -> None:
    code = (
        "import sys\nfrom pathlib import Path\n"
        "from alignmixup.report import charts\n"
        "from alignmixup.report.markdown import build_rows, find_runs, markdown_table, tabulate\n"
        f"markdown_table(tabulate(build_rows(find_runs([Path({str(make('mixup', 0, [30.0]))!r})]))))\n"
        "print([name for name in ('torch', 'matplotlib') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
