"""Every kind on real images, and the error under them."""

import itertools
import json

import numpy as np
import pytest
import torch
from sklearn.datasets import load_sample_images
from torch import nn

from alignmixup import data
from alignmixup.data.dataset import FileSplit, PathList, Split
from alignmixup.data.transforms.resize import resize
from alignmixup.evaluation.corruptions.evaluate import corrupt, evaluate_corruptions
from alignmixup.evaluation.corruptions.mean_error import mean_corruption_error
from alignmixup.evaluation.corruptions.strengths import EXTRA_KINDS, KINDS

ALL = KINDS + EXTRA_KINDS
# spatter changes its liquid, saturate its direction, and the elastic jitter shrinks as the field grows
NOT_ORDERED = {"spatter", "saturate", "elastic_transform", "glass_blur", "frost", "motion_blur"}


@pytest.fixture(scope="module")
def images():
    """Pieces of scikit-learn's two photographs, (24, 3, 32, 32)."""
    photographs = torch.from_numpy(np.stack(load_sample_images().images)).permute(0, 3, 1, 2)
    small = nn.functional.interpolate(photographs, size=(96, 144), mode="bilinear", antialias=True)
    return small.unfold(2, 32, 32).unfold(3, 32, 36).permute(0, 2, 3, 1, 4, 5).reshape(-1, 3, 32, 32).contiguous()


def distance(a, b):
    return ((a.float() - b.float()) ** 2).mean().sqrt().item()


@pytest.mark.parametrize("kind", ALL)
def test_an_image_is_corrupted_the_same_in_any_batch(kind, images):
    whole = corrupt(images, kind, 4, seed=3)
    assert whole.dtype == torch.uint8
    assert whole.shape == images.shape
    assert torch.equal(corrupt(images, kind, 4, seed=3), whole)
    alone = torch.cat([corrupt(images[i : i + 1], kind, 4, seed=3, numbers=[i]) for i in (5, 20)])
    # sums of floats may be added up in another order
    assert (alone.int() - whole[[5, 20]].int()).abs().max() <= 1
    assert distance(whole, images) > 1


@pytest.mark.parametrize("kind", ALL)
def test_memory_may_lie_in_any_order(kind, images):
    expected = corrupt(images[:3], kind, 3).int()
    by_columns = images[:3].transpose(2, 3).contiguous().transpose(2, 3)
    for same in (images[:3].contiguous(memory_format=torch.channels_last), by_columns):
        # sums of floats may be added up in another order
        assert (corrupt(same, kind, 3).int() - expected).abs().max() <= 1


@pytest.mark.parametrize("kind", ALL)
def test_only_random_kinds_depend_on_the_seed(kind, images):
    fixed = {"defocus_blur", "zoom_blur", "brightness", "contrast", "pixelate", "jpeg_compression"}
    fixed |= {"gaussian_blur", "saturate"}
    same = torch.equal(corrupt(images, kind, 5, seed=0), corrupt(images, kind, 5, seed=1))
    assert same == (kind in fixed)


@pytest.mark.parametrize("kind", [kind for kind in ALL if kind not in NOT_ORDERED])
def test_more_severe_is_further_from_the_image(kind, images):
    for table in ("cifar", "tiny-imagenet", "imagenet"):
        severities = [distance(corrupt(images, kind, severity, table=table), images) for severity in range(1, 6)]
        for weaker, stronger in itertools.pairwise(severities):
            # where the strength of fog stays, its texture alone changes
            assert stronger > 0.97 * weaker, (table, severities)
        assert severities[4] > 1.2 * severities[0], table


@pytest.mark.parametrize("kind", ALL)
def test_other_sizes_and_grey_images(kind):
    for size, channels in ((8, 1), (17, 3), (64, 1)):
        grey = resize(data.load("digits").test.images[:3].expand(-1, channels, -1, -1).contiguous(), size)
        for severity in (1, 5):
            corrupted = corrupt(grey, kind, severity)
            assert corrupted.shape == (3, channels, size, size)
            assert len(corrupted.unique()) > 1, (size, severity)


