# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""Indexes in an object store, on a server of this machine."""

import threading
from uuid import uuid4

import numpy as np
import pytest

from paperclip.exceptions import (
    IndexExistsError,
    IndexNotFoundError,
    InvalidQueryError,
    InvalidRowsError,
    RemoteServiceError,
)
from paperclip.index import Index

from .hammer import crowd
from .s3_server import BUCKET, s3_server

pytest.importorskip("moto.server", reason="needs moto[server]")


@pytest.fixture(name="options", scope="module")
def fixture_options():
    with s3_server() as options:
        yield options


@pytest.fixture(name="uri")
def fixture_uri():
    return f"s3://{BUCKET}/{uuid4().hex}/an index"


@pytest.fixture(name="remote")
def fixture_remote(uri, options, make_rows):
    settings = {"fingerprint": "f", "dimension": 32, "storage_options": options}
    index = Index.create(uri, **settings)
    index.append(*make_rows(20))
    return index


def test_rows_come_back_and_are_found(remote, options, make_rows):
    table, vectors = make_rows(20)
    again = Index.open(remote.uri, storage_options=options)
    assert again.to_table()["obs_id"].tolist() == table["obs_id"].tolist()
    found = again.search(vectors[7], limit=1)
    assert found["obs_id"].tolist() == ["obs-0007"]
    found = again.search(vectors[7], limit=3, where="instrument_name = 'NIRCAM'")
    assert set(found["instrument_name"]) == {"NIRCAM"}
    assert again.info().meta["size"] > 20 * 64


def test_lsdb_reads_with_the_storage_options(remote, options):
    """The workers of LSDB opened the index without them."""
    pytest.importorskip("lsdb")
    from paperclip.index.formats import lazy_catalog

    index = Index.open(remote.uri, storage_options=options)
    view = lazy_catalog(index, vectors=False, where="s_dec IS NOT NULL")
    assert len(view.compute(progress_bar=False)) == 16


def test_all_changes(remote, options, make_rows):
    table, vectors = make_rows(30)
    remote.tag("first")
    assert remote.upsert(table[10:], vectors[:20]) == (10, 10)
    assert remote.delete(["obs-0001", "nobody"]) == 1
    assert remote.delete(where="instrument_name = 'MIRI'") == 14
    remote.add_columns({"redshift": float})
    remote.drop_columns("redshift")
    assert remote.compact().files_after == 1
    assert len(remote) == 15
    notes = remote.versions()["note"].tolist()
    assert "upsert 20 rows, 10 of them replaced" in notes
    assert len(Index.open(remote.uri, version="first", storage_options=options)) == 20
    remote.restore("first")
    assert len(Index.open(remote.uri, storage_options=options)) == 20
    with pytest.raises(InvalidRowsError, match="rows are in the index already"):
        remote.append(table[:3], vectors[:3])


def test_options_of_the_environment(remote, options, monkeypatch):
    for name, value in options.items():
        monkeypatch.setenv(name.upper(), value)
    assert len(Index.open(remote.uri)) == 20


def test_create_where_there_is_an_index(remote, options):
    settings = {"fingerprint": "g", "dimension": 4, "storage_options": options}
    with pytest.raises(IndexExistsError, match="there is an index at s3://"):
        Index.create(remote.uri, **settings)
    Index.create(remote.uri, overwrite=True, **settings)
    assert Index.open(remote.uri, storage_options=options).dimension == 4


def test_nothing_there(uri, options):
    with pytest.raises(IndexNotFoundError, match=r"no index at s3://.*; build one"):
        Index.open(uri, storage_options=options)
    with pytest.raises(RemoteServiceError, match=r"cannot open .*storage_options"):
        Index.open("s3://no-such-bucket/ix", storage_options=options)


def test_unknown_version(remote, options):
    with pytest.raises(InvalidQueryError, match="has 2 versions from 1 to 2 and the t"):
        Index.open(remote.uri, version=9, storage_options=options)


@pytest.mark.parametrize("wrong", [5, "a=b", {"aws_region": 1}])
def test_storage_options_are_texts(wrong):
    with pytest.raises(InvalidQueryError, match="storage_options must map names to t"):
        Index.open("s3://bucket/ix", storage_options=wrong)


def test_secrets_are_not_shown(remote):
    assert "secret" not in repr(remote) + repr(vars(remote)["_place"])


@pytest.mark.parametrize("start", [0, 5])
def test_writers_of_the_same_rows_take_turns_without_a_lock(
    uri, options, make_rows, start
):
    """Also those of the first rows, of which no file is there yet."""
    settings = {"fingerprint": "f", "dimension": 32, "storage_options": options}
    table, vectors = make_rows(40)
    Index.create(uri, **settings).append(table[:start], vectors[:start])
    counts, refused = [], []
    ready = threading.Barrier(4)

    def upsert():
        index = Index.open(uri, storage_options=options)
        ready.wait()
        counts.append(index.upsert(table, vectors))

    def append():
        index = Index.open(uri, storage_options=options)
        ready.wait()
        try:
            index.append(table[20:], vectors[20:])
        except InvalidRowsError as exc:
            refused.append(exc)

    threads = [threading.Thread(target=t) for t in (upsert, append, upsert, append)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    ids = Index.open(uri, storage_options=options).to_table()["obs_id"].tolist()
    assert sorted(ids) == table["obs_id"].tolist()
    assert len(counts) == 2
    assert len(refused) >= 1
    assert sum(sum(count) for count in counts) == 80


def test_writers_and_readers_at_once(uri, options):
    figures = crowd(uri, 6, writers=3, readers=1, options=options, base=50)
    assert figures["steps"] > 3
    assert np.isfinite(figures["rows"])
