# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""Circles that hold what is asked for, so that most of the rest need no look."""

import numpy as np

from .sphere import angle

__all__ = ["WHOLE_SKY", "around", "enclosing"]

WHOLE_SKY = np.array([0.0, 0.0, 1.0]), np.pi
"""Centre and radius of a circle without an outside."""


def around(circles):
    """
    Return a circle around a few circles.

    Parameters
    ----------
    circles : list of (`~numpy.ndarray`, float)
        Centres (unit vectors) and radii in radians.

    Returns
    -------
    centre : `~numpy.ndarray`, shape (3,)
        Unit vector.
    radius : float
        Radians; pi where no smaller circle was found.
    """
    if len(circles) == 1:
        return circles[0]
    middle = np.sum([centre for centre, _ in circles], axis=0)
    size = np.linalg.norm(middle)
    if size < 1e-9:
        return WHOLE_SKY
    middle = middle / size
    apart = [angle(c, middle) for c, _ in circles]
    radius = max(a + r for a, (_, r) in zip(apart, circles, strict=True))
    return (middle, radius) if radius < np.pi else WHOLE_SKY


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
        return WHOLE_SKY
    middle = middle / size
    radius = (angle(centres, middle) + radii).max()
    return (middle, float(radius)) if radius < np.pi else WHOLE_SKY
