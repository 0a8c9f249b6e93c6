"""Textures of frost."""

import torch

from alignmixup.evaluation.corruptions.frost import frost_textures


def test_textures_have_the_colour_and_contrast_of_photographs():
    textures = frost_textures(32)
    assert textures.shape == (5, 3, 160, 160)
    assert textures.min() >= 0
    assert textures.max() <= 1
    colour = 255 * textures.mean(dim=(2, 3))
    expected = torch.tensor([[78, 149, 166], [201, 205, 214], [201, 205, 214], [138, 153, 165], [112, 123, 135]])
    assert (colour - expected).abs().max() < 3
    spread = 255 * textures.mean(dim=1).flatten(1).std(dim=1)
    assert (spread - torch.tensor([15, 19, 19, 25, 34])).abs().max() < 3


def test_no_two_are_equal_and_all_are_always_the_same():
    textures = frost_textures(8).clone()
    assert not torch.allclose(textures[1], textures[2], atol=0.05)
    frost_textures.cache_clear()
    assert torch.equal(frost_textures(8), textures)


def test_the_coarse_one_is_smoother_than_the_fine_one():
    textures = frost_textures(32)
    roughness = textures.diff(dim=2).std(dim=(1, 2, 3)) / textures.std(dim=(2, 3)).mean(dim=1)
    assert roughness[0] < 0.6 * roughness[3]
