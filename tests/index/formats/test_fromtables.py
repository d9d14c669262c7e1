# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""Indexes of files that other programs, or `Index.export`, have written."""

import numpy as np
import pytest
from astropy import units as u
from astropy.coordinates import SkyCoord
from astropy.table import Table

from paperclip.exceptions import (
    IndexExistsError,
    InvalidQueryError,
    InvalidRowsError,
    ModelMismatchError,
)
from paperclip.index import Index
from paperclip.index.formats import import_table

pytestmark = pytest.mark.filterwarnings(
    "ignore:.*spelt without their accents", "ignore:no row of the index"
)


@pytest.mark.parametrize("end", ["vot", "fits", "ecsv"])
def test_round_trip(index, tmp_path, end, same, bits):
    path = index.export(tmp_path / f"a.{end}", vectors=True, where="s_dec > 0")
    again = import_table(path, tmp_path / "ix")
    assert (again.fingerprint, again.model) == (index.fingerprint, index.model)
    assert again.colnames == index.colnames
    expected = bits(index)
    assert bits(again) == {name: expected[name] for name in bits(again)}
    before = index.to_table()
    before = before[before["s_dec"] > 0]
    after = again.to_table()
    if end == "fits":  # it is ASCII
        before.remove_column("target_name")
        after.remove_column("target_name")
    assert len(after) == len(before) > 100
    for name in before.colnames:
        assert after[name].tolist() == before[name].tolist(), name
        assert after[name].unit == before[name].unit


@pytest.mark.parametrize(
    "end", ["vot", "fits"]
)  # astropy reads no empty ECSV of vectors
def test_no_rows_and_one_row(index, tmp_path, end):
    for place, where in enumerate(["s_dec > 90", "obs_id = 'obs-0003'"]):
        path = index.export(tmp_path / f"{place}.{end}", vectors=True, where=where)
        again = import_table(path, tmp_path / f"ix{place}")
        assert (len(again), again.dimension) == (place, index.dimension)


def foreign(**changes):
    """Return a table of somebody else."""
    ra = np.radians([15.0, 352.5]) * u.rad
    table = Table({"id": [11, 12], "ra": ra, "dec": [0.0, 1]})
    table["name"] = ["M 51", " "]
    table["embedding"] = np.array([[3.0, 4], [0.1, 0.2]])
    for name, values in changes.items():
        table[name] = values
    return table


RENAME = {"id": "obs_id", "ra": "s_ra", "dec": "s_dec"}


@pytest.fixture(name="load")
def fixture_load(tmp_path):
    def load(table, end="ecsv", **options):
        table.write(tmp_path / f"f.{end}", format={"ecsv": "ascii.ecsv"}.get(end, end))
        known = {"vector": "embedding", "rename": RENAME, "fingerprint": "f"}
        options = {**known, **options}
        return import_table(tmp_path / f"f.{end}", tmp_path / "ix", **options)

    return load


@pytest.mark.parametrize("end", ["ecsv", "fits"])
def test_files_of_others(load, end):
    index = load(foreign(), end, model="org/m")
    table = index.to_table()
    assert table["obs_id"].tolist() == ["11", "12"]
    assert table["s_ra"].tolist() == pytest.approx([15, 352.5])
    assert table["name"].tolist() == ["M 51", None]
    np.testing.assert_allclose(index.vectors()[0], [0.6, 0.8], atol=1e-3)
    assert (index.fingerprint, index.model) == ("f", "org/m")


def test_columns_to_keep(load):
    place = SkyCoord([1, 2], [3, 4], unit="deg")
    index = load(foreign(place=place), columns=["id"], rename={"id": "obs_id"})
    assert index.colnames[-1] == "jpegURL"


@pytest.mark.parametrize(
    ("table", "options", "error", "message"),
    [
        (foreign(), {"vector": "embeding"}, InvalidRowsError, "mean 'embedding'"),
        (foreign(), {"vector": "dec"}, InvalidRowsError, "'dec' must hold vectors"),
        (foreign(), {"vector": "name"}, InvalidRowsError, "'name' must hold vectors"),
        (foreign(), {"fingerprint": None}, InvalidQueryError, "not say which model"),
        (foreign(id=[11, 11]), {}, InvalidRowsError, "obs_id must be unique"),
        (foreign(dec=[1, 2] * u.m), {}, InvalidRowsError, "'s_dec' must be in deg"),
        (
            foreign(embedding=[[1.0, 2], [np.nan, 1]]),
            {},
            InvalidRowsError,
            "finite and not all zero; row 1 has nan",
        ),
        (
            foreign(place=SkyCoord([1, 2], [3, 4], unit="deg")),
            {},
            InvalidRowsError,
            r"'place' is a SkyCoord, .* keep with columns=",
        ),
        (
            foreign(other=np.ones((2, 3))),
            {},
            InvalidRowsError,
            "'other' has more than one value per row",
        ),
    ],
)
def test_bad_files_leave_nothing_behind(load, tmp_path, table, options, error, message):
    with pytest.raises(error, match=message):
        load(table, **options)
    assert [p.name for p in tmp_path.iterdir()] == ["f.ecsv"]


def test_files_that_are_none(index, tmp_path):
    (tmp_path / "a.fits").write_bytes(b"SIMPLE?")
    (tmp_path / "a.vot").write_text("<no/>")
    for name, kind in (("a.fits", "FITS"), ("a.vot", "VOTABLE"), ("b.ecsv", "ECSV")):
        with pytest.raises(InvalidRowsError, match=f"cannot be read as {kind}"):
            import_table(tmp_path / name, tmp_path / "ix")
    with pytest.raises(
        InvalidQueryError, match=r"must end in one of .ecsv, .*'.*a.csv'"
    ):
        import_table(tmp_path / "a.csv", tmp_path / "ix")
    path = index.export(tmp_path / "c.ecsv", vectors=True)
    with pytest.raises(ModelMismatchError, match="not by 'g'"):
        import_table(path, tmp_path / "ix", fingerprint="g")
    with pytest.raises(IndexExistsError, match="choose another place"):
        import_table(path, index.uri)
    assert not (tmp_path / "ix").exists()
    assert len(Index.open(index.uri)) == len(index)
