# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""A part of the sky that a user asks for, and what overlaps it."""

from functools import reduce

import numpy as np

from paperclip.exceptions import InvalidQueryError

from . import sphere
from .parse import Circle
from .shapes import Footprints, Shapes

__all__ = ["Part", "SkyArea", "enclosing", "sky_area"]

_OPERATORS = {"and": np.logical_and, "or": np.logical_or, "xor": np.logical_xor}
_FEW = 8  # small circles that are looked at one by one
_SMALL = 1.0  # degrees
_WHOLE_SKY = np.array([0.0, 0.0, 1.0]), np.pi


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
        return _around([(p.centre, p.radius) for p in self.parts])

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


class Part:
    """
    Shapes combined by and, or, xor and not.

    Parameters
    ----------
    tree : Polygon, Circle or tuple
        ``("not", tree)``, ``("and", tree, tree)``, ``"or"`` and ``"xor"`` alike.

    Notes
    -----
    A footprint F and the area R have a point in common exactly if one of these
    is in both: a point of the outline of F; a crossing of the outline of F with
    that of a shape of R; a point of the outline of each piece of R. For the
    last, one point of each outline and all crossings among the outlines of the
    shapes of R are enough.
    """

    def __init__(self, tree):
        leaves = []
        self._tree = _numbered(tree, leaves)
        self._leaves = Shapes(leaves)
        if np.isnan(self._leaves.radius).any():
            msg = (
                "region has a polygon that no hemisphere holds, or an edge of 180 deg; "
                "give it as a list of smaller ones"
            )
            raise InvalidQueryError(msg)
        self.centre, self.radius = _bounds(self._tree, self._leaves)
        self.is_circle = self._tree == 0 and bool(self._leaves.is_circle[0])
        self._given, self._outside = tree, None
        self._anchors = self._find_anchors()

    def _inside(self, points, outlines=()):
        """
        Say which points are in the area.

        On the outlines of the shapes that ``outlines`` numbers, both sides
        count.
        """
        values = []
        for row in range(len(self._leaves)):
            if row in outlines:
                values.append(None)
            else:
                rows = np.full(len(points), row)
                values.append(self._leaves.contain(rows, points))
        inside = np.zeros(len(points), dtype=bool)
        for choice in range(1 << len(outlines)):
            sides = iter(bool(choice >> bit & 1) for bit in range(len(outlines)))
            known = [
                np.full(len(points), next(sides)) if v is None else v for v in values
            ]
            inside |= _evaluate(self._tree, known)
        return inside

    def _find_anchors(self):
        """Return points that stand for the pieces of the area."""
        leaves, count = self._leaves, len(self._leaves)
        found = []
        for row in range(count):
            points = leaves.on_edge[row : row + 1]
            found.append(points[self._inside(points, (row,))])
            if count == 1:
                break  # a lone shape needs no more
            for other in range(row, count):
                _, points = leaves.crossings(np.array([other]), leaves, row)
                outlines = tuple({row, other})
                found.append(points[self._inside(points, outlines)])
        return np.concatenate(found)

    def contains(self, points):
        """
        Say which points are in the area.

        Parameters
        ----------
        points : `~numpy.ndarray`, shape (n, 3)
            Unit vectors.

        Returns
        -------
        inside : `~numpy.ndarray` of bool, shape (n,)
            Outlines included.
        """
        apart = np.linalg.norm(points - self.centre, axis=-1)
        inside = apart <= sphere.chord(self.radius) + sphere.TOUCH
        inside[inside] = self._inside(points[inside])
        return inside

    def meets(self, shapes, rows):
        """
        Say which shapes have a point in common with the area.

        Parameters
        ----------
        shapes : `Shapes`
            Of footprints.
        rows : `~numpy.ndarray` of int, shape (n,)
            Those to look at.

        Returns
        -------
        hits : `~numpy.ndarray` of bool, shape (n,)
            For each of ``rows``.
        """
        hits = self._inside(shapes.on_edge[rows])
        for point in self._anchors:
            todo = np.flatnonzero(~hits)
            points = np.broadcast_to(point, (len(todo), 3))
            hits[todo] = shapes.contain(rows[todo], points)
        for leaf in range(len(self._leaves)):
            todo = np.flatnonzero(~hits)
            places, points = shapes.crossings(rows[todo], self._leaves, leaf)
            hits[todo[places[self._inside(points, (leaf,))]]] = True
        return hits

    def holds(self, shapes, rows):
        """
        Say which shapes lie in the area, outlines apart.

        Parameters
        ----------
        shapes : `Shapes`
            Of footprints.
        rows : `~numpy.ndarray` of int, shape (n,)
            Those to look at.

        Returns
        -------
        hits : `~numpy.ndarray` of bool, shape (n,)
            For each of ``rows``.
        """
        if self.is_circle:
            apart = np.linalg.norm(shapes.centre[rows] - self.centre, axis=-1)
            room = self.radius - shapes.radius[rows]
            return (room > 0) & (apart < sphere.chord(np.maximum(room, 0)))
        if self._outside is None:
            self._outside = Part(("not", self._given))
        return ~self._outside.meets(shapes, rows)


def _numbered(tree, leaves):
    """Replace the shapes of a tree by their place in a list."""
    if isinstance(tree, tuple):
        return (tree[0], *(_numbered(branch, leaves) for branch in tree[1:]))
    leaves.append(tree)
    return len(leaves) - 1


def _evaluate(tree, values):
    if not isinstance(tree, tuple):
        return values[tree]
    name, *branches = tree
    branches = [_evaluate(branch, values) for branch in branches]
    return ~branches[0] if name == "not" else reduce(_OPERATORS[name], branches)


def _bounds(tree, leaves):
    """Return centre and radius of a circle around a tree."""
    if not isinstance(tree, tuple):
        return leaves.centre[tree], leaves.radius[tree]
    name, *branches = tree
    if name == "not":
        return _WHOLE_SKY
    bounds = [_bounds(branch, leaves) for branch in branches]
    return min(bounds, key=lambda b: b[1]) if name == "and" else _around(bounds)


def _around(circles):
    """Return a circle around circles, each a pair of centre and radius."""
    if len(circles) == 1:
        return circles[0]
    middle = np.sum([centre for centre, _ in circles], axis=0)
    size = np.linalg.norm(middle)
    if size < 1e-9:
        return _WHOLE_SKY
    middle = middle / size
    apart = [2 * np.arcsin(min(1, np.linalg.norm(c - middle) / 2)) for c, _ in circles]
    radius = max(a + r for a, (_, r) in zip(apart, circles, strict=True))
    return (middle, radius) if radius < np.pi else _WHOLE_SKY


def enclosing(centres, radii):
    """
    Return a circle around many circles.

    Parameters
    ----------
    centres : `~numpy.ndarray`, shape (n, 3)
        Unit vectors.
    radii : `~numpy.ndarray`, shape (n,)
        Radians.

    Returns
    -------
    centre : `~numpy.ndarray`, shape (3,)
        Unit vector.
    radius : float
        Radians; pi where no smaller circle was found.
    """
    weight = np.maximum(radii, 1e-9) ** 2
    middle = (centres * weight[:, None]).sum(axis=0)
    size = np.linalg.norm(middle)
    if size < 1e-6 * weight.sum():
        return _WHOLE_SKY
    middle = middle / size
    apart = np.linalg.norm(centres - middle, axis=-1)
    radius = (2 * np.arcsin(np.minimum(1, apart / 2)) + radii).max()
    return (middle, float(radius)) if radius < np.pi else _WHOLE_SKY


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
