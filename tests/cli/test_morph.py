"""``alignmixup morph``."""

import json
from pathlib import Path

import pytest
from PIL import Image

from alignmixup.cli import build_parser, main

SMALL = ["train.epochs=1", "data.subset=3", "model.width=2", "train.threads=1", "train.device=cpu"]


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """An autoencoder, and a baseline whose last map is only averaged."""
    folder = tmp_path_factory.mktemp("morph")
    keys = {"alignmixup_ae": ["method.decoder_width=2"], "baseline": ["model.final_norm=false"]}
    for name, more in keys.items():
        out = str(folder / name)
        assert main(["train", "--config", f"digits/{name}", "--out", out, "--set", *SMALL, *more]) == 0
    return {name: str(folder / name) for name in keys}


def call(*arguments: str) -> int:
    options = build_parser().parse_args(["morph", *arguments, "--device", "cpu"])
    return int(options.run(options))


def test_a_picture_and_an_animation(
    trained: dict[str, str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out, moving = tmp_path / "new" / "a.png", tmp_path / "other" / "a.gif"
    size = ["--pairs", "2", "--steps", "4"]
    assert call(trained["alignmixup_ae"], *size, "--out", str(out), "--animation", str(moving)) == 0
    assert capsys.readouterr().out.split() == [str(out), str(moving)]
    assert out.stat().st_size > 10_000
    with Image.open(moving) as image:
        assert getattr(image, "n_frames", 0) > 10


def test_the_measure_of_a_run_with_a_decoder(
    trained: dict[str, str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "new" / "a.png"
    assert call(trained["alignmixup_ae"], "--measure", "12", "--steps", "3", "--out", str(out)) == 0
    printed = capsys.readouterr().out
    assert "12 pairs, all pairs" in printed.replace("\n", " ")
    content = json.loads(out.with_suffix(".json").read_text(encoding="utf-8"))
    assert (content["layer"], content["read_from_layer"], content["lam"]) == ("stage4", "positions", [1, 0.5, 0])
    assert content["all"]["pairs"] == 12
    assert content["reconstruction_psnr_db"]["mean"] > 0
    assert len(content["all"]["paths"]["first"]["curves"]["decoded_either"]["mean"]) == 3
    assert out.read_bytes().startswith(b"\x89PNG")


def test_the_measure_of_any_run(trained: dict[str, str], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "a.png"
    arguments = ["--measure", "12", "--steps", "3", "--layer", "stage4", "--out", str(out)]
    assert call(trained["baseline"], *arguments) == 0
    assert "reads only the mean of stage4" in capsys.readouterr().out
    content = json.loads(out.with_suffix(".json").read_text(encoding="utf-8"))
    assert content["all"]["against_none"]["first"]["share_equal"]["mean"] == 1
    assert "reconstruction_psnr_db" not in content
    assert call(trained["alignmixup_ae"], *arguments[:4], "--layer", "stage2", "--out", str(out)) == 0
    assert "reconstruction_psnr_db" not in json.loads(out.with_suffix(".json").read_text(encoding="utf-8"))


def test_bad_input(trained: dict[str, str]) -> None:
    way_out = "train --config .*config.toml --set method.name=alignmixup_ae`"
    with pytest.raises(ValueError, match=f"trained by baseline, which has no decoder.*{way_out}"):
        call(trained["baseline"])
    with pytest.raises(ValueError, match=r"--steps must be in \[2, 100\], got 1"):
        call(trained["baseline"], "--steps", "1")
    with pytest.raises(ValueError, match="an animation is written as"):
        call(trained["alignmixup_ae"], "--animation", "a.mp4")
    with pytest.raises(ValueError, match="--layer goes with --measure"):
        call(trained["alignmixup_ae"], "--layer", "stage2")
    with pytest.raises(ValueError, match="--steps must be odd, got 4"):
        call(trained["alignmixup_ae"], "--measure", "3", "--steps", "4")
    with pytest.raises(ValueError, match="leave --animation out"):
        call(trained["alignmixup_ae"], "--measure", "3", "--animation", "a.gif")
    with pytest.raises(ValueError, match="number of pairs must be >= 1, got 0"):
        call(trained["alignmixup_ae"], "--pairs", "0")
