# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""Which HDU, chips and plane of a FITS file are the science image."""

from dataclasses import dataclass
from numbers import Integral

from astropy.io import fits

from paperclip.exceptions import ImageConversionError, InvalidQueryError

from ._claims import check_claim
from ._hdus import IMAGE_HDUS, hdu_shape, header_text, list_hdus
from ._layers import hdu_layer
from ._quality import without_bad_pixels
from ._spectra import refuse_spectra
from .reduce import Layer

__all__ = ["Chip", "Selection", "select_image"]

_MIN_SIDE = 8

# extensions that describe an image, a detector or a distortion
_AUXILIARY = frozenset(
    [
        "ERR",
        "DQ",
        "SAMP",
        "TIME",
        "WHT",
        "CTX",
        "CON",
        "VAR_POISSON",
        "VAR_RNOISE",
        "VAR_FLAT",
        "PIXELDQ",
        "GROUPDQ",
        "AREA",
        "WAVELENGTH",
        "BARSHADOW",
        "PATHLOSS_PS",
        "PATHLOSS_UN",
        "FLATFIELD_POINT",
        "WMAP",
        "D2IMARR",
        "WCSDVARR",
        "DX",
        "DY",
        "PEAKUP",
        "UDL",
        "PROFILE",
        "HDRTAB",
        "WCSCORR",
        "MDRIZSKY",
        "BKG",
        "RMS",
        "MASK",
        "MSK",
        "WEIGHT",
        "EXP",
        "UNCERT",
        "SIGMA",
    ]
)

# rows of dead space between the two chips of a camera
_CHIP_GAP = {"ACS": 50, "WFC3": 35}


@dataclass(frozen=True, slots=True)
class Chip:
    """
    One chip of an exposure.

    Parameters
    ----------
    layer : Layer
        Its pixels.
    header : `~astropy.io.fits.Header`
        Header with its world coordinates.
    name : str
        Extension name and version.
    """

    layer: Layer
    header: fits.Header
    name: str


@dataclass(frozen=True, slots=True)
class Selection:
    """
    What to show of a file.

    Parameters
    ----------
    chips : tuple of Chip
        Chips in the order of the layout.
    layout : {"single", "stack", "wfpc2"}
        One image; two chips, the second above the first; or the four chips
        of WFPC2 around their common corner.
    gap : int
        Rows between stacked chips.
    headers : tuple of `~astropy.io.fits.Header`
        Where facts about the observation are looked up, first one first.
    index : int
        Number of the first HDU shown.
    notes : tuple of str
        What could not be used.
    """

    chips: tuple
    layout: str
    gap: int
    headers: tuple
    index: int
    notes: tuple


def select_image(hdus, *, hdu=None, plane=None, use_dq=True, label="the HDU list"):
    """
    Choose the science image of a file.

    Parameters
    ----------
    hdus : sequence of HDU
        All HDUs of the file.
    hdu : int, str or tuple of (str, int), optional
        HDU to show, by number, name, or name and version. By default the
        ``SCI`` extensions, else the primary image, else the first extension
        that is not an error, quality, weight or distortion array.
    plane : int or tuple of int, optional
        Position on the axes before the last two. Needed for cubes.
    use_dq : bool
        Whether to leave out pixels without information.
    label : str
        Start of the error messages.

    Returns
    -------
    selection : Selection
        Layers ready to be read.

    Raises
    ------
    ImageConversionError
        If there is no image, it is a spectrum, too small, too large, or the
        file is truncated. The message lists what the file holds.
    InvalidQueryError
        If ``hdu`` or ``plane`` names something that is not there.
    """
    explicit = hdu is not None or plane is not None
    numbers = _candidates(hdus, label) if hdu is None else [_find_hdu(hdus, hdu, label)]
    if not explicit:
        refuse_spectra(hdus, numbers, label)
    primary = hdus[0].header
    instrument = header_text(primary, "INSTRUME")
    numbers, layout = _layout(hdus, numbers, instrument, plane)
    notes = []
    chips = []
    for number in numbers:
        chips.extend(_chips(hdus, number, plane, layout, use_dq, label, notes))
    return Selection(
        chips=tuple(chips),
        layout=layout,
        gap=_CHIP_GAP.get(instrument, 0) if layout == "stack" else 0,
        headers=tuple(
            h.header for h in {id(h): h for h in (hdus[numbers[0]], hdus[0])}.values()
        ),
        index=numbers[0],
        notes=tuple(notes),
    )


