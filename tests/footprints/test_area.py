# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""Overlap on the sphere against brute force, and areas of every kind."""

import numpy as np
import pytest
import regions
from astropy import units as u
from astropy.coordinates import Angle, Latitude, Longitude, SkyCoord
from astropy.wcs import WCS
from cdshealpix import nested

from paperclip.exceptions import InvalidQueryError
from paperclip.footprints import Footprints, SkyArea, parse_s_region, sky_area
from paperclip.footprints.parts import Part


def unit(lon, lat):
    lon, lat = np.radians(lon), np.radians(lat)
    return np.stack(
        [np.cos(lat) * np.cos(lon), np.cos(lat) * np.sin(lon), np.sin(lat)], -1
    )


def degrees(v):
    lat = np.arctan2(v[..., 2], np.hypot(v[..., 0], v[..., 1]))
    return np.degrees(np.arctan2(v[..., 1], v[..., 0])) % 360, np.degrees(lat)


class Shape:
    """A cone or a convex polygon, sampled densely; knows nothing of the library."""

    def __init__(self, rng, centre, size, corners):
        self.centre = unit(*centre)
        axis = np.cross([0.3, 0.5, -0.8], self.centre)
        axis /= np.linalg.norm(axis)
        other = np.cross(self.centre, axis)
        if corners:
            # equal steps with some jitter: convex, and around the centre
            turn = np.arange(corners) + rng.uniform(0, 0.5, corners)
        else:
            turn = np.arange(720) * (2 * np.pi / 720)
        if corners:
            turn *= 2 * np.pi / corners
        self.size = np.radians(size)
        reach = np.tan(self.size) if corners else np.sin(self.size)
        rim = np.cos(turn)[:, None] * axis + np.sin(turn)[:, None] * other
        along = 1 if corners else np.cos(self.size)
        v = self.vertices = along * self.centre + reach * rim
        v /= np.linalg.norm(v, axis=-1, keepdims=True)
        if corners:
            part = np.linspace(0, 1, 150)[:, None, None]
            rim = (1 - part) * v + part * np.roll(v, -1, axis=0)
            rim = rim.reshape(-1, 3)
            rim /= np.linalg.norm(rim, axis=-1, keepdims=True)
            self.rim, self.sides = rim, np.cross(v, np.roll(v, -1, axis=0))
            self.sides /= np.linalg.norm(self.sides, axis=-1, keepdims=True)
        else:
            self.rim, self.sides = v, None

    @property
    def text(self):
        ra, dec = degrees(self.centre)
        if self.sides is None:
            return f"CIRCLE ICRS {ra:.17g} {dec:.17g} {np.degrees(self.size):.17g}"
        pairs = zip(*degrees(self.vertices), strict=True)
        return "POLYGON ICRS " + " ".join(f"{x:.17g} {y:.17g}" for x, y in pairs)

    @property
    def area(self):
        if self.sides is None:
            return sky_area(tuple(map(float, degrees(self.centre))), self.size * u.rad)
        vertices = SkyCoord(*degrees(self.vertices), unit="deg").galactic
        return sky_area(regions.PolygonSkyRegion(vertices))

    def depth(self, points):
        """Return how deep inside points are (radians), negative outside."""
        if self.sides is None:
            cross = np.linalg.norm(np.cross(points, self.centre), axis=-1)
            return self.size - np.arctan2(cross, points @ self.centre)
        return np.arcsin(np.clip(points @ self.sides.T, -1, 1)).min(axis=-1)

    def overlap(self, other):
        """Return True, False, or None where the samples are too coarse to tell."""
        points = [self.centre[None], other.centre[None], self.rim, other.rim]
        depths = [np.minimum(self.depth(p), other.depth(p)) for p in points]
        deepest = max(d.max() for d in depths)
        step = max(s.size * 2.0 / 80 for s in (self, other))
        if deepest >= 1e-9:
            return True
        return False if deepest < -step else None


