"""Who keeps the store by which processes find each other."""

import pytest

from alignmixup.training.processes import group


@pytest.mark.parametrize(("said", "elsewhere"), [("True", True), ("False", False), (None, False)])
def test_torchrun_keeps_the_store_where_it_says_so(
    monkeypatch: pytest.MonkeyPatch, said: str | None, elsewhere: bool
) -> None:
    """It writes False where each job has a store of its own; then rank 0 takes it along."""
    monkeypatch.delenv("TORCHELASTIC_USE_AGENT_STORE", raising=False)
    if said is not None:
        monkeypatch.setenv("TORCHELASTIC_USE_AGENT_STORE", said)
    assert group._is_kept_elsewhere() == elsewhere
