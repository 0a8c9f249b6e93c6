"""How numbers are shown."""

import pytest

from alignmixup.benchmarks.report import cell


@pytest.mark.parametrize(
    ("value", "shown"),
    [(1234.5, "1234"), (12.345, "12.3"), (1.2345, "1.23"), (0.0012345, "1.2e-03"), (0.0, "0.00"), (7, "7"), (None, "")],
)
def test_three_digits_are_shown(value, shown):
    assert cell(value) == shown
