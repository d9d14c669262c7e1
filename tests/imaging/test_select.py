# Licensed under a 3-clause BSD style license - see LICENSE.rst
import astropy.units as u
import numpy as np
import pytest
from astropy.io import fits
from astropy.wcs import WCS
from numpy.testing import assert_array_equal

from paperclip.exceptions import (
    ImageConversionError,
    ImageConversionWarning,
    InvalidQueryError,
)
from paperclip.imaging import load_picture, to_rgb


def noise(shape=(40, 60), seed=0):
    return np.random.default_rng(seed).normal(100, 5, shape).astype(np.float32)


def exposure(telescope="HST", instrument="ACS", versions=(1,), shape=(40, 60)):
    primary = fits.PrimaryHDU()
    primary.header["TELESCOP"], primary.header["INSTRUME"] = telescope, instrument
    hdus = [primary]
    for version in versions:
        data = noise(shape, seed=version)
        hdus += [
            fits.ImageHDU(data, name="SCI", ver=version),
            fits.ImageHDU(data / 10, name="ERR", ver=version),
            fits.ImageHDU(np.zeros(shape, np.int16), name="DQ", ver=version),
        ]
    return fits.HDUList(hdus)


# ---- which HDU


def test_science_extension_comes_first():
    hdus = exposure()
    hdus.insert(1, fits.ImageHDU(noise(seed=9), name="OTHER"))
    assert_array_equal(to_rgb(hdus), to_rgb(noise(seed=1)))


def test_primary_image_then_first_extension():
    hdus = fits.HDUList([fits.PrimaryHDU(noise()), fits.ImageHDU(noise(seed=1))])
    assert_array_equal(to_rgb(hdus), to_rgb(noise()))
    hdus = fits.HDUList([fits.PrimaryHDU(), fits.ImageHDU(noise(seed=1))])
    assert_array_equal(to_rgb(hdus), to_rgb(noise(seed=1)))


@pytest.mark.parametrize("hdu", [2, -2, "ERR", "err", ("ERR", 1)])
def test_explicit_hdu(hdu):
    assert_array_equal(to_rgb(exposure(), hdu=hdu), to_rgb(noise(seed=1) / 10))


@pytest.mark.parametrize("hdu", [9, "NONE", ("SCI", 7), 1.5, (), True, ("a", "b", "c")])
def test_hdu_that_is_not_there(hdu):
    with pytest.raises(InvalidQueryError, match=r"hdu must be .* 1 'SCI',1 ImageHDU"):
        to_rgb(exposure(), hdu=hdu)


def test_hdu_without_image():
    with pytest.raises(ImageConversionError, match="HDU 0 is no image"):
        to_rgb(exposure(), hdu=0)


def test_repeated_exposures_show_the_first_of_the_largest():
    hdus = exposure(instrument="STIS", versions=(1, 2))
    hdus.insert(1, fits.ImageHDU(noise((10, 10)), name="SCI", ver=3))
    picture = load_picture(hdus)
    assert picture.meta["hdu"] == "SCI,1"
    assert picture.rgb.shape == (40, 60, 3)


def test_table_lists_what_the_file_holds():
    table = fits.BinTableHDU.from_columns([fits.Column("a", "E", array=[1.0])])
    match = r"no image.*0 'PRIMARY',1 PrimaryHDU; 1 '',1 BinTableHDU"
    with pytest.raises(ImageConversionError, match=match):
        to_rgb(fits.HDUList([fits.PrimaryHDU(), table]))
    with pytest.raises(ImageConversionError, match="no image"):
        to_rgb(table)


def test_distortion_tables_are_not_images():
    hdus = [fits.PrimaryHDU(), fits.ImageHDU(noise(), name="D2IMARR")]
    with pytest.raises(ImageConversionError, match="no image"):
        to_rgb(fits.HDUList(hdus))


@pytest.mark.parametrize("shape", [(1, 1), (7, 100), (30,), (0, 9)])
def test_too_small(shape):
    hdus = [fits.PrimaryHDU(), fits.ImageHDU(np.ones(shape, np.float32), name="SCI")]
    with pytest.raises(ImageConversionError, match="no image of at least 8 x 8"):
        to_rgb(fits.HDUList(hdus))


# ---- spectra and cubes


@pytest.mark.parametrize(
    ("where", "cards", "match"),
    [
        (0, {"EXP_TYPE": "NRS_MSASPEC"}, "EXP_TYPE is NRS_MSASPEC"),
        (0, {"OBSTYPE": "SPECTROSCOPIC"}, "OBSTYPE is SPECTROSCOPIC"),
        (1, {"CTYPE1": "WAVE"}, "first axis is WAVE"),
        (1, {"DISPAXIS": 1}, "dispersion axis"),
        (2, {"EXTNAME": "WAVELENGTH"}, "extension WAVELENGTH"),
    ],
)
def test_spectra(where, cards, match):
    hdus = exposure()
    hdus[where].header.update(cards)
    with pytest.raises(ImageConversionError, match=f"holds spectra.*{match}"):
        to_rgb(hdus)
    assert_array_equal(to_rgb(hdus, hdu=1), to_rgb(noise(seed=1)))


