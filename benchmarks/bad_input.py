"""Every bad input a user is likely to give, tried, and what alignmixup answers: the table of docs/errors.md.

    python benchmarks/bad_input.py            # prints a Markdown table
    python benchmarks/bad_input.py --check    # exit status 1 if something raises nothing or a foreign error

Runs the command line in processes of its own, in an empty folder. A full disk is tried on Linux as root only.
"""

import argparse
import os
import pickle
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import traceback
import warnings
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import torch
from torch import nn

from alignmixup import AlignMixup, AlignMixupAE, CutMix, ManifoldMixup, Mixup, PuzzleMix, data, functional, methods
from alignmixup.data.boxes.data import load_boxes
from alignmixup.evaluation.attacks import Attack
from alignmixup.evaluation.calibration import expected_calibration_error
from alignmixup.evaluation.localization.box_accuracy import box_accuracy
from alignmixup.models import PreActResNet18
from alignmixup.models import build as build_model

SMALL = ["data.subset=6", "model.width=4", "model.strides=[2,2,1,1]", "train.device=cpu", "train.epochs=2"]
x, y = torch.randn(4, 3, 16, 16), torch.tensor([0, 1, 2, 3])


def net() -> nn.Module:
    return PreActResNet18(5, width=4)


def hidden(**options: object) -> AlignMixup:
    return AlignMixup(net(), num_classes=5, **({"layer": "stage3", "input_probability": 0.0} | options))


def batch_of_one() -> str:
    mixer = hidden()
    with mixer(x[:1], y[:1]) as batch:
        loss = batch.loss(mixer.model(batch.x))
    return f"works: mixed with itself, loss {'finite' if loss.isfinite() else 'not finite'}"


def nan_features() -> str:
    broken = x.clone()
    broken[0] = torch.nan
    mixed = functional.align_mix(broken, torch.tensor([1, 0, 3, 2]), torch.full((4,), 0.5))
    bad = mixed.flatten(1).isnan().any(1).tolist()
    return f"no error; NaN in the mixtures of examples {[i for i, b in enumerate(bad) if b]} (0 and its partner 1) only"


def layer_never_ran() -> None:
    with hidden()(x, y):
        pass


def unpack_hidden() -> None:
    _, _ = hidden()(x, y)


class Frozen(nn.Module):
    """A classifier on a backbone that has no gradient."""

    def __init__(self) -> None:
        super().__init__()
        self.body, self.head = nn.Conv2d(3, 4, 3), nn.Linear(4 * 14 * 14, 5)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        with torch.no_grad():
            features = self.body(images)
        logits: torch.Tensor = self.head(features.flatten(1))
        return logits


def look(model: nn.Module, layer: str) -> None:
    AlignMixup(model, num_classes=5, layer=layer).prepare(x)


def checkpointed() -> nn.Module:
    model = build_model("timm:resnet10t", num_classes=5)
    model.set_grad_checkpointing(True)  # type: ignore[operator]
    return model


def used_after_detach() -> None:
    mixer = hidden()
    mixer.detach()
    with mixer(x, y):
        pass


def of_layers() -> Iterator[tuple[str, Callable[[], object]]]:
    """Cases of where a hidden method mixes."""
    resnet = partial(build_model, "torchvision:resnet18", num_classes=5)
    pixels = {"mean": (0.5,) * 3, "std": (0.25,) * 3}
    yield "a layer past which something goes", lambda: look(resnet(), "layer1.0.conv1")
    yield "a module that runs twice", lambda: look(resnet(), "layer1.0.relu")
    yield "a container that never runs itself", lambda: look(checkpointed(), "layer3")
    yield "a layer without positions", lambda: look(resnet(), "fc")
    yield "a mixer that was detached", used_after_detach
    yield "an auxiliary loss in a drop-in", lambda: AlignMixupAE(net(), num_classes=5, layer="stage3").drop_in()
    yield (
        "PuzzleMix, CoMixup on a backbone under `no_grad`",
        lambda: PuzzleMix(Frozen(), num_classes=5, **pixels)(x, y),  # type: ignore[arg-type]
    )


