import pytest
import torch

from alignmixup import Baseline, CutMix


def test_nothing_is_mixed():
    x, y = torch.rand(3, 2), torch.tensor([0, 1, 1])
    mixed = Baseline(num_classes=2)(x, y)
    assert mixed.x is x
    assert mixed.draw is None
    assert mixed.target.tolist() == [[1.0, 0.0], [0.0, 1.0], [0.0, 1.0]]


def test_an_option_that_there_is_not_is_refused_with_those_that_there_are():
    with pytest.raises(TypeError, match=r"^Baseline has no option 'alpha'; known: model, num_classes, label_smoothing"):
        Baseline(alpha=9)
    with pytest.raises(TypeError, match=r"^CutMix has no option 'alpa'; did you mean alpha or alpha_end\?"):
        CutMix(alpa=9)


def test_a_class_may_take_what_it_wants():
    class Strong(CutMix):
        def __init__(self, strength, **options):
            self.strength = strength
            super().__init__(**options)

    assert Strong(strength=3, alpha=2.0).strength == 3
