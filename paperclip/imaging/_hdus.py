# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""What an HDU says of itself: whether it is an image, its shape, its keywords."""

from astropy.io import fits

__all__ = ["IMAGE_HDUS", "hdu_shape", "header_text", "list_hdus"]

IMAGE_HDUS = (fits.PrimaryHDU, fits.ImageHDU, fits.CompImageHDU)


def hdu_shape(hdu):
    """
    Return the shape of an image HDU without reading it.

    Parameters
    ----------
    hdu : HDU
        Any HDU.

    Returns
    -------
    shape : tuple of int
        Numpy order; empty for an HDU without image.
    """
    if not isinstance(hdu, IMAGE_HDUS):
        return ()
    return tuple(int(side) for side in hdu.shape)


def list_hdus(hdus):
    """
    Say in one line what a file holds.

    Parameters
    ----------
    hdus : sequence of HDU
        The HDUs.

    Returns
    -------
    text : str
        Index, name, version, kind and shape of the first 20.
    """
    parts = []
    for number, hdu in enumerate(hdus[:20]):
        kind = type(hdu).__name__
        shape = hdu_shape(hdu)
        text = f" {'x'.join(map(str, shape))}" if shape else ""
        parts.append(f"{number} {str(hdu.name)[:20]!r},{hdu.ver} {kind}{text}")
    if len(hdus) > 20:
        parts.append(f"and {len(hdus) - 20} more")
    return "It holds: " + "; ".join(parts or ["nothing"])


def header_text(header, key):
    """
    Return a keyword as text that can be compared.

    Parameters
    ----------
    header : `~astropy.io.fits.Header`
        Header.
    key : str
        Keyword.

    Returns
    -------
    text : str
        Its value in capitals without blanks around it; empty if there is no
        such keyword, or if it is no text.
    """
    value = header.get(key)
    return value.strip().upper() if isinstance(value, str) else ""
