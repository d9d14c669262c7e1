# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""From what a user gives as an area to polygons and circles."""

import operator
from functools import reduce
from numbers import Real

import numpy as np
from astropy import units as u
from astropy.coordinates import Angle, ConvertError, SkyCoord

from paperclip.exceptions import InvalidQueryError

from . import sphere
from .parse import Circle, Polygon

__all__ = ["trees_of"]

_CORNERS = 512  # of an ellipse
_WHOLE_SKY = Circle(0.0, 90.0, 180.0)
_NAMES = {operator.and_: "and", operator.or_: "or", operator.xor: "xor"}


def trees_of(region, radius=None):
    """
    Return what an area is made of.

    Parameters
    ----------
    region : object
        As `~paperclip.footprints.sky_area` takes it.
    radius : object, optional
        Likewise.

    Returns
    -------
    trees : list
        Their union is the area. Each is a shape, a tuple of an operator and
        trees, or an object with a method ``meets``.

    Raises
    ------
    InvalidQueryError
        If there is no such area.
    """
    from .area import SkyArea

    if isinstance(region, (SkyCoord, str)) or _is_pair(region):
        return _circles(_position(region), radius)
    if isinstance(region, (list, tuple, np.ndarray)) or _is_regions(region):
        if not len(region):
            msg = "region must not be an empty list; give at least one region"
            raise InvalidQueryError(msg)
        return [tree for item in region for tree in trees_of(item, radius)]
    if radius is not None:
        msg = (
            f"radius must be None beside a {type(region).__name__}, got {radius!r}; it "
            "belongs to a position"
        )
        raise InvalidQueryError(msg)
    if isinstance(region, SkyArea):
        return region.parts
    if type(region).__module__.split(".")[0] == "mocpy":
        from .coverage import MocPart

        return [MocPart(region)]
    return _alternatives(_tree(region))


def _is_pair(region):
    if not isinstance(region, (list, tuple)) or len(region) != 2:
        return False
    return all(isinstance(value, (Real, u.Quantity)) for value in region)


def _is_regions(region):
    return type(region).__name__ == "Regions" and hasattr(region, "regions")


def _alternatives(tree):
    """Split a union into its members, which are looked at one by one."""
    if isinstance(tree, tuple) and tree[0] == "or":
        return [item for branch in tree[1:] for item in _alternatives(branch)]
    return [tree]


def _icrs(position):
    """Return a position in ICRS; some frames have no way there."""
    try:
        return position.icrs
    except (AttributeError, ConvertError, TypeError, ValueError) as exc:
        msg = (
            f"region is given in the frame {position.frame.name!r}, which cannot be "
            f"turned into ICRS as it is ({exc}); give its missing attributes, or a "
            "position in ICRS"
        )
        raise InvalidQueryError(msg) from exc


def _position(region):
    if isinstance(region, SkyCoord):
        return _icrs(region)
    try:
        if isinstance(region, str):
            text = region.replace(",", " ")
            position = SkyCoord(text, **_units(text)).icrs
        else:
            position = SkyCoord(*(u.Quantity(value, u.deg) for value in region))
    except (ValueError, TypeError, u.UnitsError) as exc:
        msg = (
            f"region must be a sky region or a position, got {region!r:.80}: "
            f"{str(exc).rstrip('.')}. "
            "For the name of an object use query_object"
        )
        raise InvalidQueryError(msg) from exc
    return position


def _units(text):
    """Return the units of '10.68 41.27' and '00:42:44 +41:16'."""
    if any(letter in text.lower() for letter in "hdm°"):
        return {}  # they are in the text
    return {"unit": ("hourangle", "deg") if ":" in text else "deg"}


def _circles(position, radius):
    if radius is None:
        msg = (
            "radius must be given with a position, for example radius='2 arcmin', got "
            "None"
        )
        raise InvalidQueryError(msg)
    radius = _radius(radius)
    ra, dec = _degrees(position)
    return [Circle(x, y, radius) for x, y in zip(ra, dec, strict=True)]