def _candidates(hdus, label):
    """Return the numbers of the HDUs that may be the science image."""
    images = [
        number
        for number, item in enumerate(hdus)
        if isinstance(item, IMAGE_HDUS) and _is_plane(hdu_shape(item))
    ]
    science = [n for n in images if hdus[n].name == "SCI"]
    plain = [n for n in images if hdus[n].name not in _AUXILIARY]
    chosen = science or plain[:1]
    if not chosen:
        msg = (
            f"{label}: there is no image of at least {_MIN_SIDE} x {_MIN_SIDE} pixels. "
            f"{list_hdus(hdus)}. Choose one of them with hdu= if it can be shown"
        )
        raise ImageConversionError(msg)
    return chosen


def _is_plane(shape):
    shape = _squeezed(shape)
    return len(shape) >= 2 and min(shape) > 0 and min(shape[-2:]) >= _MIN_SIDE


def _squeezed(shape):
    """Drop leading axes of length 1, as radio images have them."""
    return tuple(side for side in shape[:-2] if side != 1) + tuple(shape[-2:])


def _find_hdu(hdus, hdu, label):
    """Return the number of the HDU that the caller asked for."""
    try:
        if isinstance(hdu, Integral) and not isinstance(hdu, bool):
            number = range(len(hdus))[hdu]
        elif isinstance(hdu, str):
            number = _by_name(hdus, hdu, None)
        else:
            name, version = hdu
            number = _by_name(hdus, name, version)
    except (TypeError, ValueError, IndexError, AttributeError):
        msg = (
            f"hdu must be the number, the name, or the name and version of an HDU, "
            f"got {hdu!r}. {label}: {list_hdus(hdus)}"
        )
        raise InvalidQueryError(msg) from None
    shape = hdu_shape(hdus[number])
    if not _is_plane(shape):
        msg = (
            f"{label}: HDU {hdu!r} is no image of at least {_MIN_SIDE} x {_MIN_SIDE} "
            f"pixels. {list_hdus(hdus)}"
        )
        raise ImageConversionError(msg)
    return number


def _by_name(hdus, name, version):
    for number, item in enumerate(hdus):
        if item.name == name.strip().upper() and version in (None, item.ver):
            return number
    raise ValueError(name)


def _layout(hdus, numbers, instrument, plane):
    """Decide how the science extensions of one exposure go together."""
    shapes = [_squeezed(hdu_shape(hdus[n])) for n in numbers]
    if instrument == "WFPC2" and plane is None:
        if len(numbers) == 4 and len(set(shapes)) == 1 and len(shapes[0]) == 2:
            return numbers, "wfpc2"
        if len(numbers) == 1 and len(shapes[0]) == 3 and shapes[0][0] == 4:
            return numbers, "wfpc2"
    if instrument in _CHIP_GAP and len(numbers) == 2:
        chips = [hdus[n].header.get("CCDCHIP") for n in numbers]
        if sorted(map(str, chips)) == ["1", "2"] and shapes[0][-1] == shapes[1][-1]:
            # chip 2 is the lower one in both cameras
            return sorted(numbers, key=lambda n: -hdus[n].header["CCDCHIP"]), "stack"
    sizes = [shape[-2] * shape[-1] for shape in shapes]
    return [numbers[sizes.index(max(sizes))]], "single"


def _chips(hdus, number, plane, layout, use_dq, label, notes):
    """Return the chip or chips that an HDU holds."""
    item = hdus[number]
    name = f"{item.name},{item.ver}"
    check_claim(item, f"{label}: HDU {number} ({name})")
    shape = hdu_shape(item)
    whole_cube = layout == "wfpc2" and len(_squeezed(shape)) == 3 and plane is None
    indices = (
        [(i,) for i in range(4)]
        if whole_cube
        else [_plane_index(shape, plane, hdus, label)]
    )
    chips = []
    for index in indices:
        layer = hdu_layer(item, index)
        if use_dq and not whole_cube:
            layer = without_bad_pixels(hdus, number, layer, notes, label)
        chips.append(Chip(layer=layer, header=item.header, name=name))
    return chips


def _plane_index(shape, plane, hdus, label):
    """Return the position on the leading axes, or say which ones there are."""
    leading = shape[:-2]
    if plane is None:
        if all(side == 1 for side in leading):
            return (0,) * len(leading)
        msg = (
            f"{label} holds a cube of shape {shape}: choose a plane with plane=, one "
            f"number for each of the first {len(leading)} axes. {list_hdus(hdus)}"
        )
        raise ImageConversionError(msg)
    given = (plane,) if isinstance(plane, Integral) else plane
    try:
        given = tuple(given)
        if len(given) < len(leading):  # axes of length 1 need not be named
            rest = iter(given)
            given = tuple(0 if side == 1 else next(rest, None) for side in leading)
            given += tuple(rest)
        return tuple(
            range(side)[value] for side, value in zip(leading, given, strict=True)
        )
    except (TypeError, ValueError, IndexError):
        msg = (
            f"plane must be a position on the first {len(leading)} axes of shape "
            f"{shape}, got {plane!r}"
        )
        raise InvalidQueryError(msg) from None
