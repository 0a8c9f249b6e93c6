"""Reach into any model: find a layer, prove it a cut, replace its output inside a ``with`` block, adapt its form."""

from alignmixup.taps.attention import ClassAttention, class_attention
from alignmixup.taps.feature_tap import Attachment, FeatureTap, Hidden, LayerMix, unwrap
from alignmixup.taps.layout import Form, Layout
from alignmixup.taps.outputs import find_logits
from alignmixup.taps.probe import Probe, feature_maps, layer_use, probe
from alignmixup.taps.run import LayerUse, NotCallableError, Run, SeenLayer, UndecidedError
from alignmixup.taps.sample import Inputs

__all__ = [
    "Attachment",
    "ClassAttention",
    "FeatureTap",
    "Form",
    "Hidden",
    "Inputs",
    "LayerMix",
    "LayerUse",
    "Layout",
    "NotCallableError",
    "Probe",
    "Run",
    "SeenLayer",
    "UndecidedError",
    "class_attention",
    "feature_maps",
    "find_logits",
    "layer_use",
    "probe",
    "unwrap",
]
