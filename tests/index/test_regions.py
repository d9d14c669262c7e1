# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""Rows by region: the same as a test of every footprint, anywhere on the sky."""

import os

import numpy as np
import pytest
import regions
from astropy import units as u
from astropy.coordinates import Latitude, Longitude, SkyCoord
from astropy.table import MaskedColumn, Table

from paperclip.exceptions import InvalidQueryError
from paperclip.footprints import Footprints, sky_area
from paperclip.index import Index
from paperclip.index.filters import row_filter

N_ROWS = 20_000
MANY = int(os.environ.get("PAPERCLIP_MANY_REGIONS", "0"))


def positions(rng, n):
    """A third anywhere, a third near right ascension 0, a third at the poles."""
    kind = np.arange(n) % 3
    spread = 10 ** rng.uniform(-3.5, 1.5, n)
    ra = np.where(kind == 1, rng.normal(size=n) * spread, rng.uniform(0, 360, n))
    dec = np.degrees(np.arcsin(rng.uniform(-1, 1, n)))
    pole = np.sign(rng.normal(size=n)) * (90 - np.abs(rng.normal(size=n)) * spread)
    dec = np.where(kind == 2, pole, dec)
    return ra % 360, np.clip(dec, -90, 90)


def outlines(rng, ra, dec):
    """Footprints of all kinds and sizes; None for every tenth row."""
    places = SkyCoord(ra, dec, unit="deg")
    size = np.clip(np.exp(rng.normal(np.log(0.03), 1.8, len(ra))), 1e-5, 15)
    texts = np.full(len(ra), None, dtype=object)
    corners = 3 + np.arange(len(ra)) % 4
    for n in np.unique(corners):
        here = np.flatnonzero(corners == n)
        turn = rng.uniform(0, 360, (len(here), 1)) + np.arange(n) * 360 / n
        rim = places[here, None].directional_offset_by(
            turn * u.deg, size[here, None] * u.deg
        )
        for row, x, y in zip(here, rim.ra.deg, rim.dec.deg, strict=True):
            pairs = " ".join(f"{a:.9f} {b:.9f}" for a, b in zip(x, y, strict=True))
            texts[row] = f"POLYGON ICRS {pairs}"
    kind = rng.integers(0, 10, len(ra))
    for row in np.flatnonzero(kind < 3):
        texts[row] = f"CIRCLE {ra[row]:.9f} {dec[row]:.9f} {size[row]:.9f}"
    for row in np.flatnonzero(kind == 3):
        texts[row] += f" CIRCLE {ra[row]:.9f} {dec[row] / 2:.9f} {size[row] / 3:.9f}"
    texts[kind == 4] = None
    return texts


@pytest.fixture(name="observed", scope="module")
def fixture_observed(tmp_path_factory):
    rng = np.random.default_rng(7)
    ra, dec = positions(rng, N_ROWS)
    texts = outlines(rng, ra, dec)
    table = Table({"obs_id": [f"o{i:05d}" for i in range(N_ROWS)]})
    table["s_ra"], table["s_dec"] = ra, dec
    blank = [text is None for text in texts]
    table["s_region"] = MaskedColumn([text or "" for text in texts], mask=blank)
    index = Index.create(
        tmp_path_factory.mktemp("regions") / "ix", fingerprint="f" * 16, dimension=2
    )
    half = N_ROWS // 2
    for part in (slice(0, half), slice(half, None)):
        index.append(table[part], rng.normal(size=(half, 2)))
    points = [
        text or f"POSITION {a!r} {d!r}"
        for text, a, d in zip(texts, ra.tolist(), dec.tolist(), strict=True)
    ]
    return index, Footprints(points)


def cone(rng, centre, size):
    return centre, size


def polygon(rng, centre, size):
    n = rng.integers(3, 9)
    turn = np.sort(rng.uniform(0, 360, n)) * u.deg
    vertices = centre.directional_offset_by(turn, size * rng.uniform(0.2, 1, n) * u.deg)
    return regions.PolygonSkyRegion(vertices), None


