"""The configuration that fits a folder of images: what `alignmixup train --data DIR` trains."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from alignmixup.near import near
from alignmixup.outside import is_outside
from alignmixup.training.bundled import bundled_names
from alignmixup.training.config_file import ConfigError, load
from alignmixup.training.overrides import agreed

if TYPE_CHECKING:
    from collections.abc import Sequence

    from alignmixup.data.inspection import FolderReport
    from alignmixup.training.config import Config

METHOD = "alignmixup"
_RECIPE = "folder"
_HELD_OUT = 0.2  # of each class, where there is no test split
_SIZES = (16, 32, 64)  # of networks trained from scratch: the first that is no smaller than the images
_PRETRAINED_SIZE = 224
_IMAGES = 20_000  # that a run sees in all, in 20 to 100 epochs
_FEW = 3_030  # training images, the most on which fine-tuning without mixing was measured to be ahead
_LOOKED_AT = 400  # images whose sizes are looked at before training


@dataclass(frozen=True)
class Fit:
    """A configuration for a folder of images.

    Args:
        config: the configuration.
        summary: what was found and chosen, a line each.
    """

    config: Config
    summary: tuple[str, ...]


def fit(
    root: Path,
    *,
    method: str = "",
    model: str = "",
    weights: Path | None = None,
    freeze: bool = False,
    overrides: Sequence[str] = (),
) -> Fit:
    """Look at the images below ``root`` and choose what is not given; the method is by default `METHOD`.

    Convention:
        - Without a test split a fifth of each class is held out, drawn with a fixed seed.
        - Images are read as RGB, grey ones too. From scratch: 16, 32 or 64 pixels, the first size that is no smaller
          than the median of the shorter sides. With a ``model`` of torchvision or timm, which is pretrained unless
          ``overrides`` say otherwise: 224.
        - About 20,000 images are seen in all, in 20 to 100 epochs.

    Raises:
        ConfigError: an unknown method, no class folders, fewer than two classes, a class too small to be split, or
            ``overrides`` that say another thing than the other arguments.
        FileNotFoundError: there is no such folder.
    """
    from alignmixup.data.inspection import inspect_folder

    known = [name.rpartition("/")[2] for name in bundled_names() if name.rpartition("/")[0] == _RECIPE]
    if method and method not in known:
        raise ConfigError(f"--method {method}: {near(method, known)}; others by --set method.name=NAME")
    if not model and (weights or freeze):
        raise ConfigError("--weights and --freeze are of a --model that was trained before, such as timm:resnet18")
    given = agreed(
        overrides,
        {
            "data.name": (f"--data {root}", "folder"),
            "data.root": (f"--data {root}", str(root)),
            "method.name": (f"--method {method}", method or None),
            "model.name": (f"--model {model}", model or None),
            "model.weights": (f"--weights {weights}", str(weights) if weights else None),
            "optimizer.freeze": ("--freeze", freeze or None),
        },
    )
    report = inspect_folder(root, limit=_LOOKED_AT)
    chosen = _chosen(report, pretrained=bool(model))
    chosen += _of_model(model, weights, freeze=freeze)
    config = load(f"{_RECIPE}/{method or METHOD}", [*chosen, *given])
    if model and not any(text.partition("=")[0].strip() == "method.layer" for text in overrides):
        # the recipe's layers are those of its own network: in another one they are found automatically
        left = {key: value for key, value in config.method.options.items() if key != "layer"}
        config = replace(config, method=replace(config.method, options=left))
    return Fit(config, (describe(report), *_trouble(report), _plan(config, report), *_advice(config, report)))


def describe(report: FolderReport) -> str:
    """Images, classes and sizes in a line."""
    counts = report.splits[0].counts
    size = ""
    if report.widths and report.heights:
        width, height = (f"{low}" if low == high else f"{low} to {high}" for low, _, high in _sides(report))
        size = f", {width} x {height} pixels, {'/'.join(mode for mode, _ in report.modes.most_common(3))}"
    return f"{report.root}: {report.num_images} images in {len(counts)} classes{size}"


def _sides(report: FolderReport) -> list[tuple[int, float, int]]:
    return [side for side in (report.widths, report.heights) if side]


def _trouble(report: FolderReport) -> list[str]:
    return [f"odd: {line}" for line in report.remarks()]


def _chosen(report: FolderReport, *, pretrained: bool) -> list[str]:
    """Overrides for data and length."""
    first = report.splits[0]
    if first.split not in ("train", "."):
        raise ConfigError(
            f"{report.root} has {first.split}/ and no train/: name the folder that holds train/, or class folders alone"
        )
    if len(first.counts) < 2:
        raise ConfigError(f"{report.root} has one class folder, {next(iter(first.counts))!r}: at least two are needed")
    if report.unreadable:
        path, reason = report.unreadable[0]
        raise ConfigError(
            f"{len(report.unreadable)} images cannot be used; the first is {path}: {reason}. Remove them; "
            f"`alignmixup data {report.root}` lists what is odd"
        )
    if not report.widths or not report.heights:
        raise ConfigError(f"{report.root} holds no image")
    images, chosen = sum(first.counts.values()), []
    if len(report.splits) == 1:
        small = [name for name, count in first.counts.items() if count < 2]
        if small:
            raise ConfigError(
                f"{report.root}: class {small[0]!r} has {first.counts[small[0]]} images; a part is held out to test "
                "on, so each needs 2"
            )
        chosen.append(f"data.validation={_HELD_OUT}")
        images = round(images * (1 - _HELD_OUT))
    if pretrained:
        size, epochs = _PRETRAINED_SIZE, 20
    else:
        side = min(report.widths[1], report.heights[1])
        size = next((one for one in _SIZES if one >= side), _SIZES[-1])
        chosen += [f"model.stem_stride={2 if size == 64 else 1}"]
        chosen += ["model.strides=[1,2,2,1]", 'data.augment="crop2_flip"'] if size == 16 else []
        epochs = max(20, min(100, round(_IMAGES / images)))
    return [*chosen, f"data.image_size={size}", f"train.epochs={epochs}"]


def _of_model(model: str, weights: Path | None, *, freeze: bool) -> list[str]:
    if not model:
        return []
    chosen = ["data.augment=resized_crop_flip", "optimizer.lr=0.01"]
    if not weights and not is_outside(model) and ":" in model:
        chosen.append("model.pretrained=true")
    return chosen if freeze else [*chosen, "optimizer.head_lr_factor=10.0"]


def _advice(config: Config, report: FolderReport) -> list[str]:
    """What our measurements say against this training, in docs/studies/photographs.md."""
    started = config.model.options.get("pretrained") or config.model.options.get("weights")
    if not started or config.method.name == "baseline" or sum(report.splits[0].counts.values()) > _FEW:
        return []
    return [
        "a network that was trained before, on so few images: measured on photographs, no mixing did as well "
        "as any method; --method baseline trains so"
    ]


def _plan(config: Config, report: FolderReport) -> str:
    frozen, data = ", all but the head frozen" if config.optimizer.freeze else "", config.data
    tested = f"tested on {report.splits[-1].split if data.test_split == 'default' else data.test_split}/"
    if held := data.validation:
        share = f"{100 * held:g} % of each class" if held < 1 else f"{held:g} images"
        tested = f"{share}, drawn with a fixed seed, held out to test on"
    return (
        f"{config.method.name} with {config.model.name}{frozen}: {data.image_size} pixels, "
        f"{config.train.epochs} epochs, {tested}"
    )
