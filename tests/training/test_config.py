"""The tables check themselves."""

import re
import subprocess
import sys
from typing import Any

import pytest

from alignmixup.options import options_of
from alignmixup.training import config as tables
from alignmixup.training.config import Config, MethodConfig, OptimizerConfig, ScheduleConfig, TrainConfig, to_dict

BAD_VALUES: list[tuple[type[tables.Table], dict[str, Any], str]] = [
    (OptimizerConfig, {"lr": 0.0}, "optimizer.lr must be > 0, got 0.0"),
    (OptimizerConfig, {"lr": "fast"}, "optimizer.lr must be a number, got 'fast'"),
    (OptimizerConfig, {"lr": float("nan")}, "optimizer.lr must be > 0, got nan"),
    (OptimizerConfig, {"momentum": 1.0}, "optimizer.momentum must be in [0, 1), got 1.0"),
    (OptimizerConfig, {"name": "adam"}, "optimizer.name must be 'sgd', 'adamw' or 'muon', got 'adam'"),
    (OptimizerConfig, {"nesterov": 1}, "optimizer.nesterov must be true or false, got 1"),
    (OptimizerConfig, {"nesterov": True, "momentum": 0.0}, "optimizer.nesterov = true needs"),
    (TrainConfig, {"epochs": 1.5}, "train.epochs must be a whole number, got 1.5"),
    (TrainConfig, {"epochs": True}, "train.epochs must be a whole number, got True"),
    (TrainConfig, {"epochs": 0}, "train.epochs must be >= 1, got 0"),
    (TrainConfig, {"precision": "fp8"}, "train.precision must be 'fp32', 'bf16', 'fp16' or 'auto', got 'fp8'"),
    (TrainConfig, {"trackers": "wandb"}, "train.trackers must be a list, got 'wandb'"),
    (TrainConfig, {"trackers": ("tb",)}, "every element of train.trackers must be 'tensorboard' or 'wandb', got 'tb'"),
    (ScheduleConfig, {"milestones": (3, 2)}, "schedule.milestones must increase, got [3, 2]"),
    (ScheduleConfig, {"name": "step"}, 'schedule.name = "step" needs schedule.milestones'),
    (MethodConfig, {"options": {"alpha": float("inf")}}, "method.alpha must be a finite number, got inf"),
]


@pytest.mark.parametrize(("table", "values", "message"), BAD_VALUES)
def test_bad_values_are_refused(table: type[tables.Table], values: dict[str, Any], message: str) -> None:
    with pytest.raises((ValueError, TypeError), match=re.escape(message)):
        table(**values)


def test_a_whole_number_is_a_number() -> None:
    assert OptimizerConfig(lr=1).lr == 1


def test_warmup_longer_than_the_run_is_refused() -> None:
    with pytest.raises(ValueError, match=r"schedule.warmup_epochs must be <= train.epochs = 20, got 21"):
        Config(schedule=ScheduleConfig(warmup_epochs=21))


def test_to_dict_puts_options_beside_the_name() -> None:
    config = Config(method=MethodConfig(name="cutmix", options={"alpha": 1.0}))
    assert to_dict(config)["method"] == {"name": "cutmix", "alpha": 1.0}


def test_every_option_has_a_help_text() -> None:
    for name, cls in tables.TABLES.items():
        for key, item in options_of(cls).items():
            assert key == "options" or len(item.help or "") > 10, f"{name}.{key}"


def test_imports_no_torch() -> None:
    code = "import sys, alignmixup.training.config_file, alignmixup.runs.folder; print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
