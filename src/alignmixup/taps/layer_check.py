"""What a hidden method must know of its layers before it mixes: that they are cuts, their form, what they cost."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from alignmixup.taps.layout import Form, guess_layout
from alignmixup.taps.probe import Probe
from alignmixup.taps.run import LayerUse, SeenLayer, told

PlanSize = Callable[[tuple[int, ...]], tuple[int, int, float]]
_TIMED_CELLS = 784  # larger plans are not made to find out how long they take, but reckoned


@dataclass(frozen=True)
class LayerReport:
    """A layer that was looked at.

    Attributes:
        name: dotted name.
        shape: shape of its output (of the first tensor, if there are several) for the whole batch.
        positions: number of positions of that output.
        share: the partner's share of the logits where two examples exchange their features: 1 at a cut.
        use: what the classifier reads from it.
        forms: how its tensors hold their positions; empty where that does not matter.
        cells: positions of its transport plan: fewer, where large maps are aligned coarse to fine; None as below.
        milliseconds: time of the mixing of a batch of this size; None where positions do not matter.
    """

    name: str
    shape: tuple[int, ...]
    positions: int
    share: float
    use: LayerUse
    forms: tuple[Form, ...]
    cells: int | None
    milliseconds: float | None

    def __str__(self) -> str:
        cost = "" if self.milliseconds is None else f", about {self.milliseconds:.3g} ms a batch"
        coarse = "" if self.cells in (None, self.positions) else f" aligned as {self.cells} cells"
        return f"{self.name}: shape {self.shape}, {self.positions} positions{coarse}{cost}"


def check_layers(
    found: Probe,
    names: Sequence[str],
    mix_pair: Callable[[Tensor], object],
    plan_size: PlanSize,
    *,
    reads_positions: bool,
    is_proof: bool,
) -> tuple[LayerReport, ...]:
    """Look at layers, and refuse those at which labels and content would differ.

    Args:
        found: the model.
        names: the layers.
        mix_pair: mixes maps of two examples (2, C, positions...) with each other; it is timed.
        plan_size: positions of maps with these axes, positions of their plan, and its operations.
        reads_positions: the method aligns positions.
        is_proof: refuse layers that are no cuts.

    Raises:
        ValueError: a layer is not one, with the number, and the nearest ones that are.
    """
    layers = [_ran_once(found, name) for name in names]
    if reads_positions:
        for layer in layers:
            _check_form(found, layer)
    for first in range(0, len(names), 2):
        found.look(names[first : first + 2])
    reports = []
    for layer in layers:
        if is_proof:
            _check_carries(found, layer.name, reads_positions=reads_positions)
        cells, cost = _cost(found, layer, mix_pair, plan_size) if reads_positions else (None, None)
        forms = tuple(form for form in layer.forms if form is not None) if reads_positions else ()
        shape = (found.run.inputs.batch, *layer.shape[1:])
        share, use = found.share(layer.name), found.use(layer.name)
        reports.append(LayerReport(layer.name, shape, layer.positions, share, use, forms, cells, cost))
    return tuple(reports)


def check_again(found: Probe, names: Sequence[str]) -> None:
    """Look at layers that were cuts before: whether they are still.

    What they return and what is read from it may differ by batch, and in a training that goes badly.

    Raises:
        ValueError: as `check_layers`, where a layer runs twice, or never, or something goes past it.
    """
    for name in names:
        _ran_once(found, name)
        _check_carries(found, name, reads_positions=False)


def _ran_once(found: Probe, name: str) -> SeenLayer:
    calls = found.run.calls[name]
    if calls == 0:
        raise ValueError(
            f"layer {name!r} never runs in a forward of the model (a container whose parts are called one by one, as "
            f"under activation checkpointing?); {_advice(found, name)}"
        )
    if calls > 1:
        raise ValueError(
            f"layer {name!r} runs {calls} times in one forward: its outputs would be mixed {calls} times and the "
            f"labels once; {_advice(found, name)}"
        )
    layer = found.run.find(name)
    if layer is None:
        raise ValueError(
            f"layer {name!r} returns no floating-point tensor with the batch axis in front; {_advice(found, name)}"
        )
    return layer


def _check_form(found: Probe, layer: SeenLayer) -> None:
    """Refuse a map whose axes are unknown, with the choices, and an output without any positions."""
    if all(len(shape) < 3 for shape in layer.shapes):
        raise ValueError(
            f"layer {layer.name!r} returns shape {layer.shape}, which has no positions to align; "
            f"{_advice(found, layer.name)}; or use ManifoldMixup"
        )
    module = found.run.root.get_submodule(layer.name)
    for form, shape in zip(layer.forms, layer.shapes, strict=True):
        if form is None:
            guess_layout(module, shape)  # raises


def _check_carries(found: Probe, name: str, *, reads_positions: bool) -> None:
    if not found.is_cut(name):
        if found.carries(name):
            raise ValueError(
                f"layer {name!r} carries everything in eval mode but not in training, where with equal random numbers "
                f"a part goes past it or images stand in another order; {_advice(found, name)}; carry_test=False "
                "switches this proof off"
            )
        raise ValueError(
            f"layer {name!r} does not carry everything: where two images exchange their features there, "
            f"{told(found.share(name))} of the logits follow instead of 1.000, while labels would be mixed in full "
            f"(the rest goes past the layer); {_advice(found, name)}; carry_test=False switches this proof off"
        )
    if reads_positions and found.use(name) == "nothing":
        raise ValueError(
            f"mixing at layer {name!r} cannot change the output: the classifier reads nothing from its positions (a "
            "class token after the last block?); choose an earlier layer"
        )


def _advice(found: Probe, name: str) -> str:
    near = found.nearest(name)
    if not near:
        return "no layer near it carries the whole network: mix the input, with Mixup or input_probability=1"
    return f"the nearest layers that carry everything: {', '.join(map(repr, near))}"


def _cost(
    found: Probe, layer: SeenLayer, mix_pair: Callable[[Tensor], object], plan_size: PlanSize
) -> tuple[int, float]:
    """Positions of the plans of a layer's maps, and the time of mixing the batch's, on maps of two examples."""
    like = next(
        (p for p in found.run.root.parameters() if p.is_floating_point()),
        torch.empty(0, dtype=torch.float32, device="cpu"),
    )
    cells, milliseconds = 0, 0.0
    for form, shape in zip(layer.forms, layer.shapes, strict=True):
        if form is None or len(shape) < 3:
            continue
        axes = timed = form.axes(shape)
        while plan_size(timed)[1] > _TIMED_CELLS:
            timed = tuple((length + 1) // 2 for length in timed)
        (_, own, whole), (_, _, part) = plan_size(axes), plan_size(timed)
        channels = shape[1] if form.layout == "channels_first" else shape[-1]
        maps = torch.randn(
            2, channels, *timed, dtype=torch.float32, device="cpu", generator=torch.Generator().manual_seed(0)
        )
        seconds = _seconds(mix_pair, maps.to(like.device, like.dtype))
        cells = max(cells, own)
        milliseconds += 500 * found.run.inputs.batch * seconds * whole / part
    return cells, milliseconds


def _seconds(mix_pair: Callable[[Tensor], object], maps: Tensor) -> float:
    for features in (maps[:, :, :2], maps):  # what is built on first use is not what a batch costs
        start = time.perf_counter()
        with torch.no_grad():
            mix_pair(features)
        if features.is_cuda:
            torch.cuda.synchronize(features.device)
    return time.perf_counter() - start
