"""One flipped bit in any file of a run changes nothing, or is refused in one line that names the file."""

import contextlib
import json
import os
import random
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from alignmixup import runs
from alignmixup.cli import main
from alignmixup.records import (
    read_evaluation,
    read_json,
    read_localization,
    read_record,
    read_results,
    write_sealed,
)
from alignmixup.report.collect import find_runs
from alignmixup.report.storing import write_records
from alignmixup.runs.folder import RunFolder

KEYS = ["data.subset=2", "model.width=2", "model.strides=[2,2,1,1]", "train.epochs=1", "train.device=cpu"]
COMPARE = ["compare", "--config", "digits/mixup", "--seeds", "1", "--out", "all", "--set", *KEYS]
RUN = "all/mixup-seed0"
EVALUATE = ["evaluate", RUN, "--what", "calibration", "--out"]
REPORT = ["report", "all", "--out", "page.html"]
RESUME = ["train", "--resume", "--out", RUN]
# the files of a run, and the commands that read each
READERS: dict[str, list[list[str]]] = {
    f"{RUN}/config.toml": [[*EVALUATE, "new.json"], RESUME, COMPARE],
    f"{RUN}/record.json": [[*EVALUATE, "new.json"], RESUME, COMPARE, REPORT],
    f"{RUN}/model.safetensors": [[*EVALUATE, "new.json"], RESUME],
    f"{RUN}/checkpoint.pt": [RESUME, COMPARE],
    f"{RUN}/evaluation.json": [[*EVALUATE, f"{RUN}/evaluation.json"], REPORT],
    f"{RUN}/evaluation-calibration.png": [REPORT],
    "all/localization.json": [REPORT, ["report", "all", "--table", "csv", "--numbers", "localization"]],
    "all/results.json": [COMPARE, REPORT],
    "stored/records.jsonl": [["report", "stored", "--out", "page.html"], [*REPORT, "--records", "stored"]],
}
LOCALIZATION = Path(__file__).parents[2] / "results/tiny-imagenet-localization/localization-preact_resnet18.json"
TRIED = 3  # flips of a file a command; more by hand, when a form is changed


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The folder of a comparison whose run was evaluated, a localization beside it, and its stored record."""
    place, before = tmp_path_factory.mktemp("whole"), Path.cwd()
    os.chdir(place)
    try:
        assert main(COMPARE) == 0
        assert main([*EVALUATE, f"{RUN}/evaluation.json"]) == 0
        write_sealed(Path("all/localization.json"), json.loads(LOCALIZATION.read_text(encoding="utf-8")))
        write_records(find_runs([Path("all")]), Path("stored"))
        yield place
    finally:
        os.chdir(before)


def numbers(place: Path) -> dict[str, Any]:
    """What the files say, without times and circumstances."""
    left_out = ("seconds", "images_per_second", "train_seconds", "evaluation_seconds", "environment", "revision")
    left_out += ("date", "sha256_of_the_rest", "command", "run", "folders")

    def kept(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: kept(one) for key, one in value.items() if key not in left_out}
        return [kept(one) for one in value] if isinstance(value, list) else value

    files = [file for file in sorted(place.rglob("*.json")) if "results-" not in file.name]
    return {str(file.relative_to(place)): kept(json.loads(file.read_text(encoding="utf-8"))) for file in files}


def flip(content: bytes, draw: random.Random) -> bytes:
    changed, bit = bytearray(content), draw.randrange(8 * len(content))
    changed[bit // 8] ^= 1 << bit % 8
    return bytes(changed)


@pytest.mark.parametrize("name", READERS)
def test_a_flipped_bit_changes_nothing_or_is_refused(
    whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    draw = random.Random(name)
    for number, command in enumerate(READERS[name] * TRIED):
        place = tmp_path / str(number)
        shutil.copytree(whole, place)
        monkeypatch.chdir(place)
        unread = numbers(place) | {"new.json": numbers(whole)[f"{RUN}/evaluation.json"]}
        content = Path(name).read_bytes()
        Path(name).write_bytes(flipped := flip(content, draw))
        status = main(command)
        said = capsys.readouterr().err.splitlines()
        if status == 0:  # a comparison and a run that goes on make their files anew
            stays = Path(name).read_bytes() == flipped
            with contextlib.suppress(UnicodeDecodeError if stays else ()):  # of a file that was not looked at
                found = numbers(place)
                assert all(found[file] == unread[file] for file in found if file != name), (number, command, said)
                assert stays or name not in found or found[name] == unread[name]
        else:
            assert status == 1
            assert Path(name).read_bytes() == flipped, (number, command, said)
            assert len(said) == 1, said
            of_another = (f"{RUN} holds a run of another", "checkpoint.pt belongs to another configuration: ")
            assert any(text in said[0] for text in (Path(name).name, "record.json", *of_another))


@pytest.mark.parametrize(
    ("name", "read"),
    [
        (f"{RUN}/record.json", read_record),
        (f"{RUN}/evaluation.json", read_evaluation),
        ("all/localization.json", read_localization),
        ("all/results.json", read_results),
    ],
)
def test_no_flipped_bit_of_a_record_is_another_number(whole: Path, tmp_path: Path, name: str, read: Any) -> None:
    content, draw, file = (whole / name).read_bytes(), random.Random(name), tmp_path / Path(name).name
    expected, refused = read(whole / name), 0
    for _ in range(300):
        file.write_bytes(flip(content, draw))
        try:
            assert read(file) == expected or "sha256_of_the_rest" not in file.read_text(encoding="utf-8")
        except ValueError as error:
            assert str(file) in str(error)  # noqa: PT017 - either is right
            refused += 1
    assert refused > 150


def test_what_was_edited_is_refused_until_it_is_said_to_be(whole: Path, tmp_path: Path) -> None:
    record = json.loads((whole / RUN / "record.json").read_text(encoding="utf-8"))
    record["metrics"]["last_error_percent"] -= 1
    file = tmp_path / "record.json"
    file.write_text(json.dumps(record))
    with pytest.raises(ValueError, match=r"record\.json is damaged or was edited: .* remove sha256_of_the_rest$"):
        read_record(file)
    del record["sha256_of_the_rest"]
    file.write_text(json.dumps(record))
    assert read_record(file) == record


def test_a_run_is_opened_as_it_was_trained_only(whole: Path, tmp_path: Path) -> None:
    shutil.copytree(whole / RUN, tmp_path / "run")
    folder = RunFolder(tmp_path / "run")
    text = folder.config.read_text(encoding="utf-8")
    folder.config.write_text(text.replace("lr = 0.05", "lr = 0.04"))
    assert folder.config.read_text(encoding="utf-8") != text
    with pytest.raises(ValueError, match=r"config\.toml is not what .*record\.json tells of.*lr: 0\.05 there, 0\.04"):
        runs.load(folder.path)


def test_results_that_cannot_be_read_are_kept_aside(
    whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    shutil.copytree(whole / "all", tmp_path / "all")
    monkeypatch.chdir(tmp_path)
    results = Path("all/results.json")
    results.write_text("{" + results.read_text(encoding="utf-8"), encoding="utf-8")
    damaged = results.read_text(encoding="utf-8")
    runs.compare(["digits/mixup"], seeds=1, overrides=KEYS, out="all")
    assert "results.json is damaged or no JSON" in caplog.text
    assert "it is kept as results-1.json" in caplog.text
    assert Path("all/results-1.json").read_text(encoding="utf-8") == damaged
    assert read_json(results)["methods"]
    results.unlink()
    results.mkdir()
    with pytest.raises(ValueError, match=r"results\.json is no file: --out takes another folder"):
        runs.compare(["digits/mixup"], seeds=1, overrides=KEYS, out="all")
