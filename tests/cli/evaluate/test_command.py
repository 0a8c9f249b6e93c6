"""``alignmixup evaluate``."""

import json
import shutil
from pathlib import Path

import pytest

from alignmixup.cli import main
from alignmixup.runs import evaluation
from alignmixup.runs.options.evaluation import PARTS
from alignmixup.training.build import load_data
from alignmixup.training.config_file import load

SMALL = ["train.epochs=1", "data.subset=6", "model.width=4", "model.strides=[2,2,1,1]", "train.device=cpu"]
QUICK = ["--limit", "30", "--check-images", "20", "--attack", "fgsm", "--attack", "pgd:iterations=3"]


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """Two runs of mixup and one of the baseline on a few digits."""
    folder = tmp_path_factory.mktemp("runs")
    for name, method, seed in (("m0", "mixup", 0), ("m1", "mixup", 1), ("b0", "baseline", 0)):
        command = ["train", "--config", f"digits/{method}", "--out", str(folder / name)]
        assert main([*command, "--set", *SMALL, f"train.seed={seed}"]) == 0
    return folder


@pytest.fixture
def runs(trained, tmp_path, monkeypatch):
    """A copy of these runs, in the working directory."""
    shutil.copytree(trained, tmp_path / "runs")
    monkeypatch.chdir(tmp_path)
    return Path("runs")


def read(path):
    return json.loads(Path(path).read_text(encoding="utf-8"))


def test_agrees_with_the_record_of_the_run(small, capsys):
    assert main(["train", "--config", "digits/mixup", *small, "train.ema_decay=0.5", "--out", "run"]) == 0
    capsys.readouterr()
    assert main(["evaluate", "run", "--set", "evaluation.batch_size=100"]) == 0
    assert "898 test images" in capsys.readouterr().out
    result, metrics = read("run/evaluation.json"), read("run/record.json")["metrics"]
    assert result["error_percent"] == pytest.approx(metrics["last_error_percent"])
    assert result["cross_entropy"] == pytest.approx(metrics["last_cross_entropy"], rel=1e-5)
    assert result["recorded"]["best_error_percent"] == metrics["best_error_percent"]
    assert result["recorded"]["last10_error_percent"] == pytest.approx(metrics["last10_error_percent"])
    assert result["calibration"]["accuracy_percent"] == pytest.approx(100 - result["error_percent"])
    assert Path("run/evaluation-calibration.png").read_bytes().startswith(b"\x89PNG")
    assert main(["evaluate", "run", "--weights", "raw", "--out", "raw.json"]) == 0
    raw = read("raw.json")
    assert raw["weights"] == "model_raw.safetensors"
    assert raw["cross_entropy"] != result["cross_entropy"]


def test_everything_about_one_run(runs, capsys):
    options = [*QUICK, "--what", "all", "--corruptions", "contrast,gaussian_noise", "--severities", "1,5"]
    assert main(["evaluate", "runs/m0", *options, "--baseline", "runs/m0", "--out", "found"]) == 0
    result = read("found/evaluation.json")
    assert [attack["label"] for attack in result["attacks"]["attacks"]] == ["fgsm 8/255", "pgd 4/255, 3 x 2/255"]
    assert result["attacks"]["images"] == 30
    assert all(len(attack["path_error_percent"]) > 1 for attack in result["attacks"]["attacks"])
    assert result["attacks"]["checks"]["images"] == 20
    assert list(result["ood"]["sets"]) == ["uniform", "gaussian"]
    assert result["ood"]["sets"]["uniform"]["in_images"] == 30
    assert list(result["corruptions"]["error_percent"]) == ["contrast", "gaussian_noise"]
    assert result["corruptions"]["mce"]["mce_percent"] == pytest.approx(100)
    assert set(result["conventions"]) == {"error", "weights", *PARTS} - {"ood"}
    out = capsys.readouterr().out
    for text in ("fgsm 8/255 error %", "ECE %", "OOD AUROC %", "mCE %", "checks of pgd 4/255"):
        assert text in out
    for part in PARTS[1:]:
        assert Path(f"found/evaluation-{part}.png").is_file()
        assert f"found/evaluation-{part}.png" in out


