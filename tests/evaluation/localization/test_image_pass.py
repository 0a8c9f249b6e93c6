"""The pass over images."""

import pytest
import torch
from torch import Tensor, nn

from alignmixup.evaluation.localization.box_accuracy import count_accuracy, tabulate_boxes
from alignmixup.evaluation.localization.cam import ClassActivation
from alignmixup.evaluation.localization.image_pass import localize


class Bright(nn.Module):
    """Class 0 is brightness, class 1 darkness: a network whose map is the image itself."""

    def __init__(self) -> None:
        super().__init__()
        self.copy = nn.Identity()
        self.head = nn.Linear(1, 2, bias=False)
        self.head.weight.data = torch.tensor([[1.0], [-1.0]])

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.copy(x).mean((2, 3)))


def test_bright_squares_are_found():
    images = torch.zeros(5, 1, 56, 56)
    boxes = []
    for n, image in enumerate(images):
        image[0, 10 + n : 30 + n, 5:25] = 1
        boxes.append(torch.tensor([[5, 10 + n, 25, 30 + n]]))
    labels = torch.tensor([0, 0, 1, 0, 0])
    sizes = torch.full((5, 2), 56)
    seen = []
    model = Bright()
    found = localize(
        ClassActivation(model, images),
        [(images[:3], labels[:3]), (images[3:], labels[3:])],
        lambda maps: tabulate_boxes(maps, boxes, sizes),
        size=(56, 56),
        watchers=[lambda done, x, maps: seen.append((done, x.shape, maps.shape, maps.dtype))],
    )
    assert found.correct.tolist() == [True, True, False, True, True]
    assert found.error_percent == 20
    match = count_accuracy(found.table, contours="largest").best_iou.amax(1)
    assert match[[0, 1, 3, 4]].tolist() == [1] * 4
    assert match[2] < 0.5  # the map of darkness
    assert seen == [
        (0, (3, 1, 56, 56), (3, 56, 56), torch.float64),
        (3, (2, 1, 56, 56), (2, 56, 56), torch.float64),
    ]


@pytest.mark.parametrize(("outputs", "correct"), [(None, [True, False]), ([0, 1], [True, False]), ([1], [False, True])])
def test_outputs_that_compete(outputs, correct):
    images = torch.ones(2, 1, 8, 8)
    boxes, sizes = [torch.tensor([[0, 0, 1, 1]])] * 2, torch.full((2, 2), 8)
    batches = [(images, torch.tensor([0, 1]))]
    activation = ClassActivation(Bright(), images)
    found = localize(activation, batches, lambda maps: tabulate_boxes(maps, boxes, sizes), outputs=outputs)
    assert found.correct.tolist() == correct


def test_what_is_not_finite_is_wrong():
    images = torch.rand(2, 1, 8, 8)
    model = Bright()
    activation = ClassActivation(model, images)
    images[1] = float("nan")
    boxes, sizes = [torch.tensor([[0, 0, 1, 1]])] * 2, torch.full((2, 2), 8)
    found = localize(activation, [(images, torch.tensor([0, 0]))], lambda maps: tabulate_boxes(maps, boxes, sizes))
    assert found.correct.tolist() == [True, False]
    assert found.table.peaks.tolist() == [255, 0]
