import pytest

from alignmixup.cli import main

SMALL = ["train.epochs=1", "data.subset=3", "model.width=2", "train.threads=1"]


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    folder = tmp_path_factory.mktemp("gallery") / "run"
    assert main(["train", "--config", "digits/baseline", "--out", str(folder), "--set", *SMALL]) == 0
    return folder


def test_a_picture_of_every_method(trained, tmp_path, capsys):
    out = tmp_path / "new" / "gallery.png"
    names = "cutmix,puzzlemix,comixup,alignmixup,manifold_mixup"
    assert main(["gallery", str(trained), "--methods", names, "--columns", "3", "--out", str(out)]) == 0
    assert out.stat().st_size > 10_000
    assert str(out) in capsys.readouterr().out


def test_what_cannot_be_drawn_is_said(trained, tmp_path, capsys):
    assert main(["gallery", str(tmp_path)]) == 1
    assert "is no run folder" in capsys.readouterr().err
    assert main(["gallery", str(trained), "--columns", "0"]) == 1
    assert "--columns must be in [1, 100], got 0" in capsys.readouterr().err
    assert main(["gallery", str(trained), "--columns", "5000"]) == 1
    assert "--columns must be in [1, 100], got 5000" in capsys.readouterr().err
    assert main(["align", str(trained), "--pairs", "5000"]) == 1
    assert "--pairs must be" in capsys.readouterr().err
    assert main(["gallery", str(trained), "--methods", "cutmux"]) == 1
    assert "unknown method 'cutmux'; did you mean cutmix" in capsys.readouterr().err
