# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""
From the text of a footprint to polygons and circles.

MAST gives footprints in a loose dialect of STC-S: upper or lower case, a frame
or none, several shapes in a row, a polygon closed by its first vertex or not,
the same vertex twice, edges that cross. All of that is taken; numbers that are
missing, not finite or off the sphere are damage.
"""

import re
from dataclasses import dataclass

import numpy as np

from paperclip.exceptions import FootprintError

__all__ = ["Circle", "Polygon", "parse_s_region"]

# Frames whose axes are those of ICRS to better than the positions are known:
# FK5 within 0.03 arcsec; the guide star catalogues within about an arcsecond,
# for which no general correction exists.
_ICRS_LIKE = frozenset(["ICRS", "FK5", "J2000", "GSC1", "GSC2", "UNKNOWNFRAME", "GSC"])
_OTHER_FRAMES = {
    "FK4": "fk4",
    "B1950": "fk4",
    "GALACTIC": "galactic",
    "ECLIPTIC": "barycentrictrueecliptic",
}
_PLACES = ("BARYCENTER", "GEOCENTER", "HELIOCENTER", "TOPOCENTER", "UNKNOWNREFPOS")
_IGNORED = frozenset(["UNION", "SPHERICAL2", "UNIT", "DEG", *_PLACES])
_SHAPES = frozenset(["POLYGON", "CIRCLE", "POSITION"])
_BLANKS = re.compile(r"[\s,()]+")
_LONGEST = 1_000_000  # characters; more is no footprint


@dataclass(frozen=True)
class Polygon:
    """
    Arcs of great circles around a part of the sky less than a hemisphere.

    Parameters
    ----------
    vertices : tuple of (float, float)
        Right ascension and declination (ICRS), in degrees, in order. The first
        vertex is not repeated at the end. Edges may cross: everything that the
        outline goes around counts as inside.
    """

    vertices: tuple


@dataclass(frozen=True)
class Circle:
    """
    All positions within a distance of a centre.

    Parameters
    ----------
    ra, dec : float
        Centre (ICRS), in degrees.
    radius : float
        Distance on the sphere, in degrees; 0 is a point.
    """

    ra: float
    dec: float
    radius: float


def parse_s_region(text):
    """
    Read the footprint of an observation.

    Parameters
    ----------
    text : str or None
        STC-S as in the column ``s_region`` of MAST: ``POLYGON`` or ``CIRCLE``,
        optionally a frame, then degrees; several shapes may follow each other
        or stand in ``UNION ( )``.

    Returns
    -------
    shapes : list of `Polygon` or `Circle`
        Their union is the footprint. Empty if the text is `None`, masked or
        blank.

    Raises
    ------
    FootprintError
        If the text is damaged; the message says where.

    Notes
    -----
    The grammar is that of the IVOA Note "STC-S: Space-Time Coordinate (STC)
    Metadata Linear String Implementation", version 1.33, of which archives
    write only a part.

    Examples
    --------
    >>> from paperclip.footprints import parse_s_region
    >>> parse_s_region("CIRCLE ICRS 10.68 41.27 0.625")
    [Circle(ra=10.68, dec=41.27, radius=0.625)]
    """
    if text is None or text is np.ma.masked:
        return []
    if not isinstance(text, str):
        msg = f"s_region must be a str, got {type(text).__name__}: {text!r:.80}"
        raise FootprintError(msg)
    if len(text) > _LONGEST:
        msg = f"s_region has {len(text)} characters; at most {_LONGEST} are read"
        raise FootprintError(msg)
    shapes, frame = [], "ICRS"
    for name, words in _groups(text):
        numbers = []
        for word in words:
            if word in _ICRS_LIKE or word in _OTHER_FRAMES:
                frame = word
            elif word not in _IGNORED:
                numbers.append(_number(word, text))
        if name is not None:
            shapes.append(_shape(name, numbers, frame, text))
        elif numbers:
            msg = f"s_region {text!r:.80} does not begin with POLYGON or CIRCLE"
            raise FootprintError(msg)
    return shapes


def _groups(text):
    """Yield (name of a shape, the words after it); None before the first."""
    name, words = None, []
    for word in filter(None, _BLANKS.split(text.upper())):
        if word in _SHAPES:
            yield name, words
            name, words = word, []
        else:
            words.append(word)
    yield name, words


def _number(word, text):
    try:
        value = float(word)
    except ValueError:
        msg = f"s_region {text!r:.80} has {word!r:.30}, which is neither a frame nor a"
        msg += " number; shapes that are read are POLYGON, CIRCLE and POSITION"
        raise FootprintError(msg) from None
    if not abs(value) <= 1e6:  # False for NaN as well
        msg = f"s_region {text!r:.80} has {word!r:.30}, which is no angle in degrees"
        raise FootprintError(msg)
    return value


def _shape(name, numbers, frame, text):
    radius = 0.0
    if name == "CIRCLE":
        if len(numbers) != 3:
            msg = f"CIRCLE needs 3 numbers, got {len(numbers)}: {text!r:.80}"
            raise FootprintError(msg)
        radius = numbers.pop()
        if not 0 <= radius <= 180:
            msg = f"CIRCLE has radius {radius} deg, not 0 to 180: {text!r:.80}"
            raise FootprintError(msg)
    elif not numbers or len(numbers) % 2:
        msg = f"{name} needs pairs of numbers, got {len(numbers)}: {text!r:.80}"
        raise FootprintError(msg)
    lon, lat = numbers[::2], numbers[1::2]
    if max(lat) > 90 or min(lat) < -90:
        worst = max(lat, key=abs)
        msg = f"{name} has declination {worst} deg, not -90 to 90: {text!r:.80}"
        raise FootprintError(msg)
    if frame in _OTHER_FRAMES:
        lon, lat = _to_icrs(lon, lat, _OTHER_FRAMES[frame])
    vertices = tuple((x % 360.0, y) for x, y in zip(lon, lat, strict=True))
    if name != "POLYGON":
        if len(vertices) != 1:
            msg = f"{name} needs one position, got {len(vertices)}: {text!r:.80}"
            raise FootprintError(msg)
        return Circle(*vertices[0], radius)
    return Polygon(_without_repeats(vertices))


def _without_repeats(vertices):
    """Drop a vertex that equals the one before it, and the closing one."""
    after = vertices[1:] + vertices[:1]
    kept = [v for v, other in zip(vertices, after, strict=True) if v != other]
    return tuple(kept) or vertices[:1]


def _to_icrs(lon, lat, frame):
    from astropy.coordinates import SkyCoord

    position = SkyCoord(lon, lat, unit="deg", frame=frame).icrs
    return position.ra.deg.tolist(), position.dec.deg.tolist()
