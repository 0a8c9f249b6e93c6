"""Images of every mode, format and orientation: the same pixels by every way of reading, or one sentence."""

import importlib
import itertools
import struct
import zlib
from pathlib import Path

import pytest
import torch

from alignmixup import data
from alignmixup.data.boxes.data import load_boxes
from alignmixup.data.decode import decode_image, decode_pixels, image_size, to_tensor
from alignmixup.data.image_file import MAX_PIXELS_VARIABLE, pillow

numpy = importlib.import_module("numpy")
pil = importlib.import_module("PIL.Image")
cms = importlib.import_module("PIL.ImageCms")

RAMP = numpy.tile(numpy.linspace(0, 65535, 60).astype(numpy.uint16), (40, 1))
GREY = pil.fromarray((RAMP >> 8).astype(numpy.uint8))


def as_lab():
    profiles = cms.createProfile("sRGB"), cms.createProfile("LAB")
    return cms.profileToProfile(GREY.convert("RGB"), *profiles, outputMode="LAB")


def with_alpha(mode):
    """A ramp whose left half is transparent: what is under it counts."""
    image = GREY.convert("RGB").convert("RGBA")
    image.putalpha(pil.fromarray(numpy.tile(numpy.arange(60) >= 30, (40, 1)).astype(numpy.uint8) * 255))
    return image.convert(mode)


def palette(transparency):
    image = GREY.convert("P")
    image.info["transparency"] = transparency
    return image


IMAGES = {
    "1": lambda: GREY.convert("1"),
    "L": lambda: GREY,
    "LA": lambda: with_alpha("LA"),
    "P": lambda: GREY.convert("P"),
    "P, one transparent": lambda: palette(7),
    "P, transparency in bytes": lambda: palette(bytes(range(256))),
    "PA": lambda: GREY.convert("RGB").convert("PA"),
    "RGB": lambda: GREY.convert("RGB"),
    "RGBA": lambda: with_alpha("RGBA"),
    "RGBX": lambda: GREY.convert("RGBX"),
    "CMYK": lambda: GREY.convert("CMYK"),
    "YCbCr": lambda: GREY.convert("RGB").convert("YCbCr"),
    "LAB": as_lab,
    "HSV": lambda: GREY.convert("RGB").convert("HSV"),
    "I;16": lambda: pil.fromarray(RAMP),
    "I;16B": lambda: pil.fromarray(RAMP.astype(">u2")),
    "I": lambda: pil.fromarray(RAMP.astype(numpy.int32)),
    "F from 0 to 1": lambda: pil.fromarray((RAMP / 65535).astype(numpy.float32)),
    "F from 0 to 255": lambda: pil.fromarray((RAMP / 257).astype(numpy.float32)),
}
FORMATS = ("PNG", "TIFF", "JPEG", "BMP", "PPM", "WEBP", "GIF", "JPEG2000", "TGA", "AVIF", "SPIDER")
EXACT = {"WEBP": {"lossless": True, "exact": True}, "AVIF": {"quality": 100}, "JPEG": {"quality": 98}}
CLIPPED = ("WEBP", "AVIF", "GIF", "SPIDER")  # Pillow's writers of these clip 16 bits, before we see them


