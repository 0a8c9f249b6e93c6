"""Time and memory."""

import sys
import time

import pytest
import torch

from alignmixup.benchmarks.measure import interleave, peak_mib, rates, summary


def test_cases_take_turns_and_the_first_round_is_not_counted():
    calls = []
    taken = interleave({"a": lambda: calls.append("a"), "b": lambda: calls.append("b")}, repeats=3)
    assert calls == ["a", "b", "b", "a", "a", "b", "b", "a"]
    assert {name: len(seconds) for name, seconds in taken.items()} == {"a": 3, "b": 3}


def test_seconds_are_seconds():
    taken = interleave({"sleep": lambda: time.sleep(0.02)}, repeats=2)
    assert all(0.02 <= seconds < 5 for seconds in taken["sleep"])


def test_no_repetition_is_refused():
    with pytest.raises(ValueError, match="repeats must be >= 1, got 0"):
        interleave({"a": lambda: None}, repeats=0)


def test_summary_by_hand():
    found = summary([0.001, 0.003, 0.002], [0.002, 0.003, 0.008])
    assert (found["ms"], found["min_ms"], found["max_ms"]) == pytest.approx((2, 1, 3))
    assert (found["faster"], found["min_faster"], found["max_faster"]) == pytest.approx((2, 1, 4))


def hold(mib):
    return lambda: torch.ones(mib, 2**18).sum()


@pytest.mark.skipif(sys.platform != "linux", reason="resident memory is read from /proc: not measured elsewhere")
def test_peak_memory_is_what_was_held():
    assert peak_mib(hold, 64) == pytest.approx(64, abs=8)


def test_rates_are_those_of_a_computer():
    operations, moved = rates()
    assert 1e8 < operations < 1e16
    assert 1e7 < moved < 1e14


@pytest.mark.parametrize("slow", ["product", "convolution"])
def test_a_floor_is_that_of_the_fastest_operation(slow, monkeypatch):
    def seconds(cases, **_):
        return {name: [10.0 if name.startswith(slow) else 1.0] for name in cases}

    monkeypatch.setattr("alignmixup.benchmarks.measure.interleave", seconds)
    product, convolution = 2 * 1024**3, 2 * 9 * 128 * 32 * 128 * 16 * 16
    operations, moved = rates()
    assert operations == (convolution if slow == "product" else product)
    assert moved == 2 * 4 * 2**24


def test_a_floor_is_that_of_the_precision_in_use():
    operations, _ = rates(dtype=torch.bfloat16)
    assert operations > 1e8
