"""Pickles of plain values and integer arrays, read so that a foreign file can neither run code nor crash the process.

``pickle.Unpickler`` with a list of allowed names is not enough: NumPy trusts the state that a file gives to a ``dtype``
or an ``ndarray``, and a forged one makes it read anywhere in memory. So no object of NumPy is built by the file. It may
use only the instructions that the data sets need, on the interpreter's own unpickler in Python, which checks every
access; what it says of an array is kept as values and checked before an array is made of them.
"""

import io
import pickle
import struct
from collections.abc import Callable
from typing import Any, ClassVar

from alignmixup.outside import require

__all__ = ["load_plain"]

_INSTRUCTIONS = (  # read as Python reads them; those of _Unpickler.dispatch come to these
    *(pickle.PROTO, pickle.FRAME, pickle.STOP, pickle.MARK, pickle.NONE, pickle.NEWTRUE, pickle.NEWFALSE),
    *(pickle.BININT, pickle.BININT1, pickle.BININT2, pickle.LONG1, pickle.LONG4),
    *(pickle.BINSTRING, pickle.SHORT_BINSTRING, pickle.BINUNICODE, pickle.SHORT_BINUNICODE, pickle.BINUNICODE8),
    *(pickle.BINBYTES, pickle.SHORT_BINBYTES, pickle.BINBYTES8),
    *(pickle.EMPTY_LIST, pickle.APPEND, pickle.APPENDS, pickle.EMPTY_DICT),
    *(pickle.EMPTY_TUPLE, pickle.TUPLE, pickle.TUPLE1, pickle.TUPLE2, pickle.TUPLE3),
    *(pickle.BINPUT, pickle.LONG_BINPUT, pickle.MEMOIZE, pickle.BINGET, pickle.LONG_BINGET),
    *(pickle.GLOBAL, pickle.STACK_GLOBAL),
)
_INTEGERS = frozenset(f"{sign}{size}" for sign in "ui" for size in (1, 2, 4, 8))
_ORDERS = "|<>="


def load_plain(content: bytes) -> Any:
    """The value in a pickle of protocol 2 to 5, whose strings of Python 2 are read as Latin-1.

    It may hold numbers, strings, bytes, lists, tuples and arrays of integers, in dictionaries with strings as keys;
    arrays that are entries of the value come as NumPy's.

    Raises:
        Exception: of nearly any type, if the file is damaged; ``pickle.UnpicklingError`` if it asks for anything else.
    """
    try:
        value = _Unpickler(io.BytesIO(content), encoding="latin1").load()
    except KeyError as error:
        raise pickle.UnpicklingError(f"the instruction {error} does not belong into such a file") from error
    except (EOFError, struct.error) as error:
        raise pickle.UnpicklingError("pickle data was truncated") from error
    if isinstance(value, dict):
        return {key: entry.make() if isinstance(entry, _Array) else entry for key, entry in value.items()}
    return value


class _DType:
    """What a file says of the type of an array."""

    def __init__(self, code: object, *_flags: object) -> None:
        if not isinstance(code, str) or code not in _INTEGERS:
            raise pickle.UnpicklingError(f"arrays of {code!r} do not belong into such a file: expected integers")
        self.code, self.order = code, "="

    def set_state(self, state: object) -> None:
        if not isinstance(state, tuple) or len(state) != 8 or not isinstance(state[1], str) or state[1] not in _ORDERS:
            raise pickle.UnpicklingError("the state of an integer type is damaged")
        if state[2:] != (None, None, None, -1, -1, 0):
            raise pickle.UnpicklingError("arrays of records do not belong into such a file: expected integers")
        self.order = state[1]


class _Array:
    """What a file says of an array, until it is made."""

    def __init__(self) -> None:
        self.state: tuple[Any, ...] = ()

    def set_state(self, state: object) -> None:
        if not isinstance(state, tuple) or len(state) != 5:
            raise pickle.UnpicklingError("the state of an array is damaged")
        self.state = state

    def make(self) -> Any:
        """The array, once everything about it has been checked."""
        if not self.state:
            raise pickle.UnpicklingError("an array without content")
        _, shape, dtype, by_columns, content = self.state
        return _array(content, dtype, shape, "F" if by_columns else "C")


