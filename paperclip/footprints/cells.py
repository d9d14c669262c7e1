# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""
Cells of HEALPix: which ranges of them hold a part of the sky.

Cells are those of the nested scheme; ranges are of order 29, the finest, half open.
"""

import numpy as np

__all__ = ["SKY", "around", "cells_of", "cone_ranges", "merged", "order_for"]

_ORDER = 29
SKY = 12 << (2 * _ORDER)  # cells of the whole sky
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

    return lonlat_to_healpix(*_lonlat(vectors), _ORDER).astype(np.int64)


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
    return np.clip(order, -1, _ORDER).astype(int)


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
    depth = int(np.clip(order_for(radius) + _FINE, 0, _ORDER))
    index, order, _ = cone_search(
        lon, lat, Angle(radius, unit="rad"), depth, flat=False
    )
    return _as_ranges(index, order)


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
    from cdshealpix.nested import neighbours

    orders = order_for(radii)
    if (orders < 0).any():
        return np.array([0]), np.array([SKY])
    fine = cells_of(centres)
    found = []
    for order in np.unique(orders):
        cells = np.unique(fine[orders == order] >> (2 * (_ORDER - int(order))))
        nine = np.unique(neighbours(cells, int(order)))  # -1 where there is none
        found.append(_as_ranges(nine[nine >= 0], int(order)))
    return tuple(np.concatenate(part) for part in zip(*found, strict=True))


def _as_ranges(index, order):
    shift = 2 * (_ORDER - np.asarray(order, dtype=np.int64))
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
