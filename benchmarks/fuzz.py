"""Random bad input, seeded: configurations, command lines and files of data and runs that are damaged in any way.

    python -m benchmarks.fuzz                          # 300 cases of each kind, and a table of the answers
    python -m benchmarks.fuzz --kinds files --count 50 --seed 3 --show

A case ends well if it ends in time, and either works or is refused in one line, with the file or the value in it, and
leaves nothing behind. Each runs in a process of its own that is forked from one in which everything is imported; a
training stops at its second step, and what would start other processes is not run.
"""

import argparse
import contextlib
import io
import json
import os
import pickle
import random
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import traceback
import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from alignmixup import data
from alignmixup.cli import build_parser, main, readable
from alignmixup.data.boxes.data import load_boxes
from alignmixup.training.config_file import dump as dump_config
from alignmixup.training.config_file import load

SECONDS = 30.0  # of processor time
MEMORY = 12 << 30
LONGEST = 1500  # letters of an answer
SMALL = ["data.subset=2", "model.width=4", "model.strides=[2,2,1,1]", "train.device=cpu", "train.epochs=1"]
FOLDER = [*SMALL, "data.name=folder", "data.image_size=16", "train.batch_size=2", "data.workers=0"]
KINDS = ("configurations", "lines", "files")

# what a value of a configuration or of an option may be, as TOML
VALUES = (
    *("-1", "0", "1", "2", "1.5", "-0.0", "1e-320", "1e308", "1e999", "nan", "inf", "-inf", "0x7fffffff"),
    *("100000000", "2147483648", "9223372036854775807", "18446744073709551616", "9" * 400, "9" * 5000, "true", "false"),
    *("''", "'x'", "'" + "x" * 5000 + "'", "'ünïcödé ☃'", '"\\u0000"', '"a\\nb"', "'../../..'", "'/dev/null'"),
    *("[]", "[1]", "[-1]", "['x']", "[[1]]", "[1, 2, 2]", "[nan]", "[true]", "[" * 30 + "]" * 30, "[1, 'x']"),
    *("{}", "{a = 1}", "1979-05-27", "07:32:00", "'torch.hub:load'", "'os:system'", "'%s%n'", "'{0}'", "'--help'"),
)


@dataclass
class Case:
    """Something to try in a folder that ``prepare`` fills.

    Attributes:
        what: for people.
        run: returns an exit status, or raises; or the words of a command line.
        names: an answer holds one of them; empty where anything goes.
        prepare: called in the folder.
    """

    what: str
    run: Callable[[], object] | list[str]
    names: tuple[str, ...] = ()
    prepare: Callable[[], object] = bool
    parse_only: bool = False


@dataclass
class Answer:
    """How a case ended: done, clear, unclear, traceback or no end; and what was said."""

    kind: str
    text: str = ""
    why: str = ""


# ---------------------------------------------------------------- configurations


def configurations(draw: random.Random) -> Iterator[Case]:
    """Configurations as files and as overrides, with a value, a key or the text damaged."""
    whole = load("digits/alignmixup", SMALL)
    text = dump_config(whole)
    places = [number for number, line in enumerate(text.splitlines()) if " = " in line]
    keys = [line.partition(" = ")[0] for line in text.splitlines() if " = " in line]
    while True:
        kind = draw.choice(("value", "value", "override", "override", "key", "text", "file"))
        lines, number = text.splitlines(), draw.choice(places)
        key, value = lines[number].partition(" = ")[0], draw.choice(VALUES)
        command = ["train", "--config", "mine.toml", "--out", "out"]
        if kind == "override":
            table = next(line for line in reversed(lines[:number]) if line.startswith("["))[1:-1]
            option = draw.choice((f"{table}.{key}", f"{table}.{key}x", key, f"{table}.{draw.choice(keys)}"))
            bare = value.strip("'\"") if draw.random() < 0.5 else value
            yield Case(f"--set {option}={bare}", [*command[:1], "--set", *SMALL, f"{option}={bare}", "--out", "out"])
            continue
        if kind == "value":
            lines[number] = f"{key} = {value}"
        elif kind == "key":
            lines[number] = draw.choice(
                (
                    *(
                        f"{key}x = 1",
                        f"'' = {value}",
                        f'"a b" = {value}',
                        f"{key}.a = 1",
                        f"{key} = {value}\n{key} = 1",
                    ),
                    *(f"[{key}]", "[[train]]", f"[{key}x]\na = 1", f"base = {value}", f"{key} =", "[]", "ü = 1"),
                )
            )
        damaged = "\n".join(lines).encode()
        if kind == "text":
            damaged = damage(damaged, draw)
        elif kind == "file":
            damaged = draw.choice(
                (
                    *(b"", b"\0", b"\xff\xfe", b"[" * 3000, b"a = " + b"[" * 3000, b"\xef\xbb\xbf" + damaged),
                    *(damaged.decode().encode("utf-16"), damaged.replace(b"\n", b"\r"), os.urandom(0) + b"\x80" * 500),
                    *(b"base = 'mine.toml'", b"base = '../mine.toml'", b"base = ['digits/mixup', '']", b"base = '\\0'"),
                    *(b"base = 3", b"base = " + b"'" + b"x/" * 3000 + b"'", b"a." * 3000 + b"a = 1", b"x = 1" * 9),
                )
            )
        changed = "; ".join(changed_lines(text, damaged))
        tables = ("[model]", "[method]")  # what of them is wrong is the value, which a text shows anywhere
        own = (value,) if kind == "value" else tables if kind == "text" else ()
        names = ("mine.toml", key, *own, *re.findall(r"\w+", changed[:200]))
        yield Case(f"{kind}: {changed[:150]!r}", command, names, write("mine.toml", damaged))


