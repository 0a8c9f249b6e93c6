"""A file says what is its own and takes the rest by name: what wins, what is refused, and which file is named."""

import re
import tomllib
from pathlib import Path

import pytest

from alignmixup.cli import main
from alignmixup.training.bundled import bundled_folder, bundled_names
from alignmixup.training.config import Config, MethodConfig, OptimizerConfig, TrainConfig
from alignmixup.training.config_file import ConfigError, dump, find, load

COMPLETE = Path(__file__).with_name("complete.toml")  # digits/cutmix before there were bases


def write(folder: Path, **texts: str) -> Path:
    """Files ``name.toml``; the last one is returned."""
    for name, text in texts.items():
        file = folder / f"{name}.toml"
        file.write_text(text)
    return file


def test_a_complete_file_of_before_gives_the_same_as_the_bundled_one_of_now() -> None:
    assert load(COMPLETE) == load("digits/cutmix")


def test_what_is_dumped_is_complete_and_needs_no_base(tmp_path: Path) -> None:
    file = write(tmp_path, mine='base = "cifar100/small/comixup"\n[train]\nseed = 7')
    text = dump(load(file))
    assert "base" not in tomllib.loads(text)
    assert load(write(tmp_path, again=text)) == load(file) == load("cifar100/small/comixup", ["train.seed=7"])


def test_own_values_win_over_the_base_and_the_rest_is_the_base_s(tmp_path: Path) -> None:
    file = write(tmp_path, mine='base = "digits/cutmix"\n[method]\nalpha = 0.3\n[schedule]\nmilestones = [3]')
    assert load(file) == load("digits/cutmix", ["method.alpha=0.3", "schedule.milestones=[3]"])


def test_of_several_bases_later_ones_win(tmp_path: Path) -> None:
    texts = {"a": "[train]\nepochs = 3\nseed = 1\n[optimizer]\nlr = 0.2", "b": "[train]\nepochs = 4\nthreads = 2"}
    ab = write(tmp_path, **texts, ab='base = ["a.toml", "b.toml"]')
    ba = write(tmp_path, **texts, ba='base = ["b.toml", "a.toml"]')
    assert load(ab) == Config(train=TrainConfig(epochs=4, seed=1, threads=2), optimizer=OptimizerConfig(lr=0.2))
    assert load(ba).train == TrainConfig(epochs=3, seed=1, threads=2)


def test_a_base_counts_as_what_it_means_by_itself(tmp_path: Path) -> None:
    """The second one's own base does not undo what the first says of the method that both name in the end."""
    file = write(
        tmp_path,
        first='[method]\nname = "mixup"\nalpha = 0.3',
        second='base = "digits/cutmix"\n[method]\nname = "mixup"\nlam_per = "pair"',
        both='base = ["first.toml", "second.toml"]',
    )
    assert load(file).method == MethodConfig("mixup", {"alpha": 0.3, "lam_per": "pair"})


@pytest.mark.parametrize(
    ("own", "expected"),
    [
        ('name = "mixup"', {}),
        ('name = "mixup"\nalpha = 0.3', {"alpha": 0.3}),
        ('name = "cutmix"', {"alpha": 1.0, "probability": 0.5}),
        ("alpha = 0.3", {"alpha": 0.3, "probability": 0.5}),
    ],
)
def test_another_method_drops_the_options_of_the_first(tmp_path: Path, own: str, expected: dict[str, float]) -> None:
    file = write(tmp_path, mine=f'base = "digits/cutmix"\n[method]\n{own}')
    assert load(file).method.options == expected


def test_files_are_relative_to_the_one_that_names_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "below").mkdir()
    write(tmp_path, common="[train]\nseed = 5")
    file = write(tmp_path / "below", mine='base = "../common.toml"')
    monkeypatch.chdir(tmp_path / "below")
    assert load("mine.toml").train.seed == load(file).train.seed == 5


def test_one_base_may_be_reached_twice(tmp_path: Path) -> None:
    file = write(
        tmp_path,
        root="[train]\nseed = 5",
        left='base = "root.toml"\n[train]\nepochs = 3',
        right='base = "root.toml"\n[train]\nthreads = 2',
        mine='base = ["left.toml", "right.toml"]',
    )
    assert load(file).train == TrainConfig(seed=5, epochs=3, threads=2)


