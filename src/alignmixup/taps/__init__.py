"""Reach into any model: find a layer, replace its output inside a ``with`` block, adapt its layout."""

from alignmixup.taps.feature_tap import FeatureTap, Hidden, unwrap
from alignmixup.taps.layout import Layout
from alignmixup.taps.probe import LayerUse, Probe, feature_maps, layer_use, probe

__all__ = ["FeatureTap", "Hidden", "LayerUse", "Layout", "Probe", "feature_maps", "layer_use", "probe", "unwrap"]