def changed_lines(before: str, after: bytes) -> list[str]:
    known = set(before.splitlines())
    return [line for line in after.decode(errors="replace").splitlines() if line not in known]


# ---------------------------------------------------------------- command lines


def lines(draw: random.Random) -> Iterator[Case]:
    """Every command with random options and values."""
    commands = build_parser()._subparsers._group_actions[0].choices  # type: ignore[union-attr]
    pool = ["-1", "0", "1", "2", "3", "0.5", "1e9", "nan", "inf", "x", "", "ü☃", "a=b", "9" * 30, "-", "--", "1,2", ","]
    pool += [
        "run",
        "nowhere",
        "run/record.json",
        "run/config.toml",
        "data",
        "boxes.csv",
        "maps",
        "/dev/null",
        "out.svg",
    ]
    pool += ["a\0b", "x" * 300, "train.epochs=1", "fgsm", "error,attacks", "mixup,cutmix", "cifar10", "svg", "uniform"]
    pool += [
        "out.pdf",
        "out/deep/er.png",
        "out.xyz",
        "run/out.png",
        "digits",
        "stage1",
        "gaussian_noise",
        "torch.hub:load",
    ]
    while True:
        name = draw.choice(list(commands))
        parser = commands[name]
        words = [name]
        for action in draw.sample(parser._actions, draw.randint(0, min(4, len(parser._actions)))):
            if "--help" in action.option_strings or "--traceback" in action.option_strings:
                continue
            if action.option_strings:
                words.append(draw.choice(action.option_strings))
            if action.nargs != 0:
                good = [str(choice) for choice in action.choices or ()] or pool
                words += [draw.choice(good if draw.random() < 0.8 else pool) for _ in range(draw.choice((1, 1, 1, 2)))]
        if any(not action.option_strings for action in parser._actions) and draw.random() < 0.9:
            words.insert(1, "run" if name not in ("methods", "layers", "benchmark") else draw.choice(("mixup", "run")))
        if name in ("train", "train-style"):
            words += ["--set", *SMALL] if "--set" not in words else []
        if name == "evaluate":
            words += ["--limit", "4", "--batch-size", "4"]
        yield Case(" ".join(words), words, prepare=copied, parse_only=name == "benchmark" or "--all" in words)


# ---------------------------------------------------------------- files


def make_fixture(folder: Path) -> None:
    """A run of a second, images with boxes, score maps, the releases of data sets in small, wrapped weights."""
    import numpy
    from PIL import Image

    _fixture[:] = [folder]
    with contextlib.chdir(folder):
        _fill(Image, numpy)