def places(rng, n):
    """Return positions crowded at the poles, at right ascension 0 and elsewhere."""
    where = np.arange(n) % 4
    spread = rng.normal(0, 1.5, (2, n))
    ra = np.where(where < 2, rng.uniform(0, 360, n), spread[0] % 360)
    dec = np.select(
        [where == 0, where == 1, where == 2],
        [90 - np.abs(spread[1]), -90 + np.abs(spread[1]), spread[1]],
        20 + spread[1],
    )
    return np.stack([ra, dec], axis=-1)


@pytest.mark.parametrize("seed", range(4))
def test_overlap_is_that_of_dense_sampling(seed):
    rng = np.random.default_rng(seed)
    corners = [0, 3, 4, 5, 8]
    feet = [
        Shape(rng, place, 10 ** rng.uniform(-3, 0.3), corners[i % 5])
        for i, place in enumerate(places(rng, 120))
    ]
    asked = [
        Shape(rng, place, 10 ** rng.uniform(-3, 0.5), corners[i % 5])
        for i, place in enumerate(places(rng, 40))
    ]
    footprints = Footprints([foot.text for foot in feet])
    assert not footprints.problems
    sure = 0
    for query in asked:
        found = query.area.intersects(footprints)
        for foot, got in zip(feet, found, strict=True):
            want = query.overlap(foot)
            assert want is None or got == want, (query.text, foot.text)
            sure += want is True
    assert sure > 50  # the test is about something


def test_texts_may_be_given_at_once():
    area = sky_area("10 20", "1 arcmin")
    assert area.intersects(["CIRCLE 10 20 1", "CIRCLE 1", "", None]).tolist() == [
        *[True, False, False, False]
    ]
    assert area.intersects([]).shape == (0,)


CROSSED = "POLYGON 0 0 1 1 1 0 0 1"  # an hourglass lying on its side: x = 0 and x = 1


@pytest.mark.parametrize(
    ("footprint", "centre", "radius", "want"),
    [
        ("POLYGON 359 -1 1 -1 1 1 359 1", "0 0", 0.0, True),
        ("POLYGON 359 -1 1 -1 1 1 359 1", "180 0", 0.0, False),
        ("POLYGON 359 -1 1 -1 1 1 359 1", "358.5 0", 0.51, True),
        ("POLYGON 359 -1 1 -1 1 1 359 1", "358.5 0", 0.49, False),
        ("POLYGON 0 89 90 89 180 89 270 89", "45 90", 0.0, True),
        ("POLYGON 0 89 270 89 180 89 90 89", "45 90", 0.0, True),  # either way round
        ("POLYGON 0 -89 90 -89 180 -89 270 -89", "45 90", 10.0, False),
        (CROSSED, "0.1 0.5", 0.0, True),
        (CROSSED, "0.9 0.5", 0.0, True),
        (CROSSED, "0.5 0.9", 0.0, False),
        ("POLYGON 10 10", "10 10", "1 arcsec", True),
        ("POLYGON 10 10 11 10", "10.5 10.01", "1 arcmin", True),  # a slit
        ("POLYGON 10 10 11 10", "10.5 10.1", "1 arcmin", False),
        ("CIRCLE 10 10 1", "10 10", "0.1 deg", True),  # inside
        ("CIRCLE 10 10 1", "10 10", "20 deg", True),  # around
        ("CIRCLE 10 10 1", "190 -10", "178.9 deg", False),
        ("CIRCLE 10 10 1", "190 -10", "179.1 deg", True),
        ("CIRCLE 10 10 180", "190 -10", 0, True),
        ("CIRCLE 10 10 1e-9", "10 10.00000001", "0.0000000091 deg", True),
        ("CIRCLE 10 10 1e-9", "10 10.00000001", "0.0000000089 deg", False),
    ],
)
def test_special_places(footprint, centre, radius, want):
    assert sky_area(centre, radius).intersects([footprint]).tolist() == [want]


