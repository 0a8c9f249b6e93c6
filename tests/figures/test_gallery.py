import numpy as np
from PIL import Image

from alignmixup.figures.gallery import GalleryRow, draw_gallery


def test_the_picture_holds_images_and_masks(tmp_path):
    red, blue = np.zeros((3, 8, 8, 3)), np.zeros((3, 4, 4, 3))
    red[..., 0], blue[..., 2] = 1, 1
    rows = [GalleryRow("images", red, ["a", "b", "c"]), GalleryRow("mixed", red, ["a", "b", "c"], blue)]
    draw_gallery(rows, tmp_path / "gallery.png", title="title")
    pixels = np.asarray(Image.open(tmp_path / "gallery.png").convert("RGB")).reshape(-1, 3)
    shares = [(pixels == colour).all(1).mean() for colour in ((255, 0, 0), (0, 0, 255))]
    assert 0.2 < shares[0] < 0.7
    assert 0.05 < shares[1] < 0.3
