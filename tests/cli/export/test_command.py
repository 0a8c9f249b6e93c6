"""`alignmixup export`: what it says, and what it refuses."""

from pathlib import Path

import pytest

from alignmixup.cli import main
from alignmixup.runs.export import graph


@pytest.fixture
def trained(small, capsys):
    assert main(["train", "--config", "digits/mixup", *small, "train.epochs=1", "--out", "run"]) == 0
    capsys.readouterr()


def test_tells_what_was_written_and_how_it_was_checked(trained, capsys):
    assert main(["export", "run", "-o", "net.pt2", "--weights", "best", "--hub-folder", "hub"]) == 0
    said = capsys.readouterr().out
    assert "net.pt2: batch x 1 x 8 x 8 -> 10 logits, float32, of model_best.safetensors" in said
    assert "on 64 test images the logits differ by at most 0.0e+00" in said
    assert "Nothing was uploaded. To do so: hf upload YOUR_NAME/MODEL hub" in said
    assert all(len(line) <= 80 for line in said.splitlines())
    assert Path("net.pt2").is_file()
    assert Path("hub/README.md").is_file()


def test_a_graph_that_differs_exits_with_1(trained, capsys, monkeypatch):
    monkeypatch.setattr(graph, "_as_pt2", lambda model, x, facts: (b"", lambda images: model(images) * 2))
    assert main(["export", "run", "-o", "net.pt2"]) == 1
    assert "net.pt2 is not written: on 64 images of noise its logits differ" in capsys.readouterr().err
    assert not Path("net.pt2").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["run"], "say what to write: -o FILE.pt2, -o FILE.onnx or --hub-folder DIR"),
        (["run", "-o", "net.pth"], "the ending says no format"),
        (["nowhere", "-o", "net.pt2"], "nowhere is no run folder"),
        (["run", "-o", "net.pt2", "--device", "cuda"], "--device cuda: an export is made and checked on the CPU"),
        (["run", "-o", "net.pt2", "--set", "train.device=cuda"], "--device cuda: an export is made and checked"),
        (["run", "-o", "net.pt2", "--license", "mit"], "--license mit: it is of a folder for a hub"),
        (["run", "--hub-folder", "hub", "--images", "5"], "--images 5: it is of a graph: give -o FILE too"),
    ],
)
def test_refusals_are_one_line(arguments, message, capsys):
    assert main(["export", *arguments]) == 1
    said = capsys.readouterr().err
    assert message in said
    assert said.count("\n") == 1