def _radius(radius):
    try:
        if isinstance(radius, str):
            value = Angle(radius)
        else:
            value = Angle(u.Quantity(radius, None if _has_unit(radius) else u.deg))
        value = float(value.to_value(u.deg))
    except (ValueError, TypeError, u.UnitsError) as exc:
        msg = f"radius must be an angle, for example '2 arcmin', got {radius!r:.60}"
        raise InvalidQueryError(msg) from exc
    if not 0 <= value <= 180:
        msg = f"radius must be between 0 and 180 deg, got {radius!r:.60}"
        raise InvalidQueryError(msg)
    return value


def _has_unit(value):
    return getattr(value, "unit", None) is not None


def _degrees(position):
    """Return right ascensions and declinations as lists of finite floats."""
    position = _icrs(position)
    ra = np.ma.filled(np.ma.atleast_1d(np.ma.asarray(position.ra.deg)), np.nan)
    dec = np.ma.filled(np.ma.atleast_1d(np.ma.asarray(position.dec.deg)), np.nan)
    if not ra.size:
        msg = "region must have at least one position, got an empty SkyCoord"
        raise InvalidQueryError(msg)
    good = np.isfinite(ra) & np.isfinite(dec)
    if not good.all():
        where = int(np.argmin(good))
        msg = (
            "region must have finite coordinates, got right ascension "
            f"{ra.flat[where]} and declination {dec.flat[where]} deg at place {where}"
        )
        raise InvalidQueryError(msg)
    return ra.ravel().tolist(), dec.ravel().tolist()


def _circle(centre, radius):
    ((ra,), (dec,)) = _degrees(centre)
    return Circle(ra, dec, _radius(radius))


def _polygon(vertices):
    ra, dec = _degrees(vertices)
    polygon = tuple(zip(ra, dec, strict=True))
    if len(set(polygon)) < 3:
        msg = f"region has a polygon of {len(set(polygon))} different vertices; 3 or "
        msg += "more are needed"
        raise InvalidQueryError(msg)
    return Polygon(polygon)


def _on_tangent_plane(region, width, height, outline):
    """
    Return a polygon around the centre of a region.

    ``outline`` holds points of the plane for half a width and half a height of
    one; the angle turns from the width, along the parallel, towards north.
    """
    sides = [u.Quantity(size).to_value(u.deg) for size in (width, height)]
    for name, size in zip(("width", "height"), sides, strict=True):
        if not 0 <= size < 179:
            msg = f"region must have a {name} of 0 to 179 deg, got {size} deg"
            raise InvalidQueryError(msg)
    _degrees(region.center)  # finite
    right, up = np.asarray(outline).T * np.tan(np.radians(sides) / 2)[:, None]
    angle = region.angle.to_value(u.rad)
    # seen with north up and east to the left, so the width points to the west
    east = -(right * np.cos(angle) - up * np.sin(angle))
    north = right * np.sin(angle) + up * np.cos(angle)
    frame = region.center.spherical
    lon, lat = (float(x.to_value(u.rad)) for x in (frame.lon, frame.lat))
    centre = sphere.unit_vectors(np.degrees(lon), np.degrees(lat))
    to_east = np.array([-np.sin(lon), np.cos(lon), 0.0])
    to_north = np.cross(centre, to_east)
    points = centre + east[:, None] * to_east + north[:, None] * to_north
    lon = np.degrees(np.arctan2(points[:, 1], points[:, 0]))
    lat = np.degrees(np.arctan2(points[:, 2], np.hypot(points[:, 0], points[:, 1])))
    frame = region.center.frame.replicate_without_data()
    vertices = SkyCoord(lon, lat, unit="deg", frame=frame)
    ra, dec = _degrees(vertices)
    return Polygon(tuple(zip(ra, dec, strict=True)))


def _rectangle(region, width, height):
    return _on_tangent_plane(
        region, width, height, [(1, 1), (-1, 1), (-1, -1), (1, -1)]
    )


