"""A network of one's own: any wrapping, constants, crop and order of classes; subsets of the classes by folder."""

import json
import shutil
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from tests.untrained import write_run

from alignmixup import data, runs
from alignmixup.cli import main
from alignmixup.data.label_map import read_label_map
from alignmixup.data.mean_std import mean_std
from alignmixup.models.weights import read_weights
from alignmixup.runs.evaluation import default_out
from alignmixup.runs.measurements import Measurements
from alignmixup.runs.options.evaluation import Plan
from alignmixup.training.config_file import ConfigError, dump
from alignmixup.training.config_file import load as load_config
from alignmixup.training.engine import Engine
from alignmixup.training.progress.images import image_progress

# means of the channels, then a linear layer: output 4 is red, output 1 is green, output 0 always says one half
NETWORK = """
import torch
from torch import nn

class Mean(nn.Module):
    def forward(self, x):
        return x.mean(dim=(2, 3)) * (x.amax(dim=(1, 2, 3)) / x.amax(dim=(1, 2, 3)))[:, None]

def build(num_classes):
    return nn.Sequential(Mean(), nn.Linear(3, num_classes))
"""
OUTPUTS = 6


@pytest.fixture
def own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a network of six outputs, its weights, and bright and dim pictures of two of the classes."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "colours.py").write_text(NETWORK)
    weight, bias = torch.zeros(OUTPUTS, 3), torch.full((OUTPUTS,), -9.0)
    weight[4, 0] = weight[1, 1] = 1
    bias[[0, 1, 4]] = torch.tensor([0.5, 0.0, 0.0])
    torch.save({"state_dict": {"module.1.weight": weight, "module.1.bias": bias}}, "own.pth")
    for name, channel in (("n07", 0), ("n03", 1)):
        for level in (250, 240, 230, 50):
            picture(tmp_path / "images" / name / f"{level}.png", channel, level)
    (tmp_path / "labels.json").write_text(json.dumps({"n03": 1, "n07": 4, "n99": 5}))
    return tmp_path


def picture(file: Path, channel: int, level: int) -> None:
    pixels = np.zeros((20, 24, 3), dtype=np.uint8)
    pixels[..., channel] = level
    file.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(file)


COMMAND = ["evaluate", "colours:build", "--checkpoint", "own.pth", "--data", "folder", "--root", "images"]
SEEN = ["--mean", "0", "--std", "1", "--size", "16", "--device", "cpu", "--set", "data.workers=0"]


def evaluated(*options: str) -> dict[str, Any]:
    assert main([*COMMAND, *SEEN, "--out", "found.json", *options]) == 0
    return json.loads(Path("found.json").read_text(encoding="utf-8"))


