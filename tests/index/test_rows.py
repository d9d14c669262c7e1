# Licensed under a 3-clause BSD style license - see LICENSE.rst
import numpy as np
import pytest
from astropy import units as u
from astropy.coordinates import Latitude, Longitude
from astropy.table import MaskedColumn, QTable, Table
from astropy.time import Time
from astropy.utils.masked import Masked

from paperclip.exceptions import InvalidQueryError, InvalidRowsError
from paperclip.index import Index
from paperclip.results import ColumnSpec

OPTIONS = {"fingerprint": "abc", "dimension": 3}
EXTRA = {
    "redshift": float,
    "n_stars": ColumnSpec("n_stars", "int16", None, "Stars", "meta.number"),
    "width": ColumnSpec("width", "float32", "arcsec"),
    "good": bool,
    "note": str,
}


@pytest.fixture(name="index")
def fixture_index(tmp_path):
    return Index.create(tmp_path / "ix", extra_columns=EXTRA, **OPTIONS)


def rows(n=2, **columns):
    return Table({"obs_id": [f"o{i}" for i in range(n)], **columns})


def test_missing_values_come_back_masked_and_only_there(index):
    text = MaskedColumn(["β Cen", "x", "x"], mask=[False, True, False])
    table = rows(
        3,
        target_name=text,
        instrument_name=["NIRCAM", "", "  "],
        obs_title=np.array(["title", None, "b"], dtype=object),
        s_ra=[1.0, np.nan, 2.0],
        n_stars=MaskedColumn([1, 2, 3], mask=[True, False, False]),
        good=np.array([True, None, False], dtype=object),
        filters=["F200W"] * 3,
    )
    index.append(table, np.eye(3))
    back = index.to_table()
    assert back["target_name"].tolist() == ["β Cen", None, "x"]
    assert back["instrument_name"].tolist() == ["NIRCAM", None, None]
    assert back["obs_title"].tolist() == ["title", None, "b"]
    assert back["s_ra"].tolist() == [1.0, None, 2.0]
    assert back["n_stars"].tolist() == [None, 2, 3]
    assert back["good"].tolist() == [True, None, False]
    assert back["s_region"].mask.all()
    assert not isinstance(back["filters"], MaskedColumn)
    assert not isinstance(back["obs_id"], MaskedColumn)
    assert back["n_stars"].dtype == np.int16
    assert back["n_stars"].info.meta == {"ucd": "meta.number"}
    assert back["width"].unit == u.arcsec


def test_values_are_converted_to_the_units_of_the_index(index):
    table = QTable(rows())
    table["s_ra"] = Longitude([1, 23], "hourangle")
    table["s_dec"] = Masked(Latitude([-30, 60], "arcmin"), mask=[False, True])
    table["t_min"] = Time(["2026-01-01", "2026-01-02"], scale="utc")
    table["width"] = [1, 2] * u.arcmin
    index.append(table, np.eye(3)[:2])
    back = index.to_table()
    np.testing.assert_allclose(back["s_ra"], [15, 345])
    assert back["s_dec"].tolist() == [-0.5, None]
    np.testing.assert_allclose(back["t_min"], [61041, 61042])
    np.testing.assert_allclose(back["width"], [60, 120])
    assert back["t_min"].unit == u.d


def test_right_ascensions_are_wrapped(index):
    index.append(rows(s_ra=[-10.0, 360.0]), np.eye(3)[:2])
    assert index.to_table()["s_ra"].tolist() == [350.0, 0.0]


def test_bytes_are_decoded(index):
    index.append(rows(note=np.array(["é".encode(), b"b"])), np.eye(3)[:2])
    assert index.to_table()["note"].tolist() == ["é", "b"]


def test_vectors_are_stored_with_unit_length(index):
    vectors = [[3, 4, 0], [1e-300, 0, 0], [0, -1e300, 1e300]]
    index.append(rows(3), vectors)
    stored = index.vectors()
    assert stored.dtype == np.float32
    half = np.sqrt(0.5)
    expected = np.array([[0.6, 0.8, 0], [1, 0, 0], [0, -half, half]], np.float16)
    np.testing.assert_array_equal(stored, expected.astype(np.float32))
    assert not stored.flags.writeable


