import torch

from alignmixup import Mixup


def test_lambda_of_pairs_and_samples_differ_within_a_batch():
    x, y = torch.rand(8, 2), torch.zeros(8, dtype=torch.int64)
    per_sample = Mixup(num_classes=2, lam_per="sample")(x, y).draw.lam
    per_pair = Mixup(num_classes=2, lam_per="pair")(x, y).draw.lam
    assert len(per_sample.unique()) == 8
    assert len(per_pair.unique()) == 4
