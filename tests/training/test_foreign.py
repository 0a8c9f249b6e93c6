"""Opening somebody's run reads and computes; it imports, fetches and sends on request alone."""

import re
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from alignmixup import methods, models, runs
from alignmixup.cli import main
from alignmixup.training import checkpoint
from alignmixup.training.build import check_fits, load_data
from alignmixup.training.bundled import bundled_names
from alignmixup.training.config import TABLES, Config
from alignmixup.training.config_file import ConfigError, load
from alignmixup.training.foreign import LOWERED, REACHING, only_read, outside_names, trained_on

MakeConfig = Callable[..., Config]

# they choose what is computed, its memory and its time, and nothing else
COMPUTING = {
    *(f"data.{key}" for key in ("name", "image_size", "subset", "imbalance", "validation", "augment")),
    *("data.normalization", "data.test_split", "data.workers", "optimizer.name", "optimizer.lr"),
    *(f"optimizer.{key}" for key in ("freeze", "momentum", "nesterov", "beta1", "beta2", "weight_decay")),
    *("optimizer.decay_norm_and_bias", "evaluation.batch_size", "evaluation.every", "method.alpha_end"),
    *(f"schedule.{key}" for key in ("name", "milestones", "factor", "final_factor", "warmup_epochs", "update")),
    *(f"train.{key}" for key in ("epochs", "batch_size", "drop_last", "accumulation", "loss", "clip_norm")),
    *(f"train.{key}" for key in ("ema_decay", "seed", "device", "threads", "precision", "channels_last", "compile")),
    *(f"train.{key}" for key in ("compile_mode", "checkpoint_every", "checkpoint_minutes")),
    *(f"model.{key}" for key in ("variant", "width", "stem_stride", "strides", "final_norm", "in_channels", "blocks")),
    *(f"model.{key}" for key in ("convolutions", "pools", "small_stem", "image_size", "patch_size", "transform_input")),
    *(f"method.{key}" for key in ("alpha", "layer", "layer_probabilities", "input_probability", "keep", "layout")),
    *(f"method.{key}" for key in ("carry_test", "lam_per", "epsilon", "iterations", "tolerance", "solver")),
    *(f"method.{key}" for key in ("normalize_cost", "max_positions", "probability", "active_epochs")),
    *(f"method.{key}" for key in ("label_smoothing", "multi_label", "clean_share", "reconstruct_aligned")),
    *(f"method.{key}" for key in ("reconstruction_weight", "reconstruction_loss", "decoder_layer", "decoder_width")),
    *(f"method.{key}" for key in ("detach_features", "group", "blocks", "clean_lam", "clean_scale", "peak_window")),
    *(f"method.{key}" for key in ("peak_stride", "beta", "gamma", "eta", "tau", "omega", "rounds", "set_resolve")),
    *(f"method.{key}" for key in ("threshold", "variant", "safeguard", "tries", "transport", "transport_size")),
    *(f"method.{key}" for key in ("cost_weight", "adversarial_probability", "adversarial_epsilon", "neighbourhood")),
    *(f"method.{key}" for key in ("labels", "least_side", "largest_side", "saliency", "box_per", "gamma_alpha")),
    *(f"method.{key}" for key in ("delta", "same_class_distance", "content_share", "probabilities")),
    *(f"method.{key}" for key in ("decay", "softness", "grid", "least_sigma", "largest_sigma", "shape", "share")),
    *("optimizer.head_lr_factor", "optimizer.layer_decay", "method.attention_share", "method.patch"),
    *(f"method.{key}" for key in ("class_counts", "examples", "kappa", "mixtures", "aligned")),
}


def replace_model(config: Config, name: str, options: list[str]) -> Config:
    chosen = {text.partition("=")[0].removeprefix("model."): int(text.partition("=")[2]) for text in options}
    return replace(config, model=replace(config.model, name=name, options=chosen))


