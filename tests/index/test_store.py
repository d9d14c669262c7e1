# Licensed under a 3-clause BSD style license - see LICENSE.rst
import os
import shutil
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from astropy.table import Table

from paperclip.exceptions import (
    IndexExistsError,
    IndexNotFoundError,
    IndexWriteError,
    InvalidQueryError,
    InvalidRowsError,
    ModelMismatchError,
)
from paperclip.index import Index


def test_rows_and_vectors_round_trip(sample):
    table = Index.open(sample.path).to_table()
    assert table["obs_id"].tolist() == sample.table["obs_id"].tolist()
    assert table["target_name"].tolist() == sample.table["target_name"].tolist()
    np.testing.assert_array_equal(table["s_ra"], sample.table["s_ra"])
    expected = np.isnan(sample.table["s_dec"])
    np.testing.assert_array_equal(table["s_dec"].mask, expected)
    assert table["jpegURL"].mask.all()


def test_properties(sample):
    index = Index.open(sample.path)
    assert len(index) == 300
    assert (index.version, index.dimension) == (4, 32)
    assert index.fingerprint == "5f1d" * 16
    assert index.uri == str(sample.path)
    assert index.colnames[0] == "obs_id"
    assert "300 rows, dimension 32" in repr(index)


def test_info_counts_rows(sample):
    info = sample.index.info()
    assert info.colnames == ["obs_collection", "instrument_name", "n_rows"]
    assert list(info[0]) == ["JWST", "MIRI", 150]
    assert info["n_rows"].sum() == info.meta["rows"] == 300
    assert info.meta["version"] == sample.index.version
    assert info.meta["size"] > 300 * 32 * 2
    assert info.meta["created"].endswith("+00:00")


def test_model_and_extra_columns_are_recorded(tmp_path):
    index = Index.create(
        tmp_path / "ix",
        fingerprint="f",
        dimension=2,
        model="org/clip",
        extra_columns={"redshift": float},
    )
    index.append({"obs_id": ["a", "b"], "redshift": [0.5, 3]}, np.eye(2))
    again = Index.open(tmp_path / "ix")
    assert again.model == again.info().meta["model"] == "org/clip"
    found = again.search([0, 1], where="redshift > 1")
    assert found["redshift"].tolist() == [3]
    with pytest.raises(ModelMismatchError, match=r"'f' \(org/clip\), but .* 'g'"):
        again.search([0, 1], fingerprint="g")


@pytest.mark.parametrize("kind", ["text", "path", "uri", "home", "relative"])
def test_places(tmp_path, monkeypatch, kind):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "a b#c%20?é"
    place = {
        "text": str(path),
        "path": path,
        "uri": path.as_uri(),
        "home": f"~/{path.name}",
        "relative": path.name,
    }[kind]
    created = Index.create(place, fingerprint="f", dimension=2)
    created.append({"obs_id": ["a"]}, [[1, 0]])
    assert created.uri == str(path)
    assert len(Index.open(place)) == len(Index.open(path)) == 1
    assert [p.name for p in tmp_path.iterdir()] == [path.name]


@pytest.mark.parametrize("uri", ["", 5, None, "file://elsewhere/x"])
def test_places_that_mean_nothing(uri):
    with pytest.raises(InvalidQueryError, match="uri"):
        Index.open(uri)


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"fingerprint": " "}, "fingerprint must be a text"),
        ({"fingerprint": None}, "fingerprint must be a text"),
        ({"dimension": 0}, "dimension must be at least 1, got 0"),
        ({"dimension": 2.0}, "dimension must be a whole number"),
        ({"dimension": 10**6}, "dimension must be at most 65536"),
    ],
)
def test_create_checks_its_options(tmp_path, options, match):
    options = {"fingerprint": "f", "dimension": 2} | options
    with pytest.raises(InvalidQueryError, match=match):
        Index.create(tmp_path / "ix", **options)


def test_create_replaces_an_index_only_when_told(small, make_rows):
    options = {"fingerprint": "new", "dimension": 4}
    with pytest.raises(IndexExistsError, match=r"open it with Index.open, or"):
        Index.create(small.uri, **options)
    reader = Index.open(small.uri)
    fresh = Index.create(small.uri, overwrite=True, extra_columns={"z": int}, **options)
    assert (len(fresh), fresh.fingerprint, fresh.dimension) == (0, "new", 4)
    assert "z" in fresh.colnames
    # a reader keeps its version; a writer does not mix two models
    assert len(reader.search(make_rows(1)[1][0], limit=50)) == 20
    with pytest.raises(ModelMismatchError, match="'new', but these vectors come fr"):
        reader.append(*make_rows(1, prefix="late"))


