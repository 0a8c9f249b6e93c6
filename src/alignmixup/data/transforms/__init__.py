"""Augmentations of image batches: flips, crops, colour, sizes."""