REFUSED = [
    ({"mine": 'base = "mine.toml"'}, "mine", "base goes in a circle: {mine} -> {mine}"),
    (
        {"b": 'base = "c.toml"', "c": 'base = ["digits/cutmix", "b.toml"]', "mine": 'base = "b.toml"'},
        "mine",
        "base goes in a circle: {mine} -> {b} -> {c} -> {b}",
    ),
    ({"mine": 'base = "digits/cutmx"'}, "mine", "did you mean digits/cutmix"),
    ({"mine": 'base = "digits/cutmix.toml"'}, "mine", "a bundled one has no .toml: did you mean digits/cutmix"),
    ({"mine": 'base = "other.toml"'}, "mine", "base 'other.toml': there is no "),
    ({"b": 'base = "nothing"', "mine": 'base = "b.toml"'}, "b", "base 'nothing' is no bundled configuration"),
    ({"mine": "base = 3"}, "mine", "base must be a name such as"),
    ({"mine": 'base = ["digits/cutmix", 3]'}, "mine", "or a list of names, got ['digits/cutmix', 3]"),
    ({"mine": '[base]\nname = "digits/cutmix"'}, "mine", "base must be a name such as"),
    (
        {"mine": '[train]\nbase = "digits/cutmix"'},
        "mine",
        "train.base; base stands above the first [table]",
    ),
    (
        {"b": "[train]\nepoch = 3", "mine": 'base = "b.toml"'},
        "b",
        "train.epoch; did you mean train.epochs?",
    ),
    ({"b": "[trian]", "mine": 'base = "b.toml"'}, "b", "unknown table [trian]; did you mean train?"),
    ({"b": "train = 3", "mine": 'base = "b.toml"'}, "b", "train must be a table"),
    ({"b": "train = [", "mine": 'base = "b.toml"'}, "b", "is not valid TOML"),
    # a value is refused in the name of the file that brings it in, together or alone
    ({"b": "[optimizer]\nlr = -1", "mine": 'base = ["digits/cutmix", "b.toml"]'}, "b", "optimizer.lr must be > 0"),
    ({"b": "", "mine": 'base = "b.toml"\n[optimizer]\nlr = "x"'}, "mine", "optimizer.lr must be a number, got 'x'"),
    ({"b": "[schedule]\nmilestones = []", "mine": 'base = "b.toml"\n[schedule]\nname = "step"'}, "mine", "step"),
]


@pytest.mark.parametrize(("texts", "named", "message"), REFUSED)
def test_what_is_refused_names_the_file(tmp_path: Path, texts: dict[str, str], named: str, message: str) -> None:
    file = write(tmp_path, **texts)
    paths = {name: tmp_path / f"{name}.toml" for name in texts}
    with pytest.raises(ConfigError, match=re.escape(message.format(**paths))) as caught:
        load(file)
    assert str(caught.value).startswith(str(paths[named]))


def test_a_base_may_be_completed_by_what_builds_on_it(tmp_path: Path) -> None:
    file = write(tmp_path, b='[schedule]\nname = "step"', mine='base = "b.toml"\n[schedule]\nmilestones = [5]')
    assert load(file).schedule.milestones == (5,)


def test_parts_are_no_configurations_and_can_be_built_on(tmp_path: Path) -> None:
    assert not any("_recipe" in name or "_methods" in name for name in bundled_names())
    with pytest.raises(FileNotFoundError, match="no configuration file digits/_recipe"):
        find("digits/_recipe")
    file = write(tmp_path, mine='base = "digits/_recipe"\n[method]\nname = "baseline"')
    assert load(file) == load("digits/baseline")


def test_every_part_is_used() -> None:
    folder = bundled_folder()
    named = set()
    for file in folder.rglob("*.toml"):
        bases = tomllib.loads(file.read_text(encoding="utf-8")).get("base", [])
        named |= {bases} if isinstance(bases, str) else set(bases)
    parts = {file.relative_to(folder).with_suffix("").as_posix() for file in folder.rglob("*.toml")}
    assert parts - set(bundled_names()) - named == set()


def test_the_command_line_takes_a_file_with_a_base(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], curves_once: None
) -> None:
    file = write(tmp_path, mine='base = "digits/cutmix"\n[data]\nsubset = 4\n[train]\nepochs = 1')
    run = tmp_path / "run"
    assert main(["train", "--config", str(file), "--out", str(run)]) == 0
    assert load(run / "config.toml") == load(file)
    assert set(tomllib.loads((run / "config.toml").read_text(encoding="utf-8"))) == set(
        tomllib.loads(COMPLETE.read_text(encoding="utf-8"))
    )
    write(tmp_path, mine='base = "digits/cutmx"')
    assert main(["train", "--config", str(file), "--out", str(tmp_path / "other")]) == 1
    assert "did you mean digits/cutmix" in capsys.readouterr().err