@pytest.mark.filterwarnings("ignore:Palette images with Transparency:UserWarning")  # of Pillow's writers
@pytest.mark.parametrize("mode", IMAGES)
def test_a_ramp_of_every_mode_in_every_format_has_its_mean_or_is_refused(tmp_path, mode):
    image, read = IMAGES[mode](), 0
    for kind in FORMATS:
        path = tmp_path / f"ramp.{kind}"
        if (mode, kind) == ("I;16B", "JPEG2000"):  # Pillow swaps the bytes as it writes
            continue
        if (kind in CLIPPED and image.mode[0] in "IF") or (kind == "GIF" and image.mode.endswith("A")):
            continue
        try:
            image.save(path, kind, **EXACT.get(kind, {}))
        except (OSError, ValueError, KeyError):  # Pillow writes no such file
            continue
        read += 1
        try:
            pixels = to_tensor(decode_image(path))
        except ValueError as error:
            message = str(error)
            assert message.startswith(f"{path} has pixels of mode ")
            assert message.endswith("convert it to 8 or 16 bits, or remove it")
            with pytest.raises(ValueError, match="convert it to 8 or 16 bits"):
                decode_pixels(path)
            assert image.mode[0] in "IF" or kind == "SPIDER"
            continue
        wanted = float(to_tensor(GREY.convert("RGB")).float().mean())
        assert pixels.float().mean((1, 2)).tolist() == pytest.approx([wanted] * 3, abs=1.1), kind
        assert pixels.float().mean((0, 1)).view(6, 10).mean(1).diff().min() > 20, kind  # it is still a ramp
        assert image_size(path) == (60, 40)
        assert (decode_pixels(path).float() - pixels.float()).abs().max() <= 2
    assert read


def test_sixteen_bits_are_read_in_all_formats_that_say_their_range(tmp_path):
    for kind in ("PNG", "TIFF", "PPM", "JPEG2000"):
        pil.fromarray(RAMP).save(tmp_path / kind, kind)
        assert torch.equal(to_tensor(decode_image(tmp_path / kind)), to_tensor(GREY.convert("RGB"))), kind


@pytest.mark.parametrize("compression", [None, "tiff_lzw", "tiff_deflate"])
def test_tiff_says_how_many_bits_are_used_and_which_end_is_black(tmp_path, compression):
    path = tmp_path / "negative.tif"
    pil.fromarray(RAMP).save(path, tiffinfo={262: 0}, compression=compression)
    assert torch.equal(to_tensor(decode_image(path)), 255 - to_tensor(GREY.convert("RGB")))


@pytest.mark.parametrize("compression", [None, "tiff_lzw"])
def test_signed_pixels_that_pillow_reads_as_unsigned_are_refused(tmp_path, compression):
    GREY.save(tmp_path / "signed.tif", tiffinfo={339: 2}, compression=compression)
    with pytest.raises(ValueError, match=r"signed.tif has pixels of mode L .signed integers.*: convert it to 8 or 16"):
        decode_pixels(tmp_path / "signed.tif")


def write_tiff_in_planes(path: Path, pixels) -> None:
    """An uncompressed TIFF of (3, H, W) uint16, plane after plane."""
    planes, height, width = pixels.shape
    at, bits = 8 + 2 + 12 * 10 + 4, pixels.itemsize * 8
    start = at + 3 * (2 + 4 + 4)
    tags = [(256, 3, 1, width), (257, 3, 1, height), (258, 3, 3, at), (259, 3, 1, 1), (262, 3, 1, 2)]
    tags += [(273, 4, 3, at + 6), (277, 3, 1, planes), (278, 3, 1, height), (279, 4, 3, at + 18), (284, 3, 1, 2)]
    places = [start + plane * pixels[0].nbytes for plane in range(planes)]
    far = struct.pack("<3H3I3I", *[bits] * 3, *places, *[pixels[0].nbytes] * 3)
    listed = b"".join(struct.pack("<HHII", *tag) for tag in tags)
    path.write_bytes(b"II*\0" + struct.pack("<IH", 8, len(tags)) + listed + bytes(4) + far + pixels.tobytes())


def test_planes_are_read_or_refused(tmp_path):
    colour = numpy.stack([RAMP, RAMP[:, ::-1], RAMP])
    write_tiff_in_planes(tmp_path / "8.tif", (colour >> 8).astype("u1"))
    assert decode_pixels(tmp_path / "8.tif").numpy().tolist() == (colour >> 8).tolist()
    write_tiff_in_planes(tmp_path / "16.tif", colour)
    with pytest.raises(
        ValueError, match=r"16.tif has pixels of mode RGB .planes of 16 bits each.*: convert it to 8 or"
    ):
        decode_pixels(tmp_path / "16.tif")