def test_what_touches_overlaps():
    square = SkyCoord([10, 11, 11, 10], [5, 5, 6, 6], unit="deg")
    area = sky_area(regions.PolygonSkyRegion(square))
    same, corner, beside, apart = (
        "POLYGON 10 5 11 5 11 6 10 6",
        "POLYGON 11 6 12 6 12 7 11 7",
        "POLYGON 11 5.2 12 5.2 12 5.8 11 5.8",
        "POLYGON 11.001 5 12 5 12 6 11.001 6",
    )
    found = area.intersects([same, corner, beside, apart])
    assert found.tolist() == [True, True, True, False]


def test_arcs_on_one_great_circle_need_not_meet():
    line = regions.LineSkyRegion(SkyCoord("10d 0d"), SkyCoord("11d 0d"))
    found = sky_area(line).intersects(["POLYGON 12 0 13 0", "POLYGON 10.5 0 13 0"])
    assert found.tolist() == [False, True]


def test_combinations_are_those_of_dense_sampling():
    rng = np.random.default_rng(11)
    bases = [(0, 89.5), (0, 0), (200, -90), (50, 30)]
    overlaps = unsure = 0
    for trial in range(60):
        ra, dec = bases[trial % 4]

        def shape(low, high, ra=ra, dec=dec):
            north = np.clip(dec + rng.normal(), -90, 90)
            east = ra + rng.normal(0, 1.5) / max(0.05, np.cos(np.radians(dec)))
            corners = [0, 3, 4, 6][rng.integers(4)]
            return Shape(rng, (east, north), 10 ** rng.uniform(low, high), corners)

        leaves = [shape(-0.5, 0.4) for _ in range(3)]
        trees = [parse_s_region(leaf.text)[0] for leaf in leaves]
        name = ("and", "or", "xor")[trial % 3]
        area = SkyArea([Part((name, ("xor", *trees[:2]), ("not", trees[2])))])
        feet = [shape(-1.5, 0.5) for _ in range(8)]
        found = area.intersects([foot.text for foot in feet])
        for foot, got in zip(feet, found, strict=True):
            part = np.sqrt(np.linspace(0, 1, 80))[:, None, None]
            points = (part * foot.rim[::4] + (1 - part) * foot.centre).reshape(-1, 3)
            points /= np.linalg.norm(points, axis=-1, keepdims=True)
            a, b, c = (leaf.depth(points) > 0 for leaf in leaves)
            joined = {"and": (a ^ b) & ~c, "or": (a ^ b) | ~c, "xor": (a ^ b) ^ ~c}
            want = joined[name].any()
            assert got or not want
            overlaps += got
            unsure += got and not want
    assert overlaps > 200
    assert unsure < 0.05 * overlaps  # by less than the samples are apart


def small(ra, dec, size=0.01):
    return f"CIRCLE ICRS {ra} {dec} {size}"


CENTRE = SkyCoord("10d 20d")


