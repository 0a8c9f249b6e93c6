"""No option is accepted and ignored: each acts wherever its command runs, or is refused where it would not.

Every option stands in `OPTIONS`, with command lines in which it would do nothing or is contradicted.
"""

from collections.abc import Iterator
from pathlib import Path

import pytest

from alignmixup.cli import build_parser, main
from alignmixup.cli.parser import commands_of, options_of_parser

Lines = tuple[str, ...]
ACTS: Lines = ()  # it acts wherever the command runs, or is a permission
MODEL = "preact_resnet18 --data digits --checkpoint w.pth"
OUT = {"--out": ACTS}
FIGURES = {"--figures": ACTS}


def network(command: str) -> dict[str, Lines]:
    """Which network, and what a model by name sees."""
    own = {"export": "export RUN -o x.pt2"}.get(command, f"{command} RUN")
    other = own.replace("RUN", MODEL)
    device = "--device cpu --set train.device=cuda" if command == "export" else "--device cpu --set train.device=mps"
    return {
        "--set": (
            f"{own} --set model.width=8",
            f"{own} --set method.alpha=2",
            f"{other} --set model.name=vgg16_gap",
        ),
        "--checkpoint": (f"{own} --checkpoint w.pth --weights best",),
        "--key": (f"{own} --key model_ema",),
        "--weights": (f"{other} --weights best",),
        "--data": (f"{own} --data cifar10", f"{other} --set data.name=cifar10"),
        "--root": (f"{own} --root images", f"{other} --root images --set data.root=others"),
        "--mean": (f"{own} --mean 0.5 --std 0.2", f"{own} --mean 0.5"),
        "--std": (f"{own} --std 0.2", f"{other} --mean 0.5 --std 0.2 --set data.normalization=half"),
        "--size": (f"{own} --size 16", f"{other} --size 16 --set data.image_size=8"),
        "--crop": (f"{own} --crop 0.5", f"{other} --crop 0.5"),
        "--labels": (f"{own} --labels imagenet",),
        "--outputs": (f"{own} --outputs all",),
        "--device": (f"{own} {device}",),
        "--trust": ACTS,
    }


