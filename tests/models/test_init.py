import pytest
import torch

from alignmixup import models


def test_build_passes_the_options_on():
    model = models.build("preact_resnet18", num_classes=4, options={"width": 4, "variant": "B", "in_channels": 1})
    assert isinstance(model, models.PreActResNet18)
    assert model(torch.zeros(2, 1, 16, 16)).shape == (2, 4)


def test_options_are_the_keywords_of_the_constructor():
    parameters = models.options("preact_resnet18")
    assert list(parameters) == ["variant", "width", "stem_stride", "strides", "final_norm", "in_channels"]
    assert parameters["width"].default == 64
    assert all(option.help for option in parameters.values())
    assert list(models.options("timm:anything")) == [
        "pretrained",
        "weights",
        "small_stem",
        "in_channels",
        "image_size",
        "patch_size",
        "transform_input",
    ]


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("preact_resnet", "did you mean preact_resnet18"),
        ("preact_resnet18:x", "Known: preact_resnet18, vgg16_gap, resnet50_gap, torchvision:NAME, timm:NAME"),
        ("vgg16", "did you mean vgg16_gap"),
        ("torchvision", "did you mean torchvision:NAME"),
        ("timm:", "unknown model 'timm:'"),
        ("torchvison:resnet18", "did you mean torchvision:NAME.*no module 'torchvison'"),
        ("timm.models:ResNett", "module 'timm.models' has no 'ResNett'"),
        ("timm.layers:DropPath", "^'timm.layers:DropPath' does not take num_classes"),
        ("torch.nn:Flatten", "is a part of Python or torch, and no network"),
        ("alignmixup.functional.cells:MAX_POSITIONS", "' is a int, not a class or function"),
    ],
)
def test_unknown_names(name, message):
    with pytest.raises(ValueError, match=message):
        models.build(name, num_classes=3)


@pytest.mark.parametrize("name", ["preact_resnet18", "torchvision:resnet18"])
def test_unknown_options_list_near_ones(name):
    with pytest.raises(ValueError, match=f"model '{name}' has no option 'in_chanels'; did you mean in_channels"):
        models.build(name, num_classes=3, options={"in_chanels": 1})


def test_available():
    assert models.available() == ("preact_resnet18", "vgg16_gap", "resnet50_gap", "torchvision:NAME", "timm:NAME")


def test_a_model_outside_the_package():
    name = "alignmixup.models.preact_resnet:PreActResNet18"
    assert list(models.options(name)) == list(models.options("preact_resnet18"))
    model = models.build(name, num_classes=4, options={"width": 4, "in_channels": 1})
    assert model(torch.zeros(2, 1, 16, 16)).shape == (2, 4)
    with pytest.raises(ValueError, match=r"has no option 'widht'; did you mean width"):
        models.build(name, num_classes=4, options={"widht": 4})


def any_keyword(**options):
    return torch.nn.Linear(options["features"], options["num_classes"])


def no_model(num_classes):
    return num_classes


def test_an_outside_function_that_takes_any_keyword():
    assert models.build(f"{__name__}:any_keyword", num_classes=4, options={"features": 3}).out_features == 4


def test_an_outside_function_that_makes_no_model():
    with pytest.raises(TypeError, match=r"no_model' returned int, not an nn\.Module"):
        models.build(f"{__name__}:no_model", num_classes=4)
