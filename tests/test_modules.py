"""Flags and devices of any module."""

import pytest
import torch
from torch import nn

from alignmixup.modules import device_of, evaluation_mode, training_flags


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


def test_device_of_a_model_with_and_without_parameters() -> None:
    assert device_of(nn.Linear(1, 1, device="meta")) == torch.device("meta")
    assert device_of(nn.ReLU()) == torch.device("cpu")
