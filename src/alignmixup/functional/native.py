"""C code for the CPU, built on the machine that runs it.

On a CPU, alignment by tensor operations spends most of its time on starting small operations and on their temporaries.
The C files in the folder ``c`` work on one sample a thread, in its cache. They are built on first use, in about a
second, by the machine's C compiler for its processor, and kept in the user's cache folder, or where that cannot be used
in a folder of the user's own among the temporary files. Where there is no compiler, `library` returns None and tensor
operations serve: the same mathematics. ``ALIGNMIXUP_NATIVE=0`` asks for them too.

What is loaded runs, so it comes only from folders and files that belong to the user and that nobody else may write. The
name of a file holds the SHA-256 of its content: one that is damaged is built again, and never loaded.
"""

from __future__ import annotations

import ctypes
import hashlib
import logging
import os
import platform
import shlex
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import suppress
from functools import cache
from pathlib import Path

import torch
from torch import Tensor

from alignmixup.functional.arguments import in_forward_mode, readable

FOLDER = Path(__file__).parent / "c"
FLAGS = ("-O3", "-march=native", "-fno-math-errno", "-fno-trapping-math", "-shared", "-fPIC")
# With the first, threads are those of torch, which has the same library loaded; some compilers lack it.
THREADED, SERIAL = "-fopenmp", "-fopenmp-simd"
SHARE = 2**15  # multiply-adds that are worth a thread


@cache
def library() -> ctypes.CDLL | None:
    """The built C files; None where they can't be built."""
    compiler = _compiler()
    if os.environ.get("ALIGNMIXUP_NATIVE") == "0" or compiler is None or os.name != "posix":
        return None
    reason: object = None
    for threading in (THREADED, SERIAL):
        try:
            return _loaded(compiler, threading)
        except subprocess.CalledProcessError as error:
            reason = error.stderr
        except (OSError, subprocess.SubprocessError) as error:
            reason = error
    logging.getLogger(__name__).warning("C code could not be built, tensor operations serve instead: %s", reason)
    return None


def runs_natively(*tensors: Tensor) -> bool:
    """Whether C code can take these tensors: plain float32 ones that are `readable`, without forward derivatives.

    Memory of a negated view, as ``x.conj().imag`` is, holds the numbers with the other sign.
    """
    if not readable(*tensors) or in_forward_mode():
        return False
    plain = all(type(t) is Tensor and t.dtype == torch.float32 and not t.is_neg() for t in tensors)
    return plain and library() is not None


def dense(tensor: Tensor, dtype: torch.dtype, *shape: int) -> Tensor:
    """Give a tensor as C code reads it, row by row; a copy where it lies otherwise.

    Raises:
        AssertionError: another dtype or shape: C code would read beyond it.
    """
    assert (tensor.dtype, tensor.shape) == (dtype, shape), f"{tensor.dtype} {tuple(tensor.shape)} for {dtype} {shape}"
    return tensor.resolve_neg().contiguous()


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


def _compiler() -> list[str] | None:
    """The command of a C compiler: that of ``CC``, which may have several words (``ccache gcc``), or a usual one."""
    said = os.environ.get("CC", "")
    commands = [[said], ["cc"], ["gcc"], ["clang"]]
    with suppress(ValueError):  # a quotation without end
        commands.insert(1, shlex.split(said))
    return next((command for command in commands if command and shutil.which(command[0])), None)


def _loaded(compiler: Sequence[str], threading: str) -> ctypes.CDLL:
    """The shared library for these sources and this processor: one that was kept, or a new one that is kept then."""
    texts = [path.read_bytes() for path in sorted(FOLDER.iterdir())]
    command = [*compiler, *FLAGS, threading]
    key = hashlib.sha256(b"\n".join([*texts, *map(os.fsencode, command), _processor()])).hexdigest()[:16]
    folders = list(filter(_is_own, _folders()))
    for path in (path for folder in folders for path in sorted(folder.glob(f"alignmixup-{key}-*.so"))):
        with suppress(OSError):  # it may not be read, or lie where nothing may be run
            if path.name == _name(key, path.read_bytes()) and _is_own(path):
                return ctypes.CDLL(str(path))
            path.unlink()
    with tempfile.TemporaryDirectory(prefix="alignmixup-") as scratch:
        built = Path(scratch) / "built.so"
        sources = map(str, sorted(FOLDER.glob("*.c")))
        command = [*command, *sources, "-o", str(built), "-lm"]
        subprocess.run(command, check=True, capture_output=True, text=True, errors="replace", timeout=120)
        for folder in folders:
            with suppress(OSError):
                return ctypes.CDLL(str(_kept(built.read_bytes(), folder, key)))
        return ctypes.CDLL(str(built))  # stays loaded when its file is gone


def _kept(content: bytes, folder: Path, key: str) -> Path:
    """The library as a file of a folder; it appears there when it is whole: another process may look."""
    path = folder / _name(key, content)
    with tempfile.TemporaryDirectory(dir=folder) as beside:
        written = Path(beside) / path.name
        written.write_bytes(content)
        written.chmod(0o700)
        return written.replace(path)


def _name(key: str, content: bytes) -> str:
    return f"alignmixup-{key}-{hashlib.sha256(content).hexdigest()}.so"


def _folders() -> Iterator[Path]:
    """Where a built library may be kept, in this order: for good, and until the machine starts again."""
    with suppress(OSError, RuntimeError):  # there may be neither HOME nor an entry for the user
        root = Path(os.environ.get("XDG_CACHE_HOME", ""))
        folder = (root if root.is_absolute() else Path.home() / ".cache") / "alignmixup"
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        yield folder
    with suppress(OSError):
        folder = Path(tempfile.gettempdir()) / f"alignmixup-{os.geteuid()}"
        folder.mkdir(exist_ok=True, mode=0o700)
        yield folder


def _is_own(path: Path) -> bool:
    """Whether a file or folder (and the link that leads to it) is this user's, and nobody else may write it."""
    about = path.stat()
    return about.st_uid == path.lstat().st_uid == os.geteuid() and not about.st_mode & 0o022


def _processor() -> bytes:
    """What ``-march=native`` depends on: a home folder may be shared by machines with different processors."""
    system = f"{sys.platform} {platform.machine()} {platform.libc_ver()}".encode()
    try:
        lines = Path("/proc/cpuinfo").read_bytes().splitlines()
    except OSError:
        return system + platform.processor().encode()
    wanted = (b"model name", b"flags", b"Features", b"CPU implementer", b"CPU part", b"isa")
    return b"\n".join([system, *sorted({line for line in lines if line.startswith(wanted)})])
