"""The short and the small recipe are one recipe each: methods differ in what is theirs and in nothing else."""

import pytest

from alignmixup import methods
from alignmixup.training.config import to_dict
from alignmixup.training.config_file import bundled_folder, bundled_names, load

FAST = sorted(str(folder.parent.relative_to(bundled_folder())) for folder in bundled_folder().rglob("fast"))
SMALL = sorted(str(folder.parent.relative_to(bundled_folder())) for folder in bundled_folder().rglob("small"))
RECIPES = [*(f"{data}/fast" for data in FAST), *(f"{data}/small" for data in SMALL)]
STYLE = {"stylemix", "stylecutmix"}  # published on CIFAR alone
LOCALIZATION = {"baseline", "mixup", "cutmix", "alignmixup"}  # the rows of the paper's table on CUB
# options of a method that would be a recipe's: how it is scaled to the loss, which the recipe fixes
NEEDED = {"comixup": {"clean_scale": "cross_entropy"}, "puzzlemix": {"clean_scale": "cross_entropy"}}


def test_the_data_sets_of_the_paper_have_it() -> None:
    assert {"cifar10", "cifar100", "tiny-imagenet", "imagenet", "cub/vgg16_gap", "cub/resnet50_gap"} == set(FAST)
    assert {"cifar100", "tiny-imagenet"} == set(SMALL)


@pytest.mark.parametrize("recipe", RECIPES)
def test_every_method_has_the_same_recipe(recipe: str) -> None:
    names = [name for name in bundled_names() if name.startswith(f"{recipe}/")]
    found = {name.rpartition("/")[2] for name in names}
    if recipe.startswith("cub/"):
        assert found == LOCALIZATION
    else:
        assert found == set(methods.available()) - {"switch"} - (STYLE if recipe.startswith("imagenet/") else set())
    tables = {name: to_dict(load(name)) for name in names}
    shared = {name: {key: own for key, own in table.items() if key != "method"} for name, table in tables.items()}
    assert all(own == shared[f"{recipe}/baseline"] for own in shared.values())
    for name, table in tables.items():
        for key, value in NEEDED.get(name.rpartition("/")[2], {}).items():
            assert table["method"].get(key, value) == value, name


@pytest.mark.parametrize("data", FAST)
def test_it_is_short_and_alignment_counts_in_it(data: str) -> None:
    config = load(f"{data}/fast/alignmixup")
    assert config.train.epochs <= 200
    assert (config.schedule.name, config.schedule.update) == ("cosine", "step")
    assert "iterations" not in config.method.options  # the solver that converges
    pooled = {"torchvision:resnet50": "layer4", "resnet50_gap": "layer4", "vgg16_gap": "extra"}
    if config.model.name in pooled:
        assert config.method.options["layer"] != pooled[config.model.name]
    else:
        assert config.model.options["final_norm"] is True


@pytest.mark.parametrize("name", ["baseline", "mixup", "manifold_mixup", "cutmix", "alignmixup", "alignmixup_ae"])
def test_imagenet_has_the_methods_of_the_paper(name: str) -> None:
    config = load(f"imagenet/{name}")
    assert (config.model.name, config.train.epochs) == ("torchvision:resnet50", 300)
    assert config.schedule.milestones == (75, 150, 225)


@pytest.mark.parametrize("data", SMALL)
def test_the_small_recipe_is_the_short_one_on_less(data: str) -> None:
    for name in (name for name in bundled_names() if name.startswith(f"{data}/small/")):
        small, fast = to_dict(load(name)), to_dict(load(name.replace("/small/", "/fast/")))
        assert small["method"] == fast["method"]
        assert small["optimizer"] == fast["optimizer"]
        assert small["model"]["width"] < fast["model"]["width"]
        assert small["data"]["subset"] > 0
