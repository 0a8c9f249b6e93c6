import logging
import os

import pytest
import torch

from alignmixup.data.cache import cached, fingerprint


def build(calls: list[int]):
    def make():
        calls.append(1)
        return {"images": torch.arange(6, dtype=torch.uint8)}

    return make


def test_second_time_reads_what_was_built(tmp_path):
    calls: list[int] = []
    path = tmp_path / "new" / "cache.safetensors"
    first = cached(path, "key", build(calls))
    second = cached(path, "key", build(calls))
    assert len(calls) == 1
    assert torch.equal(first["images"], second["images"])
    assert [entry.name for entry in path.parent.iterdir()] == ["cache.safetensors"]


def test_another_key_builds_again_and_replaces(tmp_path):
    calls: list[int] = []
    path = tmp_path / "cache.safetensors"
    for key in ("old", "new", "new"):
        cached(path, key, build(calls))
    assert len(calls) == 2


@pytest.mark.parametrize("how", ["truncated", "garbled", "empty"])
def test_a_damaged_cache_is_replaced(tmp_path, damage, how, caplog):
    calls: list[int] = []
    path = tmp_path / "cache.safetensors"
    cached(path, "key", build(calls))
    damage(path, how)
    assert cached(path, "key", build(calls))["images"].tolist() == [0, 1, 2, 3, 4, 5]
    assert "unreadable" in caplog.text
    cached(path, "key", build(calls))
    assert len(calls) == 2


def test_a_place_that_cannot_be_written_costs_only_the_cache(tmp_path, caplog):
    (tmp_path / "file").write_text("in the way")
    with caplog.at_level(logging.WARNING):
        tensors = cached(tmp_path / "file" / "cache.safetensors", "key", build([]))
    assert tensors["images"].tolist() == [0, 1, 2, 3, 4, 5]
    assert "decoded images are not kept at" in caplog.text


def test_fingerprint_notices_every_change(tmp_path):
    paths = [tmp_path / name for name in ("a", "b")]
    for path in paths:
        path.write_text("12")
    keys = [fingerprint(paths, root=tmp_path, settings="64")]
    assert fingerprint(paths, root=tmp_path, settings="64") == keys[0]
    keys.append(fingerprint(paths, root=tmp_path, settings="32"))
    keys.append(fingerprint(paths[:1], root=tmp_path, settings="64"))
    keys.append(fingerprint(paths[::-1], root=tmp_path, settings="64"))
    os.utime(paths[0], ns=(0, 0))
    keys.append(fingerprint(paths, root=tmp_path, settings="64"))
    paths[1].write_text("123")
    keys.append(fingerprint(paths, root=tmp_path, settings="64"))
    assert len(set(keys)) == len(keys)


def test_fingerprint_of_a_missing_file(tmp_path):
    with pytest.raises(FileNotFoundError, match="absent is listed in its data set but missing"):
        fingerprint([tmp_path / "absent"], root=tmp_path, settings="64")
