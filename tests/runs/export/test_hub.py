"""The folder for a hub: its card is true and runs, it holds no path of this machine, it is a run."""

import json
import re
import shutil
from itertools import product
from pathlib import Path
from typing import Any

import pytest
import yaml
from PIL import Image

from alignmixup.runs.evaluation import evaluate
from alignmixup.runs.export.hub import write_hub_folder
from alignmixup.runs.loading import load
from alignmixup.runs.training import train
from alignmixup.training.config_file import ConfigError

QUICK = ["data.subset=6", "model.width=4", "train.epochs=2", "train.device=cpu"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("runs")
    for seed in (0, 1):
        train("digits/alignmixup", root / f"align-seed{seed}", overrides=[*QUICK, f"train.seed={seed}"])
    train("digits/mixup", root / "align-seed7", overrides=[*QUICK, "train.seed=7"])  # another method is no sibling
    return root / "align-seed0"


def test_the_folder_is_complete_and_portable(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    hub = tmp_path / "hub"
    run = load(folder, overrides=["train.device=cpu", f"data.root={tmp_path}"])
    evaluate(run, out=folder / "evaluation.json", attack="fgsm", limit=30)
    files = write_hub_folder(run, hub, license="cc-by-4.0")
    assert sorted(path.name for path in hub.iterdir()) == files
    for name in set(files) - {"model.safetensors"}:
        text = (hub / name).read_text(encoding="utf-8")
        assert str(tmp_path) not in text
        assert str(folder.parent) not in text
    copy = load(hub, overrides=["train.device=cpu"])
    record = json.loads((folder / "record.json").read_text(encoding="utf-8"))
    assert evaluate(copy, what="error")["error_percent"] == pytest.approx(record["metrics"]["last_error_percent"])

    card = (hub / "README.md").read_text(encoding="utf-8")
    head = yaml.safe_load(card.split("---")[1])
    assert (head["license"], head["pipeline_tag"]) == ("cc-by-4.0", "image-classification")
    accuracy = head["model-index"][0]["results"][0]["metrics"][0]["value"]
    assert accuracy == pytest.approx(100 - record["metrics"]["last_error_percent"], abs=1e-3)
    assert "| error of these weights | " in card
    assert "898 test images |" in card
    assert re.search(r"\| error under fgsm 8/255 \| \d+\.\d\d % \| 30 images \|", card)
    assert re.search(r"over 2 runs \(seeds 0, 1\): \d+\.\d\d ± \d+\.\d\d %", card)
    assert "@inproceedings{venkataramanan2022alignmixup" in card
    monkeypatch.chdir(hub)
    scope: dict[str, Any] = {}
    for block in re.findall(r"^```python\n(.*?)^```", card, re.DOTALL | re.MULTILINE):
        exec(block, scope)
    assert scope["probs"].shape == (2, 10)


def test_the_card_says_who_chose_the_best_epoch_and_what_was_not_measured(folder: Path, tmp_path: Path) -> None:
    write_hub_folder(load(folder, weights="best", overrides=["train.device=cpu"]), tmp_path)
    card = (tmp_path / "README.md").read_text(encoding="utf-8")
    best = json.loads((folder / "record.json").read_text(encoding="utf-8"))["metrics"]
    assert f"epoch {best['best_epoch'] + 1} of 2, the best on the test set, so that this error is optimistic" in card
    assert f"{best['best_error_percent']:.2f} %" in card
    assert "Not stated. The code" in card


@pytest.mark.parametrize("other", [{"small_stem": True}, {}])
def test_a_network_of_timm_is_read_by_timm(tmp_path: Path, other: dict[str, bool]) -> None:
    import timm
    import torch

    keys = [f"model.{key}={str(value).lower()}" for key, value in other.items()]
    overrides = ["model.name=timm:test_resnet", "data.subset=6", "train.epochs=1", "train.device=cpu", *keys]
    name = "model.name=timm:resnet10t" if other else overrides[0]
    train("digits/mixup", tmp_path / "run", overrides=[name, *overrides[1:]])
    run = load(tmp_path / "run", overrides=["train.device=cpu"])
    write_hub_folder(run, tmp_path / "hub")
    readable = "architecture" in json.loads((tmp_path / "hub" / "config.json").read_text(encoding="utf-8"))
    assert readable != bool(other)  # timm does not know of the small stem
    if readable:
        model = timm.create_model(f"local-dir:{tmp_path / 'hub'}", pretrained=True).eval()
        x = run.images([0, 1])[0]
        torch.testing.assert_close(model(x), run.model(x))


@pytest.mark.parametrize(("size", "pixels"), [(32, 32), (96, 110)])  # decoded into memory, and streamed
def test_timm_shows_the_files_of_a_run_as_the_run_does(tmp_path: Path, size: int, pixels: int) -> None:
    import timm
    import torch

    generator = torch.Generator().manual_seed(0)
    for split, name, number in product(("train", "test"), "ab", range(4)):
        file = tmp_path / "images" / split / name / f"{number}.png"
        file.parent.mkdir(parents=True, exist_ok=True)
        values = torch.randint(0, 256, (120 + 9 * number, 117, 3), dtype=torch.uint8, generator=generator)
        Image.fromarray(values.numpy()).save(file)
    data = [f"data.root={tmp_path / 'images'}", "data.name=folder", f"data.image_size={size}", "data.workers=0"]
    own = ["model.name=timm:test_resnet", "train.epochs=1", "train.batch_size=4", "train.device=cpu"]
    train("digits/baseline", tmp_path / "run", overrides=[*data, *own])
    run = load(tmp_path / "run")
    write_hub_folder(run, tmp_path / "hub")
    model = timm.create_model(f"local-dir:{tmp_path / 'hub'}", pretrained=True)
    shown = timm.data.create_transform(**timm.data.resolve_model_data_config(model))
    files = sorted((tmp_path / "images" / "test" / "a").iterdir())
    torch.testing.assert_close(torch.stack([shown(Image.open(file)) for file in files]), run.images(range(4))[0])
    card = (tmp_path / "hub" / "README.md").read_text(encoding="utf-8")
    assert f"shorter side scaled to {pixels} pixels, centre {size} x {size} cut out" in card


def test_no_other_folder_is_written_over(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    run = load(folder, overrides=["train.device=cpu"])
    with pytest.raises(ConfigError, match="is not empty: name another, or write into it with --overwrite"):
        write_hub_folder(run, tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["notes.txt"]
    with pytest.raises(ConfigError, match="is the run itself"):
        write_hub_folder(run, folder, overwrite=True)


@pytest.mark.parametrize("which", ["best", "last", "raw"])
def test_a_hub_folder_says_of_its_weights_what_their_run_said(folder: Path, tmp_path: Path, which: str) -> None:
    run = tmp_path / "run"
    shutil.copytree(folder, run)
    shutil.copy(run / "model.safetensors", run / "model_raw.safetensors")
    record = json.loads((run / "record.json").read_text(encoding="utf-8"))
    record["metrics"] |= {"best_error_percent": 12.34, "last_error_percent": 56.78, "best_epoch": 0}
    del record["sha256_of_the_rest"], record["weights_sha256"]
    (run / "record.json").write_text(json.dumps(record), encoding="utf-8")
    write_hub_folder(load(run, weights=which, device="cpu"), tmp_path / "hub")
    write_hub_folder(load(tmp_path / "hub", device="cpu"), tmp_path / "again")
    assert (tmp_path / "again/config.json").read_bytes() == (tmp_path / "hub/config.json").read_bytes()
    results = [
        (tmp_path / name / "README.md").read_text(encoding="utf-8").split("## Use")[0] for name in ("hub", "again")
    ]
    assert [line for line in results[1].splitlines() if "weights" in line][:2] == [
        line for line in results[0].splitlines() if "weights" in line
    ][:2]
    said = {"best": "12.34 %", "last": "56.78 %", "raw": "(not averaged)"}
    assert [word for word in said.values() if word in results[1]] == [said[which]]
