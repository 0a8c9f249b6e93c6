"""The embedded default: 1,797 real handwritten digits, 8x8, that come with scikit-learn."""

import torch

from alignmixup.data.dataset import ImageData, Split
from alignmixup.data.mean_std import mean_std
from alignmixup.data.splits import hold_out
from alignmixup.data.transforms.resize import enlarge
from alignmixup.outside import require, require_file

__all__ = ["SPLIT_SEED", "load_digits"]

SPLIT_SEED = 20  # of the split into training and test images
_TEST_IMAGES = 898
_FILE = "datasets/data/digits.csv.gz"


def load_digits(*, image_size: int | None = None) -> ImageData:
    """The UCI optical digits (test part) as scikit-learn ships them; nothing is downloaded.

    899 training and 898 test images, one fixed stratified split (``SPLIT_SEED``): half for testing, so that
    one image is 0.11 points of error. Grey values 0 to 16 become 0 to 255. An ``image_size`` over 8 repeats each pixel
    a whole number of times and pads with zeros.

    Raises:
        ValueError: ``image_size`` smaller than 8.
        ImportError: scikit-learn is not installed.
    """
    # not by sklearn.datasets.load_digits: importing it takes longer than an epoch
    rows = torch.from_numpy(require("numpy").loadtxt(require_file("sklearn", _FILE), delimiter=","))
    images = (rows[:, :-1] * (255 / 16)).round().to(torch.uint8).view(-1, 1, 8, 8)
    labels = rows[:, -1].to(torch.int64)
    if image_size is not None:
        images = enlarge(images, image_size)
    train, test = hold_out(labels, _TEST_IMAGES, seed=SPLIT_SEED)
    everything = Split(images, labels)
    splits, constants = (everything.select(train), everything.select(test)), mean_std("digits", channels=1)
    return ImageData("digits", *splits, tuple("0123456789"), *constants, images.shape[-1], "crop1")