def test_a_subset_of_the_classes_is_measured_over_its_own_outputs_or_over_all(
    own: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    # over the folders' outputs dim pictures are right too, over all of them output 0 wins
    result = evaluated("--labels", "labels.json", "--what", "error,ood,attacks", "--attack", "fgsm", "--ood", "uniform")
    assert (result["error_percent"], result["images"]) == (0, 8)
    assert result["settings"]["data"]["outputs"] == "folders"
    assert result["attacks"]["images"] == 8
    assert main([*COMMAND, *SEEN, "--labels", "labels.json", "--outputs", "all", "--out", "found.json"]) == 1
    assert "other data (colours:build, outputs = folders, not all): --overwrite" in capsys.readouterr().err
    result = evaluated("--labels", "labels.json", "--outputs", "all", "--overwrite")
    assert result["error_percent"] == 25
    assert result["configuration"]["data.normalization"] == "0/1"


@pytest.mark.parametrize("outputs", ["folders", "all"])
def test_released_images_have_the_labels_of_the_map(own: Path, outputs: str) -> None:
    shown = data.load("folder", root="images", image_size=16, test_only=True, cache=False).test
    assert isinstance(shown, data.Split)
    (own / "released").mkdir()
    np.save("released/contrast.npy", np.tile(shown.images.permute(0, 2, 3, 1).numpy(), (5, 1, 1, 1)))
    np.save("released/labels.npy", np.tile(shown.labels.numpy(), 5))
    (own / "labels.json").write_text('{"n03": 4, "n07": 1}')  # the other way round: all are wrong
    how = ("--corruptions", "contrast", "--corruption-folder", "released", "--limit", "8")
    found = evaluated("--labels", "labels.json", "--outputs", outputs, *how)["corruptions"]
    assert found["clean_error_percent"] == 100
    assert found["error_percent"]["contrast"] == [100] * 5


def test_without_a_map_other_classes_are_refused_and_told_the_way_out(
    own: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([*COMMAND, *SEEN]) == 1
    assert "own.pth is a network for 6 classes and folder has 2" in (said := capsys.readouterr().err)
    assert "say with --labels FILE" in said
    (own / "labels.json").write_text('{"n03": 1, "n07": 6}')
    assert main([*COMMAND, *SEEN, "--labels", "labels.json"]) == 1
    assert "n07 is output 6, and the network has 6, from 0 on" in capsys.readouterr().err
    (own / "labels.json").write_text('{"n03": 1}')
    assert main([*COMMAND, *SEEN, "--labels", "labels.json"]) == 1
    assert "--labels labels.json lacks 1 of 2 folders: 'n07'" in capsys.readouterr().err.replace("n07", "'n07'", 1)


def test_an_image_without_finite_logits_is_named_and_counted(own: Path, caplog: pytest.LogCaptureFixture) -> None:
    picture(own / "images" / "n03" / "black.png", 0, 0)
    result = evaluated("--labels", "labels.json", "--what", "error,calibration,ood", "--ood", "uniform")
    said = caplog.text
    assert "not finite for 1 of 9 images (n03/black.png): wrong in every error, and left out elsewhere" in said
    assert result["error_percent"] == pytest.approx(100 / 9)
    assert (result["images"], result["not_finite"], result["calibration"]["images"]) == (9, 1, 8)
    assert result["ood"]["sets"]["uniform"]["in_images"] == 8


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--mean", "0"], "--mean and --std go together"),
        (["--mean", "0", "--std", "0"], "is not MEAN,.../STD,..."),
        (["--outputs", "all"], "--outputs all goes with --labels"),
        (["--crop", "1.5"], "--crop must be in (0, 1] or None, got 1.5"),
        (["--labels", "nowhere.json"], "no label map at nowhere.json"),
        (["--key", "ema"], "own.pth holds no state dict under 'ema'; it has state_dict"),
    ],
)
def test_what_cannot_be_asked_of_a_model(
    own: Path, capsys: pytest.CaptureFixture[str], options: list[str], message: str
) -> None:
    assert main([*COMMAND, *options]) == 1
    assert message in capsys.readouterr().err


def test_constants_and_crop_reach_the_images(own: Path) -> None:
    pixels = np.zeros((20, 20, 3), dtype=np.uint8)
    pixels[5:15, 5:15, 0] = 250  # the inner half of each side
    Image.fromarray(pixels).save(own / "images" / "n07" / "centre.png")
    choice = {"mean": (0.5, 0.25, 0), "std": "0.25,1,1", "size": 10, "labels": own / "labels.json", "device": "cpu"}
    run = runs.load(
        "colours:build", data="folder", root="images", checkpoint="own.pth", crop=0.5, overrides=["data.workers=0"],
        **choice,
    )  # fmt: skip
    x, y = run.images([8])
    assert x.shape == (1, 3, 10, 10)
    torch.testing.assert_close(x[0, 0], torch.full((10, 10), (250 / 255 - 0.5) / 0.25), atol=1e-4, rtol=0)
    torch.testing.assert_close(x[0, 1], torch.full((10, 10), -0.25), atol=1e-4, rtol=0)
    assert y.tolist() == [4]
    for in_memory in (True, False):
        shown = data.load(
            "folder", root="images", image_size=10, test_only=True, test_crop=0.5, in_memory=in_memory, cache=False
        )
        _, loader = data.build_loaders(shown, batch_size=9, augment=None, workers=0)
        images = next(iter(loader))[0]
        assert images[8].std(dim=(1, 2)).max() < 1e-5, in_memory
    with pytest.raises(ValueError, match="test_crop is an option of imagenet, folder: leave it out for digits"):
        data.load("digits", test_crop=0.5)


