"""The published strengths."""

import pytest

from alignmixup.evaluation.corruptions.strengths import (
    EXTRA_KINDS,
    KINDS,
    TABLES,
    check_kinds,
    check_severities,
    table_for,
)


def test_every_table_has_five_strengths_of_every_kind():
    assert len(KINDS) == 15
    for table in TABLES.values():
        assert set(table) == set(KINDS + EXTRA_KINDS)
        for kind, rows in table.items():
            assert len(rows) == 5, kind
            assert len({len(row) for row in rows}) == 1, kind


def test_a_few_published_numbers():
    assert TABLES["cifar"]["gaussian_noise"][4] == (0.10,)
    assert TABLES["cifar"]["snow"][4] == (0.3, 0.3, 1.25, 0.65, 14, 12, 0.8)
    assert TABLES["tiny-imagenet"]["snow"][4] == (0.3, 0.3, 1.25, 0.65, 14, 12, 0.6)
    assert TABLES["imagenet"]["gaussian_noise"][0] == (0.08,)
    assert TABLES["imagenet"]["jpeg_compression"][4] == (7,)


@pytest.mark.parametrize(
    ("size", "table"), [(8, "cifar"), (45, "cifar"), (46, "tiny-imagenet"), (119, "tiny-imagenet"), (120, "imagenet")]
)
def test_the_nearest_size_decides(size, table):
    assert table_for(size) == table


def test_names_and_severities_are_checked():
    with pytest.raises(ValueError, match="did you mean motion_blur"):
        check_kinds(["motion-blur"])
    for kinds in ([], ["fog", "fog"]):
        with pytest.raises(ValueError, match="named once"):
            check_kinds(kinds)
    for severities in ([], [0], [6], [1, 1], [True], [1.0]):
        with pytest.raises(ValueError, match="integers from 1 to 5"):
            check_severities(severities)
    assert check_kinds(["fog"]) == ("fog",)
    assert check_severities([5, 1]) == (5, 1)
