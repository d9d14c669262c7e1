# Licensed under a 3-clause BSD style license - see LICENSE.rst
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from astropy.table import MaskedColumn, Table

from paperclip.exceptions import (
    ExportError,
    IndexExistsError,
    InvalidQueryError,
    InvalidRowsError,
    ModelMismatchError,
    NoResultsWarning,
)
from paperclip.index import Index
from paperclip.index.formats import export_parquet, import_parquet


@pytest.fixture(name="file", scope="module")
def fixture_file(index, tmp_path_factory):
    return export_parquet(index, tmp_path_factory.mktemp("p") / "a.parquet")


def test_round_trip_gives_an_equal_index(index, file, tmp_path, same, bits):
    again = import_parquet(file, tmp_path / "ix")
    assert same(again.to_table(), index.to_table())
    assert again._snapshot.schema.equals(index._snapshot.schema, check_metadata=False)
    assert bits(again) == bits(index)
    facts = ("fingerprint", "dimension", "model")
    assert [getattr(again, f) for f in facts] == [getattr(index, f) for f in facts]
    found = again.search(np.ones(16), limit=9, region="10 20", radius=60)
    expected = index.search(np.ones(16), limit=9, region="10 20", radius=60)
    assert same(found, expected)


def test_astropy_reads_units_masks_and_vectors(index, file, same):
    table = Table.read(file)
    expected = index.to_table()
    assert table["counts"].dtype.kind == "f"  # because of the gaps
    table["counts"] = table["counts"].filled(0).astype("int32")
    table["counts"] = MaskedColumn(table["counts"], mask=expected["counts"].mask)
    assert same(table[expected.colnames], expected)
    np.testing.assert_array_equal(table["vector"], index.vectors())
    assert table.meta["fingerprint"] == index.fingerprint


def test_pandas_reads_missing_values(index, file):
    frame = pd.read_parquet(file)
    expected = index.to_table()
    assert frame["obs_id"].tolist() == expected["obs_id"].tolist()
    missing = expected["target_name"].mask
    np.testing.assert_array_equal(frame["target_name"].isna(), missing)
    vectors = np.stack(frame["vector"]).astype(np.float32)
    np.testing.assert_array_equal(vectors, index.vectors())


def test_subset_without_vectors(index, tmp_path):
    path = export_parquet(
        index,
        tmp_path / "s.parquet",
        columns=["s_ra", "counts"],
        vectors=False,
        where="counts > 300",
        instrument_name="miri",
    )
    table = Table.read(path)
    assert table.colnames == ["obs_id", "s_ra", "counts"]
    expected = index.to_table()
    keep = (expected["instrument_name"] == "MIRI") & (expected["counts"] > 300)
    assert table["obs_id"].tolist() == expected["obs_id"][keep.filled(False)].tolist()


def test_no_rows(index, tmp_path):
    with pytest.warns(NoResultsWarning, match="no row of .* where: counts < 0"):
        path = export_parquet(index, tmp_path / "e.parquet", where="counts < 0")
    assert len(Table.read(path)) == 0
    again = import_parquet(path, tmp_path / "ix")
    assert (len(again), again.colnames) == (0, index.colnames)


def test_row_groups_are_written_in_turn(index, tmp_path, monkeypatch):
    monkeypatch.setattr("paperclip.index.formats._parquet._GROUP", 1)
    monkeypatch.setattr("paperclip.index._selecting._BYTES", 1)
    path = export_parquet(index, tmp_path / "g.parquet")
    assert len(Table.read(path)) == len(index)


def test_nothing_is_replaced_unasked(index, tmp_path):
    path = tmp_path / "a.parquet"
    path.write_text("mine")
    with pytest.raises(ExportError, match="is there already; choose another name"):
        export_parquet(index, path)
    assert path.read_text() == "mine"
    with pytest.raises(InvalidQueryError, match="did you mean 's_ra'"):
        export_parquet(index, path, where="s_raa > 1", overwrite=True)
    assert path.read_text() == "mine"
    export_parquet(index, path, overwrite=True)
    assert len(pq.read_table(path)) == len(index)
    assert [p.name for p in tmp_path.iterdir()] == ["a.parquet"]


def test_folders_and_addresses_are_no_files(index, tmp_path):
    with pytest.raises(ExportError, match="is a folder"):
        export_parquet(index, tmp_path, overwrite=True)
    with pytest.raises(InvalidQueryError, match="must be on a local disk"):
        export_parquet(index, "s3://bucket/a.parquet")
    with pytest.raises(InvalidQueryError, match="path must be the name"):
        export_parquet(index, 3)


def foreign(**changes):
    """Return a table of somebody else."""
    columns = {
        "source_id": pa.array([11, 12, 13]),
        "ra": pa.array([10.0, 370.0, 5.0]),
        "dec": pa.array([0.0, 1.0, 2.0]),
        "name": pa.array(["a", "b", None]).dictionary_encode(),
        "embedding": pa.array([[1.0, 0, 0], [0, 2, 0], [0, 1, 1]]),
    }
    return pa.table({k: v for k, v in {**columns, **changes}.items() if v is not None})


RENAME = {"source_id": "obs_id", "ra": "s_ra", "dec": "s_dec"}


@pytest.fixture(name="load")
def fixture_load(tmp_path):
    def load(table, **options):
        pq.write_table(table, tmp_path / "f.parquet")
        known = {"vector": "embedding", "rename": RENAME, "fingerprint": "f"}
        return import_parquet(
            tmp_path / "f.parquet", tmp_path / "ix", **{**known, **options}
        )

    return load


