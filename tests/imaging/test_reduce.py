# Licensed under a 3-clause BSD style license - see LICENSE.rst
import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from paperclip.imaging.reduce import (
    Layer,
    array_layer,
    block_mean,
    fill_holes,
    reduction_factor,
)


def reference(data, factor):
    """Average over blocks in the slow and obvious way."""
    ny, nx = data.shape
    out = np.full((-(-ny // factor), -(-nx // factor)), np.nan)
    for j in range(out.shape[0]):
        for i in range(out.shape[1]):
            block = data[j * factor : (j + 1) * factor, i * factor : (i + 1) * factor]
            block = block[np.isfinite(block)]
            if block.size:
                out[j, i] = block.astype(np.float64).mean()
    return out


@pytest.mark.parametrize("factor", [1, 2, 3, 7, 300])
@pytest.mark.parametrize("dtype", [">f4", "f8", ">i2", "u1", "?", ">i8"])
def test_block_mean(factor, dtype):
    data = np.random.default_rng(0).normal(50, 20, (101, 67)).astype(dtype)
    means = block_mean(array_layer(data), factor)
    assert means.dtype == np.float32
    assert_allclose(means, reference(data, factor), rtol=2e-5)


@pytest.mark.parametrize("factor", [1, 2, 3, 7, 300])
def test_blank_pixels_are_left_out(factor):
    rng = np.random.default_rng(1)
    data = rng.normal(50, 20, (101, 67)).astype(np.float32)
    data[rng.random(data.shape) < 0.3] = np.nan
    data[40:60, 20:50] = np.inf
    data[0, 0] = -np.inf
    original = data.copy()
    assert_allclose(
        block_mean(array_layer(data), factor), reference(data, factor), rtol=2e-5
    )
    assert_array_equal(data, original)  # the caller's array is not changed


def test_sums_that_overflow():
    data = np.full((64, 64), 3e38, np.float32)
    assert_allclose(block_mean(array_layer(data), 4), np.float32(3e38))
    data[3, 3] = np.nan
    assert_allclose(block_mean(array_layer(data), 4), np.float32(3e38))
    assert np.isnan(block_mean(array_layer(np.full((8, 8), 1e300)), 2)).all()


def test_two_threads_give_the_same_as_one():
    data = np.random.default_rng(0).normal(size=(1500, 1501)).astype(">f4")
    rows = array_layer(data).rows
    alone = block_mean(Layer(data.shape, rows, parallel=False), 5)
    assert_array_equal(block_mean(Layer(data.shape, rows), 5), alone)


def test_errors_in_the_second_thread_are_raised():
    def rows(y0, y1):
        if y0 > 1000:
            raise OSError("disk gone")
        return np.zeros((y1 - y0, 1500), np.float32)

    with pytest.raises(OSError, match="disk gone"):
        block_mean(Layer((1500, 1500), rows), 2)


def test_bands_follow_the_tiles_of_the_source():
    starts = []

    def rows(y0, y1):
        starts.append((y0, y1))
        return np.zeros((y1 - y0, 3000), np.float32)

    layer = Layer((3000, 3000), rows, parallel=False, step=100)
    assert block_mean(layer, 3).shape == (1000, 1000)
    assert all(y0 % 300 == 0 for y0, _ in starts)
    assert sum(y1 - y0 for y0, y1 in starts) == 3000


@pytest.mark.parametrize(
    ("shape", "size", "factor"),
    [
        ((10, 20), 1024, 1),
        ((1024, 1024), 1024, 1),
        ((1025, 9), 1024, 2),
        ((9, 99), 10, 10),
    ],
)
def test_reduction_factor(shape, size, factor):
    assert reduction_factor(shape, size) == factor


def test_holes_are_filled_and_borders_stay():
    image = np.ones((20, 20), np.float32)
    image[:, :4] = np.nan  # a border
    image[10, 10] = image[12:14, 12] = np.nan  # holes
    image[0, 19] = np.nan  # a corner
    filled = fill_holes(image.copy(), 2)
    assert np.isnan(filled[:, :4]).all()
    assert np.isnan(filled[0, 19])
    assert np.isnan(filled).sum() == 81
    assert_array_equal(fill_holes(image.copy(), 0), image)
