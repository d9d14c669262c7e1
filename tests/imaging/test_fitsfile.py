# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""Files that lie about their size, bombs, and real files of all kinds."""

import gzip
import importlib.util
import os
import subprocess
import sys
import time
import warnings

import numpy as np
import pytest
from astropy.io import fits

from paperclip.exceptions import ImageConversionError, PaperclipError
from paperclip.imaging import to_rgb

from ..shared_data import require_shared_data


def write(path, hdu, **cards):
    """Write an HDU, then change cards behind the back of astropy."""
    hdu.writeto(path, overwrite=True)
    content = bytearray(path.read_bytes())
    for name, value in cards.items():
        start = content.index(f"{name:8s}=".encode())
        content[start : start + 30] = f"{name:8s}= {value:>20}".encode()
    path.write_bytes(content)
    return path


IMAGE = fits.PrimaryHDU(np.ones((20, 30), np.float32))


@pytest.mark.parametrize(
    ("cards", "match"),
    [
        ({"NAXIS2": 21000}, "truncated: the header claims 2520000 bytes"),
        ({"NAXIS1": 99999999}, "claims 20 x 99999999 pixels; at most"),
        ({"NAXIS1": 2**40, "NAXIS2": 2**40}, "cannot be read|at most"),
        ({"NAXIS1": 2**62, "NAXIS2": 2**62}, "cannot be read|at most"),
        ({"NAXIS": 99999999}, "NAXIS is 99999999"),
        ({"NAXIS": -1}, "NAXIS is -1"),
        ({"NAXIS": "T"}, "NAXIS is b'T', not an integer"),
        ({"NAXIS1": -5}, "NAXIS1 is -5"),
        ({"BITPIX": 7}, "cannot be read: KeyError|no image"),
        ({"BITPIX": "1E400"}, "BITPIX is b'1E400', not an integer"),
    ],
)
def test_claims_of_a_header(cards, match, tmp_path):
    path = write(tmp_path / "a.fits", IMAGE, **cards)
    start = time.monotonic()
    with pytest.raises(ImageConversionError, match=match):
        to_rgb(path)
    assert time.monotonic() - start < 5


def test_claims_of_a_compressed_image(tmp_path):
    data = np.ones((40, 30), np.int16)
    hdus = fits.HDUList([fits.PrimaryHDU(), fits.CompImageHDU(data)])
    for cards in (
        {"ZNAXIS1": 60000, "ZNAXIS2": 60000},
        {"ZTILE1": 2**30, "ZNAXIS1": 2**16},
        {"ZNAXIS": 99999999},
    ):
        path = write(tmp_path / "a.fits", hdus, **cards)
        with pytest.raises(ImageConversionError):
            to_rgb(path)


def test_hcompress_stream_that_exceeds_its_tile(tmp_path):
    data = np.arange(64 * 80).reshape(64, 80).astype(np.int16)
    hdu = fits.CompImageHDU(data, compression_type="HCOMPRESS_1", tile_shape=(16, 80))
    path = tmp_path / "a.fits"
    hdu.writeto(path)
    content = bytearray(path.read_bytes())
    start = content.index(b"\xdd\x99")
    content[start + 2 : start + 6] = (5000).to_bytes(4, "big")
    path.write_bytes(content)
    with pytest.raises(ImageConversionError, match=r"claims .* there is room for 1280"):
        to_rgb(path)


@pytest.mark.parametrize("kind", ["RICE_1", "HCOMPRESS_1"])
def test_stream_before_the_start_of_the_file(kind, tmp_path):
    data = np.arange(64 * 80).reshape(64, 80).astype(np.int16)
    hdu = fits.CompImageHDU(data, compression_type=kind, tile_shape=(16, 80))
    path = tmp_path / "a.fits"
    fits.HDUList([fits.PrimaryHDU(), hdu]).writeto(path)
    with fits.open(path, disable_image_compression=True) as hdus:
        place = hdus[1].fileinfo()["datLoc"]
    content = bytearray(path.read_bytes())
    content[place + 4 : place + 8] = (-(2**30)).to_bytes(4, "big", signed=True)
    path.write_bytes(content)
    with pytest.raises(ImageConversionError, match="points to a place before the file"):
        to_rgb(path)


