"""AlignMixup and its rivals behind one mixing interface for any PyTorch classifier."""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from alignmixup import functional
    from alignmixup.methods.alignmixup import AlignMixup
    from alignmixup.methods.alignmixup_ae import AlignMixupAE
    from alignmixup.methods.attentivemix import AttentiveMix
    from alignmixup.methods.base import MixedBatch, Mixer
    from alignmixup.methods.baseline import Baseline
    from alignmixup.methods.comixup import CoMixup
    from alignmixup.methods.cutmix import CutMix
    from alignmixup.methods.dense_multimix import DenseMultiMix
    from alignmixup.methods.fmix import FMix
    from alignmixup.methods.gridmix import GridMix
    from alignmixup.methods.manifold_mixup import ManifoldMixup
    from alignmixup.methods.mixup import Mixup
    from alignmixup.methods.multimix import MultiMix
    from alignmixup.methods.puzzlemix import PuzzleMix
    from alignmixup.methods.regmixup import RegMixup
    from alignmixup.methods.remix import Remix
    from alignmixup.methods.resizemix import ResizeMix
    from alignmixup.methods.saliencymix import SaliencyMix
    from alignmixup.methods.smoothmix import SmoothMix
    from alignmixup.methods.stylecutmix import StyleCutMix
    from alignmixup.methods.stylemix import StyleMix
    from alignmixup.methods.switch import Switch
    from alignmixup.methods.tokenmix import TokenMix
    from alignmixup.methods.transmix import TransMix

__version__ = "0.1.0"

__all__ = [
    "AlignMixup",
    "AlignMixupAE",
    "AttentiveMix",
    "Baseline",
    "CoMixup",
    "CutMix",
    "DenseMultiMix",
    "FMix",
    "GridMix",
    "ManifoldMixup",
    "MixedBatch",
    "Mixer",
    "Mixup",
    "MultiMix",
    "PuzzleMix",
    "RegMixup",
    "Remix",
    "ResizeMix",
    "SaliencyMix",
    "SmoothMix",
    "StyleCutMix",
    "StyleMix",
    "Switch",
    "TokenMix",
    "TransMix",
    "__version__",
    "functional",
]


def __getattr__(name: str) -> Any:
    """Import a public name at its first use, so that ``alignmixup --help`` need not load torch."""
    if name == "functional":
        return importlib.import_module("alignmixup.functional")
    if name in __all__:
        methods = importlib.import_module("alignmixup.methods")
        names = {method.replace("_", ""): method for method in methods.available()}
        return methods.load(names[name.lower()]) if name.lower() in names else getattr(methods, name)
    raise AttributeError(f"module 'alignmixup' has no attribute {name!r}")


def __dir__() -> list[str]:
    return __all__
