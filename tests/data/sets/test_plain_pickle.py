"""Foreign pickles: nothing they hold runs, and nothing they hold ends the process."""

import contextlib
import itertools
import json
import os
import pickle
import random
import sys

import numpy
import pytest
from tests.processes import in_processes

from alignmixup.data.sets.plain_pickle import load_plain

CONTENT = {"labels": [0, 300, -7, 1 << 40], "names": ["a", "ü", b"raw"], "pair": (1, "b"), "none": [None, True, False]}
INTEGERS = ["u1", "i1", "u2", "i2", "u4", "i4", "u8", "i8", ">i4", ">u2"]


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
def test_plain_values_of_every_protocol(protocol):
    assert load_plain(pickle.dumps(CONTENT | {"bytes": bytearray(b"abc")}, protocol)) == CONTENT | {"bytes": b"abc"}


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
def test_integer_arrays_are_what_they_were(protocol):
    for form in itertools.product(INTEGERS, [(4, 6), (24,), (2, 3, 4), (4, 0)], "CF"):
        dtype, shape, order = form
        values = numpy.arange(numpy.prod(shape)).reshape(shape, order=order).astype(dtype)
        found = load_plain(pickle.dumps({"data": values}, protocol))["data"]
        assert found.dtype == values.dtype, form
        assert numpy.array_equal(found, values), form


class Call:
    def __init__(self, *call):
        self.call = call

    def __reduce__(self):
        return self.call


FOREIGN = {
    "a command": Call(os.system, ("true",)),
    "an import": Call(__import__, ("os",)),
    "code": Call(eval, ("1",)),
    "a path": Call(os.getcwd, ()),
    "floats": numpy.zeros(3),
    "objects": numpy.array([{}], object),
    "records": numpy.zeros(2, [("a", "i4")]),
    "text": numpy.array(["a"]),
    "dates": numpy.zeros(2, "M8[s]"),
    "a set": {1, 2},
    "a complex number": 1j,
    "a scalar": numpy.int64(3),
    "an instance": Call,
    "a key that is no text": {(1, 2): 3},
    "memory": Call(bytearray, (1 << 40,)),
}


@pytest.mark.parametrize("what", FOREIGN)
def test_everything_else_is_refused(what):
    content = FOREIGN[what] if what == "objects" else {"data": FOREIGN[what]}
    for protocol in (2, 4, 5):
        with pytest.raises(pickle.UnpicklingError):
            load_plain(pickle.dumps(content, protocol))


FORGED = {  # instructions that ended the process, or took all memory, of the usual unpickler
    "state of a dtype": b"\x80\x02cnumpy\ndtype\nX\x02\x00\x00\x00u1K\x00K\x01\x87R(K\x03X\x01\x00\x00\x00|NNNJ"
    b"\xff\xff\xff\x7fJ\xff\xff\xff\x7fK\x3ftb.",
    "state of another class": b"\x80\x02cnumpy\ndtype\n}X\x01\x00\x00\x00aK\x01sb.",
    "array of another size": b"\x80\x02cnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\nK\x00\x85C\x01b\x87R"
    b"(K\x01J\xff\xff\xff\x7f\x85cnumpy\ndtype\nX\x02\x00\x00\x00u8K\x00K\x01\x87R\x89C\x04abcdt}X\x00\x00\x00\x00b.",
    "key of a million tuples": b"\x80\x02})" + b"\x85" * 1_000_000 + b"K\x01s.",
    "value of a million tuples": b"\x80\x02)" + b"\x85" * 1_000_000 + b".",
    "memory for a bytearray": b"\x80\x05\x96" + (1 << 42).to_bytes(8, "little") + b"abc.",
    "memory for bytes": b"\x80\x04\x8e" + (1 << 42).to_bytes(8, "little") + b"abc.",
    "memory for the memo": b"\x80\x02Nr\xff\xff\xff\x7f.",
    "memory for a frame": b"\x80\x04\x95" + (1 << 42).to_bytes(8, "little") + b"N.",
    "memory for a number": b"\x80\x02\x8b\xff\xff\xff\x7f\x01.",
    "new object": b"\x80\x02cnumpy\nndarray\n(J\xff\xff\xff\x7f\x85t\x81.",
    "a call of a number": b"\x80\x02K\x01)R.",
}
HARMLESS = (
    "value of a million tuples",
    "memory for the memo",
    "memory for a frame",
)  # read, without the memory they ask for
WATCHED = ("os.system", "subprocess.Popen", "pickle.find_class", "import", "exec", "compile", "open")


def read_all_changes(rank, place):
    """Read bytes changed, inserted, left out and copied in files that are right, and the forged files."""
    events, good, bad = [], 0, 0
    sys.addaudithook(lambda event, arguments: events.append(event) if event in WATCHED else None)
    for content in FORGED.values():
        with contextlib.suppress(Exception):
            load_plain(content)
    generator, codes = random.Random(0), bytes(range(256))
    for protocol in (2, 3, 4, 5):
        batch = {"data": numpy.arange(48, dtype=numpy.uint8).reshape(2, 24), "labels": [1, 2], "names": ["a", b"b"]}
        right = pickle.dumps(batch, protocol)
        for _ in range(2000):
            content = bytearray(right)
            for _ in range(generator.choice((1, 1, 2, 8))):
                at, kind = generator.randrange(len(content)), generator.randrange(4)
                if kind == 0:
                    content[at] = generator.randrange(256)
                elif kind == 1:
                    content[at:at] = bytes(generator.choices(codes, k=generator.randrange(1, 5)))
                elif kind == 2:
                    del content[at : at + generator.randrange(1, 5)]
                else:
                    other = generator.randrange(len(content))
                    content[at:at] = content[other : other + generator.randrange(1, 20)]
            try:
                load_plain(bytes(content))
                good += 1
            except Exception:
                bad += 1
    seen = list(events)
    place.write_text(json.dumps([seen, good, bad]))


@pytest.mark.xdist_group("processes")
def test_no_change_of_a_file_ends_the_process_or_runs_anything(tmp_path):
    in_processes(read_all_changes, tmp_path / "seen")  # no more than an exception came of any
    events, good, bad = json.loads((tmp_path / "seen").read_text(encoding="utf-8"))
    assert not events  # none looked for anything outside
    assert good + bad == 8000
    assert bad > 4000


@pytest.mark.parametrize("name", [name for name in FORGED if name not in HARMLESS])
def test_forged_files_are_refused(name):
    with pytest.raises((pickle.UnpicklingError, EOFError, ValueError, KeyError, TypeError, OverflowError)):
        load_plain(FORGED[name])
