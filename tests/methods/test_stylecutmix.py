from pathlib import Path

import pytest
import torch
from torch import nn

from alignmixup.functional.style import adain
from alignmixup.methods.stylecutmix import StyleCutMix, StyleCutMixDraw, class_gammas
from alignmixup.models.style_autoencoder import StyleAutoencoder, load_style_autoencoder, style_file_bytes

PIXELS = {"mean": (0.0,), "std": (1.0,)}


class Identity(nn.Module):
    """An autoencoder whose features are the pixels, with styles of classes."""

    def __init__(self, class_style=None):
        super().__init__()
        self.class_style = class_style

    def encode(self, images):
        return images

    def decode(self, features, size):
        return features


def images(count=4, channels=1, size=12):
    return torch.rand(count, channels, size, size, generator=torch.Generator().manual_seed(0))


def draw_of(perm, box, *, style, gamma, size=12):
    y0, x0, y1, x1 = box
    count = len(perm)
    return StyleCutMixDraw(
        lam=torch.full((count,), (y1 - y0) * (x1 - x0) / size**2),
        perm=torch.tensor(perm),
        content_box=torch.tensor([box] * count),
        style_ratio=torch.full((count,), style),
        gamma=None if gamma is None else torch.full((count,), gamma),
    )


def test_content_by_the_box_and_style_everywhere():
    x, perm = images(), [1, 0, 3, 2]
    mixer = StyleCutMix(num_classes=4, autoencoder=Identity(), **PIXELS)
    mixed = mixer.mix(x, torch.eye(4), draw_of(perm, (2, 3, 8, 12), style=0.3, gamma=0.6))
    own = 0.6 * x + 0.4 * adain(x, x[perm])
    partner = 0.6 * x[perm] + 0.4 * adain(x[perm], x)
    expected = 0.7 * x[perm] + 0.3 * partner
    expected[:, :, 2:8, 3:12] = (0.3 * x + 0.7 * own)[:, :, 2:8, 3:12]
    torch.testing.assert_close(mixed.x, expected)


def test_the_published_images(golden):
    vectors = {name: torch.from_numpy(value) for name, value in golden("stylecutmix").items()}

    class Recorded(Identity):
        def encode(self, images):
            return torch.cat([vectors["f1"], vectors["f2"]])

    x = torch.cat([vectors["x1"], vectors["x2"]])
    mixer = StyleCutMix(num_classes=2, autoencoder=Recorded(), **PIXELS)
    draw = draw_of([1, 0], vectors["box"].tolist(), style=0.35, gamma=0.6, size=224)
    torch.testing.assert_close(mixer.mix(x, torch.eye(2), draw).x[:1], vectors["mixed"], rtol=1e-5, atol=1e-5)


def test_labels_follow_areas_and_styles():
    mixer = StyleCutMix(num_classes=4, autoencoder="patches", **PIXELS)
    draw = draw_of([1, 2, 3, 0], (0, 0, 6, 12), style=0.2, gamma=0.25)
    mixed = mixer.mix(images(), torch.eye(4), draw)
    style = 0.25 * 0.5 + 0.75 * 0.2
    weight = 0.7 * 0.5 + 0.3 * style
    torch.testing.assert_close(mixed.lam, torch.full((4,), weight))
    torch.testing.assert_close(mixed.target, weight * torch.eye(4) + (1 - weight) * torch.eye(4).roll(-1, 0))


@pytest.mark.parametrize("lam_per", ["batch", "pair", "sample"])
def test_the_first_examples_content_stands_inside_the_box(lam_per):
    x = torch.arange(6.0).view(6, 1, 1, 1).expand(6, 1, 10, 8) / 8
    mixer = StyleCutMix(num_classes=6, autoencoder="patches:2", lam_per=lam_per, gamma_alpha=1e6, **PIXELS)
    for _ in range(10):
        draw = mixer.draw(x, torch.eye(6))
        # the images as they are: what is foreign is counted
        still = StyleCutMixDraw(**{**vars(draw), "gamma": torch.ones(6)})
        mixed = mixer.mix(x, torch.eye(6), still)
        own = (mixed.x == x).flatten(1).float().mean(1)
        alone = draw.perm == torch.arange(6)
        torch.testing.assert_close(own[~alone], draw.lam[~alone])
        torch.testing.assert_close(mixed.lam[~alone], own[~alone] * 0.7 + 0.3 * own[~alone])
        assert (draw.gamma - 0.5).abs().max() < 0.01
        if lam_per == "pair":
            assert torch.equal(draw.content_box, draw.content_box[draw.perm])


@pytest.mark.parametrize("lam_per", ["pair", "sample"])
def test_a_box_has_a_place_of_its_own(lam_per):
    mixer = StyleCutMix(num_classes=1, autoencoder="patches", lam_per=lam_per, alpha=1e6, seed=0, **PIXELS)
    draw = mixer.draw(torch.zeros(8, 1, 64, 64), torch.ones(8, 1))
    assert len(draw.content_box.unique(dim=0)) > 2  # λ is 1/2 for all, so that boxes differ by their place alone


def test_a_box_has_a_size_of_its_own():
    mixer = StyleCutMix(num_classes=1, autoencoder="patches", lam_per="sample", seed=0, **PIXELS)
    box = mixer.draw(torch.zeros(64, 1, 64, 64), torch.ones(64, 1)).content_box
    whole = box[(box > 0).all(1) & (box < 64).all(1)]  # which the border does not cut
    assert len((whole[:, 2] - whole[:, 0]).unique()) > 2