def all_keys() -> set[str]:
    keys = {f"{table}.{key}" for table, kind in TABLES.items() for key in kind.__dataclass_fields__}
    named = [name.replace("NAME", "resnet18") for name in models.available()]
    keys |= {f"model.{key}" for name in named for key in models.options(name)}
    keys |= {f"method.{key}" for name in methods.available() for key in methods.options(name)}
    return keys - {"model.options", "method.options"}


def test_what_every_key_of_a_configuration_may_do_is_known() -> None:
    keys = all_keys()
    assert set(REACHING) <= keys
    unknown = keys - set(REACHING) - COMPUTING
    assert not unknown, f"say in REACHING or COMPUTING what a stranger may do with {sorted(unknown)}"
    assert not set(REACHING) & COMPUTING


@pytest.mark.parametrize(
    "override",
    [
        "model.name=planted:net",
        "method.name=planted:Mixer",
        'method.mixers=["mixup", "planted:Mixer"]',
        'method.mixers=["mixup", {name = "pack.planted:Mixer", alpha = 1}]',
    ],
)
def test_code_is_found_wherever_it_is_named(override: str) -> None:
    base = "digits/switch" if "mixers" in override else "digits/mixup"
    config = load(base, [override])
    key, name = outside_names(config)[0]
    assert override.startswith(key)
    assert name in override
    with pytest.raises(ConfigError, match=rf"somebody's run has {key} = .* --trust"):
        only_read(config, "somebody's run")


@pytest.mark.parametrize(
    "text", ["C:/weights.pth", "C:\\weights.pth", "a: b", "mixup", "patches:2", "torchvision:resnet18"]
)
def test_what_is_no_name_of_code_is_none(tiny_config: MakeConfig, text: str) -> None:
    config = load("digits/switch", [f"method.mixers=['{text}']"])
    assert outside_names(config) == []


def test_opening_a_run_fetches_nothing_unless_the_user_says_so(tiny_config: MakeConfig) -> None:
    config = tiny_config("data.download=true")
    assert only_read(config, "x").data.download is False
    assert only_read(config, "x", [" data.download = true"]).data.download is True
    assert trained_on(config, Path("x")).data.download is False


def test_training_on_sends_nothing_unless_the_user_says_so(tiny_config: MakeConfig, tmp_path: Path) -> None:
    sent = 'train.trackers=["wandb"]'
    with pytest.raises(ConfigError, match=r'trackers = \["wandb"\], which sends .* --trust, or .*train.trackers=\[\]'):
        trained_on(tiny_config(sent), tmp_path)
    assert trained_on(tiny_config(sent), tmp_path, [sent]).train.trackers == ("wandb",)
    local = tiny_config('train.trackers=["tensorboard"]')
    assert trained_on(local, tmp_path) == local
    (tmp_path / "tensorboard").symlink_to("/tmp")
    with pytest.raises(ConfigError, match="is a link out of the run folder"):
        trained_on(local, tmp_path)


def test_training_on_fetches_no_weights(tmp_path: Path) -> None:
    config = load("digits/mixup", ["model.name=vgg16_gap", "model.pretrained=true"])
    with pytest.raises(ConfigError, match=r"has no checkpoint yet and model\.pretrained = true"):
        trained_on(config, tmp_path)
    (tmp_path / "checkpoint.pt").touch()
    assert trained_on(config, tmp_path) == config