def test_create_leaves_the_files_of_others_alone(tmp_path):
    (tmp_path / "thesis.tex").write_text("all of it")
    options = {"fingerprint": "f", "dimension": 2, "overwrite": True}
    with pytest.raises(IndexExistsError, match="holds other files"):
        Index.create(tmp_path, **options)
    with pytest.raises(IndexExistsError, match="is a file"):
        Index.create(tmp_path / "thesis.tex", **options)
    assert (tmp_path / "thesis.tex").read_text() == "all of it"
    assert len(list(tmp_path.iterdir())) == 1


def test_open_where_there_is_nothing(tmp_path):
    with pytest.raises(IndexNotFoundError, match=r"no index at .*; build one with"):
        Index.open(tmp_path / "nothing")
    assert not (tmp_path / "nothing").exists()


def test_ids_are_unique_across_appends(small, make_rows):
    table, vectors = make_rows(25)
    with pytest.raises(InvalidRowsError, match="20 rows are in the index already"):
        small.append(table, vectors)
    assert (len(small), small.version) == (20, 2)
    small.append(table[20:], vectors[20:])
    assert len(small) == 25


def test_append_checks_the_fingerprint(small, make_rows):
    with pytest.raises(ModelMismatchError, match="rebuild the index with"):
        small.append(*make_rows(3, prefix="new"), fingerprint="other")
    small.append(*make_rows(3, prefix="new"), fingerprint=small.fingerprint)
    assert len(small) == 23


def test_append_of_no_rows_makes_no_version(small, make_rows):
    table, vectors = make_rows(2)
    small.append(table[:0], vectors[:0])
    assert small.version == 2


def test_delete_by_id(small, make_rows):
    table, vectors = make_rows(20)
    small.search(vectors[3])  # what is in memory must be renewed
    assert small.delete(["obs-0003", "obs-0005", "nobody"]) == 2
    assert small.delete("obs-0019") == 1
    assert (len(small), small.version) == (17, 4)
    ids = [i for i in table["obs_id"] if i not in ("obs-0003", "obs-0005", "obs-0019")]
    assert small.to_table()["obs_id"].tolist() == ids
    assert "obs-0003" not in small.search(vectors[3], limit=20)["obs_id"]
    assert len(small.similarities(vectors[3])) == len(small.vectors()) == 17
    for limit in (0, 1 << 30):
        found = Index.open(small.uri, cache_limit=limit).search(vectors[4], limit=1)
        assert found["obs_id"].tolist() == ["obs-0004"]


def test_deleted_ids_may_come_back(small, make_rows):
    table, vectors = make_rows(20)
    small.delete("obs-0003")
    small.append(table[3:4], vectors[3:4])
    assert small.search(vectors[3], limit=1)["obs_id"].tolist() == ["obs-0003"]
    assert small.to_table()["obs_id"][-1] == "obs-0003"


def test_ids_with_quotes(small, make_rows):
    table, vectors = make_rows(2)
    table["obs_id"] = ["it's", '"; DROP']
    small.append(table, vectors)
    assert small.delete(["it's", '"; DROP', "' OR 1=1 --"]) == 2
    assert len(small) == 20


def test_delete_of_nothing_makes_no_version(small):
    assert small.delete([]) == small.delete(["nobody"]) == 0
    assert small.version == 2
    with pytest.raises(
        InvalidQueryError, match=r"ids must hold obs_id values .* got 5"
    ):
        small.delete([5])


def test_a_reader_stays_at_its_version_until_refreshed(small, make_rows):
    reader = Index.open(small.uri)
    query = make_rows(1)[1][0]
    before = reader.search(query, limit=50)["obs_id"].tolist()
    small.append(*make_rows(5, prefix="new"))
    small.delete("obs-0000")
    assert reader.search(query, limit=50)["obs_id"].tolist() == before
    assert (len(reader), reader.version) == (20, 2)
    assert reader.refresh() == small.version == 4
    assert len(reader) == len(reader.search(query, limit=50)) == 24


