"""Pictures and animations of interpolation paths."""

import numpy as np
import pytest
from PIL import Image

from alignmixup.figures.morph import Morph, animate_morphs, draw_confidence, draw_morphs


def morph(steps=4):
    red, blue = np.zeros((2, 8, 8, 3))
    red[..., 0], blue[..., 2] = 1, 1
    weights = np.linspace(1, 0, steps)[:, None, None, None]
    frames = weights * red + (1 - weights) * blue
    return Morph(
        names=("red", "blue"),
        originals=np.stack([red, blue]),
        reconstructions=np.stack([red, blue]),
        frames=dict.fromkeys(("first", "partner", "none"), frames),
        probs=dict.fromkeys(("first", "partner", "none"), np.full((steps, 2), 0.5)),
    )


def share(image, colour):
    pixels = np.asarray(image.convert("RGB")).reshape(-1, 3).astype(int)
    return (np.abs(pixels - colour).max(1) < 40).mean()


def test_the_picture_runs_from_one_image_to_the_other(tmp_path):
    draw_morphs([morph(), morph()], [1, 2 / 3, 1 / 3, 0], tmp_path / "a.png", title="title")
    with Image.open(tmp_path / "a.png") as image:
        middle = image.width // 2
        left = image.crop((0, 0, middle, image.height))
        right = image.crop((middle, 0, image.width, image.height))
    assert share(left, (255, 0, 0)) > 0.1
    assert share(left, (0, 0, 255)) == 0
    assert share(right, (0, 0, 255)) > 0.1
    assert share(right, (255, 0, 0)) == 0


@pytest.mark.parametrize("ending", ["gif", "webp"])
def test_the_animation_goes_there_and_back_without_end(tmp_path, ending):
    file = tmp_path / f"a.{ending}"
    animate_morphs([morph()], file, cell=32)
    reds = []
    with Image.open(file) as image:
        assert image.n_frames == 6  # 4 there, 2 back
        assert image.info["loop"] == 0
        for number in range(6):
            image.seek(number)
            reds.append(share(image, (255, 0, 0)))
    assert reds[0] > 2 * reds[3]
    assert reds[2] == pytest.approx(reds[4], abs=0.02)


def test_other_endings_are_refused(tmp_path):
    with pytest.raises(ValueError, match=r"written as \.gif or \.webp, got .*a\.mp4"):
        animate_morphs([morph()], tmp_path / "a.mp4")


@pytest.mark.parametrize("error", [0.1, None])
@pytest.mark.parametrize("names", [("either", "own", "partner", "entropy", "sharpness"), ("either", "entropy")])
def test_a_panel_for_each_quantity_with_a_line_for_each_path(tmp_path, drawn, names, error):
    curves = {name: {"mean": [1.0, 0.5, 0.8], "standard_error": [error] * 3} for name in names}
    paths = {path: {"curves": curves} for path in ("first", "partner", "none")}
    draw_confidence({"lam": [1, 0.5, 0], "all": {"paths": paths}}, tmp_path / "a.png", title="title")
    panels = drawn[0].axes
    assert len(panels) == len(names)
    for axes in panels:
        assert [list(line.get_ydata()) for line in axes.lines] == [[1.0, 0.5, 0.8]] * 3
        assert axes.get_xlim() == (1, 0)
        bands = [band.get_datalim(axes.transData).extents.tolist() for band in axes.collections]
        assert bands == ([] if error is None else [pytest.approx([0, 0.4, 1, 1.1])] * 3)
    (legend,) = drawn[0].legends
    assert [text.get_text() for text in legend.get_texts()][-1] == "not aligned"
    assert drawn[0].get_suptitle() == "title"
