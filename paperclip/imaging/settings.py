# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""Settings that decide how pixel values become a picture."""

import hashlib
import json
import math
from dataclasses import asdict, dataclass, fields
from difflib import get_close_matches
from numbers import Integral, Real

from paperclip.exceptions import InvalidQueryError

__all__ = ["ImageConversion", "resolve_conversion"]

# raised whenever the same settings give other pixels, so that vectors of
# differently made pictures are never compared
_RECIPE = 1


@dataclass(frozen=True, kw_only=True, slots=True)
class ImageConversion:
    """
    Settings that decide how pixel values become an 8-bit picture.

    The defaults follow the previews of the Hubble archive [1]_ [2]_, which the
    built-in model was trained on: the 0.5 and 99.5 percentiles are the limits,
    the upper limit is raised where the picture is mostly noise, and an asinh
    curve maps the values to grey levels.

    Parameters
    ----------
    percentiles : tuple of float
        Lower and upper percentile of the finite pixels of the reduced image,
        in percent.
    noise_range : float
        The upper limit is at least ``median + noise_range * (median - lower
        limit)``: pure noise stays dark grey instead of filling the range. 0
        switches this off.
    softening : float
        Where the asinh curve turns from linear to logarithmic, as a fraction
        of the range between the limits.
    white : float
        Value of ``softening * asinh(x / softening)`` that is shown as white,
        ``x`` being 0 at the lower limit and 1 at the upper limit.
    blank : int
        Grey level (0 to 255) of pixels that hold no data: NaN, infinite,
        masked, or outside the field of view.
    max_size : int
        Largest width and height of the picture in pixels. Larger images are
        averaged over square blocks of a whole number of pixels.
    fill_holes : int
        Rounds of filling isolated blank pixels from their neighbours, after
        the reduction. Each round closes holes by about one pixel from each
        side; straight borders stay. 0 switches this off.
    use_dq : bool
        Whether pixels that the data quality or weight extension marks as
        holding no information are left out.

    Raises
    ------
    InvalidQueryError
        If a value is of the wrong type or out of range.

    References
    ----------
    .. [1] ``caldp/create_previews.py`` in
       https://github.com/spacetelescope/caldp calls ``fitscut
       --autoscale=99.5 --asinh-scale`` for every image of the archive.
    .. [2] ``image_scale.c`` in https://github.com/spacetelescope/fitscut
       defines the limits and the curve (nonlinearity 3, white at 0.7).

    Examples
    --------
    >>> from paperclip.imaging import ImageConversion
    >>> ImageConversion(max_size=512).max_size
    512
    >>> len(ImageConversion().fingerprint)
    16
    """

    percentiles: tuple[float, float] = (0.5, 99.5)
    noise_range: float = 5.0
    softening: float = 1 / 3
    white: float = 0.7
    blank: int = 0
    max_size: int = 1024
    fill_holes: int = 2
    use_dq: bool = True

    def __post_init__(self):
        object.__setattr__(self, "percentiles", _percentiles(self.percentiles))
        for name, low, high in (
            ("noise_range", 0, 1e6),
            ("softening", 1e-6, 1e6),
            ("white", 1e-3, 100),
        ):
            value = getattr(self, name)
            if not _is_number(value) or not low <= value <= high:
                msg = f"{name} must be a number from {low} to {high}, got {value!r}"
                raise InvalidQueryError(msg)
            object.__setattr__(self, name, float(value))
        for name, low, high in (
            ("blank", 0, 255),
            ("max_size", 8, 16384),
            ("fill_holes", 0, 16),
        ):
            value = getattr(self, name)
            whole = isinstance(value, Integral) and not isinstance(value, bool)
            if not whole or not low <= value <= high:
                msg = f"{name} must be an integer from {low} to {high}, got {value!r}"
                raise InvalidQueryError(msg)
            object.__setattr__(self, name, int(value))
        if not isinstance(self.use_dq, bool):
            msg = f"use_dq must be True or False, got {self.use_dq!r}"
            raise InvalidQueryError(msg)

    def to_dict(self):
        """
        Return the settings as plain values, for provenance.

        Returns
        -------
        settings : dict
            One entry per field; `ImageConversion` accepts it as keywords.
        """
        return {**asdict(self), "percentiles": list(self.percentiles)}

    @property
    def fingerprint(self):
        """
        Short hash of the settings, the same in every process.

        Vectors of pictures with different fingerprints are not comparable.
        """
        text = json.dumps({"recipe": _RECIPE, **self.to_dict()}, sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:16]


def _is_number(value):
    return (
        isinstance(value, Real) and not isinstance(value, bool) and math.isfinite(value)
    )


def _percentiles(pair):
    """Return two floats in order, or raise InvalidQueryError."""
    rule = "percentiles must be two numbers with 0 <= low < high <= 100"
    try:
        low, high = pair
    except (TypeError, ValueError):
        msg = f"{rule}, got {pair!r}"
        raise InvalidQueryError(msg) from None
    if not (_is_number(low) and _is_number(high) and 0 <= low < high <= 100):
        msg = f"{rule}, got {low!r} and {high!r}"
        raise InvalidQueryError(msg)
    return float(low), float(high)


def resolve_conversion(conversion, settings):
    """
    Return the conversion to use, from an object or from loose settings.

    Parameters
    ----------
    conversion : `ImageConversion` or None
        Complete settings.
    settings : dict
        Fields of `ImageConversion` by name, used when ``conversion`` is None.

    Returns
    -------
    conversion : `ImageConversion`
        Validated settings.

    Raises
    ------
    InvalidQueryError
        If both are given, ``conversion`` is of another type, or a name is
        unknown; the nearest valid one is suggested.
    """
    if conversion is not None:
        if not isinstance(conversion, ImageConversion):
            kind = type(conversion).__name__
            msg = f"conversion must be an ImageConversion, got {kind}"
            raise InvalidQueryError(msg)
        if settings:
            msg = (
                f"give either conversion= or the settings {sorted(settings)}, not both"
            )
            raise InvalidQueryError(msg)
        return conversion
    known = [item.name for item in fields(ImageConversion)]
    for name in settings:
        if name not in known:
            near = get_close_matches(name, known, n=1)
            hint = f"; did you mean {near[0]!r}?" if near else ""
            msg = f"unknown image setting {name!r}{hint} Choose from {known}"
            raise InvalidQueryError(msg)
    return ImageConversion(**settings)
