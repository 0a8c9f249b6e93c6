"""Recipes are one recipe each: methods differ in what is theirs and in nothing else."""

import pytest

from alignmixup.training.bundled import bundled_names
from alignmixup.training.config import to_dict
from alignmixup.training.config_file import load

STYLE = {"stylemix", "stylecutmix"}  # published on CIFAR alone
LOCALIZATION = {"baseline", "mixup", "cutmix", "alignmixup"}  # the rows of the paper's table on CUB
# options of a method that would be a recipe's: how it is scaled to the loss, which the recipe fixes
NEEDED = {"comixup": {"clean_scale": "cross_entropy"}, "puzzlemix": {"clean_scale": "cross_entropy"}}


def folders(recipe: str) -> set[str]:
    """Data sets, and networks where there are several, that have a recipe of that name."""
    return {name.partition(f"/{recipe}/")[0] for name in bundled_names() if f"/{recipe}/" in name}


def test_the_data_sets_of_the_paper_have_them() -> None:
    short = {"cifar10", "cifar100", "tiny-imagenet", "imagenet", "cub/vgg16_gap", "cub/resnet50_gap"}
    assert (folders("fast"), folders("small")) == (short, {"cifar10", "cifar100", "tiny-imagenet"})


def test_every_method_has_the_same_recipe() -> None:
    wrong = []
    recipes = [*(f"{data}/fast" for data in folders("fast")), *(f"{data}/small" for data in folders("small"))]
    # a new method needs none of them; one that is in any is in all
    everywhere = {name.rpartition("/")[2] for name in bundled_names() if name.rpartition("/")[0] in recipes}
    for recipe in recipes:
        tables = {
            name.rpartition("/")[2]: to_dict(load(name)) for name in bundled_names() if name.startswith(f"{recipe}/")
        }
        rivals = everywhere - (STYLE if recipe.startswith("imagenet/") else set())
        if set(tables) != (expected := LOCALIZATION if recipe.startswith("cub/") else rivals):
            wrong.append(f"{recipe} has the methods {sorted(tables)}, not {sorted(expected)}")
        for method, table in tables.items():
            differing = [key for key in table if key != "method" and table[key] != tables["baseline"][key]]
            wrong += [f"{recipe}/{method}: [{key}] is not the baseline's" for key in differing]
            for key, value in NEEDED.get(method, {}).items():
                if table["method"].get(key, value) != value:
                    wrong.append(f"{recipe}/{method}: {key} = {table['method'][key]}, and the loss is {value}")
    assert not wrong, "\n".join(wrong)


def test_the_short_one_is_short_and_alignment_counts_in_it() -> None:
    for data in folders("fast"):
        config = load(f"{data}/fast/alignmixup")
        assert config.train.epochs <= 200, data
        assert (config.schedule.name, config.schedule.update) == ("cosine", "step"), data
        assert "iterations" not in config.method.options, data  # the solver that converges
        pooled = {"torchvision:resnet50": "layer4", "resnet50_gap": "layer4", "vgg16_gap": "extra"}
        if config.model.name in pooled:
            assert config.method.options["layer"] != pooled[config.model.name], data
        else:
            assert config.model.options["final_norm"] is True, data


def test_imagenet_has_the_methods_of_the_paper() -> None:
    for name in ("baseline", "mixup", "manifold_mixup", "cutmix", "alignmixup", "alignmixup_ae"):
        config = load(f"imagenet/{name}")
        assert (config.model.name, config.train.epochs) == ("torchvision:resnet50", 300), name
        assert config.schedule.milestones == (75, 150, 225), name


def test_the_small_recipe_is_the_short_one_on_less() -> None:
    for name in bundled_names():
        if "/small/" in name:
            small, fast = to_dict(load(name)), to_dict(load(name.replace("/small/", "/fast/")))
            assert small["method"] == fast["method"], name
            assert small["optimizer"] == fast["optimizer"], name
            assert small["model"]["width"] < fast["model"]["width"], name
            assert small["data"]["subset"] > 0, name


@pytest.mark.parametrize("recipe", ["cifar100/small-vit", "folder/lite0", "folder/lite0-224"])
def test_methods_of_the_other_recipes_differ_in_the_method_alone(recipe: str) -> None:
    tables = [to_dict(load(name)) for name in bundled_names() if name.rpartition("/")[0] == recipe]
    assert len({table["method"]["name"] for table in tables}) == len(tables) > 2
    assert all({**table, "method": {}} == {**tables[0], "method": {}} for table in tables)


def test_the_long_tail_is_the_small_recipe_with_fewer_and_fewer_images() -> None:
    names = [name for name in bundled_names() if name.startswith("cifar10/long-tailed/")]
    tables = {name.rpartition("/")[2]: to_dict(load(name)) for name in names}
    assert set(tables) == {"baseline", "mixup", "remix"}
    small = to_dict(load("cifar10/small/baseline"))
    for method, table in tables.items():
        assert {key for key in table if table[key] != tables["baseline"][key]} <= {"method"}, method
        assert (table["data"]["subset"], table["data"]["imbalance"]) == (0, 100), method
        assert all(table[key] == small[key] for key in ("model", "optimizer", "schedule")), method
    paper = {"alpha": 1.0, "kappa": 3.0, "tau": 0.5}
    assert tables["remix"]["method"] == {"name": "remix", **paper}
    assert to_dict(load("digits/remix"))["method"] == {"name": "remix", **paper}
