"""Which images a folder holds: the same ones whatever systems put beside them and however links lead through it."""

import importlib
import logging
import os
import re

import pytest

from alignmixup import data
from alignmixup.data.sets.listing import is_hidden, list_images, near_duplicates, order_classes

pil = importlib.import_module("PIL.Image")
SYSTEM = [
    *(".ipynb_checkpoints", ".git", ".Trash-1000", ".DS_Store", "._cat.jpg", "__MACOSX", "@eaDir", "Thumbs.db"),
    *("@__thumb", "_vti_cnf", "CVS", "Network Trash Folder", "~snapshot"),
    *("desktop.ini", "lost+found", "$RECYCLE.BIN", "System Volume Information", "#recycle", "__pycache__", "~$1.jpg"),
]


def load(root, name="folder", **options):
    return data.load(name, root=root, progress=False, cache=False, **options)


def put(path):
    path.parent.mkdir(parents=True, exist_ok=True)
    pil.new("RGB", (8, 6)).save(path, "PNG")


def split(root, name, classes, count=2):
    for each in classes:
        for number in range(count):
            put(root / name / each / f"{number}.png")


@pytest.fixture
def plain(tmp_path):
    """Two classes of two images in train and val."""
    for name in ("train", "val"):
        split(tmp_path, name, ("cat", "dog"))
    return tmp_path


@pytest.mark.parametrize("below", ["train", "val", "train/cat", "val/dog", "train/cat/deep"])
def test_hidden_and_system_folders_are_skipped_with_a_line(plain, caplog, below):
    for name in SYSTEM:
        put(plain / below / name / "0-checkpoint.png")
    dataset = load(plain)
    assert dataset.class_names == ("cat", "dog")
    assert (len(dataset.train), len(dataset.test)) == (4, 4)
    assert f"{len(SYSTEM)} hidden or system files and folders skipped ({below}/{min(SYSTEM)}, " in caplog.text


def test_hidden_and_system_files_are_skipped(plain):
    for name in SYSTEM:
        (plain / "train" / "dog" / name).write_bytes(b"\0\5\x16\7")
        (plain / "train" / name).write_bytes(b"x")
        assert is_hidden(name)
        assert is_hidden(name.upper())
    assert len(load(plain).train) == 4


def test_other_names_are_names(plain):
    names = ["cat.1", "_hidden", "@home", "#1", "lost", "MACOSX", "$5", "git", "~"]
    split(plain, "train", names)
    assert set(names) <= set(load(plain).class_names)


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (["10", "2", "0", "1"], ["0", "1", "2", "10"]),
        (["010", "002", "000"], ["000", "002", "010"]),
        (["a10", "a2"], ["a10", "a2"]),
        (["10", "2", "x"], ["10", "2", "x"]),
        (["n02", "n01"], ["n01", "n02"]),
        (["1.5", "10", "2"], ["1.5", "10", "2"]),
        (["-1", "10", "2"], ["-1", "10", "2"]),
        (["٣", "2", "10"], ["10", "2", "٣"]),
    ],
)
def test_order_of_classes(names, expected):
    assert order_classes(names) == expected


def test_numbers_are_labels(tmp_path):
    for name in ("train", "test"):
        split(tmp_path, name, map(str, range(12)), count=1)
    dataset = load(tmp_path)
    assert dataset.class_names == tuple(map(str, range(12)))
    assert [int(path.split("/")[1]) for path in dataset.test.paths] == dataset.test.labels.tolist() == list(range(12))


def in_circles(root):
    """Links to a parent, to the root, to themselves, to one another, to nowhere, to a class, to the other split."""
    (root / "train/cat/up").symlink_to("..")
    (root / "train/cat/root").symlink_to(root)
    (root / "train/cat/self").symlink_to("self")
    (root / "train/cat/nowhere").symlink_to("gone")
    (root / "train/dog/cat").symlink_to("../cat")
    (root / "train/dog/val").symlink_to(root / "val")
    (root / "train/loop").symlink_to(root / "train")
    (root / "train/loop too").symlink_to(root / "train")
    (root / "val/cat/a").symlink_to("b")
    (root / "val/cat/b").symlink_to("a")
    (root / "val/dog/train").symlink_to(root / "train/cat/up")