def in_python() -> Iterator[tuple[str, Callable[[], object]]]:
    """Cases of the library."""
    yield "`Mixup(num_classes=5)(x[0], y)`: three dimensions", lambda: Mixup(num_classes=5)(x[0], y)
    yield "`x` uint8", lambda: Mixup(num_classes=5)(x.to(torch.uint8), y)
    yield "`y` of another length", lambda: Mixup(num_classes=5)(x, y[:3])
    yield "`y` float of shape (4,)", lambda: Mixup(num_classes=5)(x, y.float())
    yield "label 5 of 5 classes", lambda: Mixup(num_classes=5)(x, y + 2)
    yield "soft labels of 4 columns for 5 classes", lambda: Mixup(num_classes=5)(x, torch.eye(4))
    yield "NaN features", nan_features
    yield "batch of 1", batch_of_one
    yield "`alpha=0`", lambda: Mixup(num_classes=5, alpha=0)
    yield '`alpha="1"`', lambda: Mixup(num_classes=5, alpha="1")
    yield "`alpha=nan`", lambda: CutMix(num_classes=5, alpha=float("nan"))
    yield "`epsilon=0`", lambda: hidden(epsilon=0.0)
    yield '`solver="fast"`', lambda: hidden(solver="fast")
    yield '`keep="both"`', lambda: hidden(keep="both")
    yield "`mixer.epsilon = -1`", lambda: setattr(hidden(), "epsilon", -1)
    yield '`mixer.layer = "stage2"`', lambda: setattr(hidden(), "layer", "stage2")
    yield "`CutMix(10)`", lambda: CutMix(10)
    yield "a draw of another method", lambda: CutMix(num_classes=5).mix(x, torch.eye(5)[y], object())
    yield "an option without a meaning", lambda: methods.build("baseline", num_classes=5, options={"alpha": 9})
    yield '`layer="stage5"`', lambda: hidden(layer="stage5")
    yield "`layer=` a module of another model", lambda: hidden(layer=nn.Conv2d(3, 3, 3))
    yield "no model", lambda: ManifoldMixup(num_classes=5)
    yield "`DataParallel`", lambda: AlignMixup(nn.DataParallel(net()), num_classes=5)
    yield "unknown method", lambda: methods.build("alignmixpu", model=net(), num_classes=5)
    yield "unknown option", lambda: methods.build("mixup", model=net(), num_classes=5, options={"alhpa": 1.0})
    yield "the block is left before the layer ran", layer_never_ran
    yield "`x, target = mixer(x, y)` with hidden mixing", unpack_hidden
    yield from of_layers()
    yield "cost of two dimensions", lambda: functional.sinkhorn(torch.rand(3, 3))
    yield "features of unequal batch", lambda: functional.cost_matrix(torch.rand(2, 3, 4), torch.rand(1, 3, 4))
    yield "`perm` too short", lambda: functional.mixup(x, torch.tensor([0, 1]), torch.rand(4))
    yield "unknown data set", lambda: data.load("cifar1000")
    yield "unknown model", lambda: build_model("torchvision:resnet19", num_classes=5)
    yield "unknown module of a model", lambda: build_model("my_nets:tiny_net", num_classes=5)
    yield "a model that takes no `num_classes`", lambda: build_model("torch.nn:Flatten", num_classes=5)
    yield "unknown model option", lambda: build_model("preact_resnet18", num_classes=5, options={"widht": 8})
    yield (
        "weights that are not there",
        lambda: build_model("timm:resnet18", num_classes=5, options={"weights": "none.safetensors"}),
    )
    yield from of_evaluation()


