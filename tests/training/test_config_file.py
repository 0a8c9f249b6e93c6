"""Files and overrides: what is understood is used as written, everything else is an error."""

import re
import tomllib
from dataclasses import fields
from pathlib import Path

import pytest

from alignmixup.training.bundled import bundled_folder, bundled_names
from alignmixup.training.config import TABLES, Config, MethodConfig, to_dict
from alignmixup.training.config_file import ConfigError, dump, find, from_dict, load
from alignmixup.training.overrides import agreed, override_value

BAD_OVERRIDES = [
    ("optimizer.lrr=1", "unknown key optimizer.lrr; did you mean optimizer.lr?"),
    ("optimizer.epochs=3", "unknown key optimizer.epochs; did you mean train.epochs?"),
    ("trian.epochs=3", "unknown table 'trian'; did you mean train?"),
    ("epochs=3", "expected table.key=value"),
    ("optimizer.lr", "expected table.key=value"),
    ("optimizer.lr=-1", "optimizer.lr must be > 0, got -1"),
    ("optimizer.lr=fast", "optimizer.lr must be a number, got 'fast'"),
    ("train.compile=yes", "train.compile must be true or false, got 'yes'"),
    ("schedule.milestones=[1", "'[1' is not a TOML value; a list looks like [1, 2]"),
    ("schedule.warmup_epochs=99", "schedule.warmup_epochs must be <= train.epochs = 20, got 99"),
]

BAD_FILES = [
    ("[optimizer]\nlrr = 0.1", "unknown key optimizer.lrr; did you mean optimizer.lr?"),
    ("[optimizr]\nlr = 0.1", "unknown table [optimizr]; did you mean optimizer?"),
    ("optimizer = 3", "optimizer must be a table"),
    ("[optimizer]\nlr = '0.1'", "optimizer.lr must be a number, got '0.1'"),
    ("[optimizer]\nlr = 0.1\nlr = 0.2", "is not valid TOML"),
    ("[optimizer\nlr = 0.1", "is not valid TOML"),
    ("[train]\nepochs = 2\n[schedule]\nwarmup_epochs = 3", "schedule.warmup_epochs must be <= train.epochs = 2, got 3"),
]


@pytest.mark.parametrize(("text", "message"), BAD_OVERRIDES)
def test_bad_overrides_name_themselves(text: str, message: str) -> None:
    with pytest.raises(ConfigError, match=re.escape(message)) as caught:
        load("digits/baseline", [text])
    assert text.partition("=")[0] in str(caught.value)


@pytest.mark.parametrize(("text", "message"), BAD_FILES)
def test_bad_files_are_named(tmp_path: Path, text: str, message: str) -> None:
    file = tmp_path / "run.toml"
    file.write_text(text)
    with pytest.raises(ConfigError, match=re.escape(message)) as caught:
        load(file)
    assert str(file) in str(caught.value)


def test_bytes_that_are_no_text_are_refused(tmp_path: Path) -> None:
    file = tmp_path / "run.toml"
    file.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ConfigError, match="is not valid TOML"):
        load(file)


def test_missing_file_names_near_bundled_ones() -> None:
    with pytest.raises(FileNotFoundError, match=r"did you mean .*digits/cutmix"):
        find("digits/cutmx")


def test_a_folder_is_no_configuration(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="is a folder"):
        find(tmp_path)


def test_overrides_are_used_as_written() -> None:
    config = load(
        "digits/baseline",
        [
            "optimizer.lr=0.5",
            "schedule.milestones=[3, 5]",
            "data.root=my data",
            "train.device=cpu",
            'data.augment="none"',
        ],
    )
    assert config.optimizer.lr == 0.5
    assert config.schedule.milestones == (3, 5)
    assert (config.data.root, config.train.device, config.data.augment) == ("my data", "cpu", "none")


def test_a_text_may_look_like_a_number() -> None:
    assert load("digits/baseline", ["data.root=2024"]).data.root == "2024"


def test_method_options_pass_through() -> None:
    assert load("digits/cutmix", ["method.alpha=0.3"]).method.options == {"alpha": 0.3, "probability": 0.5}


