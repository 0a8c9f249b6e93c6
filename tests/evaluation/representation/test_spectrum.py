"""Singular values of classes."""

import numpy as np
import pytest
import torch

from alignmixup.evaluation.representation.spectrum import class_spectra


def test_squares_are_variances_when_centred_and_mean_squared_norms_when_not():
    features = torch.randn(30, 5, generator=torch.Generator().manual_seed(0), dtype=torch.float64) + 2
    labels = torch.tensor([0, 1, 2]).repeat(10)
    centred, whole = (class_spectra(features, labels, centred=centred) for centred in (True, False))
    for number in range(3):
        own = features[labels == number].numpy()
        variances = np.linalg.eigvalsh(np.cov(own.T, bias=True))[::-1]
        np.testing.assert_allclose(centred.values[number].square(), variances, rtol=1e-6)
        energy = (own**2).sum(1).mean()
        assert float(whole.values[number].square().sum()) == pytest.approx(energy)
        assert float(whole.norms[number]) == pytest.approx(energy**0.5)


def test_a_scale_of_the_features_changes_no_relative_number_and_flat_classes_have_a_small_rank():
    draw = torch.Generator().manual_seed(0)
    labels = torch.tensor([0, 1]).repeat_interleave(20)
    round_ = torch.randn(40, 6, generator=draw)
    flat = round_ * torch.tensor([1, 1, 1e-3, 1e-3, 1e-3, 1e-3])
    first, scaled, thin = (class_spectra(x, labels, centred=True).summary() for x in (round_, 7 * round_, flat))
    assert scaled["largest"] == pytest.approx(7 * first["largest"])
    for key in ("largest_relative", "rest_relative", "effective_rank", "values"):
        assert scaled[key] == pytest.approx(first[key], rel=1e-4)
    assert 1.5 < thin["effective_rank"] < 2.1
    assert first["effective_rank"] > 4


def test_the_rank_of_equal_directions_is_their_number():
    features = torch.cat([torch.eye(4), -torch.eye(4)])
    assert class_spectra(features, torch.zeros(8, dtype=torch.long), centred=True).summary()[
        "effective_rank"
    ] == pytest.approx(4)


def test_what_has_no_spectrum_is_refused_and_single_images_are_left_out():
    features = torch.randn(3, 2)
    assert class_spectra(features, torch.tensor([0, 0, 1]), centred=True).counts == [2]
    with pytest.raises(ValueError, match="no class has two of these 3 images"):
        class_spectra(features, torch.tensor([0, 1, 2]), centred=True)
    with pytest.raises(ValueError, match="diverged"):
        class_spectra(features.log(), torch.zeros(3), centred=True)
