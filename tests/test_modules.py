"""Flags and devices of any module."""

import pytest
import torch
from torch import nn

from alignmixup.modules import device_of, evaluation_flags, evaluation_mode, training_flags


def test_each_flag_comes_back_whatever_happens() -> None:
    model = nn.Sequential(nn.Linear(2, 2), nn.Dropout().eval(), nn.Sequential(nn.BatchNorm1d(2)))
    before = {module: module.training for module in model.modules()}
    assert set(before.values()) == {True, False}
    with pytest.raises(ZeroDivisionError), evaluation_mode(model):
        1 // any(module.training for module in model.modules())
    assert {module: module.training for module in model.modules()} == before
    restore = training_flags(model)
    model.train()
    restore()
    assert {module: module.training for module in model.modules()} == before


def test_flags_come_back_from_a_model_that_cannot_change_its_mode() -> None:
    class Stubborn(nn.Sequential):
        def train(self, mode: bool = True) -> nn.Sequential:
            super().train(mode)
            raise RuntimeError("halfway")

    model = Stubborn(nn.Dropout())
    with pytest.raises(RuntimeError, match="halfway"), evaluation_mode(model):
        pass
    assert model.training
    assert model[0].training


class Merging(nn.Linear):
    """As a LoRA layer: in evaluation mode an update is part of the weight."""

    merged = False

    def train(self, mode: bool = True) -> "Merging":
        super().train(mode)
        if mode == self.merged:
            self.weight.data += -1 if mode else 1
            self.merged = not mode
        return self


def test_what_a_module_does_in_its_own_eval_is_undone_by_its_own_train() -> None:
    model = nn.Sequential(Merging(2, 2), nn.Dropout().eval())
    nn.init.zeros_(model[0].weight)
    with evaluation_mode(model):
        assert model[0].merged
        assert bool((model[0].weight == 1).all())
    assert not model[0].merged
    assert not model[0].weight.any()
    assert [module.training for module in model.modules()] == [True, True, False]


def test_flags_alone_run_nothing_of_the_modules_own() -> None:
    model = nn.Sequential(Merging(2, 2), nn.Dropout().eval())
    with evaluation_flags(model):
        assert not any(module.training for module in model.modules())
        assert not model[0].merged
    assert [module.training for module in model.modules()] == [True, True, False]


def test_device_of_a_model_with_and_without_parameters() -> None:
    assert device_of(nn.Linear(1, 1, device="meta")) == torch.device("meta")
    assert device_of(nn.ReLU()) == torch.device("cpu")