def test_files_of_others(load):
    index = load(foreign(__index_level_0__=pa.array([0, 1, 2])), model="org/m")
    assert index.colnames[-1] == "name"
    table = index.to_table()
    assert table["obs_id"].tolist() == ["11", "12", "13"]
    assert table["s_ra"].tolist() == [10, 10, 5]
    assert table["name"].tolist() == ["a", "b", None]
    np.testing.assert_allclose(np.linalg.norm(index.vectors(), axis=1), 1, atol=1e-3)
    assert (index.fingerprint, index.model, index.dimension) == ("f", "org/m", 3)


def test_columns_to_keep(load):
    table = foreign(odd=pa.array([{"a": 1}] * 3))
    with pytest.raises(InvalidRowsError, match="'odd' is of type struct"):
        load(table)
    index = load(table, columns=["source_id", "ra"])
    assert "name" not in index.colnames


def vectors(*rows):
    return pa.array(rows)


@pytest.mark.parametrize(
    ("changes", "options", "error", "message"),
    [
        ({}, {"vector": "embeding"}, InvalidRowsError, "did you mean 'embedding'"),
        ({"embedding": None}, {}, InvalidRowsError, "no column 'embedding' of vectors"),
        ({}, {"vector": "ra"}, InvalidRowsError, "'ra' of .* must hold vectors"),
        ({}, {"rename": {}}, InvalidRowsError, "no column 'obs_id'; say which column"),
        ({}, {"rename": {"id": "obs_id"}}, InvalidQueryError, "no column 'id'"),
        ({}, {"rename": {**RENAME, "name": "s_ra"}}, InvalidQueryError, "two columns"),
        ({}, {"fingerprint": None}, InvalidQueryError, "does not say which model"),
        ({}, {"fingerprint": " "}, InvalidQueryError, "fingerprint must be a text"),
        (
            {"two words": pa.array([1, 2, 3])},
            {},
            InvalidQueryError,
            "has a column 'two words'; a name .* only; leave it out with columns=",
        ),
        (
            {"source_id": pa.array([11, 12, 11])},
            {},
            InvalidRowsError,
            "obs_id must be unique.* '11'",
        ),
        (
            {"source_id": pa.array([11, None, 12])},
            {},
            InvalidRowsError,
            "every row needs an obs_id; row 1",
        ),
        (
            {"embedding": vectors([1.0, 0, 0], [0, float("nan"), 0], [0, 0, 1.0])},
            {},
            InvalidRowsError,
            "must be finite and not all zero; row 1",
        ),
        (
            {"embedding": vectors([1.0, 0, 0], [0, 1.0], [0, 0, 1.0])},
            {},
            InvalidRowsError,
            "must have 3 numbers; row 1 has 2",
        ),
        (
            {"embedding": vectors([1.0, 0, 0], None, [0, 0, 1.0])},
            {},
            InvalidRowsError,
            "row 1 has no vector",
        ),
        (
            {"dec": pa.array([1.0, 2, 91])},
            {},
            InvalidRowsError,
            "'s_dec' must be within -90 to 90",
        ),
        (
            {"dec": pa.array(["x", "y", "z"])},
            {},
            InvalidRowsError,
            "'s_dec' must hold float64",
        ),
    ],
)
def test_bad_files_leave_nothing_behind(
    load, tmp_path, changes, options, error, message
):
    with pytest.raises(error, match=message):
        load(foreign(**changes), **options)
    assert [p.name for p in tmp_path.iterdir()] == ["f.parquet"]


def test_ids_repeated_far_apart_are_found(load, tmp_path, monkeypatch):
    monkeypatch.setattr("paperclip.index.formats._parquet._READ", 1)
    with pytest.raises(InvalidRowsError, match="1 are repeated, among them '11'"):
        load(foreign(source_id=pa.array([11, 12, 11])))
    assert not (tmp_path / "ix").exists()


def test_no_index_is_replaced(load, tmp_path):
    load(foreign())
    with pytest.raises(IndexExistsError, match="choose another place"):
        load(foreign())
    assert len(Index.open(tmp_path / "ix")) == 3


def test_another_model_is_refused(file, tmp_path):
    with pytest.raises(ModelMismatchError, match="not by 'other'"):
        import_parquet(file, tmp_path / "ix", fingerprint="other")


def test_another_dimension_is_refused(file, tmp_path):
    table = pq.read_table(file)
    short = pa.array(np.eye(16, 8, dtype=np.float16)[:4].tolist())
    place = table.schema.get_field_index("vector")
    changed = table.slice(0, 4).set_column(
        place, "vector", short.cast(pa.list_(pa.float16(), 8))
    )
    pq.write_table(
        changed.replace_schema_metadata(table.schema.metadata), tmp_path / "b.parquet"
    )
    with pytest.raises(InvalidRowsError, match="dimension 16, but they have 8"):
        import_parquet(tmp_path / "b.parquet", tmp_path / "ix")


def test_a_file_that_is_none(tmp_path):
    (tmp_path / "a.parquet").write_bytes(b"PAR1 no")
    with pytest.raises(InvalidRowsError, match="cannot be read as a Parquet file"):
        import_parquet(tmp_path / "a.parquet", tmp_path / "ix")


def test_a_file_cut_short(file, tmp_path):
    (tmp_path / "a.parquet").write_bytes(file.read_bytes()[:-2000])
    with pytest.raises(InvalidRowsError, match="cannot be read as a Parquet file"):
        import_parquet(tmp_path / "a.parquet", tmp_path / "ix")
    assert not (tmp_path / "ix").exists()
