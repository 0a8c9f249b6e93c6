"""The options of an alignment are one value, from which functions take their defaults."""

import inspect

import pytest
import torch

from alignmixup.functional import align_mix, comixup_masks, puzzlemix_mask, sinkhorn
from alignmixup.functional.comixup.masks import CoMixupSearch
from alignmixup.functional.puzzlemix.energy import PuzzleSearch
from alignmixup.functional.transport.options import Alignment
from alignmixup.options import options_of


@pytest.mark.parametrize(
    ("function", "options"),
    [(align_mix, Alignment), (comixup_masks, CoMixupSearch), (puzzlemix_mask, PuzzleSearch)],
)
def test_a_function_takes_the_options_with_their_defaults(function, options):
    parameters = inspect.signature(function).parameters
    for name, item in options_of(options).items():
        assert parameters[name].default == item.default


def test_a_value_is_checked_and_does_not_change():
    with pytest.raises(ValueError, match="epsilon must be > 0, got 0"):
        Alignment(epsilon=0)
    value = Alignment(epsilon=0.5)
    assert value == Alignment(epsilon=0.5) != Alignment()
    with pytest.raises(AttributeError, match=r"epsilon of Alignment cannot change.*replace\(alignment, epsilon=1\)"):
        value.epsilon = 1


@pytest.mark.filterwarnings("ignore:Dynamo detected a call to a `functools.lru_cache`")
@pytest.mark.parametrize("compiled", [False, True])
def test_a_bad_option_is_refused_in_compiled_code_too(compiled):
    cost = torch.rand(2, 4, 4)

    def solve(cost):
        return sinkhorn(cost, epsilon=-1.0).plan

    with pytest.raises(Exception, match=r"epsilon must be > 0, got -1.0"):
        (torch.compile(solve, backend="eager") if compiled else solve)(cost)
    assert torch.is_grad_enabled()
