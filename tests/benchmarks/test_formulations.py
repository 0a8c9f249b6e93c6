"""Formulations compute the same thing, as far as their solvers get."""

import pytest
import torch

from alignmixup.benchmarks.alignment import make_inputs
from alignmixup.benchmarks.formulations import formulations, marginal_error

# an easy problem: cost about epsilon, so that every solver converges (the naive one stops at 0.1 units of cost)
EASY = make_inputs((4, 16, 3, 3), 0.05, "cpu")


@pytest.mark.parametrize("name", formulations())
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_every_formulation_agrees_on_an_easy_problem(name):
    expected = formulations()["align_mix"](*EASY)
    torch.testing.assert_close(formulations()[name](*EASY), expected, atol=2e-3, rtol=0)


def test_the_row_error_is_that_of_the_plan():
    features, perm, _ = make_inputs((4, 256, 3, 3), 1.0, "cpu")
    assert marginal_error("align_mix", features, perm) < 1e-4
    assert marginal_error("broadcast", features, perm) > 0.05