def of_evaluation() -> Iterator[tuple[str, Callable[[], object]]]:
    """Cases of what measures a network."""
    box, size = torch.tensor([[0, 0, 9, 9]]), (10, 10)
    yield "a score map above 1", lambda: box_accuracy(torch.full((1, 8, 8), 1.5), [box], [size])
    yield "a score map with NaN", lambda: box_accuracy(torch.full((1, 8, 8), torch.nan), [box], [size])
    yield "a box outside the image", lambda: box_accuracy(torch.rand(1, 8, 8), [box + 5], [size])
    yield "an inverted box", lambda: box_accuracy(torch.rand(1, 8, 8), [box.flip(1)], [size])
    yield "a box in fractions", lambda: box_accuracy(torch.rand(1, 8, 8), [box + 0.5], [size])
    yield "an image without a box", lambda: box_accuracy(torch.rand(1, 8, 8), [box[:0]], [size])
    yield "boxes of two images, maps of one", lambda: box_accuracy(torch.rand(1, 8, 8), [box, box], [size, size])
    yield "logits for probabilities", lambda: expected_calibration_error(torch.randn(4, 3), y.clamp(max=2))
    yield "labels beyond the classes", lambda: expected_calibration_error(torch.full((4, 2), 0.5), y)
    yield "an attack of 8 instead of 8/255", lambda: Attack(epsilon=8)
    yield "boxes by file names that two classes share", lambda: box_table("names")
    yield "boxes with width and height", lambda: box_table("sides")
    yield "an inverted box in a table", lambda: box_table("inverted")
    yield "an image size that fits no memory", lambda: data.load("digits", image_size=10_000_000)


def box_table(kind: str) -> None:
    """Boxes of an image folder in a table that says something else."""
    image_folder("whole")
    texts = {"names": "1.jpg,0,0,9,9\n", "sides": "path,x,y,w,h\n1.jpg,0,0,9,9\n", "inverted": "1.jpg,9,9,5,5\n"}
    Path("boxes.csv").write_text(texts[kind], encoding="utf-8")
    dataset = data.load("folder", root="data", image_size=32, cache=False, progress=False)
    load_boxes("folder", root="data", dataset=dataset, source="boxes.csv")


def cifar_folder(kind: str) -> None:
    """``cifar-10-batches-py`` with one damaged file."""
    folder = Path("data/cifar-10-batches-py")
    shutil.rmtree("data", ignore_errors=True)
    if kind == "absent":
        return
    folder.mkdir(parents=True)
    batch = {b"data": torch.zeros(10, 3072, dtype=torch.uint8).numpy(), b"labels": [0] * 10}
    for name in [*(f"data_batch_{i}" for i in range(1, 6)), "test_batch"]:
        (folder / name).write_bytes(pickle.dumps(batch))
    (folder / "batches.meta").write_bytes(pickle.dumps({b"label_names": [b"a"] * 10}))
    damaged = folder / "data_batch_3"
    if kind == "truncated":
        damaged.write_bytes(damaged.read_bytes()[:2000])
    elif kind == "garbled":
        damaged.write_bytes(b"not a pickle" * 100)
    elif kind == "empty":
        damaged.write_bytes(b"")
    elif kind == "forged":  # the state of a type that made NumPy read anywhere in memory
        dtype = b"cnumpy\ndtype\nX\x02\x00\x00\x00u1K\x00K\x01\x87R"
        state = b"(K\x03X\x01\x00\x00\x00|NNNJ\xff\xff\xff\x7fJ\xff\xff\xff\x7fK\x3ftb"
        damaged.write_bytes(b"\x80\x02" + dtype + state + b".")
    elif kind == "label":
        damaged.write_bytes(pickle.dumps(batch | {b"labels": [11] * 10}))
    elif kind == "missing":
        damaged.unlink()


def image_folder(kind: str) -> None:
    """``data/train`` and ``data/val`` with two classes."""
    from PIL import Image

    shutil.rmtree("data", ignore_errors=True)
    for split in ("train", "val"):
        for name in ("cat", "dog"):
            Path(f"data/{split}/{name}").mkdir(parents=True)
            Image.new("RGB", (40, 40)).save(f"data/{split}/{name}/1.jpg")
    if kind == "no val":
        shutil.rmtree("data/val")
    elif kind == "empty class":
        Path("data/train/dog/1.jpg").unlink()
    elif kind == "garbled":
        Path("data/train/dog/1.jpg").write_bytes(b"no image")
    elif kind == "several bad files":
        for path in ("train/cat/1.jpg", "train/dog/1.jpg", "val/dog/1.jpg"):
            Path("data", path).write_bytes(b"no image")
    elif kind == "pixels of floats":
        Image.new("F", (40, 40)).save("data/train/dog/2.tif")
    elif kind == "196 million pixels":
        Image.new("L", (14000, 14000)).save("data/train/dog/2.jpg")
    elif kind == "one folder under two names":
        Path("data/train/kitten").symlink_to("cat")
    elif kind == "other classes in val":
        Path("data/val/dog").rename("data/val/horse")


