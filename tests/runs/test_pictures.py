"""A run's network at work: its decoder, layer, matching and pairs; and the pictures' own parts."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from matplotlib.colors import to_rgb
from tests.networks import TinyTransformer

from alignmixup import TransMix, runs
from alignmixup.cli import main
from alignmixup.figures.palette import series
from alignmixup.runs.pictures import measure_interpolation, picture_gallery, picture_matches, picture_morphs
from alignmixup.runs.pictures.gallery import _mixed_batch, mask_colours
from alignmixup.runs.pictures.images import pixels
from alignmixup.training.config_file import dump
from alignmixup.training.config_file import load as load_config

SMALL = ["train.epochs=1", "data.subset=3", "model.width=2", "train.threads=1", "train.device=cpu"]


def train(folder: Path, name: str, *keys: str) -> Path:
    assert main(["train", "--config", f"digits/{name}", "--out", str(folder), "--set", *SMALL, *keys]) == 0
    return folder


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("runs")
    autoencoder = train(folder / "ae", "alignmixup_ae", "method.decoder_width=2", "method.epsilon=0.7")
    return {"ae": autoencoder, "baseline": train(folder / "baseline", "baseline")}


def test_the_decoder_is_that_of_the_checkpoint(folders: dict[str, Path]) -> None:
    trained = runs.load(folders["ae"])
    assert trained.has_decoder
    decoder = trained.decoder
    saved = torch.load(folders["ae"] / "checkpoint.pt", weights_only=True)["ranks"][0]["mixer"]["decoder"]
    assert all(torch.equal(value, saved[name]) for name, value in decoder.decoder.state_dict().items())
    (folders["ae"] / "checkpoint.pt").rename(folders["ae"] / "away")
    with pytest.raises(FileNotFoundError, match=r"no checkpoint at .*: the decoder's weights are kept there"):
        _ = runs.load(folders["ae"]).decoder
    (folders["ae"] / "away").rename(folders["ae"] / "checkpoint.pt")


def test_a_run_without_decoder_is_told_how_to_get_one(folders: dict[str, Path]) -> None:
    trained = runs.load(folders["baseline"])
    assert not trained.has_decoder
    with pytest.raises(ValueError, match=r"trained by baseline.*alignmixup train --config .*method.name=alignmixup_ae"):
        _ = trained.decoder


def test_the_decoder_to_train_is_one_of_the_layer_that_the_run_mixes_at(tmp_path: Path) -> None:
    (tmp_path / "config.toml").write_text(dump(load_config("digits/alignmixup")))
    (tmp_path / "model.safetensors").write_bytes(b"")
    with pytest.raises(ValueError, match=r"alignmixup_ae method.layer=stage4`; .* --measure 1000` needs none"):
        _ = runs.load(tmp_path).decoder


def test_layer_and_alignment_are_the_runs_or_the_ones_named(folders: dict[str, Path]) -> None:
    autoencoder, baseline = runs.load(folders["ae"]), runs.load(folders["baseline"])
    assert autoencoder.layer() == "stage4"
    assert autoencoder.layer("stage2.0") == "stage2.0"
    assert baseline.layer() == "norm"
    with pytest.raises(ValueError, match=r"no layer .stage9.*did you mean"):
        baseline.layer("stage9")
    assert autoencoder.alignment().epsilon == 0.7
    assert baseline.alignment().epsilon == 0.1
    chosen = autoencoder.alignment(epsilon=2, iterations=5)
    assert (chosen.epsilon, chosen.iterations) == (2, 5)


def test_pairs_are_the_images_at_their_numbers(folders: dict[str, Path]) -> None:
    trained = runs.load(folders["baseline"])
    index = trained.draw_pairs(5, classes="same", seed=3)
    batches = list(trained.pairs(index, batch_size=2))
    assert [len(batch.first) for batch in batches] == [2, 2, 1]
    labels = trained.data.test.labels
    assert torch.cat([batch.y_first for batch in batches]).tolist() == labels[index[:, 0]].tolist()
    assert torch.cat([batch.y_partner for batch in batches]).tolist() == labels[index[:, 1]].tolist()
    x, y = trained.images(index[0])
    torch.testing.assert_close(x, torch.stack([batches[0].first[0], batches[0].partner[0]]))
    assert y.tolist() == labels[index[0]].tolist()
    shown = torch.from_numpy(pixels(trained.data, x))
    assert shown.shape == (2, 8, 8, 3)
    expected = trained.data.test.images[index[0]] / 255
    torch.testing.assert_close(shown[..., 0], expected[:, 0], rtol=0, atol=1e-5, check_dtype=False)


def test_nothing_is_written_where_no_file_is_named(folders: dict[str, Path], tmp_path: Path) -> None:
    trained = runs.load(folders["ae"])
    record = measure_interpolation(trained, pairs=4, steps=3, layer="stage2")
    assert record["all"]["pairs"] == 4
    assert measure_interpolation(trained, tmp_path / "new" / "a.png", pairs=4, steps=3, layer="stage2") == record
    assert {file.name for file in (tmp_path / "new").iterdir()} == {"a.png", "a.json"}


@pytest.mark.parametrize("method", ["puzzlemix", "dense_multimix"])  # which run the network in training
def test_a_gallery_leaves_the_network_as_it_was(folders: dict[str, Path], tmp_path: Path, method: str) -> None:
    run = runs.load(folders["baseline"])
    before = {name: value.clone() for name, value in run.model.state_dict().items()}
    picture_gallery(run, tmp_path / "a.png", methods=method, columns=2)
    assert not any(module.training for module in run.model.modules())
    assert all(torch.equal(value, before[name]) for name, value in run.model.state_dict().items())


def test_colours_of_masks() -> None:
    pair = mask_colours(torch.tensor([[[1.0, 0.5], [0.0, 0.0]]]))
    assert pair.shape == (1, 2, 2, 3)
    assert pair[0, 0].tolist() == [[1.0] * 3, [0.5] * 3]
    many = torch.zeros(1, 1, 3, 4)
    many[0, 0, 0, 1] = many[0, 0, 1, 2] = 1
    many[0, 0, 2, 1:3] = 0.5
    one, two, both = mask_colours(many)[0, 0]
    np.testing.assert_allclose((one + two) / 2, both)
    many[0, 0, 2] = many[0, 0, 1]  # the third input has most of the image
    two, one = (to_rgb(series(rank)) for rank in range(2))
    np.testing.assert_allclose(mask_colours(many)[0, 0], [one, two, two])


@pytest.mark.parametrize("draw", [picture_gallery, picture_matches, picture_morphs])
@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("curves.png", "is a file of the run itself"),
        ("a.xyz", r"written as .png, .pdf or .svg"),
        ("d.png", "is a folder"),
    ],
)
def test_where_nothing_can_be_drawn_is_refused_first(
    folders: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, draw: Any, name: str, message: str
) -> None:
    run = runs.load(folders["ae"])
    monkeypatch.setattr(runs.Run, "load_data", None)
    (tmp_path / "d.png").mkdir()
    with pytest.raises(ValueError, match=message):
        draw(run, (folders["ae"] if name == "curves.png" else tmp_path) / name)


def test_labels_that_follow_the_network_are_shown_as_it_makes_them() -> None:
    net = TinyTransformer(3)
    x, y = torch.randn(6, 3, 16, 16), torch.tensor([0, 1, 2, 0, 1, 2])
    batch = _mixed_batch(TransMix(net, num_classes=3, seed=0), x, y, net)
    assert batch is not None
    assert not torch.equal(batch.lam, batch.draw.lam)
