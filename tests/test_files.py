"""Files that are whole or not there, written by one process at a time."""

import ast
import errno
import os
import subprocess
import sys
from pathlib import Path

import pytest

from alignmixup import files
from alignmixup.files import clear_leftovers, locked, sweep, temporary_name, write_text

SOURCE = Path(__file__).parents[1] / "src" / "alignmixup"
WRITERS = {"write_text", "write_bytes", "savefig", "save_file", "savez", "to_csv", "tofile"}
# what writes without `files`, and why it may
ELSEWHERE = {
    "functional/native.py: written.write_bytes(content)": "renamed afterwards",
    "runs/export/graph.py: torch.export.save(_graph(model, x), file, extra_files={INSIDE: facts})": "in memory",
    "runs/jobs/queue.py: open(job.log, 'w+', encoding='utf-8')": "a log, read as far as it goes",
    "benchmarks/decoding.py: path.write_bytes(coded.getvalue())": "a folder of its own, removed at the end",
    "benchmarks/decoding.py: Image.fromarray(pixels).save(coded, 'JPEG', quality=QUALITY)": "in memory",
    "benchmarks/measure.py: Path('/proc/self/clear_refs').write_text('5', encoding='utf-8')": "no file",
    "evaluation/corruptions/digital.py: image.save(file, 'JPEG', quality=quality)": "in memory",
    "data/cache.py: save(dict(tensors), temporary, metadata={'fingerprint': key})": "renamed afterwards",
    "training/trainer.py: checkpoint.save(self.checkpoint_path, state)": "by files",
    "training/style/trainer.py: checkpoint.save(self.unfinished, state)": "by files",
}


def is_writer(call: ast.Call) -> bool:
    name = call.func.id if isinstance(call.func, ast.Name) else getattr(call.func, "attr", "")
    if name == "open":
        modes = [one.value for one in (*call.args, *(k.value for k in call.keywords)) if isinstance(one, ast.Constant)]
        return any(isinstance(mode, str) and set(mode) <= set("rwaxbt+") and set(mode) & set("wax+") for mode in modes)
    if name == "write_text" and isinstance(call.func, ast.Name):
        return False  # that of files
    return name in WRITERS or (name in ("save", "dump") and len(call.args) > 1)


def writers() -> set[str]:
    found = set()
    for path in sorted(SOURCE.rglob("*.py")):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        inside = {
            id(inner)
            for call in ast.walk(tree)
            if isinstance(call, ast.Call) and getattr(call.func, "id", "") == "write_atomically"
            for inner in ast.walk(call)
        }
        calls = (node for node in ast.walk(tree) if isinstance(node, ast.Call) and id(node) not in inside)
        found |= {f"{path.relative_to(SOURCE)}: {ast.unparse(call)}" for call in calls if is_writer(call)}
    return {one for one in found if not one.startswith("files.py: ")}


def test_whatever_writes_a_file_writes_it_whole() -> None:
    assert writers() == set(ELSEWHERE)


HOLDING = "import sys, time; from pathlib import Path; from alignmixup.files import locked\n"
HOLDING += "with locked(Path(sys.argv[1])):\n    print('mine', flush=True)\n    time.sleep(600)\n"


@pytest.mark.parametrize("kind", ["folder", "file"])
def test_another_process_is_named_and_its_death_frees(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    monkeypatch.setattr(files, "_PATIENCE", 0.0)
    path = tmp_path if kind == "folder" else tmp_path / "new" / "results.json"
    holder = subprocess.Popen([sys.executable, "-c", HOLDING, path], stdout=subprocess.PIPE, text=True)
    try:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "mine\n"
        with pytest.raises(OSError, match=rf"process {holder.pid} on \S+ works in .*: let it end"), locked(path):
            pass
    finally:
        holder.kill()
        holder.communicate()
    lock = path / ".lock" if kind == "folder" else path.with_name(".results.json.lock")
    assert lock.read_text(encoding="utf-8").startswith(f"process {holder.pid} on ")
    with locked(path):
        assert lock.read_text(encoding="utf-8").startswith(f"process {os.getpid()} on ")
    assert not lock.exists()


def test_a_file_system_without_locks_warns_of_another(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def refuse(handle: int, how: int) -> None:
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr("fcntl.flock", refuse)
    with locked(tmp_path):
        pass
    assert not caplog.messages
    (tmp_path / ".lock").write_text("process 7 on node3")
    with locked(tmp_path):
        pass
    assert caplog.messages == [f"process 7 on node3 may be at work in {tmp_path} too: this file system has no locks"]


def test_leftovers_of_the_dead_are_removed_where_others_may_write(tmp_path: Path) -> None:
    own = temporary_name(tmp_path / "a.json")
    dead = tmp_path / own.name.replace(f".{os.getpid()}.", ".4194305.")
    elsewhere = tmp_path / ".a.json.node3.4194305.tmp"
    for file in (own, dead, elsewhere):
        file.write_text("")
    clear_leftovers(tmp_path)
    assert sorted(tmp_path.iterdir()) == sorted([own, elsewhere])
    dead.write_text("")
    write_text(tmp_path / "b.json", "")
    (tmp_path / "b.json").unlink()
    assert sorted(tmp_path.iterdir()) == sorted([own, elsewhere])
    (tmp_path / "notes").write_text("")
    (tmp_path / ".lock").write_text("")
    assert sweep(tmp_path) == ["notes"]
    assert sorted(file.name for file in tmp_path.iterdir()) == [".lock", "notes"]


def test_what_cannot_be_written_is_said_and_leaves_what_was_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "a.json"
    write_text(file, "before")

    def full(handle: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match=r"cannot write .*a\.json: No space left on device; the one written before is"):
        write_text(file, "after")
    assert [(one.name, one.read_text(encoding="utf-8")) for one in tmp_path.iterdir()] == [("a.json", "before")]
