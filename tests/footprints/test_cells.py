# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""Ranges of cells cover what they should."""

import numpy as np
import pytest

from paperclip.footprints import cells


def anywhere(rng, n):
    """Directions, many at the poles and where polar caps begin."""
    v = rng.normal(size=(n, 3))
    v[: n // 4, :2] *= 1e-3
    width = np.linalg.norm(v[n // 4 : n // 2, :2], axis=1)
    v[n // 4 : n // 2, 2] = width * (2 / 3) / np.sqrt(1 - 4 / 9)
    return v / np.linalg.norm(v, axis=1, keepdims=True)


def aside(rng, v, angle):
    """Directions at an angle from others."""
    step = rng.normal(size=v.shape)
    step -= (step * v).sum(axis=1, keepdims=True) * v
    step /= np.linalg.norm(step, axis=1, keepdims=True)
    return v * np.cos(angle) + step * np.sin(angle)


@pytest.mark.parametrize("order", [0, 1, 3, 8, 17, 28])
def test_what_is_within_the_width_is_in_the_nine_cells(order):
    rng = np.random.default_rng(order)
    v = anywhere(rng, 50_000)
    width = cells._WIDTH / 2**order
    assert cells.order_for(width * (1 - 1e-9)) == order
    place = cells.cells_of(aside(rng, v, width))
    start, stop = cells.nine_around(v, order)
    assert ((start <= place[:, None]) & (place[:, None] < stop)).any(axis=1).all()


@pytest.mark.parametrize("radius", [1e-8, 1e-4, 0.02, 0.5, 1.5, 2.0])
def test_cones_are_covered(radius):
    rng = np.random.default_rng(0)
    for centre in anywhere(rng, 12):
        v = np.repeat(centre[None], 500, axis=0)
        inside = aside(rng, v, radius * np.sqrt(rng.random((500, 1))))
        place = cells.cells_of(inside)
        start, stop = cells.merged(*cells.cone_ranges(centre, radius), most=7)
        assert len(start) <= 7
        assert (start[1:] > stop[:-1]).all()
        row = np.searchsorted(start, place, side="right") - 1
        assert (row >= 0).all()
        assert (place < stop[row]).all()


def test_ranges_are_joined():
    start, stop = np.array([30, 0, 10, 50]), np.array([31, 10, 20, 60])
    assert [x.tolist() for x in cells.merged(start, stop)] == [
        [0, 30, 50],
        [20, 31, 60],
    ]
    assert [x.tolist() for x in cells.merged(start, stop, most=2)] == [
        [0, 50],
        [31, 60],
    ]
    assert [x.tolist() for x in cells.merged(start, stop, most=1)] == [[0], [60]]


def test_cells_around_ranges_hold_what_is_near():
    rng = np.random.default_rng(1)
    v = anywhere(rng, 300)
    fine = cells.cells_of(v) >> 20 << 20
    start, stop = cells.merged(fine, fine + (1 << 20))
    wide = cells.merged(*cells.with_neighbours(start, stop, 6))
    near = cells.cells_of(aside(rng, v, cells._WIDTH / 2**6))
    row = np.searchsorted(wide[0], near, side="right") - 1
    assert (near < wide[1][row]).all()