def finish_a_run() -> None:
    run_command("train", "--set", *SMALL, "--out", "done")


def damage_the_checkpoint() -> None:
    finish_a_run()
    Path("done/record.json").unlink()
    Path("done/checkpoint.pt").write_bytes(Path("done/checkpoint.pt").read_bytes()[:5000])


def checkpoint_of_another_model() -> None:
    run_command("train", "--set", *SMALL, "model.width=8", "--out", "wide")
    finish_a_run()
    Path("done/record.json").unlink()
    shutil.copy("wide/checkpoint.pt", "done/checkpoint.pt")


def weights_of_another_model() -> None:
    checkpoint_of_another_model()
    shutil.copy("wide/model.safetensors", "done/model.safetensors")
    shutil.copy("wide/record.json", "done/record.json")


def write(path: str, text: str) -> Callable[[], None]:
    def prepare() -> None:
        Path(path).write_text(text, encoding="utf-8")

    return prepare


def both(*steps: Callable[[], None]) -> Callable[[], None]:
    def prepare() -> None:
        for step in steps:
            step()

    return prepare


def in_the_shell() -> Iterator[tuple[str, Callable[[], object], list[str]]]:
    """Cases of the command line: what is tried, what is prepared, arguments."""
    train = ["train", "--set", *SMALL]
    yield "unknown key", bool, [*train, "train.epoch=3"]
    yield "unknown table", bool, [*train, "trian.epochs=3"]
    yield "a word for a number", bool, [*train, "train.epochs=ten"]
    yield "out of range", bool, [*train, "optimizer.lr=-1"]
    yield "broken TOML", write("broken.toml", "[data\nname = 3"), ["train", "--config", "broken.toml"]
    yield "unknown key in a file", write("key.toml", "[train]\nepoch = 3\n"), ["train", "--config", "key.toml"]
    yield "no such configuration", bool, ["train", "--config", "cifar100/alignmix"]
    yield "a base that is not there", write("mine.toml", 'base = "digits/cutmx"'), ["train", "--config", "mine.toml"]
    yield "a file that is its own base", write("mine.toml", 'base = "mine.toml"'), ["train", "--config", "mine.toml"]
    in_base = 'base = ["digits/cutmix", "part.toml"]'
    yield (
        "a wrong value in a base",
        both(write("part.toml", "[train]\nepochs = 0"), write("mine.toml", in_base)),
        ["train", "--config", "mine.toml"],
    )
    yield "device that is not there", bool, [*train, "train.device=mps"]
    yield "learning rate of 1e9", bool, [*train, "optimizer.lr=1e9"]
    for kind in ("absent", "missing", "truncated", "garbled", "empty", "forged", "label"):
        yield f"CIFAR-10: {kind}", lambda kind=kind: cifar_folder(kind), [*train, "data.name=cifar10"]
    folder = [*train, "data.name=folder", "data.image_size=32", "data.subset=0", "train.batch_size=2"]
    files = ("garbled", "several bad files", "pixels of floats", "196 million pixels")
    for kind in ("no val", "empty class", *files, "one folder under two names", "other classes in val"):
        yield f"image folder: {kind}", lambda kind=kind: image_folder(kind), folder
    yield "the run is finished", finish_a_run, [*train, "--out", "done"]
    yield "resume with another configuration", finish_a_run, [*train, "train.seed=5", "--out", "done", "--resume"]
    yield "truncated checkpoint", damage_the_checkpoint, [*train, "--out", "done", "--resume"]
    yield "checkpoint of another model", checkpoint_of_another_model, [*train, "--out", "done", "--resume"]
    yield "weights of another model", weights_of_another_model, ["evaluate", "done"]
    yield "a file where the run folder goes", write("file", ""), [*train, "--out", "file"]
    yield (
        "a folder of something else",
        lambda: Path("mine").mkdir() or write("mine/notes", "")(),
        [*train, "--out", "mine"],
    )
    if sys.platform == "linux" and os.geteuid() == 0:
        yield "read-only run folder", lambda: mount("read-only", "ro"), [*train, "--out", "read-only/run"]
        yield "full disk", lambda: mount("full", "size=300k"), [*train, "--out", "full/run"]
    yield "`evaluate` of no run", bool, ["evaluate", "nowhere"]
    yield "`evaluate --attack pdg`", finish_a_run, ["evaluate", "done", "--attack", "pdg"]
    yield "`evaluate --ood` of the run's own data", finish_a_run, ["evaluate", "done", "--ood", "digits"]
    yield "`evaluate` of a network of 5 classes", lambda: image_folder("whole"), other_head("torchvision:resnet18")
    yield "`localize` of images without boxes", finish_a_run, ["localize", "done"]
    yield "`morph` of a run without a decoder", finish_a_run, ["morph", "done"]
    yield "`align` at an unknown layer", finish_a_run, ["align", "done", "--layer", "stage5"]
    yield "`report` of nothing", bool, ["report", "nowhere"]
    yield "`compare` of an unknown method", bool, ["compare", "--methods", "mixup,cutmixx"]


