"""What is said of an unknown name."""

import pytest

from alignmixup.near import near


@pytest.mark.parametrize(
    ("name", "known", "expected"),
    [
        ("mixpu", ["mixup", "cutmix"], "did you mean mixup? Known: mixup, cutmix"),
        ("zzz", ["mixup", "cutmix"], "known: mixup, cutmix"),
        ("zzz", [], "known: none"),
        ("Tiny_ImageNet", ["cub", "tiny-imagenet"], "did you mean tiny-imagenet? Known: cub, tiny-imagenet"),
        ("layerX", ["layer1", "layer2"], "did you mean layer2 or layer1? Known: layer1, layer2"),
        ("zzz", map(str, range(30)), f"known: {', '.join(map(str, range(20)))} and 10 more"),
        (
            "block7.atn",
            (f"block{i}.attn" for i in range(30)),
            "did you mean block7.attn, block27.attn or block17.attn?",
        ),
    ],
)
def test_near_names_come_first_and_long_lists_are_cut(name, known, expected):
    assert near(name, known) == expected


def test_the_prefix_stands_before_near_names_only():
    assert near("lrr", ["lr", "beta1"], prefix="optimizer.") == "did you mean optimizer.lr? Known: lr, beta1"
