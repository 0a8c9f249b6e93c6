"""Building and loading the C code; what happens where it can't be built."""

import logging
import os
import shutil
import subprocess
import sys
import tempfile
from multiprocessing.util import get_temp_dir
from pathlib import Path

import pytest
import torch
from tests.processes import in_two_processes

from alignmixup.functional import native
from alignmixup.functional.alignment import align_mix

needs_compiler = pytest.mark.skipif(shutil.which("cc") is None, reason="no C compiler: the C code is not tried here")


SOONER = ("-O0", "-shared", "-fPIC")
QUICKLY = f"from alignmixup.functional import native; native.FLAGS = {SOONER}\n"  # in another process


@pytest.fixture
def fresh(monkeypatch, tmp_path):
    """An empty cache folder and an empty one for temporary files, and nothing loaded yet."""
    get_temp_dir()  # multiprocessing keeps the first one that it sees: not the one below, too long for its sockets
    (tmp_path / "temporary").mkdir()
    for variable, folder in (("XDG_CACHE_HOME", tmp_path), ("TMPDIR", tmp_path / "temporary")):
        monkeypatch.setenv(variable, str(folder))
    monkeypatch.setattr(tempfile, "tempdir", None)
    monkeypatch.delenv("ALIGNMIXUP_NATIVE", raising=False)
    monkeypatch.setattr(native, "FLAGS", SOONER)
    native.library.cache_clear()
    yield tmp_path / "alignmixup"
    native.library.cache_clear()


def in_temporary_files():
    return Path(tempfile.gettempdir()) / f"alignmixup-{os.geteuid()}"


@pytest.fixture
def builds(monkeypatch):
    """What the compiler was called with."""
    calls, run = [], subprocess.run

    def counted(command, **options):
        if "-shared" in command:
            calls.append(command)
        return run(command, **options)

    monkeypatch.setattr(native.subprocess, "run", counted)
    return calls


def again():
    native.library.cache_clear()
    return native.library()


def in_another_process(**environment):
    """Align in another process; give its output."""
    code = (
        f"{QUICKLY}import torch; from alignmixup.functional import align_mix\n"
        "align_mix(torch.randn(2, 3, 2, 2), torch.tensor([1, 0]), torch.tensor([0.5, 0.5]))\n"
        "print('built' if native.library() else 'tensor operations')"
    )
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, env=os.environ | environment, capture_output=True, text=True, check=True)
    return done.stdout.strip()


@needs_compiler
def test_it_is_built_once_and_kept(fresh):
    assert native.library() is not None
    (built,) = fresh.iterdir()
    changed = built.stat().st_mtime_ns
    native.library.cache_clear()
    assert native.library() is not None
    assert [path.stat().st_mtime_ns for path in fresh.iterdir()] == [changed]


def test_it_can_be_switched_off(fresh, monkeypatch):
    monkeypatch.setenv("ALIGNMIXUP_NATIVE", "0")
    assert native.library() is None
    assert not native.runs_natively(torch.zeros(2))
    assert not fresh.exists()


def test_no_compiler_is_no_error(fresh, monkeypatch):
    monkeypatch.setattr(shutil, "which", lambda _: None)
    assert native.library() is None


def test_a_compiler_that_fails_is_reported_and_tensor_operations_serve(fresh, monkeypatch, caplog, tmp_path):
    broken = tmp_path / "cc"
    broken.write_text("#!/bin/sh\necho no such thing >&2\nexit 1\n")
    broken.chmod(0o755)
    monkeypatch.setenv("CC", str(broken))
    with caplog.at_level(logging.WARNING):
        assert native.library() is None
    assert "tensor operations serve instead: no such thing" in caplog.text
    features = torch.randn(2, 3, 2, 2)
    assert align_mix(features, torch.tensor([1, 0]), torch.tensor([0.5, 0.5])).shape == features.shape


@needs_compiler
def test_a_compiler_without_threads_builds_the_same_functions(fresh, monkeypatch, tmp_path):
    serial = tmp_path / "cc"
    serial.write_text(f'#!/bin/sh\ncase "$*" in *-fopenmp\\ *) exit 1;; esac\nexec {shutil.which("cc")} "$@"\n')
    serial.chmod(0o755)
    monkeypatch.setenv("CC", str(serial))
    assert native.library() is not None
    assert native.library().alignmixup_newton


@needs_compiler
@pytest.mark.parametrize("damage", ["empty", "cut", "changed"])
def test_a_damaged_file_is_built_again_and_never_loaded(fresh, builds, damage):
    assert native.library() is not None
    (built,) = fresh.iterdir()
    whole = built.read_bytes()
    built.unlink()  # it is loaded: what is mapped must not be cut
    built.write_bytes({"empty": b"", "cut": whole[:5000], "changed": whole[:-1] + b"x"}[damage])
    assert again() is not None
    assert len(builds) == 2
    assert built.read_bytes() == whole