def _fill(image: Any, numpy: Any) -> None:
    assert run_quietly(["train", "--config", "digits/mixup", "--set", *SMALL, "--out", "run"]).kind == "done"
    run_quietly(["evaluate", "run", "--what", "error,calibration", "--out", "run/evaluation.json"])
    noise = numpy.random.default_rng(0)
    formats = {"1.jpg": {}, "2.png": {}, "3.tif": {}, "4.gif": {}, "5.webp": {}, "6.bmp": {}}
    rows, sizes, xml = ["path,x0,y0,x1,y1"], [], Path("xml")
    xml.mkdir()
    for split in ("train", "val"):
        for label in ("cat", "dog"):
            for name in formats:
                path = Path("data", split, label, f"{label}{name}")
                path.parent.mkdir(parents=True, exist_ok=True)
                image.fromarray(noise.integers(0, 255, (20, 20, 3), dtype=numpy.uint8)).save(path)
                if split == "val":
                    rows.append(f"{path.relative_to('data')},1,2,12,15")
                    sizes.append(f"{path.relative_to('data')},20,20")
                    box = "<xmin>1</xmin><ymin>2</ymin><xmax>12</xmax><ymax>15</ymax>"
                    size = "<size><width>20</width><height>20</height></size>"
                    text = f"<annotation>{size}<object><bndbox>{box}</bndbox></object></annotation>"
                    (xml / f"{path.stem}.xml").write_text(text)
                    score = Path("maps", path.relative_to("data")).with_suffix(".npy")
                    score.parent.mkdir(parents=True, exist_ok=True)
                    numpy.save(score, noise.random((8, 8), dtype=numpy.float32))
    Path("boxes.csv").write_text("\n".join(rows), encoding="utf-8")
    Path("metadata").mkdir()
    Path("metadata/localization.txt").write_text("\n".join(rows[1:]), encoding="utf-8")
    Path("metadata/image_sizes.txt").write_text("\n".join(sizes), encoding="utf-8")
    for release, files, names in (
        ("cifar-10-batches-py", [*(f"data_batch_{i}" for i in range(1, 6)), "test_batch"], "batches.meta"),
        ("cifar-100-python", ["train", "test"], "meta"),
    ):
        labels, count = (b"labels", 10) if "10-" in release else (b"fine_labels", 100)
        Path("cifar", release).mkdir(parents=True)
        for file in files:
            batch = {b"data": noise.integers(0, 255, (4, 3072), dtype=numpy.uint8), labels: [0, 1, 2, 3]}
            Path("cifar", release, file).write_bytes(pickle.dumps(batch, protocol=2))
        key = labels[:-1] + b"_names"
        Path("cifar", release, names).write_bytes(pickle.dumps({key: [b"a"] * count}, protocol=2))
    make_releases(noise, image)
    state = torch.load("run/checkpoint.pt", weights_only=True)
    torch.save({"state_dict": state["model"]}, "weights.pth")


def make_releases(noise: Any, image: Any) -> None:
    """Excerpts of CUB and of Tiny-ImageNet."""
    cub, tiny = Path("cub/CUB_200_2011"), Path("tiny/tiny-imagenet-200")
    tables: dict[str, list[str]] = {name: [] for name in ("images", "image_class_labels", "train_test_split")}
    tables |= {"bounding_boxes": [], "classes": ["1 001.a", "2 002.b"]}
    for number in range(8):
        name = f"00{number % 2 + 1}.{'ab'[number % 2]}/{number}.jpg"
        (cub / "images" / name).parent.mkdir(parents=True, exist_ok=True)
        image.fromarray(noise.integers(0, 255, (20, 20, 3), dtype="uint8")).save(cub / "images" / name)
        tables["images"].append(f"{number + 1} {name}")
        tables["image_class_labels"].append(f"{number + 1} {number % 2 + 1}")
        tables["train_test_split"].append(f"{number + 1} {number // 4}")
        tables["bounding_boxes"].append(f"{number + 1} 1.0 2.0 9.0 9.0")
    for name, rows in tables.items():
        (cub / f"{name}.txt").write_text("\n".join(rows) + "\n")
    (tiny / "val/images").mkdir(parents=True)
    annotations = []
    for label in ("n01", "n02"):
        (tiny / "train" / label / "images").mkdir(parents=True)
        boxes = []
        for number in range(2):
            picture = image.fromarray(noise.integers(0, 255, (64, 64, 3), dtype="uint8"))
            picture.save(tiny / "train" / label / "images" / f"{label}_{number}.JPEG")
            picture.save(tiny / "val/images" / f"val_{label}{number}.JPEG")
            boxes.append(f"{label}_{number}.JPEG\t1\t2\t30\t40")
            annotations.append(f"val_{label}{number}.JPEG\t{label}\t1\t2\t30\t40")
        (tiny / "train" / label / f"{label}_boxes.txt").write_text("\n".join(boxes) + "\n")
    (tiny / "val/val_annotations.txt").write_text("\n".join(annotations) + "\n")
    (tiny / "wnids.txt").write_text("n01\nn02\n")
    (tiny / "words.txt").write_text("n01\ta cat\nn02\ta dog, a hound\n")