def moc(rng, centre, size):
    mocpy = pytest.importorskip("mocpy")
    depth = int(np.clip(np.log2(58 / size) + rng.uniform(0, 4), 0, 18))
    lon, lat = Longitude(centre.ra), Latitude(centre.dec)
    made = mocpy.MOC.from_cone(lon, lat, radius=size * u.deg, max_depth=depth)
    return made, None


def wanted(footprints, region, radius):
    return np.flatnonzero(sky_area(region, radius).intersects(footprints))


def found(index, region, radius):
    chosen = row_filter(index._snapshot.specs, region=region, radius=radius)
    addresses = chosen.addresses(index._snapshot.dataset, index.uri)
    half = len(index) // 2  # two fragments: the address holds the number of each
    return (addresses >> np.uint64(32)).astype(int) * half + (
        addresses & np.uint64(0xFFFFFFFF)
    ).astype(int)


def compare(index, footprints, n_areas, seed):
    rng = np.random.default_rng(seed)
    ra, dec = positions(rng, n_areas)
    sizes = 10 ** rng.uniform(np.log10(1 / 3600), np.log10(60), n_areas)
    total = 0
    for number in range(n_areas):
        make = (cone, polygon, moc)[rng.integers(0, 3)]
        centre = SkyCoord(ra[number], dec[number], unit="deg")
        region, radius = make(rng, centre, sizes[number])
        rows = found(index, region, radius)
        expected = wanted(footprints, region, radius)
        np.testing.assert_array_equal(rows, expected, err_msg=f"{number} {region}")
        total += len(rows)
    return total


def test_regions_give_the_rows_of_a_test_of_all_footprints(observed):
    assert compare(*observed, n_areas=90, seed=0) > 1000


@pytest.mark.skipif(not MANY, reason="set PAPERCLIP_MANY_REGIONS to their number")
def test_many_regions_give_the_rows_of_a_test_of_all_footprints(observed):
    assert compare(*observed, n_areas=MANY, seed=1) > MANY


@pytest.mark.parametrize(
    ("centre", "radius"),
    [
        ((0.0, 0.0), 5.0),
        ((359.9999, -45.0), 2.0),
        ((10.0, 90.0), 3.0),
        ((200.0, -90.0), 0.5),
        ((77.0, 89.9), 30.0),
        ((0.0, 0.0), 180.0),
    ],
)
def test_edges_of_the_coordinates(observed, centre, radius):
    rows = found(observed[0], centre, radius)
    assert len(rows) > 0
    np.testing.assert_array_equal(rows, wanted(observed[1], centre, radius))


@pytest.mark.parametrize("frame", ["galactic", "barycentrictrueecliptic", "fk5"])
def test_a_region_of_another_frame_is_transformed(observed, frame):
    centre = SkyCoord(120.0, -35.0, unit="deg", frame="icrs").transform_to(frame)
    circle = regions.CircleSkyRegion(centre, 4 * u.deg)
    np.testing.assert_array_equal(
        found(observed[0], circle, None), wanted(observed[1], (120.0, -35.0), 4.0)
    )


def test_lists_of_regions_are_unions(observed):
    index, footprints = observed
    items = [
        regions.CircleSkyRegion(SkyCoord(0.5, 1, unit="deg"), 3 * u.deg),
        regions.RectangleSkyRegion(SkyCoord(180, 80, unit="deg"), 9 * u.deg, 2 * u.deg),
    ]
    expected = np.union1d(*(wanted(footprints, item, None) for item in items))
    np.testing.assert_array_equal(found(index, items, None), expected)
    np.testing.assert_array_equal(found(index, regions.Regions(items), None), expected)


def test_many_positions_are_looked_up_together(observed):
    index, footprints = observed
    rng = np.random.default_rng(3)
    ra, dec = positions(rng, 400)
    places = SkyCoord(ra, dec, unit="deg")
    rows = found(index, places, "2 arcmin")
    expected = [wanted(footprints, place, "2 arcmin") for place in places[:40]]
    assert np.isin(np.concatenate(expected), rows).all()
    np.testing.assert_array_equal(rows, wanted(footprints, places, "2 arcmin"))


