"""Stored maps through the function that the command calls."""

import numpy as np
import pytest

from alignmixup.runs.localize_maps import score_stored_maps


def test_a_perfect_map(tmp_path):
    score_map = np.zeros((20, 40), dtype=np.float32)
    score_map[4:9, 10:20] = 1
    (tmp_path / "a").mkdir()
    np.save(tmp_path / "a" / "b.jpg.npy", score_map)
    (tmp_path / "localization.txt").write_text("a/b.jpg,50,20,100,45\n")
    (tmp_path / "image_sizes.txt").write_text("a/b.jpg,200,100\n")
    stored = score_stored_maps(tmp_path, tmp_path, None, contours=("largest",), step=0.1)
    assert stored.record["contours"]["largest"]["max_box_acc_v2_percent"] == 100
    assert stored.boxes[0].tolist() == [[50, 20, 100, 45]]
    assert stored.sizes.tolist() == [[200, 100]]


def test_a_missing_map(tmp_path):
    (tmp_path / "boxes.csv").write_text("a/b.jpg,1,2,3,4\n")
    with pytest.raises(ValueError, match="name the folder of the images with --images"):
        score_stored_maps(tmp_path, tmp_path / "boxes.csv", None, contours=("largest",), step=0.1)
