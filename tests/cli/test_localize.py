"""``alignmixup localize``: runs and stored maps of small image folders with boxes."""

import json
import shutil

import numpy as np
import pytest
from PIL import Image

from alignmixup import runs
from alignmixup.cli import build_parser, main

SMALL = [
    "data.name=folder",
    "data.image_size=16",
    "data.workers=0",
    "model.width=4",
    "model.in_channels=3",
    "train.epochs=1",
    "train.threads=1",
]


def command(*arguments):
    options = build_parser().parse_args(["localize", *map(str, arguments)])
    return options.run(options)


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A folder of images of 40 x 30 pixels, each a bright square on dark ground; boxes.csv; two runs on them."""
    root = tmp_path_factory.mktemp("localize")
    lines = ["path,x0,y0,x1,y1"]
    for split, count in (("train", 4), ("test", 3)):
        for label, name in enumerate(("cat", "dog")):
            for n in range(count):
                x0, y0 = 4 + 5 * n, 3 + 8 * label
                pixels = np.full((30, 40, 3), 30, dtype=np.uint8)
                pixels[y0 : y0 + 12, x0 : x0 + 16, label] = 220
                file = root / "images" / split / name / f"{n}.png"
                file.parent.mkdir(parents=True, exist_ok=True)
                Image.fromarray(pixels).save(file)
                if split == "test":
                    lines.append(f"test/{name}/{n}.png,{x0},{y0},{x0 + 15},{y0 + 11}")
    (root / "boxes.csv").write_text("\n".join(lines) + "\n")
    for seed in (0, 1):
        settings = [*SMALL, f"data.root={root / 'images'}", f"train.seed={seed}"]
        out = root / f"mixed-seed{seed}"
        assert main(["train", "--config", "digits/mixup", "--out", str(out), "--set", *settings]) == 0
    return root


@pytest.fixture(scope="module")
def measured(place):
    out = place / "measured"
    arguments = ("--boxes", place / "boxes.csv", "--pictures", 3, "--maps-out", place / "maps", "--out", out)
    assert command(place / "mixed-seed0", place / "mixed-seed1", *arguments, "--step", 0.01) == 0
    return json.loads((out / "localization.json").read_text(encoding="utf-8"))


def test_runs_make_one_group_with_mean_and_spread(measured):
    (group,) = measured["groups"]
    assert (group["name"], group["seeds"], measured["images"]) == ("mixed", [0, 1], 6)
    own = [run["contours"]["all"]["max_box_acc_v2_percent"] for run in measured["runs"]]
    assert group["mean"]["max_box_acc_v2.all"] == pytest.approx(sum(own) / 2)
    assert group["spread"]["max_box_acc_v2.all"] == pytest.approx(abs(own[0] - own[1]) / 2**0.5)
    assert set(measured["runs"][0]["top1_localization_percent"]) == {
        "fixed-0.15",
        "at-gtknown-best",
        "max-top1",
        "fixed-0.25",
    }
    assert measured["runs"][0]["activation"] == "cam"
    assert measured["runs"][0]["input_pixels"] == 16
    assert len(measured["centre"]["curves_percent"]["largest"]["0.5"]) == 100


def test_figures_and_maps_are_written(place, measured):
    for name in ("localization_curves.png", "localization_boxes.png"):
        with Image.open(place / "measured" / name) as picture:
            assert picture.size[0] > 500
    score_map = np.load(place / "maps" / "mixed-seed0" / "test" / "cat" / "0.png.npy")
    assert score_map.shape == (224, 224)
    assert (score_map.dtype, score_map.min(), score_map.max()) == (np.float32, 0, 1)


def test_stored_maps_give_the_numbers_of_the_run_that_wrote_them(place, measured, capsys):
    out = place / "stored"
    maps = place / "maps" / "mixed-seed0"
    arguments = ("--boxes", place / "boxes.csv", "--images", place / "images", "--step", 0.01, "--out", out)
    assert command("--maps", maps, *arguments) == 0
    stored = json.loads((out / "localization.json").read_text(encoding="utf-8"))
    for which in ("largest", "all"):
        assert stored["runs"][0]["contours"][which] == measured["runs"][0]["contours"][which]
    assert stored["centre"] == measured["centre"]
    printed = capsys.readouterr().out
    assert "MaxBoxAccV2" in printed
    assert "Top-1" not in printed
    lines = printed.splitlines()
    assert any("centred box" in line for line in lines)
    assert max(len(line) for line in lines if "│" in line or "┃" in line) <= 160
    assert not (out / "localization_boxes.png").exists()


def test_the_library_gives_what_the_command_writes(place, measured):
    record = runs.localize(runs.load(place / "mixed-seed0"), boxes=place / "boxes.csv", pictures=0, step=0.01)
    assert json.loads(json.dumps(record)) == measured["runs"][0]


def test_metadata_with_sizes_needs_no_images(place, measured, tmp_path):
    lines = (place / "boxes.csv").read_text(encoding="utf-8").splitlines()[1:]
    (tmp_path / "localization.txt").write_text("\n".join(lines))
    (tmp_path / "image_sizes.txt").write_text("\n".join(f"{line.split(',')[0]},40,30" for line in lines))
    shutil.copytree(place / "maps" / "mixed-seed0", tmp_path / "maps")
    for file in list((tmp_path / "maps").rglob("*.png.npy")):
        file.rename(file.with_name(file.name.replace(".png", "")))  # names without the images' extension serve too
    out = tmp_path / "out"
    assert command("--maps", tmp_path / "maps", "--boxes", tmp_path, "--step", 0.01, "--out", out) == 0
    stored = json.loads((out / "localization.json").read_text(encoding="utf-8"))
    assert stored["runs"][0]["contours"] == measured["runs"][0]["contours"]


def test_one_map_of_two_images_is_refused(tmp_path):
    """0.jpg and 0.png have the name 0.npy in common."""
    (tmp_path / "localization.txt").write_text("0.jpg,2,2,10,10\n0.png,2,2,10,10\n")
    (tmp_path / "image_sizes.txt").write_text("0.jpg,20,20\n0.png,20,20\n")
    arguments = ("--maps", tmp_path, "--boxes", tmp_path, "--step", 0.1, "--out", tmp_path / "out")
    np.save(tmp_path / "0.npy", np.eye(8))
    with pytest.raises(ValueError, match=r"0\.npy would be the score map of 0\.jpg and of 0\.png"):
        command(*arguments)
    np.save(tmp_path / "0.png.npy", np.eye(8))
    assert command(*arguments) == 0


def test_other_choices(place, tmp_path, capsys):
    arguments = ("--boxes", place / "boxes.csv", "--limit", 4, "--pictures", 0, "--step", 0.1, "--out", tmp_path)
    choices = ("--cam", "gradcam", "--layer", "stage3", "--resize", 32, "--contours", "largest", "--cutmix-paper")
    assert command(place / "mixed-seed0", *arguments, *choices) == 0
    printed = capsys.readouterr().out
    assert "Grad-CAM of the true class at 'stage3'; images of 32 pixels" in printed
    record = json.loads((tmp_path / "localization.json").read_text(encoding="utf-8"))
    assert record["images"] == 4
    assert list(record["runs"][0]["contours"]) == ["largest"]
    assert 0 <= record["runs"][0]["cutmix_paper"]["top1_localization_percent"] <= 100
    assert not (tmp_path / "localization_boxes.png").exists()


def test_bad_input(place, tmp_path):
    run, boxes = place / "mixed-seed0", ("--boxes", place / "boxes.csv", "--out", tmp_path)
    for arguments, message in (
        ((), "name run folders or a model, or a folder of score maps with --maps"),
        ((run, "--maps", tmp_path), "name run folders or a model, or a folder of score maps"),
        (("--maps", tmp_path), "--maps needs --boxes"),
        ((tmp_path, *boxes), "is no run folder: it has no config.toml"),
        ((run, "--limit", 0, *boxes), "--limit must be >= 1 or None, got 0"),
        ((run, "--step", 0, *boxes), "step must be in"),
        ((run, "--cam", "cam", "--layer", "stage3", *boxes), "--layer is for Grad-CAM"),
        ((run, "--set", "model.width=8", *boxes), "an evaluation can change data.root"),
        ((run, "--out", tmp_path), "the boxes of folder are not part of its images: name in --boxes"),
        ((run, "--cam", "gradcam", "--layer", "stage9", *boxes), "no layer 'stage9'"),
        (("--maps", place / "maps" / "mixed-seed0", *boxes), "the size of test/cat/0.png is not known"),
    ):
        with pytest.raises(ValueError, match=message):
            command(*arguments)
    with pytest.raises(FileNotFoundError, match=r"holds no score map of test/cat/0\.png: expected"):
        command("--maps", tmp_path, "--images", place / "images", *boxes)


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (["--limit", "1"], "--limit 1"),
        (["--resize", "8"], "--resize 8"),
        (["--cam", "gradcam"], "--cam gradcam"),
        (["--layer", "stage3"], "--layer stage3"),
        (["--cutmix-paper"], "--cutmix-paper"),
        (["--pictures", "3"], "--pictures 3"),
        (["--maps-out", "maps"], "--maps-out maps"),
        (["--checkpoint", "nowhere.pth"], "--checkpoint nowhere.pth"),
        (["--weights", "best"], "--weights best"),
        (["--root", "images"], "--root images"),
        (["--device", "cpu"], "--device cpu"),
        (["--set", "train.device=cpu"], "--set train.device=cpu"),
    ],
)
def test_what_is_for_networks_is_refused_of_stored_maps(arguments, named, tmp_path):
    with pytest.raises(ValueError, match=f"^{named}: it is for networks, and --maps scores all maps"):
        command("--maps", tmp_path, "--boxes", tmp_path, *arguments)
    with pytest.raises(ValueError, match=r"^--images pictures: it goes with --maps"):
        command("run", "--images", "pictures")


def test_bad_stored_maps(place, measured, tmp_path):
    maps = tmp_path / "maps"
    shutil.copytree(place / "maps" / "mixed-seed0", maps)
    broken = maps / "test" / "dog" / "1.png.npy"
    arguments = ("--boxes", place / "boxes.csv", "--images", place / "images", "--out", tmp_path)
    for content, message in (
        (b"no array", f"{broken.name} is not a readable array"),
        (np.zeros((3, 224, 224)), r"must be float32 or float64 of shape \(H, W\)"),
        (np.full((224, 224), 2.0), r"score maps must lie in \[0, 1\], that of image 4 holds 2.0"),
    ):
        broken.write_bytes(content) if isinstance(content, bytes) else np.save(broken, content)
        with pytest.raises(ValueError, match=message):
            command("--maps", maps, *arguments)
