import pytest
import torch

from alignmixup import SaliencyMix


def test_pixels_undo_the_normalisation():
    image = torch.rand(2, 3, 4, 4)
    mean, std = (0.4, 0.5, 0.6), (0.2, 0.25, 0.3)
    normalised = (image - torch.tensor(mean).view(3, 1, 1)) / torch.tensor(std).view(3, 1, 1)
    mixer = SaliencyMix(mean=mean, std=std)
    torch.testing.assert_close(mixer.pixels(normalised), image)
    torch.testing.assert_close(mixer.normalized(image), normalised)
    assert SaliencyMix(mean=(0.0,), std=(1.0,)).pixels(2 * image.half()).max() <= 1
    with pytest.raises(ValueError, match="SaliencyMix looks at pixels, so it must know how the images were normalised"):
        SaliencyMix().pixels(image)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"mean": (0.5,)}, r"mean and std go together, std > 0, got mean=\(0.5,\) and std=None"),
        ({"mean": (0.5,), "std": (0.0,)}, r"std > 0, got mean=\(0.5,\) and std=\(0.0,\)"),
    ],
)
def test_half_a_normalisation_is_refused(options, message):
    with pytest.raises(ValueError, match=message):
        SaliencyMix(num_classes=3, **options)