@pytest.mark.parametrize(
    ("vectors", "match"),
    [
        (np.ones((2, 4)), r"vectors must have shape \(n, 3\) .* got \(2, 4\)"),
        (np.ones(3), r"shape \(n, 3\)"),
        (np.ones((3, 3)), "need one vector per row: 3 vectors, 2 rows"),
        ([[1, 2, 3], [1, np.nan, 3]], "finite and not all zero; row 1 has nan. Leave"),
        ([[0, 0, 0], [1, 2, 3]], "finite and not all zero; row 0 has zeros only. L"),
        ([[1, 2, np.inf], [1, 2, 3]], "finite and not all zero; row 0 has inf. Leave"),
        (np.full((2, 3), 1j), "vectors must be real numbers, got dtype complex"),
        ([["a"] * 3] * 2, "vectors must be real numbers"),
    ],
)
def test_vectors_that_do_not_fit_are_refused(index, vectors, match):
    with pytest.raises(InvalidRowsError, match=match):
        index.append(rows(), vectors)
    assert (len(index), index.version) == (0, 1)


@pytest.mark.parametrize(
    ("table", "match"),
    [
        (Table({"filters": ["a", "b"]}), "every row needs an obs_id; row 0"),
        (
            Table({"obs_id": ["a", ""]}),
            "every row needs an obs_id; row 1 has none: give",
        ),
        (
            Table({"obs_id": ["a", "a"]}),
            "obs_id must be unique; 1 are .* 'a'; keep one",
        ),
        (Table({"obs_id": [1, 2]}), r"'obs_id' must hold str .*astype\(str\)"),
        (rows(instrument=["a", "b"]), r"did you mean 'instrument_name'\? Remove it"),
        (rows(xyz=[1, 2]), r"lacks; choose from obs_id, .*, note. Remove it, or add"),
        (rows(s_ra=["a", "b"]), "'s_ra' must hold float64 values, got <U1"),
        (rows(target_name=[1.5, 2]), "'target_name' must hold str values"),
        (rows(s_ra=[1.0, np.inf]), "'s_ra' must be finite"),
        (rows(s_dec=[91.0, 0.0]), "'s_dec' must be within -90 to 90 deg, got 91"),
        (rows(s_dec=[1, 2] * u.m), "'s_dec' must be in deg, got m"),
        (rows(s_ra=[[1.0, 2], [3, 4]]), r"'s_ra' must have one value per row"),
        (rows(n_stars=[1.0, 2.0]), "'n_stars' must hold int16 values"),
        (rows(n_stars=[1, 70000]), "'n_stars' holds numbers that do not fit int16"),
        (rows(good=[0, 1]), "'good' must hold bool values"),
        (rows(note=np.array([b"\xff", b"a"])), "'note' holds bytes that are not UTF-8"),
        (rows(note=["\ud800", "a"]), "'note' must hold Unicode, got .*d800' with half"),
        (rows(note=np.array([{}, "a"], object)), "'note' must hold str values"),
        (5, "table must be an astropy Table, got int"),
    ],
)
def test_rows_that_do_not_fit_are_refused(index, table, match):
    with pytest.raises(InvalidRowsError, match=match):
        index.append(table, np.eye(3)[:2])
    assert (len(index), index.version) == (0, 1)


@pytest.mark.parametrize(
    ("extra", "match"),
    [
        ({"vector": str}, "'vector', which is taken"),
        ({"DATAURI": str}, "'DATAURI', which is taken"),
        ({"rank": int}, "'rank', which is taken"),
        ({"_rowid": int}, "'_rowid'; a name starts with a letter"),
        ({"a b": int}, "'a b'; a name starts with a letter"),
        ({"x": complex}, "must map names to types .* float32 or float64"),
        ([("x", float), "abc"], "must map names to types .* got 'abc'"),
        ([("x", float), ("X", float)], "'X', which is taken"),
    ],
)
def test_extra_columns_are_checked(tmp_path, extra, match):
    with pytest.raises(InvalidQueryError, match=match):
        Index.create(tmp_path / "ix", extra_columns=extra, **OPTIONS)
    assert not (tmp_path / "ix").exists()
