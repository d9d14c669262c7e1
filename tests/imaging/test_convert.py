# Licensed under a 3-clause BSD style license - see LICENSE.rst
import bz2
import gzip

import astropy.units as u
import numpy as np
import pytest
from astropy.io import fits
from astropy.nddata import CCDData, NDData
from astropy.utils.masked import Masked
from astropy.visualization import AsinhStretch
from astropy.wcs import WCS
from numpy.testing import assert_allclose, assert_array_equal
from PIL import Image

from paperclip.exceptions import ImageConversionError, InvalidQueryError
from paperclip.imaging import ImageConversion, load_picture, to_rgb


def noise(shape=(48, 64), seed=0):
    return np.random.default_rng(seed).normal(100, 5, shape).astype(np.float32)


def sky_header(header, scale=1e-5):
    header["CTYPE1"], header["CTYPE2"] = "RA---TAN", "DEC--TAN"
    header["CRVAL1"], header["CRVAL2"] = 150.0, 2.0
    header["CRPIX1"], header["CRPIX2"] = 20.0, 10.0
    header["CDELT1"], header["CDELT2"] = -scale, scale
    return header


@pytest.fixture
def corner():
    """An image with one bright pixel at the bottom left in FITS terms."""
    data = noise()
    data[0, 0] = 1e4
    return data


# ---- orientation and levels


def test_fits_bottom_left_is_bottom_left_of_the_picture(corner, tmp_path):
    path = tmp_path / "a.fits"
    fits.PrimaryHDU(corner).writeto(path)
    for source in (corner, path, str(path), fits.PrimaryHDU(corner)):
        rgb = to_rgb(source)
        assert rgb.shape == (48, 64, 3)
        assert rgb.dtype == np.uint8
        assert_array_equal(rgb[-1, 0], [255, 255, 255])
        assert (rgb[:-1, 0] < 255).all()


def test_levels_follow_the_recipe_of_the_archive():
    data = noise()
    data[10:14, 10:14] = 160
    low, median, high = np.percentile(data, [0.5, 50, 99.5])
    high = max(high, median + 5 * (median - low))
    top = np.sinh(0.7 * 3) / 3  # where asinh(3 x) / 3 reaches 0.7
    x = np.clip((data - low) / (high - low) / top, 0, 1)
    expected = 255 * AsinhStretch(1 / (3 * top))(x)
    assert_allclose(to_rgb(data)[::-1, :, 0], expected, atol=0.51)


def test_pure_noise_stays_dark():
    levels = to_rgb(noise((256, 256)))
    assert 50 < np.median(levels) < 66  # 58 in the previews of empty fields
    assert np.median(to_rgb(noise((256, 256)), noise_range=0)) > 110


@pytest.mark.parametrize("value", [0, -3.5, 1e30, 7])
def test_constant_image_is_black(value):
    assert not to_rgb(np.full((9, 9), value)).any()


def test_few_photons_are_seen():
    data = np.zeros((64, 64), np.int16)
    data[5, 6], data[40, 2] = 1, 3
    assert to_rgb(data)[63 - 40, 2, 0] > 200


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_blank_pixels_have_the_blank_level(bad):
    data = noise()
    data[:20] = bad
    rgb = to_rgb(data, blank=9)
    assert_array_equal(rgb[28:], 9)
    assert (rgb[:28] != 9).any()
    assert not to_rgb(data)[28:].any()


@pytest.mark.parametrize(
    "dtype", [">f4", "<f8", ">i2", "u1", "u2", "i4", ">i8", "u8", "f2", "?"]
)
def test_number_types(dtype):
    data = np.zeros((16, 16))
    data[2, 3] = 1
    rgb = to_rgb(data.astype(dtype))
    assert rgb[13, 3, 0] > 200
    assert rgb.astype(bool).sum() == 3


def test_extreme_values_do_not_overflow():
    data = np.zeros((16, 16))
    data[:, 3:] = 1e300
    data[:, 6:] = -1e300
    rgb = to_rgb(data)
    assert rgb.dtype == np.uint8
    data = np.linspace(0, 1e-40, 256).reshape(16, 16)
    assert to_rgb(data, noise_range=0).max() > 200


# ---- kinds of input


def test_masks_of_all_kinds_blank_pixels():
    data = noise()
    mask = np.zeros(data.shape, bool)
    mask[:12] = True
    sources = [
        np.ma.MaskedArray(data, mask),
        Masked(data, mask),
        NDData(data, mask=mask),
        CCDData(data, mask=mask, unit="adu"),
        Masked(data, mask) * u.Jy,
    ]
    for source in sources:
        assert not to_rgb(source)[-12:].any()
        assert to_rgb(source)[:-12].any()


def test_quantity_and_degenerate_axes():
    data = noise()
    assert_array_equal(to_rgb(data * u.Jy), to_rgb(data))
    assert_array_equal(to_rgb(data[np.newaxis, np.newaxis]), to_rgb(data))
    assert_array_equal(to_rgb(fits.PrimaryHDU(data[np.newaxis])), to_rgb(data))


