"""Building and loading the C code; what happens where it can't be built."""

import logging
import os
import shutil
import subprocess
import sys

import pytest
import torch

from alignmixup.functional import native
from alignmixup.functional.alignment import align_mix

needs_compiler = pytest.mark.skipif(shutil.which("cc") is None, reason="no C compiler: the C code is not tried here")


@pytest.fixture
def fresh(monkeypatch, tmp_path):
    """An empty cache folder, and nothing loaded yet."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.delenv("ALIGNMIXUP_NATIVE", raising=False)
    native.library.cache_clear()
    yield tmp_path / "alignmixup"
    native.library.cache_clear()


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
def test_a_cache_that_cannot_be_written_is_replaced(fresh, monkeypatch):
    may = os.access
    monkeypatch.setattr(os, "access", lambda path, mode: path != fresh and may(path, mode))
    assert native.library() is not None
    assert not list(fresh.iterdir())


@needs_compiler
def test_a_cache_that_cannot_be_made_is_replaced(fresh):
    fresh.write_text("a file stands in the way")
    assert native.library() is not None


@needs_compiler
def test_processes_that_build_at_once_do_not_disturb_each_other(fresh):
    code = "from alignmixup.functional import native; assert native.library() is not None"
    running = [subprocess.Popen([sys.executable, "-c", code]) for _ in range(2)]
    assert [process.wait() for process in running] == [0, 0]
    assert len(list(fresh.iterdir())) == 1


def test_what_runs_natively():
    ready = native.library() is not None
    assert native.runs_natively(torch.zeros(2), torch.zeros(0)) == ready
    assert not native.runs_natively(torch.zeros(2), torch.zeros(2, dtype=torch.float64))
    assert not native.runs_natively(torch.zeros(2, dtype=torch.bfloat16))
    assert not native.runs_natively(torch.zeros(2, device="meta"))
    assert not native.runs_natively(torch.nn.Parameter(torch.zeros(2)))