@pytest.mark.parametrize(
    ("region", "inside", "outside"),
    [
        (
            regions.CircleAnnulusSkyRegion(CENTRE, 1 * u.deg, 2 * u.deg),
            [(10, 21.5), (10, 20.991)],
            [(10, 20), (10, 22.1), (10, 20.9)],
        ),
        (
            regions.CircleSkyRegion(CENTRE, 1 * u.deg)
            & regions.CircleSkyRegion(SkyCoord("10d 21.5d"), 1 * u.deg),
            [(10, 20.75)],
            [(10, 20.4), (10, 21.1)],
        ),
        (
            regions.CircleSkyRegion(CENTRE, 1 * u.deg)
            | regions.CircleSkyRegion(SkyCoord("50d 20d"), 1 * u.deg),
            [(10, 20), (50, 20)],
            [(30, 20)],
        ),
        (
            regions.CircleSkyRegion(CENTRE, 1 * u.deg)
            ^ regions.CircleSkyRegion(SkyCoord("10d 21.5d"), 1 * u.deg),
            [(10, 20), (10, 22)],
            [(10, 20.75), (10, 18)],
        ),
        (
            regions.RectangleSkyRegion(CENTRE, 4 * u.deg, 1 * u.deg, 90 * u.deg),
            [(10, 21.9), (10, 18.1)],
            [(10.6, 20), (9.4, 20), (10, 22.1)],
        ),
        (
            regions.EllipseSkyRegion(CENTRE, 4 * u.deg, 1 * u.deg, 0 * u.deg),
            [(11.9, 20), (8.1, 20), (10, 20.45)],
            [(10, 20.6), (11.9, 20.45)],
        ),
        (
            regions.RectangleAnnulusSkyRegion(
                CENTRE, 1 * u.deg, 4 * u.deg, 1 * u.deg, 4 * u.deg
            ),
            [(10, 21.5)],
            [(10, 20)],
        ),
        (
            regions.EllipseAnnulusSkyRegion(
                CENTRE, 1 * u.deg, 4 * u.deg, 1 * u.deg, 4 * u.deg
            ),
            [(10, 21.5)],
            [(10, 20), (11.9, 21.9)],
        ),
        (regions.PointSkyRegion(CENTRE), [(10, 20)], [(10, 20.1)]),
        (
            [regions.PointSkyRegion(CENTRE), SkyArea([]), sky_area("1 2", 1)],
            [(10, 20), (1, 2)],
            [(5, 5)],
        ),
    ],
)
def test_regions(region, inside, outside):
    area = sky_area(region)
    found = area.intersects([small(*place) for place in [*inside, *outside]])
    assert found.tolist() == [True] * len(inside) + [False] * len(outside)


def test_footprints_around_and_across_a_ring():
    ring = sky_area(regions.CircleAnnulusSkyRegion(CENTRE, 1 * u.deg, 2 * u.deg))
    found = ring.intersects(
        [small(10, 20, 5), small(10, 20, 1.5), small(10, 20, 0.9), small(10, 23, 1.1)]
    )
    assert found.tolist() == [True, True, False, True]


def test_two_areas_that_only_overlap_elsewhere():
    """Both circles meet the footprint, but not where they meet each other."""
    lens = regions.CircleSkyRegion(CENTRE, 1 * u.deg) & regions.CircleSkyRegion(
        SkyCoord("10d 21.5d"), 1 * u.deg
    )
    strip = "POLYGON 10.95 19 11.05 19 11.05 23 10.95 23"
    around = "POLYGON 9 20.7 11 20.7 11 20.8 9 20.8"
    assert sky_area(lens).intersects([strip, around]).tolist() == [False, True]


@pytest.mark.parametrize("angle", [0, 30, 135])
@pytest.mark.parametrize("frame", ["icrs", "galactic"])
def test_rectangles_turn_as_in_regions(angle, frame):
    centre = SkyCoord("10d 20d").transform_to(frame)
    region = regions.RectangleSkyRegion(
        centre, 2 * u.arcmin, 1 * u.arcmin, angle * u.deg
    )
    wcs = WCS(naxis=2)
    wcs.wcs.crval = centre.spherical.lon.deg, centre.spherical.lat.deg
    wcs.wcs.cdelt = -1e-4, 1e-4
    names = ["RA---TAN", "DEC--TAN"] if frame == "icrs" else ["GLON-TAN", "GLAT-TAN"]
    wcs.wcs.ctype = names
    pixels = np.random.default_rng(0).uniform(-300, 300, (2, 2000))
    want = region.to_pixel(wcs).contains(regions.PixCoord(*pixels))
    sky = wcs.pixel_to_world(*pixels).icrs
    assert np.mean(sky_area(region).contains(sky.ra.deg, sky.dec.deg) == want) > 0.999