def test_ready_pictures_are_left_alone():
    levels = np.random.default_rng(1).integers(0, 256, (30, 20, 3)).astype(np.uint8)
    assert_array_equal(to_rgb(levels), levels)
    assert_array_equal(to_rgb(Image.fromarray(levels)), levels)
    clear = np.dstack([levels, np.zeros((30, 20), np.uint8)])
    assert not to_rgb(clear).any()


def test_preview_file(tmp_path):
    levels = np.random.default_rng(1).integers(0, 256, (30, 20, 3)).astype(np.uint8)
    Image.fromarray(levels).save(tmp_path / "a.png")
    picture = load_picture(tmp_path / "a.png")
    assert_array_equal(picture.rgb, levels)
    assert picture.wcs is None
    assert picture.pixel_to_world(1, 1) is None
    assert picture.footprint() is None


@pytest.mark.parametrize("pack", [gzip.compress, bz2.compress])
def test_compressed_files(pack, tmp_path, corner):
    plain = tmp_path / "a.fits"
    fits.PrimaryHDU(corner).writeto(plain)
    packed = tmp_path / "a.fits.packed"
    packed.write_bytes(pack(plain.read_bytes()))
    assert_array_equal(to_rgb(packed), to_rgb(plain))


def test_scaled_integers(tmp_path):
    data = noise()
    raw = np.round(data * 10).astype(np.int16)
    hdu = fits.PrimaryHDU(raw)
    hdu.header["BSCALE"], hdu.header["BZERO"], hdu.header["BLANK"] = 0.1, 5.0, -99
    raw[0, :] = -99
    path = tmp_path / "a.fits"
    hdu.writeto(path)
    with fits.open(path) as hdus:
        expected = to_rgb(np.asarray(hdus[0].data))
    assert_array_equal(to_rgb(path), expected)
    assert not to_rgb(path)[-1].any()


def test_unsigned_integers(tmp_path):
    data = np.round(noise() + 40000).astype(np.uint16)
    fits.PrimaryHDU(data).writeto(tmp_path / "a.fits")
    assert_array_equal(to_rgb(tmp_path / "a.fits"), to_rgb(data))


@pytest.mark.parametrize("kind", ["RICE_1", "GZIP_2", "HCOMPRESS_1"])
def test_tile_compressed(kind, tmp_path):
    data = np.round(noise((64, 80))).astype(np.int16)
    tile = (16, 80) if kind == "HCOMPRESS_1" else (1, 80)
    hdu = fits.CompImageHDU(data, compression_type=kind, tile_shape=tile, name="SCI")
    path = tmp_path / "a.fits.fz"
    fits.HDUList([fits.PrimaryHDU(), hdu]).writeto(path)
    assert_array_equal(to_rgb(path, max_size=30), to_rgb(data, max_size=30))


def test_open_hdus_of_the_user(tmp_path, corner):
    path = tmp_path / "a.fits"
    fits.HDUList([fits.PrimaryHDU(), fits.ImageHDU(corner, name="SCI")]).writeto(path)
    expected = to_rgb(path)
    with fits.open(path) as hdus:
        assert_array_equal(to_rgb(hdus), expected)
        assert_array_equal(to_rgb(hdus["SCI"]), expected)
    with fits.open(path, memmap=False) as hdus:
        assert_array_equal(to_rgb(hdus["SCI"]), expected)
    with pytest.raises(ImageConversionError, match="cannot be read"):
        to_rgb(hdus["SCI"])  # closed meanwhile


@pytest.mark.parametrize(
    ("source", "error", "match"),
    [
        (np.zeros(30), ImageConversionError, r"shape \(30,\)"),
        (np.zeros((3, 30, 30)), ImageConversionError, "choose a plane with plane="),
        (np.zeros((4, 40)), ImageConversionError, "at least 8 pixels"),
        (np.zeros((0, 40)), ImageConversionError, "at least 8 pixels"),
        (np.full((9, 9), np.nan), ImageConversionError, "none of the 9 x 9 pixels"),
        (np.zeros((9, 9), complex), ImageConversionError, "needs real numbers"),
        (np.full((9, 9), "x"), ImageConversionError, "needs real numbers"),
        (np.zeros((9, 9), object), ImageConversionError, "needs real numbers"),
        (None, ImageConversionError, "needs real numbers"),
        (3.5, ImageConversionError, r"shape \(\)"),
        (b"abc", ImageConversionError, "needs real numbers"),
        ("no-such-file.fits", ImageConversionError, "no such file"),
        ("\0", ImageConversionError, "no such file|cannot be read"),
        ("", ImageConversionError, "no such file"),
        ([1, 2], InvalidQueryError, "must be red, green and blue, got 2 items"),
        ({}, InvalidQueryError, "mapping of filters to images is empty"),
        (fits.HDUList(), ImageConversionError, "holds no HDU"),
        (fits.PrimaryHDU(), ImageConversionError, "It holds: 0 'PRIMARY',1 PrimaryHDU"),
    ],
)
def test_unusable_input(source, error, match):
    with pytest.raises(error, match=match):
        to_rgb(source)


