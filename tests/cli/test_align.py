"""``alignmixup align``."""

from pathlib import Path

import pytest

from alignmixup.cli import build_parser, main

SMALL = ["train.epochs=1", "data.subset=3", "model.width=2", "train.threads=1", "train.device=cpu"]


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> str:
    out = str(tmp_path_factory.mktemp("align") / "run")
    assert main(["train", "--config", "digits/baseline", "--out", out, "--set", *SMALL]) == 0
    return out


def call(*arguments: str) -> int:
    options = build_parser().parse_args(["align", *arguments, "--device", "cpu"])
    return int(options.run(options))


def test_a_picture_at_any_layer(trained: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "new" / "a.png"
    assert call(trained, "--pairs", "2", "--layer", "stage2", "--classes", "same", "--out", str(out)) == 0
    assert "stage2, 4 x 4 positions: mean entropy" in capsys.readouterr().out
    assert out.stat().st_size > 10_000


def test_a_large_epsilon_leaves_every_match_open(
    trained: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert call(trained, "--epsilon", "1e6", "--layer", "stage2", "--out", str(tmp_path / "a.png")) == 0
    assert "mean entropy of a match 2.773 of at most 2.773" in capsys.readouterr().out


def test_bad_input(trained: str) -> None:
    with pytest.raises(ValueError, match="--lines must be >= 0, got -1"):
        call(trained, "--lines", "-1")
    with pytest.raises(ValueError, match="no layer 'stage9'"):
        call(trained, "--layer", "stage9")
    with pytest.raises(ValueError, match="--epsilon must be > 0 or None, got"):
        call(trained, "--epsilon", "0")
