"""What can be asked of a run, and what the numbers of an evaluation depend on. Imports no torch."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from alignmixup import __version__
from alignmixup.figures.save import FigureKind
from alignmixup.near import alternatives, near
from alignmixup.options import Option, Options, option, options_of
from alignmixup.outside import require
from alignmixup.runs.folder import Mode, RunFolder
from alignmixup.training.config import Config, to_dict
from alignmixup.training.config_file import agreed, images_of
from alignmixup.training.meaning import IMAGES, OF_ONE_ROW, meaning
from alignmixup.training.progress.display import Reporter

if TYPE_CHECKING:
    from alignmixup.evaluation.attack_names import AnyAttack
    from alignmixup.evaluation.localization.contour_boxes import Contours
    from alignmixup.runs.run import Run

FORMAT = 1
FILE = "evaluation.json"
DEFAULT_OOD = ("uniform", "gaussian", "digits")  # what needs no files
DEFAULT_PARTS = ("error", "calibration")
DEFAULT_ATTACKS = ("fgsm", "pgd")
PARTS = ("error", "calibration", "representation", "attacks", "ood", "corruptions")
_SEEN = 100  # of rows, or of columns, in a picture: more than anybody looks at, and hours of drawing
# What only some parts read of `EvaluationOptions`; those that name what is measured add their part by themselves.
_SAMPLED = ("representation", "attacks", "ood", "corruptions")
_USERS = {
    "bins": ("calibration",),
    "severities": ("corruptions",),
    "checks": ("attacks",),
    "check_images": ("attacks",),
    "limit": _SAMPLED,
    "seed": _SAMPLED,
}
CONVENTIONS = {
    "error": "arg-max of the logits in evaluation mode, no mixing; equal logits: the lower class; interval: 95 % "
    "bootstrap percentiles over the images, 10,000 resamples, seed 0",
    "weights": "those in the file named, by default of the last epoch; best and last-10 errors are the run's record",
    "calibration": "equal-width bins (lo, hi]; soft-max in float64; errors times 100; adaptive: equal mass; "
    "temperature fitted on the images at even places, measured on the others",
    "representation": "features: what the last linear layer reads; singular values of each class over the root of its "
    "number of images, relative ones over its root mean squared norm; segments between images of different classes at "
    "21 places; steps in one random direction an image, root mean square in units of 1/255, not clipped",
    "attacks": "maximum norm, or the Euclidean one where the name ends in -l2; white box, true label, cross-entropy, "
    "evaluation mode, float32; epsilon and step in units of pixels in [0, 1], before normalisation; every image "
    "attacked; error after the last iteration; autoattack: the standard version of its authors' code",
    "corruptions": "mean over kinds of the mean over severities; mCE only against a named baseline",
}


@dataclass(frozen=True)
class Asked(Options):
    """Base of what is asked of a run: options of a command and of the function of `alignmixup.runs` that it calls."""

    def _called(self, name: str) -> str:
        return f"--{name.replace('_', '-')}"


ARGUMENTS = {  # of the functions of `alignmixup.runs`, beside what is asked: what each may be
    "target": str | Path,
    "config": str | Path | Config,
    "configs": Sequence[str | Path],
    "folder": str | Path | RunFolder | None,
    "out": str | Path | None,
    "overrides": Sequence[str],
    "sweeps": Sequence[str],
    "on": Sequence[str],
    "seeds": int,
    "jobs": int | None,
    "mode": Mode,
    "figures": FigureKind,
    "overwrite": bool,
    "command": str,
    "reporter": Reporter | None,
    "display": Callable[..., Any] | None,
    "progress": Callable[..., Any],
    "bar": Callable[..., Any],
}


def check_arguments(**given: Any) -> None:
    """Refuse arguments that are of another kind, such as a text in place of a list of them, in one sentence.

    Raises:
        TypeError, ValueError: see `Option.check`.
    """
    for name, value in given.items():
        Option(name=name, type=ARGUMENTS[name]).check(value)


Listed = str | Sequence[str]  # several values, as a sequence or a text with commas


@dataclass(frozen=True, kw_only=True)
class NetworkChoice(Asked):
    """The weights of a network, and how a model by name sees its test images; a run brings its own of that."""

    checkpoint: str | Path | None = option(None, "file with the weights, .safetensors or .pth, wrapped as usual")
    key: str | None = option(None, "which of several state dicts in the checkpoint, such as model_ema")
    weights: Literal["last", "best", "raw", "model"] = option(
        "last",
        "of a run: of the last epoch (also model); of the epoch with the lowest error, on the test set unless "
        "data.validation held images out; or before averaging (ema_decay)",
    )
    data: str | None = option(
        None,
        "data set of a MODEL, such as cifar10, imagenet or folder; of a run, folder: other test images of its classes",
    )
    root: str | Path | None = option(None, "folder of the data")
    mean: str | tuple[float, ...] | None = option(  # a list does too
        None,
        "mean of each channel that a MODEL expects, as 0.49,0.48,0.45; with --std (default: the data set's; of folder "
        "ImageNet's)",
    )
    std: str | tuple[float, ...] | None = option(None, "deviation of each channel, in units of pixels in [0, 1]")
    size: int | None = option(None, "side of the images that a MODEL sees (default: the data set's)", minimum=1)
    crop: float | None = option(
        None, "imagenet and folder: share of the scaled sides that is shown (default: 0.875)", above=0, maximum=1
    )
    labels: str | Path | None = option(
        None, "JSON or text file with the output of a MODEL for each class folder; or imagenet, for n01440764..."
    )
    outputs: Literal["folders", "all"] = option(
        "folders", "with --labels, which outputs compete: those of the folders that are there, or all"
    )
    device: Literal["auto", "cpu", "cuda", "mps"] | None = option(None, "where to compute (default: train.device)")
    trust: bool = option(
        False,
        "allow what a run names: modules outside this package, which can do anything, and the network",
    )

    def _check_options(self) -> None:
        if (self.mean is None) != (self.std is None):
            raise ValueError("--mean and --std go together: give both, or neither")
        if self.key and not self.checkpoint:
            raise ValueError("--key names a part of a checkpoint: give --checkpoint FILE")
        if self.checkpoint and self.weights != "last":
            raise ValueError(
                f"--weights {self.weights} names a file of the run, and --checkpoint another: leave one of them out"
            )
        if self.outputs == "all" and not self.labels:
            raise ValueError("--outputs all goes with --labels: without a map, every output is a class of the data")

    @property
    def of_a_model(self) -> dict[str, Any]:
        """What is said that a run says itself."""
        names = ("data", "mean", "std", "size", "crop", "labels")
        return {name: getattr(self, name) for name in names if getattr(self, name) is not None}

    def beside(self, overrides: Sequence[str]) -> list[str]:
        """``overrides`` and the configuration keys that these options stand for; see `agreed`."""
        sides = [side if isinstance(side, str) else ",".join(map(str, side or ())) for side in (self.mean, self.std)]
        normalization = None if self.mean is None else "/".join(sides)
        return agreed(
            overrides,
            {
                "data.root": (f"--root {self.root}", None if self.root is None else str(self.root)),
                "data.normalization": (f"--mean {sides[0]} --std {sides[1]}", normalization),
                "data.image_size": (f"--size {self.size}", self.size),
                "train.device": (f"--device {self.device}", self.device),
            },
        )


@dataclass(frozen=True, kw_only=True)
class FigureOptions(Asked):
    """How figures are written that lie beside numbers."""

    figures: FigureKind = option("png", "kind of file of the figures")


@dataclass(frozen=True, kw_only=True)
class EvaluationOptions(FigureOptions):
    """What is measured of a network."""

    what: Listed = option(
        ",".join(DEFAULT_PARTS),
        f"{', '.join(PARTS)} or all, separated by commas; attack, ood, corruptions and baseline add their part by "
        "themselves",
    )
    attack: Listed | None = option(
        None,
        "fgsm, pgd, pgd-l2, autoattack, autoattack-l2, or with options, such as "
        "pgd:epsilon=8/255,step=2/255,iterations=50,restarts=5; may be repeated (default: fgsm and pgd)",
    )
    checks: bool = option(True, "check whether the first attack of several iterations can be believed")
    check_images: int = option(200, "images of these checks", minimum=1)
    ood: Listed = option(
        "",
        "out-of-distribution sets, separated by commas: uniform, gaussian, digits, cifar10, cifar100, "
        f"tiny-imagenet-crop, tiny-imagenet-resize, folder:DIR (default: {','.join(DEFAULT_OOD)})",
    )
    corruptions: Listed = option("", "separated by commas; all adds the extra four (default: CIFAR-C's 15)")
    severities: str | Sequence[int] = option("1,2,3,4,5", "of corruptions")
    corruption_folder: str | Path | None = option(None, "folder of released corrupted images to read, not generate")
    baseline: str | Path | None = option(
        None, f"run folder whose errors the mCE divides by: one of those given, or one with an {FILE}"
    )
    limit: int = option(
        0,
        "test images for representation, attacks, ood and corruptions, each class in proportion; 0 takes all",
        minimum=0,
    )
    bins: int = option(15, "bins of calibration errors", minimum=1)
    seed: int = option(0, "of noise and of the choice of images")
    batch_size: int | str = option("auto", "images at a time; auto is halved until they fit")


@dataclass(frozen=True)
class Plan:
    """`EvaluationOptions` as they are meant: ``parts`` in their order, attacks and corruptions found by their names.

    ``check_images = 0`` leaves the checks out, ``batch_size = None`` finds one; the error is always measured.
    """

    parts: tuple[str, ...]
    bins: int = 15
    attacks: tuple[AnyAttack, ...] = ()
    check_images: int = 0
    ood: tuple[str, ...] = ()
    kinds: tuple[str, ...] = ()
    severities: tuple[int, ...] = ()
    corruption_folder: Path | None = None
    baseline: Path | None = None
    limit: int = 0
    batch_size: int | None = None
    seed: int = 0
    figures: FigureKind = "png"


def build_plan(**options: Any) -> Plan:
    """Read and check what is asked for, as `EvaluationOptions` explains it, before anything is loaded.

    Raises:
        ValueError: unknown part, attack or kind of corruption (near names are listed), or a value out of range.
        ImportError: corruptions are to be made, and OpenCV is not installed.
    """
    from alignmixup.evaluation.attack_names import parse_attack
    from alignmixup.evaluation.corruptions.strengths import EXTRA_KINDS, KINDS, check_kinds, check_severities

    asked = EvaluationOptions(**options)
    kinds, what = listed(asked.corruptions), listed(asked.what)
    for name in what:
        if name not in ("all", *PARTS):
            raise ValueError(f"--what: unknown part {name!r}; {near(name, (*PARTS, 'all'))}")
    named = {
        "attacks": asked.attack,
        "ood": asked.ood,
        "corruptions": kinds or asked.corruption_folder or asked.baseline,
    }
    attacks = (asked.attack,) if isinstance(asked.attack, str) else asked.attack or DEFAULT_ATTACKS
    batch_size = None if asked.batch_size == "auto" else _whole("batch-size", asked.batch_size)
    if batch_size is not None and batch_size < 1:
        raise ValueError(f"--batch-size must be auto or >= 1, got {batch_size}")
    parts = tuple(part for part in PARTS if part in what or named.get(part) or "all" in what)
    for name, users in _USERS.items():
        if (value := getattr(asked, name)) != options_of(EvaluationOptions)[name].default and not {*users} & {*parts}:
            flag = f"--no-{name}" if value is False else f"--{name.replace('_', '-')} {value}"
            raise ValueError(f"{flag} is for {alternatives(users)}: add it to --what, or leave it out")
    if not asked.checks and asked.check_images != options_of(EvaluationOptions)["check_images"].default:
        raise ValueError(f"--no-checks and --check-images {asked.check_images}: leave one of them out")
    if "corruptions" in parts and not asked.corruption_folder:
        require("cv2", extra="evaluate")  # said before anything is measured
    return Plan(
        parts=parts,
        bins=asked.bins,
        attacks=tuple(parse_attack(text) for text in attacks),
        check_images=asked.check_images if asked.checks else 0,
        ood=tuple(map(placed, listed(asked.ood))),
        kinds=(*KINDS, *EXTRA_KINDS) if kinds == ("all",) else check_kinds(kinds or KINDS),
        severities=check_severities([_whole("severities", value) for value in listed(asked.severities)]),
        corruption_folder=whole_path(asked.corruption_folder) if asked.corruption_folder else None,
        baseline=Path(asked.baseline) if asked.baseline else None,
        limit=asked.limit,
        batch_size=batch_size,
        seed=asked.seed,
        figures=asked.figures,
    )


def whole_path(folder: str | Path) -> Path:
    """A folder by a name that means the same one from every working directory."""
    return Path(folder).expanduser().resolve()


def placed(name: str) -> str:
    """An out-of-distribution set by such a name."""
    kind, _, folder = name.partition(":")
    return f"folder:{whole_path(folder)}" if kind == "folder" and folder else name


def _whole(name: str, value: int | str) -> int:
    try:
        return int(value)
    except ValueError:
        raise ValueError(f"--{name}: {value!r} is not a whole number") from None


def listed(values: str | Sequence[Any]) -> tuple[Any, ...]:
    """Several values, from a sequence or a text with commas."""
    if isinstance(values, str):
        return tuple(part.strip() for part in values.split(",") if part.strip())
    return tuple(values)


@dataclass(frozen=True)
class LocalizationProtocol(FigureOptions):
    """How localisation is measured."""

    boxes: str | Path | None = option(
        None,
        "CSV file (path,x0,y0,x1,y1), folder with localization.txt and image_sizes.txt, or folder of XML files "
        "(default: the data set's own)",
    )
    resize: int | None = option(
        None, "side of the images that the network sees (default: as in its training)", minimum=1
    )
    contours: Literal["both", "largest", "all"] = option("both", "which contours are counted")
    step: float = option(
        0.001, "distance between thresholds", minimum=0.0001, maximum=1, hint="the evaluation of 2020 has 0.001"
    )
    cam: Literal["auto", "cam", "gradcam"] = option("auto", "kind of map")
    layer: str | None = option(None, "layer of Grad-CAM (default: the last map)")
    cutmix_paper: bool = option(False, "also the CutMix paper's protocol on centre crops")
    limit: int | None = option(None, "evenly spaced test images (default: all)", minimum=1)
    pictures: int = option(8, "images to draw", minimum=0, maximum=_SEEN)
    maps_out: str | Path | None = option(None, "folder for score maps, written as RUN/IMAGE.npy")

    def _check_options(self) -> None:
        if self.cam == "cam" and self.layer:
            raise ValueError("--layer is for Grad-CAM: CAM's map is the one that global average pooling receives")

    @property
    def counted(self) -> tuple[Contours, ...]:
        """The contours that are counted."""
        return ("largest", "all") if self.contours == "both" else (self.contours,)


@dataclass(frozen=True, kw_only=True)
class PairChoice(Asked):
    """Pairs of test images, and how their positions are matched."""

    pairs: int = option(4, "pairs of test images")
    classes: Literal["same", "different", "any"] = option("different", "of the two images of a pair")
    seed: int = option(0, "which pairs")
    epsilon: float | None = option(None, "regularisation of the plan (default: the run's, or 0.1)", above=0)
    iterations: int | None = option(None, "cap on the solver's rounds (default: the run's, or 100)", minimum=1)


@dataclass(frozen=True, kw_only=True)
class MatchOptions(PairChoice):
    """What a picture of matched positions shows."""

    pairs: int = option(4, maximum=_SEEN)
    layer: str | None = option(None, "whose maps (default: the run's layer, or the last map)")
    lines: int = option(12, "surest matches to draw", minimum=0)


@dataclass(frozen=True, kw_only=True)
class MorphOptions(PairChoice):
    """What a picture of interpolated feature maps shows."""

    pairs: int = option(3, maximum=_SEEN)
    steps: int = option(9, "values of λ from 1 to 0", minimum=2, maximum=_SEEN)
    animation: str | Path | None = option(None, "write a .gif or .webp file too, there and back")


@dataclass(frozen=True)
class GalleryOptions(Asked):
    """What a picture of what methods make of the same images shows."""

    methods: Listed = option("", "separated by commas (default: all that mix the input)")
    columns: int = option(8, "images in a row", minimum=1, maximum=_SEEN)
    seed: int = option(0, "which images, partners and λ")


@dataclass(frozen=True, kw_only=True)
class PathOptions(PairChoice):
    """What is measured along interpolated feature maps."""

    steps: int = option(9, "values of λ from 1 to 0, an odd number", minimum=2)
    layer: str | None = option(None, "where to interpolate (default: the run's layer)")

    def _check_options(self) -> None:
        if self.steps % 2 == 0:
            raise ValueError(f"--measure compares at λ = 1/2 too: --steps must be odd, got {self.steps}")


def configuration_of(run: Run) -> dict[str, Any]:
    """What runs that differ by their seed alone have in common, ready for JSON.

    Under ``data.root`` stands which images a run was trained on, where the name of its data leaves that open.
    """
    trained_on = own_images(run)
    return meaning(run.config, but=(*OF_ONE_ROW, IMAGES)) | ({"data.root": trained_on} if trained_on else {})


def own_images(run: Run) -> str:
    """`images_of` what a run was trained and tested on, whatever is shown to it now; of a model what it is shown."""
    data = (run.folder.read_config() if run.folder else run.config).data
    return images_of(data.name, data.root)


def circumstances_of(run: Run) -> dict[str, Any]:
    """What tells a run's results from those of others, as the results have it, before anything is measured."""
    data = run.config.data
    return {
        "run": run.name,
        "method": run.method,
        "seed": run.seed,
        "data": data.name,
        "configuration": configuration_of(run),
        "settings": {"images": images_of(data.name, data.root)},
    }