def test_links_in_circles_end_and_add_nothing(plain, caplog):
    in_circles(plain)
    dataset = load(plain)
    assert dataset.class_names == ("cat", "dog")
    for part, name in ((dataset.train, "train"), (dataset.test, "val")):
        assert list(part.paths) == [f"{name}/{each}/{i}.png" for each in ("cat", "dog") for i in range(2)]
    assert len(list_images(plain)[0]) == 8
    assert "links skipped, which lead nowhere or to folders that are read anyway (train/cat/root, " in caplog.text


def test_links_to_other_places_are_followed_once(plain, tmp_path_factory, caplog):
    store = tmp_path_factory.mktemp("store")
    split(store, "birds", ["robin"], count=3)
    (plain / "train/cat/more").symlink_to(store / "birds")
    (plain / "train/cat/again").symlink_to(store / "birds/robin")
    (plain / "train/bird").symlink_to(store)
    os.symlink(plain / "train/cat/0.png", plain / "train/dog/linked.png")  # a file is its owner's business
    dataset = load(plain)
    # the folder that is a class by itself is read there, and not below another class
    assert dataset.class_names == ("bird", "cat", "dog")
    assert [int((dataset.train.labels == k).sum()) for k in range(3)] == [3, 2, 3]


def test_one_folder_cannot_be_two_classes(plain):
    (plain / "train/kitten").symlink_to("cat")
    with pytest.raises(
        ValueError, match=r"train/cat and .*train/kitten are one folder, so that its images would have two"
    ):
        load(plain)


@pytest.mark.parametrize(
    "group",
    [
        ("cat", "Cat"),
        ("cat", "cat "),
        ("black cat", "black_cat", "Black-Cat"),
        ("café", "cafe\u0301"),
        ("1", "01", "001"),
        ("straße", "STRASSE"),
    ],
)
def test_near_duplicates(group):
    assert near_duplicates(["dog", *group, "bird"]) == [group]


def test_names_that_are_not_alike():
    assert near_duplicates(["cat", "cats", "1", "10", "black cat", "blackcat", "a b", "b a"]) == []


def test_near_duplicates_and_missing_classes_are_said(plain, caplog):
    split(plain, "train", ["Cat "])
    put(plain / "train" / "loose.png")
    load(plain)
    assert "train: classes of nearly one name: 'Cat ' and 'cat'" in caplog.text
    assert "val: no images of 1 classes of train (Cat )" in caplog.text
    assert "train: 1 images lie beside the class folders and belong to none (train/loose.png)" in caplog.text


def test_nothing_odd_says_nothing(plain, caplog):
    load(plain)
    assert [record for record in caplog.records if record.levelno >= logging.WARNING] == []


def test_test_classes_of_nearly_one_name_are_named(plain):
    (plain / "val/dog").rename(plain / "val/Dog")
    message = (
        "has 1 classes that train/ lacks (Dog); the folders of both must have the same names; nearly one name have"
    )
    with pytest.raises(ValueError, match=re.escape(f"{message} 'dog' and 'Dog'")):
        load(plain)


def test_all_empty_classes_are_named(plain):
    for name in ("a", "b", "c"):
        (plain / "train" / name).mkdir()
    with pytest.raises(ValueError, match=r"train/a holds no image .*\(2 more classes are empty: b, c\)"):
        load(plain)


def test_all_unreadable_files_are_named(plain):
    for path in ("train/cat/0.png", "train/dog/1.png", "val/dog/0.png"):
        (plain / path).write_bytes(b"no image")
    with pytest.raises(
        ValueError, match=r"train/cat/0.png is not a readable .*\(2 more of 8 files cannot be used: .*1\.png,"
    ):
        load(plain, image_size=8)


@pytest.mark.parametrize("name", ["folder", "imagenet"])
@pytest.mark.parametrize("in_memory", [False, True])
@pytest.mark.parametrize("place", ["flat", "val", "with train"])
def test_testing_needs_no_training_images(tmp_path, name, in_memory, place):
    split(tmp_path, "." if place == "flat" else "val", ("1", "2", "10"))
    if place == "with train":  # its classes number the labels, its images are not wanted
        for each in ("0", "1", "2", "10"):
            (tmp_path / "train" / each).mkdir(parents=True)
    dataset = load(tmp_path, name, image_size=6, in_memory=in_memory, test_only=True, subset=1, imbalance=9)
    first = ["0"] if place == "with train" else []
    assert dataset.class_names == (*first, "1", "2", "10")
    assert dataset.test.labels.tolist() == [label + len(first) for label in (0, 0, 1, 1, 2, 2)]
    assert len(dataset.train) == 0
    train, test = data.build_loaders(dataset, batch_size=4, workers=0)
    assert [len(labels) for _, labels in test] == [4, 2]
    assert len(train) == train.num_images == 0
    with pytest.raises(ValueError, match=f"{name} was loaded with test_only=True: load it without, to train on it"):
        next(iter(train))


