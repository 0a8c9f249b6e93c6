"""TransMix."""

from dataclasses import dataclass, replace
from functools import partial
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from alignmixup.functional.interpolation import mix_pairs
from alignmixup.methods.base import Draw, LateLabels, MixedBatch
from alignmixup.methods.cutmix import CutMix, CutMixDraw
from alignmixup.methods.tokenmix import patch_sides
from alignmixup.options import option
from alignmixup.taps import Attachment, ClassAttention, Inputs, LayerMix, NotCallableError, class_attention


@dataclass(eq=False, kw_only=True)
class TransMix(CutMix):
    """Paste boxes as CutMix does; labels follow what the model's class token attends to in the mixed images.

    The attention is that of the training forward itself: ``batch.target`` and ``batch.lam`` hold CutMix's labels until
    the model has seen the batch, which changes both in place. So a batch does not unpack; a drop-in hands out the
    target that will change.

    Source:
        Chen, Sun, He, Torr, Yuille, Bai, TransMix: Attend to Mix for Vision Transformers, CVPR 2022 (arXiv 2111.09833),
        and its published code.
    """

    probability: float = option(
        1.0, paper="0.8 as configured, 0.5 as released; other batches are mixed by mixup with α 0.8"
    )
    attention_share: float = option(
        0.5,
        "share of the attention in the weight of a label, in [0, 1]; the rest is that of the area",
        paper="0.5 in the code; the paper describes 1",
        minimum=0,
        maximum=1,
    )
    layer: str | None = option(
        None, "the attention layer to ask, a dotted name; None for the last", paper="the last block", fixed=True
    )

    needs_model = "weighs labels by the model's attention"
    looks_inside: ClassVar[bool] = True

    def __post_init__(self) -> None:
        super().__post_init__()
        assert self._root is not None
        self._attention = ClassAttention(self._root, self.layer)
        self._tap = Attachment(self._root, (self._attention.layer,))
        self._proved = False
        self._size: tuple[int, ...] = ()  # of the images that the tokens were counted of

    @property
    def is_scoped(self) -> bool:
        """The labels are found in the forward pass, inside the block."""
        return True

    def prepare(self, x: Tensor | None = None, *others: Any, size: Any = None, **options: Any) -> None:
        """See with two images that the layer's attention is understood; arguments are those of :meth:`Mixer.prepare`.

        Raises:
            ValueError: it is not, the classifier does not read the class token, or the model takes more than images.
        """
        if self._proved:
            return
        assert self._root is not None
        x = self._example(x, size)
        known = next((p for p in self._root.parameters() if p.is_floating_point()), x)
        try:
            inputs = Inputs((x.detach().to(known.dtype), *others), options, len(x), tuple(x.shape[1:]))
            self._attention.prove(self._root, inputs, self._tap.places()[self._attention.layer])
        except NotCallableError as error:
            raise ValueError(
                f"{type(self._root).__name__} cannot be called so ({error}): call mixer.prepare(x, ...) once, with "
                "everything that the model takes"
            ) from error
        self._size = tuple(x.shape[2:])
        self._proved = True

    def detach(self) -> None:
        """Leave the model as it was found: without a hook. The mixer cannot be used any more."""
        self._tap.release()

    def mix(self, x: Tensor, target: Tensor, draw: Draw, *, masks: Tensor | None = None) -> MixedBatch:
        """Paste the boxes, mix the labels by area, and record what will follow the attention."""
        draw = self.expect(CutMixDraw, draw)
        batch = super().mix(x, target, draw, masks=masks)
        lam, late = batch.lam.clone(), LateLabels(batch.target)
        follow = partial(
            follow_attention,
            draw=(draw.perm, draw.box),
            size=(x.shape[2], x.shape[3]),
            prefix=self._attention.prefix,
            count=self._attention.count if self._size == tuple(x.shape[2:]) else None,
            patch=None if self._root is None else patch_sides(self._root),
            share=self.attention_share,
            by_area=batch.lam,
            clean=target,
            lam=lam,
            late=late,
        )
        hidden = {self._attention.layer: LayerMix(follow, looks=True)}
        return replace(batch, lam=lam, hidden=hidden, tap=self._tap, scoped=True, late=late)


def follow_attention(
    layer: nn.Module,
    tokens: Tensor,
    *,
    draw: tuple[Tensor, Tensor],
    size: tuple[int, int],
    prefix: int,
    count: int | None,
    patch: tuple[int, int] | None,
    share: float,
    by_area: Tensor,
    clean: Tensor,
    lam: Tensor,
    late: LateLabels,
) -> None:
    """Set labels to what the class token attends to.

    Args:
        layer: the attention layer.
        tokens: (B, N, C) its input.
        draw: partners (B,), and boxes (B, 4).
        size: height and width of the images.
        prefix: tokens in front of the patches.
        count: number of tokens, where it is known.
        patch: sides of a patch in pixels, if known.
        share: share of the attention; the rest is the area's.
        by_area: (B,) weight of the first example by area.
        clean: (B, K) labels of the first examples.
        lam: (B,) to be set in place.
        late: receives the labels (B, K).
    """
    perm, box = draw
    if tokens.shape[0] != perm.shape[0]:
        raise RuntimeError(
            f"the batch was mixed with {perm.shape[0]} images and the model sees {tokens.shape[0]}: give it the whole "
            "batch at once"
        )
    if count is not None and tokens.shape[1] != count:
        raise RuntimeError(
            f"{tokens.shape[1]} tokens reach the attention layer, and {count} did when it was looked at: patches that "
            "are dropped in training have no place in the image, train without"
        )
    attention = class_attention(layer, tokens.detach())[:, prefix:]
    grid = token_grid(attention.shape[1], size, patch)
    with torch.no_grad():
        pasted = inside_box(box, grid, size).flatten(1)
        partner = (attention * pasted).sum(1) / attention.sum(1).clamp_min(torch.finfo(attention.dtype).tiny)
        lam.copy_((1 - share) * by_area + share * (1 - partner))
        late.find(mix_pairs(clean, perm, lam))


def token_grid(count: int, size: tuple[int, int], patch: tuple[int, int] | None = None) -> tuple[int, int]:
    """Tell height and width of a grid of tokens over images of a size (H, W).

    Patches that are known decide, where they make as many tokens; else the images' proportions do.

    Raises:
        ValueError: the tokens are no grid of the images' proportions.
    """
    if patch is not None and (size[0] // patch[0]) * (size[1] // patch[1]) == count:
        return size[0] // patch[0], size[1] // patch[1]
    height = max(round((count * size[0] / size[1]) ** 0.5), 1)
    if count % height:
        raise ValueError(f"{count} tokens are no grid over images of {size[0]} x {size[1]} pixels: TransMix needs one")
    return height, count // height


def inside_box(box: Tensor, grid: tuple[int, int], size: tuple[int, int]) -> Tensor:
    """Tell which cells of a grid (h, w) lie in boxes (B, 4) by their first pixels: (B, h, w) bool."""
    y0, x0, y1, x1 = box.view(-1, 4, 1).unbind(1)
    rows, columns = (
        torch.arange(cells, device=box.device) * pixels // cells for cells, pixels in zip(grid, size, strict=True)
    )
    return ((rows >= y0) & (rows < y1))[:, :, None] & ((columns >= x0) & (columns < x1))[:, None]