def test_values_are_cut_down_to_bytes_and_unchanged_ones_stay():
    ramp = torch.arange(256, dtype=torch.uint8).view(1, 1, 16, 16).repeat(1, 3, 1, 1)
    noisy = corrupt(ramp, "impulse_noise", 1)
    assert ((noisy == ramp) | (noisy == 0) | (noisy == 255)).all()
    assert (corrupt(ramp, "brightness", 1)[0, 0].flatten() == (torch.arange(256) + 12.75).clamp(max=255).floor()).all()


def test_wrong_requests(images):
    with pytest.raises(ValueError, match="did you mean fog"):
        corrupt(images, "fogs", 1)
    with pytest.raises(ValueError, match="1 to 5"):
        corrupt(images, "fog", 0)
    with pytest.raises(ValueError, match="uint8 of shape"):
        corrupt(images.float(), "fog", 1)
    for wrong in (images[..., :16], images[:, :2], images[..., :7, :7]):
        with pytest.raises(ValueError, match="square RGB or grey images of 8 pixels or more"):
            corrupt(wrong, "fog", 1)
    with pytest.raises(ValueError, match="unknown table"):
        corrupt(images, "fog", 1, table="cub")
    with pytest.raises(ValueError, match="2 numbers for 24 images"):
        corrupt(images, "fog", 1, numbers=[0, 1])


class Bright(nn.Module):
    """Class 1 where the mean of the normalised image is above zero."""

    def __init__(self):
        super().__init__()
        self.scale = nn.Parameter(torch.ones(()))

    def forward(self, x):
        mean = x.mean(dim=(1, 2, 3)) * self.scale
        return torch.stack((-mean, mean), dim=1)


def evaluate(split, **options):
    return evaluate_corruptions(Bright(), split, (0.5,) * 3, (0.25,) * 3, batch_size=7, **options)


def test_errors_by_hand():
    # brightness of severity s adds 0.05, 0.1, 0.15, 0.2, 0.3 to grey images: those below 1/2 pass it one by one
    grey = torch.tensor([0.10, 0.25, 0.32, 0.38, 0.42, 0.47, 0.6, 0.9])
    images = (grey * 255).to(torch.uint8).view(-1, 1, 1, 1).expand(-1, 3, 8, 8).contiguous()
    split = Split(images, (grey > 0.5).long())
    model_calls = []
    result = evaluate(split, kinds=["brightness", "contrast"], progress=model_calls.append)
    assert result["clean_error_percent"] == 0
    assert result["error_percent"]["brightness"] == [100 * wrong / 8 for wrong in (1, 2, 3, 4, 5)]
    assert result["error_percent"]["contrast"] == [0.0] * 5
    assert result["kind_error_percent"] == {"brightness": 37.5, "contrast": 0.0}
    assert result["mean_error_percent"] == 18.75
    assert (result["images"], result["source"], result["table"], result["seed"]) == (8, "generated", "cifar", 0)
    assert sum(model_calls) == 8 * 11
    json.dumps(result)
    with pytest.raises(ValueError, match="no error under contrast"):
        mean_corruption_error(result, result)


def test_the_synthetic_frost_is_named(images):
    split = Split(images[:4], torch.tensor([0, 1, 0, 1]))
    assert "synthetic" in evaluate(split, kinds=["frost"], severities=[1])["approximations"]["frost"]
    assert evaluate(split, kinds=["fog"], severities=[1])["approximations"] == {}


def test_a_released_folder_takes_the_place_of_generating(images, tmp_path):
    split = Split(images[:4], torch.tensor([0, 1, 0, 1]))
    own = evaluate(split, kinds=["fog"], seed=5)
    released = torch.cat([corrupt(split.images, "fog", severity, seed=5) for severity in range(1, 6)])
    np.save(tmp_path / "fog.npy", released.permute(0, 2, 3, 1).numpy())
    np.save(tmp_path / "labels.npy", split.labels.repeat(5).numpy().astype(np.uint8))
    read = evaluate(split, kinds=["fog"], folder=tmp_path)
    assert read["error_percent"] == own["error_percent"]
    assert (read["source"], read["seed"], read["table"]) == (f"folder {tmp_path.name}", None, None)


def test_images_in_files_are_refused(tmp_path):
    files = FileSplit(tmp_path, PathList(["a.png"]), torch.tensor([0]))
    with pytest.raises(ValueError, match="in_memory=True"):
        evaluate(files)
