# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""Read the pixels of an HDU band by band, without a full copy in memory."""

import math
import mmap

import numpy as np
from astropy.io import fits

from ._claims import check_streams
from ._hdus import hdu_shape
from .reduce import Layer, array_layer

__all__ = ["hdu_layer"]

_PIXEL_TYPES = {8: "u1", 16: ">i2", 32: ">i4", 64: ">i8", -32: ">f4", -64: ">f8"}


def hdu_layer(hdu, index):
    """
    Return a layer that reads one plane of an HDU in bands.

    Parameters
    ----------
    hdu : HDU
        Image HDU that passed `check_claim`.
    index : tuple of int
        Position on the axes before the last two.

    Returns
    -------
    layer : Layer
        The layer. Stored pixels are mapped and scaled band by band, compressed
        ones are read in sections, so that no full copy exists.
    """
    shape = hdu_shape(hdu)[-2:]
    if "data" in vars(hdu):
        return array_layer(np.asarray(hdu.data)[index])
    if isinstance(hdu, fits.CompImageHDU):
        check_streams(hdu)
        step = max(1, int(hdu.tile_shape[-2]))
        return Layer(shape, _sections(hdu, index), parallel=False, step=step)
    return _raw_layer(hdu, index)


def _sections(hdu, index):
    return lambda y0, y1: np.asarray(hdu.section[(*index, slice(y0, y1))])


def _raw_layer(hdu, index):
    """Map the stored pixels and scale them band by band."""
    shape = hdu_shape(hdu)
    info = hdu.fileinfo()
    if info is None or info["file"] is None:
        return array_layer(np.asarray(hdu.data)[index])
    header = hdu.header
    dtype = np.dtype(_PIXEL_TYPES[header["BITPIX"]])
    number = int(np.ravel_multi_index(index, shape[:-2])) if index else 0
    offset = info["datLoc"] + number * math.prod(shape[-2:]) * dtype.itemsize
    raw = info["file"].readarray(offset=offset, dtype=dtype, shape=shape[-2:])
    scale, zero = float(header.get("BSCALE", 1)), float(header.get("BZERO", 0))
    blank = header.get("BLANK") if dtype.kind in "iu" else None
    release = _page_releaser(raw)
    if (scale, zero, blank) == (1.0, 0.0, None):
        return Layer(shape[-2:], lambda y0, y1: release(y0, y1) or raw[y0:y1])
    work = np.float32 if dtype.itemsize <= 2 else np.float64

    def rows(y0, y1):
        release(y0, y1)
        stored = raw[y0:y1]
        band = stored.astype(work)
        band *= work(scale)
        band += work(zero)
        if blank is not None:
            band[stored == blank] = np.nan
        return band

    return Layer(shape[-2:], rows)


def _page_releaser(raw):
    """
    Return a function that gives back the memory of the band before a band.

    Mapped pages count as memory of the process until the system needs them
    elsewhere: 400 MB for a mosaic of 10,000 x 10,000 pixels. Nothing is lost,
    the pages are read again from the file when needed.
    """
    base = raw
    while isinstance(base, np.ndarray) and base.base is not None:
        base = base.base
    if not isinstance(base, mmap.mmap) or not hasattr(mmap, "MADV_DONTNEED"):
        return lambda y0, y1: None
    start = raw.ctypes.data - np.frombuffer(base, np.uint8).ctypes.data
    stride = raw.strides[0]

    def release(y0, y1):
        first = start + max(0, 2 * y0 - y1) * stride
        first -= first % mmap.PAGESIZE
        length = start + y0 * stride - first
        if length > 0:
            base.madvise(mmap.MADV_DONTNEED, first, length)

    return release