@pytest.mark.skipif(
    not hasattr(regions, "SphericalSkyRegion"), reason="regions before 0.11"
)
@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("Circle", {"center": CENTRE, "radius": 3 * u.deg}),
        ("CircleAnnulus", {"center": CENTRE, "inner_radius": 2 * u.deg}),
        ("Range", {"longitude_range": [5, 15] * u.deg}),
        ("Range", {"longitude_range": [350, 12] * u.deg}),
        ("Range", {"latitude_range": [19, 22] * u.deg}),
        (
            "Range",
            {"longitude_range": [350, 12] * u.deg, "latitude_range": [19, 22] * u.deg},
        ),
    ],
)
def test_spherical_regions(name, options):
    if name == "CircleAnnulus":
        options = options | {"outer_radius": 4 * u.deg}
    if name == "Range":
        options = options | {"frame": "icrs"}
    region = getattr(regions, f"{name}SphericalSkyRegion")(**options)
    ra, dec = np.random.default_rng(0).uniform((0, 10), (20, 30), (500, 2)).T
    want = region.contains(SkyCoord(ra, dec, unit="deg"))
    assert 0 < want.sum() < 500
    np.testing.assert_array_equal(sky_area(region).contains(ra, dec), want)


@pytest.mark.skipif(
    not hasattr(regions, "SphericalSkyRegion"), reason="regions before 0.11"
)
def test_a_range_of_latitudes_upside_down_leaves_the_middle_out():
    span = {"frame": "icrs", "latitude_range": [22, 19] * u.deg}
    area = sky_area(regions.RangeSphericalSkyRegion(**span))
    assert area.contains(0, [90, 22.1, 21.9, 19.1, 18.9, -90]).tolist() == [
        *[True, True, False, False, True, True]
    ]


def test_positions_in_an_area():
    area = sky_area("0 89.5", 1)
    ra = np.ma.masked_array([0, 180, 180, 5, 0], mask=[0, 0, 0, 1, 0])
    dec = np.ma.masked_array([89, 89.9, 88, 89, np.nan])
    assert area.contains(ra, dec).tolist() == [True, True, False, False, False]
    assert area.contains(0, 89).shape == ()


def test_bounding_circle_holds_the_area():
    rng = np.random.default_rng(1)
    area = sky_area(SkyCoord([1, 359, 0], [80, 85, 90], unit="deg"), 2 * u.deg)
    centre, radius = area.bounding_circle
    assert isinstance(radius, Angle)
    ra, dec = rng.uniform(0, 360, 3000), rng.uniform(70, 90, 3000)
    inside = area.contains(ra, dec)
    away = SkyCoord(ra, dec, unit="deg").separation(centre)
    assert inside.any()
    assert (away[inside] <= radius).all()
    assert repr(area).startswith("<SkyArea of 3 parts within ")


@pytest.mark.parametrize(
    ("region", "radius", "message"),
    [
        ("10 20", None, "radius must be given with a position"),
        ("10 20", -1, "radius must be between 0 and 180 deg, got -1"),
        ("10 20", np.nan, "radius must be between 0 and 180 deg, got nan"),
        ("10 20", "wide", "radius must be an angle"),
        ("10 20", 3 * u.s, "radius must be an angle"),
        ((np.nan, 20.0), 1, "region must have finite coordinates"),
        (SkyCoord([1, np.nan], [2, 3], unit="deg"), 1, "nan .* at place 1"),
        (SkyCoord([], [], unit="deg"), 1, "at least one position"),
        ("M31", 1, "For the name of an object use query_object"),
        ((10.0, 95.0), 1, "region must be a sky region or a position"),
        ([], None, "region must not be an empty list"),
        (3, None, "region must be a sky region, a position or a list"),
        (
            regions.CirclePixelRegion(regions.PixCoord(1, 2), 3),
            None,
            r"CirclePixelRegion; turn it into a sky region with its to_sky\(wcs\)",
        ),
        (regions.PointSkyRegion(CENTRE), 1, "radius must be None beside a PointSky"),
        (
            regions.PolygonSkyRegion(SkyCoord([0, 120, 240], [0, 0, 0], unit="deg")),
            None,
            "polygon that no hemisphere holds",
        ),
        (
            regions.PolygonSkyRegion(SkyCoord([0, 1, 0], [0, 0, 0], unit="deg")),
            None,
            "polygon of 2 different vertices",
        ),
        (
            regions.RectangleSkyRegion(CENTRE, 190 * u.deg, 1 * u.deg),
            None,
            "width of 0 to 179 deg, got 190.0",
        ),
        (
            regions.CircleSkyRegion(SkyCoord(np.nan, 1, unit="deg"), 1 * u.deg),
            None,
            "region must have finite coordinates",
        ),
    ],
)
def test_what_is_no_area(region, radius, message):
    with pytest.raises(InvalidQueryError, match=message):
        sky_area(region, radius)


