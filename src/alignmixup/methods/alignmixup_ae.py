"""AlignMixup/AE: AlignMixup with an autoencoder branch that reconstructs clean examples."""

import logging
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Literal, cast

import torch
import torch.distributed
import torch.nn.functional as F
from torch import Tensor, nn

from alignmixup.functional.precision import without_autocast
from alignmixup.functional.reconstruction import structural_similarity
from alignmixup.methods.alignmixup import AlignDraw, AlignMixup
from alignmixup.methods.base import Draw, MixedBatch, Pixels
from alignmixup.models.decoder import FeatureDecoder
from alignmixup.options import option
from alignmixup.taps import LayerMix, feature_maps, unwrap
from alignmixup.taps.kept import KeptMap, keep_map

logger = logging.getLogger("alignmixup")

_SSIM_WEIGHT = 0.84  # Zhao et al., IEEE TCI 2017


@dataclass(frozen=True, eq=False, kw_only=True)
class AEDraw(AlignDraw):
    """Draw of AlignMixup/AE.

    Attributes:
        clean: the batch is left unmixed and reconstructed; ``lam`` is then 1 and ``perm`` the identity.
    """

    clean: bool


@dataclass(eq=False, kw_only=True)
class AlignMixupAE(AlignMixup, Pixels):
    """AlignMixup whose encoder also learns to reconstruct clean examples, through a decoder of its own.

    Every so many batches one is left unmixed: besides classifying it, the decoder reconstructs its images from the map
    of ``decoder_layer``, which the tap keeps from the model's own forward pass. Decoded images go nowhere but into the
    reconstruction loss: the classifier never sees one. The other batches are AlignMixup's. The paper's decoder, loss,
    weight and schedule were never published, so all defaults below are our choice.

    The decoder is made by :meth:`prepare`, from the size of the images, and must be trained together with the model::

        mixer = AlignMixupAE(model, num_classes=100)
        mixer.prepare(size=(3, 224, 224))
        optimizer = torch.optim.SGD([*model.parameters(), *mixer.parameters()], lr=0.1)

    Source:
        Venkataramanan et al., AlignMixup: Improving Representations By Interpolating Aligned Features, CVPR 2022,
        variant AlignMixup/AE; that the decoder is trained on clean examples only, and without alignment, is the
        authors' word. SSIM: Wang et al., IEEE TIP 2004; its weight: Zhao et al., IEEE TCI 2017.
    """

    clean_share: float = option(
        1 / 3,
        "share of clean batches, in [0, 1], evenly spaced and so at the same time in every process; 1/3 makes as many "
        "of them as are mixed at the input and as are aligned, where input_probability is 0.5",
        paper="not published",
        minimum=0,
        maximum=1,
    )
    reconstruct_aligned: bool = option(
        False,
        "reconstruct also in batches mixed at decoder_layer or behind it, which see clean examples up to there",
        paper="clean examples only",
    )
    reconstruction_weight: float = option(
        1.0, "weight of the reconstruction loss, > 0", paper="not published", above=0, hint="or use AlignMixup"
    )
    reconstruction_loss: Literal["mse", "l1", "perceptual"] = option(
        "mse",
        '"mse" or "l1", means over all values of normalised images, or "perceptual": 0.84 (1 - SSIM) + 0.16 L1, with '
        "SSIM on pixels (mean and std are needed) in windows of 7 x 7",
        paper="not published",
    )
    decoder_layer: str | nn.Module | None = option(
        None,
        "layer whose map is decoded: a dotted name or the module; None for the aligned one, the last of several",
        paper="not published",
        fixed=True,
    )
    decoder_width: int = option(
        24,
        "channels of the decoder at the images' resolution; for ImageNet's 224 pixels 8 costs as much",
        paper="not published",
        minimum=1,
        fixed=True,
    )
    detach_features: bool = option(
        False, "train the decoder alone: its loss sends no gradient to the encoder", paper="the encoder learns from it"
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        self._decoder: nn.Module | None = None
        self._waiting: dict[str, Tensor] | None = None  # decoder weights loaded before there was a decoder
        self._handed_out = False
        self._drift_is_told = False
        self._batches = 0
        if self.decoder_layer is not None:
            self._put("decoder_layer", self._tap.attach(self.decoder_layer))

    def _check_options(self) -> None:
        super()._check_options()
        if self.clean_share == 0 and not self.reconstruct_aligned:
            raise ValueError("clean_share=0 leaves nothing to reconstruct: set reconstruct_aligned=True")
        if self.reconstruction_loss == "perceptual" and self.mean is None:
            raise ValueError("reconstruction_loss='perceptual' looks at pixels: it needs mean=... and std=...")

    @property
    def decoder(self) -> nn.Module:
        """The decoder. In a loop of your own, assign ``DistributedDataParallel(mixer.decoder)`` to it.

        Raises:
            RuntimeError: it is not made yet.
        """
        decoder, self._handed_out = self._made_decoder(), True
        return decoder

    @decoder.setter
    def decoder(self, decoder: nn.Module) -> None:
        unwrap(decoder)  # refuses DataParallel
        self._decoder = decoder

    @property
    def module(self) -> nn.Module:
        """The decoder."""
        return self.decoder

    def _made_decoder(self) -> nn.Module:
        if self._decoder is None:
            raise RuntimeError(
                "the decoder of AlignMixupAE is made when the sizes of maps and images are known: call "
                "mixer.prepare(size=(3, 224, 224)), or mixer.prepare(x) with a batch of images, before using it, or "
                "its parameters in an optimizer"
            )
        return self._decoder

    @property
    def has_auxiliary(self) -> bool:
        """The reconstruction loss."""
        return True

    @property
    def is_scoped(self) -> bool:
        """Every batch may have its reconstruction."""
        return True

    def prepare(
        self, x: Tensor | None = None, *others: Any, size: int | Sequence[int] | None = None, **options: Any
    ) -> None:
        """Find the layers and make the decoder for images of this size, on the device of their maps.

        Its initial weights follow ``torch.manual_seed`` and leave the global generators alone.
        """
        if self._decoder is not None:
            if x is not None:
                super().prepare(x, *others, **options)
            return
        x = self._example(x, size)
        super().prepare(x, *others, **options)
        if others or options or not self._proved:
            raise ValueError("AlignMixupAE needs a model that takes images alone, as in model(x): use AlignMixup")
        if self.decoder_layer is None:
            self._put("decoder_layer", self._layers[-1])
        assert self._root is not None
        assert isinstance(self.decoder_layer, str)
        forms = {name: form for name, (form, *_) in self._forms.items() if form is not None}
        maps = feature_maps(self._root, x[:2], {*self._layers, self.decoder_layer}, self.layout, forms)
        order = list(maps)
        self._behind = order[order.index(self.decoder_layer) :]  # mixing there leaves the decoder's map clean
        if self.clean_share == 0 and not set(self._behind) & set(self._layers):
            raise ValueError(
                f"nothing to reconstruct: mixing at {', '.join(map(repr, self._layers))} comes before decoder_layer="
                f"{self.decoder_layer!r}; name an earlier decoder_layer, or set clean_share"
            )
        self._decoder = self._make_decoder(maps[self.decoder_layer], x)
        if self._waiting is not None:
            self._load_decoder(self._waiting)

    def _make_decoder(self, features: Tensor, x: Tensor) -> nn.Module:
        if x.ndim != 4:
            raise ValueError(f"AlignMixupAE reconstructs images of shape (B, C, H, W), got {tuple(x.shape)}")
        with torch.random.fork_rng(devices=[]), torch.device("cpu"):
            torch.default_generator.manual_seed(torch.initial_seed())
            decoder = FeatureDecoder(
                features.shape[1],
                (features.shape[2], features.shape[3]),
                (x.shape[2], x.shape[3]),
                out_channels=x.shape[1],
                width=self.decoder_width,
            )
        channels_last = features.is_contiguous(memory_format=torch.channels_last)
        layout = torch.channels_last if channels_last else torch.contiguous_format
        return decoder.to(features.device, torch.float32, memory_format=layout)  # type: ignore[call-overload, no-any-return]

    def draw(self, x: Tensor, target: Tensor) -> AEDraw:
        """Leave every so many batches clean; draw λ, partners, the layer and the direction for the others."""
        self._batches += 1
        if math.floor(self._batches * self.clean_share) > math.floor((self._batches - 1) * self.clean_share):
            size, device = x.shape[0], x.device
            lam, perm = torch.ones(size, dtype=torch.float32, device=device), torch.arange(size, device=device)
            return AEDraw(lam=lam, perm=perm, layer=None, keep="first", clean=True)
        return AEDraw(**vars(super().draw(x, target)), clean=False)

    def mix(self, x: Tensor, target: Tensor, draw: Draw) -> MixedBatch:
        """Mix as AlignMixup does, or not at all; record the map to reconstruct from where it is clean."""
        draw = self.expect(AEDraw, draw)
        clean = draw.clean
        batch = (
            MixedBatch(x, target, target, draw, tap=self._tap, scoped=True) if clean else super().mix(x, target, draw)
        )
        if self._decoder is None:
            self.prepare(x)
        assert isinstance(self.decoder_layer, str)
        if not clean and not (self.reconstruct_aligned and draw.layer in self._behind):
            return batch
        seen = KeptMap()
        mix = batch.hidden.get(self.decoder_layer)
        then = mix.function if isinstance(mix, LayerMix) else mix
        look = self.layer_mix(self.decoder_layer, partial(keep_map, seen=seen, then=then))
        hidden = {**batch.hidden, self.decoder_layer: look}
        return replace(batch, hidden=hidden, auxiliary=partial(self._reconstruction, seen, x))

    def _reconstruction(self, seen: KeptMap, x: Tensor) -> Tensor:
        """The weighted reconstruction loss of clean images ``x`` from what was seen of them."""
        if seen.features is None:
            raise RuntimeError(
                "there is no feature map to reconstruct from: call model(batch.x) inside the `with mixer(x, y) as "
                "batch:` block, with model.train(), before batch.loss(...)"
            )
        if not self._handed_out:
            self._handed_out = True
            logger.warning(
                "the decoder of AlignMixupAE trains only if the optimizer has its parameters: call mixer.prepare(x), "
                "then give the optimizer [*model.parameters(), *mixer.parameters()]"
            )
        features = seen.unchanged()
        features = features.detach() if self.detach_features else features
        seen.used_without_gradient = torch.is_grad_enabled() and not self.detach_features and not features.requires_grad
        decoded = self._made_decoder()(features.float())
        with without_autocast(x):
            return self.reconstruction_weight * self._distance(decoded.float(), x.float())

    def _distance(self, decoded: Tensor, x: Tensor) -> Tensor:
        if self.reconstruction_loss == "mse":
            return F.mse_loss(decoded, x)
        l1 = F.l1_loss(decoded, x)
        if self.reconstruction_loss == "l1":
            return l1
        dissimilarity = 1 - structural_similarity(self.pixels(decoded), self.pixels(x))
        return _SSIM_WEIGHT * dissimilarity + (1 - _SSIM_WEIGHT) * l1

    def encode(self, x: Tensor) -> Tensor:
        """Return the map (B, C, h, w) that the decoder reads, of images (B, ...) normalised; in eval mode."""
        self.prepare(x)
        assert self._root is not None
        assert isinstance(self.decoder_layer, str)
        forms = {name: form for name, (form, *_) in self._forms.items() if form is not None}
        return feature_maps(self._root, x, (self.decoder_layer,), self.layout, forms)[self.decoder_layer]

    def decode(self, features: Tensor) -> Tensor:
        """Show maps of ``decoder_layer`` as images.

        Args:
            features: (B, C, h, w) maps, of images (:meth:`encode`) or mixed from such.

        Returns:
            (B, channels, H, W) float32 pixels in [0, 1]; differentiable.

        Raises:
            ValueError: another size of map, or the mixer was not told ``mean`` and ``std``.
            RuntimeError: the decoder is not made yet.
        """
        return self.pixels(self._made_decoder()(features.float()))

    def use_all(self, batch: MixedBatch) -> MixedBatch:
        """Run the decoder in batches without a reconstruction too, where there are several processes."""
        several = torch.distributed.is_available() and torch.distributed.is_initialized()
        if not several or torch.distributed.get_world_size() == 1:
            return batch
        assert self._root is not None
        if not self._root.training or self._decoder is None:
            return batch
        self._tell_of_drift(self._decoder)
        return batch if batch.auxiliary is not None else replace(batch, auxiliary=self._unused)

    def _tell_of_drift(self, decoder: nn.Module) -> None:
        """Warn once where nobody is known to average the decoder's gradients over the processes."""
        if self._drift_is_told or self.averaged_by_loop:
            return
        self._drift_is_told = True
        is_bare = isinstance(getattr(decoder, "_orig_mod", decoder), FeatureDecoder)
        if is_bare and not hasattr(next(decoder.parameters()), "full_tensor"):  # else shards, of fully_shard
            logger.warning(
                "the decoder of AlignMixupAE will differ between the %d processes, whose gradients for it nobody "
                "averages: write mixer.decoder = DistributedDataParallel(mixer.decoder) before the optimizer is made, "
                "or mixer.averaged_by_loop = True where your loop averages them",
                torch.distributed.get_world_size(),
            )

    def _unused(self) -> Tensor:
        """Zero, which depends on all of the decoder."""
        decoder = self._made_decoder()
        inner = cast("FeatureDecoder", unwrap(decoder))
        here = next(decoder.parameters()).device
        nothing = torch.zeros(1, inner.in_channels, *inner.feature_size, dtype=torch.float32, device=here)
        zero: Tensor = 0.0 * decoder(nothing).float().sum()
        return zero

    def state_dict(self) -> dict[str, Any]:
        """Return AlignMixup's state, how many batches were drawn, and the decoder's weights."""
        state = {**super().state_dict(), "batches": self._batches}
        if self._decoder is not None:
            # on the CPU: processes send their states to each other, and another one's device is none of theirs
            state["decoder"] = {name: value.cpu() for name, value in unwrap(self._decoder).state_dict().items()}
        elif self._waiting is not None:
            state["decoder"] = self._waiting
        return state

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue where :meth:`state_dict` was taken; a decoder not made yet gets its weights when it is.

        Raises:
            ValueError: the weights are of another decoder.
        """
        super().load_state_dict(state)
        self._batches = int(state["batches"])
        self._waiting = state.get("decoder")
        if self._decoder is not None and self._waiting is not None:
            self._load_decoder(self._waiting)

    def _load_decoder(self, weights: dict[str, Tensor]) -> None:
        self._waiting = None
        try:
            unwrap(self._made_decoder()).load_state_dict(weights)
        except RuntimeError as error:
            reason = " ".join(str(error).split())[:300]
            raise ValueError(f"the saved decoder has another layer, width or image size: {reason}") from None