def test_images_are_measured_as_their_data_set_shows_them(own: Path) -> None:
    run = runs.load(
        "colours:build", data="folder", root="images", checkpoint="own.pth", size=80, crop=0.5, labels="labels.json",
        overrides=["data.workers=0"], device="cpu",
    )  # fmt: skip
    engine = Engine(run.config.train)
    seen = Measurements(run, Plan(parts=("error",)), engine, progress=image_progress)
    loader = seen._loader(seen.dataset.test, 4)
    assert (loader.view, loader.crop) == (seen.dataset.test_view, 0.5)  # type: ignore[union-attr]
    engine.close()


def test_a_run_shows_its_own_images(own: Path) -> None:
    (own / "run").mkdir()
    (own / "run" / "config.toml").write_text("")
    for option in ({"mean": "0", "std": "1"}, {"labels": "imagenet"}, {"size": 3}):
        with pytest.raises(ConfigError, match=r"shows images as in its training; --.* is for a model"):
            runs.load("run", **option)


def test_a_run_is_measured_on_other_images_of_its_classes(own: Path) -> None:
    """CIFAR-10.1 of a run on CIFAR-10."""
    for name in NAMES:
        picture(own / "new" / name / "0.png", 0, 90)
    config = load_config("cifar10/baseline", ["model.width=2", "train.device=cpu", "data.workers=0"])
    images = data.load("folder", root=own / "new", image_size=32, test_only=True)
    folder = write_run(own / "run", config, images)
    run = runs.load(folder, data="folder", root="new")
    assert (run.data.image_size, run.data.mean, run.data.std) == (32, *mean_std("cifar10", channels=3))
    assert default_out([run]) == folder / "evaluation-folder-new.json"
    result = runs.evaluate(run, out=default_out([run]), what="error")
    assert (result["images"], result["data"]) == (10, "folder")
    with pytest.raises(ConfigError, match=r"holds an evaluation of other images .*, new#\w+, not images#\w+\): "):
        runs.evaluate(runs.load(folder, data="folder", root="images"), out=default_out([run]), what="error")
    for option in ({"data": "folder"}, {"data": "digits", "root": "new"}):
        with pytest.raises(ConfigError, match=r"was trained on cifar10. Other test images .* --data folder --root DIR"):
            runs.load(folder, **option)


@pytest.mark.parametrize(("trained_on", "shown"), [("new", "new"), ("both", "both/train")])
def test_images_of_the_training_are_not_measured_without_a_word(own: Path, trained_on: str, shown: str) -> None:
    for root in ("new", "both/train", "both/test"):
        for name in NAMES[:2]:
            picture(own / root / name / "0.png", 0, 90)
    config = load_config("folder/baseline", [f"data.root={trained_on}", "model.width=2", "data.image_size=16"])
    (own / "run").mkdir()
    (own / "run/config.toml").write_text(dump(config))
    (own / "run/model.safetensors").write_bytes(b"")
    with pytest.warns(UserWarning, match=f"--root {shown} holds the images that run was trained on"):
        runs.load("run", data="folder", root=shown)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        runs.load("run", data="folder", root="both")


NAMES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")


def test_every_model_and_data_set_has_a_place_of_its_own(own: Path) -> None:
    shutil.copytree("images", "more/images 2")
    asked = {"checkpoint": "own.pth", "data": "folder", "root": "images"}
    others: list[dict[str, Any]] = [{"root": "more/images 2"}, {"size": 16}, {"data": "imagenet"}]
    places = [default_out([runs.load("colours:build", **asked | other)]) for other in [{}, *others]]
    assert str(places[0]) == "evaluations/colours-build-own-folder-images/evaluation.json"
    assert str(places[1]) == "evaluations/colours-build-own-folder-images-2/evaluation.json"
    assert len(set(places)) == len(places)
    evaluated("--labels", "labels.json", "--what", "error")
    shutil.move("more/images 2", "more/images")  # another folder of the same name is not the same data
    command = [*COMMAND[:-1], "more/images", *SEEN, "--out", "found.json", "--labels", "labels.json"]
    assert main([*command, "--what", "error"]) == 1


