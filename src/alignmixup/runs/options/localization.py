"""How localisation is measured. Imports no torch."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from alignmixup.options import option
from alignmixup.runs.options.base import SEEN, FigureOptions

if TYPE_CHECKING:
    from alignmixup.evaluation.localization.contour_boxes import Contours


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
    pictures: int = option(8, "images to draw", minimum=0, maximum=SEEN)
    maps_out: str | Path | None = option(None, "folder for score maps, written as RUN/IMAGE.npy")

    def _check_options(self) -> None:
        if self.cam == "cam" and self.layer:
            raise ValueError("--layer is for Grad-CAM: CAM's map is the one that global average pooling receives")

    @property
    def counted(self) -> tuple[Contours, ...]:
        """The contours that are counted."""
        return ("largest", "all") if self.contours == "both" else (self.contours,)