@needs_compiler
def test_a_planted_file_is_not_loaded(fresh, builds):
    assert native.library() is not None
    (built,) = fresh.iterdir()
    built.chmod(0o722)  # anybody may have written it
    assert again() is not None
    assert len(builds) == 2
    assert [path.stat().st_mode & 0o022 for path in fresh.iterdir()] == [0]


@needs_compiler
@pytest.mark.parametrize("mode", [0o777, 0o770])
def test_a_cache_that_others_may_write_is_not_used(fresh, builds, mode):
    fresh.mkdir()
    fresh.chmod(mode)
    assert native.library() is not None
    assert list(fresh.iterdir()) == []
    assert len(list(in_temporary_files().iterdir())) == 1


@needs_compiler
@pytest.mark.parametrize("whose", ["stat", "lstat"])
def test_a_cache_or_a_link_of_somebody_else_is_not_used(fresh, monkeypatch, whose):
    look = getattr(Path, whose)

    def of_another(path, **options):
        about = look(path, **options)
        fields = (*about[:4], about.st_uid + 1, *about[5:])
        return os.stat_result(fields) if path == fresh else about

    monkeypatch.setattr(Path, whose, of_another)
    assert native.library() is not None
    assert list(fresh.iterdir()) == []


@needs_compiler
def test_a_cache_that_cannot_be_made_means_one_build_for_all_processes(fresh, builds):
    fresh.write_text("a file stands in the way")
    assert native.library() is not None
    for _ in range(2):
        assert again() is not None
    assert len(builds) == 1
    assert len(list(in_temporary_files().iterdir())) == 1


@needs_compiler
def test_without_any_folder_it_is_built_for_this_process(fresh):
    fresh.write_text("")
    in_temporary_files().write_text("")
    assert native.library() is not None
    assert sorted(fresh.parent.rglob("*")) == sorted([fresh, in_temporary_files(), in_temporary_files().parent])


@needs_compiler
def test_neither_home_nor_an_entry_for_the_user(fresh, monkeypatch):
    def unknown():
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setattr(Path, "home", unknown)
    assert native.library() is not None
    assert len(list(in_temporary_files().iterdir())) == 1


def test_no_folder_for_temporary_files_is_no_error(fresh, monkeypatch):
    def none(*_, **__):
        raise FileNotFoundError("No usable temporary directory found")

    monkeypatch.setattr(tempfile, "mkdtemp", none)
    assert native.library() is None


@needs_compiler
@pytest.mark.parametrize("cc", ["env  X=1 cc", "'{folder}/a b/cc'", "{folder}/a b/cc", "nothing-of-this-name", "'cc"])
def test_the_command_of_the_compiler(fresh, builds, monkeypatch, tmp_path, cc):
    (tmp_path / "a b").mkdir()
    (tmp_path / "a b" / "cc").symlink_to(shutil.which("cc"))
    monkeypatch.setenv("CC", cc.format(folder=tmp_path))
    assert native.library() is not None
    assert builds[0][0] in ("env", "cc", f"{tmp_path}/a b/cc")
    assert (builds[0][:3] == ["env", "X=1", "cc"]) == cc.startswith("env")


@needs_compiler
def test_another_processor_has_a_library_of_its_own(fresh, builds, monkeypatch):
    for features in (b"avx2", b"avx512f", b"avx2"):
        monkeypatch.setattr(native, "_processor", lambda features=features: features)
        assert again() is not None
    assert len(builds) == 2
    assert len(list(fresh.iterdir())) == 2


@needs_compiler
def test_texts_of_any_locale(fresh):
    assert in_another_process(LC_ALL="C", PYTHONUTF8="0", PYTHONCOERCECLOCALE="0") == "built"


def build_there(rank, cache):
    os.environ["XDG_CACHE_HOME"] = cache
    native.FLAGS = SOONER
    assert again() is not None


@needs_compiler
@pytest.mark.xdist_group("processes")
def test_processes_that_build_at_once_do_not_disturb_each_other(fresh):
    in_two_processes(build_there, str(fresh.parent))
    assert len(list(fresh.iterdir())) == 1


def test_what_runs_natively():
    ready = native.library() is not None
    assert native.runs_natively(torch.zeros(2), torch.zeros(0)) == ready
    assert not native.runs_natively(torch.zeros(2), torch.zeros(2, dtype=torch.float64))
    assert not native.runs_natively(torch.zeros(2, dtype=torch.bfloat16))
    assert not native.runs_natively(torch.zeros(2, device="meta"))
    assert not native.runs_natively(torch.nn.Parameter(torch.zeros(2)))
