# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""Whatever a user may hand over, as one kind of plan that can be read."""

from collections.abc import Callable
from dataclasses import dataclass, field
from os import PathLike

import numpy as np
from astropy.io import fits
from astropy.wcs import WCS

from paperclip.exceptions import ImageConversionError, InvalidQueryError

from .fitsfile import as_path, open_fits, reading
from .geometry import chip_wcs, mosaic, reduced_wcs
from .preview import is_picture, read_preview, rgb_from_array, rgb_from_pil
from .reduce import array_layer, block_mean
from .select import select_image

__all__ = ["Plan", "plan_source", "ready_picture"]

_MIN_SIDE = 8
_MAX_ARRAY = 1 << 32

# what is kept of the headers: our name, then the keywords tried in order
_FACTS = {
    "target": ("TARGNAME", "TARGPROP", "OBJECT"),
    "telescope": ("TELESCOP",),
    "instrument": ("INSTRUME",),
    "detector": ("DETECTOR",),
    "proposal_id": ("PROPOSID", "PROGRAM"),
    "date_obs": ("DATE-OBS",),
    "time_obs": ("TIME-OBS",),
    "date_end": ("DATE-END",),
    "mjd_start": ("EXPSTART", "MJD-BEG", "MJD-OBS"),
    "mjd_end": ("EXPEND", "MJD-END"),
    "exposure": ("EXPTIME", "EFFEXPTM", "XPOSURE"),
    "target_ra": ("RA_TARG", "TARG_RA"),
    "target_dec": ("DEC_TARG", "TARG_DEC"),
    "pi": ("PR_INV_L", "PI_NAME"),
    "title": ("TITLE",),
}
_FILTER_KEYS = ("FILTER", "FILTER1", "FILTER2", "PUPIL", "FILTNAM1", "FILTNAM2")


@dataclass(frozen=True, slots=True)
class Plan:
    """
    An image that can be read at any reduction.

    Parameters
    ----------
    label : str
        What to call it in errors.
    shape : tuple of int
        Rows and columns at full size.
    read : callable
        ``read(factor)`` returns the reduced image (float32, NaN where blank,
        row 0 at the bottom) and its WCS or None.
    meta : dict
        Facts about the image.
    notes : list of str
        What could not be used and should be said in a warning.
    """

    label: str
    shape: tuple[int, int]
    read: Callable
    meta: dict = field(default_factory=dict)
    notes: list = field(default_factory=list)


def ready_picture(source):
    """
    Return the levels of a source that already is a picture.

    Parameters
    ----------
    source : object
        Anything.

    Returns
    -------
    rgb : `~numpy.ndarray` or None
        Levels of shape (ny, nx, 3) for a PIL image, a picture file or a uint8
        array of three or four channels; None for anything else.
    file : str or None
        Name of the file, if it is one.

    Raises
    ------
    ImageConversionError
        If it is such a picture and cannot be used.
    """
    if isinstance(source, (str, PathLike)):
        path = as_path(source)
        with reading(str(path), []):
            if not path.is_file():
                msg = f"{path}: there is no such file"
                raise ImageConversionError(msg)
            with path.open("rb") as stream:
                head = stream.read(12)
        return (read_preview(path), str(path)) if is_picture(head) else (None, None)
    if type(source).__module__.partition(".")[0] == "PIL":
        from PIL import Image

        if isinstance(source, Image.Image):
            return rgb_from_pil(source), None
    if (
        isinstance(source, np.ndarray)
        and source.dtype == np.uint8
        and source.ndim == 3
        and source.shape[2] in (3, 4)
    ):
        return rgb_from_array(np.asarray(source)), None
    return None, None


def plan_source(source, stack, *, hdu, plane, use_dq, notes):
    """
    Make a plan for a source that holds pixel values.

    Parameters
    ----------
    source : HDU, HDUList, path-like, NDData or array
        The source.
    stack : `~contextlib.ExitStack`
        Files are entered here and stay open as long as it does.
    hdu, plane : object
        See `~paperclip.imaging.load_picture`.
    use_dq : bool
        Whether to leave out pixels marked as empty.
    notes : list of str
        Warnings of the readers are appended here.

    Returns
    -------
    plan : Plan
        The plan; no pixels are read yet.

    Raises
    ------
    ImageConversionError, InvalidQueryError
        If there is nothing to show.
    """
    options = {"hdu": hdu, "plane": plane, "use_dq": use_dq, "notes": notes}
    if isinstance(source, (str, PathLike)):
        path = as_path(source)
        hdus = stack.enter_context(open_fits(path))
        return _plan_hdus(hdus, str(path), file=str(path), **options)
    if isinstance(source, fits.HDUList):
        return _plan_hdus(list(source), "the HDU list", **options)
    if hasattr(source, "header") and hasattr(source, "fileinfo"):
        return _plan_hdus([source], "the HDU", **options)
    if hdu is not None:
        msg = f"hdu= applies to files and HDU lists, not to a {type(source).__name__}"
        raise InvalidQueryError(msg)
    return _plan_array(source, plane, notes)