def _ellipse(region, width, height):
    angle = np.arange(_CORNERS) * (2 * np.pi / _CORNERS)
    step = 2 * np.pi / _CORNERS
    grow = np.sqrt(step / np.sin(step))  # the area of the ellipse
    outline = grow * np.stack([np.cos(angle), np.sin(angle)], axis=-1)
    return _on_tangent_plane(region, width, height, outline)


def _tree(region):
    """Return the tree of one region of the package regions."""
    import regions

    if not isinstance(region, (regions.SkyRegion, *_spherical())):
        hint = ""
        if isinstance(region, regions.PixelRegion):
            hint = "; turn it into a sky region with its to_sky(wcs)"
        msg = (
            "region must be a sky region, a position or a list of them, got "
            f"{type(region).__name__}{hint}"
        )
        raise InvalidQueryError(msg)
    name = type(region).__name__.removesuffix("SkyRegion").removesuffix("Spherical")
    maker = _MAKERS.get(name)
    if maker is None:
        msg = f"region of type {type(region).__name__} has no area that can be searched"
        raise InvalidQueryError(msg)
    return maker(region)


def _spherical():
    import regions

    kind = getattr(regions, "SphericalSkyRegion", None)  # since regions 0.11
    return () if kind is None else (kind,)


def _compound(region):
    name = _NAMES.get(region.operator)
    if name is None:
        msg = f"region must be combined by &, | or ^, got {region.operator!r}"
        raise InvalidQueryError(msg)
    return (name, _tree(region.region1), _tree(region.region2))


def _without(outer, inner):
    return ("and", outer, ("not", inner))


def _annulus(shape):
    def make(region):
        return _without(
            shape(region, region.outer_width, region.outer_height),
            shape(region, region.inner_width, region.inner_height),
        )

    return make


def _circle_annulus(region):
    return _without(
        _circle(region.center, region.outer_radius),
        _circle(region.center, region.inner_radius),
    )


def _line(region):
    ends = [_degrees(end) for end in (region.start, region.end)]
    return Polygon(tuple((ra[0], dec[0]) for ra, dec in ends))


def _half_sky(lon, lat, frame):
    return _circle(SkyCoord(lon, lat, unit="deg", frame=frame), 90 * u.deg)


def _lune(region):
    return (
        "and",
        _circle(region.center_gc1, 90 * u.deg),
        _circle(region.center_gc2, 90 * u.deg),
    )


def _range(region):
    """Bounds in longitude are half-spheres, those in latitude circles at the pole."""
    frame = region.frame
    trees = []
    if region.latitude_range is not None:
        low, high = Angle(region.latitude_range).to_value(u.deg)
        pole = SkyCoord(0, 90, unit="deg", frame=frame)
        above = _circle(pole, (90 - low) * u.deg)
        below = ("not", _circle(pole, (90 - high) * u.deg))
        trees.append(("and" if low <= high else "or", above, below))
    if region.longitude_range is not None:
        low, high = Angle(region.longitude_range).to_value(u.deg)
        join = "and" if (high - low) % 360 <= 180 else "or"
        halves = _half_sky(low + 90, 0, frame), _half_sky(high - 90, 0, frame)
        if high - low != 360:
            trees.append((join, *halves))
    if region.latitude_range is None and region.longitude_range is None:
        msg = "region of type RangeSphericalSkyRegion must be given in its own frame"
        raise InvalidQueryError(msg)
    return reduce(lambda a, b: ("and", a, b), trees) if trees else _WHOLE_SKY


_MAKERS = {
    "Circle": lambda region: _circle(region.center, region.radius),
    "Point": lambda region: _circle(region.center, 0.0),
    "Text": lambda region: _circle(region.center, 0.0),
    "Polygon": lambda region: _polygon(region.vertices),
    "Rectangle": lambda region: _rectangle(region, region.width, region.height),
    "Ellipse": lambda region: _ellipse(region, region.width, region.height),
    "CircleAnnulus": _circle_annulus,
    "RectangleAnnulus": _annulus(_rectangle),
    "EllipseAnnulus": _annulus(_ellipse),
    "Line": _line,
    "Compound": _compound,
    "Lune": _lune,
    "Range": _range,
    "WholeSky": lambda _: _WHOLE_SKY,
}
