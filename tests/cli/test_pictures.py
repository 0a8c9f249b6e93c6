"""What the commands that draw share."""

import argparse
from pathlib import Path

import pytest
import torch

from alignmixup.cli import main
from alignmixup.cli.pictures import (
    add_pair_options,
    alignment_of,
    draw_index,
    has_decoder,
    images_at,
    layer_of,
    load_decoder,
    load_run,
    pairs_of,
    pixels,
)
from alignmixup.training.build import load_model_weights

SMALL = ["train.epochs=1", "data.subset=3", "model.width=2", "train.threads=1", "train.device=cpu"]


def train(folder: Path, name: str, *keys: str) -> Path:
    assert main(["train", "--config", f"digits/{name}", "--out", str(folder), "--set", *SMALL, *keys]) == 0
    return folder


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("runs")
    autoencoder = train(folder / "ae", "alignmixup_ae", "method.decoder_width=2", "method.epsilon=0.7")
    return {"ae": autoencoder, "baseline": train(folder / "baseline", "baseline")}


def options(*arguments: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    add_pair_options(parser, pairs=2)
    return parser.parse_args(["run", *arguments])


def test_a_run_comes_back_with_its_weights_in_eval_mode(runs: dict[str, Path]) -> None:
    trained = load_run(runs["baseline"])
    assert not trained.model.training
    before = {name: value.clone() for name, value in trained.model.state_dict().items()}
    load_model_weights(runs["baseline"] / "model.safetensors", trained.model)
    assert all(torch.equal(value, before[name]) for name, value in trained.model.state_dict().items())


def test_the_decoder_is_that_of_the_checkpoint(runs: dict[str, Path]) -> None:
    trained = load_run(runs["ae"])
    assert has_decoder(trained)
    decoder = load_decoder(trained)
    saved = torch.load(runs["ae"] / "checkpoint.pt", weights_only=True)["ranks"][0]["mixer"]["decoder"]
    assert all(torch.equal(value, saved[name]) for name, value in decoder.decoder.state_dict().items())
    (runs["ae"] / "checkpoint.pt").rename(runs["ae"] / "away")
    with pytest.raises(FileNotFoundError, match=r"no checkpoint at .*: the decoder's weights are kept there"):
        load_decoder(trained)
    (runs["ae"] / "away").rename(runs["ae"] / "checkpoint.pt")


def test_a_run_without_decoder_is_told_how_to_get_one(runs: dict[str, Path]) -> None:
    trained = load_run(runs["baseline"])
    assert not has_decoder(trained)
    with pytest.raises(ValueError, match=r"trained by baseline.*alignmixup train --config digits/alignmixup_ae"):
        load_decoder(trained)


def test_layer_and_alignment_are_the_runs_or_the_ones_named(runs: dict[str, Path]) -> None:
    autoencoder, baseline = load_run(runs["ae"]), load_run(runs["baseline"])
    assert layer_of(autoencoder, None) == "stage4"
    assert layer_of(autoencoder, "stage2.0") == "stage2.0"
    assert layer_of(baseline, None) == "norm"
    with pytest.raises(ValueError, match=r"no layer .stage9.*near names"):
        layer_of(baseline, "stage9")
    assert alignment_of(autoencoder, options()).epsilon == 0.7
    assert alignment_of(baseline, options()).epsilon == 0.1
    chosen = alignment_of(autoencoder, options("--epsilon", "2", "--iterations", "5"))
    assert (chosen.epsilon, chosen.iterations) == (2, 5)


def test_pairs_are_the_images_at_their_numbers(runs: dict[str, Path]) -> None:
    trained = load_run(runs["baseline"])
    index = draw_index(trained, options("--classes", "same", "--seed", "3"), 5)
    batches = list(pairs_of(trained, index, batch_size=2))
    assert [len(batch.first) for batch in batches] == [2, 2, 1]
    labels = trained.dataset.test.labels
    assert torch.cat([batch.y_first for batch in batches]).tolist() == labels[index[:, 0]].tolist()
    assert torch.cat([batch.y_partner for batch in batches]).tolist() == labels[index[:, 1]].tolist()
    x, y = images_at(trained, index[0].tolist())
    torch.testing.assert_close(x, torch.stack([batches[0].first[0], batches[0].partner[0]]))
    assert y.tolist() == labels[index[0]].tolist()
    shown = torch.from_numpy(pixels(trained.dataset, x))
    assert shown.shape == (2, 8, 8, 3)
    expected = trained.dataset.test.images[index[0]] / 255
    torch.testing.assert_close(shown[..., 0], expected[:, 0], rtol=0, atol=1e-5, check_dtype=False)
