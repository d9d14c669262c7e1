# Licensed under a 3-clause BSD style license - see LICENSE.rst
import numpy as np
import pytest
from astropy import units as u
from astropy.coordinates import SkyCoord
from astropy.table import MaskedColumn, Table
from astropy.time import Time

from paperclip.exceptions import InvalidQueryError, InvalidRowsError
from paperclip.index import Index
from paperclip.results import ColumnSpec


def test_columns_without_values(small, make_rows):
    spec = ColumnSpec("flux", "float32", u.Jy, "Flux of the source", "phot.flux")
    assert small.add_columns([spec, ColumnSpec("seen", bool)]) == 0
    again = Index.open(small.uri)
    assert again.colnames[-2:] == ["flux", "seen"]
    column = again.to_table()["flux"]
    assert column.mask.all()
    assert (column.unit, column.description) == (u.Jy, "Flux of the source")
    assert column.info.meta["ucd"] == "phot.flux"
    table, vectors = make_rows(3, prefix="new")
    table["flux"] = [1, 2, 3] * u.mJy
    small.append(table, vectors)
    found = small.search(vectors[1], where="flux > 0.0015", limit=9)
    np.testing.assert_allclose(sorted(found["flux"]), [0.002, 0.003], rtol=1e-6)
    assert small.fingerprint == again.fingerprint


def test_columns_with_values_by_id(small, make_rows):
    vectors = small.vectors().copy()
    small.delete("obs-0002")
    small.append(*make_rows(3, prefix="new"))
    reader = Index.open(small.uri)
    table = Table()
    table["obs_id"] = ["new-0001", "obs-0003", "elsewhere", "obs-0002", "obs-0000"]
    table["redshift"] = MaskedColumn([1.5, 2, 3, 4, 5], mask=[0, 0, 0, 0, 1])
    table["kind"] = MaskedColumn(["é'", "b", "c", "d", "e"], description="what it is")
    assert small.add_columns(table) == 3
    rows = Index.open(small.uri).to_table(["obs_id", "redshift", "kind"])
    known = {r["obs_id"]: (r["redshift"], r["kind"]) for r in rows}
    assert known["new-0001"] == (1.5, "é'")
    assert known["obs-0003"] == (2, "b")
    assert known["obs-0000"][1] == "e"
    assert rows["redshift"].mask.sum() == len(rows) - 2
    assert rows["kind"].mask.sum() == len(rows) - 3
    assert rows["kind"].description == "what it is"
    np.testing.assert_array_equal(small.vectors()[:2], vectors[:2])
    assert "redshift" not in reader.to_table().colnames
    assert small.versions()["note"][-1] == "add columns redshift, kind"
    # and all other changes go on
    table, vectors = make_rows(4, prefix="new")
    table["kind"] = "k"
    assert small.upsert(table, vectors) == (1, 3)
    assert small.compact().files_after == 1
    assert small.search(vectors[3], where="kind = 'k'", limit=1)["obs_id"] == "new-0003"


def test_times_become_mjd(small):
    """They had no type that could be asked for."""
    when = Time(["2020-06-10T12:00:00"], scale="utc").tai
    table = Table({"obs_id": small.to_table()["obs_id"][:1], "reduced": when})
    assert small.add_columns(table) == 1
    column = small.to_table()["reduced"]
    assert column[0] == pytest.approx(59010.5)
    assert column.unit == "d"


def test_rows_with_columns_that_others_have_added(small):
    """They were compared with the columns of the version that was open."""
    writer = Index.open(small.uri)
    small.add_columns({"redshift": float})
    table = Table({"obs_id": ["new"], "redshift": [0.5]})
    writer.append(table, np.ones((1, small.dimension)))
    assert writer.to_table()["redshift"][-1] == 0.5
    assert writer.version == 4


def test_columns_of_an_index_without_rows(tmp_path):
    index = Index.create(tmp_path / "ix", fingerprint="f", dimension=2)
    assert index.add_columns(Table({"obs_id": ["a"], "z": [1]})) == 0
    index.append({"obs_id": ["a"], "z": [3]}, [[1, 0]])
    assert index.to_table()["z"].tolist() == [3]


@pytest.mark.parametrize(
    ("columns", "match"),
    [
        ({}, "at least one column beside obs_id"),
        ({"s_ra": float}, "columns has the name 's_ra', which is taken"),
        ({"vector": float}, "taken"),
        ({"HPX29": int}, "taken|the index has already"),
        ({"Mine": float}, "'Mine', which the index has already"),
        ({"a b": float}, "columns has the name 'a b'"),
        ({"z": complex}, "columns must map names"),
        (5, "columns must be a Table, map names to types or .*, got 5"),
        (Table({"obs_id": ["a"], "z": [1j]}), "'z' cannot be stored"),
        (
            Table({"obs_id": ["a"], "place": SkyCoord([1], [2], unit="deg")}),
            "'place' cannot be stored: it is a SkyCoord; give its parts",
        ),
        (Table({"obs_id": ["a"]}), "at least one column beside obs_id"),
    ],
)
def test_columns_that_cannot_be_added(small, columns, match):
    small.add_columns({"mine": float})
    with pytest.raises(InvalidQueryError, match=match):
        small.add_columns(columns)
    assert small.version == 3


@pytest.mark.parametrize(
    ("table", "match"),
    [
        ({"z": [1]}, "columns needs a column obs_id"),
        ({"obs_id": ["a", "a"], "z": [1, 2]}, "one obs_id per row, each once"),
        ({"obs_id": ["a", ""], "z": [1, 2]}, "one obs_id per row, each once"),
        ({"obs_id": [1, 2], "z": [1, 2]}, "'obs_id' must hold str values"),
        ({"obs_id": ["a"], "z": [[1, 2]]}, "one value per row"),
    ],
)
def test_tables_that_do_not_fit(small, table, match):
    with pytest.raises(InvalidRowsError, match=match):
        small.add_columns(Table(table))
    assert small.version == 2


def test_columns_are_dropped(small, make_rows):
    small.add_columns({"a": float, "b": str, "c": int})
    reader = Index.open(small.uri)
    small.drop_columns(["a", "c"])
    small.drop_columns([])
    assert small.colnames[-1] == "b"
    assert reader.to_table().colnames[-1] == "c"
    assert small.version == 4
    table, vectors = make_rows(2, prefix="new")
    table["b"] = "x"
    small.upsert(table, vectors)
    small.drop_columns("b")
    small.add_columns({"b": float})  # under the same name, of another type
    assert small.to_table()["b"].mask.all()
    with pytest.raises(InvalidQueryError, match="names has 's_ra', a column that eve"):
        small.drop_columns("s_ra")
    with pytest.raises(InvalidQueryError, match=r"column 'bb'; did you mean 'b'\?"):
        small.drop_columns("bb")
    small.drop_columns("b")
    with pytest.raises(InvalidQueryError, match="it has none to drop"):
        small.drop_columns("b")