def write_png_of_16_bit_colour(path: Path) -> None:
    def chunk(name: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))

    rows = b"".join(b"\0" + numpy.repeat(row[:, None], 3, axis=1).astype(">u2").tobytes() for row in RAMP)
    header = struct.pack(">IIBBBBB", 60, 40, 16, 2, 0, 0, 0)
    parts = chunk(b"IHDR", header), chunk(b"IDAT", zlib.compress(rows)), chunk(b"IEND", b"")
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + b"".join(parts))


def write_black_png(path: Path, size: tuple[int, int], bits: int, colour: int, *, interlaced: bool, rows_less: int):
    """A PNG of zeros whose stream ends, as if it were whole, before the last rows."""
    (width, height), channels = size, {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}[colour]
    adam7 = ((0, 4, 0, 2, 0, 1, 0), (0, 0, 4, 0, 2, 0, 1), (8, 8, 4, 4, 2, 2, 1), (8, 8, 8, 4, 4, 2, 2))
    passes = zip(*adam7, strict=True) if interlaced else [(0, 0, 1, 1)]
    rows = [
        bytes(1 + -(-len(range(column, width, step)) * bits * channels // 8))
        for column, row, step, step_down in passes
        for _ in range(row, height, step_down)
        if column < width
    ]
    header = struct.pack(">IIBBBBB", width, height, bits, colour, 0, 0, interlaced)
    parts = {b"IHDR": header, b"PLTE": bytes(3) if colour == 3 else b""}
    parts |= {b"IDAT": zlib.compress(b"".join(rows[: len(rows) - rows_less])), b"IEND": b""}
    coded = b"\x89PNG\r\n\x1a\n"
    for kind, content in parts.items():
        if content or kind != b"PLTE":
            coded += struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))
    path.write_bytes(coded)


@pytest.mark.parametrize("interlaced", [False, True])
@pytest.mark.parametrize("size", [(1, 1), (7, 5), (16, 9), (3, 2)])
@pytest.mark.parametrize(("bits", "colour"), [(1, 0), (4, 3), (8, 0), (16, 0), (8, 2), (16, 2), (8, 4), (8, 6)])
def test_a_png_that_ends_before_its_last_row_is_refused_and_a_black_one_not(tmp_path, bits, colour, size, interlaced):
    """Pillow leaves the missing rows black and says nothing."""
    file = tmp_path / "a.png"
    write_black_png(file, size, bits, colour, interlaced=interlaced, rows_less=0)
    decode_image(file)
    write_black_png(file, size, bits, colour, interlaced=interlaced, rows_less=1)
    for read in (decode_image, decode_pixels):
        with pytest.raises(ValueError, match=r"a\.png is not a readable image of .*: restore it"):
            read(file)


@pytest.mark.parametrize("read", [decode_image, decode_pixels, image_size])
def test_files_are_named_by_text_as_by_paths(tmp_path, read):
    pil.new("RGB", (6, 4)).save(tmp_path / "a.png")
    read(str(tmp_path / "a.png"))
    with pytest.raises(FileNotFoundError, match=r"b\.png is listed"):
        read(str(tmp_path / "b.png"))


def test_sixteen_bits_of_colour_and_of_grey_are_the_same(tmp_path):
    write_png_of_16_bit_colour(tmp_path / "colour.png")
    pil.fromarray(RAMP).save(tmp_path / "grey.png")
    assert torch.equal(decode_pixels(tmp_path / "colour.png"), decode_pixels(tmp_path / "grey.png"))