def test_the_coarse_condition_is_short(observed):
    specs = observed[0]._snapshot.specs
    rng = np.random.default_rng(0)
    places = SkyCoord(*positions(rng, 3000), unit="deg")
    for region, radius in (((10, 20), 1e-5), ((10, 20), 6), (places, 1e-3)):
        predicate = row_filter(specs, region=region, radius=radius).predicate
        assert predicate.count("hpx29 >=") <= 64
        assert len(predicate) < 8000


def test_region_and_similarity_together(observed):
    index, footprints = observed
    rows = wanted(footprints, (0.0, 0.0), 8.0)
    similarity = index.vectors()[rows] @ np.array([1.0, 0.0], dtype=np.float32)
    table = index.search([1, 0], region=(0.0, 0.0), radius=8.0, limit=7)
    best = rows[np.argsort(-similarity, kind="stable")[:7]]
    assert table["obs_id"].tolist() == [f"o{row:05d}" for row in best]
    assert table.meta["n_match"] == len(rows)
    assert table.meta["region"].startswith("circle 0.000000 +0.000000 8")


def test_rows_without_positions_are_nowhere(tmp_path):
    index = Index.create(tmp_path / "ix", fingerprint="f", dimension=2)
    table = Table({"obs_id": ["a", "b", "c", "d"]})
    table["s_ra"] = MaskedColumn([1.0, 0, 0, 4.0], mask=[0, 1, 1, 0])
    table["s_dec"] = [1.0, 1.0, np.nan, np.nan]
    regions_ = ["POLYGON 1 two", "CIRCLE 1 1 0.5", "", "CIRCLE 9 9 -1"]
    table["s_region"] = MaskedColumn(regions_, mask=[0, 0, 1, 0])
    index.append(table, np.eye(4, 2) + 1)
    names = index.search([1, 0], region=(1, 1), radius=180)["obs_id"].tolist()
    assert sorted(names) == ["a", "b"]  # a has no footprint that can be read
    assert index.search([1, 0], region=(1.3, 1), radius=0)["obs_id"].tolist() == ["b"]


def test_an_index_without_any_position(tmp_path):
    index = Index.create(tmp_path / "ix", fingerprint="f", dimension=2)
    assert len(index.search([1, 0], region=(1, 1), radius=9)) == 0
    index.append(Table({"obs_id": ["a"]}), [[1, 0]])
    assert len(index.search([1, 0], region=(1, 1), radius=9)) == 0
    assert len(index.search([1, 0], region=(1, 1), radius=180)) == 0


def test_internal_columns_are_not_seen(observed):
    index = observed[0]
    hidden = {"hpx29", "cx", "cy", "cz", "sky_radius", "vector"}
    assert not hidden & set(index.colnames)
    assert not hidden & set(index.to_table().colnames)
    assert not hidden & set(index.search([1, 0], limit=1).colnames)
    with pytest.raises(InvalidQueryError, match="unknown name 'cx'"):
        index.to_table(["cx"])


def pixel_region():
    return regions.CirclePixelRegion(regions.PixCoord(1, 1), 2)


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"region": pixel_region()}, "turn it into a sky region with its to_sky"),
        ({"region": (1, 2)}, "radius must be given with a position"),
        ({"region": []}, "region must not be an empty list"),
        ({"region": "no place", "radius": 1}, "region must be a sky region or a pos"),
        ({"region": (np.nan, 2), "radius": 1}, "finite coordinates"),
        ({"region": (1, 2), "radius": -1}, "radius must be between 0 and 180 deg"),
        ({"radius": 1}, "radius needs region, a position"),
        ({"region": 5}, "region must be a sky region"),
        (
            {"region": SkyCoord(1, 2, unit="deg", frame="altaz"), "radius": 1},
            r"frame 'altaz', which cannot be turned into ICRS .* missing attributes",
        ),
    ],
)
def test_regions_that_are_none(observed, options, match):
    with pytest.raises(InvalidQueryError, match=match):
        observed[0].search([1, 0], **options)
