import torch

from alignmixup import Mixup
from alignmixup.methods import Draw


def test_images_and_labels_are_interpolated_by_hand():
    x = torch.tensor([[0.0], [4.0]])[:, :, None, None]
    draw = Draw(lam=torch.tensor([0.75, 0.5]), perm=torch.tensor([1, 0]))
    mixed = Mixup(num_classes=2).mix(x, torch.eye(2), draw)
    assert mixed.x.flatten().tolist() == [1.0, 2.0]
    assert mixed.target.tolist() == [[0.75, 0.25], [0.5, 0.5]]
    assert mixed.clean_target.tolist() == [[1.0, 0.0], [0.0, 1.0]]
