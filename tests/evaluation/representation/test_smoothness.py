"""Decisions between two images and around one."""

import pytest
import torch

from alignmixup.evaluation.representation.smoothness import (
    along_segments,
    beside,
    change,
    summarise_segments,
    summarise_steps,
)


def test_change_is_the_total_variation_distance():
    first, second = torch.tensor([0.5, 0.3, 0.2]), torch.tensor([0.2, 0.3, 0.5])
    assert float(change(first, second)) == pytest.approx(0.3)
    assert float(change(torch.eye(3)[0], torch.eye(3)[1])) == 1


def test_places_are_even_and_begin_and_end_at_the_images():
    seen = []

    def classify(x):
        seen.append(x)
        return torch.stack([x.flatten(1)[:, 0], 1 - x.flatten(1)[:, 0]], 1).double()

    probs = along_segments(classify, torch.zeros(2, 1, 3, 3), torch.ones(2, 1, 3, 3), 5)
    assert probs.shape == (2, 5, 2)
    torch.testing.assert_close(probs[1, :, 0], torch.tensor([0, 0.25, 0.5, 0.75, 1]).double())
    assert seen[0].shape == (10, 1, 3, 3)


def test_a_straight_way_has_no_detour_and_a_third_class_on_it_has():
    share = torch.linspace(0, 1, 5, dtype=torch.float64)[:, None]
    first, second, third = torch.eye(3, dtype=torch.float64)
    straight = (1 - share) * first + share * second
    around = torch.stack([first, third, third, third, second])
    found = summarise_segments(torch.stack([straight, straight]))
    assert found["detour"] == pytest.approx(0, abs=1e-9)
    assert (found["label_changes"], found["other_class_percent"]) == (1, 0)
    assert found["steepest"] == pytest.approx(0.25)
    assert found["least_confidence_percent"] == pytest.approx(50)
    found = summarise_segments(around[None])
    assert (found["detour"], found["label_changes"], found["steepest"]) == (1, 2, 1)
    assert found["other_class_percent"] == pytest.approx(60)


def test_each_image_has_its_direction_of_the_size_asked_whatever_the_batch():
    images, scale = torch.rand(6, 3, 8, 8), torch.tensor([0.01, 0.02, 0.04]).view(1, 3, 1, 1)
    whole = beside(images, 4, scale, torch.Generator().manual_seed(0)) - images
    generator = torch.Generator().manual_seed(0)
    parts = torch.cat([beside(part, 8, scale, generator) - part for part in images.split(4)])
    torch.testing.assert_close(parts, 2 * whole, rtol=1e-3, atol=1e-6)
    sizes = (whole / scale).square().flatten(1).mean(1).sqrt()
    torch.testing.assert_close(sizes, torch.full((6,), 4.0), rtol=1e-3, atol=0)


def test_steps_count_changed_labels():
    probs, moved = torch.eye(2)[[0, 0]], torch.eye(2)[[0, 1]]
    assert summarise_steps(probs, moved) == {"change_percent": 50, "label_change_percent": 50}
