# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""Which positions are close on the sky: exact, also at RA 0 and the poles."""

import numpy as np

__all__ = ["Neighbours", "chord_of", "link", "merge", "nearest", "unit_vectors"]

# rounding of unit vectors; pairs at exactly the radius count as close
_SLACK = 1e-15
_BLOCK = 1 << 22  # numbers that are compared at once, 32 MB


def unit_vectors(ra, dec):
    """
    Turn positions into vectors, in which no coordinate is special.

    Parameters
    ----------
    ra, dec : array-like, shape (n,), deg
        Positions; masked, not finite or impossible ones are missing.

    Returns
    -------
    vectors : `~numpy.ndarray`, shape (n, 3), float64
        Unit vectors, NaN where the position is missing.
    """
    ra = np.ma.filled(np.ma.asarray(ra, dtype=np.float64), np.nan)
    dec = np.ma.filled(np.ma.asarray(dec, dtype=np.float64), np.nan)
    known = np.isfinite(ra) & np.isfinite(dec) & (np.abs(dec) <= 90)
    ra, dec = np.radians(np.where(known, [ra, dec], np.nan))
    cos = np.cos(dec)
    return np.stack([cos * np.cos(ra), cos * np.sin(ra), np.sin(dec)], axis=1)


def chord_of(angle):
    """
    Return the straight distance of two unit vectors at an angle.

    Parameters
    ----------
    angle : float, deg
        Angle on the sphere.

    Returns
    -------
    chord : float
        ``2 sin(angle / 2)``.
    """
    return 2 * np.sin(np.radians(angle) / 2)


def link(vectors, chord):
    """
    Return which points are connected by short steps.

    Two points closer than ``chord`` are in one group, and so is everything
    that a chain of such pairs connects (single linkage). Points are sorted
    into cubes so small that all within one are close; then cubes are joined
    with their neighbours, from near to far, and only pairs of cubes that are
    not yet connected are looked into. So the cost stays low where thousands
    of observations share one field.

    Parameters
    ----------
    vectors : `~numpy.ndarray`, shape (n, 3)
        Unit vectors without NaN.
    chord : float
        Distance, over 1e-6.

    Returns
    -------
    labels : `~numpy.ndarray`, shape (n,), int64
        Equal for points of one group.
    """
    if not len(vectors):
        return np.empty(0, dtype=np.int64)
    unique, back = np.unique(vectors, axis=0, return_inverse=True)
    reach = chord * (1 + 1e-12) + _SLACK
    side = chord / np.sqrt(3)
    width = int(2 / side) + 8
    places = np.floor((unique + 1) / side).astype(np.int64) + 2
    keys = (places[:, 0] * width + places[:, 1]) * width + places[:, 2]
    order = np.argsort(keys, kind="stable")
    unique, keys = unique[order], keys[order]
    cells, starts = np.unique(keys, return_index=True)
    ends = np.append(starts[1:], len(keys))
    parent = np.arange(len(cells))
    for step in _half_of_the_neighbours():
        shift = (step[0] * width + step[1]) * width + step[2]
        found = np.searchsorted(cells, cells + shift)
        found[found == len(cells)] = 0
        first = np.flatnonzero(cells[found] == cells + shift)
        second = found[first]
        apart = parent[first] != parent[second]
        first, second = first[apart], second[apart]
        touching = _touching(unique, starts, ends, first, second, reach)
        parent = merge(parent, first[touching], second[touching])
    labels = np.empty(len(keys), dtype=np.int64)
    labels[order] = np.repeat(parent, ends - starts)
    return labels[back.reshape(-1)]


def _half_of_the_neighbours():
    """Return the steps to cubes that may hold a close point, near ones first."""
    steps = [
        (x, y, z)
        for x in range(-2, 3)
        for y in range(-2, 3)
        for z in range(-2, 3)
        if (x, y, z) > (0, 0, 0)
    ]
    return sorted(steps, key=lambda step: sum(i * i for i in step))


def merge(parent, first, second):
    """Join groups; afterwards every point names the smallest of its group."""
    while True:
        one, two = parent[first], parent[second]
        if (one == two).all():
            return parent
        parent = parent.copy()
        np.minimum.at(parent, np.maximum(one, two), np.minimum(one, two))
        while (parent[parent] != parent).any():
            parent = parent[parent]


def _touching(points, starts, ends, first, second, reach):
    """Tell for pairs of cubes whether a point of one is close to the other."""
    result = np.zeros(len(first), dtype=bool)
    n_first = ends[first] - starts[first]
    n_second = ends[second] - starts[second]
    small = np.flatnonzero(n_first * n_second <= 64)
    for i in range(0, len(small), 1 << 16):
        some = small[i : i + (1 << 16)]
        result[some] = _touching_small(
            points, starts[first[some]], starts[second[some]],
            n_first[some], n_second[some], reach,
        )  # fmt: skip
    for i in np.flatnonzero(n_first * n_second > 64):
        one = points[starts[first[i]] : ends[first[i]]]
        two = points[starts[second[i]] : ends[second[i]]]
        result[i] = _any_close(one, two, reach)
    return result