def test_gzip_bomb(tmp_path):
    path = tmp_path / "bomb.fits.gz"
    header = fits.Header({"SIMPLE": True, "BITPIX": 8, "NAXIS": 2})
    header["NAXIS1"] = header["NAXIS2"] = 100_000
    with gzip.open(path, "wb", compresslevel=9) as stream:
        stream.write(header.tostring().encode())
        for _ in range(300):
            stream.write(bytes(1 << 20))
    assert path.stat().st_size < 1 << 20
    with pytest.raises(ImageConversionError, match="expands to more than 67108864"):
        to_rgb(path)


@pytest.mark.parametrize(
    ("content", "match"),
    [
        (b"", "it is empty"),
        (b"SIMPLE  =                    T", "no END"),
        (b"\x00" * 5000, "starts with"),
        (b"SIMPLE  =                    T".ljust(80) * 36, "no END"),
        (b"\x1f\x8b" + b"x" * 100, "cannot be read"),
        (b"BZh9" + b"x" * 100, "cannot be read"),
        (b"\xfd7zXZ\x00" + b"x" * 100, "cannot be read"),
    ],
)
def test_other_content(content, match, tmp_path):
    path = tmp_path / "a.fits"
    path.write_bytes(content)
    with pytest.raises(ImageConversionError, match=match):
        to_rgb(path)


@pytest.mark.skipif(
    importlib.util.find_spec("uncompresspy") is not None, reason="it is installed"
)
def test_lzw_names_the_missing_package(tmp_path):
    path = tmp_path / "a.fits.Z"
    path.write_bytes(b"\x1f\x9d\x90" + b"x" * 100)
    with pytest.raises(
        ImageConversionError, match="install the package 'uncompresspy'"
    ):
        to_rgb(path)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no named pipes")
def test_pipes_and_directories_do_not_hang(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path / "pipe", tmp_path):
        with pytest.raises(ImageConversionError, match="no such file"):
            to_rgb(path)


def test_many_hdus(tmp_path):
    path = tmp_path / "a.fits"
    IMAGE.writeto(path)
    extension = fits.ImageHDU(name="X").header.tostring().encode()
    with path.open("ab") as stream:
        stream.write(extension * 5000)
    assert to_rgb(path).shape == (20, 30, 3)


# not ru_maxrss, which begins with the peak of the parent
MEASURE = """
import re, sys
from pathlib import Path
import numpy as np
from paperclip.imaging import to_rgb
to_rgb(np.arange(400.0).reshape(20, 20))
import astropy.wcs, astropy.io.fits
def peak():
    return int(re.search(r"VmHWM:\\s+(\\d+)", Path("/proc/self/status").read_text())[1])
before = peak()
rgb = to_rgb(sys.argv[1])
print((peak() - before) / 1024, rgb.shape)
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="needs /proc")
@pytest.mark.parametrize("kind", ["float32", "int16 with BZERO", "RICE"])
def test_memory_of_a_large_mosaic(kind, tmp_path):
    path = tmp_path / "mosaic.fits"
    side = 10_000 if kind == "float32" else 6_000
    rows = np.random.default_rng(0).normal(100, 5, (100, side))
    if kind == "RICE":
        data = np.tile(rows.astype(np.int16), (side // 100, 1))
        hdu = fits.CompImageHDU(data, compression_type="RICE_1")
        fits.HDUList([fits.PrimaryHDU(), hdu]).writeto(path)
    else:
        dtype, bits = (">f4", -32) if kind == "float32" else (">i2", 16)
        header = fits.Header({"SIMPLE": True, "BITPIX": bits, "NAXIS": 2})
        header["NAXIS1"] = header["NAXIS2"] = side
        if bits == 16:
            header["BSCALE"], header["BZERO"] = 1.0, 32768.0
        with path.open("wb") as stream:
            stream.write(header.tostring().encode())
            for _ in range(side // 100):
                stream.write(rows.astype(dtype).tobytes())
            stream.write(bytes(-stream.tell() % 2880))
    out = subprocess.run(
        [sys.executable, "-c", MEASURE, path],
        capture_output=True,
        text=True,
        check=True,
    )
    extra = float(out.stdout.split()[0])
    assert extra < 300


@pytest.mark.shared_data
def test_every_real_file_gives_a_picture_or_our_error():
    folder = require_shared_data("fits")
    files = [p for p in folder.rglob("*") if p.is_file() and p.suffix != ".csv"]
    pictures = set()
    for path in files:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            try:
                rgb = to_rgb(path)
            except PaperclipError:
                continue
        assert rgb.dtype == np.uint8
        pictures.add(path.name)
    assert len(pictures) >= 35
    assert "HorseHead.fits" in pictures
    assert "WFPC2u5780205r_c0fx.fits" in pictures
    assert "zerowidth.fits" not in pictures
