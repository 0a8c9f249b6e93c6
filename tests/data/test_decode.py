import importlib

import pytest
import torch

from alignmixup.data.decode import decode_all, decode_image, scaled_center, to_tensor

pil = importlib.import_module("PIL.Image")
v2 = importlib.import_module("torchvision.transforms.v2.functional")


def picture(width: int, height: int) -> object:
    pixels = torch.randint(0, 256, (height, width, 3), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    return pil.fromarray(pixels.numpy())


@pytest.mark.parametrize("size", [(50, 37), (37, 50), (24, 24), (21, 99)])
@pytest.mark.parametrize("margin", [1.0, 256 / 224])
def test_scaled_center_equals_torchvision(size, margin):
    image = picture(*size)
    expected = v2.center_crop(v2.resize(image, [round(21 * margin)]), [21, 21])
    assert torch.equal(to_tensor(scaled_center(image, 21, margin=margin)), v2.pil_to_tensor(expected))


@pytest.mark.parametrize("mode", ["L", "P", "RGBA", "RGB", "CMYK"])
def test_every_mode_becomes_rgb(tmp_path, mode):
    kind = {"CMYK": "JPEG"}.get(mode, "PNG")
    picture(6, 4).convert(mode).save(tmp_path / "image", kind)
    image = decode_image(tmp_path / "image")
    assert to_tensor(image).shape == (3, 4, 6)


@pytest.mark.parametrize(
    ("how", "message"),
    [
        ("truncated", "not a readable image of"),
        ("garbled", "not a readable image of"),
        ("empty", "an empty file"),
    ],
)
@pytest.mark.parametrize("kind", ["JPEG", "PNG"])
def test_damaged(tmp_path, damage, kind, how, message):
    path = tmp_path / "image"
    picture(64, 64).save(path, kind)
    damage(path, how)
    with pytest.raises(ValueError, match=f"image is {message}.*: restore it from the release, or remove it"):
        decode_image(path)


def test_missing(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"absent\.png is listed in its data set but missing"):
        decode_image(tmp_path / "absent.png")


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
