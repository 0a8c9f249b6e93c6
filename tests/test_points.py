"""``benchmarks/points.py``: points lie where images are bright, their order is not read, a match moves them less."""

import pytest
import torch
from benchmarks.match import build_mixer

from benchmarks import points


def test_points_lie_in_bright_pixels():
    images = torch.zeros(2, 1, 8, 8, dtype=torch.uint8)
    images[0, 0, 1, 6] = 255  # second row, seventh column
    images[1, 0, :, 4:] = 9
    found = points.draw_points(images, torch.Generator().manual_seed(0))[..., 0]
    assert found.shape == (2, 2, points.POINTS)
    x, y = found[0]
    assert 0.5 <= x.min() <= x.max() <= 0.75
    assert -0.75 <= y.min() <= y.max() <= -0.5
    assert found[1, 0].min() >= 0
    assert found[1, 1].min() < -0.5 < 0.5 < found[1, 1].max()


def test_splits_share_no_image():
    sets = points.point_sets()
    assert {name: len(labels) for name, (_, labels) in sets.items()} == {"train": 500, "other": 200, "test": 1097}
    assert all(torch.bincount(sets["train"][1]) == 50)


def test_the_order_of_points_is_not_read_and_the_layers_carry_everything():
    torch.manual_seed(0)
    model, x = points.PointNet().eval(), torch.rand(4, 2, points.POINTS, 1) * 2 - 1
    torch.testing.assert_close(model(x), model(x.flip(2)))
    for name in ("points", "inside"):
        where = points.Where(name)
        mixer = build_mixer("aligned 2", model, where.layer, points.CLASSES, 0, probability=1.0, **where.options)
        (report,) = mixer.check(x[:2])
        assert report.share == 1


def test_matched_points_move_less_than_points_by_their_index():
    sets, _ = points.point_sets()["train"]
    x, y = sets[:20], torch.zeros(20, dtype=torch.long)
    moved = {}
    for method in ("unaligned", "aligned 1", "permuted 1"):
        model = points.PointNet()
        seen = []
        model.first.register_forward_pre_hook(lambda module, inputs, seen=seen: seen.append(inputs[0]))
        options = points.Where("points").options
        mixer = build_mixer(method, model, "points", points.CLASSES, 0, probability=1.0, **options)
        with mixer(x, y) as batch:
            model(batch.x)
        moved[method] = (seen[-1] - x).norm(dim=1).mean()
    assert moved["aligned 1"] < 0.6 * moved["unaligned"]
    assert 0.8 * moved["unaligned"] < moved["permuted 1"] < 1.2 * moved["unaligned"]


@pytest.mark.filterwarnings("ignore:The epoch parameter in")  # torch 2.6 steps its own schedulers so
def test_the_command_measures_once_and_goes_on(tmp_path, capsys):
    asked = [
        "--out",
        str(tmp_path),
        "--at",
        "points",
        "--methods",
        "none",
        "aligned 1",
        "--seeds",
        "1",
        "--epochs",
        "2",
    ]
    points.main(asked)
    first = (tmp_path / "runs.jsonl").read_text(encoding="utf-8")
    assert len(first.splitlines()) == 5  # three rates, two methods
    assert "aligned 1" in capsys.readouterr().out
    points.main(asked)
    assert (tmp_path / "runs.jsonl").read_text(encoding="utf-8") == first
