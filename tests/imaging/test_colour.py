# Licensed under a 3-clause BSD style license - see LICENSE.rst
import numpy as np
import pytest
from astropy.io import fits
from numpy.testing import assert_array_equal

from paperclip.exceptions import (
    ImageConversionError,
    ImageConversionWarning,
    InvalidQueryError,
)
from paperclip.imaging import load_picture, to_rgb
from paperclip.imaging.colour import filter_wavelength, group_by_wavelength


def field(x, y, shape=(48, 64), seed=0):
    data = np.random.default_rng(seed).normal(10, 1, shape).astype(np.float32)
    data[y - 2 : y + 3, x - 2 : x + 3] += 200
    return data


@pytest.mark.parametrize(
    ("name", "instrument", "micron"),
    [
        ("F606W", "", 0.606),
        ("F814W", "ACS", 0.814),
        ("F160W", "", 1.6),
        ("F090W", "", 0.9),
        ("F444W", "", 4.44),
        ("F2550W", "", 25.5),
        ("F1042M", "WFPC2", 1.042),
        ("F410M", "", 4.1),
        ("F410M", "WFC3", 0.41),
        ("F140LP", "", 0.14),
        ("F850LP", "", 0.85),
        ("F770W", "MIRI", 7.7),
        ("F165LP", "ACS", 0.165),
        ("ACS/WFC F555W", "", 0.555),
        ("g", "", 0.475),
        ("i'", "", 0.763),
        ("Ks", "", 2.16),
        ("656 nm", "", 0.656),
        ("3.6um", "", 3.6),
        ("Halpha", "", 0.656),
        ("nonsense", "", None),
        ("", "", None),
    ],
)
def test_filter_wavelength(name, instrument, micron):
    found = filter_wavelength(name, instrument=instrument)
    assert found == (None if micron is None else pytest.approx(micron))


def test_groups():
    def names(*filters):
        groups = group_by_wavelength(filters, [""] * len(filters))
        return [[filters[i] for i in group] for group in groups]

    assert names("F444W", "F090W", "F200W") == [["F444W"], ["F200W"], ["F090W"]]
    assert names("F814W", "F606W") == [["F814W"], ["F606W", "F814W"], ["F606W"]]
    assert names("V") == [["V"]] * 3
    six = names("F090W", "F115W", "F150W", "F200W", "F277W", "F444W")
    assert six == [["F277W", "F444W"], ["F150W", "F200W"], ["F090W", "F115W"]]


@pytest.mark.parametrize(
    ("names", "match"),
    [
        (("F606W", "blue"), r"no wavelength is known for \['blue'\]"),
        (("F606W", "f606w", "V"), "two are equal"),
    ],
)
def test_filters_without_order(names, match):
    with pytest.raises(InvalidQueryError, match=match):
        to_rgb({name: field(9, 9) for name in names})


def test_three_images_are_red_green_blue():
    images = [field(10, 10), field(30, 20, seed=1), field(50, 30, seed=2)]
    rgb = to_rgb(images)
    for channel, (x, y) in enumerate(((10, 10), (30, 20), (50, 30))):
        pixel = rgb[47 - y, x]
        assert pixel.argmax() == channel
        assert pixel[channel] > 2 * np.delete(pixel, channel).max()


def test_mapping_is_ordered_by_wavelength():
    images = {"F090W": field(10, 10), "F444W": field(30, 20), "F200W": field(50, 30)}
    expected = to_rgb([images["F444W"], images["F200W"], images["F090W"]])
    picture = load_picture(images)
    assert_array_equal(picture.rgb, expected)
    assert picture.meta["channels"]["red"] == ["F444W"]


def test_instrument_in_the_header_settles_the_unit():
    def hdu(x, instrument):
        item = fits.PrimaryHDU(field(x, 10))
        item.header["INSTRUME"] = instrument
        return item

    # 0.41 micron of WFC3 is bluer than 0.606, 4.1 micron of NIRCam is redder
    blue = to_rgb({"F410M": hdu(10, "WFC3"), "F606W": hdu(40, "WFC3")})
    assert blue[37, 10].argmax() == 2
    red = to_rgb({"F410M": hdu(10, "NIRCAM"), "F606W": hdu(40, "ACS")})
    assert red[37, 10].argmax() == 0


def test_equal_channels_give_the_grey_picture():
    data = field(20, 20)
    data[:5] = np.nan
    difference = np.abs(to_rgb([data] * 3).astype(int) - to_rgb(data))
    assert difference.max() <= 1


def test_one_filter_and_blank_pixels():
    data = field(20, 20)
    data[:10, :10] = np.nan
    rgb = to_rgb({"F606W": data}, blank=40, fill_holes=0)
    assert_array_equal(rgb[-10:, :10], 40)
    half = to_rgb([data, field(20, 20), field(20, 20)], fill_holes=0)
    assert not half[-10:, :10, 0].any()
    assert half[-10:, :10, 1:].any()


def test_constant_channel_is_black():
    rgb = to_rgb([np.ones((48, 64)), field(20, 20), field(20, 20)])
    assert not rgb[..., 0].any()
    assert rgb[..., 1].any()


def test_shapes_by_an_integer_factor():
    small = field(20, 20)
    large = np.kron(field(20, 20), np.ones((2, 2)))
    assert_array_equal(to_rgb([small, large, small]), to_rgb([small] * 3))


def test_other_shapes():
    match = r"red 48 x 64, green 48 x 65, blue 48 x 64.*reproject"
    with pytest.raises(ImageConversionError, match=match):
        to_rgb([field(9, 9), field(9, 9, (48, 65)), field(9, 9)])


def test_pictures_cannot_be_channels():
    picture = np.zeros((9, 9, 3), np.uint8)
    with pytest.raises(ImageConversionError, match="not pictures"):
        to_rgb([picture] * 3)


def test_misaligned_channels_are_reported():
    hdus = []
    for i in range(3):
        hdu = fits.PrimaryHDU(field(20, 20))
        hdu.header.update({"CTYPE1": "RA---TAN", "CTYPE2": "DEC--TAN"})
        hdu.header.update({"CDELT1": -1e-5, "CDELT2": 1e-5, "CRPIX1": 10.0 + 8 * i})
        hdus.append(hdu)
    with pytest.warns(ImageConversionWarning, match=r"8\.0 pixels apart"):
        picture = load_picture(hdus)
    assert picture.wcs is not None
