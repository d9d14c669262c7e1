# Licensed under a 3-clause BSD style license - see LICENSE.rst
import numpy as np
import pytest
from astropy import units as u

from paperclip.exceptions import (
    ExportError,
    FailedRowsWarning,
    InvalidQueryError,
    MissingDependencyError,
)
from paperclip.footprints import parse_s_region
from paperclip.footprints.shapes import Shapes
from paperclip.index import Index
from paperclip.index.formats import coverage, export_moc, read_coverage

mocpy = pytest.importorskip("mocpy")

REGIONS = [
    "CIRCLE ICRS 10 20 0.5",
    "CIRCLE ICRS 359.99 -60 0.3",
    "CIRCLE 0 90 1",
    "POLYGON ICRS 359.9 -0.1 0.1 -0.1 0.1 0.1 359.9 0.1",
    "POLYGON 0 89.9 90 89.9 180 89.9 270 89.9",
    "POLYGON 50 10 51 11 51 10 50 11",
    "POLYGON 80 10 80 10 81 10 81 11 80 10",
    "POLYGON 120 -40 121 -40 121 -39 120 -39 CIRCLE 122 -40 0.4",
]


@pytest.fixture(name="field", scope="module")
def fixture_field(tmp_path_factory):
    index = Index.create(
        tmp_path_factory.mktemp("f") / "ix", fingerprint="f", dimension=2
    )
    size = len(REGIONS) + 2
    index.append(
        {
            "obs_id": [f"o{i}" for i in range(size)],
            "s_region": [*REGIONS, "", ""],
            "s_ra": [1.0] * (size - 2) + [200, np.nan],
            "s_dec": [1.0] * (size - 2) + [-20, np.nan],
        },
        np.ones((size, 2)),
    )
    return index


@pytest.mark.parametrize("order", [6, 9, 11])
def test_everything_in_a_footprint_is_covered(field, order):
    rng = np.random.default_rng(0)
    cell = np.sqrt(4 * np.pi / (12 * 4**order))
    for number, text in enumerate(REGIONS):
        moc = field.coverage(order=order, where=f"obs_id = 'o{number}'")
        shapes = Shapes(parse_s_region(text))
        for row in range(len(shapes)):
            points = shapes.centre[row] + rng.normal(size=(40_000, 3)) * 0.01
            points /= np.linalg.norm(points, axis=1, keepdims=True)
            inside = shapes.contain(np.full(len(points), row), points)
            lon = np.degrees(np.arctan2(points[:, 1], points[:, 0])) * u.deg
            lat = np.degrees(np.arcsin(points[:, 2])) * u.deg
            covered = moc.contains_lonlat(lon, lat)
            assert inside.any()
            assert covered[inside].all(), text
            apart = np.linalg.norm(points - shapes.centre[row], axis=1)
            far = apart > shapes.radius[row] + 2 * cell
            if len(shapes) == 1:
                assert not covered[far].any(), text


def test_positions_without_footprints(field):
    moc = coverage(field, order=8, where="obs_id = 'o8'")
    assert moc.contains_lonlat([200] * u.deg, [-20] * u.deg).all()
    np.testing.assert_allclose(moc.sky_fraction, 1 / (12 * 4**8))
    assert coverage(field, where="obs_id = 'o9'").empty()


def test_unreadable_footprints(tmp_path):
    index = Index.create(tmp_path / "ix", fingerprint="f", dimension=2)
    index.append(
        {"obs_id": ["a"], "s_region": ["POLYGON x"], "s_ra": [5.0], "s_dec": [5.0]},
        np.ones((1, 2)),
    )
    with pytest.warns(FailedRowsWarning, match="1 footprints cannot be read"):
        moc = index.coverage()
    assert moc.contains_lonlat([5] * u.deg, [5] * u.deg).all()


@pytest.mark.parametrize("end", ["fits", "json", "txt", "moc"])
def test_files(field, tmp_path, end):
    path = export_moc(field, tmp_path / f"a.{end}", order=7)
    moc = read_coverage(path)
    assert moc == field.coverage(order=7)
    found = field.search([1, 1], region=moc, limit=20)
    assert len(found) == 9
    with pytest.raises(ExportError, match="is there already"):
        export_moc(field, path)


def test_bad_input(field, tmp_path):
    with pytest.raises(InvalidQueryError, match="order must be at most 29"):
        field.coverage(order=30)
    with pytest.raises(InvalidQueryError, match="did you mean 'region'"):
        field.coverage(regions="1 2")
    (tmp_path / "a.fits").write_text("x")
    with pytest.raises(InvalidQueryError, match="cannot be read as a coverage map"):
        read_coverage(tmp_path / "a.fits")
    with pytest.raises(InvalidQueryError, match="cannot be read as a coverage map"):
        read_coverage(tmp_path / "nothing.json")


def test_what_to_install_is_said(field, monkeypatch):
    def missing(name):
        raise ModuleNotFoundError(name=name)

    monkeypatch.setattr("paperclip.utils.optional.import_module", missing)
    with pytest.raises(MissingDependencyError, match=r"astro-paperclip\[moc\]"):
        field.coverage()
