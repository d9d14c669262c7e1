# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""What archives write as a footprint, and what is wrong with some of it."""

import numpy as np
import pytest
from astropy.table import MaskedColumn

from paperclip.exceptions import FootprintError
from paperclip.footprints import Circle, Footprints, Polygon, parse_s_region

SQUARE = ((10.0, -5.0), (11.0, -5.0), (11.0, -4.0), (10.0, -4.0))
NUMBERS = "10 -5 11 -5 11 -4 10 -4"


@pytest.mark.parametrize(
    "text",
    [
        f"POLYGON {NUMBERS}",
        f"POLYGON ICRS {NUMBERS}",
        f"POLYGON GSC1  {NUMBERS} 10 -5",
        f"Polygon UNKNOWNFrame {NUMBERS} 10 -5",
        f"polygon j2000 {NUMBERS.replace(' -5', ' -5.000')}",
        f"POLYGON FK5 TOPOCENTER {NUMBERS} 10 -4",
        f"POLYGON ICRS {NUMBERS.replace('10 ', '370 ')}",
        f"POLYGON(ICRS, {NUMBERS.replace(' ', ', ')})",
        f"  UNION ICRS ( POLYGON {NUMBERS} ) ",
    ],
)
def test_a_polygon_in_the_ways_it_is_written(text):
    assert parse_s_region(text) == [Polygon(SQUARE)]


def test_several_shapes_are_one_footprint():
    found = parse_s_region(f"POLYGON ICRS {NUMBERS} CIRCLE ICRS 1 2 .5 POSITION 3 4")
    assert found == [Polygon(SQUARE), Circle(1.0, 2.0, 0.5), Circle(3.0, 4.0, 0.0)]


def test_galactic_coordinates_are_turned():
    (circle,) = parse_s_region("CIRCLE GALACTIC 0 0 0.1")
    np.testing.assert_allclose((circle.ra, circle.dec), (266.405, -28.936), atol=1e-3)


@pytest.mark.parametrize("text", [None, "", "  ", np.ma.masked])
def test_nothing_is_no_footprint(text):
    assert parse_s_region(text) == []


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("POLYGON ICRS 1 2 3", "POLYGON needs pairs of numbers, got 3"),
        ("POLYGON ICRS", "POLYGON needs pairs of numbers, got 0"),
        ("POLYGON 1 2 NaN 4 5 6", "'NAN', which is no angle"),
        ("POLYGON 1 2 inf 4 5 6", "'INF', which is no angle"),
        ("POLYGON 1 2 3 91 5 6", "POLYGON has declination 91.0 deg"),
        ("CIRCLE ICRS 1 2", "CIRCLE needs 3 numbers, got 2"),
        ("CIRCLE ICRS 1 2 -3", "CIRCLE has radius -3.0 deg"),
        ("BOX ICRS 1 2 3 4", "'BOX', which is neither a frame nor a number"),
        ("1 2 3 4", "does not begin with POLYGON or CIRCLE"),
        ("POSITION 1 2 3 4", "POSITION needs one position, got 2"),
        ("<html>", "'<HTML>', which is neither"),
        (b"CIRCLE 1 2 3", "must be a str, got bytes"),
        ("POLYGON " + "1 " * 600_000, "has 1200008 characters"),
    ],
)
def test_damage_is_named(text, message):
    with pytest.raises(FootprintError, match=message):
        parse_s_region(text)


def test_rows_without_a_footprint_say_why():
    column = MaskedColumn(
        ["CIRCLE 1 2 1", "CIRCLE 1", "x", "POLYGON 0 0 120 0 240 0", "CIRCLE 1 2 1"],
        mask=[False, False, True, False, False],
    )
    footprints = Footprints(column)
    assert len(footprints) == 5
    assert sorted(footprints.problems) == [1, 2, 3]
    assert footprints.problems[1].startswith("CIRCLE needs 3 numbers")
    assert footprints.problems[2] == "no s_region"
    assert footprints.problems[3] == "POLYGON does not fit in a hemisphere"


def test_no_rows():
    assert len(Footprints([])) == 0