def test_absurdly_large_array():
    with pytest.raises(ImageConversionError, match="more than 4294967296 pixels"):
        to_rgb(np.broadcast_to(np.float32(0), (10**6, 10**6)))


def test_plane_of_an_array():
    data = noise((3, 20, 30))
    assert_array_equal(to_rgb(data, plane=-1), to_rgb(data[2]))
    with pytest.raises(InvalidQueryError, match=r"plane must be a position.*got 3"):
        to_rgb(data, plane=3)
    with pytest.raises(InvalidQueryError, match=r"got \(0, 1\)"):
        to_rgb(data, plane=(0, 1))
    with pytest.raises(InvalidQueryError, match="hdu= applies to files"):
        to_rgb(data, hdu=1)


# ---- reduction, coordinates, facts


def test_large_image_is_averaged_over_blocks():
    data = noise((100, 130))
    picture = load_picture(data, max_size=50)
    assert picture.rgb.shape == (34, 44, 3)
    assert picture.meta["factor"] == 3
    padded = np.full((102, 132), np.nan)
    padded[:100, :130] = data
    means = np.nanmean(padded.reshape(34, 3, 44, 3), axis=(1, 3))
    assert_array_equal(picture.rgb, to_rgb(means))


@pytest.mark.parametrize("form", ["CD", "CDELT", "SIP"])
def test_coordinates_survive_the_reduction(form):
    hdu = fits.PrimaryHDU(noise((100, 120)))
    header = sky_header(hdu.header)
    if form != "CDELT":
        del header["CDELT1"], header["CDELT2"]
        header["CD1_1"], header["CD1_2"] = -8e-6, 3e-6
        header["CD2_1"], header["CD2_2"] = 3e-6, 8e-6
    if form == "SIP":
        header["CTYPE1"], header["CTYPE2"] = "RA---TAN-SIP", "DEC--TAN-SIP"
        header["A_ORDER"], header["B_ORDER"] = 2, 3
        header["A_2_0"], header["A_1_1"] = 1e-4, 2e-4
        header["B_0_2"], header["B_0_3"] = -1e-4, 1e-6
    picture = load_picture(hdu, max_size=30)
    assert picture.meta["factor"] == 4
    # the middle of the block of columns 40 to 43 and rows 80 to 83
    expected = WCS(header).pixel_to_world(41.5, 81.5)
    found = picture.pixel_to_world(10, picture.rgb.shape[0] - 1 - 20)
    assert found.separation(expected) < 1 * u.mas
    corners = picture.footprint()
    assert corners[0].separation(WCS(header).pixel_to_world(-0.5, -0.5)) < 1 * u.mas
    assert corners[2].separation(WCS(header).pixel_to_world(119.5, 99.5)) < 1 * u.mas


def test_coordinates_of_nddata():
    wcs = WCS(sky_header(fits.Header()))
    picture = load_picture(CCDData(noise(), unit="adu", wcs=wcs), max_size=32)
    found = picture.pixel_to_world(0, picture.rgb.shape[0] - 1)
    assert found.separation(wcs.pixel_to_world(0.5, 0.5)) < 1 * u.mas
    assert wcs.wcs.crpix[0] == 20  # the caller's object is not changed


@pytest.mark.parametrize(
    "cards",
    [
        {"CTYPE1": "RA---XXX"},
        {"CRVAL1": "abc"},
        {"CDELT1": 0.0},
        {"CTYPE1": "LINEAR"},
        {"CRPIX1": 1e300},
    ],
)
def test_unusable_coordinates_are_none(cards):
    hdu = fits.PrimaryHDU(noise())
    sky_header(hdu.header).update(cards)
    picture = load_picture(hdu)
    assert picture.wcs is None
    assert picture.rgb.any()


def test_facts_from_the_headers(tmp_path):
    primary = fits.PrimaryHDU()
    primary.header["TELESCOP"], primary.header["INSTRUME"] = "HST", "ACS"
    primary.header["TARGNAME"], primary.header["PROPOSID"] = "M51", 10452
    primary.header["FILTER1"], primary.header["FILTER2"] = "CLEAR1S", "F814W"
    path = tmp_path / "m51.fits"
    fits.HDUList([primary, fits.ImageHDU(noise(), name="SCI")]).writeto(path)
    meta = load_picture(path, blank=3).meta
    assert meta["file"] == str(path)
    assert (meta["hdu"], meta["hdu_index"], meta["factor"]) == ("SCI,1", 1, 1)
    assert (meta["target"], meta["filters"]) == ("M51", "F814W")
    assert (meta["telescope"], meta["instrument"]) == ("HST", "ACS")
    assert meta["proposal_id"] == "10452"
    assert meta["conversion"]["blank"] == 3
    assert meta["fingerprint"] == ImageConversion(blank=3).fingerprint


def test_warnings_of_readers_are_kept_as_facts(tmp_path):
    path = tmp_path / "a.fits"
    fits.HDUList([fits.PrimaryHDU(noise())]).writeto(path)
    with path.open("ab") as stream:
        stream.write(b"x" * 5000)
    picture = load_picture(path)
    assert picture.rgb.any()
