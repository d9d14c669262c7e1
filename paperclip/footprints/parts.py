# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""A part of an area: shapes combined by and, or, xor and not."""

from functools import reduce

import numpy as np

from paperclip.exceptions import InvalidQueryError

from . import sphere
from .bounds import WHOLE_SKY, around
from .shapes import Shapes

__all__ = ["Part"]

_OPERATORS = {"and": np.logical_and, "or": np.logical_or, "xor": np.logical_xor}


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
        return WHOLE_SKY
    bounds = [_bounds(branch, leaves) for branch in branches]
    return min(bounds, key=lambda b: b[1]) if name == "and" else around(bounds)
