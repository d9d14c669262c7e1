# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""Many polygons and circles as arrays: inside, and where outlines meet."""

import numpy as np

from . import sphere
from .parse import Circle

__all__ = ["Shapes"]

_BATCH = 500_000  # pairs of edges at a time, some 100 MB
_WIDEST = np.pi / 2 - 1e-6


class Shapes:
    """
    Polygons and circles, packed.

    Parameters
    ----------
    shapes : sequence of `~paperclip.footprints.Polygon` or \
            `~paperclip.footprints.Circle`
        Of one sphere.

    Attributes
    ----------
    centre : `~numpy.ndarray`, shape (n, 3)
        Unit vectors of circles that each shape fits in; of the circle itself
        for circles.
    radius : `~numpy.ndarray`, shape (n,)
        Their radii in radians; NaN for a polygon that no hemisphere holds.
    on_edge : `~numpy.ndarray`, shape (n, 3)
        A point of each outline.
    """

    def __init__(self, shapes):
        circles = [_as_circle(shape) for shape in shapes]
        self.is_circle = np.array([c is not None for c in circles], dtype=bool)
        sizes = [0 if c else len(s.vertices) for c, s in zip(circles, shapes)]  # noqa: B905
        self._offset = np.concatenate([[0], np.cumsum(sizes, dtype=np.int64)])
        vertices = [v for c, s in zip(circles, shapes) if not c for v in s.vertices]  # noqa: B905
        lon, lat = np.array(vertices, dtype=float).reshape(-1, 2).T
        self._start = sphere.unit_vectors(lon, lat)
        self._end = np.roll(self._start, -1, axis=0)
        last = self._offset[1:] - 1
        polygons = np.flatnonzero(~self.is_circle)
        self._end[last[polygons]] = self._start[self._offset[polygons]]
        self.centre = np.zeros((len(circles), 3))
        self.radius = np.zeros(len(circles))
        self.on_edge = np.zeros((len(circles), 3))
        self._place_circles([c for c in circles if c])
        self._place_polygons(polygons)

    @classmethod
    def from_circles(cls, centre, radius):
        """
        Return circles that are at hand as arrays.

        Parameters
        ----------
        centre : `~numpy.ndarray`, shape (n, 3)
            Unit vectors.
        radius : `~numpy.ndarray`, shape (n,)
            Radians.

        Returns
        -------
        shapes : `Shapes`
            Without a copy of the arrays.
        """
        self = cls([])
        self.is_circle = np.ones(len(radius), dtype=bool)
        self._offset = np.zeros(len(radius) + 1, dtype=np.int64)
        self.centre, self.radius = centre, radius
        self._aside = sphere.basis(centre)
        self.on_edge = _rims(centre, radius, self._aside[0])
        return self

    def __len__(self):
        return len(self.radius)

    def _place_circles(self, circles):
        here = np.flatnonzero(self.is_circle)
        values = np.array([(c.ra, c.dec, c.radius) for c in circles], dtype=float)
        lon, lat, radius = values.reshape(-1, 3).T
        centre = sphere.unit_vectors(lon, lat)
        radius = np.radians(radius)
        aside, _ = sphere.basis(centre)
        self.centre[here], self.radius[here] = centre, radius
        self.on_edge[here] = _rims(centre, radius, aside)

    def _place_polygons(self, here):
        if not here.size:
            self._plane = np.empty((0, 2))
            self._aside = sphere.basis(self.centre)
            return
        self.on_edge[here] = self._start[self._offset[here]]
        total = np.add.reduceat(self._start, self._offset[here])
        size = np.linalg.norm(total, axis=-1, keepdims=True)
        centre = np.where(size > 1e-9, total / np.maximum(size, 1e-9), [0, 0, 1.0])
        self.centre[here] = centre
        owner = np.repeat(here, np.diff(self._offset)[here])
        apart = sphere.angle(self.centre[owner], self._start)
        self.radius[here] = np.maximum.reduceat(apart, self._offset[here])
        for row in here[self.radius[here] >= _WIDEST]:
            self.centre[row], self.radius[row] = _smallest_cap(self.vertices(row))
        first, second = self._aside = sphere.basis(self.centre)
        # the plane in which arcs of great circles are straight
        depth = np.vecdot(self._start, self.centre[owner])
        with np.errstate(divide="ignore", invalid="ignore"):
            plane = [np.vecdot(self._start, e[owner]) / depth for e in (first, second)]
        self._plane = np.stack(plane, axis=-1)
        arcs = sphere.angle(self._start, self._end)
        broken = np.maximum.reduceat(arcs, self._offset[here]) > np.pi - 1e-9
        self.radius[here[broken]] = np.nan

    def vertices(self, row):
        """
        Return the vertices of one polygon.

        Parameters
        ----------
        row : int
            Which shape.

        Returns
        -------
        vertices : `~numpy.ndarray`, shape (m, 3)
            Unit vectors; none for a circle.
        """
        return self._start[self._offset[row] : self._offset[row + 1]]

    def near(self, centre, radius):
        """
        Return the shapes whose bounding circles meet a circle.

        Parameters
        ----------
        centre : `~numpy.ndarray`, shape (3,)
            Unit vector.
        radius : float
            Radians; NaN meets nothing.

        Returns
        -------
        rows : `~numpy.ndarray` of int
            Ascending.
        """
        square = 2 - 2 * (self.centre @ centre)
        reach = sphere.chord(np.minimum(np.pi, self.radius + radius)) ** 2
        return np.flatnonzero(square <= reach + 1e-14)

    def contain(self, rows, points):
        """
        Say which points are in which shapes, outlines included.

        Parameters
        ----------
        rows : `~numpy.ndarray` of int, shape (n,)
            Shapes.
        points : `~numpy.ndarray`, shape (n, 3)
            One point for each of them.

        Returns
        -------
        inside : `~numpy.ndarray` of bool, shape (n,)
            Polygons contain what their outline goes around, in the sense of a
            winding number that is not zero.
        """
        inside = np.zeros(len(rows), dtype=bool)
        apart = np.linalg.norm(self.centre[rows] - points, axis=-1)
        within = apart <= sphere.chord(self.radius[rows]) + sphere.TOUCH
        circle = self.is_circle[rows]
        inside[circle] = within[circle]
        todo = np.flatnonzero(within & ~circle)
        for part in self._parts(rows[todo]):
            here = todo[part]
            inside[here] = self._winding(rows[here], points[here]) != 0
        return inside

    def _parts(self, rows, each=1):
        """Cut a list of shapes so that a part has few edges."""
        cost = np.cumsum(np.diff(self._offset)[rows]) * each
        cuts = np.searchsorted(cost, np.arange(_BATCH, cost[-1:].sum(), _BATCH))
        return [part for part in np.split(np.arange(len(rows)), cuts) if part.size]

    def _edges(self, rows):
        """Return, for all edges of some shapes, the place in ``rows`` and the edge."""
        count = np.diff(self._offset)[rows]
        place = np.repeat(np.arange(len(rows)), count)
        begin = np.repeat(self._offset[rows] - np.cumsum(count) + count, count)
        return place, np.arange(len(place)) + begin

    def _winding(self, rows, points):
        place, edge = self._edges(rows)
        depth = np.vecdot(points, self.centre[rows])
        first, second = (np.vecdot(points, e[rows]) / depth for e in self._aside)
        after = self._next(rows, place, edge)
        x1, y1 = self._plane[edge].T
        x2, y2 = self._plane[after].T
        x, y = first[place], second[place]
        left = (x2 - x1) * (y - y1) - (x - x1) * (y2 - y1)
        up = (y1 <= y) & (y < y2) & (left > 0)
        down = (y2 <= y) & (y < y1) & (left < 0)
        return np.bincount(place, weights=up.astype(int) - down, minlength=len(rows))

    def _next(self, rows, place, edge):
        after = edge + 1
        closing = after == self._offset[rows + 1][place]
        return np.where(closing, self._offset[rows][place], after)

    def crossings(self, rows, other, row):
        """
        Return where the outlines of some shapes meet that of another one.

        Parameters
        ----------
        rows : `~numpy.ndarray` of int, shape (n,)
            Shapes of this object.
        other : `Shapes`
            May be the same object.
        row : int
            The shape of ``other``.

        Returns
        -------
        places : `~numpy.ndarray` of int, shape (m,)
            Places in ``rows``, as often as their outlines meet.
        points : `~numpy.ndarray`, shape (m, 3)
            Where.
        """
        found = [(np.empty(0, dtype=np.int64), np.empty((0, 3)))]
        circles = np.flatnonzero(self.is_circle[rows])
        size = len(circles)
        mine = self.centre[rows[circles]], self.radius[rows[circles]]
        if other.is_circle[row]:
            centre, radius = other.centre[row], other.radius[row]
            its = np.broadcast_to(centre, (size, 3)), np.full(size, radius)
            places, points = sphere.circle_circle_crossings(*mine, *its)
            found.append((circles[places], points))
            for part in self._parts(rows):
                place, edge = self._edges(rows[part])
                its = (
                    np.broadcast_to(centre, (len(edge), 3)),
                    np.full(len(edge), radius),
                )
                ends = self._start[edge], self._end[edge]
                which, points = sphere.arc_circle_crossings(*ends, *its)
                found.append((part[place[which]], points))
        else:
            found += self._crossings_of_arcs(rows, circles, mine, other, row)
        return tuple(np.concatenate(part) for part in zip(*found, strict=True))

    def _crossings_of_arcs(self, rows, circles, mine, other, row):
        _, its_edges = other._edges(np.array([row]))
        start, end = other._start[its_edges], other._end[its_edges]
        count = len(start)
        size = max(1, _BATCH // count)
        for first in range(0, len(circles), size):
            some = np.arange(first, min(first + size, len(circles)))
            which = np.repeat(some, count)
            ends = [np.tile(x, (len(some), 1)) for x in (start, end)]
            met, points = sphere.arc_circle_crossings(*ends, *(x[which] for x in mine))
            yield circles[which[met]], points
        for part in self._parts(rows, each=count):
            place, edge = self._edges(rows[part])
            edges, theirs = np.repeat(edge, count), np.tile(its_edges, len(edge))
            ends = self._start[edges], self._end[edges]
            pair = other._start[theirs], other._end[theirs]
            met, points = sphere.arc_arc_crossings(*ends, *pair)
            yield part[place[met // count]], points

    def meet_circles(self, rows, centre, radius):
        """
        Say which shapes have a point in common with circles, pair by pair.

        Parameters
        ----------
        rows : `~numpy.ndarray` of int, shape (n,)
            Shapes.
        centre : `~numpy.ndarray`, shape (n, 3)
            Centres of the circles, unit vectors.
        radius : `~numpy.ndarray`, shape (n,)
            Their radii in radians.

        Returns
        -------
        hits : `~numpy.ndarray` of bool, shape (n,)
            Outlines included.
        """
        hits = self.contain(rows, centre)
        apart = np.linalg.norm(self.on_edge[rows] - centre, axis=-1)
        hits |= apart <= sphere.chord(radius) + sphere.TOUCH
        circle = self.is_circle[rows]
        both = np.minimum(np.pi, self.radius[rows] + radius)
        apart = np.linalg.norm(self.centre[rows] - centre, axis=-1)
        hits |= circle & (apart <= sphere.chord(both) + sphere.TOUCH)
        todo = np.flatnonzero(~hits & ~circle)
        for part in self._parts(rows[todo]):
            here = todo[part]
            place, edge = self._edges(rows[here])
            its = centre[here[place]], radius[here[place]]
            met, _ = sphere.arc_circle_crossings(
                self._start[edge], self._end[edge], *its
            )
            hits[here[place[met]]] = True
        return hits

    def touch(self, rows, other, theirs):
        """
        Say which outlines meet, pair by pair.

        Parameters
        ----------
        rows : `~numpy.ndarray` of int, shape (n,)
            Shapes of this object.
        other : `Shapes`
            Polygons only.
        theirs : `~numpy.ndarray` of int, shape (n,)
            Polygons of ``other``.

        Returns
        -------
        hits : `~numpy.ndarray` of bool, shape (n,)
            Ends of edges included.
        """
        hits = np.zeros(len(rows), dtype=bool)
        sizes, its_sizes = np.diff(self._offset)[rows], np.diff(other._offset)[theirs]
        cost = np.cumsum(np.maximum(sizes, 1) * its_sizes)
        cuts = np.searchsorted(cost, np.arange(_BATCH, cost[-1:].sum(), _BATCH))
        for part in np.split(np.arange(len(rows)), np.unique(cuts)):
            circle = self.is_circle[rows[part]]
            here = part[circle]
            place, edge = other._edges(theirs[here])
            row = rows[here[place]]
            ends = other._start[edge], other._end[edge]
            met, _ = sphere.arc_circle_crossings(
                *ends, self.centre[row], self.radius[row]
            )
            hits[here[place[met]]] = True
            here = part[~circle]
            place, edge = self._edges(rows[here])
            count = its_sizes[here[place]]
            first = other._offset[theirs[here[place]]] - np.cumsum(count) + count
            pair = np.repeat(np.arange(len(edge)), count)
            its_edge = np.arange(len(pair)) + np.repeat(first, count)
            mine = self._start[edge[pair]], self._end[edge[pair]]
            its = other._start[its_edge], other._end[its_edge]
            met, _ = sphere.arc_arc_crossings(*mine, *its)
            hits[here[place[pair[met]]]] = True
        return hits


def _as_circle(shape):
    """Return circles, and polygons of one vertex as points; None for others."""
    if isinstance(shape, Circle):
        return shape
    return Circle(*shape.vertices[0], 0.0) if len(shape.vertices) == 1 else None


def _rims(centre, radius, aside):
    """Return a point of each of some circles."""
    return np.cos(radius)[:, None] * centre + np.sin(radius)[:, None] * aside


def _smallest_cap(vertices):
    """
    Return about the smallest circle around points, NaN beyond a hemisphere.

    Steps of falling size towards the farthest point: Badoiu and Clarkson 2003,
    "Smaller core-sets for balls", Section 3.
    """
    centre = vertices.mean(axis=0)
    for step in range(1, 2000):
        farthest = np.argmax(np.linalg.norm(vertices - centre, axis=-1))
        centre = centre + (vertices[farthest] - centre) / (step + 1)
    size = np.linalg.norm(centre)
    if size < 1e-6:
        return np.array([0.0, 0.0, 1.0]), np.nan
    centre /= size
    radius = sphere.angle(np.broadcast_to(centre, vertices.shape), vertices).max()
    return centre, radius if radius < _WIDEST else np.nan
