# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""FITS images, arrays and previews to 8-bit RGB pictures."""

import warnings
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field

import numpy as np
from astropy.coordinates import SkyCoord
from astropy.io import fits
from astropy.wcs import WCS

from paperclip.exceptions import (
    ImageConversionError,
    ImageConversionWarning,
    InvalidQueryError,
)

from .colour import group_by_wavelength
from .fitsfile import reading
from .reduce import fill_holes, reduction_factor
from .settings import resolve_conversion
from .sources import plan_source, ready_picture
from .stretch import colour_levels, grey_levels

__all__ = ["Picture", "load_picture", "to_rgb"]

_CHANNELS = ("red", "green", "blue")
_ALIGNED = 2.0  # pixels that the centres of colour channels may lie apart


@dataclass(frozen=True, slots=True)
class Picture:
    """
    An 8-bit picture, its place on the sky and where it came from.

    Parameters
    ----------
    rgb : `~numpy.ndarray`, shape (ny, nx, 3), uint8
        Levels; row 0 is the top.
    wcs : `~astropy.wcs.WCS` or None
        Coordinates of the reduced pixels in FITS order: FITS row ``y`` (from
        0, bottom up) is row ``ny - 1 - y`` of ``rgb``. None when the source
        has no usable celestial coordinates.
    meta : dict
        Facts: ``file``, ``hdu``, ``hdu_index``, ``shape`` (before reduction),
        ``factor``, ``target``, ``telescope``, ``instrument``, ``detector``,
        ``filters``, ``conversion``, ``fingerprint``, ``warnings``, and what the
        header says about programme, times and target; those that are not known
        are absent.
    """

    rgb: np.ndarray
    wcs: WCS | None = None
    meta: dict = field(default_factory=dict)

    def pixel_to_world(self, x, y):
        """
        Return the sky position of a place in the picture.

        Parameters
        ----------
        x, y : float or array_like
            Column and row of ``rgb``, from 0; row 0 is the top.

        Returns
        -------
        position : `~astropy.coordinates.SkyCoord` or None
            Position on the sky; None without coordinates.
        """
        if self.wcs is None:
            return None
        return self.wcs.pixel_to_world(x, self.rgb.shape[0] - 1 - np.asarray(y))

    def footprint(self):
        """
        Return the sky positions of the outer corners of the picture.

        Returns
        -------
        corners : `~astropy.coordinates.SkyCoord` or None
            Lower left, lower right, upper right and upper left corner of the
            frame, in ICRS; None without coordinates.
        """
        if self.wcs is None:
            return None
        ny, nx = self.rgb.shape[:2]
        x = np.array([0, nx, nx, 0]) - 0.5
        y = np.array([0, 0, ny, ny]) - 0.5
        corners = self.wcs.pixel_to_world(x, y)
        return corners.icrs if isinstance(corners, SkyCoord) else None


def to_rgb(source, *, hdu=None, plane=None, conversion=None, **settings):
    """
    Convert an astronomical image to an 8-bit RGB picture.

    Parameters
    ----------
    source : HDU, HDUList, path-like, NDData, array, PIL image, or several
        What to show; see `load_picture`.
    hdu : int, str or tuple of (str, int), optional
        HDU to show; see `load_picture`.
    plane : int or tuple of int, optional
        Plane of a cube; see `load_picture`.
    conversion : `ImageConversion`, optional
        Complete settings.
    **settings
        Single fields of `ImageConversion`, instead of ``conversion``.

    Returns
    -------
    rgb : `~numpy.ndarray`, shape (ny, nx, 3), uint8
        The picture, at most ``max_size`` pixels a side; row 0 is the top.

    Raises
    ------
    ImageConversionError
        If the source holds no image that can be shown.
    InvalidQueryError
        If an argument is wrong.

    See Also
    --------
    load_picture : The same with coordinates and facts.

    Examples
    --------
    >>> import numpy as np
    >>> from paperclip.imaging import to_rgb
    >>> rgb = to_rgb(np.arange(400.0).reshape(20, 20))
    >>> rgb.shape, str(rgb.dtype)
    ((20, 20, 3), 'uint8')
    >>> bool(rgb[0, -1, 0] > rgb[-1, 0, 0])  # row 0 is the top
    True
    """
    picture, notes = _load(source, hdu, plane, resolve_conversion(conversion, settings))
    _warn(notes)
    return picture.rgb


