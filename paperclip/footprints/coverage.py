# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""Areas made of HEALPix cells: multi-order coverage maps (MOC) of mocpy."""

import numpy as np

from paperclip.exceptions import InvalidQueryError

from . import cells, sphere
from .bounds import enclosing
from .parse import Polygon
from .shapes import Shapes

__all__ = ["MocPart"]

_FIRST = 4 << (2 * np.arange(cells.ORDER + 1))  # first number in each order
_PAIRS = 200_000  # of footprints and cells that are looked at together
# no cell reaches farther from its centre than this times the square root of its
# area: 0.822 at order 0, rising to 1.0445 at the finest
_REACH = 1.06 * np.sqrt(np.pi / 3)


class MocPart:
    """
    A multi-order coverage map as a part of an area.

    Parameters
    ----------
    moc : ``mocpy.MOC``
        Space coverage in ICRS, not empty.

    Notes
    -----
    Edges of cells are no great circles. They are followed by chords of at most
    0.1 deg, which stay within 0.3 arcsec of them; whether a position is in a
    cell is exact.

    A footprint meets the cells if a point of its outline is in one, if it holds
    the centre of one, or if its outline crosses that of one. Cells that are near
    a footprint are found by the cell that holds its centre, of an order at which
    cells are wider than the footprint, and the eight around that.
    """

    def __init__(self, moc):
        from mocpy import MOC

        if not isinstance(moc, MOC):
            msg = f"region must be a space coverage (MOC), got {type(moc).__name__}"
            raise InvalidQueryError(msg)
        if moc.empty():
            msg = "region must not be an empty MOC; it covers nothing"
            raise InvalidQueryError(msg)
        uniq = np.asarray(moc.uniq_hpx).astype(np.int64)
        # not by a logarithm: floats round the last cells of fine orders up
        order = np.searchsorted(_FIRST, uniq, side="right") - 1
        start, stop = cells.as_ranges(uniq - (4 << (2 * order)), order)
        place = np.argsort(start)
        self._order, self._start, self._stop = order[place], start[place], stop[place]
        self._covered = cells.merged(start, stop)
        self._middle = cells.centres_of(self._start, self._order)
        self._reach = _REACH / 2.0**self._order
        self.centre, self.radius = enclosing(self._middle, self._reach)

    def contains(self, points):
        """
        Say which points are covered.

        Parameters
        ----------
        points : `~numpy.ndarray`, shape (n, 3)
            Unit vectors.

        Returns
        -------
        inside : `~numpy.ndarray` of bool, shape (n,)
            In the sense of HEALPix.
        """
        place = cells.cells_of(points)
        return self._covers(place, place + 1)

    def _covers(self, start, stop):
        """Say which ranges of cells are covered from end to end."""
        first, last = self._covered
        place = np.searchsorted(first, start, side="right") - 1
        return (place >= 0) & (stop <= last[place])

    def ranges(self, widen):
        """
        Return ranges of cells that hold all places near the area.

        Parameters
        ----------
        widen : float
            How near, in radians.

        Returns
        -------
        start, stop : `~numpy.ndarray` of int64, shape (m,)
            Of order 29, half open.
        """
        order = int(cells.order_for(widen))
        if order < 0:
            return np.array([0]), np.array([cells.SKY])
        return cells.with_neighbours(*self._covered, order)

    def holds(self, shapes, rows):
        """
        Say which shapes certainly lie in the cells.

        Parameters
        ----------
        shapes : `~paperclip.footprints.shapes.Shapes`
            Of footprints.
        rows : `~numpy.ndarray` of int, shape (n,)
            Those to look at.

        Returns
        -------
        hits : `~numpy.ndarray` of bool, shape (n,)
            Where all cells are covered that may hold a part of the shape.
        """
        hits = np.zeros(len(rows), dtype=bool)
        for places, start, stop in self._around(shapes, rows):
            hits[places] = self._covers(start, stop).all(axis=-1)
        return hits

    def _around(self, shapes, rows):
        """Yield places in ``rows`` and the ranges of nine cells around each."""
        order = cells.order_for(shapes.radius[rows])
        for one in np.unique(order):
            places = np.flatnonzero(order == one)
            yield places, *cells.nine_around(shapes.centre[rows[places]], int(one))

    def meets(self, shapes, rows):
        """
        Say which shapes have a point in common with the cells.

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
        hits = self.contains(shapes.on_edge[rows])
        for places, start, stop in self._around(shapes, rows):
            todo = np.flatnonzero(~hits[places])
            first = np.searchsorted(self._stop, start[todo], side="right")
            count = np.searchsorted(self._start, stop[todo], side="left") - first
            count = np.maximum(count, 0)
            total = np.cumsum(count.sum(axis=-1))
            cuts = np.searchsorted(total, np.arange(_PAIRS, total[-1:].sum(), _PAIRS))
            for some in np.split(np.arange(len(todo)), np.unique(cuts)):
                here = places[todo[some]]
                pair, cell = _expanded(first[some], count[some], len(self._start))
                hits[here] = self._meet(shapes, rows[here], pair, cell)
        return hits

    def _meet(self, shapes, rows, pair, cell):
        """Say which of ``rows`` meet one of the cells that belong to them."""
        hits = np.zeros(len(rows), dtype=bool)
        row = rows[pair]
        apart = np.linalg.norm(shapes.centre[row] - self._middle[cell], axis=-1)
        reach = np.minimum(np.pi, shapes.radius[row] + self._reach[cell])
        near = apart <= sphere.chord(reach) + sphere.TOUCH
        pair, cell = pair[near], cell[near]
        hits[pair[shapes.contain(rows[pair], self._middle[cell])]] = True
        open_ = ~hits[pair]
        pair, cell = pair[open_], cell[open_]
        if pair.size:
            which, theirs = np.unique(cell, return_inverse=True)
            outlines = _outlines(self._start[which], self._order[which])
            hits[pair[shapes.touch(rows[pair], outlines, theirs)]] = True
        return hits


def _expanded(first, count, size):
    """Return the pairs of a row and a cell, each once, from slices of cells."""
    row = np.repeat(np.arange(len(first)), count.sum(axis=-1))
    first, count = first.ravel(), count.ravel()
    step = np.arange(count.sum()) - np.repeat(np.cumsum(count) - count, count)
    cell = np.repeat(first, count) + step
    pairs = np.sort(row * size + cell)  # np.unique takes ten times as long
    pairs = pairs[np.diff(pairs, prepend=-1) > 0]
    return pairs // size, pairs % size


def _outlines(start, order):
    """Return cells as polygons with enough vertices on their edges."""
    from cdshealpix.nested import vertices

    polygons = [None] * len(order)
    for depth in np.unique(order):
        here = np.flatnonzero(order == depth)
        step = int(np.clip(2 ** (9 - int(depth)), 4, 512))
        index = start[here] >> (2 * (cells.ORDER - int(depth)))
        lon, lat = vertices(
            index.astype(np.uint64), int(depth), step=step, num_threads=1
        )
        positions = np.stack([lon.deg, lat.deg], axis=-1).tolist()
        for place, cell in zip(here.tolist(), positions, strict=True):
            polygons[place] = Polygon(tuple(map(tuple, cell)))
    return Shapes(polygons)
