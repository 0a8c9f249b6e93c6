"""Names for readers."""

from alignmixup import methods
from alignmixup.report.names import rank, spell, spell_data


def test_labels() -> None:
    assert spell("alignmixup,epsilon=0.1") == "AlignMixup, epsilon=0.1"
    assert spell("first/cutmix") == "first/CutMix"
    assert spell("mine") == "mine"
    assert spell_data("cifar100") == "CIFAR-100"
    assert spell_data("flowers") == "flowers"


def test_every_method_has_a_name_and_a_place() -> None:
    names = methods.available()
    assert all(spell(name) != name for name in names)
    assert sorted(rank(name) for name in names) == list(range(len(names)))
    assert rank("package.module:Class") == len(names)
