# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""Leave out pixels that the quality or weight extension of an image calls empty."""

import numpy as np

from ._claims import check_claim
from ._hdus import IMAGE_HDUS, hdu_shape, header_text
from ._layers import hdu_layer
from .reduce import Layer, blank_where

__all__ = ["without_bad_pixels"]

# data quality bits that say "no information here", from the data handbooks of
# the instruments: lost packets, filled values, dead or masked-out pixels.
# Saturated, hot and cosmic-ray pixels are kept, they still show the scene.
_DQ_BITS = {"ACS": 7, "WFC3": 7, "STIS": 7, "NICMOS": 1 | 32 | 128, "WFPC2": 1 | 16}
_JWST_DO_NOT_USE = 1
_JWST_SATURATED = 2


def without_bad_pixels(hdus, number, layer, notes, label):
    """
    Blank what the extension ``DQ``, or else ``WHT``, of an image calls empty.

    Parameters
    ----------
    hdus : sequence of HDU
        All HDUs of the file.
    number : int
        Which of them is the image.
    layer : Layer
        Its pixels.
    notes : list of str
        Why an extension could not be used is appended here.
    label : str
        Start of the error messages.

    Returns
    -------
    layer : Layer
        The same pixels with NaN where there is no information; the layer
        itself when no extension fits.

    Raises
    ------
    ImageConversionError
        If the extension is too large or truncated.
    """
    item = hdus[number]
    telescope = header_text(hdus[0].header, "TELESCOP")
    bits = _DQ_BITS.get(header_text(hdus[0].header, "INSTRUME"), 0)
    if telescope == "JWST":
        bits = _JWST_DO_NOT_USE
    for name in ("DQ", "WHT"):
        partner = next(
            (
                h
                for h in hdus
                if isinstance(h, IMAGE_HDUS) and h.name == name and h.ver == item.ver
            ),
            None,
        )
        shape = hdu_shape(partner) if partner is not None else ()
        if len(shape) < 2 or (name == "DQ" and not bits):
            continue
        if name == "WHT" and telescope != "HST":
            continue  # JWST mosaics are NaN where there are no data
        if shape != layer.shape:
            text = " x ".join(map(str, shape))
            notes.append(f"{name} of shape {text} does not fit the image: not used")
            continue
        check_claim(partner, f"{label}: {name}")
        other = hdu_layer(partner, ())
        test = _empty if name == "WHT" else _flagged(bits, telescope == "JWST")
        return _masked_layer(layer, other, test)
    return layer


def _masked_layer(layer, other, test):
    def rows(y0, y1):
        return blank_where(layer.rows(y0, y1), test(other.rows(y0, y1)))

    return Layer(
        layer.shape,
        rows,
        parallel=layer.parallel and other.parallel,
        step=max(layer.step, other.step),
    )


def _empty(weight):
    return ~(weight > 0)


def _flagged(bits, is_jwst):
    def test(flags):
        if flags.dtype.kind not in "iu":
            flags = np.nan_to_num(flags).astype(np.int64)
        bad = (flags & bits) != 0
        if is_jwst:  # the cores of bright stars: no good value, but a value
            bad &= (flags & _JWST_SATURATED) == 0
        return bad

    return test
