"""Which process says an error, and how."""

import pytest

from alignmixup.training.ranks import ToldElsewhereError, own_errors, speaker


@pytest.mark.parametrize(
    ("rank", "processes", "own", "expected"),
    [("0", "1", True, ""), ("1", "2", True, "rank 1: "), ("0", "2", False, ""), ("1", "2", False, None)],
)
def test_an_error_is_told_by_the_process_that_has_it(
    monkeypatch: pytest.MonkeyPatch, rank: str, processes: str, own: bool, expected: str | None
) -> None:
    for name, value in (("RANK", rank), ("LOCAL_RANK", rank), ("WORLD_SIZE", processes)):
        monkeypatch.setenv(name, value)
    error = ValueError("no")
    if own:
        with pytest.raises(ValueError, match="no"), own_errors():
            raise error
    assert speaker(error) == expected
    assert speaker(ToldElsewhereError()) is None
