# Licensed under a 3-clause BSD style license - see LICENSE.rst
import pytest
from astropy import units as u
from astropy.io.votable.ucd import check_ucd
from astropy.table import Table

from paperclip.results import COLUMNS, ColumnSpec, describe_columns, empty_table

FORMATS = [("ascii.ecsv", "t.ecsv"), ("votable", "t.xml"), ("fits", "t.fits")]


@pytest.mark.parametrize("spec", COLUMNS.values(), ids=list(COLUMNS))
def test_every_column_has_a_description_and_a_known_ucd(spec):
    assert spec.description
    assert check_ucd(spec.ucd, check_controlled_vocabulary=True)


def test_columns_cannot_be_changed():
    with pytest.raises(TypeError, match="does not support item assignment"):
        COLUMNS["new"] = COLUMNS["rank"]


@pytest.mark.parametrize("dtype", ["float16", complex, object, "uint8", "M8[s]", bytes])
def test_types_that_no_index_can_hold_are_refused(dtype):
    with pytest.raises(ValueError, match=r"'x' has dtype .* it must be str"):
        ColumnSpec("x", dtype)


def test_types_and_units_are_kept_by_name():
    spec = ColumnSpec("z", float, "km/s")
    assert (spec.dtype, spec.unit) == ("float64", u.km / u.s)
    assert ColumnSpec("name", str).dtype == "str"


def test_empty_table_has_columns_units_and_ucds():
    table = empty_table(["obs_id", "s_ra", "similarity"])
    assert table.colnames == ["obs_id", "s_ra", "similarity"]
    assert len(table) == 0
    assert table["s_ra"].unit == u.deg
    assert table["similarity"].unit == u.dimensionless_unscaled
    assert table["s_ra"].info.meta["ucd"] == "pos.eq.ra"


@pytest.mark.parametrize(("name", "file"), FORMATS)
def test_empty_table_with_every_column_survives_files(tmp_path, name, file):
    table = empty_table()
    table.write(tmp_path / file, format=name)
    back = Table.read(tmp_path / file, format=name)
    assert back.colnames == list(COLUMNS)
    assert len(back) == 0
    assert back["t_min"].unit == u.d


def test_describe_columns_keeps_what_a_column_has():
    table = Table({"s_ra": [1.0] * u.hourangle, "mine": [1], "t_min": [5.0]})
    table["s_ra"].info.description = "my own"
    assert describe_columns(table) is table
    assert table["s_ra"].unit == u.hourangle
    assert table["s_ra"].info.description == "my own"
    assert table["t_min"].unit == u.d
    assert table["mine"].description is None