def test_coverage_maps():
    mocpy = pytest.importorskip("mocpy")
    pytest.importorskip("cdshealpix")
    rng = np.random.default_rng(5)
    feet = [
        Shape(rng, place, 10 ** rng.uniform(-2, 0.3), [0, 4, 5][i % 3])
        for i, place in enumerate(places(rng, 150))
    ]
    footprints = Footprints([foot.text for foot in feet])
    for place in places(rng, 12):
        lon, lat = place * u.deg
        depth, radius = int(rng.integers(3, 9)), rng.uniform(0.1, 2) * u.deg
        moc = mocpy.MOC.from_cone(lon=lon, lat=lat, radius=radius, max_depth=depth)
        found = sky_area(moc).intersects(footprints)
        for foot, got in zip(feet, found, strict=True):
            # towards the centre in steps: points all over the footprint
            part = np.linspace(0, 1, 40)[:, None, None]
            points = (part * foot.rim[::3] + (1 - part) * foot.centre).reshape(-1, 3)
            lon, lat = degrees(points)
            covered = moc.contains_lonlat(lon * u.deg, lat * u.deg).any()
            if covered:
                assert got
            elif got:  # by less than the samples are apart
                wider = moc.add_neighbours()
                assert wider.contains_lonlat(lon * u.deg, lat * u.deg).any()
    with pytest.raises(InvalidQueryError, match="region must not be an empty MOC"):
        sky_area(mocpy.MOC.new_empty(5))


@pytest.mark.parametrize(
    "text",
    [
        "10.6875 41.25",
        "00h42m45s +41d15m",
        "00:42:45 +41:15:00",
        "10.6875, 41.25",
        "10d41m15s +41d15m00s",
        "10.6875d 41.25d",
    ],
)
def test_positions_as_text(text):
    centre, radius = sky_area(text, "1 arcmin").bounding_circle
    assert centre.ra.deg == pytest.approx(10.6875)
    assert centre.dec.deg == pytest.approx(41.25)
    assert radius.arcmin == pytest.approx(1)


def test_mocs_of_the_finest_orders():
    mocpy = pytest.importorskip("mocpy")
    last = 12 * 4**29 - 1  # floats round its number up to that of another order
    for cells, order in (([last], 29), ([5, last >> 26], 16)):
        text = f"{order}/{' '.join(map(str, cells))}"
        area = sky_area(mocpy.MOC.from_string(text))
        lon, lat = nested.healpix_to_lonlat(np.array(cells, dtype=np.uint64), order)
        assert area.contains(lon.deg, lat.deg).all()
        points = [f"POSITION {a} {b}" for a, b in zip(lon.deg, lat.deg, strict=True)]
        assert area.intersects(points)[: len(cells)].all() or order == 29


def sampled_footprints(rng, n):
    texts = []
    for _ in range(n):
        ra, dec = rng.uniform(0, 360), np.degrees(np.arcsin(rng.uniform(-1, 1)))
        size = 10 ** rng.uniform(-3, 1.3)
        turn = np.sort(rng.uniform(0, 360, 4)) * u.deg
        rim = SkyCoord(ra, dec, unit="deg").directional_offset_by(turn, size * u.deg)
        pairs = zip(rim.ra.deg, rim.dec.deg, strict=True)
        polygon = " ".join(f"{a} {b}" for a, b in pairs)
        circle = f"CIRCLE {ra} {dec} {size}"
        texts.append(circle if rng.random() < 0.4 else f"POLYGON {polygon}")
    return Footprints(texts)


