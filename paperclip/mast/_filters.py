# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""Conditions in the form that MAST's services take, checked before they go."""

import math
from difflib import get_close_matches

import numpy as np
from astropy import units as u
from astropy.coordinates import Angle, SkyCoord

from paperclip.exceptions import InvalidQueryError

__all__ = ["build_filters", "position_text"]

_REALS = frozenset({"double", "float", "numeric"})
_OPEN = 1e30  # stands for an open end of a range; JSON has no infinity


def build_filters(filters, config):
    """
    Return conditions as MAST's filtered services take them.

    Parameters
    ----------
    filters : dict
        Column name to values, or to (min, max) for columns of real numbers.
    config : dict
        Column name to what MAST says of the column.

    Returns
    -------
    conditions : list of dict
        One per column.

    Raises
    ------
    InvalidQueryError
        If there is no such column, or the values do not fit it.
    """
    names = {name.lower(): name for name in config}
    conditions = []
    for column, given in filters.items():
        name = names.get(str(column).lower())
        if name is None:
            raise InvalidQueryError(_unknown(column, config))
        entry = config[name]
        kind = entry.get("vot.datatype", entry.get("type"))
        condition = {"paramName": name}
        if entry.get("separator"):
            condition["separator"] = entry["separator"]
        if kind in _REALS or entry.get("treatNumeric"):
            low, high = _range(name, given)
            condition["values"] = [{"min": low, "max": high}]
        else:
            condition |= _choice(name, given)
        conditions.append(condition)
    return conditions


def _unknown(column, config):
    near = get_close_matches(str(column).lower(), [n.lower() for n in config], n=1)
    near = [name for name in config if near and name.lower() == near[0]]
    hint = f"; did you mean {near[0]!r}?" if near else ""
    if str(column) in ("coordinates", "objectname", "radius", "region", "position"):
        hint = "; a place on the sky is given as position="
    return (
        f"MAST's observations have no column {column!r}{hint} The method columns() of "
        "the client lists all of them"
    )


def _values(name, given):
    """Return what was given as a list of at least one value."""
    if isinstance(given, str | bytes) or np.ndim(given) == 0:
        given = [given]
    values = list(given)
    if not values:
        msg = (
            f"{name} must have at least one value, got an empty {type(given).__name__}"
        )
        raise InvalidQueryError(msg)
    if any(value is None or np.ma.is_masked(value) for value in values):
        msg = f"{name} must not have missing values, got {given!r}"
        raise InvalidQueryError(msg)
    return values


def _choice(name, given):
    """Return the part of a condition that holds the values of a text column."""
    texts = []
    for value in _values(name, given):
        if isinstance(value, float | np.floating):
            if not math.isfinite(value):
                msg = f"{name} must have finite values, got {value!r}"
                raise InvalidQueryError(msg)
            value = int(value) if float(value).is_integer() else value
        text = value.decode() if isinstance(value, bytes) else str(value)
        if not text.strip():
            msg = f"{name} must not have blank values, got {value!r}"
            raise InvalidQueryError(msg)
        texts.append(text.strip())
    texts = list(dict.fromkeys(texts))
    wild = [text for text in texts if "*" in text or "%" in text]
    if len(wild) > 1:
        msg = (
            f"{name} may have one value with a wildcard, got {len(wild)}: {wild}; ask "
            "for each of them on its own"
        )
        raise InvalidQueryError(msg)
    condition = {"values": [text for text in texts if text not in wild]}
    if wild:
        condition["freeText"] = wild[0].replace("*", "%")
    return condition


def _range(name, given):
    """Return the ends of a range."""
    rule = f"{name} is a column of real numbers and takes (min, max)"
    try:
        ends = [] if isinstance(given, str | bytes) else list(given)
        low, high = ends
        low = -_OPEN if low is None else float(low)
        high = _OPEN if high is None else float(high)
    except (TypeError, ValueError, u.UnitsError):
        msg = f"{rule}, None for an open end; got {given!r}"
        raise InvalidQueryError(msg) from None
    if math.isnan(low) or math.isnan(high):
        msg = f"{rule} without NaN, got {given!r}"
        raise InvalidQueryError(msg)
    if low > high:
        msg = f"{rule}, min first, got {given!r}; did you mean ({high:g}, {low:g})?"
        raise InvalidQueryError(msg)
    return max(low, -_OPEN), min(high, _OPEN)


def position_text(position):
    """
    Return a cone as MAST's services take it.

    Parameters
    ----------
    position : tuple of (`~astropy.coordinates.SkyCoord`, angle)
        Centre in any frame, and radius.

    Returns
    -------
    text : str
        Right ascension, declination and radius in degrees (ICRS).

    Raises
    ------
    InvalidQueryError
        If it is not one finite position and an angle above 0 and up to 180
        degrees.
    """
    try:
        centre, radius = position
    except (TypeError, ValueError):
        centre = radius = None
    if not isinstance(centre, SkyCoord) or not centre.isscalar:
        msg = (
            "position must be (SkyCoord, angle) with one centre, got "
            f"{_shown(position)}"
        )
        raise InvalidQueryError(msg)
    try:
        size = float(Angle(radius).deg)
    except (TypeError, ValueError, u.UnitsError) as exc:
        msg = (
            "the radius of position must be an angle with a unit, such as "
            f"'3 arcmin' or 3 * u.arcmin, got {radius!r}"
        )
        raise InvalidQueryError(msg) from exc
    if not 0 < size <= 180:
        msg = (
            f"the radius of position must be above 0 and up to 180 deg, got {radius!r}"
        )
        raise InvalidQueryError(msg)
    place = centre.icrs
    ra, dec = float(place.ra.deg), float(place.dec.deg)
    if not (math.isfinite(ra) and math.isfinite(dec)):
        msg = f"the centre of position must be finite, got ra={ra}, dec={dec} deg"
        raise InvalidQueryError(msg)
    return f"{ra!r}, {dec!r}, {size!r}"


def _shown(value):
    return repr(value)[:100]