def _array(content: object, dtype: object, shape: object, order: object) -> Any:
    """A NumPy array of bytes, of the type and shape that a file gives."""
    if isinstance(content, str):
        content = content.encode("latin1")
    if not isinstance(content, bytes | bytearray) or not isinstance(dtype, _DType) or order not in ("C", "F"):
        raise pickle.UnpicklingError("the content of an array is damaged")
    if not isinstance(shape, tuple) or len(shape) > 4 or not all(type(side) is int and side >= 0 for side in shape):
        raise pickle.UnpicklingError("the shape of an array is damaged")
    numpy = require("numpy")
    return numpy.frombuffer(content, numpy.dtype(dtype.code).newbyteorder(dtype.order)).reshape(shape, order=order)


def _bytes(*values: object) -> bytes:
    """The calls as which Python 3 writes bytes in protocol 2: of nothing, of bytes, of text and its encoding."""
    match values:
        case ():
            return b""
        case (bytes() as content,):
            return content
        case (str() as text, "latin1"):
            return text.encode("latin1")
    raise pickle.UnpicklingError("damaged bytes")


def _bytearray(*values: object) -> bytearray:
    return bytearray(_bytes(*values))


def _new_array(*_values: object) -> _Array:
    return _Array()


_NAMES: dict[tuple[str, str], Callable[..., Any] | None] = {
    ("_codecs", "encode"): _bytes,
    ("__builtin__", "bytes"): _bytes,
    ("builtins", "bytearray"): _bytearray,
    ("__builtin__", "bytearray"): _bytearray,
    ("numpy", "dtype"): _DType,
    ("numpy", "ndarray"): None,  # an argument of _reconstruct
    ("numpy.core.multiarray", "_reconstruct"): _new_array,
    ("numpy._core.multiarray", "_reconstruct"): _new_array,
    ("numpy.core.numeric", "_frombuffer"): _array,
    ("numpy._core.numeric", "_frombuffer"): _array,
}


class _Unpickler(pickle._Unpickler):
    """Python's own, with the instructions and names above, and with state for the classes above alone."""

    # what the parent class makes and its stub leaves out
    stack: list[Any]
    read: Callable[[int], bytes]
    append: Callable[[object], None]
    pop_mark: Callable[[], list[Any]]

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in _NAMES:
            raise pickle.UnpicklingError(f"the name {module}.{name} does not belong into such a file")
        return _NAMES[module, name]

    def call(self) -> None:
        values, function = self.stack.pop(), self.stack[-1]
        if function is None or not any(function is known for known in _NAMES.values()) or not isinstance(values, tuple):
            raise pickle.UnpicklingError("a call of something that is no function")
        self.stack[-1] = function(*values)

    def set_state(self) -> None:
        state, target = self.stack.pop(), self.stack[-1]
        if not isinstance(target, _DType | _Array):
            raise pickle.UnpicklingError("a state of something that has none")
        target.set_state(state)

    def set_entry(self) -> None:
        value, key = self.stack.pop(), self.stack.pop()
        self._fill(key, value)

    def set_entries(self) -> None:
        self._fill(*self.pop_mark())

    def read_bytearray(self) -> None:
        # Python's reserves as many bytes as the file claims to hold
        (size,) = struct.unpack("<Q", self.read(8))
        self.append(bytearray(self.read(size)))

    def _fill(self, *entries: Any) -> None:
        target = self.stack[-1]
        # the hash of a tuple within tuples a million deep ends the process
        if type(target) is not dict or not all(isinstance(key, str | bytes) for key in entries[::2]):
            raise pickle.UnpicklingError("a dictionary whose keys are no strings")
        target.update(zip(entries[::2], entries[1::2], strict=True))

    dispatch: ClassVar[dict[int, Callable[..., None]]] = {
        **{key[0]: pickle._Unpickler.dispatch[key[0]] for key in _INSTRUCTIONS},
        pickle.REDUCE[0]: call,
        pickle.BUILD[0]: set_state,
        pickle.SETITEM[0]: set_entry,
        pickle.SETITEMS[0]: set_entries,
        pickle.BYTEARRAY8[0]: read_bytearray,
    }