def test_numbers_that_others_put_in_the_order_of_texts_are_said(own: Path, caplog: pytest.LogCaptureFixture) -> None:
    for old, new in (("n03", "2"), ("n07", "10")):
        (own / "images" / old).rename(own / "images" / new)
    caplog.set_level("INFO")
    run = runs.load("colours:build", checkpoint="own.pth", data="folder", root="images", size=16)
    assert run.data.class_names == ("2", "10")
    assert "output 0 is the folder 2, as numbers come; where it is 10 (order of texts, " in caplog.text


LISTS: dict[str, tuple[str, str]] = {
    "names to numbers": ("a.json", '{"n1": 0, "n2": 1}'),
    "numbers to names": ("a.json", '{"0": ["n1", "tench"], "1": ["n2", "goldfish"]}'),
    "a list": ("a.json", '["n1", "n2"]'),
    "lines": ("a.txt", "n1\nn2\n"),
    "lines with numbers": ("a.txt", "n2 1\nn1 0\n"),
    "a table": ("a.csv", "n1,0\nn2,1\n"),
}


@pytest.mark.parametrize("name", LISTS)
def test_forms_of_a_label_map(tmp_path: Path, name: str) -> None:
    file, text = LISTS[name]
    (tmp_path / file).write_text(text)
    assert read_label_map(tmp_path / file) == {"n1": 0, "n2": 1}


def test_label_maps_of_imagenet() -> None:
    known = read_label_map("imagenet")
    assert (known["n01440764"], known["n15075141"], known["0"], known["999"]) == (0, 999, 0, 999)
    assert len(known) == 2000