def read(name: str, root: str, source: str | None = None) -> Callable[[], object]:
    """Load a data set, and its boxes, whose source ``None`` stands for the release's."""

    def run() -> object:
        dataset = data.load(name, root=root, cache=False, progress=False, image_size=16)
        return load_boxes(name, root=root, dataset=dataset, source=source) if source != "" else dataset

    return run


def users() -> dict[str, list[Callable[[], object] | list[str]]]:
    """What reads the files below each part of the fixture."""
    folder = ["train", "--set", *FOLDER, "--out", "out"]
    evaluate = ["evaluate", "run", "--what", "error", "--limit", "20", "--out", "out.json"]
    localize = ["localize", "--maps", "maps", "--images", "data", "--boxes"]
    report = ["report", "run", "--out", "page.html", "--records", "records"]
    resume = ["train", "--resume", "--out", "run", "--set", "train.epochs=2"]
    return {
        "data": [folder, folder, [*localize, "boxes.csv"]],
        "boxes.csv": [[*localize, "boxes.csv"], read("folder", "data", "boxes.csv")],
        "metadata": [["localize", "--maps", "maps", "--boxes", "metadata"]],
        "maps": [[*localize, "boxes.csv"]],
        "xml": [read("folder", "data", "xml")],
        "cifar/cifar-10-batches-py": [read("cifar10", "cifar", "")],
        "cifar/cifar-100-python": [read("cifar100", "cifar", "")],
        "cub": [read("cub", "cub")],
        "tiny": [read("tiny-imagenet", "tiny")],
        "weights.pth": [[*evaluate, "--checkpoint", "weights.pth"]],
        "run": [evaluate, report, resume, ["gallery", "run", "--out", "out.png"], ["compare", "--out", "."]],
    }


def files(draw: random.Random, only: str | None = None) -> Iterator[Case]:
    """Every file of the fixture, damaged, and what reads it."""
    readers = users()
    while True:
        part = only or draw.choice(list(readers))
        run, seed, how = draw.choice(readers[part]), draw.randrange(2**32), draw.choice(DAMAGES)
        where = {"part": part}

        def prepare(part: str = part, how: str = how, seed: int = seed, where: dict[str, str] = where) -> None:
            copied()
            own = random.Random(seed)
            place = Path(part)
            everything = sorted(path for path in place.rglob("*") if path.is_file()) if place.is_dir() else [place]
            file = own.choice(everything)
            where["file"] = str(file)
            spoil(file, how, own)

        shown = " ".join(run) if isinstance(run, list) else f"load {part}"
        yield Case(f"{how} in {part}: {shown}", run, ("<file>",), prepare)


DAMAGES = (
    *("empty", "cut", "flip", "flip", "flips", "zeros", "random", "longer", "text", "text", "lines", "swap"),
    *("folder", "circle", "nowhere", "pipe", "removed"),
)


def spoil(file: Path, how: str, draw: random.Random) -> None:
    """Damage a file."""
    content = file.read_bytes()
    start, end = sorted(draw.randrange(len(content) + 1) for _ in range(2))
    if how in ("folder", "circle", "nowhere", "pipe", "removed", "swap"):
        file.unlink()
    if how == "folder":
        file.mkdir()
    elif how in ("circle", "nowhere"):
        file.symlink_to(file.name if how == "circle" else "nothing-there")
    elif how == "pipe":
        os.mkfifo(file)
    elif how == "swap":
        others = sorted(path for path in Path().rglob("*") if path.is_file() and not path.is_symlink())
        shutil.copy(draw.choice(others), file)
    elif how != "removed":
        changed = {
            "empty": lambda: b"",
            "cut": lambda: content[:start],
            "zeros": lambda: content[:start] + bytes(end - start) + content[end:],
            "random": lambda: draw.randbytes(len(content)),
            "longer": lambda: content + draw.randbytes(300),
            "flip": lambda: flipped(content, draw, 1),
            "flips": lambda: flipped(content, draw, 20),
            "text": lambda: (damage_json if file.suffix == ".json" else damage)(content, draw),
            "lines": lambda: b"\n".join(draw.sample(rows := content.split(b"\n"), max(1, len(rows) - 1))),
        }
        file.write_bytes(changed[how]())