def other_head(name: str) -> list[str]:
    """Evaluate a network whose checkpoint has five classes on images of two."""
    torch.save(build_model(name, num_classes=5).state_dict(), "five.pth")
    return ["evaluate", name, "--data", "folder", "--root", "data", "--checkpoint", "five.pth"]


def mount(path: str, options: str) -> None:
    Path(path).mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", path], check=True)


def run_command(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-m", "alignmixup", *arguments], capture_output=True, text=True, check=False)


def kill_and_resume() -> str:
    """Kill -9 in the middle of an epoch; the resumed run must end like one that was left alone."""
    arguments = ["train", "--set", "train.epochs=4", "model.width=4", "train.device=cpu"]
    run_command(*arguments, "--out", "whole")
    with subprocess.Popen([sys.executable, "-m", "alignmixup", *arguments, "--out", "killed"]) as process:
        while not Path("killed/checkpoint.pt").exists():
            time.sleep(0.05)
        time.sleep(0.2)
        process.send_signal(signal.SIGKILL)
    unfinished = not Path("killed/record.json").exists()
    run_command("train", "--resume", "--out", "killed")
    same = Path("whole/model.safetensors").read_bytes() == Path("killed/model.safetensors").read_bytes()
    return f"killed unfinished: {unfinished}; weights equal those of an undisturbed run bit for bit: {same}"


def answer_in_python(case: Callable[[], object]) -> tuple[str, bool]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            result = case()
        except (ValueError, TypeError, RuntimeError, LookupError, OSError, AttributeError) as error:
            raised_in = Path(traceback.extract_tb(error.__traceback__)[-1].filename)
            return f"{type(error).__name__}: {error}", "alignmixup" in raised_in.parts
    return str(result), isinstance(result, str)


def answer_in_shell(prepare: Callable[[], object], arguments: list[str]) -> tuple[str, bool]:
    prepare()
    result = run_command(*arguments)
    lines = [line for line in result.stderr.splitlines() if line.startswith("alignmixup")]
    clear = result.returncode == 1 and "Traceback" not in result.stderr and len(lines) == 1
    return result.stderr.strip()[result.stderr.strip().find("alignmixup") :] or result.stdout.strip(), clear


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="fail if an answer is not one clear error")
    options = parser.parse_args()
    unclear = []
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        print("| tried | answer |\n|---|---|")
        answers = [(what, *answer_in_python(case)) for what, case in in_python()]
        for what, prepare, arguments in in_the_shell():
            shutil.rmtree("done", ignore_errors=True)
            answers.append((what, *answer_in_shell(prepare, arguments)))
        answers.append(("`kill -9` in the middle of an epoch, then `--resume`", *answer_in_python(kill_and_resume)))
        for what, text, clear in answers:
            shown = re.sub(r"\s+", " ", text).replace(folder, ".").replace("|", "\\|")
            print(f"| {what} | {shown} |")
            if not clear:
                unclear.append(what)
        for mounted in ("read-only", "full"):
            if os.path.ismount(mounted):
                subprocess.run(["umount", mounted], check=True)
        os.chdir("/")
    print(f"\n{len(answers)} tried, unclear: {', '.join(unclear) or 'none'}", file=sys.stderr)
    return 1 if options.check and unclear else 0


if __name__ == "__main__":
    sys.exit(main())
