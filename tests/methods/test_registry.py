import importlib
from pathlib import Path

import pytest

from alignmixup import CutMix, methods
from alignmixup.methods import base
from benchmarks import cards


def test_the_folder_is_the_registry():
    assert {"baseline", "mixup", "manifold_mixup", "cutmix", "alignmixup", "switch"} <= set(methods.available())
    assert methods.load("cutmix") is CutMix


def test_methods_outside_the_package_are_reached_by_path():
    assert methods.load("alignmixup.methods.cutmix:CutMix") is CutMix


def test_options_are_what_a_configuration_may_set():
    options = methods.options("cutmix")
    assert options["alpha"].default == 1.0
    assert not {"model", "num_classes", "generator"} & set(options)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: methods.load("cutmx"), "unknown method 'cutmx'; did you mean cutmix"),
        (lambda: methods.load("torch.nn:Linear"), "is a part of Python or torch"),
        (lambda: methods.load("nowhere:Linear"), "'nowhere:Linear': no module 'nowhere'"),
        (lambda: methods.build("mixup", options={"alhpa": 1.0}), "no option 'alhpa'; did you mean alpha"),
        (lambda: methods.build("mixup", options={"alpha": 0.0}), "alpha must be > 0, got 0.0"),
    ],
)
def test_bad_names_and_options_are_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_the_folder_holds_methods_only():
    found = {path.stem for path in Path(methods.__file__).parent.glob("*.py")} - {"__init__"}
    assert found == set(methods.available())


@pytest.mark.parametrize(
    ("module", "name"),
    [("base", "Mixer"), ("batch", "MixedBatch"), ("drop_in", "DropIn"), ("hidden_mixer", "HiddenMixer")],
)
def test_bases_are_found_where_they_were(module, name):
    assert getattr(importlib.import_module(f"alignmixup.methods.{module}"), name) is getattr(base, name)


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("baseline", {"alpha": 1.0, "lam_per": "batch", "probability": 0.0}),
        ("switch", {"alpha": 1.0, "lam_per": "batch"}),
        ("comixup", {"lam_per": "batch"}),
    ],
)
def test_old_keys_without_a_meaning_are_taken_at_their_defaults_only(name, options):
    from alignmixup.models import PreActResNet18

    model = PreActResNet18(3, width=4)
    methods.build(name, model=model, num_classes=3, options=options)
    assert not set(options) & set(methods.options(name))
    for key in options:
        with pytest.raises(ValueError, match=f"{key} has no meaning in '{name}', where .*: leave it out, got 'pair'"):
            methods.build(name, model=model, num_classes=3, options={key: "pair"})


@pytest.mark.parametrize("name", methods.available())
def test_every_option_is_explained(name):
    assert all(item.help for item in methods.options(name).values())


def test_the_cards_list_what_the_methods_declare():
    assert cards.differing() == [], "run `python -m benchmarks.cards`"
