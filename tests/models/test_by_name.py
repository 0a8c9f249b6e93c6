import importlib
from urllib.error import URLError

import pytest
import torch
from torch import nn

from alignmixup import models

FETCH = "torchvision.models._api.load_state_dict_from_url"
SMALL = "torchvision:mobilenet_v3_small"


def same_parameters(model: nn.Module, state: dict[str, torch.Tensor], *, but: tuple[str, ...]) -> bool:
    own = model.state_dict()
    return all(torch.equal(own[key], value) for key, value in state.items() if not key.startswith(but))


@pytest.mark.parametrize(
    ("name", "options", "size"),
    [
        (SMALL, {}, 32),
        ("torchvision:vit_b_16", {"image_size": 32}, 32),
        ("torchvision:resnet18", {"in_channels": 1}, 32),
        ("torchvision:googlenet", {}, 32),
        ("timm:resnet10t", {"in_channels": 1}, 32),
        ("timm:vit_tiny_patch16_224", {"image_size": 32}, 32),
        ("timm:test_vit", {"image_size": 32, "patch_size": 4}, 32),
        ("timm:convnext_atto", {}, 32),
    ],
)
@pytest.mark.filterwarnings("ignore::FutureWarning:timm")
def test_logits_have_one_column_per_class(name, options, size):
    model = models.build(name, num_classes=7, options=options)
    assert model.training
    x = torch.zeros(2, options.get("in_channels", 3), size, size)
    with torch.no_grad():
        assert model(x).shape == (2, 7)


@pytest.mark.parametrize("name", ["torchvision:resnet18", "timm:resnet10t"])
def test_small_stem_keeps_the_resolution_of_the_first_stage(name):
    model = models.build(name, num_classes=3, options={"small_stem": True, "in_channels": 1})
    seen = []
    model.layer1.register_forward_hook(lambda _module, _inputs, output: seen.append(output.shape[2:]))
    model(torch.zeros(2, 1, 16, 16))
    assert seen == [(16, 16)]
    assert model.conv1.kernel_size == (3, 3)


@pytest.mark.parametrize("name", [SMALL, "torchvision:densenet121", "timm:vit_tiny_patch16_224"])
def test_small_stem_where_it_is_not_possible(name):
    with pytest.raises(ValueError, match=f"small_stem needs a ResNet-like model .*{name} lacks"):
        models.build(name, num_classes=3, options={"small_stem": True})


@pytest.mark.parametrize(
    ("name", "near"),
    [("torchvision:resnet81", "resnet18"), ("timm:vit_tiny_patch16_242", "vit_tiny_patch16_224")],
)
def test_unknown_names_list_near_ones(name, near):
    library, _, unknown = name.partition(":")
    with pytest.raises(ValueError, match=f"{library} has no model '{unknown}' .*; did you mean .*{near}"):
        models.build(name, num_classes=3)


def test_unknown_timm_tag_lists_the_known_ones():
    with pytest.raises(ValueError, match="Known with weights: resnet10t"):
        models.build("timm:resnet10t.nonsense", num_classes=3)


@pytest.mark.parametrize(
    "name", ["torchvision:resnet18", "torchvision:googlenet", "torchvision:inception_v3", "timm:resnet10t"]
)
def test_image_size_where_any_size_goes(name):
    with pytest.raises(ValueError, match=f"{name} takes images of any size: leave image_size out"):
        models.build(name, num_classes=3, options={"image_size": 64})


@pytest.mark.parametrize("name", ["mobilevit_xxs", "halonet26t", "repvit_m0_9"])
def test_an_image_size_that_changes_nothing_is_refused(name):
    """timm passes it on to builders that drop it."""
    with pytest.raises(ValueError, match=f"image_size changes nothing in timm:{name}: leave it out"):
        models.build(f"timm:{name}", num_classes=3, options={"image_size": 64})


