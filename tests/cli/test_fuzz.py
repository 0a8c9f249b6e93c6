"""A sample of random bad input; `python -m benchmarks.fuzz` tries any number."""

import random
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

import pytest

from benchmarks import fuzz


@pytest.fixture(scope="module", autouse=True)
def fixture(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    fuzz.make_fixture(tmp_path_factory.mktemp("fixture"))
    yield
    fuzz._fixture.clear()


@pytest.mark.parametrize(("kind", "count"), [("configurations", 50), ("lines", 10), ("files", 25)])
def test_bad_input_is_refused_in_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str, count: int
) -> None:
    fuzz.stop_early(monkeypatch.setattr)
    bad = []
    for number, case in enumerate(islice(getattr(fuzz, kind)(random.Random(21)), count)):
        (tmp_path / str(number)).mkdir()
        monkeypatch.chdir(tmp_path / str(number))
        answer = fuzz.try_case(case)
        if answer.kind not in ("done", "clear"):
            bad.append(f"{answer.kind} ({answer.why}): {case.what}\n{answer.text}")
    assert not bad, "\n".join(bad)
