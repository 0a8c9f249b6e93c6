"""AlignMixup and its rivals behind one mixing interface for any PyTorch classifier."""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from alignmixup import functional
    from alignmixup.methods.alignmixup import AlignMixup
    from alignmixup.methods.alignmixup_ae import AlignMixupAE
    from alignmixup.methods.base import MixedBatch, Mixer
    from alignmixup.methods.baseline import Baseline
    from alignmixup.methods.comixup import CoMixup
    from alignmixup.methods.cutmix import CutMix
    from alignmixup.methods.manifold_mixup import ManifoldMixup
    from alignmixup.methods.mixup import Mixup
    from alignmixup.methods.puzzlemix import PuzzleMix
    from alignmixup.methods.saliencymix import SaliencyMix
    from alignmixup.methods.stylecutmix import StyleCutMix
    from alignmixup.methods.stylemix import StyleMix
    from alignmixup.methods.switch import Switch

__version__ = "0.1.0"

_HOMES = {
    "AlignMixup": "methods.alignmixup",
    "AlignMixupAE": "methods.alignmixup_ae",
    "Baseline": "methods.baseline",
    "CoMixup": "methods.comixup",
    "CutMix": "methods.cutmix",
    "ManifoldMixup": "methods.manifold_mixup",
    "MixedBatch": "methods.base",
    "Mixer": "methods.base",
    "Mixup": "methods.mixup",
    "PuzzleMix": "methods.puzzlemix",
    "SaliencyMix": "methods.saliencymix",
    "StyleCutMix": "methods.stylecutmix",
    "StyleMix": "methods.stylemix",
    "Switch": "methods.switch",
}

__all__ = [
    "AlignMixup",
    "AlignMixupAE",
    "Baseline",
    "CoMixup",
    "CutMix",
    "ManifoldMixup",
    "MixedBatch",
    "Mixer",
    "Mixup",
    "PuzzleMix",
    "SaliencyMix",
    "StyleCutMix",
    "StyleMix",
    "Switch",
    "__version__",
    "functional",
]


def __getattr__(name: str) -> Any:
    """Import a public name at its first use, so that ``alignmixup --help`` need not load torch."""
    if name == "functional":
        return importlib.import_module("alignmixup.functional")
    if name in _HOMES:
        return getattr(importlib.import_module(f"alignmixup.{_HOMES[name]}"), name)
    raise AttributeError(f"module 'alignmixup' has no attribute {name!r}")


def __dir__() -> list[str]:
    return __all__
