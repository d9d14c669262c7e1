# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""A part of the sky that a user asks for, and what overlaps it."""

import numpy as np

from . import sphere
from .bounds import around
from .observed import Footprints
from .parse import Circle
from .parts import Part
from .shapes import Shapes

__all__ = ["SkyArea", "sky_area"]

_FEW = 8  # small circles that are looked at one by one
_SMALL = 1.0  # degrees


class SkyArea:
    """
    A part of the sky, made by `sky_area`.

    Parameters
    ----------
    parts : sequence
        Objects with ``centre``, ``radius``, ``contains`` and ``meets``, as `sky_area`
        makes them; the area is their union.

    Notes
    -----
    Edges are arcs of great circles and circles are those of the sphere; nothing
    is projected, so the poles and right ascension 0 are not special. What only
    touches the outline counts as inside.
    """

    def __init__(self, parts):
        self.parts = list(parts)

    def intersects(self, footprints):
        """
        Say which footprints have at least one point in common with the area.

        Parameters
        ----------
        footprints : sequence of str, `~astropy.table.Column` or `Footprints`
            Text as in the column ``s_region`` of MAST. Make a `Footprints` of
            it once to ask about many areas.

        Returns
        -------
        overlap : `~numpy.ndarray` of bool, shape (n,)
            False for a row whose footprint is missing or damaged; those are in
            the ``problems`` of a `Footprints`.
        """
        if not isinstance(footprints, Footprints):
            footprints = Footprints(footprints)
        overlap = np.zeros(len(footprints), dtype=bool)
        for part in self.parts:
            near = footprints.near(part.centre, part.radius)
            near = near[~overlap[footprints.owner[near]]]
            hits = part.meets(footprints, near)
            overlap[footprints.owner[near[hits]]] = True
        return overlap

    def sort_circles(self, centre, radius):
        """
        Say which circles meet the area, and which are certainly inside.

        Parameters
        ----------
        centre : `~numpy.ndarray`, shape (n, 3)
            Unit vectors (ICRS).
        radius : `~numpy.ndarray`, shape (n,)
            Radians.

        Returns
        -------
        meets : `~numpy.ndarray` of bool, shape (n,)
            Whether circle and area have a point in common.
        inside : `~numpy.ndarray` of bool, shape (n,)
            True only where all of the circle is in the area, but not always
            then: circles in one part of the area or more are seen.
        """
        circles = Shapes.from_circles(centre, radius)
        meets, inside = (np.zeros(len(radius), dtype=bool) for _ in range(2))
        for part in self.parts:
            near = circles.near(part.centre, part.radius)
            near = near[~inside[near]]
            near = near[part.meets(circles, near)]
            meets[near] = True
            inside[near] = part.holds(circles, near)
        return meets, inside

    def contains(self, ra, dec):
        """
        Say which positions are in the area.

        Parameters
        ----------
        ra, dec : array-like
            Degrees (ICRS). Masked or not finite is nowhere.

        Returns
        -------
        inside : `~numpy.ndarray` of bool
            Of the shape that ``ra`` and ``dec`` have together.
        """
        ra, dec = (
            np.ma.filled(np.ma.asarray(x, dtype=float), np.nan) for x in (ra, dec)
        )
        ra, dec = np.broadcast_arrays(ra, dec)
        known = np.isfinite(ra) & (np.abs(dec) <= 90)
        points = sphere.unit_vectors(ra[known], dec[known])
        found = np.zeros(len(points), dtype=bool)
        for part in self.parts:
            found |= part.contains(points)
        inside = np.zeros(ra.shape, dtype=bool)
        inside[known] = found
        return inside

    @property
    def is_circle(self):
        """Whether the area is a single circle or position (bool)."""
        return len(self.parts) == 1 and getattr(self.parts[0], "is_circle", False)

    @property
    def cap(self):
        """Centre (unit vector) and radius (radians) of `bounding_circle`."""
        return around([(p.centre, p.radius) for p in self.parts])

    @property
    def bounding_circle(self):
        """
        A circle that holds the area, not always the smallest one.

        Returns
        -------
        centre : `~astropy.coordinates.SkyCoord`
            In ICRS.
        radius : `~astropy.coordinates.Angle`
            At most 180 deg.
        """
        from astropy.coordinates import Angle, SkyCoord

        centre, radius = self.cap
        ra = np.degrees(np.arctan2(centre[1], centre[0])) % 360
        dec = np.degrees(np.arctan2(centre[2], np.hypot(centre[0], centre[1])))
        radius = min(180.0, np.degrees(radius) + 1e-10)
        return SkyCoord(ra, dec, unit="deg"), Angle(radius, unit="deg")

    def __repr__(self):
        centre, radius = self.bounding_circle
        where = f"{centre.ra.deg:.5f} {centre.dec.deg:+.5f}, {radius.deg:.5g} deg"
        return f"<SkyArea of {len(self.parts)} parts within {where}>"


def sky_area(region, radius=None):
    """
    Return the part of the sky that a region or a centre and a radius name.

    Parameters
    ----------
    region : region, `~astropy.coordinates.SkyCoord`, str or sequence
        A sky region of the package *regions* (circle, ellipse, rectangle,
        polygon, annulus, point, line, their combinations, and the spherical
        ones), in any frame; a position, as `~astropy.coordinates.SkyCoord` or
        as text such as ``"10.68 41.27"`` (degrees), ``"00h42m44s +41d16m"`` or
        ``"00:42:44 +41:16:00"`` (hours and degrees);
        a ``mocpy.MOC``; or several of these, for everything that is in at
        least one of them.
    radius : `~astropy.coordinates.Angle`, quantity, str or float, optional
        Only for positions, and needed there; a number is in degrees.

    Returns
    -------
    area : `SkyArea`
        In ICRS.

    Raises
    ------
    InvalidQueryError
        If there is no such area: coordinates that are not finite, no radius, a
        polygon that no hemisphere holds.

    Notes
    -----
    Widths and heights of rectangles and ellipses are those along the two great
    circles through the centre; edges of rectangles are great circles. An
    ellipse is a polygon of 512 vertices of the same area, which differs by
    less than 2e-5 of its size. A polygon is its smaller side.

    Examples
    --------
    >>> from paperclip.footprints import sky_area
    >>> area = sky_area("10.68 41.27", "2 arcmin")
    >>> area.intersects(["CIRCLE ICRS 10.7 41.27 0.01", "CIRCLE ICRS 11 41 0.01"])
    array([ True, False])
    """
    from .reading import trees_of

    trees = trees_of(region, radius)
    small = [t for t in trees if isinstance(t, Circle) and t.radius <= _SMALL]
    parts = []
    if len(small) > _FEW:
        from .cones import ConesPart

        values = np.array([(c.ra, c.dec, c.radius) for c in small])
        centres = sphere.unit_vectors(values[:, 0], values[:, 1])
        parts.append(ConesPart(centres, np.radians(values[:, 2])))
        trees = [t for t in trees if not isinstance(t, Circle) or t.radius > _SMALL]
    parts += [tree if hasattr(tree, "meets") else Part(tree) for tree in trees]
    return SkyArea(parts)
