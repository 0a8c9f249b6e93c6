"""C code for the CPU, built on the machine that runs it.

On a CPU, alignment by tensor operations spends most of its time on starting small operations and on their temporaries.
The C files in the folder ``c`` work on one sample a thread, in its cache. They are built on first use, in about a
second, by the machine's C compiler for its processor, and kept in the user's cache folder. Where there is no compiler,
`library` returns None and tensor operations serve: the same mathematics. ``ALIGNMIXUP_NATIVE=0`` asks for them too.
"""

from __future__ import annotations

import ctypes
import hashlib
import logging
import os
import platform
import shutil
import subprocess
import tempfile
from functools import cache
from pathlib import Path

import torch
from torch import Tensor

from alignmixup.functional.arguments import readable

FOLDER = Path(__file__).parent / "c"
FLAGS = ("-O3", "-march=native", "-fno-math-errno", "-fno-trapping-math", "-shared", "-fPIC")
# With the first, threads are those of torch, which has the same library loaded; some compilers lack it.
THREADED, SERIAL = "-fopenmp", "-fopenmp-simd"
SHARE = 2**15  # multiply-adds that are worth a thread


@cache
def library() -> ctypes.CDLL | None:
    """The built C files; None where they can't be built."""
    compiler = next(filter(None, map(shutil.which, (os.environ.get("CC", "cc"), "gcc", "clang"))), None)
    if os.environ.get("ALIGNMIXUP_NATIVE") == "0" or compiler is None or os.name != "posix":
        return None
    reason: object = None
    for threading in (THREADED, SERIAL):
        try:
            return ctypes.CDLL(str(_built(compiler, threading)))
        except subprocess.CalledProcessError as error:
            reason = error.stderr
        except (OSError, subprocess.SubprocessError) as error:
            reason = error
    logging.getLogger(__name__).warning("C code could not be built, tensor operations serve instead: %s", reason)
    return None


def runs_natively(*tensors: Tensor) -> bool:
    """Whether C code can take these tensors: plain float32 ones that are `readable`."""
    plain = all(type(t) is Tensor and t.dtype == torch.float32 for t in tensors)
    return plain and readable(*tensors) and library() is not None


def dense(tensor: Tensor, dtype: torch.dtype, *shape: int) -> Tensor:
    """Give a tensor as C code reads it, row by row; a copy where it lies otherwise.

    Raises:
        AssertionError: another dtype or shape: C code would read beyond it.
    """
    assert (tensor.dtype, tensor.shape) == (dtype, shape), f"{tensor.dtype} {tuple(tensor.shape)} for {dtype} {shape}"
    return tensor.contiguous()


def call(name: str, *arguments: Tensor | float | ctypes.Structure, work: float) -> None:
    """Call a C function that ends with the number of threads and returns 0, 1 without memory or 2 for a bad index.

    Args:
        name: the function.
        arguments: tensors as pointers, whole numbers as int64, others as float, structures by reference.
        work: multiply-adds, to choose the number of threads: `torch.get_num_threads` at most.

    Raises:
        MemoryError: no memory for the function's scratch space.
        IndexError: an index beyond the tensor that it points into.
    """
    functions = library()
    assert functions is not None
    threads = max(1, min(torch.get_num_threads(), int(work) // SHARE))
    status = getattr(functions, name)(*map(_as_c, arguments), ctypes.c_int64(threads))
    if status == 2:
        raise IndexError(f"{name} was given an index beyond its tensor")
    if status:
        raise MemoryError(f"no memory for {name}")


def _as_c(argument: Tensor | float | ctypes.Structure) -> object:
    if isinstance(argument, Tensor):
        assert argument.device.type == "cpu", f"C code was given a tensor on {argument.device}"
        return ctypes.c_void_p(argument.data_ptr())
    if isinstance(argument, ctypes.Structure):
        return ctypes.byref(argument)
    return ctypes.c_int64(argument) if isinstance(argument, int) else ctypes.c_float(argument)


def _built(compiler: str, threading: str) -> Path:
    """Path of the shared library, built where there is none for these sources and this processor."""
    sources = sorted(FOLDER.glob("*.c"))
    texts = (path.read_text() for path in sorted(FOLDER.iterdir()))
    parts = [*texts, compiler, *FLAGS, threading, _processor()]
    key = hashlib.sha256("\n".join(parts).encode()).hexdigest()[:16]
    target = _cache_folder() / f"alignmixup-{key}.so"
    if not target.is_file():
        with tempfile.TemporaryDirectory(dir=target.parent) as folder:
            built = Path(folder) / target.name
            command = [compiler, *FLAGS, threading, *map(str, sources), "-o", str(built), "-lm"]
            subprocess.run(command, check=True, capture_output=True, text=True, timeout=120)
            built.replace(target)  # atomic: another process may be building too
    return target


def _cache_folder() -> Path:
    root = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    folder = Path(root) / "alignmixup"
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    except OSError:
        return _own_folder()
    return folder if os.access(folder, os.W_OK | os.X_OK) else _own_folder()


@cache
def _own_folder() -> Path:
    """A folder for this process, where the user has none that can be written."""
    return Path(tempfile.mkdtemp(prefix="alignmixup-"))


def _processor() -> str:
    """What ``-march=native`` depends on: a home folder may be shared by machines with different processors."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return f"{platform.machine()} {platform.processor()}"
    return "\n".join(sorted({line for line in lines if line.startswith(("model name", "flags", "Features"))}))