def test_another_method_drops_the_options_of_the_first() -> None:
    assert load("digits/alignmixup", ["method.name=mixup", "method.alpha=0.3"]).method == MethodConfig(
        name="mixup", options={"alpha": 0.3}
    )


def test_dump_reads_back() -> None:
    config = load("digits/switch", ["method.mixers=['mixup', {name = 'cutmix', alpha = 0.2}]", 'data.root="a\\"b"'])
    assert from_dict(tomllib.loads(dump(config)), source="dump") == config


def test_bundled_configurations_load_and_leave_nothing_to_the_defaults() -> None:
    wrong = {}
    for name in bundled_names():
        config = load(name)
        data, *_, method = name.split("/")
        given = _given(name)
        missing = {
            f"{table}.{item.name}"
            for table, cls in TABLES.items()
            for item in fields(cls)
            if item.name != "options" and f"{table}.{item.name}" not in given
        }
        if missing or (config.data.name, config.method.name) != (data, method):
            wrong[name] = missing or f"is of {config.data.name} and {config.method.name}"
    assert wrong == {}
    assert len(bundled_names()) >= 142


def _given(name: str) -> set[str]:
    """Keys that the file and those it builds on give."""
    tables = tomllib.loads((bundled_folder() / f"{name}.toml").read_text(encoding="utf-8"))
    bases = tables.pop("base", [])
    own = {f"{table}.{key}" for table, values in tables.items() for key in values}
    return own.union(*map(_given, [bases] if isinstance(bases, str) else bases))


def test_every_data_set_has_the_main_methods() -> None:
    main = ("baseline", "mixup", "manifold_mixup", "cutmix", "alignmixup")
    wanted = {f"{data}/{name}" for data in ("digits", "cifar10", "cifar100", "tiny-imagenet") for name in main}
    assert wanted <= set(bundled_names())


def test_published_alignmixup_recipe() -> None:
    config = load("cifar100/alignmixup")
    assert (config.train.epochs, config.train.batch_size, config.schedule.milestones) == (2000, 128, (500, 1000, 1500))
    assert (config.optimizer.lr, config.optimizer.weight_decay, config.optimizer.nesterov) == (0.1, 1e-4, False)
    assert (config.method.options["alpha"], config.method.options["epsilon"]) == (2.0, 0.1)


@pytest.mark.parametrize(
    "value",
    [
        *(1, 0.5, True, "", "a b", "blocks.4", "4", "true", "inf", "1e5", "1979-05-27", "'q'", "[x", " a ", "1 # b"),
        *(["0", "1"], [1, 2], ["mixup", {"name": "cutmix", "alpha": 0.5}]),
    ],
)
def test_a_value_is_written_as_it_is_read_back(value) -> None:
    config = load("digits/mixup", [f"method.any={override_value(value)}"])
    assert config.method.options["any"] == value
    assert type(config.method.options["any"]) is type(value)


def test_two_ways_of_writing_a_path_agree(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for told in ("photos", "photos/", "./photos", f'"{tmp_path}/photos"'):
        texts = agreed([f"data.root={told}"], {"data.root": ("--data photos", "photos")})
        assert load("digits/mixup", texts).data.root == "photos"
    with pytest.raises(ConfigError, match=r"--data photos and --set data\.root=photos2 disagree: leave"):
        agreed(["data.root=photos2"], {"data.root": ("--data photos", "photos")})


def test_paths_in_files_and_overrides_may_begin_at_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    file, keys = tmp_path / "mine.toml", ["data.root", "model.weights", "method.autoencoder"]
    (tmp_path / "base.toml").write_text('[data]\nroot = "~/a"\n[model]\nweights = "~/a"\n')
    file.write_text('base = "base.toml"\n[method]\nname = "stylemix"\nautoencoder = "~/a"\n')
    for overrides in ([], [f"{key}=~/a" for key in keys]):
        tables = to_dict(load(file, overrides))
        assert [tables[key.split(".")[0]][key.split(".")[1]] for key in keys] == [str(tmp_path / "a")] * 3
    assert load(file, ["data.augment=~/a"]).data.augment == "~/a"


def test_defaults_of_the_classes_are_valid() -> None:
    assert from_dict({}, source="nothing") == Config()