@pytest.mark.parametrize("kind", ["GIF", "TIFF", "WEBP", "PNG"])
def test_the_first_frame_counts(tmp_path, kind):
    frames = [pil.new("RGB", (8, 6), (value, value, value)) for value in (200, 20, 90)]
    path = tmp_path / f"frames.{kind}"
    frames[0].save(
        path, kind, save_all=True, append_images=frames[1:], **({"lossless": True} if kind == "WEBP" else {})
    )
    assert decode_pixels(path).float().mean() == pytest.approx(200, abs=1)


ORIENTED = range(1, 9)
PICTURE = pil.fromarray(
    numpy.kron(numpy.array([[250, 30, 90], [160, 60, 220]], numpy.uint8), numpy.ones((16, 16), numpy.uint8))
).convert("RGB")  # 48 by 32, every corner of its own grey


def stored(orientation: int):
    """What a camera stores so that the picture is upright once it has been turned."""
    inverse = {6: "ROTATE_90", 8: "ROTATE_270"}
    turns = [None, None, "FLIP_LEFT_RIGHT", "ROTATE_180", "FLIP_TOP_BOTTOM", "TRANSPOSE", None, "TRANSVERSE", None]
    turn = inverse.get(orientation, turns[orientation])
    return PICTURE if turn is None else PICTURE.transpose(pil.Transpose[turn])


def write_oriented(path: Path, orientation: int, kind: str) -> None:
    exif = pil.Exif()
    exif[0x0112] = orientation
    options = {"JPEG": {"quality": 98, "subsampling": 0}, "WEBP": {"lossless": True}}.get(kind, {})
    stored(orientation).save(path, kind, exif=exif if kind == "TIFF" else exif.tobytes(), **options)


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "TIFF", "WEBP"])
def test_all_ways_of_reading_turn_alike(tmp_path, kind):
    path = tmp_path / "image"
    for orientation in ORIENTED:
        write_oriented(path, orientation, kind)
        upright, as_stored = to_tensor(PICTURE), to_tensor(stored(orientation))
        for turned, expected in ((True, upright), (False, upright if kind == "TIFF" else as_stored)):
            for pixels in (to_tensor(decode_image(path, upright=turned)), decode_pixels(path, upright=turned)):
                assert pixels.shape == expected.shape, orientation
                assert (pixels.float() - expected.float()).abs().mean() < 1.5, orientation
            assert image_size(path, upright=turned) == (expected.shape[2], expected.shape[1]), orientation


@pytest.mark.filterwarnings("ignore:Corrupt EXIF data:UserWarning")
@pytest.mark.parametrize("kind", ["JPEG", "PNG"])
def test_metadata_that_are_damaged_or_senseless_turn_nothing(tmp_path, kind):
    for exif in (b"Exif\0\0II*\0\xff\xff\xff\xff", b"Exif\0\0garbage", b"Exif\0\0"):
        stored(6).save(tmp_path / "image", kind, exif=exif)
        assert decode_pixels(tmp_path / "image").shape == (3, 48, 32)
    for value in (0, 9, 77):
        exif = pil.Exif()
        exif[0x0112] = value
        stored(6).save(tmp_path / "image", kind, exif=exif.tobytes())
        assert decode_image(tmp_path / "image").size == image_size(tmp_path / "image") == (32, 48)


def write_set(root: Path, orientations) -> None:
    for split, name in itertools.product(("train", "val"), ("a", "b")):
        for orientation in orientations:
            path = root / split / name / f"{orientation}.jpg"
            path.parent.mkdir(parents=True, exist_ok=True)
            write_oriented(path, orientation, "JPEG")