def test_upsert_replaces_and_adds_in_one_commit(small, make_rows):
    table, vectors = make_rows(30)
    reader = Index.open(small.uri)
    version = small.version
    table["target_name"][18] = "renamed"
    counts = small.upsert(table[15:], vectors[:15])
    assert counts == (10, 5)
    assert (counts.inserted, counts.updated) == (10, 5)
    assert (len(small), small.version) == (30, version + 1)
    # what is replaced moves to the end
    assert small.to_table()["obs_id"].tolist() == table["obs_id"].tolist()
    assert small.to_table()["target_name"][18] == "renamed"
    for row in range(15):
        found = small.search(vectors[row], limit=2)["obs_id"].tolist()
        assert table["obs_id"][15 + row] in found
    assert len(reader.to_table()) == 20
    reader.refresh()
    assert reader.to_table()["obs_id"].tolist() == table["obs_id"].tolist()


def test_upsert_of_all_rows_and_of_none(small, make_rows):
    table, vectors = make_rows(20)
    assert small.upsert(table[::-1], vectors) == (0, 20)
    assert small.to_table()["obs_id"].tolist() == table["obs_id"].tolist()[::-1]
    assert small.upsert(table[:0], vectors[:0]) == (0, 0)
    assert small.version == 3
    small.delete(table["obs_id"].tolist())
    assert small.upsert(table[3:5], vectors[3:5]) == (2, 0)
    assert len(Index.open(small.uri)) == 2


def test_upsert_makes_what_is_not_given_missing(small):
    assert small.upsert({"obs_id": ["obs-0003"]}, np.ones((1, 32))) == (0, 1)
    table = small.to_table()
    assert table["obs_id"][-1] == "obs-0003"
    assert table["s_ra"].mask.tolist() == [False] * 19 + [True]


def test_upsert_checks_as_append_does(small, make_rows):
    table, vectors = make_rows(3)
    with pytest.raises(ModelMismatchError, match="rebuild the index with"):
        small.upsert(table, vectors, fingerprint="other")
    for method in (small.upsert, small.append):
        with pytest.raises(InvalidRowsError, match="'obs-0001'"):
            method(table[[1, 0, 1]], vectors)
        with pytest.raises(InvalidRowsError, match="must be finite and not all zero"):
            method(table, vectors * np.nan)
        with pytest.raises(InvalidRowsError, match=r"shape \(n, 32\) for this index"):
            method(table, vectors[:, 1:])
    assert (len(small), small.version) == (20, 2)


def test_delete_by_condition(small, make_rows):
    query = make_rows(1)[1][0]
    assert small.delete(where="instrument_name = 'MIRI' AND t_min > 0") == 10
    assert small.delete(where="instrument_name = 'MIRI'") == 0
    assert set(small.search(query, limit=50)["instrument_name"]) == {"NIRCAM"}
    assert (len(small), small.version) == (10, 3)


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({}, "needs either ids or where"),
        ({"ids": [], "where": "true"}, "needs either ids or where"),
        ({"where": "instument_name = 'x'"}, "did you mean 'instrument_name'"),
        ({"where": "t_min >"}, "where='t_min >'"),
        ({"where": "true; DROP TABLE x"}, "must be one condition"),
        ({"where": 5}, "where"),
        ({"ids": 5}, "ids must hold obs_id values as text, got 5"),
        ({"ids": "\ud800"}, "ids must be Unicode, got"),
    ],
)
def test_delete_checks_its_options(small, options, match):
    with pytest.raises(InvalidQueryError, match=match):
        small.delete(**options)
    assert len(small) == 20


def test_many_rows_of_many_files_are_found_with_and_without_an_index(tmp_path):
    index = Index.create(tmp_path / "ix", fingerprint="f", dimension=4)
    rng = np.random.default_rng(0)
    ids = [f"it's {i} 'é\\" for i in range(12_000)]
    for start in range(0, 12_000, 4000):
        part = ids[start : start + 4000]
        index.append({"obs_id": part}, rng.normal(size=(4000, 4)))
    for _ in range(2):  # the second time with an index of ids
        with pytest.raises(InvalidRowsError, match="2 rows are in the index already"):
            index.append({"obs_id": ["new", ids[7], ids[9000]]}, np.ones((3, 4)))
        some = [*ids[5:3000:7], *ids[6000:11000:2]]
        assert index.upsert(
            {"obs_id": [*some, "x", "y"]}, rng.normal(size=(len(some) + 2, 4))
        ) == (2, len(some))
        assert index.upsert({"obs_id": ids}, rng.normal(size=(12_000, 4)))[1] == 12_000
        assert index.delete(["x", "y", *ids[:10]]) == 12
        assert index.upsert({"obs_id": ids[:10]}, rng.normal(size=(10, 4))) == (10, 0)
        assert sorted(index.to_table(["obs_id"])["obs_id"]) == sorted(ids)
        index.compact()
    assert len(index) == 12_000


