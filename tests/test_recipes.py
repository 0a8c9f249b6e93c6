"""The short recipe is one recipe: methods differ in what is theirs and in nothing else."""

import pytest

from alignmixup import methods
from alignmixup.training.config import to_dict
from alignmixup.training.config_file import bundled_folder, bundled_names, load

FAST = sorted(str(folder.parent.relative_to(bundled_folder())) for folder in bundled_folder().rglob("fast"))
STYLE = {"stylemix", "stylecutmix"}  # published on CIFAR alone
LOCALIZATION = {"baseline", "mixup", "cutmix", "alignmixup"}  # the rows of the paper's table on CUB
# options of a method that would be a recipe's: how it is scaled to the loss, which the recipe fixes
NEEDED = {"comixup": {"clean_scale": "cross_entropy"}, "puzzlemix": {"clean_scale": "cross_entropy"}}


def test_the_data_sets_of_the_paper_have_it() -> None:
    assert {"cifar10", "cifar100", "tiny-imagenet", "imagenet", "cub/vgg16_gap", "cub/resnet50_gap"} == set(FAST)


@pytest.mark.parametrize("data", FAST)
def test_every_method_has_the_same_recipe(data: str) -> None:
    names = [name for name in bundled_names() if name.startswith(f"{data}/fast/")]
    found = {name.rpartition("/")[2] for name in names}
    if data.startswith("cub/"):
        assert found == LOCALIZATION
    else:
        assert found == set(methods.available()) - {"switch"} - (STYLE if data == "imagenet" else set())
    tables = {name: to_dict(load(name)) for name in names}
    shared = {name: {key: own for key, own in table.items() if key != "method"} for name, table in tables.items()}
    assert all(own == shared[f"{data}/fast/baseline"] for own in shared.values())
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
