"""What the class token of a transformer attends to, in its last attention layer: found, proved, then watched."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from alignmixup.taps.layout import named_tokens
from alignmixup.taps.outputs import first_tensor, logits_of
from alignmixup.taps.quiet import looking
from alignmixup.taps.run import NotCallableError
from alignmixup.taps.sample import Inputs
from alignmixup.taps.tokens import extra_tokens

_CLASS_TOKENS = {"class_token", "cls_token"}
_HEADS = ("num_heads", "num_attention_heads")
# the projections of queries, keys and values, one layer or three, and the last one
_FUSED = ("qkv", "proj")
_SEPARATE = (("q_proj", "k_proj", "v_proj", "o_proj"), ("query", "key", "value", ""))
_OTHER_PARTS = {"attn_drop", "proj_drop", "dropout", "q_norm", "k_norm"}
_EXACT = 0.02  # fused attention in half precision


class ClassAttention:
    """The last attention layer of a network with a class token.

    Args:
        root: the unwrapped model.
        layer: dotted name of the attention layer; None for the last.

    Attributes:
        layer: its name.
        prefix: number of tokens in front of the patches, the class token first.
        count: number of all tokens; None before it is proved.

    Raises:
        ValueError: the network has no class token, or no attention layer of a kind that is known.
    """

    def __init__(self, root: nn.Module, layer: str | None = None) -> None:
        kind = type(root).__name__
        if not any(name.rpartition(".")[2] in _CLASS_TOKENS for name, _ in root.named_parameters()):
            raise ValueError(
                f"{kind} has no class token, whose attention would weigh the labels: use a vision transformer with one "
                "(a parameter class_token or cls_token), or CutMix"
            )
        known = {name: module for name, module in root.named_modules() if _is_attention(module)}
        if layer is None and not known:
            raise ValueError(
                f"{kind} has no attention layer of a kind that is known (nn.MultiheadAttention, qkv and proj as in "
                "timm, q_proj, k_proj and v_proj as in transformers): use such a network, or CutMix"
            )
        if layer is not None and layer not in known:
            raise ValueError(f"{layer!r} is no attention layer of {kind}: it has {', '.join(known) or 'none'}")
        self.layer = list(known)[-1] if layer is None else layer
        self.prefix = max(named_tokens(root).named, 1)
        self.count: int | None = None

    def prove(self, root: nn.Module, inputs: Inputs, place: str | None = None) -> None:
        """Run two examples, and see that the layer is read through the class token, with this attention.

        ``place`` is what the layer is called now, where something was put around it since.

        Raises:
            NotCallableError: the model cannot be called with these inputs.
            ValueError: the layer computes something else, or the classifier does not read the class token behind it.
        """
        kind, module = type(root).__name__, root.get_submodule(place or self.layer)
        seen: list[tuple[Tensor, Tensor]] = []

        def look(module: nn.Module, args: tuple[Any, ...], output: Any) -> None:
            tokens, result = first_tensor(args), first_tensor(output)
            if tokens is not None and result is not None:
                seen.append((tokens.clone(), result.clone()))

        clean = self._logits(root, module, inputs, look)
        fixed = extra_tokens(root, inputs).fixed
        if len(seen) != 1:
            raise ValueError(
                f"attention layer {self.layer!r} of {kind} is called with tokens {len(seen)} times in a forward, "
                "expected once, with the tokens in the first place and not by name: name another"
            )
        tokens, result = seen[0]
        if tokens.ndim != 3 or tokens.shape != result.shape or tokens.shape[1] <= self.prefix:
            raise ValueError(
                f"attention layer {self.layer!r} of {kind} takes {tuple(tokens.shape)}, expected tokens (B, N, C) with "
                "the class token first: name another"
            )
        count = self.count = tokens.shape[1]
        extra = [place % count for place in fixed.get(count, range(self.prefix))]
        self.prefix = len(extra)
        if extra != [*range(self.prefix)]:
            raise ValueError(
                f"tokens {', '.join(map(str, extra))} of the {count} of {kind} lie at no patch, expected the class "
                "token and others like it first: put them in front, or use CutMix"
            )
        with looking(root, training="none"):
            own = _class_output(module, tokens)
        apart = (own - result[:, 0].float()).norm() / result[:, 0].float().norm()
        if not apart <= _EXACT:
            raise ValueError(
                f"attention layer {self.layer!r} of {kind} computes more than softmax(q k / sqrt(d)) v, such as "
                f"relative or rotary positions or a mask (its output differs by {float(apart):.2g}): use another "
                "network, or CutMix"
            )

        def change(module: nn.Module, args: tuple[Any, ...], output: Any) -> None:
            changed = first_tensor(output)
            if changed is not None:
                changed[:, 0] += 3 * changed.std() + torch.linspace(
                    -1, 1, changed.shape[2], dtype=torch.float32, device="cpu"
                ).to(changed)

        if torch.equal(clean, self._logits(root, module, inputs, change)):
            raise ValueError(
                f"{kind} does not read its class token behind attention layer {self.layer!r} (it averages the patches, "
                "or this is not its last): use a network that classifies by the class token, or CutMix"
            )

    def _logits(self, root: nn.Module, layer: nn.Module, inputs: Inputs, hook: Callable[..., None]) -> Tensor:
        args, kwargs = inputs.pairs(1)
        with looking(root, training="none"):
            handle = layer.register_forward_hook(hook)
            try:
                output = root(*args, **kwargs)
            except Exception as error:
                raise NotCallableError(f"{type(error).__name__}: {error}") from error
            finally:
                handle.remove()
        return logits_of(type(root).__name__, output, 2)


def class_attention(module: nn.Module, tokens: Tensor) -> Tensor:
    """What the class token attends to, without gradients: mean over the heads, before any dropout.

    Args:
        module: the attention layer.
        tokens: (B, N, C) its input, the class token first.

    Returns:
        (B, N) float32, of sum 1.
    """
    with torch.no_grad():
        return _by_heads(module, tokens)[:, :, 0].mean(1)


def _class_output(module: nn.Module, tokens: Tensor) -> Tensor:
    """The layer's output at the class token, (B, C), by the formula that `class_attention` knows."""
    value = _heads(module, _projections(module)[2](tokens))
    joined = (_by_heads(module, tokens) @ value.float()).transpose(1, 2).flatten(1)
    last = next((getattr(module, name) for name in ("proj", "o_proj", "out_proj") if hasattr(module, name)), None)
    return (joined if last is None else last(joined.to(tokens.dtype))).float()


