"""What the commands that draw a run's network at work share: the run, its test images, their pixels."""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from alignmixup.runs.folder import RunFolder

if TYPE_CHECKING:
    import numpy as np
    import torch

    from alignmixup.data import ImageData
    from alignmixup.evaluation.paths.pair_maps import Alignment, Pairs
    from alignmixup.methods.alignmixup_ae import AlignMixupAE
    from alignmixup.taps import Layout
    from alignmixup.training.config import Config

_METHOD = "alignmixup_ae"


@dataclass(frozen=True, eq=False)
class TrainedRun:
    """A finished run: its folder, configuration, data and network."""

    folder: RunFolder
    config: Config
    dataset: ImageData
    model: torch.nn.Module


def load_run(path: Path, *, data_root: str | None = None, device: str = "cpu") -> TrainedRun:
    """The network of a run with the weights that were evaluated, in eval mode, and the data it was trained on.

    Raises:
        ConfigError: no run folder.
        OSError, ValueError: no weights, or no data; the message says what to do.
    """
    from alignmixup.training.build import build_model, load_data, load_model_weights
    from alignmixup.training.engine import choose_device

    folder = RunFolder(path)
    config = folder.read_config([f"data.root={data_root}"] if data_root else [])
    dataset = load_data(config)
    model = build_model(config, dataset)
    load_model_weights(folder.weights, model)
    return TrainedRun(folder, config, dataset, model.to(choose_device(device)).eval())


def has_decoder(run: TrainedRun) -> bool:
    """Whether a run's method trains a decoder."""
    from alignmixup import methods
    from alignmixup.methods.alignmixup_ae import AlignMixupAE

    return issubclass(methods.load(run.config.method.name), AlignMixupAE)


def load_decoder(run: TrainedRun) -> AlignMixupAE:
    """The decoder that was trained with a run's network, from the run's checkpoint.

    Raises:
        ValueError: the run has none; the message says how to train one.
        FileNotFoundError: the checkpoint is gone.
    """
    from alignmixup.methods.alignmixup_ae import AlignMixupAE
    from alignmixup.training import checkpoint
    from alignmixup.training.build import build_mixer

    mixer = build_mixer(run.config, run.model, run.dataset)
    if not isinstance(mixer, AlignMixupAE):
        raise ValueError(
            f"{run.folder.path} was trained by {run.config.method.name}, which has no decoder to show feature maps as "
            f"images: train one with `alignmixup train --config {run.config.data.name}/{_METHOD}`"
        )
    if not run.folder.checkpoint.is_file():
        raise FileNotFoundError(f"no checkpoint at {run.folder.checkpoint}: the decoder's weights are kept there")
    mixer.prepare(images_at(run, [0, 0])[0])
    mixer.load_state_dict(checkpoint.load(run.folder.checkpoint)["ranks"][0]["mixer"])
    return mixer