@pytest.mark.parametrize("options", [{}, {"validation": 2}])
def test_training_needs_two_classes_and_testing_one(tmp_path, options):
    """Images that lie a folder deeper than they should are of one class, and every answer is right."""
    for name in ("train", "val"):
        split(tmp_path, f"{name}/images", ("cat", "dog"))
    with pytest.raises(ValueError, match=r"train holds one class folder, images: at least two are needed to train"):
        load(tmp_path, **options)
    assert load(tmp_path, test_only=True).class_names == ("images",)


def test_training_needs_train(tmp_path):
    split(tmp_path, ".", ("a", "b"))
    with pytest.raises(
        FileNotFoundError, match=r"train is missing: .* only to test a network, load them with test_only=True"
    ):
        load(tmp_path)
    with pytest.raises(ValueError, match=r"validation=0.5 holds out training images, which test_only=True leaves out"):
        load(tmp_path, test_only=True, validation=0.5)
    with pytest.raises(ValueError, match="holds no class folder: expected CLASS/IMAGE"):
        load(tmp_path / "a", test_only=True)


def test_the_caches_of_both_kinds_do_not_meet(plain):
    for test_only in (False, True, False):
        found = data.load("folder", root=plain, image_size=6, test_only=test_only, progress=False)
        assert (len(found.train), len(found.test)) == (0 if test_only else 4, 4)
    assert sorted(path.name for path in plain.glob("*.safetensors")) == [
        "decoded-cache-6-test.safetensors",
        "decoded-cache-6.safetensors",
    ]


def test_a_pipe_is_no_image(plain):
    os.mkfifo(plain / "train/cat/pipe.png")
    assert len(load(plain).train) == 4


@pytest.mark.parametrize("name", ["digits", "folder"])
def test_images_that_fit_no_memory_are_refused(plain, name):
    with pytest.raises(ValueError, match=r"images of \dx\d+x\d+ need [\d,]+ GiB, and this machine has .*image_size"):
        data.build_loaders(data.load(name, root=plain, image_size=10_000_000), batch_size=4)


def test_a_missing_root_of_class_folders_is_told_the_way(tmp_path):
    with pytest.raises(FileNotFoundError, match="holds the class folders; of a run, with --root"):
        load(tmp_path / "nowhere", test_only=True)


def test_other_files_are_said(plain, caplog):
    for name in ("a.heic", "b.HEIC", "c"):
        (plain / "train/cat" / name).touch()
    load(plain)
    assert "train: 3 files that are no images (.heic: 2, no ending: 1)" in caplog.text


@pytest.mark.parametrize("names", [("Train", "Test"), ("training", "testing"), ("Val",)])
def test_splits_of_other_names_are_no_classes(tmp_path, names):
    for name in names:
        split(tmp_path, name, ("a", "b"))
    with pytest.raises(ValueError, match=r"holds .*, which would be the classes: rename them train and test or val"):
        load(tmp_path, test_only=True)
    split(tmp_path, ".", ("plane",))  # a train is a class beside others
    assert load(tmp_path, test_only=True).class_names == tuple(sorted(("plane", *names)))


def test_a_folder_above_the_splits_is_told_the_way(tmp_path):
    split(tmp_path, "archive/train", ("a", "b"))
    with pytest.raises(ValueError, match="archive holds the splits: set root to it"):
        load(tmp_path, test_only=True)


def test_a_test_split_that_is_the_training_split_is_said(plain, caplog):
    load(plain)
    assert not [one for one in caplog.records if one.levelno >= logging.WARNING]
    (plain / "test").symlink_to("train")
    load(plain)
    assert "test and train are one folder: the test images are those of the training" in caplog.text


@pytest.mark.parametrize("name", ["a.jpe", "a.JP2", "a.pbm", "a.tga", "a.apng"])
def test_endings_of_what_pillow_reads_are_images(plain, name):
    put(plain / "train/cat" / name)
    assert len(load(plain).train) == 5
