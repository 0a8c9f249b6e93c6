import sys

import pytest

from alignmixup import outside


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """The current folder, which only the console script leaves out of the search."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [entry for entry in sys.path if entry])
    before = set(sys.modules)
    yield tmp_path
    for name in set(sys.modules) - before:
        del sys.modules[name]


def test_a_name_of_an_installed_module():
    assert outside.find("pytest:fixture") is pytest.fixture


def test_a_module_of_the_current_folder(folder):
    (folder / "here_only.py").write_text("answer = 42\n")
    assert outside.find("here_only:answer") == 42


def test_an_installed_module_is_found_first(folder):
    (folder / "pytest.py").write_text("fixture = None\n")
    assert outside.find("pytest:fixture") is not None


@pytest.mark.parametrize("path", ["collections", "collections:", ":OrderedDict", "a b:c", "collections:a.b", "a/b:c"])
def test_another_form(path):
    with pytest.raises(ValueError, match="is not of the form package"):
        outside.find(path)


@pytest.mark.parametrize(("path", "missing"), [("nowhere:x", "nowhere"), ("pytest.nowhere:x", "pytest.nowhere")])
def test_no_such_module(folder, path, missing):
    with pytest.raises(ValueError, match=f"no module '{missing}', neither installed nor in ") as raised:
        outside.find(path)
    assert str(folder) in str(raised.value)


def test_no_such_name():
    with pytest.raises(ValueError, match="module 'pytest' has no 'fixtur'"):
        outside.find("pytest:fixtur")


@pytest.mark.parametrize("path", ["torch.hub:load", "os:system", "runpy:run_path", "subprocess:call"])
def test_pythons_and_torchs_own_functions_are_no_parts(path):
    with pytest.raises(ValueError, match=r"is a part of .*, and no network or method of one's own"):
        outside.find(path)


def test_what_a_module_misses_itself_is_named(folder):
    (folder / "needs_more.py").write_text("import not_installed_anywhere\n")
    with pytest.raises(ModuleNotFoundError, match="not_installed_anywhere"):
        outside.find("needs_more:x")


def test_an_optional_package_that_is_there():
    assert outside.require("math").sqrt(4) == 2


def test_an_optional_package_that_is_absent_says_how_to_install_it():
    with pytest.raises(ImportError, match=r'no_such_package is needed for this: pip install "alignmixup\[train\]"'):
        outside.require("no_such_package.inner")
