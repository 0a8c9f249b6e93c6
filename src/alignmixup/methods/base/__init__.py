"""What methods are made of: the interface, what several of them share, and what they return."""

from alignmixup.methods.base.annotations import Annotation, MixedBoxes, Parents
from alignmixup.methods.base.batch import Draw, LateLabels, MixedBatch
from alignmixup.methods.base.drop_in import DropIn
from alignmixup.methods.base.hidden_mixer import HiddenDraw, HiddenMixer
from alignmixup.methods.base.layer_mixer import LayerMixer
from alignmixup.methods.base.mixer import Mixer
from alignmixup.methods.base.pair_mixer import PairMixer
from alignmixup.methods.base.pixels import Pixels
from alignmixup.methods.base.region_mixer import RegionMixer

__all__ = [
    "Annotation",
    "Draw",
    "DropIn",
    "HiddenDraw",
    "HiddenMixer",
    "LateLabels",
    "LayerMixer",
    "MixedBatch",
    "MixedBoxes",
    "Mixer",
    "PairMixer",
    "Parents",
    "Pixels",
    "RegionMixer",
]