PAIRS = {"--pairs": ACTS, "--classes": ACTS, "--seed": ACTS, "--epsilon": ACTS, "--iterations": ACTS}
EVALUATION = {
    "--overwrite": ACTS,
    "--what": ACTS,
    "--attack": ACTS,
    "--no-checks": ("evaluate RUN --no-checks", "evaluate RUN --attack pgd --no-checks --check-images 9"),
    "--check-images": ("evaluate RUN --check-images 9 --what corruptions,calibration",),
    "--ood": ACTS,
    "--corruptions": ACTS,
    "--severities": ("evaluate RUN --severities 2", "evaluate RUN --attack pgd --severities 2"),
    "--corruption-folder": ACTS,
    "--baseline": ACTS,
    "--limit": ("evaluate RUN --limit 10", "evaluate RUN --what error --limit 10"),
    "--bins": ("evaluate RUN --what error --bins 5", "evaluate RUN --what ood --bins 5"),
    "--seed": ("evaluate RUN --seed 3",),
    "--batch-size": ACTS,
}
MAPS = "localize --maps MAPS --boxes b.csv"
LOCALIZATION = {
    "--maps": ("localize RUN --maps MAPS", "localize --maps MAPS"),
    "--images": ("localize RUN --images DIR",),
    "--boxes": ACTS,
    "--contours": ACTS,
    "--step": ACTS,
    "--resize": (f"{MAPS} --resize 8",),
    "--cam": (f"{MAPS} --cam cam",),
    "--layer": (f"{MAPS} --layer stage2", "localize RUN --cam cam --layer stage2"),
    "--cutmix-paper": (f"{MAPS} --cutmix-paper",),
    "--limit": (f"{MAPS} --limit 3",),
    "--pictures": (f"{MAPS} --pictures 3",),
    "--maps-out": (f"{MAPS} --maps-out DIR",),
}
TIMED = {"--repeats": ACTS, "--device": ACTS, "--threads": ACTS}
OPTIONS: dict[str, dict[str, Lines]] = {
    "data": {},
    "methods": {},
    "configs": {},
    "completion": {},
    "benchmark": {},
    "train": {
        "--config": ("train --config digits/mixup --data DIR",),
        "--data": ("train --data DIR --set data.root=OTHER", "train --data DIR --set data.name=digits"),
        "--method": ("train --method mixup", "train --data DIR --method mixup --set method.name=cutmix"),
        "--model": (
            "train --model timm:resnet10t",
            "train --data DIR --model timm:resnet10t --set model.name=vgg16_gap",
        ),
        "--weights": (
            "train --weights w.pth",
            "train --data DIR --weights w.pth",
            "train --data DIR --model timm:resnet10t --weights w.pth --set model.weights=v.pth",
        ),
        "--freeze": (
            "train --freeze",
            "train --data DIR --freeze",
            "train --data DIR --model timm:resnet10t --freeze --set optimizer.freeze=false",
        ),
        "--set": ACTS,
        "--trust": ACTS,
        "--resume": ("train --resume --out new", "train --resume --overwrite"),
        "--overwrite": ACTS,
        **OUT,
        **FIGURES,
    },
    "compare": {
        "--config": ("compare --config digits/mixup --methods mixup",),
        "--methods": ("compare --methods mixup --config digits/mixup",),
        "--data": ("compare --data cub --config digits/mixup",),
        "--recipe": ("compare --recipe fast --config digits/mixup",),
        "--seeds": ("compare --seeds 2 --set train.seed=1",),
        "--set": (
            "compare --config digits/cutmix --set method.name=mixup",
            "compare --methods cutmix --set method.name=mixup",
        ),
        "--sweep": (
            "compare --methods mixup --sweep method.alpha=1,2 --set method.alpha=3",
            "compare --methods mixup --sweep method.epsilon=1,2",
        ),
        "--jobs": ACTS,
        "--on": ACTS,
        "--overwrite": ACTS,
        **OUT,
        **FIGURES,
    },
    "report": {
        "--out": ("report RUN --check --out r.html", "report RUN --table csv --out r.md", "report RUN --out r.pdf"),
        "--title": ("report RUN --table csv --title T", "report RUN --check --title T"),
        "--table": ("report RUN --check --table csv", "report RUN --table csv --markdown"),
        "--markdown": ("report RUN --check --markdown",),
        "--numbers": ("report RUN --numbers evaluation", "report RUN --numbers evaluation --check"),
        "--columns": (
            "report RUN --columns method",
            "report RUN --table csv --numbers evaluation --columns method",
            "report RUN --check --columns method",
        ),
        "--records": ("report RUN --check --records DIR", "report RUN --records w.pth"),
        "--check": ACTS,
    },
    "evaluate": network("evaluate") | EVALUATION | OUT | FIGURES,
    "localize": network("localize") | LOCALIZATION | OUT | FIGURES,
    "export": network("export")
    | {
        "--out": ("export RUN",),
        "--format": ("export RUN --hub-folder H --format onnx", "export RUN -o x.pt2 --format onnx"),
        "--images": ("export RUN --hub-folder H --images 9",),
        "--tolerance": ("export RUN --hub-folder H --tolerance 0.1",),
        "--hub-folder": ACTS,
        "--license": ("export RUN -o x.pt2 --license mit",),
        "--name": ("export RUN -o x.pt2 --name x",),
        "--overwrite": ("export RUN -o x.pt2 --overwrite",),
    },
    "gallery": network("gallery") | OUT | {"--methods": ACTS, "--columns": ACTS, "--seed": ACTS},
    "morph": network("morph")
    | PAIRS
    | OUT
    | {
        "--pairs": ("morph RUN --measure 9 --pairs 2",),
        "--steps": ACTS,
        "--animation": ("morph RUN --measure 9 --animation a.gif",),
        "--measure": ACTS,
        "--layer": ("morph RUN --layer stage2",),
    },
    "align": network("align") | PAIRS | OUT | {"--layer": ACTS, "--lines": ACTS},
    "layers": {
        "--layer": ("layers --all generic --layer a",),
        "--size": ("layers --all generic --size 8", "layers preact_resnet18 --size 0"),
        "--channels": ("layers --all generic --channels 1",),
        "--batch": ("layers --all generic --batch 2",),
        "--all": ("layers preact_resnet18 --all generic",),
    },
    "train-style": {
        "--data": (
            "train-style --data cifar10 --run RUN --out s.safetensors",
            "train-style --data digits --set data.name=cifar10 --out s.safetensors",
        ),
        "--run": ("train-style --run RUN --encoder vgg19 --out s.safetensors",),
        "--set": (
            "train-style --run RUN --set model.width=8 --out s.safetensors",
            "train-style --data cifar10 --encoder vgg19 --set model.width=8 --out s.safetensors",
        ),
        "--encoder": ACTS,
        "--stages": ("train-style --data cifar10 --encoder vgg19 --stages 3 --out s.safetensors",),
        "--trust": ACTS,
        "--overwrite": ACTS,
        **dict.fromkeys(["--epochs", "--batch-size", "--lr"], ACTS),
        **dict.fromkeys(["--content-weight", "--style-weight", "--reconstruction-weight"], ACTS),
        **OUT,
    },
    "benchmark alignment": TIMED
    | OUT
    | {"--shapes": ACTS, "--scale": ACTS, "--only": ("benchmark alignment --only nothing",)},
    "benchmark step": TIMED
    | OUT
    | {
        "--width": ("benchmark step --transformer timm:vit_tiny_patch16_224 --width 8",),
        "--transformer": ACTS,
        **dict.fromkeys(["--batch", "--size", "--precision", "--compile", "--contiguous"], ACTS),
        "--compile-mode": ("benchmark step --compile-mode max-autotune",),
        "--only": (
            "benchmark step --only transmix",
            "benchmark step --transformer timm:vit_tiny_patch16_224 --only puzzlemix",
        ),
    },
    "benchmark scaling": TIMED | OUT | {"--largest": ACTS},
    "benchmark loading": TIMED | OUT | dict.fromkeys(["--images", "--batch", "--workers", "--width"], ACTS),
    "benchmark decoding": TIMED | OUT | dict.fromkeys(["--images", "--batch", "--size", "--workers", "--feed"], ACTS),
    "benchmark mixing": TIMED | OUT | {"--classes": ACTS, "--pairs": ACTS},
}
IDLE = sorted({(option, line) for options in OPTIONS.values() for option, lines in options.items() for line in lines})


