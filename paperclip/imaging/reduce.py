# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""Average large images over blocks while they are read, in bands of rows."""

import math
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np

__all__ = ["Layer", "array_layer", "block_mean", "fill_holes", "reduction_factor"]

_BAND_PIXELS = 1 << 18  # pixels of a band: it stays in the cache of a core
_SECTION_PIXELS = 1 << 22  # where each band costs astropy time of its own
_BLOCK_PIXELS = 1 << 24  # limit for sources that are stored in large tiles
_THREAD_PIXELS = 1 << 21  # smaller images are not worth a second thread


@dataclass(frozen=True, slots=True)
class Layer:
    """
    A two-dimensional image that can be read in bands of rows.

    Parameters
    ----------
    shape : tuple of int
        Rows and columns.
    rows : callable
        ``rows(y0, y1)`` returns the rows ``y0`` to ``y1`` (excluded) as an
        array of any real type; blank pixels are NaN or infinite.
    parallel : bool
        Whether ``rows`` may be called from two threads at once.
    step : int
        Rows that are stored together, as the height of a compressed tile.
    """

    shape: tuple[int, int]
    rows: Callable
    parallel: bool = True
    step: int = 1


def array_layer(array, *, mask=None):
    """
    Return a layer over an array in memory or in a memory map.

    Parameters
    ----------
    array : `~numpy.ndarray`, shape (ny, nx)
        Real values of any type and byte order.
    mask : `~numpy.ndarray` of bool, shape (ny, nx), optional
        True where a pixel is blank.

    Returns
    -------
    layer : Layer
        The layer; nothing is read yet.
    """
    if mask is None:
        return Layer(array.shape, lambda y0, y1: array[y0:y1])
    return Layer(array.shape, lambda y0, y1: blank_where(array[y0:y1], mask[y0:y1]))


def blank_where(band, bad):
    """
    Return a band whose bad pixels are NaN.

    Parameters
    ----------
    band : `~numpy.ndarray`
        Values of any real type.
    bad : `~numpy.ndarray` of bool
        True where a pixel is bad.

    Returns
    -------
    band : `~numpy.ndarray`
        The same array if nothing is bad, else a floating-point copy.
    """
    if not bad.any():
        return band
    band = band.astype(_work_type(band.dtype))
    band[bad] = np.nan
    return band


def _work_type(dtype):
    """Return the type that sums of pixels of a type are taken in."""
    exact = dtype.kind == "b" or (dtype.kind in "iu" and dtype.itemsize <= 2)
    if exact or (dtype.kind == "f" and dtype.itemsize <= 4):
        return np.float32
    return np.float64


def reduction_factor(shape, max_size):
    """
    Return the side of the square blocks that bring an image to size.

    Parameters
    ----------
    shape : tuple of int
        Rows and columns of the image.
    max_size : int
        Largest side of the result.

    Returns
    -------
    factor : int
        At least 1.
    """
    return max(1, math.ceil(max(shape) / max_size))


