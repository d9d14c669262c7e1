# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""
Cells of HEALPix: which ranges of them hold a part of the sky.

Cells are those of the nested scheme; ranges are of order 29, the finest, half open.
"""

import numpy as np

from . import sphere

__all__ = [
    "ORDER",
    "SKY",
    "around",
    "as_ranges",
    "cells_of",
    "centres_of",
    "cone_ranges",
    "merged",
    "nine_around",
    "order_for",
    "with_neighbours",
]

ORDER = 29
SKY = 12 << (2 * ORDER)  # cells of the whole sky
_FINEST = 24  # of a search for a circle; cdshealpix goes two orders beyond
_FINE = 3  # orders finer than the cells that are about as wide as a circle
# the narrowest cells are this part of the square root of their area across; 0.68 was
# the least in 12 million random places of all orders
_WIDTH = 0.62 * np.sqrt(np.pi / 3)


def cells_of(vectors):
    """
    Return the cells that hold directions.

    Parameters
    ----------
    vectors : `~numpy.ndarray`, shape (n, 3)
        Unit vectors.

    Returns
    -------
    cells : `~numpy.ndarray`, shape (n,), dtype int64
        Of order 29.
    """
    from cdshealpix.nested import lonlat_to_healpix

    return lonlat_to_healpix(*_lonlat(vectors), ORDER, num_threads=1).astype(np.int64)


def _lonlat(vectors):
    from astropy.coordinates import Latitude, Longitude

    x, y, z = np.asarray(vectors).T
    lon = Longitude(np.arctan2(y, x), unit="rad")
    return lon, Latitude(np.arctan2(z, np.hypot(x, y)), unit="rad")


def order_for(width):
    """
    Return the finest order whose cells are wider than an angle.

    Parameters
    ----------
    width : float or `~numpy.ndarray`
        Radians.

    Returns
    -------
    order : int or `~numpy.ndarray` of int
        -1 where the cells of order 0 are too small; at most 29. A circle of
        that radius around a place in a cell stays within that cell and the
        eight around it.
    """
    order = np.floor(np.log2(_WIDTH / np.maximum(width, 1e-300)))
    return np.clip(order, -1, ORDER).astype(int)


def cone_ranges(centre, radius):
    """
    Return ranges that cover a circle.

    Parameters
    ----------
    centre : `~numpy.ndarray`, shape (3,)
        Unit vector.
    radius : float
        Radians.

    Returns
    -------
    start, stop : `~numpy.ndarray` of int64, shape (m,)
        They hold more than the circle.
    """
    from astropy.coordinates import Angle
    from cdshealpix.nested import cone_search

    if radius >= np.pi / 2:
        return np.array([0]), np.array([SKY])
    lon, lat = (value[0] for value in _lonlat(np.asarray(centre)[None]))
    depth = int(np.clip(order_for(radius) + _FINE, 0, _FINEST))
    index, order, _ = cone_search(
        lon, lat, Angle(radius, unit="rad"), depth, flat=False
    )
    return as_ranges(index, order)


def around(centres, radii):
    """
    Return ranges that cover many circles, less tightly than `cone_ranges`.

    Parameters
    ----------
    centres : `~numpy.ndarray`, shape (n, 3)
        Unit vectors.
    radii : `~numpy.ndarray`, shape (n,)
        Radians.

    Returns
    -------
    start, stop : `~numpy.ndarray` of int64, shape (m,)
        Unordered, as a rule with repetitions.
    """
    orders = order_for(radii)
    found = []
    for order in np.unique(orders):
        start, stop = nine_around(centres[orders == order], int(order))
        found.append((start.ravel(), stop.ravel()))
    return tuple(np.concatenate(part) for part in zip(*found, strict=True))


def nine_around(centres, order):
    """
    Return the cells that hold directions, and the eight around each.

    Parameters
    ----------
    centres : `~numpy.ndarray`, shape (n, 3)
        Unit vectors.
    order : int
        Of the cells; -1 for one cell that is the whole sky.

    Returns
    -------
    start, stop : `~numpy.ndarray` of int64, shape (n, 9)
        With repetitions where only seven cells are around; shape (n, 1) for
        the whole sky.
    """
    from cdshealpix.nested import neighbours

    if order < 0:
        whole = np.full((len(centres), 1), SKY)
        return np.zeros_like(whole), whole
    own = cells_of(centres) >> (2 * (ORDER - order))
    nine = np.asarray(neighbours(own.astype(np.uint64), order, num_threads=1)).astype(
        np.int64
    )
    nine = np.where(nine < 0, own[:, None], nine)  # -1: no such cell
    return as_ranges(np.column_stack([own, nine]), order)


def with_neighbours(start, stop, order):
    """
    Return ranges that cover others and the cells around them.

    Parameters
    ----------
    start, stop : `~numpy.ndarray` of int64, shape (n,)
        Ranges of order 29, without overlap.
    order : int
        Of the cells that are added.

    Returns
    -------
    start, stop : `~numpy.ndarray` of int64, shape (m,)
        Of order 29, one for each cell of that order.
    """
    from cdshealpix.nested import neighbours

    shift = 2 * (ORDER - order)
    first, last = start >> shift, (stop - 1) >> shift
    count = last - first + 1
    step = np.arange(count.sum()) - np.repeat(np.cumsum(count) - count, count)
    own = np.unique(np.repeat(first, count) + step)
    nine = np.asarray(neighbours(own.astype(np.uint64), order, num_threads=1)).astype(
        np.int64
    )
    return as_ranges(np.unique(np.append(nine[nine >= 0], own)), order)


def centres_of(start, order):
    """
    Return the centres of cells.

    Parameters
    ----------
    start : `~numpy.ndarray` of int64, shape (n,)
        First cell of order 29 in each.
    order : `~numpy.ndarray` of int, shape (n,)
        Of each.

    Returns
    -------
    centres : `~numpy.ndarray`, shape (n, 3)
        Unit vectors.
    """
    from cdshealpix.nested import healpix_to_lonlat

    centres = np.empty((len(start), 3))
    for one in np.unique(order):
        here = order == one
        index = start[here] >> (2 * (ORDER - int(one)))
        lon, lat = healpix_to_lonlat(index.astype(np.uint64), int(one), num_threads=1)
        centres[here] = sphere.unit_vectors(lon.deg, lat.deg)
    return centres


def as_ranges(index, order):
    """
    Return cells as ranges of order 29.

    Parameters
    ----------
    index : `~numpy.ndarray` of int, any shape
        Cells.
    order : int or `~numpy.ndarray` of int
        Of the cells.

    Returns
    -------
    start, stop : `~numpy.ndarray` of int64
        Half open.
    """
    shift = 2 * (ORDER - np.asarray(order, dtype=np.int64))
    index = np.asarray(index).astype(np.int64)
    return index << shift, (index + 1) << shift


def merged(start, stop, *, most=None):
    """
    Sort ranges and join those that touch or overlap.

    Parameters
    ----------
    start, stop : `~numpy.ndarray` of int64, shape (n,)
        At least one range.
    most : int, optional
        Close the smallest gaps until so many ranges are left.

    Returns
    -------
    start, stop : `~numpy.ndarray` of int64, shape (m,)
        Ascending, with gaps between them.
    """
    order = np.argsort(start, kind="stable")
    start, stop = start[order], np.maximum.accumulate(stop[order])
    gap = start[1:] - stop[:-1]
    keep = gap > 0
    if most is not None and keep.sum() >= most:
        keep = np.zeros(len(gap), dtype=bool)
        keep[np.argsort(gap, kind="stable")[len(gap) - most + 1 :]] = True
    first = np.concatenate([[True], keep])
    last = np.concatenate([keep, [True]])
    return start[first], stop[last]
