import importlib
import sys

import pytest
import torch
from sklearn.datasets import load_sample_image

from alignmixup.data.decode import (
    decode_all,
    decode_image,
    decode_pixels,
    image_size,
    jpeg_decoder,
    scaled_box,
    scaled_center,
    scaled_whole,
    to_tensor,
    viewed,
    with_bar,
)

pil = importlib.import_module("PIL.Image")
v2 = importlib.import_module("torchvision.transforms.v2.functional")


def picture(width: int, height: int) -> object:
    pixels = torch.randint(0, 256, (height, width, 3), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    return pil.fromarray(pixels.numpy())


def read_box(path, box, *, size, interpolation="bilinear"):
    return scaled_box(decode_pixels(path), box, size=size, interpolation=interpolation)


def by_pil(image, box, *, size, interpolation="bilinear"):
    y0, x0, y1, x1 = box
    return to_tensor(image.crop((x0, y0, x1, y1)).resize((size, size), pil.Resampling[interpolation.upper()]))


def differences(first: torch.Tensor, second: torch.Tensor) -> torch.Tensor:
    return (first.float() - second.float()).abs()


@pytest.fixture(scope="module")
def photograph() -> object:
    return pil.fromarray(load_sample_image("china.jpg"))  # 640 by 427


@pytest.mark.parametrize("size", [(50, 37), (37, 50), (24, 24), (21, 99)])
@pytest.mark.parametrize("margin", [1.0, 256 / 224])
def test_scaled_center_equals_torchvision(size, margin):
    image = picture(*size)
    expected = v2.center_crop(v2.resize(image, [round(21 * margin)]), [21, 21])
    assert torch.equal(to_tensor(scaled_center(image, 21, margin=margin)), v2.pil_to_tensor(expected))


JPEGS = {
    "usual": {"quality": 90},
    "no subsampling": {"quality": 95, "subsampling": 0},
    "progressive": {"quality": 80, "progressive": True},
    "with a long header": {"quality": 90, "exif": b"Exif\0\0" + bytes(3000), "comment": b"\xff\xc0" * 50},
}


@pytest.mark.parametrize("options", JPEGS.values(), ids=JPEGS)
@pytest.mark.parametrize("mode", ["RGB", "L"])
@pytest.mark.parametrize("interpolation", ["bilinear", "bicubic"])
def test_boxes_of_jpegs_equal_pil(tmp_path, photograph, options, mode, interpolation):
    path = tmp_path / "image.jpg"
    photograph.convert(mode).crop((0, 0, 637, 425)).save(path, **options)
    for box in [(0, 0, 425, 637), (13, 50, 380, 290), (420, 600, 425, 637)]:
        found = read_box(path, box, size=112, interpolation=interpolation)
        expected = by_pil(decode_image(path), box, size=112, interpolation=interpolation)
        assert found.shape == (3, 112, 112)
        assert differences(found, expected).mean() < 0.05
        assert differences(found, expected).max() <= 3


@pytest.mark.parametrize("mode", ["L", "P", "RGBA", "RGB", "CMYK"])
def test_every_mode_becomes_rgb(tmp_path, mode):
    kind = {"CMYK": "JPEG"}.get(mode, "PNG")
    picture(6, 4).convert(mode).save(tmp_path / "image", kind)
    image = decode_image(tmp_path / "image")
    assert to_tensor(image).shape == (3, 4, 6)
    assert torch.equal(decode_pixels(tmp_path / "image"), to_tensor(image))


@pytest.mark.parametrize("how", ["no torchvision", "no decoder", "decoder refuses"])
def test_pil_stands_in_for_torchvision(tmp_path, photograph, monkeypatch, how):
    def refuse(data):
        raise RuntimeError("not today")

    path, box = tmp_path / "image.jpg", (13, 50, 380, 290)
    photograph.save(path)
    usual = read_box(path, box, size=112)
    if how == "no torchvision":
        monkeypatch.setitem(sys.modules, "torchvision.io", None)
    elif how == "no decoder":
        monkeypatch.delattr(importlib.import_module("torchvision.io"), "decode_jpeg")
    else:
        monkeypatch.setattr(importlib.import_module("torchvision.io"), "decode_jpeg", refuse)
    jpeg_decoder.cache_clear()
    found = read_box(path, box, size=112)
    monkeypatch.undo()
    jpeg_decoder.cache_clear()
    assert differences(found, usual).max() <= 1


@pytest.mark.parametrize("read", [decode_image, decode_pixels])
@pytest.mark.parametrize(
    ("how", "message"),
    [
        ("truncated", "not a readable image of"),
        ("garbled", "not a readable image of"),
        ("empty", "an empty file"),
    ],
)
@pytest.mark.parametrize("kind", ["JPEG", "PNG"])
def test_damaged(tmp_path, damage, kind, how, message, read):
    path = tmp_path / "image"
    picture(64, 64).save(path, kind)
    damage(path, how)
    with pytest.raises(ValueError, match=f"image is {message}.*: restore it from the release, or remove it"):
        read(path)


@pytest.mark.parametrize("progressive", [False, True])
def test_bytes_that_changed_mean_the_same_to_both_decoders(tmp_path, photograph, progressive):
    path = tmp_path / "image.jpg"
    photograph.crop((0, 0, 96, 80)).save(path, progressive=progressive)
    coded, generator = path.read_bytes(), torch.Generator().manual_seed(0)
    readable = 0
    for _ in range(60):
        changed = bytearray(coded)
        for at, value in torch.randint(2, len(coded), (4, 2), generator=generator).tolist():
            changed[at] = value % 256
        path.write_bytes(changed)
        try:
            expected = to_tensor(decode_image(path))
        except ValueError:
            with pytest.raises(ValueError, match="not a readable image"):
                decode_pixels(path)
        else:
            assert torch.equal(decode_pixels(path), expected)
            readable += 1
    assert 0 < readable < 60


@pytest.mark.parametrize("read", [decode_image, decode_pixels])
def test_missing(tmp_path, read):
    with pytest.raises(FileNotFoundError, match=r"absent\.png is listed in its data set but missing"):
        read(tmp_path / "absent.png")


@pytest.mark.parametrize("progress", [False, True])
def test_decode_all_keeps_the_order(tmp_path, progress):
    paths = [tmp_path / f"{i}.png" for i in range(20)]
    for i, path in enumerate(paths):
        pil.new("RGB", (4, 4), (i, 0, 0)).save(path)
    images = decode_all(paths, lambda image, _path: image, size=4, title="images", progress=progress)
    assert images.shape == (20, 3, 4, 4)
    assert images[:, 0, 2, 3].tolist() == list(range(20))


def test_decode_all_names_the_bad_file(tmp_path):
    for i in range(5):
        pil.new("RGB", (4, 4)).save(tmp_path / f"{i}.png")
    (tmp_path / "3.png").write_bytes(b"")
    paths = sorted(tmp_path.iterdir())
    with pytest.raises(ValueError, match=r"3\.png is an empty file"):
        decode_all(paths, lambda image, _path: image, size=4, title="images", progress=False)


def test_whole_images_are_squeezed():
    image = picture(90, 40)
    assert scaled_whole(image, 32).size == (32, 32)
    assert torch.equal(
        to_tensor(scaled_whole(image, 28, margin=32 / 28)),
        to_tensor(image.resize((32, 32), pil.Resampling.BILINEAR))[:, 2:30, 2:30],
    )
    square = picture(32, 32)
    assert scaled_whole(square, 32) is square


def test_views():
    image = picture(90, 40)
    views = {view: to_tensor(viewed(image, 224, view)) for view in ("center", "squeezed_center", "whole")}
    assert all(view.shape == (3, 224, 224) for view in views.values())
    squeezed = to_tensor(image.resize((256, 256), pil.Resampling.BILINEAR))
    assert torch.equal(views["squeezed_center"], squeezed[:, 16:240, 16:240])
    assert torch.equal(views["whole"], to_tensor(image.resize((224, 224), pil.Resampling.BILINEAR)))
    assert torch.equal(views["center"], to_tensor(scaled_center(image, 224, margin=256 / 224)))


def test_sizes_are_read_without_pixels(tmp_path):
    picture(90, 40).save(tmp_path / "a.png")
    content = (tmp_path / "a.png").read_bytes()
    (tmp_path / "cut.png").write_bytes(content[:100])
    assert image_size(tmp_path / "a.png") == image_size(tmp_path / "cut.png") == (90, 40)
    (tmp_path / "b.png").write_bytes(b"")
    with pytest.raises(ValueError, match=r"b.png is an empty file"):
        image_size(tmp_path / "b.png")
    with pytest.raises(FileNotFoundError, match=r"c.png is listed in its data set but missing"):
        image_size(tmp_path / "c.png")


def test_a_bar_prints_nothing_where_nobody_looks(capsys):
    assert list(with_bar(range(3), "numbers", total=3)) == [0, 1, 2]
    assert capsys.readouterr() == ("", "")