@pytest.mark.parametrize("name", ["vit_tiny_patch16_224", "swin_tiny_patch4_window7_224", "botnet26t_256"])
def test_an_image_size_that_is_the_models_own_is_taken_and_draws_nothing(name):
    side, states = int(name[-3:]), []
    for options in ({}, {"image_size": side}):
        torch.manual_seed(0)
        models.build(f"timm:{name}", num_classes=3, options=options)
        states.append(torch.random.get_rng_state())
    assert torch.equal(*states)


@pytest.mark.parametrize("name", ["torchvision:resnet18", "torchvision:vit_b_16", "timm:resnet10t"])
def test_patch_size_where_there_are_no_patches_to_choose(name):
    with pytest.raises(ValueError, match="takes no patch_size: leave it out"):
        models.build(name, num_classes=3, options={"patch_size": 4})


def test_patches_of_the_size_asked_for():
    model = models.build("timm:test_vit", num_classes=3, options={"image_size": 32, "patch_size": 8})
    assert model.patch_embed.num_patches == 16


@pytest.mark.parametrize("name", ["timm:test_vit", "timm:vit_tiny_patch16_224", "timm:cait_xxs24_224"])
@pytest.mark.parametrize("options", [{"image_size": 32, "patch_size": 12}, {"patch_size": 33}, {"image_size": 40}])
def test_patches_that_do_not_fill_the_image_are_refused(name, options):
    """Some of timm's models leave the rest of the image out and say nothing, others fail in the first batch."""
    with pytest.raises(ValueError, match=r"patches of patch_size=\d+ do not fill images of image_size="):
        models.build(name, num_classes=3, options=options)


@pytest.mark.parametrize(("name", "size"), [("mixer_s32_224", 40), ("coat_lite_tiny", 90), ("pit_ti_224", 41)])
def test_first_patches_are_looked_at_wherever_they_stand(name, size):
    with torch.device("meta"), pytest.raises(ValueError, match=r"do not fill images of image_size="):
        models.build(f"timm:{name}", num_classes=3, options={"image_size": size})


@pytest.mark.parametrize(
    ("name", "option", "size"),
    [("timm:xcit_nano_12_p16_224", "image_size", 90), ("timm:crossvit_tiny_240", "patch_size", 4)],
)
def test_a_size_that_timm_cannot_build_is_refused_by_name(name, option, size):
    with pytest.raises(ValueError, match=f"{name} cannot have {option}={size}"):
        models.build(name, num_classes=3, options={option: size})


@pytest.mark.parametrize("options", [{"in_channels": 0}, {"image_size": -1}])
@pytest.mark.parametrize("name", ["torchvision:vit_b_16", "timm:vit_tiny_patch16_224"])
def test_options_out_of_range(name, options):
    with pytest.raises(ValueError, match="must be an integer >= 1"):
        models.build(name, num_classes=3, options=options)


@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
@pytest.mark.parametrize(("name", "head"), [("torchvision:resnet18", "fc."), ("timm:resnet10t", "fc.")])
def test_local_weights_load_into_all_but_the_head(tmp_path, name, head, suffix):
    state = models.build(name, num_classes=5).state_dict()
    path = tmp_path / f"weights{suffix}"
    if suffix == ".pth":
        torch.save(state, path)
    else:
        importlib.import_module("safetensors.torch").save_file(state, path)
    model = models.build(name, num_classes=9, options={"weights": str(path)})
    assert model.get_submodule(head[:-1]).out_features == 9
    assert same_parameters(model, state, but=(head,))


def test_whether_local_weights_expect_renormalised_images_is_asked(tmp_path):
    """Those that are fetched by hand do, those of a training from scratch do not."""
    name, file = "torchvision:googlenet", tmp_path / "weights.pth"
    torch.save(models.build(name, num_classes=3).state_dict(), file)
    with pytest.raises(ValueError, match=f"{name} with weights=.*weights.pth: say transform_input=true where"):
        models.build(name, num_classes=3, options={"weights": str(file)})
    for told in (True, False):
        model = models.build(name, num_classes=3, options={"weights": str(file), "transform_input": told})
        assert model.transform_input is told


