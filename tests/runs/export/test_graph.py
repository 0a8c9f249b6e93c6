"""Networks as files: the same logits for any number of images, facts inside, refusals that leave nothing behind."""

import json
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from alignmixup.runs.export import graph
from alignmixup.runs.export.graph import DifferentError, compare, export
from alignmixup.runs.loading import load
from alignmixup.runs.run import Run
from alignmixup.runs.training import train
from alignmixup.training.config_file import ConfigError


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    quick = ["data.subset=6", "model.width=4", "train.epochs=1", "train.device=cpu"]
    folder = tmp_path_factory.mktemp("runs") / "run"
    train("digits/alignmixup", folder, overrides=quick)
    return load(folder, overrides=["train.device=cpu"])


def logits_of_pt2(file: Path, x: Tensor) -> tuple[Tensor, str]:
    inside = {graph.INSIDE: ""}
    return torch.export.load(file, extra_files=inside).module()(x), inside[graph.INSIDE]


def logits_of_onnx(file: Path, x: Tensor) -> tuple[Tensor, str]:
    import onnxruntime

    session = onnxruntime.InferenceSession(file, providers=["CPUExecutionProvider"])
    inside = session.get_modelmeta().custom_metadata_map[graph.INSIDE]
    return torch.from_numpy(session.run(None, {"images": x.numpy()})[0]), inside


NEEDS_ONNX = pytest.mark.needs_torch("2.7", "ONNX of a network with batch normalisation")


@pytest.mark.parametrize(
    ("ending", "read"), [("pt2", logits_of_pt2), pytest.param("onnx", logits_of_onnx, marks=NEEDS_ONNX)]
)
def test_the_file_gives_the_networks_logits_and_knows_its_input(
    run: Run, tmp_path: Path, ending: str, read: Any
) -> None:
    file = tmp_path / "new" / f"net.{ending}"
    facts = export(run, file, images=5)
    assert sorted(one.name for one in file.parent.iterdir()) == [file.name, f"{file.name}.json"]
    for count in (1, 7):
        x = run.images(list(range(count)))[0]
        found, inside = read(file, x)
        torch.testing.assert_close(found, run.model(x).detach(), rtol=1e-3, atol=1e-3)
    assert json.loads(Path(f"{file}.json").read_text(encoding="utf-8")) == facts
    assert json.loads(inside) == {key: value for key, value in facts.items() if key != "check"}
    assert facts["input"]["shape"] == ["batch", 1, 8, 8]
    assert facts["input"]["mean"] == list(run.data.mean)
    assert facts["classes"] == [str(digit) for digit in range(10)]
    assert facts["weights"] == {"file": "model.safetensors", "sha256": run.fingerprint, "epoch": 1, "epochs": 1}
    assert {name: found["images"] for name, found in facts["check"].items()} == {"images of noise": 5, "test images": 5}
    assert str(run.name) not in Path(f"{file}.json").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (lambda x: x + 1, r"net.pt2 is not written: on 64 images of noise its logits differ .* by up to 1, .* allows"),
        (lambda x: x * float("nan"), r"net.pt2 is not written: of 64 images of noise some logits are not finite"),
    ],
)
def test_a_file_that_differs_is_not_written(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, wrong: Any, message: str
) -> None:
    def broken(model: nn.Module, x: Tensor, facts: str) -> tuple[bytes, Any]:
        return b"", lambda images: wrong(model(images))

    monkeypatch.setattr(graph, "_as_pt2", broken)
    with pytest.raises(DifferentError, match=message):
        export(run, tmp_path / "net.pt2")
    assert not list(tmp_path.iterdir())


def test_the_comparison_counts_what_differs() -> None:
    x = torch.eye(4)
    sizes: list[int] = []

    def other(images: Tensor) -> Tensor:
        sizes.append(len(images))
        return images.flip(1)

    assert compare(nn.Identity(), other, x) == {
        "images": 4,
        "largest_difference": 1.0,
        "largest_logit": 1.0,
        "other_class": 4,
    }
    assert sizes == [1, 2, 1]


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("net", {}, r"--out net: the ending says no format; end in .pt2 or .onnx, or give --format"),
        ("net.pth", {}, r"the ending says no format"),
        ("net.onnx", {"format": "pt2"}, r"ends as onnx and --format says pt2"),
        ("net.pt2", {"images": 2}, r"--images must be >= 3"),
        ("net.pt2", {"tolerance": 0.0}, r"--tolerance must be > 0"),
    ],
)
def test_what_is_not_understood_is_said_before_anything_is_loaded(
    name: str, options: dict[str, Any], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        export(None, name, **options)  # type: ignore[arg-type]


@pytest.mark.parametrize("package", ["onnx", "onnxscript", "onnxruntime"])
def test_onnx_without_its_packages_names_the_extra(monkeypatch: pytest.MonkeyPatch, package: str) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(ImportError, match=rf'{package} is needed .*pip install "alignmixup\[export\]"'):
        export(None, "net.onnx")  # type: ignore[arg-type]


def test_what_torch_cannot_write_as_onnx_is_refused_in_one_sentence() -> None:
    class Bessel(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return torch.special.bessel_j0(x).flatten(1)

    with pytest.raises(ValueError, match=r"^torch 2[^\n]* cannot write [^\n]* \.pt2, or [^\n]*: [^\n]*bessel[^\n]*$"):
        graph._as_onnx(Bessel(), torch.rand(2, 3, 4, 4), "")


def test_a_file_of_the_run_is_not_written_over(run: Run) -> None:
    with pytest.raises(ConfigError, match="is a file of the run itself"):
        export(run, f"{run.name}/checkpoint.pt", format="pt2")


def test_a_network_that_is_no_graph_is_told_of_in_a_line() -> None:
    class Branching(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return x if x.sum() > 0 else -x

    with pytest.raises(ValueError, match=r"^this network cannot be written as a graph .*[^\n]$"):
        graph._graph(Branching(), torch.ones(2, 3))
