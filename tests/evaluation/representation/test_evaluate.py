"""The representation of a classifier, measured."""

import pytest
import torch
from torch import nn

from alignmixup.data.dataset import Split
from alignmixup.evaluation.representation.evaluate import (
    PLACES,
    STEPS,
    evaluate_representation,
    passes,
    summarise_errors,
)
from alignmixup.evaluation.representation.spectrum import class_spectra

CONSTANTS = {"mean": (0.5, 0.5, 0.5), "std": (0.25, 0.5, 0.5)}


def data(images=24, classes=3):
    draw = torch.Generator().manual_seed(0)
    pixels = torch.randint(0, 256, (images, 3, 8, 8), generator=draw, dtype=torch.uint8)
    return Split(pixels, torch.arange(images) % classes)


def head_of(kind):
    linear = {
        "linear": [nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(5, 3)],
        "conv": [nn.Conv2d(5, 3, 1), nn.AdaptiveAvgPool2d(1), nn.Flatten()],
        "tokens": [nn.Flatten(2), Swap(), nn.Linear(5, 3), Mean()],
    }
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 5, 3), nn.ReLU(), *linear[kind])


class Swap(nn.Module):
    def forward(self, x):
        return x.transpose(1, 2)


class Mean(nn.Module):
    def forward(self, x):
        return x.mean(1)


@pytest.mark.parametrize("kind", ["linear", "conv", "tokens"])
def test_features_are_what_the_classifier_reads(kind):
    split, model = data(), head_of(kind).train()
    done = []
    found = evaluate_representation(model, split, **CONSTANTS, batch_size=7, progress=done.append)
    assert model.training
    mean, std = (torch.tensor(CONSTANTS[key]).view(1, 3, 1, 1) for key in ("mean", "std"))
    with torch.no_grad():
        features = model[1](model[0]((split.images / 255 - mean) / std)).mean((2, 3))
    expected = class_spectra(features, split.labels, centred=True).summary()
    assert found["spectrum"]["centred"]["values"] == pytest.approx(expected["values"], rel=1e-3, abs=1e-6)
    assert found["features"] == 5
    assert 0 < found["within_class_percent"] < 100
    assert sum(done) == passes() * len(split)
    assert (found["segments"]["places"], len(found["steps"])) == (PLACES, len(STEPS))


def test_the_batch_size_changes_nothing_and_more_noise_changes_more():
    split, model = data(), head_of("linear")
    first, second = (evaluate_representation(model, split, **CONSTANTS, batch_size=size) for size in (24, 5))
    assert first["segments"]["detour"] == pytest.approx(second["segments"]["detour"], rel=1e-3, abs=1e-6)
    changes = [step["change_percent"] for step in first["steps"]]
    assert changes == pytest.approx([step["change_percent"] for step in second["steps"]], rel=1e-3)
    assert changes == sorted(changes)
    assert changes[0] > 0


def test_errors_are_counted_by_their_confidence():
    probs = torch.tensor([[0.95, 0.05], [0.55, 0.45], [0.2, 0.8]])
    found = summarise_errors(probs, torch.tensor([1, 1, 1]))
    assert found["count"] == 2
    assert found["mean_confidence_percent"] == pytest.approx(75)
    assert found["right_confidence_percent"] == pytest.approx(80)
    assert dict(zip(found["levels"], found["above_percent"], strict=True))[0.6] == 50
    none = summarise_errors(probs, torch.tensor([0, 0, 1]))
    assert (none["count"], none["mean_confidence_percent"], none["above_percent"]) == (0, None, None)


class Broken(nn.Module):
    def forward(self, x):
        return x.flatten(1)[:, :3] / 0


class NoLayer(nn.Module):
    def forward(self, x):
        return x.flatten(1)[:, :3]


@pytest.mark.parametrize(("model", "message"), [(Broken(), "diverged"), (NoLayer(), "no fully connected layer")])
def test_a_network_without_features_or_numbers_is_refused(model, message):
    with pytest.raises(ValueError, match=message):
        evaluate_representation(model, data(), **CONSTANTS)


@pytest.mark.parametrize("labels", [[0], [0, 1], [2, 2, 2]])
def test_images_of_too_few_classes_are_refused_before_anything_runs(labels):
    split = Split(torch.zeros(len(labels), 3, 2, 2, dtype=torch.uint8), torch.tensor(labels))
    with pytest.raises(ValueError, match=rf"these are {len(labels)} of {len(set(labels))}: take more \(--limit\)"):
        evaluate_representation(Broken(), split, (0.5,) * 3, (0.5,) * 3)