def load_picture(source, *, hdu=None, plane=None, conversion=None, **settings):
    """
    Convert an astronomical image to a picture with coordinates and facts.

    Parameters
    ----------
    source : HDU, HDUList, path-like, NDData, array, PIL image, or several
        - a FITS file (also .gz, .bz2, .xz, .fz), its HDUs or one of them: the
          science image is chosen, the chips of ACS/WFC, WFC3/UVIS and WFPC2
          are put together;
        - `~astropy.nddata.NDData` or a 2-D array, masked array or
          `~astropy.units.Quantity`, row 0 at the *bottom* as in FITS;
        - a JPEG, PNG, GIF, TIFF or WebP file, a PIL image, or a uint8 array of
          shape (ny, nx, 3): taken as it is, row 0 at the *top*;
        - a sequence of three of the first two kinds: red, green, blue;
        - a mapping of filter names to such images: ordered by wavelength, the
          longest is red.
    hdu : int, str or tuple of (str, int), optional
        HDU to show, by number, name, or name and version. It also makes a
        two-dimensional spectrum be shown.
    plane : int or tuple of int, optional
        Position on the axes before the last two, needed for cubes.
    conversion : `ImageConversion`, optional
        Complete settings.
    **settings
        Single fields of `ImageConversion`, instead of ``conversion``.

    Returns
    -------
    picture : Picture
        Levels, coordinates and facts.

    Raises
    ------
    ImageConversionError
        If the source holds no image that can be shown: a table, a spectrum, a
        damaged or truncated file, only blank pixels. The message lists what
        the file holds.
    InvalidQueryError
        If a setting, ``hdu`` or ``plane`` is wrong, or filters cannot be put
        in order.

    Warns
    -----
    ImageConversionWarning
        If part of the input could not be used.

    Notes
    -----
    Large images are read in bands and averaged over blocks meanwhile; blank
    and bad pixels are left out of the averages. See `ImageConversion` for the
    recipe of the levels.
    """
    picture, notes = _load(source, hdu, plane, resolve_conversion(conversion, settings))
    _warn(notes)
    return picture


def _warn(notes):
    """Say once what could not be used."""
    if notes:
        text = "; ".join(dict.fromkeys(notes))
        warnings.warn(text, ImageConversionWarning, stacklevel=3)


def _load(source, hdu, plane, conversion):
    """Return the picture of any source, and notes worth a warning."""
    if isinstance(source, Mapping):
        names = [str(name) for name in source]
        return _load_colour(names, list(source.values()), hdu, plane, conversion)
    several = isinstance(source, Sequence) and not isinstance(source, (str, bytes))
    if several and not isinstance(source, fits.HDUList):
        if len(source) != 3:
            msg = (
                "a sequence of images must be red, green and blue, got "
                f"{len(source)} items; give filters as a mapping of name to image"
            )
            raise InvalidQueryError(msg)
        return _load_colour(None, list(source), hdu, plane, conversion)
    rgb, file = ready_picture(source)
    if rgb is not None:
        meta = {"shape": rgb.shape[:2], "factor": 1}
        return _picture(rgb, None, {"file": file, **meta}, conversion, []), []
    warned = []
    with ExitStack() as stack:
        stack.enter_context(reading(_label(source), warned))
        plan = plan_source(
            source, stack, hdu=hdu, plane=plane, use_dq=conversion.use_dq, notes=warned
        )
        factor = reduction_factor(plan.shape, conversion.max_size)
        image, wcs = _read(plan, factor, conversion)
        levels = grey_levels(image, conversion)
    rgb = np.empty((*levels.shape, 3), dtype=np.uint8)
    for channel in range(3):  # eight times faster than one broadcast assignment
        rgb[:, :, channel] = levels[::-1]
    meta = {**plan.meta, "factor": factor}
    return _picture(rgb, wcs, meta, conversion, warned), plan.notes


def _label(source):
    text = source if isinstance(source, str) else f"the {type(source).__name__}"
    return str(source) if hasattr(source, "__fspath__") else text