SAME = {"--out": "-o", "--markdown": "--table markdown"}  # what it is called too


def known() -> Iterator[tuple[str, set[str]]]:
    for name, parser in commands_of(build_parser()).items():
        for inner, one in {"": parser, **commands_of(parser)}.items():
            names = {action.option_strings[-1] for action in options_of_parser(one)} - {"--help", "--traceback"}
            yield f"{name} {inner}".strip(), names


def test_every_option_stands_in_the_table() -> None:
    assert {name: set(options) for name, options in OPTIONS.items()} == dict(known())


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("options") / "run"
    keys = ["data.subset=2", "model.width=2", "train.epochs=1", "train.device=cpu"]
    assert main(["train", "--config", "digits/alignmixup", "--out", str(folder), "--set", *keys]) == 0
    return folder


@pytest.mark.parametrize(("option", "line"), IDLE)
def test_an_option_that_would_do_nothing_is_refused(
    option: str,
    line: str,
    run: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("DIR/a", "DIR/b", "OTHER", "MAPS"):
        Path(name).mkdir(parents=True)
    for name in ("w.pth", "v.pth", "b.csv"):
        Path(name).write_text("", encoding="utf-8")
    capsys.readouterr()
    try:
        status = main([str(run) if word == "RUN" else word for word in line.split()])
    except SystemExit as refused:  # by argparse
        status = int(str(refused.code))
    error = [text for text in capsys.readouterr().err.splitlines() if text.startswith("alignmixup")]
    assert status in (1, 2)
    assert len(error) == 1, error
    assert option in error[0] or SAME.get(option, option) in error[0]
    assert sorted(path.name for path in tmp_path.rglob("*") if path.is_file()) == ["b.csv", "v.pth", "w.pth"]
