"""What a classifier makes of feature maps interpolated between two images, aligned and unaligned."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, fields, replace
from typing import Any

import torch
from torch import Tensor, nn

from alignmixup.evaluation.paths.pair_maps import PATHS, Alignment, PairMaps, Pairs, Path, pair_maps
from alignmixup.functional.reconstruction import peak_signal_to_noise
from alignmixup.methods.alignmixup_ae import AlignMixupAE
from alignmixup.methods.base import MixedBatch
from alignmixup.taps import Attachment, LayerMix, Layout
from alignmixup.taps.outputs import logits_of
from alignmixup.taps.quiet import evaluating


def classify_maps(model: nn.Module, layer: str, x: Tensor, maps: Tensor, *, layout: Layout | None = None) -> Tensor:
    """Class probabilities (n, K) that the rest of the network gives to ``maps`` (n, C, h, w) in the place of a layer's
    output.

    The model's modules run in eval mode and no buffer changes; what goes past the layer (a class token) comes from
    ``x``. ``layout`` is that of the layer's output; None tells it from shape and module.
    """
    tap = Attachment(model)
    layer = tap.attach(layer)
    labels = torch.empty(0)

    def put(features: Tensor) -> Tensor:
        root.training = False
        # class tokens, which come by themselves as one position, stay those of the images
        if features[0, 0].numel() == 1 < maps[0, 0].numel():
            return features
        return maps.to(features.dtype).reshape(*maps.shape[:2], *features.shape[2:])

    hidden = {layer: LayerMix(put, layout=layout)}
    module, root = tap.root.get_submodule(layer), tap.root

    # the tap asks the root's own flag, and is told what it wants to hear when its hook runs: a dropout or another path
    # in the root's forward asks it too
    with evaluating(root), ExitStack() as hooks:
        hooks.callback(module.register_forward_hook(lambda *_: setattr(root, "training", True)).remove)
        with MixedBatch(x, labels, labels, hidden=hidden, tap=tap) as batch:  # whose hook comes last now
            output = root(batch.x)
    return _softmax(root, output, len(x))


@dataclass(frozen=True, eq=False, kw_only=True)
class PathScores:
    """What was found along one path for N pairs and T coefficients; on the CPU.

    Attributes:
        own: (N, T) probability of the first example's class.
        partner: (N, T) probability of the partner's class.
        either: (N, T) probability that the class is one of the pair's: their sum, or ``own`` where they are the same.
        entropy: (N, T) entropy of the class probabilities, in nats.
        decoded_either: (N, T) as ``either``, of the decoded image read by the classifier; a diagnostic only.
        frame_change: (N, T - 1) mean squared difference of pixels between neighbouring decoded images.
        sharpness: (N, T) mean absolute difference of neighbouring pixels of the decoded image, over that of the two
            reconstructed images interpolated with the same coefficient: below 1 where a mixture fades.
    """

    own: Tensor
    partner: Tensor
    either: Tensor
    entropy: Tensor
    decoded_either: Tensor | None = None
    frame_change: Tensor | None = None
    sharpness: Tensor | None = None

    def select(self, index: Tensor) -> PathScores:
        """The pairs at ``index``."""
        chosen = {f.name: getattr(self, f.name) for f in fields(self)}
        return replace(self, **{name: value[index] for name, value in chosen.items() if value is not None})


@dataclass(frozen=True, eq=False)
class Interpolation:
    """Scores of N pairs along all paths.

    Attributes:
        lam: (T,) coefficients, from 1 to 0.
        paths: path -> its scores.
        ends_right: (N,) bool: the classifier is right about both images.
        psnr: (N, 2) peak signal-to-noise ratio of the reconstructed first examples and partners, in decibels; None
            without a decoder.
    """

    lam: Tensor
    paths: dict[Path, PathScores]
    ends_right: Tensor
    psnr: Tensor | None


@torch.no_grad()
def measure_paths(
    model: nn.Module,
    layer: str,
    batches: Iterable[Pairs],
    *,
    lam: Sequence[float],
    alignment: Alignment,
    layout: Layout | None = None,
    decoder: AlignMixupAE | None = None,
) -> Interpolation:
    """Follow the classifier along the paths between the images of many pairs, in the space of a layer's maps.

    Convention:
        - ``lam``, the coefficients, decrease from 1 to 0; ``layer``, ``layout`` as in `classify_maps`; pairs are on the
          model's device.
        - ``decoder`` shows maps of ``layer`` as images, for the measures of decoded images; None leaves those out.

    Raises:
        ValueError: there is no pair, or the coefficients do not decrease from 1 to 0.
    """
    if len(lam) < 2 or list(lam) != sorted(set(lam), reverse=True) or lam[0] != 1 or lam[-1] != 0:
        raise ValueError(f"the coefficients must decrease from 1 to 0, got {list(lam)}")
    found: list[tuple[dict[Path, PathScores], Tensor, Tensor | None]] = []
    for pairs in batches:
        maps = pair_maps(model, layer, pairs, alignment, layout=layout)
        scores: dict[Path, PathScores] = {}
        for path in PATHS:
            frames = [maps.mix(torch.full((len(pairs.first),), value, device=maps.first.device), path) for value in lam]
            probs = [classify_maps(model, layer, pairs.first, mixed, layout=layout) for mixed in frames]
            along = torch.stack(probs, dim=1)
            own, partner, either = (values.cpu() for values in _of_pair(along, pairs))
            entropy = torch.special.entr(along).sum(2).cpu()
            scores[path] = PathScores(own=own, partner=partner, either=either, entropy=entropy)
            if decoder is not None:
                scores[path] = replace(scores[path], **_scores_of_images(frames, maps, pairs, lam=lam, decoder=decoder))
        right = _is_right(classify_maps(model, layer, pairs.first, maps.first, layout=layout), pairs.y_first)
        right &= _is_right(classify_maps(model, layer, pairs.partner, maps.partner, layout=layout), pairs.y_partner)
        found.append((scores, right, None if decoder is None else _psnr(decoder, pairs, maps)))
    if not found:
        raise ValueError("nothing to measure: there are no pairs")
    paths = {path: _joined([scores[path] for scores, _, _ in found]) for path in PATHS}
    ratios = [ratio for _, _, ratio in found if ratio is not None]
    right = torch.cat([right for _, right, _ in found])
    return Interpolation(torch.tensor(list(lam)), paths, right, torch.cat(ratios) if ratios else None)


def _is_right(probs: Tensor, y: Tensor) -> Tensor:
    return (probs.argmax(1) == y).cpu()


def _scores_of_images(
    frames: Sequence[Tensor], maps: PairMaps, pairs: Pairs, *, lam: Sequence[float], decoder: AlignMixupAE
) -> dict[str, Tensor]:
    """What `PathScores` holds about decoded images."""
    images = torch.stack([decoder.decode(mixed) for mixed in frames], dim=1)
    model = decoder.model
    assert model is not None
    with evaluating(model):
        seen = [decoder.normalized(frame) for frame in images.unbind(1)]
        probs = torch.stack([_softmax(model, model(frame), len(frame)) for frame in seen], dim=1)
    first, partner = (_roughness(decoder.decode(own)[:, None]) for own in (maps.first, maps.partner))
    expected = torch.tensor(list(lam), device=images.device) * (first - partner) + partner
    return {
        "decoded_either": _of_pair(probs, pairs)[2].cpu(),
        "frame_change": images.diff(dim=1).square().flatten(2).mean(2).cpu(),
        "sharpness": (_roughness(images) / expected.clamp_min(1e-6)).cpu(),
    }


def _softmax(model: nn.Module, output: Any, batch: int) -> Tensor:
    return logits_of(type(model).__name__, output, batch).float().softmax(dim=1)


def _of_pair(probs: Tensor, pairs: Pairs) -> tuple[Tensor, Tensor, Tensor]:
    """Probabilities (n, T) of the first's class, of the partner's, and of either, of ``probs`` (n, T, K)."""
    own, partner = (
        probs.gather(2, y[:, None, None].expand(-1, probs.shape[1], 1)).squeeze(2)
        for y in (pairs.y_first, pairs.y_partner)
    )
    return own, partner, own + partner * (pairs.y_first != pairs.y_partner)[:, None]


def _roughness(images: Tensor) -> Tensor:
    """Mean absolute difference of neighbouring pixels, (n, T), of images (n, T, C, H, W)."""
    down, right = images.diff(dim=3).abs().flatten(2).mean(2), images.diff(dim=4).abs().flatten(2).mean(2)
    return (down + right) / 2


def _psnr(decoder: AlignMixupAE, pairs: Pairs, maps: PairMaps) -> Tensor:
    sides = ((pairs.first, maps.first), (pairs.partner, maps.partner))
    return torch.stack([peak_signal_to_noise(decoder.decode(m), decoder.pixels(x)) for x, m in sides], dim=1).cpu()


def _joined(parts: Sequence[PathScores]) -> PathScores:
    columns = {f.name: [getattr(part, f.name) for part in parts] for f in fields(PathScores)}
    return PathScores(**{name: torch.cat(values) for name, values in columns.items() if values[0] is not None})
