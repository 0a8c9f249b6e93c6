import importlib
import pickle
from urllib.error import URLError

import pytest
import torch

from alignmixup import data
from alignmixup.data.sets.cifar import read_batch

numpy = importlib.import_module("numpy")


class Bomb:
    def __reduce__(self):
        return (print, ("a pickle ran code",))


def rewrite(path, **changes):
    content = read_batch(path) | changes
    with path.open("wb") as file:
        pickle.dump({key: value for key, value in content.items() if value is not None}, file, protocol=2)


def test_cifar100(cifar100):
    dataset = data.load("cifar100", root=cifar100)
    assert dataset.train.images.shape == (300, 3, 32, 32)
    assert torch.bincount(dataset.train.labels).tolist() == [3] * 100
    assert torch.bincount(dataset.test.labels).tolist() == [1] * 100
    assert (dataset.class_names[1], dataset.num_classes, dataset.augment) == ("class1", 100, "crop4_flip")
    raw = read_batch(cifar100 / "cifar-100-python" / "train")
    red, green, blue = dataset.train.images[7]
    assert red.flatten().tolist() == raw["data"][7][:1024].tolist()
    assert green[0].tolist() == raw["data"][7][1024:1056].tolist()
    assert blue[-1].tolist() == raw["data"][7][-32:].tolist()
    assert dataset.train.labels.tolist() == raw["fine_labels"]


def test_cifar10_joins_its_batches_in_order(cifar10):
    dataset = data.load("cifar10", root=cifar10)
    assert len(dataset.train) == 100
    assert len(dataset.test) == 20
    third = read_batch(cifar10 / "cifar-10-batches-py" / "data_batch_3")["labels"]
    assert dataset.train.labels[40:60].tolist() == third
    assert dataset.class_names[:2] == ("plane", "class1")


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
def test_all_pickle_protocols(tmp_path, protocol):
    pixels = numpy.arange(6, dtype=numpy.uint8).reshape(2, 3)
    (tmp_path / "batch").write_bytes(pickle.dumps({b"data": pixels, b"labels": [0, 1]}, protocol=protocol))
    content = read_batch(tmp_path / "batch")
    assert content["data"].tolist() == pixels.tolist()
    assert content["labels"] == [0, 1]


def test_other_size(cifar10):
    dataset = data.load("cifar10", root=cifar10, image_size=16)
    assert dataset.train.images.shape == (100, 3, 16, 16)
    assert dataset.image_size == 16


@pytest.mark.parametrize("how", ["truncated", "garbled", "empty"])
@pytest.mark.parametrize("file", ["train", "test", "meta"])
def test_damaged_files(cifar100, damage, file, how):
    path = cifar100 / "cifar-100-python" / file
    damage(path, how)
    message = rf"{file} \({path.stat().st_size} bytes\) is not a batch of the official .*set download=True"
    with pytest.raises(ValueError, match=message):
        data.load("cifar100", root=cifar100)


def test_a_pickle_runs_no_code(cifar100, capsys):
    path = cifar100 / "cifar-100-python" / "train"
    path.write_bytes(pickle.dumps({"data": Bomb(), "fine_labels": []}))
    with pytest.raises(ValueError, match=r"the name \w+.print does not belong into such a file"):
        data.load("cifar100", root=cifar100)
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"data": None}, "no entry 'data'"),
        ({"fine_labels": None}, "no entry 'fine_labels', found"),
        ({"data": [1, 2]}, "'data' is list, expected uint8"),
        (
            {"data": numpy.zeros((300, 3072), numpy.int32)},
            r"'data' is int32 \(300, 3072\), expected uint8",
        ),
        ({"data": numpy.zeros((300, 3072), numpy.float32)}, "arrays of 'f4' do not belong into such a file"),
        ({"data": numpy.zeros((300, 1024), numpy.uint8)}, r"'data' is uint8 \(300, 1024\), expected uint8"),
        ({"data": numpy.zeros((299, 3072), numpy.uint8)}, "299 images and 300 labels"),
        ({"fine_labels": "abc"}, "'fine_labels' is not a list of integers"),
        ({"fine_labels": [100] + [0] * 299}, "labels from 0 to 100, expected 0 to 99"),
        ({"fine_labels": [-1] + [0] * 299}, "labels from -1 to 0, expected 0 to 99"),
    ],
)
def test_wrong_content(cifar100, changes, message):
    path = cifar100 / "cifar-100-python" / "train"
    rewrite(path, **changes)
    with pytest.raises(ValueError, match=f"train .*{message}"):
        data.load("cifar100", root=cifar100)


def test_not_a_dictionary(cifar100):
    (cifar100 / "cifar-100-python" / "train").write_bytes(pickle.dumps([1, 2, 3]))
    with pytest.raises(ValueError, match="it holds a list, expected a dictionary"):
        data.load("cifar100", root=cifar100)


def test_wrong_number_of_class_names(cifar100):
    rewrite(cifar100 / "cifar-100-python" / "meta", fine_label_names=["apple"])
    with pytest.raises(ValueError, match=r"meta .*: 1 fine_label_names, expected 100"):
        data.load("cifar100", root=cifar100)


def test_missing_file(cifar10):
    (cifar10 / "cifar-10-batches-py" / "data_batch_4").unlink()
    with pytest.raises(FileNotFoundError, match=r"data_batch_4 is missing: the folder .* is incomplete"):
        data.load("cifar10", root=cifar10)


def test_absent(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"cifar-100-python: expected .* Set data.download=true, or unpack"):
        data.load("cifar100", root=tmp_path)


def test_download_moves_a_complete_folder_into_place(cifar10, tmp_path, monkeypatch):
    datasets = importlib.import_module("torchvision.datasets")
    root = tmp_path / "new" / "root"

    def fetch(scratch, *, download):
        assert download
        (cifar10 / "cifar-10-batches-py").rename(f"{scratch}/cifar-10-batches-py")

    monkeypatch.setattr(datasets, "CIFAR10", fetch)
    assert len(data.load("cifar10", root=root, download=True).train) == 100
    assert [path.name for path in root.iterdir()] == ["cifar-10-batches-py"]


def test_failed_download_leaves_nothing(tmp_path, monkeypatch):
    datasets = importlib.import_module("torchvision.datasets")

    def fetch(scratch, *, download):
        raise URLError("no network")

    monkeypatch.setattr(datasets, "CIFAR100", fetch)
    with pytest.raises(
        FileNotFoundError, match=r"could not be downloaded.*no network.*unpack it as .*cifar-100-python"
    ):
        data.load("cifar100", root=tmp_path, download=True)
    assert list(tmp_path.iterdir()) == []
