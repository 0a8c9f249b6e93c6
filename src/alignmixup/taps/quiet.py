"""Running a model to look at it, without a trace: flags, buffers, random streams and gradients stay as they were."""

import random
import sys
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils import parametrize
from torch.overrides import TorchFunctionMode

from alignmixup.modules import evaluation_flags
from alignmixup.taps.feature_tap import FeatureTap

_SMALL = 1e-3  # parameters that start at (nearly) zero: heads, LayerScale, the last BatchNorm of a residual branch
Training = Literal["containers", "model", "none"]  # modules with parts, the model itself
_OF_TORCH = frozenset(vars(nn.Module()))  # attributes that every module has
_PARTS = ("_modules", "_parameters", "_buffers")
_DROPOUT: set[Callable[..., Any]] = {
    F.dropout, F.dropout1d, F.dropout2d, F.dropout3d, F.alpha_dropout, F.feature_alpha_dropout, torch.dropout,
    torch.dropout_, torch.alpha_dropout, torch.alpha_dropout_, torch.feature_dropout, torch.feature_dropout_,
}  # fmt: skip
_DRAWS_IN_TRAINING = {F.multi_head_attention_forward, F.rrelu}  # and do nothing else that depends on the flag


@contextmanager
def evaluating(root: nn.Module) -> Iterator[None]:
    """Run eagerly, with training flags off and without gradients or warnings; attributes come back as they were."""
    # a compiled model is not traced for this look, and its warnings (checkpointing without gradients) mean nothing
    with (
        own_attributes(root),
        evaluation_flags(root),
        warnings.catch_warnings(),
        torch.no_grad(),
        torch.compiler.set_stance("force_eager"),
        no_kept_weights(),
    ):
        warnings.simplefilter("ignore")
        yield


@contextmanager
def no_kept_weights() -> Iterator[None]:
    """Neither autocast nor ``parametrize.cached()`` keeps what it makes of weights, nor reads what it kept.

    The step would go on with what was made of values that were swapped, or without gradients.
    """
    autocast, parametrized = torch.is_autocast_cache_enabled(), parametrize._cache_enabled
    torch.set_autocast_cache_enabled(False)
    parametrize._cache_enabled = 0
    try:
        yield
    finally:
        torch.set_autocast_cache_enabled(autocast)
        parametrize._cache_enabled = parametrized


@contextmanager
def looking(root: nn.Module, *, reveal: bool = True, training: Training = "containers") -> Iterator[Callable[[], bool]]:
    """Run a model as its training does, but for what is random, and with no parameter that hides a path.

    - Modules without parts are in eval mode, but for BatchNorm layers in training: with statistics of the batch they
      neither let a new network's activations vanish nor see which sample stands in which row. Modules with parts keep
      their flags, by which some run heads or paths that exist in training only.
    - Parameters that are (nearly) zero are replaced: a head, a LayerScale or a residual branch that starts at zero
      would hide what passes through it.
    - Dropout without a module is off. Hidden mixing is off.

    Buffers, attributes, parameters, training flags and random streams come back as they were.

    Args:
        root: the unwrapped model.
        reveal: replace the parameters that are nearly zero.
        training: which modules, beside BatchNorm, keep their training flags: where one draws, fewer can.

    Yields:
        Tells whether anything was drawn since.
    """
    with ExitStack() as stack:
        stack.enter_context(own_buffers(root))
        norms = [m for m in root.modules() if isinstance(m, nn.modules.batchnorm._BatchNorm) and m.training]
        drew = stack.enter_context(own_streams(root))
        if reveal:
            stack.enter_context(nothing_hidden(root))
        kept = {
            m: m.training for m in root.modules() if training == "containers" and next(m.children(), None) is not None
        }
        if training != "none":
            kept[root] = root.training
        stack.enter_context(evaluating(root))
        for module, flag in kept.items():
            module.training = flag
        for module in norms:
            # its collectives would wait for processes that are not looking
            module.training = not isinstance(module, nn.SyncBatchNorm)
        tap = FeatureTap.of(root)
        nothing: dict[str, Any] = {}
        tap.push(nothing)
        stack.callback(tap.pop, nothing, check=False)
        stack.enter_context(_NoDropout())
        yield drew


