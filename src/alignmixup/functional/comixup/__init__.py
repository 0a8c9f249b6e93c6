"""Co-Mixup: masks of a group of images found together."""