def choose(dataset: ImageData, count: int, *, seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Normalised test images at random, with their labels."""
    import torch

    order = torch.randperm(len(dataset.test), generator=torch.Generator().manual_seed(seed))[:count]
    return next(_batches(dataset, order, count))


def images_at(run: TrainedRun, index: list[int]) -> tuple[torch.Tensor, torch.Tensor]:
    """Normalised test images by number, with their labels, on the device of the network."""
    import torch

    return next(_batches(run.dataset, torch.tensor(index), len(index), device=device_of(run)))


def pairs_of(run: TrainedRun, index: torch.Tensor, *, batch_size: int = 100) -> Iterator[Pairs]:
    """Pairs of test images, by their numbers (count, 2), in batches on the device of the network."""
    from alignmixup.evaluation.paths.pair_maps import Pairs

    for x, y in _batches(run.dataset, index.flatten(), 2 * batch_size, device=device_of(run)):
        yield Pairs(x[::2], x[1::2], y[::2], y[1::2])


def device_of(run: TrainedRun) -> torch.device:
    """Where the network lies."""
    return next(run.model.parameters()).device


def pixels(dataset: ImageData, x: torch.Tensor) -> np.ndarray:
    """Normalised images (N, C, H, W) as (N, H, W, 3) in [0, 1]."""
    import torch

    mean, std = (torch.tensor(value).view(-1, 1, 1) for value in (dataset.mean, dataset.std))
    return shown(x.detach().cpu() * std + mean)


def shown(images: torch.Tensor) -> np.ndarray:
    """Images (N, C, H, W) in [0, 1] as (N, H, W, 3); a single channel becomes grey."""
    import numpy as np

    array = images.detach().permute(0, 2, 3, 1).float().cpu().numpy().clip(0, 1)
    return np.asarray(array if array.shape[-1] == 3 else array.repeat(3, axis=-1))


def add_pair_options(parser: argparse.ArgumentParser, *, pairs: int) -> None:
    """Add what both pictures of pairs take."""
    parser.add_argument("folder", type=Path, metavar="RUN", help="run folder of a trained network")
    parser.add_argument(
        "--pairs", type=int, default=pairs, metavar="N", help="pairs of test images (default: %(default)s)"
    )
    parser.add_argument(
        "--classes", choices=("same", "different", "any"), default="different", help="(default: different)"
    )
    parser.add_argument("--seed", type=int, default=0, help="which pairs (default: 0)")
    parser.add_argument(
        "--epsilon", type=float, metavar="E", help="regularisation of the plan (default: the run's, or 0.1)"
    )
    parser.add_argument(
        "--iterations", type=int, metavar="N", help="cap on the solver's rounds (default: the run's, or 100)"
    )
    parser.add_argument("--data-root", metavar="DIR", help="folder of the data, if not that of the run")
    parser.add_argument("--device", default="auto", choices=("auto", "cpu", "cuda", "mps"), help="(default: auto)")


def alignment_of(run: TrainedRun, options: argparse.Namespace) -> Alignment:
    """How positions are matched: as in the run's training where its method aligns, as in the paper elsewhere."""
    from dataclasses import fields

    from alignmixup.evaluation.paths.pair_maps import Alignment
    from alignmixup.methods.alignmixup import AlignMixup

    known = {item.name for item in fields(Alignment)}
    chosen: dict[str, Any] = {key: value for key, value in _options(run, AlignMixup).items() if key in known}
    chosen |= {key: value for key in ("epsilon", "iterations") if (value := getattr(options, key)) is not None}
    return Alignment(**chosen)


def layer_of(run: TrainedRun, named: str | None) -> str:
    """The layer that was named, or that of the run's method (the last of several), or the last with positions.

    Raises:
        ValueError: no such layer; near names are listed.
    """
    from alignmixup.methods.hidden_mixer import HiddenMixer
    from alignmixup.taps import FeatureTap, probe

    chosen = _options(run, HiddenMixer)
    wanted = named or chosen.get("layer")
    if isinstance(wanted, list):
        wanted = wanted[-1]
    if wanted is None:
        wanted = probe(run.model, images_at(run, [0, 0])[0]).last()
    return FeatureTap.of(run.model).resolve(str(wanted))


def layout_of(run: TrainedRun) -> Layout | None:
    """The layout of the layers' outputs as the run's method was told it, if it was."""
    from alignmixup.methods.hidden_mixer import HiddenMixer

    return cast("Layout | None", _options(run, HiddenMixer).get("layout"))


def _options(run: TrainedRun, kind: type) -> Mapping[str, Any]:
    """Options of a run's method if it is of a kind: other methods may mean something else by the same names."""
    from alignmixup import methods

    return run.config.method.options if issubclass(methods.load(run.config.method.name), kind) else {}


def draw_index(run: TrainedRun, options: argparse.Namespace, count: int) -> torch.Tensor:
    """Numbers (count, 2) of the test images that make the pairs."""
    import torch

    from alignmixup.evaluation.paths.pairs import draw_pairs

    generator = torch.Generator().manual_seed(options.seed)
    return draw_pairs(run.dataset.test.labels, count, classes=options.classes, generator=generator)


def _batches(
    dataset: ImageData, index: torch.Tensor, size: int, *, device: torch.device | str = "cpu"
) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
    from alignmixup.data import build_loaders

    part = replace(dataset, test=dataset.test.select(index))
    yield from build_loaders(part, batch_size=size, augment=None, device=device)[1]
