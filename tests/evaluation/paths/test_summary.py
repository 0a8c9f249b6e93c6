"""The numbers of interpolation paths."""

import json
import statistics

import pytest
import torch

from alignmixup.evaluation.paths.measure import Interpolation, PathScores
from alignmixup.evaluation.paths.summary import mean_with_error, summarise_paths

LAM = torch.tensor([1.0, 0.5, 0.0])


def scores(either, **more):
    either = torch.tensor(either)
    return PathScores(own=either / 2, partner=either / 2, either=either, entropy=1 - either, **more)


def found(right=(True, False, True), **more):
    unaligned = scores([[1.0, 0.4, 1.0], [1.0, 0.6, 0.8], [0.8, 0.8, 0.8]], **more)
    first = scores([[1.0, 0.8, 1.0], [1.0, 0.2, 0.8], [0.8, 0.8, 0.80005]], **more)
    return Interpolation(LAM, {"first": first, "partner": unaligned, "none": unaligned}, torch.tensor(right), None)


def test_areas_dips_and_differences_by_hand():
    summary = summarise_paths(found())
    everyone = summary["all"]
    assert summary["lam"] == [1, 0.5, 0]
    assert everyone["pairs"] == 3
    areas = [0.7, 0.75, 0.8]
    assert everyone["paths"]["none"]["area"]["mean"] == pytest.approx(statistics.fmean(areas))
    assert everyone["paths"]["none"]["area"]["standard_error"] == pytest.approx(statistics.stdev(areas) / 3**0.5)
    assert everyone["paths"]["none"]["dip"]["mean"] == pytest.approx(0.6)
    assert everyone["paths"]["none"]["curves"]["either"]["mean"] == pytest.approx([2.8 / 3, 0.6, 2.6 / 3])
    first = everyone["against_none"]["first"]
    assert first["area_difference"]["mean"] == pytest.approx((0.2 - 0.2) / 3, abs=1e-4)
    assert first["middle_difference"]["mean"] == pytest.approx(0, abs=1e-6)
    assert first["kept_half_difference"]["mean"] == pytest.approx((0.2 - 0.2 + 0.0) / 3, abs=1e-6)
    assert first["share_higher"]["mean"] == pytest.approx(1 / 3)
    assert first["share_equal"]["mean"] == pytest.approx(1 / 3)
    assert everyone["against_none"]["partner"]["share_equal"] == {"mean": 1, "standard_error": 0}
    json.dumps(summary, allow_nan=False)


def test_the_half_in_which_the_kept_geometry_weighs_more():
    middle, end = torch.tensor([[0.0, 0.3, 0.0]]), torch.tensor([[0.0, 0.0, 0.3]])
    paths = {"first": scores((0.5 + middle).tolist()), "partner": scores((0.5 + end).tolist())}
    given = Interpolation(LAM, {**paths, "none": scores([[0.5] * 3])}, torch.tensor([True]), None)
    against = summarise_paths(given)["all"]["against_none"]
    assert against["first"]["kept_half_difference"]["mean"] == pytest.approx(0.15)
    assert against["partner"]["kept_half_difference"]["mean"] == pytest.approx(0.15)
    given = Interpolation(
        LAM,
        {"first": paths["partner"], "partner": paths["first"], "none": scores([[0.5] * 3])},
        torch.tensor([True]),
        None,
    )
    assert summarise_paths(given)["all"]["against_none"]["first"]["kept_half_difference"]["mean"] == pytest.approx(0)
    with pytest.raises(ValueError, match="must include 1/2"):
        summarise_paths(Interpolation(torch.tensor([1.0, 0.3, 0.0]), found().paths, torch.tensor([True] * 3), None))


def test_pairs_whose_ends_are_right():
    summary = summarise_paths(found())
    assert summary["ends_right"]["pairs"] == 2
    assert summary["ends_right"]["paths"]["none"]["area"]["mean"] == pytest.approx(0.75)
    alone = summarise_paths(found((False, True, False)))["ends_right"]
    assert alone["paths"]["none"]["area"] == {"mean": pytest.approx(0.75), "standard_error": None}
    assert summarise_paths(found((False,) * 3))["ends_right"] == {"pairs": 0}


def test_decoded_images_add_their_numbers():
    values = torch.tensor([[0.5, 0.7, 0.5]] * 3)
    summary = summarise_paths(found(sharpness=values, decoded_either=values, frame_change=values[:, :2]))
    path = summary["all"]["paths"]["none"]
    assert path["curves"]["sharpness"]["mean"] == pytest.approx([0.5, 0.7, 0.5])
    assert path["frame_change"]["mean"] == pytest.approx(0.6)
    assert "sharpness" not in summarise_paths(found())["all"]["paths"]["none"]["curves"]


def test_standard_error_is_that_of_a_mean():
    values = torch.randn(50, generator=torch.Generator().manual_seed(0))
    number = mean_with_error(values)
    assert number["mean"] == pytest.approx(values.mean().item())
    assert number["standard_error"] == pytest.approx(values.std().item() / 50**0.5, rel=1e-5)
