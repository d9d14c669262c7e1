# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""Many small circles as one part of an area, such as those around a catalogue."""

import numpy as np

from . import cells, sphere
from .bounds import enclosing

__all__ = ["ConesPart"]

_SPLIT = np.radians(1.0)  # shapes that are larger are looked up on their own
_ROWS = 8192  # shapes looked up at a time
_PAIRS = 500_000  # pairs of a shape and a circle tested at a time


class ConesPart:
    """
    The union of circles as a part of an area.

    Parameters
    ----------
    centres : `~numpy.ndarray`, shape (n, 3)
        Unit vectors (ICRS).
    radii : `~numpy.ndarray`, shape (n,)
        Radians; better not much larger than the smallest.

    Notes
    -----
    A circle and a shape are tested if the centre of the shape is in the cell of
    HEALPix that holds the centre of the circle or in one of the eight around it,
    of an order at which cells are wider than both together.
    """

    def __init__(self, centres, radii):
        self._centres, self._radii = centres, radii
        self.centre, self.radius = enclosing(centres, radii)
        self._lists = {}

    def ranges(self, widen):
        """
        Return ranges of cells that hold all places near the circles.

        Parameters
        ----------
        widen : float
            How near, in radians.

        Returns
        -------
        start, stop : `~numpy.ndarray` of int64, shape (m,)
            Of order 29, half open.
        """
        return cells.around(self._centres, self._radii + widen)

    def contains(self, points):
        """
        Say which points are in a circle.

        Parameters
        ----------
        points : `~numpy.ndarray`, shape (n, 3)
            Unit vectors.

        Returns
        -------
        inside : `~numpy.ndarray` of bool, shape (n,)
            Outlines included.
        """
        inside = np.zeros(len(points), dtype=bool)
        for place, cone in self._pairs(points, np.zeros(len(points))):
            apart = np.linalg.norm(points[place] - self._centres[cone], axis=-1)
            reach = sphere.chord(self._radii[cone]) + sphere.TOUCH
            inside[place[apart <= reach]] = True
        return inside

    def meets(self, shapes, rows):
        """
        Say which shapes have a point in common with a circle.

        Parameters
        ----------
        shapes : `~paperclip.footprints.shapes.Shapes`
            Of footprints.
        rows : `~numpy.ndarray` of int, shape (n,)
            Those to look at.

        Returns
        -------
        hits : `~numpy.ndarray` of bool, shape (n,)
            For each of ``rows``.
        """
        hits = np.zeros(len(rows), dtype=bool)
        for place, cone in self._pairs(shapes.centre[rows], shapes.radius[rows]):
            apart = np.linalg.norm(
                shapes.centre[rows[place]] - self._centres[cone], axis=-1
            )
            both = np.minimum(np.pi, shapes.radius[rows[place]] + self._radii[cone])
            near = apart <= sphere.chord(both) + sphere.TOUCH
            place, cone = place[near], cone[near]
            found = shapes.meet_circles(
                rows[place], self._centres[cone], self._radii[cone]
            )
            hits[place[found]] = True
        return hits

    def holds(self, shapes, rows):
        """
        Say which shapes lie in one of the circles.

        Parameters
        ----------
        shapes : `~paperclip.footprints.shapes.Shapes`
            Of footprints.
        rows : `~numpy.ndarray` of int, shape (n,)
            Those to look at.

        Returns
        -------
        hits : `~numpy.ndarray` of bool, shape (n,)
            For each of ``rows``.
        """
        hits = np.zeros(len(rows), dtype=bool)
        for place, cone in self._pairs(shapes.centre[rows], shapes.radius[rows]):
            apart = np.linalg.norm(
                shapes.centre[rows[place]] - self._centres[cone], axis=-1
            )
            room = self._radii[cone] - shapes.radius[rows[place]]
            inside = (room > 0) & (apart < sphere.chord(np.maximum(room, 0)))
            hits[place[inside]] = True
        return hits

    def _pairs(self, centres, radii):
        """Yield shapes and circles that may meet, as places in both."""
        small = radii <= _SPLIT
        for group in (np.flatnonzero(small), np.flatnonzero(~small)):
            for start in range(0, len(group), _ROWS):
                rows = group[start : start + _ROWS]
                reach = self._radii.max() + np.nan_to_num(radii[rows], nan=0).max()
                order = int(cells.order_for(reach + 1e-12))
                place, cone = self._near(centres[rows], order)
                for first in range(0, len(place), _PAIRS):
                    part = slice(first, first + _PAIRS)
                    yield rows[place[part]], cone[part]

    def _near(self, centres, order):
        """Return pairs of a direction and a circle near it."""
        if order not in self._lists:
            start, _ = cells.nine_around(self._centres, order)
            cone = np.repeat(np.arange(len(start)), start.shape[1])
            keys = np.unique(np.stack([start.ravel(), cone]), axis=1)
            self._lists[order] = keys[0], keys[1]
        start, cone = self._lists[order]
        if order < 0:
            own = np.zeros(len(centres), dtype=np.int64)
        else:
            shift = 2 * (cells.ORDER - order)
            own = cells.cells_of(centres) >> shift << shift
        first = np.searchsorted(start, own, side="left")
        count = np.searchsorted(start, own, side="right") - first
        place = np.repeat(np.arange(len(own)), count)
        step = np.arange(len(place)) - np.repeat(np.cumsum(count) - count, count)
        return place, cone[np.repeat(first, count) + step]
