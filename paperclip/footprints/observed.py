# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""The footprints of observations, read from their texts."""

import numpy as np

from paperclip.exceptions import FootprintError

from . import sphere
from .parse import parse_s_region
from .shapes import Shapes

__all__ = ["Footprints"]


class Footprints(Shapes):
    """
    The footprints of observations, read once for many questions.

    Parameters
    ----------
    s_regions : sequence of str or `~astropy.table.Column`
        Text as `parse_s_region` reads it, one for each row. Masked and `None`
        are rows without a footprint.

    Attributes
    ----------
    owner : `~numpy.ndarray` of int
        Row of each shape, ascending.
    problems : dict of int to str
        Rows that have no usable footprint, with the reason.
    """

    def __init__(self, s_regions):
        shapes, owner, self.problems = [], [], {}
        values = np.ma.asarray(s_regions, dtype=object)
        self.rows = len(values)
        for row, text in enumerate(values.tolist()):  # None where masked
            try:
                parsed = parse_s_region(text)
            except FootprintError as exc:
                self.problems[row] = str(exc)
                continue
            if not parsed:
                self.problems[row] = "no s_region"
            shapes += parsed
            owner += [row] * len(parsed)
        super().__init__(shapes)
        self.owner = np.array(owner, dtype=np.int64)
        for row in sorted({*self.owner[np.isnan(self.radius)].tolist()}):
            self.problems[row] = "POLYGON does not fit in a hemisphere"

    def __len__(self):
        return self.rows

    def row_circles(self):
        """
        Return a circle around the footprint of each row that has one.

        Returns
        -------
        rows : `~numpy.ndarray` of int, shape (m,)
            Ascending; those with at least one usable shape.
        centre : `~numpy.ndarray`, shape (m, 3)
            Unit vectors.
        radius : `~numpy.ndarray`, shape (m,)
            Radians, at most pi.
        """
        good = np.flatnonzero(~np.isnan(self.radius))
        rows, first, count = np.unique(
            self.owner[good], return_index=True, return_counts=True
        )
        centre, radius = self.centre[good[first]], self.radius[good[first]]
        several = np.flatnonzero(count > 1)
        for place in several:
            mine = good[first[place] : first[place] + count[place]]
            middle = self.centre[mine].sum(axis=0)
            size = np.linalg.norm(middle)
            if size < 1e-6:
                radius[place] = np.pi
                continue
            centre[place] = middle / size
            apart = sphere.angle(self.centre[mine], centre[place])
            radius[place] = min(np.pi, (apart + self.radius[mine]).max())
        return rows, centre, radius