def ood_names(asked: Sequence[str], data: str) -> list[str]:
    """The out-of-distribution sets of a plan; without any, those that need no files and are not the data."""
    return list(asked) or [name for name in DEFAULT_OOD if name != data]


def settings_of(run: Run, plan: Plan) -> dict[str, Any]:
    """Everything that the numbers depend on, ready for JSON; equal settings give equal numbers.

    What all parts depend on stands for itself, and under "parts" what each of those that are asked for depends on too.
    """
    config = to_dict(run.config)
    folder = str(plan.corruption_folder) if plan.corruption_folder else None
    chosen = {"seed": plan.seed, "limit": plan.limit, "version": __version__}
    parts: dict[str, dict[str, Any]] = {
        "error": {"version": __version__},
        "calibration": {"bins": plan.bins, "version": __version__},
        "representation": chosen,
        "attacks": chosen | {"attacks": [asdict(attack) for attack in plan.attacks], "check_images": plan.check_images},
        "ood": chosen | {"ood": ood_names(plan.ood, run.config.data.name)},
        "corruptions": chosen
        | {"kinds": list(plan.kinds), "severities": list(plan.severities), "corruption_folder": folder},
    }
    data = {key: value for key, value in config["data"].items() if key not in ("root", "download", "workers")}
    data |= run.shown
    return {
        "parts": {part: parts[part] for part in PARTS if part == "error" or part in plan.parts},
        "images": images_of(run.config.data.name, run.config.data.root),
        "data": data,
        "model": config["model"],
        "precision": config["train"]["precision"],
        "weights_sha256": run.fingerprint,
    }