def test_label_maps_with_descriptions(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("n01440764 tench, Tinca tinca\nn01443537 goldfish\n")
    found = read_label_map(tmp_path / "a.txt")
    assert (found["n01440764"], found["n01443537"]) == (0, 1)
    (tmp_path / "a.txt").write_text("great white shark\ngreat grey owl\n")
    assert read_label_map(tmp_path / "a.txt") == {"great white shark": 0, "great grey owl": 1}


@pytest.mark.parametrize("text", ['{"a": -1}', '{"a": "b"}', '{"a": 1.5}', "[", "{}", '["a", "a"]', '"a"'])
def test_label_maps_that_are_none(tmp_path: Path, text: str) -> None:
    (tmp_path / "a.json").write_text(text)
    with pytest.raises(ValueError, match=r"a\.json"):
        read_label_map(tmp_path / "a.json")


State = dict[str, torch.Tensor]
AVERAGES: dict[str, Callable[[State, State], Any]] = {
    "timm": lambda last, mean: {"state_dict": last, "state_dict_ema": mean},
    "deit": lambda last, mean: {"model": last, "model_ema": mean},
    "torch": lambda last, mean: {
        "model": last,
        "model_ema": {"n_averaged": torch.tensor(3), **{f"module.{key}": value for key, value in mean.items()}},
    },
}


@pytest.mark.parametrize("name", AVERAGES)
def test_of_an_average_and_the_last_weights_the_one_wanted_is_asked_for(tmp_path: Path, name: str) -> None:
    last, mean = {"fc.weight": torch.zeros(2, 2)}, {"fc.weight": torch.ones(2, 2)}
    torch.save(AVERAGES[name](last, mean) | {"optimizer": {"state": {}, "param_groups": []}}, tmp_path / "x.pth")
    keys = list(AVERAGES[name](last, mean))
    with pytest.raises(ValueError, match=rf"several state dicts of a network: {keys[0]}, {keys[1]}; say .* --key"):
        read_weights(tmp_path / "x.pth")
    assert torch.equal(read_weights(tmp_path / "x.pth", key=keys[0])["fc.weight"], last["fc.weight"])
    assert dict(read_weights(tmp_path / "x.pth", key=keys[1])).keys() == mean.keys()
    assert torch.equal(read_weights(tmp_path / "x.pth", key=keys[1])["fc.weight"], mean["fc.weight"])


def test_what_lies_beside_the_network_in_a_larger_module_is_left_out(own: Path) -> None:
    state = read_weights(own / "own.pth")
    held = {f"model.{key}": value for key, value in state.items()} | {"loss.weight": torch.ones(6)}
    torch.save({"state_dict": held}, own / "lightning.ckpt")
    run = runs.load("colours:build", data="folder", root="images", checkpoint="lightning.ckpt", labels="labels.json")
    assert torch.equal(run.model.state_dict()["1.weight"].cpu(), state["1.weight"])


def test_every_command_takes_a_model_by_name(own: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from alignmixup import models

    torch.manual_seed(0)
    options = {"width": 2, "in_channels": 3}
    state = models.build("preact_resnet18", num_classes=OUTPUTS, options=options).state_dict()
    torch.save({"net": {f"module.{key}": value for key, value in state.items()}, "acc": 1.0}, "net.pth")
    lines = ["path,x0,y0,x1,y1", *(f"{file.relative_to('images')},2,2,12,12" for file in Path("images").rglob("*.png"))]
    Path("boxes.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    network = ["preact_resnet18", "--checkpoint", "net.pth", "--data", "folder", "--root", "images", "--size", "16"]
    network += ["--labels", "labels.json", "--mean", "0.5", "--std", "0.5", "--device", "cpu"]
    network += ["--set", "model.width=2", "data.workers=0", "train.threads=1"]
    assert main(["align", *network, "--pairs", "1", "--out", "a.png"]) == 0
    assert main(["gallery", *network, "--methods", "cutmix,mixup", "--columns", "2", "--out", "g.png"]) == 0
    assert main(["morph", *network, "--measure", "4", "--layer", "stage2", "--out", "m.png"]) == 0
    assert main(["evaluate", *network, "--what", "error", "--out", "e.json"]) == 0
    assert main(["localize", *network, "--boxes", "boxes.csv", "--step", "0.1", "--out", "loc"]) == 0
    assert main(["localize", *network, "--boxes", "boxes.csv", "--crop", "0.5", "--out", "loc"]) == 1
    assert "localisation shows the whole of each image; leave --crop out" in capsys.readouterr().err
    record = json.loads(Path("loc/localization.json").read_text(encoding="utf-8"))["runs"][0]
    assert (record["run"], record["images"], record["activation"]) == ("preact_resnet18", 8, "cam")
    assert record["outputs"] == 2  # those of the folders compete, as in evaluate
    assert main(["localize", *network, "--outputs", "all", "--boxes", "boxes.csv", "--out", "all"]) == 0
    assert json.loads(Path("all/localization.json").read_text(encoding="utf-8"))["runs"][0]["outputs"] == OUTPUTS
    assert all(Path(f"{name}.png").stat().st_size > 5000 for name in "agm")


def test_published_weights_that_see_other_images_than_theirs_say_so(
    own: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    plain = torch.nn.Identity()
    monkeypatch.setattr("alignmixup.training.build.build_model", lambda config, dataset, start=True: plain)
    for file in Path("images").iterdir():
        file.rename(file.with_name({"n03": "n01440764", "n07": "n01443537"}[file.name]))

    def load(name: str, **options: Any) -> str:
        caplog.clear()
        run = runs.load(
            name, data="folder", root="images", labels="imagenet", overrides=["model.pretrained=true"], **options
        )
        assert run.network(run.data) is plain
        assert run.data.num_classes == 1000
        return "".join(record.getMessage() for record in caplog.records if record.name == "alignmixup.runs.checkpoint")

    assert load("torchvision:resnet18", size=224, crop=0.875) == ""
    said = load("timm:vit_tiny_patch16_224.augreg_in21k_ft_in1k", size=200)
    assert said.endswith(
        "was published for --mean 0.5,0.5,0.5 --std 0.5,0.5,0.5 --size 224 --crop 0.9; it sees another mean and std "
        "and size and crop here"
    )
