"""Pictures of a network at work, and what is measured for them: matches, morphs, paths, a gallery of methods."""

from alignmixup.runs.pictures.gallery import picture_gallery
from alignmixup.runs.pictures.pairs import measure_interpolation, measure_matches, picture_matches, picture_morphs

__all__ = ["measure_interpolation", "measure_matches", "picture_gallery", "picture_matches", "picture_morphs"]