def _plan_hdus(hdus, label, *, hdu, plane, use_dq, notes, file=None):
    """Plan the science image of a list of HDUs."""
    if not hdus:
        msg = f"{label} holds no HDU"
        raise ImageConversionError(msg)
    chosen = select_image(hdus, hdu=hdu, plane=plane, use_dq=use_dq, label=label)
    chips = chosen.chips

    def read(factor):
        images = [block_mean(chip.layer, factor) for chip in chips]
        frames = {id(chip.header): _safe_wcs(chip.header, notes) for chip in chips}
        coordinates = [frames.pop(id(chip.header), None) for chip in chips]
        coordinates = [
            _safe_reduced(wcs, factor, image.shape, notes)
            for wcs, image in zip(coordinates, images, strict=True)
        ]
        if chosen.layout == "single":
            return images[0], coordinates[0]
        gap = round(chosen.gap / factor)
        return mosaic(images, coordinates, layout=chosen.layout, gap=gap)

    ny, nx = chips[0].layer.shape
    shape = {
        "single": (ny, nx),
        "stack": (sum(c.layer.shape[0] for c in chips) + chosen.gap, nx),
        "wfpc2": (2 * max(ny, nx), 2 * max(ny, nx)),
    }[chosen.layout]
    meta = {
        "file": file,
        "hdu": ", ".join(dict.fromkeys(chip.name for chip in chips)),
        "hdu_index": chosen.index,
        "layout": chosen.layout,
        "shape": shape,
        **_facts(chosen.headers),
    }
    return Plan(label, shape, read, meta, list(chosen.notes))


def _facts(headers):
    """Look up who took the image of what, and through which filter."""
    facts = {}
    for name, keys in _FACTS.items():
        values = (header.get(key) for key in keys for header in headers)
        text = next((str(v).strip() for v in values if _says_something(v)), None)
        if text:
            facts[name] = text
    filters = []
    for key in _FILTER_KEYS:
        for header in headers:
            value = header.get(key)
            if isinstance(value, str) and not value.upper().startswith(
                ("CLEAR", "N/A")
            ):
                filters.append(value.strip())
                break
    filters = [text for text in dict.fromkeys(filters) if text]
    if filters:
        facts["filters"] = ";".join(filters)
    return facts


def _says_something(value):
    return isinstance(value, (str, int, float)) and str(value).strip() != ""


def _safe_wcs(header, notes):
    """Return the WCS of a header, or None if there is none that works."""
    try:
        with reading("the world coordinates", notes):
            return chip_wcs(header)
    except ImageConversionError as exc:
        notes.append(str(exc))
        return None


def _safe_reduced(wcs, factor, shape, notes):
    try:
        with reading("the world coordinates", notes):
            return reduced_wcs(wcs, factor, shape)
    except ImageConversionError as exc:
        notes.append(str(exc))
        return None


def _plan_array(source, plane, notes):
    """Plan an array, a masked array, a quantity or an NDData."""
    label = f"the {type(source).__name__}"
    wcs = None
    meta = {}
    if hasattr(source, "uncertainty") and hasattr(source, "data"):  # NDData
        wcs, meta = source.wcs, source.meta
        mask, array = source.mask, source.data
        if isinstance(array, np.ma.MaskedArray):
            array = array.data
    elif isinstance(source, np.ma.MaskedArray):
        array, mask = source.data, source.mask
    elif hasattr(source, "unmasked"):  # astropy's Masked
        array, mask = source.unmasked, source.mask
    else:
        array, mask = source, None
    array = np.asarray(array)
    mask = None if mask is None or mask is np.ma.nomask else np.asarray(mask, bool)
    if mask is not None and mask.shape != array.shape:
        mask = np.broadcast_to(mask, array.shape)
    if array.dtype.kind not in "biuf":
        msg = f"{label} holds {array.dtype} values; an image needs real numbers"
        raise ImageConversionError(msg)
    index = _array_plane(array.shape, plane, label)
    layer = array_layer(array[index], mask=None if mask is None else mask[index])
    wcs = _two_axes(wcs)

    def read(factor):
        image = block_mean(layer, factor)
        return image, _safe_reduced(wcs, factor, image.shape, notes)

    facts = _facts((meta,)) if hasattr(meta, "get") else {}
    return Plan(label, layer.shape, read, {"shape": layer.shape, **facts})


def _two_axes(wcs):
    """Return a plain two-dimensional celestial WCS, or None."""
    if isinstance(wcs, WCS) and wcs.naxis == 2 and wcs.has_celestial:
        return wcs
    return None


def _array_plane(shape, plane, label):
    """Return the index of the plane to show."""
    leading = shape[:-2]
    if len(shape) < 2 or min(shape[-2:]) < _MIN_SIDE:
        msg = (
            f"{label} has shape {shape}; an image needs two axes of at least "
            f"{_MIN_SIDE} pixels"
        )
        raise ImageConversionError(msg)
    if shape[-1] * shape[-2] > _MAX_ARRAY:
        msg = f"{label} has shape {shape}, more than {_MAX_ARRAY} pixels"
        raise ImageConversionError(msg)
    if plane is None:
        if all(side == 1 for side in leading):
            return (0,) * len(leading)
        msg = f"{label} has shape {shape}: choose a plane with plane="
        raise ImageConversionError(msg)
    try:
        given = (int(plane),) if np.ndim(plane) == 0 else tuple(map(int, plane))
        return tuple(range(n)[i] for n, i in zip(leading, given, strict=True))
    except (TypeError, ValueError, IndexError):
        msg = (
            f"plane must be a position on the first {len(leading)} axes of shape "
            f"{shape}, got {plane!r}"
        )
        raise InvalidQueryError(msg) from None