def flipped(content: bytes, draw: random.Random, count: int) -> bytes:
    changed = bytearray(content)
    for _ in range(count if content else 0):
        changed[draw.randrange(len(changed))] ^= 1 << draw.randrange(8)
    return bytes(changed)


def damage(content: bytes, draw: random.Random) -> bytes:
    """Put something else in place of a word or of a piece of a text."""
    words = list(re.finditer(rb"[\w.+-]+", content))
    if not words:
        return content
    word = draw.choice(words)
    others = (b"", b"-1", b"nan", b"1e999", b"9" * 30, b"9" * 5000, b"\xff", b"\0", "☃".encode(), b"x", b"null")
    others += (b"0.5", b"[]", b"{}", b"\n", b"../../x", b"true", b'"x"', b"[" * 3000, b"1e400", b"1_0", b"\xd9\xa3")
    return content[: word.start()] + draw.choice(others) + content[word.end() :]


def damage_json(content: bytes, draw: random.Random) -> bytes:
    """Put something else in place of a value, or leave it out."""
    tree = json.loads(content)
    node = tree
    while True:
        keys = list(node) if isinstance(node, dict) else list(range(len(node)))
        key = draw.choice(keys)
        if isinstance(node[key], dict | list) and node[key] and draw.random() < 0.6:
            node = node[key]
            continue
        if draw.random() < 0.2:
            del node[key]
        else:
            others = (
                None,
                -1,
                0,
                1e300,
                10**30,
                "",
                "x",
                "../../../x",
                "<script>",
                "\x1b[31m",
                [],
                {},
                [1],
                {"a": 1},
                True,
            )
            node[key] = draw.choice(others)
        return json.dumps(tree).encode()


def write(path: str, content: bytes) -> Callable[[], object]:
    return lambda: Path(path).write_bytes(content)


_fixture: list[Path] = []


def copied() -> None:
    """Fill the current folder."""
    shutil.copytree(_fixture[0], ".", dirs_exist_ok=True)


# ---------------------------------------------------------------- judging


class Enough(KeyboardInterrupt):
    """A case went far enough."""


def stop(*_: object, **__: object) -> Any:
    raise Enough


def tree() -> set[str]:
    names = (str(path) for path in Path().rglob("*"))
    return {name for name in names if "decoded-cache" not in name}


def run_quietly(run: Callable[[], object] | list[str], *, parse_only: bool = False) -> Answer:
    """Run something as the command line would, and judge what it says, but for names and what is left."""
    out, err = io.StringIO(), io.StringIO()
    status: object = None
    show = warnings.showwarning
    try:
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            if isinstance(run, list) and parse_only:
                build_parser().parse_args(run)
            elif isinstance(run, list):
                status = main(run)
            else:
                run()
    except (ValueError, OSError, ImportError) as error:
        if isinstance(run, list):
            return Answer("traceback", traceback.format_exc())
        err.write(f"alignmixup: {readable(str(error))}\n")
        status = 1
    except SystemExit as error:
        status = error.code
    except Enough:
        status = 0
    except BaseException:
        return Answer("traceback", traceback.format_exc())
    finally:
        warnings.showwarning = show
    text = err.getvalue()
    if status in (0, None, 130):
        return Answer("done", text)
    said = [line for line in text.splitlines() if re.match(r"alignmixup[\w -]*:", line)]
    last = text.rstrip("\n").splitlines()[-1:]
    message = re.sub(r"^alignmixup[\w -]*: ", "", last[0]) if last else ""
    why = ""
    if len(said) != 1 or said != last:
        why = "not one line"
    elif len(message) > LONGEST:
        why = f"{len(message)} letters"
    elif re.fullmatch(r"'?[\w./]*'?|.*(object has no attribute|not subscriptable|NoneType|unhashable).*", message):
        why = "a bare error"
    elif re.search(r"[\x00-\x08\x0b-\x1f\x7f]", message):
        why = "control characters"
    return Answer("unclear" if why else "clear", text, why)