def test_a_run_with_weights_of_its_own_reads_no_others(
    tiny_config: MakeConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "run"
    small = ["data.subset=2", "train.epochs=1", "train.device=cpu", "model.width=2", "model.pools=2"]
    runs.train(replace_model(load("digits/mixup", small[:3]), "vgg16_gap", small[3:]), folder)
    text = (folder / "config.toml").read_text(encoding="utf-8")
    (folder / "config.toml").write_text(
        re.sub(r"\[model\]\n", f'[model]\npretrained = true\nweights = "{tmp_path}/nowhere.pth"\n', text)
    )

    def fetched(*_: object, **__: object) -> None:
        raise AssertionError("fetched")

    monkeypatch.setattr(torch.hub, "load_state_dict_from_url", fetched)
    (folder / "record.json").unlink()
    assert runs.load(folder).model is not None


@pytest.mark.parametrize("name", ["googlenet", "inception_v3"])
def test_what_published_weights_change_in_a_network_stays_without_them(name: str) -> None:
    options = models.without_start(f"torchvision:{name}", {"pretrained": True, "weights": "x.pth"})
    assert options == {"transform_input": True}
    if name == "googlenet":
        assert models.build("torchvision:googlenet", num_classes=2, options=options).transform_input is True
    with pytest.raises(ValueError, match="transform_input is of torchvision:googlenet and"):
        models.build("torchvision:resnet18", num_classes=2, options=options)
    assert models.without_start("planted:net", {"pretrained": True}) == {"pretrained": True}


def test_a_planted_mixer_of_a_switch_never_runs(
    tiny_config: MakeConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    runs.train(tiny_config("train.epochs=1", base="digits/switch"), "run")
    Path("planted.py").write_text("open('ran', 'w').close()\n", encoding="utf-8")
    text = Path("run/config.toml").read_text(encoding="utf-8")
    Path("run/config.toml").write_text(re.sub(r"mixers = \[.*", 'mixers = ["planted:Mixer"]', text), encoding="utf-8")
    shutil.copytree("run", "other")
    for command in (["evaluate", "run"], ["gallery", "run"], ["train", "--resume", "--out", "other"]):
        assert main(command) == 1
    assert not Path("ran").exists()


@pytest.mark.parametrize(
    "override",
    [
        "data.image_size=100000",
        "train.batch_size=10000000",
        "train.accumulation=10000000",
        "model.width=100000",
        "model.strides=[1, 1, 1, 100000]",
        "method.iterations=1000000000",
    ],
)
def test_a_number_that_would_exhaust_the_machine_is_the_users_own_or_refused(override: str) -> None:
    config = load("digits/alignmixup", [override])
    key, number = override.split("=", maxsplit=1)[0], re.findall(r"\d+", override)[-1]
    for opened in (only_read, lambda config, _, own=(): trained_on(config, Path("run"), own)):
        with pytest.raises(ConfigError, match=rf"has {key} = {number}, which may exhaust this machine .* --trust"):
            opened(config, "somebody's run")
        assert opened(config, "somebody's run", [override]) == config


def test_what_changes_no_number_is_lowered_to_what_a_machine_has() -> None:
    asked = ["data.workers=100000", "evaluation.batch_size=100000000"]
    config = load("digits/alignmixup", asked)
    found = only_read(config, "somebody's run")
    assert (found.data.workers, found.evaluation.batch_size) == (LOWERED["data.workers"], 4096)
    assert only_read(config, "somebody's run", asked) == config


def test_no_bundled_configuration_asks_for_too_much() -> None:
    for name in bundled_names():
        config = load(name)
        assert only_read(config, name) == replace(config, data=replace(config.data, download=False)), name


def test_a_network_that_the_weights_do_not_fit_takes_no_memory(
    tiny_config: MakeConfig, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Of the largest network that may be named, one layer would need 20 TB."""
    runs.train(tiny_config("train.epochs=1"), tmp_path / "run")
    config, record = tmp_path / "run" / "config.toml", tmp_path / "run" / "record.json"
    config.write_text(re.sub(r"width = \d+", "width = 16384", config.read_text(encoding="utf-8")))
    record.unlink()
    for command in (["evaluate", str(tmp_path / "run")], ["align", str(tmp_path / "run")]):
        assert main(command) == 1
        assert "does not fit the model of its configuration: stem.0.weight is [4" in capsys.readouterr().err
    large = load(str(config))
    found = checkpoint.load(tmp_path / "run" / "checkpoint.pt")
    with pytest.raises(ValueError, match=r"is \[4, 1, 3, 3\] there, and \[16384, 1, 3, 3\] in the model"):
        check_fits(large, load_data(large), found["model"], tmp_path)
