"""What can be asked of an export. Imports no torch."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from alignmixup.options import option
from alignmixup.runs.options.base import Asked

ENDINGS = {".pt2": "pt2", ".onnx": "onnx"}


@dataclass(frozen=True, kw_only=True)
class ExportOptions(Asked):
    """How a network is written as a graph, and how the file is checked."""

    format: Literal["pt2", "onnx"] | None = option(
        None, "pt2, of torch.export, or onnx (default: by the ending of --out)"
    )
    images: int = option(64, "test images, and as many of noise, whose logits the file must give too", minimum=3)
    tolerance: float = option(
        1e-3, "largest difference of logits that passes, as a share of the largest logit (of 1 at least)", above=0
    )

    def kind(self, out: Path) -> str:
        """What is written to ``out``; a ValueError where its ending says another thing, or nothing."""
        told = ENDINGS.get(out.suffix.lower())
        if self.format is None and told is None:
            raise ValueError(f"--out {out}: the ending says no format; end in {' or '.join(ENDINGS)}, or give --format")
        if self.format and told and self.format != told:
            raise ValueError(f"--out {out} ends as {told} and --format says {self.format}: leave one of them out")
        return self.format or str(told)


@dataclass(frozen=True, kw_only=True)
class HubOptions(Asked):
    """What a model card says that no record knows."""

    license: str = option(
        "unknown", "licence of the weights for the card, such as apache-2.0 or cc-by-nc-4.0; the data's may bind it"
    )
    name: str = option("", "name of the model (default: data, method and network)")
    overwrite: bool = option(False, "write into a folder that is not empty")