def try_case(case: Case) -> Answer:
    """Run a case in the current, empty folder."""
    case.prepare()
    before = tree()
    answer = run_quietly(case.run, parse_only=case.parse_only)
    names = case.names
    if names == ("<file>",):
        names = tuple({part for name in before for part in (name, Path(name).name)} | {"run"})
    if answer.kind == "clear" and "is not finite" not in answer.text:  # else a run that stays there
        if names and not any(name in answer.text for name in names):
            answer = Answer("unclear", answer.text, f"names none of {names[:3]}")
        elif left := sorted(tree() - before):
            answer = Answer("unclear", answer.text, f"leaves {left[:4]}")
    return answer


def in_a_fork(case: Case, seconds: float = SECONDS) -> Answer:
    """Run a case in a folder and a process of its own."""
    with tempfile.TemporaryDirectory() as folder, tempfile.TemporaryFile() as told:
        child = fork()
        if child == 0:
            try:
                import resource

                os.chdir(folder)
                resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
                resource.setrlimit(resource.RLIMIT_CPU, (int(seconds), int(seconds) + 2))
                quiet = os.open(os.devnull, os.O_RDWR)
                for stream in range(3):
                    os.dup2(quiet, stream)
                stop_early(setattr)
                told.write(pickle.dumps(try_case(case)))
                told.flush()
            finally:
                os._exit(0)
        deadline = time.monotonic() + 8 * seconds  # the machine may be busy
        while os.waitpid(child, os.WNOHANG) == (0, 0):
            if time.monotonic() > deadline:
                os.kill(child, signal.SIGKILL)
                os.waitpid(child, 0)
                break
            time.sleep(0.005)
        told.seek(0)
        content = told.read()
    return pickle.loads(content) if content else Answer("no end")


def fork() -> int:
    """Fork, once a busy machine has room for a process."""
    for _ in range(100):
        with contextlib.suppress(BlockingIOError):
            return os.fork()
        time.sleep(0.3)
    return os.fork()


def stop_early(patch: Callable[[Any, str, Any], None]) -> None:
    """Let a training stop at its second step, and no process start; ``patch`` is ``setattr``, or undoes it later."""
    from alignmixup.training.trainer import Trainer

    step, run = Trainer._train_step, subprocess.run

    def second(self: Any, *arguments: Any) -> Any:
        return stop() if self.log.step else step(self, *arguments)

    def started(command: Any, *arguments: Any, **options: Any) -> Any:
        return run(command, *arguments, **options) if command[0] in ("git", "uname") else stop()

    patch(Trainer, "_train_step", second)
    patch(subprocess, "run", started)


def run_all() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kinds", nargs="+", choices=KINDS, default=KINDS)
    parser.add_argument("--count", type=int, default=300)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--part", choices=list(users()), help="of the files, these only")
    parser.add_argument("--show", action="store_true", help="print every answer")
    options = parser.parse_args()
    torch.set_num_threads(1)
    counts: dict[str, Counter[str]] = {}
    with tempfile.TemporaryDirectory() as folder:
        make_fixture(Path(folder))
        for kind in options.kinds:
            counts[kind] = Counter()
            draw = random.Random(options.seed)
            cases = files(draw, options.part) if kind == "files" else globals()[kind](draw)
            for number, case in zip(range(options.count), cases, strict=False):
                answer = in_a_fork(case)
                counts[kind][answer.kind] += 1
                if options.show or answer.kind not in ("done", "clear"):
                    what = case.what if len(case.what) < 300 else case.what[:300] + "..."
                    print(f"{kind} {number}: {answer.kind} ({answer.why}): {what}", flush=True)
                    print("    " + answer.text.strip()[-1500:].replace("\n", "\n    "), flush=True)
    columns = ("done", "clear", "unclear", "traceback", "no end")
    print(f"| {'input':15} | " + " | ".join(columns) + " |\n|---|" + "---|" * len(columns))
    for kind, count in counts.items():
        print(f"| {kind:15} | " + " | ".join(str(count[column]) for column in columns) + " |")
    return int(any(count[bad] for count in counts.values() for bad in columns[2:]))


if __name__ == "__main__":
    sys.exit(run_all())
