"""The page as a whole."""

import re
from collections.abc import Callable
from datetime import date
from html.parser import HTMLParser
from pathlib import Path

import pytest

from alignmixup.report.page import build_page
from alignmixup.report.runs import Shared, find_runs

Make = Callable[..., Path]
VOID = {"meta", "img", "br"}


class Checker(HTMLParser):
    """Fails on an element that is closed wrongly; collects headings, texts and addresses."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.headings: list[str] = []
        self.addresses: list[str] = []

    def handle_starttag(self, name: str, attributes: list[tuple[str, str | None]]) -> None:
        self.addresses += [value or "" for key, value in attributes if key in ("src", "href", "srcset", "action")]
        assert not any(key.startswith("on") for key, _ in attributes)
        if name not in VOID:
            self.open.append(name)

    def handle_startendtag(self, name: str, attributes: list[tuple[str, str | None]]) -> None:
        pass

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
    assert all(address.startswith("data:image/") for address in checker.addresses)
    assert "<script" not in page
    return checker


@pytest.fixture
def page(make: Make, tmp_path: Path) -> str:
    for seed in (0, 1):
        make("baseline", seed, [60.0, 30.0 + seed], name="cifar100/baseline", overrides=("model.width=8", *SHORT))
        folder = make("cutmix", seed, [50.0, 20.0 + seed], name="cifar100/cutmix", overrides=("model.width=8", *SHORT))
    (folder / "morph.png").write_bytes(b"x")
    (folder / "evaluation.json").write_text('{"error_percent": 21.0, "top5_error_percent": 9.0, "cross_entropy": 1.5}')
    return build_page(find_runs([tmp_path]), made_on=date(2026, 1, 2))


SHORT = ("schedule.name=cosine",)


def test_it_is_whole_and_needs_nothing_else(page: str) -> None:
    headings = check(page).headings
    assert headings == [
        "4 runs on CIFAR-100", "Test error", "Evaluation", "Pictures", "Configurations", "How to make it again",
        "Where it ran",
    ]  # fmt: skip
    assert page.startswith('<!doctype html>\n<html lang="en">')
    assert "prefers-color-scheme: dark" in page
    assert "on 2026-01-02 from the records" in page


def test_it_says_what_the_numbers_say(page: str) -> None:
    assert "Lowest error: CutMix with 35.25 ± 0.35 %" in page
    assert "-10.00 ± 0.00 against the baseline with the same seeds." in page
    assert "23.24" in page  # the paper's baseline
    assert "narrower network" in page
    assert "1.500" in page
    assert "alignmixup train --config cifar100/cutmix --set data.root=DIR" in page


def test_an_evaluation_of_another_version_says_what_to_do(make: Make) -> None:
    folder = make("mixup", 0, [30.0])
    (folder / "evaluation.json").write_text('{"other": 1}')
    with pytest.raises(
        ValueError, match=r"evaluation\.json is of another version .*: run `alignmixup evaluate .* again"
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


def test_several_data_sets_and_strange_texts(make: Make, tmp_path: Path) -> None:
    make("mixup", 0, [30.0])
    make("a<b>&", 0, [30.0], name="digits/cutmix")
    make("cutmix", 0, [30.0], name="cifar10/cutmix")
    (tmp_path / "runs" / "align.gif").write_bytes(b"x")
    shared = Shared(pictures=(tmp_path / "runs" / "align.gif",))
    page = build_page(find_runs([tmp_path]), shared=shared, title="<i>", commands=["alignmixup compare --seeds 1"])
    headings = check(page).headings
    assert headings[0] == "<i>"
    assert {"CIFAR-10: Test error", "Digits: Test error", "Pictures of all"} <= set(headings)
    assert "a&lt;b&gt;&amp;" in page
    assert "<b>&" not in page
    assert "alignmixup compare --seeds 1" in page