def _read(plan, factor, conversion):
    """Read a plan and make sure that something can be seen."""
    image, wcs = plan.read(factor)
    if not np.isfinite(image).any():
        rows, columns = plan.shape
        msg = (
            f"{plan.label}: none of the {rows} x {columns} pixels of "
            f"{plan.meta.get('hdu', 'the image')} is finite and good; choose another "
            "with hdu=, or try use_dq=False"
        )
        raise ImageConversionError(msg)
    return fill_holes(image, conversion.fill_holes), wcs


def _picture(rgb, wcs, meta, conversion, warned):
    meta = {key: value for key, value in meta.items() if value is not None}
    meta["conversion"] = conversion.to_dict()
    meta["fingerprint"] = conversion.fingerprint
    if warned:
        meta["warnings"] = list(dict.fromkeys(warned))
    return Picture(rgb, wcs, meta)


def _load_colour(names, sources, hdu, plane, conversion):
    """Return the picture of several images of the same field."""
    if not sources:
        msg = "the mapping of filters to images is empty"
        raise InvalidQueryError(msg)
    warned = []
    with ExitStack() as stack:
        stack.enter_context(reading("the colour images", warned))
        plans = []
        for source in sources:
            if ready_picture(source)[0] is not None:
                msg = (
                    "a colour picture is made of images with pixel values, not pictures"
                )
                raise ImageConversionError(msg)
            plans.append(
                plan_source(
                    source,
                    stack,
                    hdu=hdu,
                    plane=plane,
                    use_dq=conversion.use_dq,
                    notes=warned,
                )
            )
        if names is None:
            groups = ([0], [1], [2])
        else:
            groups = group_by_wavelength(
                names, [plan.meta.get("instrument", "") for plan in plans]
            )
        factors = _common_factors(plans, names or _CHANNELS, conversion.max_size)
        read = [
            _read(plan, factor, conversion)
            for plan, factor in zip(plans, factors, strict=True)
        ]
        images = [image for image, _ in read]
        channels = [[images[i] for i in group] for group in groups]
        levels = colour_levels(channels, conversion)
        frames = [wcs for _, wcs in read]
        notes = [note for plan in plans for note in plan.notes]
        notes += _misaligned(frames, images[0].shape)
    rgb = np.ascontiguousarray(levels[::-1])
    base = factors.index(min(factors))
    meta = {
        **plans[base].meta,
        "factor": factors[base],
        "channels": _channel_names(names, groups),
    }
    wcs = next((wcs for wcs in frames if wcs is not None), None)
    return _picture(rgb, wcs, meta, conversion, warned), notes


def _channel_names(names, groups):
    if names is None:
        return None
    return {
        channel: [names[i] for i in group]
        for channel, group in zip(_CHANNELS, groups, strict=True)
    }


def _common_factors(plans, names, max_size):
    """Return the factor for each image that brings all to one shape."""
    small = min((plan.shape for plan in plans), key=lambda shape: shape[0] * shape[1])
    base = reduction_factor(small, max_size)
    factors = []
    for plan in plans:
        ratio = plan.shape[0] // small[0]
        if plan.shape != (small[0] * ratio, small[1] * ratio):
            shapes = ", ".join(
                f"{name} {p.shape[0]} x {p.shape[1]}"
                for name, p in zip(names, plans, strict=True)
            )
            msg = (
                f"the images have different shapes ({shapes}): bring them to one grid "
                "first, for example with the package reproject"
            )
            raise ImageConversionError(msg)
        factors.append(ratio * base)
    return factors


def _misaligned(frames, shape):
    """Compare the sky position of the centre of each image."""
    frames = [wcs for wcs in frames if wcs is not None]
    x, y = (shape[1] - 1) / 2, (shape[0] - 1) / 2
    for wcs in frames[1:]:
        with np.errstate(all="ignore"):
            place = frames[0].wcs_world2pix(wcs.wcs_pix2world([[x, y]], 0), 0)[0]
        apart = float(np.hypot(place[0] - x, place[1] - y))
        if not apart <= _ALIGNED:
            return [
                f"the centres of the colour images lie {apart:.1f} pixels apart "
                "according to their coordinates; the colours may be fringes"
            ]
    return []
