import pytest

from alignmixup import CutMix, methods


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
        (lambda: methods.load("torch.nn:Linear"), "'torch.nn:Linear' is not a Mixer"),
        (lambda: methods.load("nowhere:Linear"), "'nowhere:Linear': no module 'nowhere'"),
        (lambda: methods.build("mixup", options={"alhpa": 1.0}), "no option 'alhpa'; did you mean alpha"),
        (lambda: methods.build("mixup", options={"alpha": 0.0}), "alpha must be > 0, got 0.0"),
    ],
)
def test_bad_names_and_options_are_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()
