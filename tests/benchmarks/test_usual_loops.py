"""The rivals' loops do what ours does."""

import pytest
import torch

from alignmixup.benchmarks.loading import make_task
from alignmixup.benchmarks.usual_loops import CLASSES, MEAN, STD, plain_epoch, usual_batches


@pytest.fixture
def task(options_of):
    return make_task(options_of("loading", "--images", "8", "--batch", "4", "--width", "2"))


@pytest.mark.parametrize("kind", ["v1 on PIL", "v2 on tensors"])
def test_batches_are_normalised_images_of_the_task(task, kind):
    batches = list(usual_batches(task, kind=kind, workers=0))
    assert [(tuple(x.shape), x.dtype, len(y)) for x, y in batches] == [((4, 3, 32, 32), torch.float32, 4)] * 2
    assert sorted(torch.cat([y for _, y in batches]).tolist()) == sorted(task.labels.tolist())
    low, high = (0 - MEAN[0]) / STD[0], (1 - MEAN[0]) / STD[0]
    assert all(low - 1e-5 <= x.min() and x.max() <= high + 1e-5 for x, _ in batches)


def test_an_epoch_visits_every_batch_and_mixes_it(task):
    seen = []

    def mix(x, y):
        seen.append(len(x))
        return x, torch.nn.functional.one_hot(y, CLASSES).float()

    plain_epoch(task, list(usual_batches(task, kind="v2 on tensors", workers=0)), mix)()
    assert seen == [4, 4]
