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
    names = "baseline,cutmix,puzzlemix,comixup,alignmixup,manifold_mixup"
    assert main(["gallery", str(trained), "--methods", names, "--columns", "3", "--out", str(out)]) == 0
    assert out.stat().st_size > 10_000
    said = capsys.readouterr().out
    assert str(out) in said
    assert "no baseline: it mixes nothing" in said


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


def test_a_method_that_cannot_be_built_for_these_data_is_left_out_with_a_note(trained, tmp_path, capsys, monkeypatch):
    from alignmixup.runs.pictures import gallery

    usual = gallery._bundled_mixer

    def build(name, run, *, seed):
        if name in ("stylemix", "stylecutmix"):
            raise FileNotFoundError("no style autoencoder at runs/style/cifar100.safetensors")
        return usual(name, run, seed=seed)

    monkeypatch.setattr(gallery, "_bundled_mixer", build)
    monkeypatch.setattr(gallery.methods, "available", lambda: ("cutmix", "stylemix", "stylecutmix"))
    out = tmp_path / "gallery.png"
    assert main(["gallery", str(trained), "--columns", "2", "--out", str(out)]) == 0
    said = capsys.readouterr().out
    assert "no stylemix: no style autoencoder at runs/style/cifar100.safetensors" in said
    assert "no stylecutmix:" in said
    assert out.stat().st_size > 10_000
    assert main(["gallery", str(trained), "--methods", "stylemix", "--out", str(out)]) == 1
    assert "no style autoencoder" in capsys.readouterr().err


def test_a_folder_of_images_gets_a_gallery(tmp_path, monkeypatch, capsys):
    """There is no bundled configuration for folders, and so no autoencoder is named."""
    import numpy as np
    from PIL import Image

    from alignmixup.runs.pictures import gallery

    monkeypatch.chdir(tmp_path)
    for split in ("train", "test"):
        for label, name in enumerate(("cat", "dog")):
            (tmp_path / "images" / split / name).mkdir(parents=True)
            for number in range(4):
                pixels = np.full((16, 16, 3), 60 * number + 9 * label, dtype=np.uint8)
                Image.fromarray(pixels).save(tmp_path / "images" / split / name / f"{number}.png")
    keys = ["data.name=folder", "data.root=images", "data.image_size=16", "data.workers=0", "model.in_channels=3"]
    assert main(["train", "--config", "digits/baseline", "--out", "run", "--set", *SMALL[:1], *SMALL[2:], *keys]) == 0
    monkeypatch.setattr(gallery.methods, "available", lambda: ("mixup", "stylemix"))
    assert main(["gallery", "run", "--columns", "2"]) == 0
    assert "no stylemix: StyleMix mixes in the features of an autoencoder, got none" in capsys.readouterr().out
