"""State dicts and their errors; what networks do with them is tested beside the networks."""

import pytest
import torch
from torch import nn

from alignmixup.models.weights import load_except_head, read_weights


def network(classes: int, inner: int = 3) -> nn.Module:
    return nn.Sequential(nn.Linear(2, inner), nn.Linear(inner, classes))


def test_only_the_head_may_differ():
    published = network(5).state_dict()
    model = network(7)
    head = model[1].weight.clone()
    load_except_head(model, published, 7)
    assert torch.equal(model[0].weight, published["0.weight"])
    assert torch.equal(model[1].weight, head)
    load_except_head(same := network(5), published, 5)
    assert torch.equal(same[1].weight, published["1.weight"])


def test_what_does_not_fit_is_named():
    with pytest.raises(ValueError, match=r"tensors: 3 of another shape \(0.bias, 0.weight, 1.weight"):
        load_except_head(network(5), network(5, inner=4).state_dict(), 5)
    with pytest.raises(ValueError, match=r"4 missing \(0.bias.*1 unknown \(x\.\.\.\)"):
        load_except_head(network(5), {"x": torch.zeros(1)}, 5)


@pytest.mark.parametrize(
    "name", ["model-00002-of-00003.safetensors", "pytorch_model-00001-of-00002.bin", "model.safetensors.index.json"]
)
def test_checkpoints_in_several_files_are_refused_by_each(tmp_path, name):
    (tmp_path / name).write_text('{"weight_map": {}}')
    with pytest.raises(ValueError, match=rf"{name} is of a checkpoint in several files: put .* into one mapping"):
        read_weights(tmp_path / name)


def test_a_checkpoint_in_one_of_one_files_is_whole(tmp_path):
    torch.save({"a": torch.ones(2)}, path := tmp_path / "pytorch_model-00001-of-00001.bin")
    assert list(read_weights(path)) == ["a"]


def test_a_file_is_a_state_dict(tmp_path):
    path = tmp_path / "weights.pth"
    torch.save({"a": torch.ones(2)}, path)
    assert read_weights(path)["a"].tolist() == [1, 1]
    torch.save({"a": 3}, path)
    with pytest.raises(ValueError, match=r"expected a mapping from names to tensors.* got dict with the keys a"):
        read_weights(path)