def _by_heads(module: nn.Module, tokens: Tensor) -> Tensor:
    """The class token's attention in each head, (B, heads, 1, N) float32."""
    to_query, to_key, _ = _projections(module)
    query = _normed(module, "q_norm", _heads(module, to_query(tokens[:, :1])))
    key = _normed(module, "k_norm", _heads(module, to_key(tokens)))
    scores = query.float() @ key.float().transpose(2, 3)
    return torch.softmax(scores * query.shape[3] ** -0.5, 3)


def _is_attention(module: nn.Module) -> bool:
    if isinstance(module, nn.MultiheadAttention):
        plain = module.in_proj_weight is not None and module.bias_k is None and not module.add_zero_attn
        return plain and module.batch_first
    if not any(isinstance(getattr(module, name, None), int) for name in _HEADS):
        return False
    parts = {name for name, part in module.named_children() if not isinstance(part, nn.Identity)}
    own = any(True for _ in module.parameters(recurse=False))  # tables of relative positions, biases of their own
    return not own and any(
        wanted <= parts <= wanted | _OTHER_PARTS
        for wanted in (set(_FUSED), *(set(filter(None, names)) for names in _SEPARATE))
    )


def _projections(module: nn.Module) -> tuple[Callable[[Tensor], Tensor], ...]:
    """Functions of the tokens that give queries, keys and values, (B, N, C)."""
    if isinstance(module, nn.MultiheadAttention):
        assert module.in_proj_weight is not None
        weights = module.in_proj_weight.chunk(3)
        biases = (None,) * 3 if module.in_proj_bias is None else module.in_proj_bias.chunk(3)
        return tuple(_linear(weight, bias) for weight, bias in zip(weights, biases, strict=True))
    if hasattr(module, "qkv"):
        return tuple(_third(module.get_submodule("qkv"), number) for number in range(3))
    names = next(names for names in _SEPARATE if hasattr(module, names[0]))
    return tuple(getattr(module, name) for name in names[:3])


def _linear(weight: Tensor, bias: Tensor | None) -> Callable[[Tensor], Tensor]:
    return lambda tokens: F.linear(tokens, weight, bias)


def _third(layer: nn.Module, number: int) -> Callable[[Tensor], Tensor]:
    """One part of a layer that gives three, computed alone where that can be."""
    if type(layer) is nn.Linear:
        return _linear(layer.weight.chunk(3)[number], None if layer.bias is None else layer.bias.chunk(3)[number])
    return lambda tokens: layer(tokens).chunk(3, 2)[number]


def _heads(module: nn.Module, tokens: Tensor) -> Tensor:
    """(B, N, C) as (B, heads, N, C / heads)."""
    count: int = next(getattr(module, name) for name in _HEADS if hasattr(module, name))
    return tokens.view(*tokens.shape[:2], count, -1).transpose(1, 2)


def _normed(module: nn.Module, name: str, values: Tensor) -> Tensor:
    norm: Callable[[Tensor], Tensor] | None = getattr(module, name, None)
    return values if norm is None else norm(values)
