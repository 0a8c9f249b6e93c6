"""What tests draw is the same each time, alone, in any order and on any version of Python."""

import random

import numpy as np
import torch

IMPORTED = torch.rand(3)


def draws() -> list[float]:
    return [*torch.rand(1).tolist(), random.random(), np.random.rand()]


def test_what_a_test_draws_does_not_depend_on_what_ran_before() -> None:
    found = draws()
    torch.manual_seed(0), random.seed(0), np.random.seed(0)
    assert found == draws()


def test_what_a_file_draws_does_not_depend_on_what_was_imported_before() -> None:
    assert torch.equal(IMPORTED, torch.rand(3, generator=torch.Generator().manual_seed(0)))