def _touching_small(points, first, second, n_first, n_second, reach):
    sizes = n_first * n_second
    pair = np.repeat(np.arange(len(sizes)), sizes)
    within = np.arange(sizes.sum()) - np.repeat(np.cumsum(sizes) - sizes, sizes)
    one = points[first[pair] + within // n_second[pair]]
    two = points[second[pair] + within % n_second[pair]]
    close = ((one - two) ** 2).sum(axis=1) <= reach * reach
    return np.bincount(pair[close], minlength=len(sizes)) > 0


def _any_close(one, two, reach):
    """Tell whether any points of two sets are close."""
    for _ in range(2):  # what is far from the box around the others cannot be
        gap = np.maximum(two.min(axis=0) - one, one - two.max(axis=0))
        one = one[(np.maximum(gap, 0) ** 2).sum(axis=1) <= reach * reach]
        if not len(one):
            return False
        one, two = two, one
    rows = max(1, _BLOCK // (3 * len(two)))
    for i in range(0, len(one), rows):
        steps = one[i : i + rows, np.newaxis] - two
        if ((steps**2).sum(axis=2) <= reach * reach).any():
            return True
    return False


def nearest(one, two):
    """
    Return the smallest distance between two sets of points.

    Parameters
    ----------
    one, two : `~numpy.ndarray`, shape (n, 3) and (m, 3)
        Unit vectors; rows with NaN are left out.

    Returns
    -------
    angle : float, deg
        NaN if one of the sets has no point.
    """
    one, two = (np.unique(v[~np.isnan(v[:, 0])], axis=0) for v in (one, two))
    if not len(one) or not len(two):
        return np.nan
    if len(one) > len(two):
        one, two = two, one
    one, two = (v[np.argsort(v[:, 2], kind="stable")] for v in (one, two))
    # any distance is an upper limit; points farther apart in z need no look
    sample = one[:: max(1, len(one) // 64)]
    best = _nearest_chord(sample, two)
    for i in range(0, len(one), 256):
        block = one[i : i + 256]
        low, high = block[0, 2] - best, block[-1, 2] + best
        part = two[np.searchsorted(two[:, 2], low) : np.searchsorted(two[:, 2], high)]
        if len(part):
            best = min(best, _nearest_chord(block, part))
    return float(np.degrees(2 * np.arcsin(min(1.0, best / 2))))


def _nearest_chord(one, two):
    best, rows = np.inf, max(1, _BLOCK // len(two))
    for i in range(0, len(one), rows):
        cosines = one[i : i + rows] @ two.T
        at = np.unravel_index(np.argmax(cosines), cosines.shape)
        best = min(best, float(np.linalg.norm(one[i + at[0]] - two[at[1]])))
    return best


class Neighbours:
    """
    Points with a label each, which can be added and asked for nearby ones.

    Parameters
    ----------
    chord : float
        Distance up to which points are near.
    """

    def __init__(self, chord):
        self._side = chord
        self._reach = chord * (1 + 1e-12) + _SLACK
        self._cells = {}

    def add(self, vectors, label):
        """
        Add points.

        Parameters
        ----------
        vectors : `~numpy.ndarray`, shape (n, 3)
            Unit vectors; rows with NaN are left out.
        label : int
            Label of all of them.
        """
        vectors = vectors[~np.isnan(vectors[:, 0])]
        places = np.floor(vectors / self._side).astype(np.int64).tolist()
        for place, vector in zip(map(tuple, places), vectors, strict=True):
            self._cells.setdefault(place, {}).setdefault(label, []).append(vector)

    def labels_near(self, vector):
        """
        Return the labels that are found near a point.

        Parameters
        ----------
        vector : `~numpy.ndarray`, shape (3,)
            Unit vector; NaN is near to nothing.

        Returns
        -------
        labels : set of int
            Labels of all points within the distance.
        """
        if np.isnan(vector[0]):
            return set()
        x, y, z = np.floor(vector / self._side).astype(np.int64).tolist()
        found = set()
        for i in (x - 1, x, x + 1):
            for j in (y - 1, y, y + 1):
                for k in (z - 1, z, z + 1):
                    for label, points in self._cells.get((i, j, k), {}).items():
                        if label not in found:
                            steps = np.asarray(points) - vector
                            distances = (steps**2).sum(axis=1)
                            if (distances <= self._reach**2).any():
                                found.add(label)
        return found
