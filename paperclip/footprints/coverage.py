# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""Areas made of HEALPix cells: multi-order coverage maps (MOC) of mocpy."""

import numpy as np

from paperclip.exceptions import InvalidQueryError
from paperclip.utils.optional import import_optional

from .parse import Polygon
from .shapes import Shapes

__all__ = ["MocPart"]


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
    """

    def __init__(self, moc):
        from mocpy import MOC

        if not isinstance(moc, MOC):
            msg = f"region must be a space coverage (MOC), got {type(moc).__name__}"
            raise InvalidQueryError(msg)
        if moc.empty():
            msg = "region must not be an empty MOC; it covers nothing"
            raise InvalidQueryError(msg)
        self._moc = moc
        uniq = np.asarray(moc.uniq_hpx, dtype=np.int64)
        order = (np.frexp(uniq.astype(float))[1] - 3) // 2
        self._cells = _cells(order, uniq - (4 << (2 * order)))
        self.centre, self.radius = _bounds(self._cells)

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
        from astropy.coordinates import Latitude, Longitude

        if not len(points):
            return np.zeros(0, dtype=bool)
        x, y, z = points.T
        lon = Longitude(np.arctan2(y, x), unit="rad")
        lat = Latitude(np.arctan2(z, np.hypot(x, y)), unit="rad")
        return np.asarray(self._moc.contains_lonlat(lon, lat), dtype=bool)

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
        for place in np.flatnonzero(~hits):
            row = rows[place]
            near = self._cells.near(shapes.centre[row], shapes.radius[row])
            if not near.size:
                continue
            one = np.full(near.size, row)
            hits[place] = (
                shapes.contain(one, self._cells.on_edge[near]).any()
                or self._cells.crossings(near, shapes, row)[0].size > 0
            )
        return hits

    def holds(self, shapes, rows):
        """Say which shapes certainly lie in the cells: none."""
        return np.zeros(len(rows), dtype=bool)


def _cells(order, index):
    """Return cells as polygons with enough vertices on their edges."""
    nested = import_optional(
        "cdshealpix.nested", extra="moc", purpose="searching a MOC"
    )
    polygons = []
    for depth in np.unique(order):
        step = int(np.clip(2 ** (9 - int(depth)), 4, 512))
        lon, lat = nested.vertices(index[order == depth], depth, step=step)
        positions = np.stack([lon.deg, lat.deg], axis=-1).tolist()
        polygons += [Polygon(tuple(map(tuple, cell))) for cell in positions]
    return Shapes(polygons)


def _bounds(cells):
    middle = cells.centre.sum(axis=0)
    size = np.linalg.norm(middle)
    if size < 1e-6:
        return np.array([0.0, 0.0, 1.0]), np.pi
    middle /= size
    apart = np.linalg.norm(cells.centre - middle, axis=-1)
    radius = (2 * np.arcsin(np.minimum(1, apart / 2)) + cells.radius).max()
    return middle, min(np.pi, radius)