def test_imaging_with_a_dispersion_keyword_is_an_image():
    hdus = exposure()
    hdus[1].header.update({"DISPAXIS": 1, "CTYPE1": "RA---TAN", "CTYPE2": "DEC--TAN"})
    assert to_rgb(hdus).any()


def test_plane_of_a_cube(tmp_path):
    cube = noise((2, 3, 40, 60))
    path = tmp_path / "cube.fits"
    fits.PrimaryHDU(cube).writeto(path)
    with pytest.raises(
        ImageConversionError, match=r"\(2, 3, 40, 60\).*plane=.*first 2"
    ):
        to_rgb(path)
    assert_array_equal(to_rgb(path, plane=(1, -1)), to_rgb(cube[1, 2]))
    with pytest.raises(InvalidQueryError, match=r"plane must be .* got \(0, 9\)"):
        to_rgb(path, plane=(0, 9))
    with pytest.raises(InvalidQueryError, match="got 1"):
        to_rgb(path, plane=1)


def test_plane_skips_axes_of_length_one():
    cube = noise((3, 40, 60))
    hdu = fits.PrimaryHDU(cube[:, np.newaxis])
    assert_array_equal(to_rgb(hdu, plane=2), to_rgb(cube[2]))
    assert_array_equal(to_rgb(fits.PrimaryHDU(cube[:1])), to_rgb(cube[0]))


# ---- data quality


def test_lost_pixels_of_hst_are_left_out():
    hdus = exposure()
    hdus["SCI"].data[:, :10] = 1e6
    hdus["DQ"].data[:, :10] = 4
    rgb = to_rgb(hdus)
    assert not rgb[:, :10].any()
    assert 40 < np.median(rgb[:, 10:]) < 80
    assert to_rgb(hdus, use_dq=False)[:, :10].min() > 200


def test_saturated_and_cosmic_ray_pixels_of_hst_stay():
    hdus = exposure()
    hdus["SCI"].data[10, 10] = 1e5
    hdus["DQ"].data[:] = 256 | 4096 | 16
    assert_array_equal(to_rgb(hdus), to_rgb(hdus, use_dq=False))


def test_do_not_use_of_jwst():
    hdus = exposure("JWST", "NIRCAM")
    hdus["DQ"].data[:, :10] = 1
    hdus["DQ"].data[:, 10:20] = 3  # saturated as well: the core of a star
    rgb = to_rgb(hdus)
    assert not rgb[:, :10].any()
    assert rgb[:, 10:20].any()


def test_small_holes_do_not_blacken_the_picture():
    hdus = exposure(shape=(64, 64))
    rng = np.random.default_rng(3)
    hdus["DQ"].data[rng.random((64, 64)) < 0.02] = 4
    assert (to_rgb(hdus) > 0).mean() > 0.97  # noise itself has a few black pixels
    assert (to_rgb(hdus, max_size=32) > 0).mean() > 0.97


def test_quality_of_another_shape_is_reported():
    hdus = exposure()
    hdus["DQ"].data = np.zeros((5, 5), np.int16)
    with pytest.warns(ImageConversionWarning, match="DQ of shape 5 x 5 does not fit"):
        assert to_rgb(hdus).any()


def test_drizzled_border_without_weight_is_blank():
    primary = fits.PrimaryHDU()
    primary.header["TELESCOP"], primary.header["INSTRUME"] = "HST", "WFC3"
    weight = np.ones((40, 60), np.float32)
    weight[:, :15] = 0
    science = np.where(weight > 0, noise(), 0)
    hdus = [primary, fits.ImageHDU(science, name="SCI")]
    hdus.append(fits.ImageHDU(weight, name="WHT"))
    rgb = to_rgb(fits.HDUList(hdus), blank=200)
    assert_array_equal(rgb[:, :15], 200)


def test_everything_bad():
    hdus = exposure()
    hdus["DQ"].data[:] = 4
    with pytest.raises(ImageConversionError, match="none of the 40 x 60 pixels of SCI"):
        to_rgb(hdus)


# ---- chips


@pytest.mark.parametrize(("instrument", "gap"), [("ACS", 50), ("WFC3", 35)])
def test_two_chips_are_stacked_with_chip_1_on_top(instrument, gap):
    hdus = exposure(instrument=instrument, versions=(1, 2))
    hdus["SCI", 1].header["CCDCHIP"] = 2
    hdus["SCI", 2].header["CCDCHIP"] = 1
    hdus["SCI", 1].data[0, 0] = 1e5  # bottom left of the lower chip
    hdus["SCI", 2].data[-1, -1] = 1e5  # top right of the upper chip
    picture = load_picture(hdus)
    assert picture.rgb.shape == (80 + gap, 60, 3)
    assert (picture.rgb[-1, 0] == 255).all()
    assert (picture.rgb[0, -1] == 255).all()
    assert not picture.rgb[40 : 40 + gap].any()
    assert picture.meta["hdu"] == "SCI,1, SCI,2"
    assert picture.wcs is None