def test_two_writers_take_turns(small, make_rows):
    other = Index.open(small.uri)
    small.append(*make_rows(5, prefix="a"))
    other.append(*make_rows(5, prefix="b"))
    with pytest.raises(InvalidRowsError, match="5 rows are in the index already"):
        small.append(*make_rows(5, prefix="b"))
    assert len(small.to_table()) == 30


@pytest.mark.skipif(
    not Path("/proc/self/fd").exists(), reason="asks the system for names of files"
)
def test_all_that_is_written_is_flushed(tmp_path, monkeypatch, make_rows):
    """Lance itself does not; what is flushed after a commit is in time, too."""
    flushed = set()
    fsync = os.fsync

    def record(handle):
        flushed.add(Path(f"/proc/self/fd/{handle}").readlink())
        fsync(handle)

    monkeypatch.setattr(os, "fsync", record)
    path = tmp_path / "ix"
    index = Index.create(path, fingerprint="f", dimension=32)
    table, vectors = make_rows(10_500)
    ids = table["obs_id"].tolist()
    index.append(table[:9000], vectors[:9000])
    index.append(table[9000:], vectors[9000:])
    index.upsert(table[:50], vectors[:50])
    index.delete(ids[60:90])
    index.add_columns({"a": float})
    index.add_columns(Table({"obs_id": ids[:100], "b": np.arange(100)}))
    index.drop_columns("a")
    index.tag("good")
    index.compact()
    index.restore(2)
    written = {item for item in path.rglob("*") if item.name != ".paperclip-lock"}
    assert any("_indices" in item.parts for item in written)
    assert any("_deletions" in item.parts for item in written)
    assert not {item.relative_to(path) for item in written - flushed}
    assert {path, tmp_path} <= flushed


def test_a_place_that_cannot_be_written():
    if not Path("/proc/self").exists():
        pytest.skip("needs a file system that nobody can write")
    with pytest.raises(IndexWriteError, match="cannot create the folder /proc/paper"):
        Index.create("/proc/paperclip/ix", fingerprint="f", dimension=2)


def test_threads_that_write_take_turns(small, make_rows):
    def write(number):
        index = Index.open(small.uri)
        for part in range(3):
            index.append(*make_rows(4, prefix=f"t{number}-{part}"))
            index.upsert(*make_rows(8, prefix="shared"))

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(write, range(4)))
    ids = Index.open(small.uri).to_table()["obs_id"].tolist()
    assert len(ids) == len(set(ids)) == 20 + 48 + 8


READ_ONLY = """
import os
import sys
import numpy as np
from paperclip.exceptions import IndexWriteError
from paperclip.index import Index

changes = (lambda i: i.delete("obs-0001"), lambda i: i.tag("t"),
           lambda i: i.compact(), lambda i: i.restore(1),
           lambda i: i.add_columns({"z": float}),
           lambda i: i.upsert({"obs_id": ["obs-0001"]}, np.ones((1, 32))),
           lambda i: i.append({"obs_id": ["new"]}, np.ones((1, 32))))
for change in changes:  # nobody may be unable to import what is imported late
    change(Index.open(sys.argv[2]))
Index.open(sys.argv[1]).search(np.ones(32))
if os.geteuid() == 0:
    os.setuid(65534)  # root may write anywhere: become nobody
index = Index.open(sys.argv[1])
print(index.search(np.ones(32))["obs_id"][0], len(index))
for change in changes:
    try:
        change(index)
    except IndexWriteError as exc:
        print(exc)
print(Index.open(sys.argv[1]).version)
"""


@pytest.mark.skipif(os.name != "posix", reason="uses POSIX permissions")
def test_a_read_only_folder_is_searched_but_not_changed(make_rows):
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "ix"
        Path(folder).chmod(0o755)
        index = Index.create(path, fingerprint="f", dimension=32)
        index.append(*make_rows(20))
        copy = shutil.copytree(path, Path(folder) / "copy")
        for item in [*path.rglob("*"), path]:
            item.chmod(0o555 if item.is_dir() else 0o444)
        run = subprocess.run(
            [sys.executable, "-W", "error", "-c", READ_ONLY, str(path), str(copy)],
            capture_output=True,
            text=True,
            check=False,
        )
        for item in [path, *path.rglob("*")]:
            item.chmod(0o755 if item.is_dir() else 0o644)
    lines = run.stdout.splitlines()
    assert run.returncode == 0, run.stderr
    assert lines[0].endswith(" 20")
    assert len(lines) == 9
    assert all("cannot write to the index" in line for line in lines[1:8])
    assert lines[8] == "2"
