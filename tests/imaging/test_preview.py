# Licensed under a 3-clause BSD style license - see LICENSE.rst
import io
import struct
import zlib

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from PIL import Image

from paperclip.exceptions import ImageConversionError
from paperclip.imaging import read_preview, to_rgb

LEVELS = np.random.default_rng(0).integers(0, 256, (40, 30, 3)).astype(np.uint8)


def packed(image, kind="PNG", **options):
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


@pytest.mark.parametrize("kind", ["PNG", "TIFF", "GIF", "WEBP", "JPEG"])
def test_formats(kind, tmp_path):
    smooth = np.tile(np.linspace(0, 255, 30).astype(np.uint8), (40, 1))
    content = packed(Image.fromarray(smooth).convert("RGB"), kind)
    rgb = read_preview(content)
    assert rgb.shape == (40, 30, 3)
    assert rgb.dtype == np.uint8
    assert_allclose(rgb[..., 1].astype(int), smooth, atol=6)
    path = tmp_path / "picture"
    path.write_bytes(content)
    assert_array_equal(read_preview(path), rgb)
    assert_array_equal(to_rgb(str(path)), rgb)


def test_grey_palette_alpha_and_bits():
    grey = Image.fromarray(LEVELS[..., 0])
    for kind in ("PNG", "JPEG"):
        rgb = read_preview(packed(grey, kind))
        assert_array_equal(rgb[..., 0], rgb[..., 2])
    colours = Image.fromarray(LEVELS).quantize(16)
    assert_array_equal(read_preview(packed(colours)), np.array(colours.convert("RGB")))
    sheer = Image.fromarray(np.dstack([LEVELS, np.full((40, 30), 0, np.uint8)]))
    assert not read_preview(packed(sheer)).any()
    bits = Image.fromarray((LEVELS[..., 0] > 99).astype(np.uint8) * 255).convert("1")
    assert set(np.unique(read_preview(packed(bits)))) == {0, 255}
    cmyk = Image.fromarray(LEVELS).convert("CMYK")
    assert read_preview(packed(cmyk, "JPEG")).shape == (40, 30, 3)


def test_sixteen_bits():
    deep = np.linspace(0, 65535, 1200).reshape(40, 30).astype(np.uint16)
    rgb = read_preview(packed(Image.fromarray(deep)))
    assert_allclose(rgb[..., 0], deep / 257, atol=0.51)


def test_orientation_tag():
    image = Image.fromarray(LEVELS)
    exif = image.getexif()
    exif[0x0112] = 6  # the camera was turned
    rgb = read_preview(packed(image, "PNG", exif=exif))
    assert_array_equal(rgb, np.rot90(LEVELS, -1))


def test_first_frame_of_an_animation():
    frames = [Image.fromarray(LEVELS[..., i]) for i in (0, 1)]
    content = packed(frames[0], "GIF", save_all=True, append_images=frames[1:])
    assert_array_equal(read_preview(content)[..., 0], LEVELS[..., 0])


def png(width, height, rows=b""):
    def chunk(kind, data):
        crc = zlib.crc32(kind + data)
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", crc)

    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", header)
        + chunk(b"IDAT", zlib.compress(rows))
        + chunk(b"IEND", b"")
    )


def jpeg_bomb(width, height):
    content = bytearray(packed(Image.fromarray(LEVELS), "JPEG"))
    place = content.index(b"\xff\xc0") + 5
    content[place : place + 4] = struct.pack(">HH", height, width)
    return bytes(content)


@pytest.mark.parametrize(
    "content",
    [
        png(9000, 9000, bytes(9001 * 9000)),
        png(12000, 12000),
        png(60000, 60000),
        png(2**31 - 1, 2**31 - 1),
        png(1, 100_000),
        jpeg_bomb(9000, 9000),
        jpeg_bomb(65000, 65000),
    ],
    ids=["9k", "12k", "60k", "2G", "tall", "jpeg9k", "jpeg65k"],
)
def test_bombs_are_not_decoded(content, tmp_path):
    limit = Image.MAX_IMAGE_PIXELS
    with pytest.raises(ImageConversionError, match=r"pixels|DecompressionBomb"):
        read_preview(content)
    path = tmp_path / "bomb"
    path.write_bytes(content)
    with pytest.raises(ImageConversionError, match=r"pixels|DecompressionBomb"):
        to_rgb(path)
    assert limit == Image.MAX_IMAGE_PIXELS


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "GIF", "TIFF", "WEBP"])
@pytest.mark.parametrize("share", [0.1, 0.5, 0.9])
def test_truncated(kind, share):
    content = packed(Image.fromarray(LEVELS), kind)
    with pytest.raises(ImageConversionError, match="cannot be read as a picture"):
        read_preview(content[: int(share * len(content))])


@pytest.mark.parametrize(
    "content", [b"", b"abc", b"SIMPLE  =", b"%!PS-Adobe-3.0 EPSF-3.0\n", b"<svg/>"]
)
def test_other_content(content):
    with pytest.raises(ImageConversionError, match=r"none of JPEG, PNG, .* WEBP$"):
        read_preview(content)


def test_missing_file_and_directory(tmp_path):
    for path in (tmp_path / "none.png", tmp_path):
        with pytest.raises(ImageConversionError, match="no such file"):
            read_preview(path)


def test_damaged_pictures_never_raise_anything_else():
    contents = [
        packed(Image.fromarray(LEVELS), kind) for kind in ("PNG", "JPEG", "GIF")
    ]
    contents += [packed(Image.fromarray(LEVELS), kind) for kind in ("TIFF", "WEBP")]
    rng = np.random.default_rng(4)
    outcomes = set()
    for case in range(300):
        content = bytearray(contents[case % len(contents)])
        for place in rng.integers(len(content), size=5):
            content[place] = rng.integers(256)
        try:
            outcomes.add(read_preview(bytes(content)).dtype)
        except ImageConversionError:
            outcomes.add("error")
    assert outcomes == {np.dtype(np.uint8), "error"}
