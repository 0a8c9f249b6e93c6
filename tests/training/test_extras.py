"""Optional packages."""

import json

import pytest

from alignmixup.training.extras import require


def test_present() -> None:
    assert require("json") is json


def test_absent_says_how_to_install() -> None:
    with pytest.raises(ImportError, match=r"no_such_package is needed here: pip install \"alignmixup\[train\]\""):
        require("no_such_package.inner")
