"""Pixels: what methods share that look at the images as they were before they were normalised."""

from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor

from alignmixup.functional.sampling import to_device
from alignmixup.normalization import Normalization
from alignmixup.options import Options, option


@dataclass(eq=False, kw_only=True)
class Pixels(Options):
    """The normalisation of the images, to stand among the bases of a method."""

    mean: Sequence[float] | None = option(
        None,
        "what was subtracted from each channel to normalise the images, in [0, 1] units; (0.0,) for images in [0, 1]",
        repr=False,
    )
    std: Sequence[float] | None = option(
        None, "what each channel was divided by; (1.0,) for images in [0, 1]", repr=False
    )

    def _check_options(self) -> None:
        super()._check_options()
        if (self.mean is None) != (self.std is None) or (self.std is not None and not min(self.std) > 0):
            raise ValueError(f"mean and std go together, std > 0, got mean={self.mean} and std={self.std}")

    def pixels(self, x: Tensor) -> Tensor:
        """Undo the normalisation: (B, C, H, W) float32 in [0, 1]; a ValueError where the mixer was not told it."""
        return self._normalization(x).undo(x)

    def normalized(self, pixels: Tensor) -> Tensor:
        """Normalise images (B, C, H, W) in [0, 1] as the mixer's images are; inverse of :meth:`pixels`."""
        return self._normalization(pixels).apply(pixels)

    def _normalization(self, x: Tensor) -> Normalization:
        if self.mean is None or self.std is None:
            raise ValueError(
                f"{type(self).__name__} looks at pixels, so it must know how the images were normalised: build it with "
                "mean=... and std=..., those of your Normalize transform; (0.0,) and (1.0,) for images in [0, 1]"
            )
        normalization = Normalization.of(self.mean, self.std)  # on the CPU: a copy from there need not wait
        return Normalization(to_device(normalization.mean, x.device), to_device(normalization.std, x.device))