def test_several_runs_end_in_one_table_and_are_measured_once(runs, capsys, monkeypatch):
    command = ["evaluate", "runs/m0", "runs/m1", "runs/b0"]
    assert main(command) == 0
    table, summary = capsys.readouterr().out, read("runs/evaluation.json")
    assert "mixup (2 seeds)" in table
    assert "±" in table
    mixup, baseline = summary["methods"]
    assert (mixup["seeds"], baseline["seeds"]) == ([0, 1], [0])
    errors = [read(f"runs/{name}/evaluation.json")["error_percent"] for name in ("m0", "m1")]
    assert mixup["mean"]["error_percent"] == pytest.approx(sum(errors) / 2)
    assert baseline["spread"]["error_percent"] is None
    assert "ece_percent" in mixup["mean"]

    def forbidden(*_, **__):
        raise AssertionError("measured again")

    with monkeypatch.context() as patch:
        patch.setattr(evaluation, "_measure", forbidden)
        assert main(command) == 0
        assert capsys.readouterr().out.count("has it already") == 3
        assert main([*command, "--bins", "10"]) == 1
        assert "holds calibration with bins = 15, not 10: --overwrite" in capsys.readouterr().err
        with pytest.raises(AssertionError, match="measured again"):
            main([*command, "--overwrite"])
    shutil.copy("runs/m0/model.safetensors", "runs/m1/model.safetensors")  # other weights are another question
    record = read("runs/m1/record.json")  # as of an older version, which did not know its weights
    del record["weights_sha256"], record["sha256_of_the_rest"]
    Path("runs/m1/record.json").write_text(json.dumps(record), encoding="utf-8")
    assert main(command) == 1
    assert "runs/m1/evaluation.json holds an evaluation of other weights" in capsys.readouterr().err
    assert main([*command, "--overwrite"]) == 0
    assert read("runs/evaluation.json")["methods"][0]["spread"]["error_percent"] == 0


def test_a_baseline_that_was_evaluated_before(runs, capsys):
    options = ["--corruptions", "contrast", "--severities", "5", "--limit", "40"]
    assert main(["evaluate", "runs/m0", *options, "--baseline", "runs/b0"]) == 1
    assert "no errors under corruptions in runs/b0/evaluation.json; evaluate it first" in capsys.readouterr().err
    assert main(["evaluate", "runs/b0", *options]) == 0
    assert main(["evaluate", "runs/m0", *options, "--baseline", "runs/b0"]) == 0
    own, other = (read(f"runs/{name}/evaluation.json")["corruptions"] for name in ("m0", "b0"))
    ratio = own["error_percent"]["contrast"][0] / other["error_percent"]["contrast"][0]
    assert own["mce"]["mce_percent"] == pytest.approx(100 * ratio)


def test_a_model_by_name_with_a_checkpoint(runs, capsys):
    config = load("runs/m0/config.toml")
    model = [f"model.{key}={json.dumps(value)}" for key, value in config.model.options.items()]
    command = ["evaluate", "preact_resnet18", "--data", "digits", "--set", *model, "train.device=cpu"]
    assert main([*command, "--checkpoint", "runs/m0/model.safetensors", "--out", "model.json"]) == 0
    assert main(["evaluate", "runs/m0"]) == 0
    by_name, run = read("model.json"), read("runs/m0/evaluation.json")
    assert by_name["error_percent"] == run["error_percent"]
    assert by_name["calibration"] == run["calibration"]
    assert (by_name["method"], by_name["seed"], by_name["recorded"]) == ("preact_resnet18", None, None)


def test_bad_input(small, capsys):
    assert main(["evaluate", "nowhere"]) == 1
    assert "nowhere is no run folder: it has no config.toml" in capsys.readouterr().err
    assert main(["train", "--config", "digits/mixup", *small, "--out", "run"]) == 0
    Path("named-seed0").mkdir()
    Path("named-seed0/config.toml").touch()
    assert main(["evaluate", "named"]) == 1
    assert "did you mean named-seed0?" in capsys.readouterr().err
    assert main(["evaluate", "run", "--set", "model.width=8"]) == 1
    assert "an evaluation can change data.root" in capsys.readouterr().err
    assert main(["evaluate", "run", "--weights", "raw"]) == 1
    assert "no weights at run/model_raw.safetensors" in capsys.readouterr().err
    for arguments, message in (
        (["run", "run/"], "run is given twice"),
        (["run", "--what", "calibraton"], "--what: unknown part 'calibraton'; did you mean calibration?"),
        (["run", "--attack", "pdg"], "unknown attack 'pdg'; did you mean pgd?"),
        (["run", "--ood", "digits"], "digits is the in-distribution set itself"),
        (["run", "preact_resnet18", "--checkpoint", "x.pth"], "--checkpoint is for one network"),
    ):
        assert main(["evaluate", *arguments]) == 1
        assert message in capsys.readouterr().err
    Path("run/model.safetensors").write_bytes(b"garbled")
    assert main(["evaluate", "run"]) == 1
    assert "run/model.safetensors is not the file that its run wrote" in capsys.readouterr().err


def test_one_process_only(runs, capsys, monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "2")
    assert main(["evaluate", "runs/m0"]) == 1
    assert "start it without torchrun" in capsys.readouterr().err


def test_runs_of_several_folders_need_a_place_for_their_table(runs, capsys):
    shutil.move("runs/b0", "elsewhere")
    assert main(["evaluate", "runs/m0", "elsewhere"]) == 1
    assert "say with --out where their table goes" in capsys.readouterr().err
    assert main(["evaluate", "runs/m0", "elsewhere", "--what", "error", "--out", "table"]) == 0
    assert len(read("table/evaluation.json")["runs"]) == 2


def test_the_slow_parts_take_the_same_images_of_every_class(runs):
    labels = load_data(load("runs/m0/config.toml")).test.labels
    from alignmixup.data.splits import hold_out

    chosen = hold_out(labels, 30, seed=0)[1]
    assert labels[chosen].bincount().tolist() == [3] * 10
