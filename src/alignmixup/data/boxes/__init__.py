"""Bounding boxes of test images, from each of the file formats in which they are released."""

from alignmixup.data.boxes.data import BoxData, load_boxes

__all__ = ["BoxData", "load_boxes"]
