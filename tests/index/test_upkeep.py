# Licensed under a 3-clause BSD style license - see LICENSE.rst
from datetime import timedelta
from pathlib import Path

import numpy as np
import pytest

from paperclip.exceptions import InvalidQueryError
from paperclip.index import Index
from paperclip.index._upkeep import SCALAR_INDEXES, clean


def test_files_are_put_together_in_the_order_of_the_rows(tmp_path, make_rows):
    index = Index.create(tmp_path / "ix", fingerprint="f", dimension=32)
    table, vectors = make_rows(60)
    for start in range(0, 60, 6):
        index.append(table[start : start + 6], vectors[start : start + 6])
    index.delete(table["obs_id"][::10].tolist())
    reader = Index.open(index.uri)
    before = index.to_table(), index.vectors()
    assert index.compact() == (10, 1, 0, 0)
    assert index.to_table()["obs_id"].tolist() == before[0]["obs_id"].tolist()
    np.testing.assert_array_equal(index.vectors(), before[1])
    # who has the old version open reads on
    found = reader.search(vectors[7], limit=60)["obs_id"].tolist()
    assert found == index.search(vectors[7], limit=60)["obs_id"].tolist()
    assert len(found) == 54
    version = index.version
    assert index.compact() == (1, 1, 0, 0)
    assert index.version == version


def test_compaction_of_an_empty_index(tmp_path):
    index = Index.create(tmp_path / "ix", fingerprint="f", dimension=2)
    assert index.compact() == (0, 0, 0, 0)
    index.append({"obs_id": ["a"]}, [[1, 0]])
    index.delete("a")
    assert index.compact().files_after <= 1
    assert len(index) == 0


def test_old_versions_without_tags_are_removed(small, make_rows):
    small.tag("kept")
    for number in range(3):
        small.append(*make_rows(4, prefix=f"x{number}"))
    small.delete(where="obs_id LIKE 'x%'")
    assert small.compact(keep_days=1)[2:] == (0, 0)
    n_versions, n_bytes = clean(small._place, timedelta(0))
    assert n_versions == 4
    assert n_bytes > 0
    versions = small.versions()
    assert versions["tags"].tolist() == ["kept", ""]
    assert (
        len(Index.open(small.uri)) == len(Index.open(small.uri, version="kept")) == 20
    )
    with pytest.raises(InvalidQueryError, match="compaction removes old ones that"):
        Index.open(small.uri, version=3)
    small.append(*make_rows(4, prefix="more"))
    assert len(Index.open(small.uri)) == 24


def test_what_was_overwritten_is_removed_in_the_end(small):
    data = Path(small.uri) / "data"
    Index.create(small.uri, fingerprint="g", dimension=2, overwrite=True)
    assert len(list(data.iterdir())) == 1
    clean(small._place, timedelta(0))
    assert not list(data.iterdir())
    assert Index.open(small.uri).dimension == 2


@pytest.mark.parametrize("days", [0, 0.5, -1, np.nan, np.inf, "7", None, True])
def test_keep_days_keeps_readers_alive(small, days):
    with pytest.raises(
        InvalidQueryError, match="keep_days must be a number of days fr"
    ):
        small.compact(keep_days=days)


@pytest.fixture(name="large", scope="module")
def fixture_large(tmp_path_factory):
    path = tmp_path_factory.mktemp("large") / "ix"
    index = Index.create(path, fingerprint="f", dimension=4)
    rng = np.random.default_rng(1)
    n = 12_000
    rows = {
        "obs_id": [f"o{i:05d}" for i in rng.permutation(n)],
        "obs_collection": np.where(np.arange(n) % 3, "HST", "JWST"),
        "instrument_name": rng.choice(["ACS", "NIRCAM", "WFC3"], n),
        "filters": rng.choice(["F814W", "F606W"], n),
        "proposal_id": [str(10_000 + i % 700) for i in range(n)],
        "t_min": rng.uniform(50_000, 60_000, n),
        "s_ra": rng.uniform(0, 360, n),
        "s_dec": rng.uniform(-90, 90, n),
    }
    index.append(rows, rng.normal(size=(n, 4)))
    index.compact()
    return index


def indexed(index):
    known = index._snapshot.dataset.describe_indices()
    return {item.field_names[0]: item for item in known}


def test_columns_are_indexed(large):
    known = indexed(large)
    assert set(known) == set(SCALAR_INDEXES) & set(large._snapshot.schema.names)
    assert known["obs_id"].type_url.endswith("BTreeIndexDetails")
    assert known["filters"].type_url.endswith("BitmapIndexDetails")
    for where in ("proposal_id = '10007'", "filters = 'F606W'"):
        plan = large._snapshot.dataset.scanner(filter=where).explain_plan()
        assert "ScalarIndexQuery" in plan


WHERES = (
    "proposal_id = '10007' OR proposal_id = '10699'",
    "t_min BETWEEN 55000 AND 55100 AND filters = 'F606W'",
    "instrument_name IN ('ACS', 'WFC3') AND NOT obs_collection = 'HST'",
    "obs_id > 'o00500' AND obs_id < 'o00600'",
)


@pytest.mark.parametrize("where", WHERES)
def test_filters_give_the_same_rows_with_indexes(large, where, tmp_path):
    plain = Index.create(tmp_path / "ix", fingerprint="f", dimension=4)
    plain.append(large.to_table(), large.vectors())
    query = [1, 2, -1, 0.5]
    a = large.search(query, where=where, limit=12_000, columns=["obs_id"])
    b = plain.search(query, where=where, limit=12_000, columns=["obs_id"])
    # the vectors of the copy were rounded twice: their order may differ
    assert sorted(a["obs_id"]) == sorted(b["obs_id"])
    assert 0 < len(a) < 12_000


def test_indexes_follow_changes(large):
    index = Index.open(large.uri)
    start = index.version
    index.delete(where="filters = 'F606W' AND t_min > 55000")
    ids = ["late-1", "late-2", "o00007"]
    index.upsert({"obs_id": ids, "filters": ["F606W"] * 3}, np.eye(4)[:3])
    n = len(index)
    for _ in range(2):  # before and after the indexes know of it
        found = index.search([0, 1, 0, 0], where="filters = 'F606W' AND t_min IS NULL")
        assert sorted(found["obs_id"]) == ids
        assert index.upsert(
            {"obs_id": ids[:2], "filters": ["F606W"] * 2}, np.eye(4)[:2]
        ) == (0, 2)
        assert len(index) == n
        index.compact()
    assert indexed(index)["obs_id"].num_rows_indexed == n
    assert len(index._snapshot.dataset.get_fragments()) == 1
    index.restore(start)


def test_fewer_rows_than_once_keep_their_indexes(large):
    index = Index.open(large.uri)
    start = index.version
    index.delete(where="obs_id > 'o00099'")
    index.compact()
    assert set(indexed(index)) >= {"obs_id", "filters"}
    with pytest.raises(ValueError, match="in the index already"):
        index.append({"obs_id": ["o00050"]}, np.ones((1, 4)))
    index.delete(where="true")
    index.append({"obs_id": ["o00050", "x"]}, np.ones((2, 4)))
    assert index.upsert({"obs_id": ["o00050", "y"]}, np.ones((2, 4))) == (1, 1)
    assert sorted(index.to_table()["obs_id"]) == ["o00050", "x", "y"]
    index.restore(start)
