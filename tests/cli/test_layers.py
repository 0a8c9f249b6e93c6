"""``alignmixup layers``."""

import pytest

from alignmixup.benchmarks.layers import LayersFound
from alignmixup.cli import main
from alignmixup.cli.layers import print_table

pytestmark = pytest.mark.filterwarnings("ignore:AlignMixup at layer:UserWarning")


def test_the_layers_of_a_network(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["layers", "preact_resnet18", "--size", "32", "--batch", "3"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split(",")[0] for line in lines] == [
        "alignmixup: norm: shape (3",
        "manifold_mixup: stage1: shape (3",
        "manifold_mixup: stage2: shape (3",
    ]
    assert all("carries 1.000" in line for line in lines)


def test_a_layer_that_is_no_cut(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["layers", "preact_resnet18", "--size", "32", "--batch", "2", "--layer", "stage2.0.conv1"]) == 1
    assert "refused: layer 'stage2.0.conv1' does not carry everything" in capsys.readouterr().out


@pytest.mark.parametrize("arguments", [["layers"], ["layers", "preact_resnet18", "--all", "timm"]])
def test_one_model_or_all(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(arguments) == 1
    assert "name one MODEL" in capsys.readouterr().err


def test_the_table_counts(capsys: pytest.CaptureFixture[str]) -> None:
    print_table([LayersFound("a:b", "M", ("x",), ((2, 3, 4),), 1.0, ""), LayersFound("a:c", "M", (), (), None, "why")])
    out = capsys.readouterr().out
    assert "| a:b | M | x | 3x4 | 1.000 |" in out
    assert "| a:c | M |  |  | why |" in out
    assert "Layers found in 1 of 2 rows." in out