def test_boxes_have_the_area_that_was_drawn_but_for_clipping_and_rounding():
    mixer = StyleCutMix(num_classes=1, autoencoder="patches", lam_per="sample", **PIXELS)
    draw = mixer.draw(torch.zeros(2000, 1, 32, 32), torch.ones(2000, 1))
    box = draw.content_box
    assert torch.equal(draw.lam, (box[:, 2] - box[:, 0]) * (box[:, 3] - box[:, 1]) / 1024)
    # λ0 is uniform; clipping takes about a fifth of the image away on average
    assert 0.25 < draw.lam.mean() < 0.35


STYLES = torch.tensor([[0.0, 0.0], [1.0, 1.0], [3.0, 3.0]])  # distances 1, 9 and 4: mean 14/3


def test_gammas_by_hand():
    gammas = class_gammas(STYLES, delta=2.0, same_class_distance=1.0)
    relative = torch.tensor([[1.0, 3 / 14, 27 / 14], [3 / 14, 1.0, 12 / 14], [27 / 14, 12 / 14, 1.0]])
    torch.testing.assert_close(gammas, torch.tanh(relative / 2))
    torch.testing.assert_close(class_gammas(100 * STYLES, delta=2.0, same_class_distance=1.0), gammas)
    assert class_gammas(STYLES[:1], delta=1.0, same_class_distance=0.0).tolist() == [[0.0]]


def test_the_further_the_classes_the_less_is_restyled():
    x, y = images(6), torch.tensor([0, 1, 2, 0, 1, 2])
    mixer = StyleCutMix(num_classes=3, autoencoder=Identity(STYLES), gamma="auto", delta=2.0, **PIXELS)
    perm = [1, 2, 0, 3, 5, 4]
    draw = draw_of(perm, (0, 0, 6, 12), style=0.2, gamma=None)
    target = torch.eye(3)[y]
    mixed = mixer.mix(x, target, draw)
    gammas = class_gammas(STYLES, delta=2.0, same_class_distance=1.5)[y, y[perm]]
    by_hand = mixer.mix(x, target, StyleCutMixDraw(**{**vars(draw), "gamma": gammas}))
    torch.testing.assert_close(mixed.x, by_hand.x)
    torch.testing.assert_close(mixed.lam, by_hand.lam)
    assert mixed.lam[2] > mixed.lam[0]  # classes 2 and 0 lie further apart than 0 and 1, and the box is larger than r_s
    assert mixer.draw(x, target).gamma is None


def test_soft_and_empty_labels_have_a_gamma():
    mixer = StyleCutMix(num_classes=3, autoencoder=Identity(STYLES), gamma="auto", delta=2.0, **PIXELS)
    gammas = class_gammas(STYLES, delta=2.0, same_class_distance=1.5)
    target = torch.tensor([[0.5, 0.5, 0.0], [0.0, 0.0, 2.0], [0.0, 0.0, 0.0]])
    found = mixer._auto_gamma(target, torch.tensor([1, 0, 2]))
    expected = (gammas[0, 2] + gammas[1, 2]) / 2
    torch.testing.assert_close(found, torch.stack([expected, expected, torch.zeros(())]))


def test_the_styles_of_the_classes_come_with_the_file(tmp_path: Path):
    autoencoder = StyleAutoencoder("residual", {"stages": 1, "width": 2, "mean": [0.5] * 3, "std": [0.25] * 3})
    file = tmp_path / "a.safetensors"
    options = {"autoencoder": str(file), "gamma": "auto", **PIXELS}
    file.write_bytes(style_file_bytes(autoencoder, {}))
    with pytest.raises(ValueError, match=r"gamma='auto' needs the styles of the classes, which autoencoder=.* lacks"):
        StyleCutMix(num_classes=3, **options)
    autoencoder.class_style = STYLES
    file.write_bytes(style_file_bytes(autoencoder, {}))
    assert load_style_autoencoder(file).class_style is not None
    mixed = StyleCutMix(num_classes=3, **options)(images(4, 3), torch.tensor([0, 1, 2, 0]))
    torch.testing.assert_close(mixed.target.sum(1), torch.ones(4))
    with pytest.raises(ValueError, match=r"needs the styles of 5 classes, and .* has those of 3"):
        StyleCutMix(num_classes=5, **options)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"gamma": "fixed"}, "gamma must be 'drawn' or 'auto', got 'fixed'"),
        ({"gamma": "auto"}, "gamma='auto' needs the styles of the classes, which autoencoder='patches' lacks"),
        ({"gamma_alpha": 0.0}, "gamma_alpha must be > 0, got 0"),
        ({"delta": -1.0}, "delta must be > 0, got -1"),
        ({"same_class_distance": -1.0}, "same_class_distance must be >= 0, got -1"),
        ({"autoencoder": ""}, "StyleCutMix mixes in the features of an autoencoder"),
    ],
)
def test_errors_at_construction(options, message):
    with pytest.raises(ValueError, match=message):
        StyleCutMix(num_classes=2, **{"autoencoder": "patches", **PIXELS, **options})


def test_flat_inputs_are_refused():
    with pytest.raises(ValueError, match=r"StyleCutMix needs images of shape"):
        StyleCutMix(num_classes=4, autoencoder="patches", **PIXELS)(torch.rand(4, 5), torch.arange(4))