@pytest.mark.parametrize("name", ["folder", "imagenet"])
@pytest.mark.parametrize("in_memory", [False, True])
def test_folders_are_upright_and_imagenet_is_as_stored_in_every_view_and_box(tmp_path, name, in_memory):
    write_set(tmp_path, ORIENTED)
    dataset = data.load(
        name, root=tmp_path, image_size=48, in_memory=in_memory, test_view="whole", cache=False, progress=False
    )
    shown = [PICTURE if name == "folder" else stored(orientation) for orientation in ORIENTED] * 2
    expected = torch.stack([to_tensor(image.resize((48, 48), pil.Resampling.BILINEAR)) for image in shown]).float()
    _, test = data.build_loaders(dataset, batch_size=16, augment=None, workers=0)
    mean, std = (torch.tensor(values).view(1, 3, 1, 1) * 255 for values in (dataset.mean, dataset.std))
    views = [next(iter(test))[0]]
    if in_memory:
        views.append(torch.cat([dataset.train.images.float().sub(mean).div(std)]))
    for view in views:
        assert (view * std + mean - expected).abs().mean() < 2
    lines = [
        f"{path},0,0,{image.width - 1},{image.height - 1}"
        for path, image in zip(dataset.test.paths, shown, strict=True)
    ]
    (tmp_path / "boxes.csv").write_text("\n".join(lines))
    boxes = load_boxes(name, root=tmp_path, dataset=dataset, source=tmp_path / "boxes.csv")
    assert boxes.sizes.tolist() == [list(image.size) for image in shown]


def test_random_crops_are_cut_from_the_upright_image(tmp_path):
    write_set(tmp_path, [6, 6])
    dataset = data.load("folder", root=tmp_path, image_size=32, in_memory=False, progress=False)
    train, _ = data.build_loaders(dataset, batch_size=2, augment=data.Augment(resized_crop=(1.0, 1.0)), workers=0)
    images = next(iter(train))[0]
    left, right = images[:, :, :, :6].mean(), images[:, :, :, -6:].mean()
    assert (
        left - right > -0.5
    )  # 250 over 160 at the left, 90 over 220 at the right; turned it would be 250, 30, 90 above
    assert dataset.train.upright


def test_sizes_stated_for_an_image_that_was_not_turned_are_refused(tmp_path):
    write_set(tmp_path, [6])
    dataset = data.load("folder", root=tmp_path, image_size=32, in_memory=False, test_view="whole", progress=False)
    metadata = tmp_path / "metadata"
    metadata.mkdir()
    (metadata / "localization.txt").write_text("".join(f"{path},0,0,9,9\n" for path in dataset.test.paths))
    (metadata / "image_sizes.txt").write_text("".join(f"{path},32,48\n" for path in dataset.test.paths))
    with pytest.raises(ValueError, match=r"states 32x48 pixels for val/a/6.jpg, which is seen as 48x32: its EXIF"):
        load_boxes("folder", root=tmp_path, dataset=dataset, source=metadata)


@pytest.mark.parametrize("kind", ["JPEG", "PNG"])
def test_too_many_pixels_are_refused_by_every_way_of_reading(tmp_path, monkeypatch, kind):
    monkeypatch.setattr(pillow(), "MAX_IMAGE_PIXELS", 500)  # refused from 1,001 on
    for side in (22, 32):
        pil.new("RGB", (side, side)).save(tmp_path / f"{side}", kind)
        for read in (decode_image, decode_pixels, image_size):
            if side == 22:
                read(tmp_path / "22")
                continue
            with pytest.raises(
                ValueError, match=rf"{side} is too large .*1024 pixels.*1000 pixels.*{MAX_PIXELS_VARIABLE}"
            ):
                read(tmp_path / "32")


def test_the_limit_of_pixels_can_be_raised(monkeypatch):
    monkeypatch.setattr(pil, "MAX_IMAGE_PIXELS", pil.MAX_IMAGE_PIXELS)
    for text, limit in (("400000000", 200_000_000), ("7", 4)):
        monkeypatch.setenv(MAX_PIXELS_VARIABLE, text)
        pillow.cache_clear()
        assert limit == pillow().MAX_IMAGE_PIXELS
    monkeypatch.setenv(MAX_PIXELS_VARIABLE, "many")
    pillow.cache_clear()
    with pytest.raises(ValueError, match="must be a whole number of pixels, got 'many'"):
        pillow()
    pillow.cache_clear()