class _NoDropout(TorchFunctionMode):
    """Makes the functions of dropout pass their input through."""

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        options = dict(kwargs or {})
        if func in _DROPOUT:
            return args[0] if args else options["input"]
        if func in _DRAWS_IN_TRAINING and "training" in options:
            options["training"] = False
        if func is F.scaled_dot_product_attention:
            if len(args) > 4:
                args = (*args[:4], 0.0, *args[5:])
            options.pop("dropout_p", None)
        return func(*args, **options)


@contextmanager
def own_buffers(root: nn.Module) -> Iterator[None]:
    """Copies take the updates, whether a module writes into its buffer or replaces it."""
    buffers = [(module, dict(module._buffers)) for module in root.modules() if module._buffers]
    try:
        for module, own in buffers:
            module._buffers.update({name: None if value is None else value.clone() for name, value in own.items()})
        yield
    finally:
        for module, own in buffers:
            module._buffers.clear()
            module._buffers.update(own)


@contextmanager
def own_attributes(root: nn.Module) -> Iterator[None]:
    """Put back what modules keep as plain attributes: counters, caches, states, and what is in lists and the like."""
    before = [(vars(module), _plain(module)) for module in root.modules()]
    kept = {id(value): value for _, plain in before for value in plain.values() if type(value) in (dict, list, set)}
    contents = [(value, value.copy()) for value in kept.values()]
    try:
        yield
    finally:
        for own, plain in before:
            for name in own.keys() - _OF_TORCH - plain.keys():
                del own[name]
            # what came to be a part meanwhile, such as a head that the first forward makes, stays one
            own.update({name: value for name, value in plain.items() if not any(name in own[kind] for kind in _PARTS)})
        for value, content in contents:
            value.clear()
            value.extend(content) if isinstance(value, list) else value.update(content)


def _plain(module: nn.Module) -> dict[str, Any]:
    return {name: value for name, value in vars(module).items() if name not in _OF_TORCH}


@contextmanager
def own_streams(root: nn.Module) -> Iterator[Callable[[], bool]]:
    """Restore the random streams of torch, Python and, where it is loaded, NumPy; tell whether they moved."""
    devices = sorted({p.device.index or 0 for p in root.parameters() if p.is_cuda})
    python, numpy = random.getstate(), sys.modules.get("numpy")
    state = None if numpy is None else numpy.random.get_state()

    def streams() -> list[Any]:
        own = [torch.get_rng_state(), *(torch.cuda.get_rng_state(device) for device in devices)]
        drawn = None if numpy is None else numpy.random.get_state()
        return [random.getstate(), str(drawn and (drawn[1].tolist(), drawn[2])), *(s.tolist() for s in own)]

    before = streams()
    try:
        with torch.random.fork_rng(devices=devices):
            yield lambda: streams() != before
    finally:
        random.setstate(python)
        if numpy is not None:
            numpy.random.set_state(state)


@contextmanager
def nothing_hidden(root: nn.Module) -> Iterator[None]:
    """Swap parameters that are nearly zero, but for biases, for values of an ordinary size."""
    weights = [
        p
        for name, p in root.named_parameters()
        if type(p.data) is Tensor and p.is_floating_point() and p.numel() and not name.endswith("bias")
    ]
    own: list[tuple[nn.Parameter, Tensor]] = []
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        largest = [w.abs().amax().float().cpu() for w in weights]
    sizes = torch.stack(largest).tolist() if largest else []
    try:
        for parameter, size in zip(weights, sizes, strict=True):
            if size <= _SMALL and not parameter.is_meta:
                own.append((parameter, parameter.data))
                parameter.data = _ordinary(parameter, generator)
        yield
    finally:
        for parameter, values in own:
            parameter.data = values


def _ordinary(parameter: nn.Parameter, generator: torch.Generator) -> Tensor:
    if parameter.ndim < 2:  # a gain
        values = 0.5 + 0.5 * torch.rand(parameter.shape, dtype=torch.float32, device="cpu", generator=generator)
    else:
        values = (
            torch.randn(parameter.shape, dtype=torch.float32, device="cpu", generator=generator)
            / parameter[0].numel() ** 0.5
        )
    return torch.empty_like(parameter.data).copy_(values)