def block_mean(layer, factor):
    """
    Average an image over square blocks, leaving out blank pixels.

    Parameters
    ----------
    layer : Layer
        Image of shape (ny, nx).
    factor : int
        Side of the blocks in pixels. Blocks that stick out at the last row or
        column are averaged over what they hold.

    Returns
    -------
    image : `~numpy.ndarray`, shape (ceil(ny / factor), ceil(nx / factor))
        Means as float32, NaN where no pixel of a block is finite.
    """
    ny, nx = layer.shape
    out = np.empty((-(-ny // factor), -(-nx // factor)), dtype=np.float32)
    height = _band_height(layer, factor)

    def work(start, stop):
        reducer = _Reducer(factor)
        for y0 in range(start, stop, height):
            y1 = min(y0 + height, stop)
            part = out[y0 // factor : -(-y1 // factor)]
            reducer.reduce(layer.rows(y0, y1), part)

    threads = min(2, os.cpu_count() or 1)
    middle = -(-ny // (2 * height)) * height
    if layer.parallel and threads > 1 and ny * nx >= _THREAD_PIXELS and middle < ny:
        with ThreadPoolExecutor(1) as pool:
            other = pool.submit(work, middle, ny)
            work(0, middle)
            other.result()  # raises what the thread raised
    else:
        work(0, ny)
    return out


def _band_height(layer, factor):
    """Return rows per band: a multiple of the factor, of the step if it fits."""
    nx = layer.shape[1]
    unit = math.lcm(factor, layer.step)
    if unit * nx > _BLOCK_PIXELS:
        unit = factor * math.ceil(layer.step / factor)
    pixels = _BAND_PIXELS if layer.parallel else _SECTION_PIXELS
    return unit * max(1, pixels // (nx * unit))


class _Reducer:
    """
    Block means of one band after the other.

    The arrays in between are kept: asking the system for new memory for every
    band takes longer than the sums.
    """

    def __init__(self, factor):
        self.factor = factor
        self._data = self._sums = None

    def reduce(self, band, out):
        """Write the block means of ``band`` to ``out``; NaN where blank."""
        with np.errstate(over="ignore", invalid="ignore"):
            if self.factor == 1:
                np.copyto(out, band, casting="same_kind")
            else:
                self._means(band, out)
            if not np.isfinite(out).all():
                out[~np.isfinite(out)] = np.nan

    def _means(self, band, out):
        work = _work_type(band.dtype)
        if self._data is None or self._data.shape != band.shape:
            self._data = np.empty(band.shape, dtype=work)
            self._sums = np.empty((out.shape[0], band.shape[1]), dtype=work)
        data = self._data
        np.copyto(data, band, casting="same_kind")  # native byte order from here
        sums = _sum_columns(_sum_rows(data, self.factor, self._sums), self.factor)
        if np.isfinite(sums).all():
            np.divide(
                sums,
                _block_sizes(data.shape, self.factor),
                out=out,
                casting="same_kind",
            )
            return
        self._means_of_valid(data, out)

    def _means_of_valid(self, data, out):
        """Write block means of the finite pixels; ``data`` is overwritten."""
        factor = self.factor
        good = np.isfinite(data)
        np.putmask(data, ~good, 0)
        sums = _sum_columns(_sum_rows(data, factor, self._sums), factor)
        if not np.isfinite(sums).all():  # finite values whose sum overflows
            wide = np.empty(self._sums.shape)
            sums = _sum_columns(
                _sum_rows(data.astype(np.float64), factor, wide), factor
            )
        if factor < 256:
            good = good.view(np.uint8)
            counts = np.empty(self._sums.shape, dtype=np.uint8)
        else:
            good = good.astype(np.float32)
            counts = np.empty(self._sums.shape, dtype=np.float32)
        counts = _sum_rows(good, factor, counts).astype(np.float32)
        counts = _sum_columns(counts, factor)
        counts[counts == 0] = np.nan
        np.divide(sums, counts, out=out, casting="same_kind")


def _sum_rows(data, factor, out):
    """Sum runs of ``factor`` rows into ``out``; the last run may be shorter."""
    whole = data.shape[0] // factor * factor
    if whole:
        head = out[: whole // factor]
        np.add(data[0:whole:factor], data[1:whole:factor], out=head)
        for i in range(2, factor):
            np.add(head, data[i:whole:factor], out=head)
    if whole < data.shape[0]:
        np.add.reduce(data[whole:], axis=0, dtype=out.dtype, out=out[-1])
    return out


def _sum_columns(data, factor):
    """Sum runs of ``factor`` columns; the last run may be shorter."""
    ny, nx = data.shape
    whole = nx // factor * factor
    out = np.empty((ny, -(-nx // factor)), dtype=data.dtype)
    if whole:
        head = out[:, : whole // factor]
        np.add(data[:, 0:whole:factor], data[:, 1:whole:factor], out=head)
        for i in range(2, factor):
            np.add(head, data[:, i:whole:factor], out=head)
    if whole < nx:
        np.add.reduce(data[:, whole:], axis=1, dtype=out.dtype, out=out[:, -1])
    return out


def _block_sizes(shape, factor):
    """Return how many pixels each block holds, broadcastable to the blocks."""
    sides = []
    for length in shape:
        side = np.full(-(-length // factor), factor, dtype=np.float32)
        if length % factor:
            side[-1] = length % factor
        sides.append(side)
    return sides[0][:, np.newaxis] * sides[1]


def fill_holes(image, rounds):
    """
    Fill isolated blank pixels with the mean of their neighbours.

    A blank pixel is filled when at least five of its eight neighbours are
    finite: holes close, straight borders and corners of the field stay.

    Parameters
    ----------
    image : `~numpy.ndarray`, shape (ny, nx), float32
        Image with NaN where blank; it is changed in place.
    rounds : int
        How often to repeat.

    Returns
    -------
    image : `~numpy.ndarray`
        The same array.
    """
    for _ in range(rounds):
        if not np.isnan(image.min()):  # the minimum is NaN if any pixel is
            break
        rows, columns = np.nonzero(np.isnan(image))
        if rows.size == image.size:
            break
        padded = np.pad(image, 1, constant_values=np.nan)
        total = np.zeros(rows.size)
        count = np.zeros(rows.size, dtype=np.uint8)
        for dy, dx in ((0, 0), (0, 1), (0, 2), (1, 0), (1, 2), (2, 0), (2, 1), (2, 2)):
            value = padded[rows + dy, columns + dx]
            finite = np.isfinite(value)
            total += np.where(finite, value, 0.0)
            count += finite
        enough = count >= 5
        if not enough.any():
            break
        image[rows[enough], columns[enough]] = total[enough] / count[enough]
    return image