@pytest.mark.parametrize("name", ["torchvision:resnet18", "timm:resnet10t"])
def test_missing_local_weights(tmp_path, name):
    with pytest.raises(FileNotFoundError, match=r"no weights at .*absent\.pth: expected a state dict"):
        models.build(name, num_classes=3, options={"weights": tmp_path / "absent.pth"})


def test_damaged_local_weights(tmp_path):
    path = tmp_path / "weights.pth"
    path.write_bytes(b"garbage")
    with pytest.raises(ValueError, match=r"weights\.pth is not a readable state dict"):
        models.build(SMALL, num_classes=3, options={"weights": path})
    torch.save(torch.nn.ReLU(), path)
    with pytest.raises(ValueError, match=r"a network saved whole: save its state_dict\(\)"):
        models.build(SMALL, num_classes=3, options={"weights": path})
    torch.save([1, 2], path)
    with pytest.raises(ValueError, match="expected a mapping from names to tensors, bare or under one of"):
        models.build(SMALL, num_classes=3, options={"weights": path})


def test_weights_of_another_model(tmp_path):
    path = tmp_path / "weights.pth"
    torch.save({"nothing": torch.zeros(1)}, path)
    with pytest.raises(ValueError, match=r"do not fit the model; tensors: \d+ missing \(.*; 1 unknown \(nothing"):
        models.build(SMALL, num_classes=3, options={"weights": path})
    with pytest.raises(ValueError, match="do not fit the model; tensors:"):
        models.build("timm:resnet10t", num_classes=3, options={"weights": path})


def test_pretrained_torchvision_weights_offline(monkeypatch):
    def refuse(*_args, **_keywords):
        raise URLError("no network")

    monkeypatch.setattr(FETCH, refuse)
    with pytest.raises(FileNotFoundError, match=r"resnet18-.*no network.*put it at .*checkpoints.*weights=PATH"):
        models.build("torchvision:resnet18", num_classes=3, options={"pretrained": True})


def test_pretrained_torchvision_weights_with_another_head(monkeypatch):
    published = models.build("torchvision:resnet18", num_classes=1000).state_dict()
    monkeypatch.setattr(FETCH, lambda *_args, **_keywords: dict(published))
    model = models.build("torchvision:resnet18", num_classes=4, options={"pretrained": True, "small_stem": True})
    assert model.fc.out_features == 4
    assert same_parameters(model, published, but=("fc.", "conv1."))


def test_pretrained_timm_weights_offline(monkeypatch):
    def refuse(*_args, **_keywords):
        raise OSError("no network")

    monkeypatch.setattr("timm.models._builder.load_state_dict_from_hf", refuse)
    with pytest.raises(FileNotFoundError, match=r"could not be downloaded.*no network.*weights=PATH"):
        models.build("timm:resnet10t", num_classes=3, options={"pretrained": True})


def test_pretrained_torchvision_restrictions(monkeypatch):
    published = models.build("torchvision:resnet18", num_classes=1000).state_dict()
    monkeypatch.setattr(FETCH, lambda *_args, **_keywords: dict(published))
    with pytest.raises(ValueError, match="pretrained weights are for 3 channels, got in_channels=1"):
        models.build("torchvision:resnet18", num_classes=3, options={"pretrained": True, "in_channels": 1})
    with pytest.raises(ValueError, match="for 224-pixel images, got image_size=64"):
        models.build("torchvision:vit_b_16", num_classes=3, options={"pretrained": True, "image_size": 64})


def test_without_the_library(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "timm", None)
    with pytest.raises(ImportError, match=r'pip install "alignmixup\[train\]"'):
        models.build("timm:resnet10t", num_classes=3)