def chip_header(header, crpix, crval, matrix):
    header["CTYPE1"], header["CTYPE2"] = "RA---TAN", "DEC--TAN"
    header["CRPIX1"], header["CRPIX2"] = crpix
    header["CRVAL1"], header["CRVAL2"] = crval
    for i in (0, 1):
        for j in (0, 1):
            header[f"CD{i + 1}_{j + 1}"] = matrix[i][j]


def test_coordinates_of_stacked_chips():
    hdus = exposure(versions=(1, 2), shape=(100, 100))
    for version, chip, y in ((1, 2, 50.0), (2, 1, 50.0 - 150.0)):
        header = hdus["SCI", version].header
        header["CCDCHIP"] = chip
        chip_header(header, (50.0, y), (150.0, 2.0), [[-1e-5, 0], [0, 1e-5]])
    picture = load_picture(hdus)
    for version, row in ((1, 30), (2, 180)):
        wcs = WCS(hdus["SCI", version].header)
        expected = wcs.pixel_to_world(70, row if version == 1 else row - 150)
        found = picture.pixel_to_world(70, picture.rgb.shape[0] - 1 - row)
        assert found.separation(expected) < 1 * u.mas


def test_subarray_of_one_chip_is_not_stacked():
    hdus = exposure(versions=(1, 2))
    hdus["SCI", 1].header["CCDCHIP"] = hdus["SCI", 2].header["CCDCHIP"] = 1
    assert to_rgb(hdus).shape == (40, 60, 3)


# where the four chips of a real exposure (u2eh0101t, binned) lie on the sky
WFPC2 = {
    1: ((210.25, 212.5), (215.597167517, -12.7376058132),
        ((2.33019e-05, 9.85029e-06), (9.85462e-06, -2.32916e-05))),
    2: ((212.0, 207.25), (215.584896839, -12.7488294839),
        ((2.19546e-05, -5.0801e-05), (-5.07551e-05, -2.19745e-05))),
    3: ((218.25, 212.5), (215.576094823, -12.7298958814),
        ((-5.09059e-05, -2.16803e-05), (-2.17021e-05, 5.08548e-05))),
    4: ((211.75, 210.75), (215.596471707, -12.7215152867),
        ((-2.11922e-05, 5.11484e-05), (5.11022e-05, 2.12114e-05))),
}  # fmt: skip


def wfpc2():
    hdus = exposure(instrument="WFPC2", versions=(1, 2, 3, 4), shape=(400, 400))
    for version, (crpix, crval, matrix) in WFPC2.items():
        chip_header(hdus["SCI", version].header, crpix, crval, matrix)
    return hdus


def test_wfpc2_chips_surround_their_common_corner():
    hdus = wfpc2()
    picture = load_picture(hdus)
    size = picture.rgb.shape[0]
    assert picture.rgb.shape == (756, 756, 3)  # the shadow of the pyramid is left out
    half = size // 2
    corner = picture.rgb[: half // 2, half + half // 2 :]
    assert not corner.any()  # PC1 is smaller: the corner stays blank
    # stars go where the chips' own coordinates put them
    for version in (1, 2, 3, 4):
        wcs = WCS(hdus["SCI", version].header)
        for place in ((60, 60), (380, 60), (200, 330)):
            x, y = picture.wcs.world_to_pixel(wcs.pixel_to_world(*place))
            data = hdus["SCI", version].data
            before = data[
                place[1] - 2 : place[1] + 3, place[0] - 2 : place[0] + 3
            ].copy()
            data[place[1] - 2 : place[1] + 3, place[0] - 2 : place[0] + 3] = 1e5
            rgb = to_rgb(hdus)[..., 0]
            data[place[1] - 2 : place[1] + 3, place[0] - 2 : place[0] + 3] = before
            rows, columns = np.nonzero(rgb[::-1] == 255)
            found = rows.mean(), columns.mean()
            assert np.hypot(found[0] - y, found[1] - x) < 7


def test_wfpc2_cube_of_four_chips():
    cube = noise((4, 100, 100))
    hdu = fits.PrimaryHDU(cube)
    hdu.header["INSTRUME"] = "WFPC2"
    assert to_rgb(hdu).shape == (188, 188, 3)
    assert_array_equal(to_rgb(hdu, plane=2), to_rgb(cube[2]))


def test_three_chips_of_wfpc2_show_the_first():
    hdus = exposure(instrument="WFPC2", versions=(1, 2, 3))
    assert to_rgb(hdus).shape == (40, 60, 3)
