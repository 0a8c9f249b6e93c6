import pytest

from alignmixup.data.optional import optional


def test_present_and_absent():
    assert optional("math").sqrt(4) == 2
    with pytest.raises(ImportError, match=r'no_such_package is needed .*pip install "alignmixup\[train\]"'):
        optional("no_such_package")
