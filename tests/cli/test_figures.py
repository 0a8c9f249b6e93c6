"""``--figures``: one way for every command that writes figures beside its numbers."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from alignmixup.cli import build_parser, main
from alignmixup.cli.parser import commands_of, options_of_parser

WRITE_FIGURES = {"train", "evaluate", "localize", "compare"}
STARTS = {"png": b"\x89PNG", "pdf": b"%PDF", "svg": b"<?xml"}


@pytest.fixture
def curves_once() -> None:
    """Each run draws its own here."""


def test_the_commands_that_have_it_offer_the_same() -> None:
    found = {
        name: next((one for one in options_of_parser(parser) if "--figures" in one.option_strings), None)
        for name, parser in commands_of(build_parser()).items()
    }
    having = {name: one for name, one in found.items() if one is not None}
    assert having.keys() == WRITE_FIGURES
    assert {(tuple(one.choices or ()), one.default, one.help) for one in having.values()} == {
        (("png", "pdf", "svg"), "png", having["train"].help)
    }


def figures(folder: Path) -> dict[str, str]:
    """The figures in a folder; each is what its ending says."""
    found = [file for file in folder.iterdir() if file.suffix[1:] in STARTS]
    assert all(file.read_bytes().startswith(STARTS[file.suffix[1:]]) for file in found)
    return {file.name: file.suffix[1:] for file in sorted(found)}


def test_figures_of_a_comparison_and_an_evaluation(small: list[str], caplog: pytest.LogCaptureFixture) -> None:
    runs = Path("runs/digits")
    compare = ["compare", "--methods", "mixup", "--seeds", "1", *small, "--figures"]
    assert main([*compare, "pdf"]) == 0
    assert (figures(runs), figures(runs / "mixup-seed0")) == ({"comparison.pdf": "pdf"}, {"curves.pdf": "pdf"})
    assert main([*compare, "svg", "--jobs", "1"]) == 0
    assert set(figures(runs)) == {"comparison.pdf", "comparison.svg"}
    evaluate = ["evaluate", "runs/digits/mixup-seed0", "--out", "found", "--what", "calibration,ood"]
    assert main([*evaluate, "--ood", "uniform", "--limit", "20", "--figures", "svg"]) == 0
    assert set(figures(Path("found"))) == {"evaluation-calibration.svg", "evaluation-ood.svg"}
    assert main([*evaluate, "--ood", "uniform", "--limit", "20", "--figures", "pdf"]) == 0
    assert "evaluation-ood.pdf needs scores, which are not stored" in caplog.text
    assert set(figures(Path("found"))) == {
        "evaluation-calibration.pdf", "evaluation-calibration.svg", "evaluation-ood.svg"
    }  # fmt: skip


def test_no_figure_of_another_kind_tells_of_old_numbers(small: list[str]) -> None:
    train = ["train", "--config", "digits/mixup", "--out", "run", *small]
    assert main([*train, "--figures", "svg"]) == 0
    old = Path("run/curves.svg").read_bytes()
    assert main([*train, "train.seed=3", "--overwrite"]) == 0
    assert set(figures(Path("run"))) == {"curves.png"}  # a run replaces all that an earlier one left
    assert main([*train, "train.seed=3", "--resume", "--figures", "svg"]) == 0
    assert set(figures(Path("run"))) == {"curves.png", "curves.svg"}
    assert Path("run/curves.svg").read_bytes() != old


def test_figures_of_localisation(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    for name in ("a", "b"):
        Image.fromarray(rng.integers(0, 255, (12, 12, 3), dtype=np.uint8)).save(tmp_path / f"{name}.png")
        np.save(tmp_path / f"{name}.npy", np.eye(12, dtype=np.float32))
    (tmp_path / "boxes.csv").write_text("a.png,0,0,5,5\nb.png,2,2,9,9\n")
    given = ["--maps", tmp_path, "--images", tmp_path, "--boxes", tmp_path / "boxes.csv", "--out", tmp_path / "found"]
    assert main(["localize", *map(str, given), "--step", "0.1", "--figures", "pdf"]) == 0
    assert set(figures(tmp_path / "found")) == {"localization_curves.pdf"}