def slow_meets(moc, footprints):
    """Cell by cell, with the general test of polygons."""
    from paperclip.footprints import Polygon
    from paperclip.footprints.shapes import Shapes

    part = sky_area(moc).parts[0]
    polygons = []
    for start, order in zip(part._start, part._order, strict=True):
        index = np.array([start >> (2 * (29 - order))], dtype=np.uint64)
        step = int(np.clip(2 ** (9 - int(order)), 4, 512))
        lon, lat = nested.vertices(index, int(order), step=step)
        pairs = zip(lon.deg[0].tolist(), lat.deg[0].tolist(), strict=True)
        polygons.append(Polygon(tuple(pairs)))
    cells = Shapes(polygons)
    hits = part.contains(footprints.on_edge)
    for row in np.flatnonzero(~hits):
        every = np.full(len(polygons), row)
        hits[row] = (
            footprints.contain(every, cells.on_edge).any()
            or cells.crossings(np.arange(len(polygons)), footprints, row)[0].size > 0
        )
    return hits


def test_mocs_cell_by_cell():
    mocpy = pytest.importorskip("mocpy")
    rng = np.random.default_rng(11)
    footprints = sampled_footprints(rng, 150)
    for number in range(8):
        size = 10 ** rng.uniform(-1, 1.6)
        lat = (90, -90, 0, 41.8, *rng.uniform(-90, 90, 4))[number]
        lon = Longitude(rng.choice([0, rng.uniform(0, 360)]), unit="deg")
        depth = int(np.clip(np.log2(58 / size) + 1, 0, 9))
        moc = mocpy.MOC.from_cone(
            lon, Latitude(lat, unit="deg"), radius=size * u.deg, max_depth=depth
        )
        area = sky_area(moc)
        np.testing.assert_array_equal(
            area.intersects(footprints), slow_meets(moc, footprints)
        )
        meets, inside = area.sort_circles(footprints.centre, footprints.radius)
        assert not (area.intersects(footprints) & ~meets).any()
        assert area.intersects(footprints)[inside].all()


@pytest.mark.parametrize("size", [0.0, 1e-4, 0.05, 1.0])
def test_many_circles_are_as_good_as_one_by_one(size):
    rng = np.random.default_rng(5)
    footprints = sampled_footprints(rng, 400)
    lon, lat = rng.uniform(0, 360, 60), rng.uniform(-90, 90, 60)
    lon[:3], lat[:3] = [0, 77, 10], [0, 90, -90]
    vertices = np.degrees(np.arcsin(footprints.on_edge[:20, 2]))
    lat[40:] = vertices
    lon[40:] = np.degrees(np.arctan2(*footprints.on_edge[:20, 1::-1].T)) % 360
    places = SkyCoord(lon, lat, unit="deg")
    many = sky_area(places, size)
    assert len(many.parts) == 1
    single = SkyArea([sky_area(place, size).parts[0] for place in places])
    np.testing.assert_array_equal(
        many.intersects(footprints), single.intersects(footprints)
    )
    ra, dec = rng.uniform(0, 360, 3000), rng.uniform(-90, 90, 3000)
    np.testing.assert_array_equal(many.contains(ra, dec), single.contains(ra, dec))
    for one, other in zip(
        many.sort_circles(footprints.centre, footprints.radius),
        single.sort_circles(footprints.centre, footprints.radius),
        strict=True,
    ):
        np.testing.assert_array_equal(one, other)


def test_circles_inside_an_annulus():
    inner, outer = 2 * u.deg, 8 * u.deg
    centre = SkyCoord(0, 89, unit="deg")
    area = sky_area(regions.CircleAnnulusSkyRegion(centre, inner, outer))
    points = centre.directional_offset_by(50 * u.deg, [0, 1.5, 5, 7.5, 9] * u.deg)
    radius = np.radians([0.1, 1.0, 1.0, 1.0, 0.5])
    meets, inside = area.sort_circles(unit(points.ra.deg, points.dec.deg), radius)
    assert meets.tolist() == [False, True, True, True, False]
    assert inside.tolist() == [False, False, True, False, False]
