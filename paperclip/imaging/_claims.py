# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""
What headers claim about pixels, compared with what the file can hold.

Astropy and its decompressors believe these claims; here they are checked before
any pixel is read.
"""

import math
import struct

import numpy as np
from astropy.io import fits

from paperclip.exceptions import ImageConversionError

from ._hdus import hdu_shape

__all__ = ["check_claim", "check_streams"]

_MAX_PIXELS = 1 << 32
_MAX_SIDE = 1 << 17
_MAX_TILE = 1 << 29  # bytes of one compressed tile, which is expanded whole
_MAX_TILE_RATIO = 2000
_FREE_EXPANSION = 1 << 26  # below this the ratio does not matter


def check_claim(hdu, label):
    """
    Compare what a header claims with what the file can hold.

    Parameters
    ----------
    hdu : HDU
        Image HDU with a shape of two or more axes.
    label : str
        What to call it in an error.

    Raises
    ------
    ImageConversionError
        If the image is too large, or larger than the file.
    """
    shape = hdu_shape(hdu)
    pixels = math.prod(shape)
    if math.prod(shape[-2:]) > _MAX_PIXELS or max(shape[-2:]) > _MAX_SIDE:
        msg = (
            f"{label} claims {' x '.join(map(str, shape))} pixels; at most "
            f"{_MAX_PIXELS}, and {_MAX_SIDE} a side, can be shown"
        )
        raise ImageConversionError(msg)
    if "data" in vars(hdu):  # in memory already
        return
    claimed = pixels * abs(int(hdu.header["BITPIX"])) // 8
    if isinstance(hdu, fits.CompImageHDU):
        _check_tiles(hdu, claimed, label)
        return
    info = hdu.fileinfo()
    stream = info["file"] if info else None
    if stream is None or getattr(stream, "compression", None) is not None:
        return
    present = max(0, stream.size - info["datLoc"])
    if claimed > present:
        msg = (
            f"{label} is truncated: the header claims {claimed} bytes of pixels, "
            f"the file holds {present}"
        )
        raise ImageConversionError(msg)


def _check_tiles(hdu, claimed, label):
    """Bound the memory that one tile takes and the ratio of the compression."""
    tile = math.prod(int(side) for side in hdu.tile_shape)
    info = hdu.fileinfo()
    stream = info["file"] if info else None
    size = getattr(stream, "size", None)
    if tile * abs(int(hdu.header["BITPIX"])) // 8 > _MAX_TILE:
        msg = f"{label} has compressed tiles of {tile} pixels, too large to expand"
        raise ImageConversionError(msg)
    if size is not None and claimed > max(_FREE_EXPANSION, _MAX_TILE_RATIO * size):
        msg = f"{label} claims {claimed} bytes of pixels in a file of {size} bytes"
        raise ImageConversionError(msg)


def check_streams(hdu):
    """
    Look at where compressed tiles lie, and at sizes inside HCOMPRESS streams.

    Astropy believes both: a negative position or a stream with more pixels
    than its tile reaches beyond the memory in question and the process dies.

    Parameters
    ----------
    hdu : `~astropy.io.fits.CompImageHDU`
        Compressed image.

    Raises
    ------
    ValueError
        If a stream lies elsewhere or holds more than its tile.
    """
    table, info = getattr(hdu, "_bintable", None), hdu.fileinfo()
    if table is None or info is None:
        return
    header = table.header
    heap = header.get("THEAP", header["NAXIS1"] * header["NAXIS2"]) + info["datLoc"]
    for name in ("COMPRESSED_DATA", "GZIP_COMPRESSED_DATA", "UNCOMPRESSED_DATA"):
        if name in table.columns.names:
            places = np.asarray(table.data[name], dtype=np.int64)
            if places.ndim != 2 or places[:, 0].min(initial=0) < 0:
                msg = f"the column {name} holds no streams"
                raise ValueError(msg)
            if (places[:, 1] + heap).min(initial=0) < 0:
                msg = f"the column {name} points to a place before the file"
                raise ValueError(msg)
    if hdu.compression_type == "HCOMPRESS_1":
        _check_hcompress(hdu, table, heap, info["file"])


def _check_hcompress(hdu, table, heap, stream):
    """Compare the sizes inside the streams with the sizes of the tiles."""
    if "B" not in table.columns["COMPRESSED_DATA"].format:
        msg = "the column COMPRESSED_DATA does not hold bytes"
        raise ValueError(msg)
    shape, tile = hdu_shape(hdu), [int(side) for side in hdu.tile_shape]
    counts = [-(-side // step) for side, step in zip(shape, tile, strict=True)]
    places = table.data["COMPRESSED_DATA"]  # length and offset of each stream
    for number, (length, offset) in zip(np.ndindex(*counts), places, strict=False):
        if length < 10:
            continue  # the decoder refuses it, or the tile is stored otherwise
        room = math.prod(
            min(step, side - i * step)
            for i, step, side in zip(number, tile, shape, strict=True)
        )
        head = stream.readarray(offset=heap + int(offset), dtype=np.uint8, shape=(10,))
        sides = struct.unpack(">ii", head.tobytes()[2:])
        if min(sides) < 0 or math.prod(sides) > room:
            msg = f"a compressed tile claims {sides} pixels, there is room for {room}"
            raise ValueError(msg)
