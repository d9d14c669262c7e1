# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""Order filters by wavelength and assign them to red, green and blue."""

import re

import numpy as np

from paperclip.exceptions import InvalidQueryError

__all__ = ["filter_wavelength", "group_by_wavelength"]

# filters of JWST whose numbers are hundredths of a micron; a name that HST
# has as well is taken as JWST's unless the instrument is known
_JWST = frozenset(
    [
        "F070W",
        "F090W",
        "F115W",
        "F140M",
        "F150W",
        "F150W2",
        "F158M",
        "F162M",
        "F164N",
        "F182M",
        "F187N",
        "F200W",
        "F210M",
        "F212N",
        "F250M",
        "F277W",
        "F300M",
        "F322W2",
        "F323N",
        "F335M",
        "F356W",
        "F360M",
        "F380M",
        "F405N",
        "F410M",
        "F430M",
        "F444W",
        "F460M",
        "F466N",
        "F470N",
        "F480M",
        "F560W",
        "F770W",
        "F1000W",
        "F1065C",
        "F1130W",
        "F1140C",
        "F1280W",
        "F1500W",
        "F1550C",
        "F1800W",
        "F2100W",
        "F2300C",
        "F2550W",
    ]
)
# effective wavelengths in micron of broad bands known by letters
_LETTERS = {
    "FUV": 0.153, "NUV": 0.227, "U": 0.365, "B": 0.445, "V": 0.551, "R": 0.658,
    "I": 0.806, "Z": 0.9, "Y": 1.02, "J": 1.25, "H": 1.65, "K": 2.2, "KS": 2.16,
    "L": 3.45, "M": 4.75, "N": 10.2, "u": 0.354, "g": 0.475, "r": 0.622, "i": 0.763,
    "z": 0.905, "y": 1.0, "HALPHA": 0.656, "HA": 0.656, "OIII": 0.501, "SII": 0.672,
    "NII": 0.658, "OII": 0.373, "HBETA": 0.486, "W1": 3.4, "W2": 4.6, "W3": 12.0,
    "W4": 22.0, "IRAC1": 3.6, "IRAC2": 4.5, "IRAC3": 5.8, "IRAC4": 8.0,
}  # fmt: skip
_UNITS = {"nm": 1e-3, "um": 1.0, "micron": 1.0, "µm": 1.0, "μm": 1.0, "mm": 1e3}
_UNITS |= {"a": 1e-4, "aa": 1e-4, "angstrom": 1e-4}
_FILTER = re.compile(r"F[QR]?(\d{3,4})([A-Z]{1,3}\d?)")
_NUMBER = re.compile(r"(\d+(?:\.\d+)?)\s*([a-zµμ]+)")


def filter_wavelength(name, *, instrument=""):
    """
    Return the wavelength that a filter name stands for.

    Parameters
    ----------
    name : str
        ``F606W`` (HST, nanometres below 1 micron and hundredths of a micron
        above), ``F444W`` (JWST, hundredths of a micron), a letter such as
        ``g`` or ``Ks``, or a number with its unit such as ``656 nm``.
    instrument : str
        Name of the instrument, which decides where two missions use the same
        name.

    Returns
    -------
    wavelength : float or None
        Wavelength in micron, or None if the name is not understood.

    Examples
    --------
    >>> from paperclip.imaging.colour import filter_wavelength
    >>> filter_wavelength("F814W"), filter_wavelength("F1000W")
    (0.814, 10.0)
    """
    text = str(name).strip()
    match = _FILTER.search(text.upper())
    if match:
        return _space_filter(match.group(0), int(match[1]), instrument.strip().upper())
    match = _NUMBER.fullmatch(text.lower())
    if match and match[2] in _UNITS:
        return float(match[1]) * _UNITS[match[2]]
    bare = text.removesuffix("'").removesuffix("-band").replace("-", "")
    return _LETTERS.get(bare, _LETTERS.get(bare.upper()))


def _space_filter(name, number, instrument):
    """Return micron for a filter of HST or JWST."""
    in_hundredths = instrument in ("NIRCAM", "MIRI", "NIRISS", "NICMOS", "FGS")
    in_nanometres = instrument in ("ACS", "WFPC2", "STIS", "WFPC", "FOC")
    if not (in_hundredths or in_nanometres):
        infrared = number < 200 and not name.endswith("LP")
        known = name in _JWST and instrument != "WFC3"
        in_hundredths = infrared or known
    return number / 100 if in_hundredths else number / 1000


def group_by_wavelength(names, instruments):
    """
    Assign filters to the three channels of a colour picture.

    Parameters
    ----------
    names : sequence of str
        Filter names.
    instruments : sequence of str
        Instrument of each, or empty strings.

    Returns
    -------
    groups : tuple of three lists of int
        Positions of the filters for red, green and blue. Two filters make
        blue and red, and both go into green; more than three are divided into
        three groups of neighbours. One filter goes into all channels.

    Raises
    ------
    InvalidQueryError
        If a name is not understood or two filters have one wavelength.
    """
    waves = [
        filter_wavelength(name, instrument=instrument)
        for name, instrument in zip(names, instruments, strict=True)
    ]
    unknown = [name for name, wave in zip(names, waves, strict=True) if wave is None]
    if unknown or len(set(waves)) != len(waves):
        what = f"no wavelength is known for {unknown}" if unknown else "two are equal"
        msg = (
            f"the filters {list(names)} cannot be put in order of wavelength: {what}. "
            "Use names such as 'F606W', 'g' or '656 nm', or give a sequence of three "
            "images in the order red, green, blue"
        )
        raise InvalidQueryError(msg)
    order = [int(i) for i in np.argsort(waves)]
    if len(order) == 1:
        return order, order, order
    if len(order) == 2:
        return order[1:], order, order[:1]
    blue, green, red = (list(map(int, part)) for part in np.array_split(order, 3))
    return red, green, blue
