# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""Vectors mapped from the files of an index, and the ways round it."""

import os
from pathlib import Path

import lance  # noqa: TID253
import numpy as np
import pytest

from paperclip.exceptions import DamagedIndexError
from paperclip.index import Index
from paperclip.index._load import open_vectors
from paperclip.index._mapped import map_pages
from paperclip.index._streamvectors import StreamVectors
from paperclip.index._vectors import PageVectors

DIMENSION = 160  # shorter vectors than 128 numbers are stored in another layout


def unit(n, d=DIMENSION, seed=0):
    vectors = np.random.default_rng(seed).normal(size=(n, d))
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def fill(path, sizes, *, vectors=None, dimension=DIMENSION):
    index = Index.create(path, fingerprint="f", dimension=dimension)
    vectors = unit(sum(sizes), dimension) if vectors is None else vectors
    start = 0
    for size in sizes:
        ids = [f"{i:05d}" for i in range(start, start + size)]
        index.append({"obs_id": ids}, vectors[start : start + size])
        start += size
    return index


@pytest.fixture(name="index")
def fixture_index(tmp_path):
    """Make an index of three fragments, which a test may change."""
    return fill(tmp_path / "an index é", (40, 5, 300))


def mapped(index):
    dataset = index._snapshot.dataset
    pages, sizes = map_pages(dataset, Path(index.uri), index.dimension)
    assert pages is not None
    return PageVectors(pages, np.empty(0, np.int64), index.uri, sizes=sizes)


def stored(index):
    """Return what Lance reads: addresses and vectors."""
    table = index._snapshot.dataset.to_table(columns=["vector"], with_row_address=True)
    vectors = table["vector"].combine_chunks().flatten().to_numpy(zero_copy_only=False)
    return table["_rowaddr"].to_numpy(), vectors.reshape(-1, index.dimension)


def test_pages_hold_what_lance_reads(index):
    pages, sizes = map_pages(index._snapshot.dataset, Path(index.uri), DIMENSION)
    _, vectors = stored(index)
    found = np.concatenate([page.vectors for page in pages])
    assert found.dtype == np.float16
    assert found.tobytes() == vectors.tobytes()
    assert [page.fragment for page in pages] == [0, 1, 2]
    assert not any(page.vectors.flags.writeable for page in pages)
    assert sorted(sizes) == sorted(
        str(item) for item in (Path(index.uri) / "data").iterdir()
    )


def test_many_pages_in_one_file(tmp_path):
    index = fill(tmp_path / "ix", (90_000,), vectors=unit(90_000), dimension=DIMENSION)
    pages, _ = map_pages(index._snapshot.dataset, Path(index.uri), DIMENSION)
    assert [page.first for page in pages] == [
        0,
        *np.cumsum([len(p.vectors) for p in pages])[:-1].tolist(),
    ]
    _, vectors = stored(index)
    found = np.concatenate([page.vectors for page in pages])
    assert found.tobytes() == vectors.tobytes()


def test_rows_by_address(index):
    expected, half = stored(index)
    snapshot = index._snapshot
    pages = mapped(index)
    for vectors in (snapshot, pages):
        np.testing.assert_array_equal(vectors.addresses(), expected)
    chosen = np.random.default_rng(3).permutation(len(expected))[:50]
    np.testing.assert_array_equal(
        snapshot.vectors_at(expected[chosen]), half[chosen].astype(np.float32)
    )
    np.testing.assert_array_equal(pages.ranks(expected[chosen]), chosen)
    parts = list(snapshot.iter_vectors(64))
    assert max(len(address) for address, _ in parts) <= 64
    np.testing.assert_array_equal(np.concatenate([a for a, _ in parts]), expected)
    np.testing.assert_array_equal(np.concatenate([v for _, v in parts]), half)


@pytest.mark.parametrize("address", [400, 1 << 32 | 5, 7 << 32])
def test_addresses_that_are_not_there(index, address):
    for vectors in (mapped(index), index._snapshot.vectors):
        with pytest.raises(DamagedIndexError, match="rows are missing"):
            vectors.at(np.array([3, address], dtype=np.uint64))
    single = Index.open(index.uri)._snapshot
    stream = StreamVectors(single.dataset, index.uri, DIMENSION)
    with pytest.raises(DamagedIndexError, match="rows are missing"):
        stream.at(np.array([3, address], dtype=np.uint64))


def ways(index):
    """Return every way of reading the vectors of an index."""
    snapshot = index._snapshot
    options = snapshot.dataset, index.uri, DIMENSION
    assert isinstance(open_vectors(*options, 1 << 30), PageVectors)
    return {
        "kept": open_vectors(*options, 1 << 30),
        "mapped": open_vectors(*options, 0),
        "stream": StreamVectors(*options),
    }


def same_answers(ways, query, limit, addresses=None):
    answers = {name: way.best(query, limit, addresses) for name, way in ways.items()}
    first = answers.pop("mapped")
    for name, other in answers.items():
        np.testing.assert_array_equal(first[0], other[0], err_msg=name)
        np.testing.assert_array_equal(first[1], other[1], err_msg=name)
    return first


@pytest.mark.parametrize("deleted", [(), ("00003",), ("00041", "00042", "00344")])
def test_every_way_gives_the_same(index, deleted):
    if deleted:
        index.delete(list(deleted))
    address, half = stored(index)
    assert len(address) == 345 - len(deleted)
    all_ways = ways(index)
    for row in (0, 44, -1):
        query = half[row].astype(np.float32)
        similarity = half.astype(float) @ query.astype(float)
        similarity = np.clip(similarity.astype(np.float32), -1, 1)
        order = np.argsort(-similarity, kind="stable")
        for limit in (1, 10, 1000):
            found = same_answers(all_ways, query, limit)
            np.testing.assert_array_equal(found[0], address[order[:limit]])
            np.testing.assert_allclose(found[1], similarity[order[:limit]], atol=1e-7)
        for step in (2, 50):  # many rows of a stretch, and few
            subset = address[::step]
            found = same_answers(all_ways, query, 7, subset)
            inside = order[np.isin(order, np.arange(len(address))[::step])]
            np.testing.assert_array_equal(found[0], address[inside[:7]])
        for way in all_ways.values():
            np.testing.assert_allclose(way.similarities(query), similarity, atol=1e-6)
            np.testing.assert_array_equal(way.addresses(), address)
            np.testing.assert_array_equal(way.at(address[::-9]), half[::-9])
            parts = list(way.iterate(32))
            np.testing.assert_array_equal(
                np.concatenate([a for a, _ in parts]), address
            )
            np.testing.assert_array_equal(np.concatenate([v for _, v in parts]), half)
    nothing = np.empty(0, dtype=np.uint64)
    assert len(same_answers(all_ways, query, 5, nothing)[0]) == 0


def test_all_rows_deleted(tmp_path):
    index = fill(tmp_path / "ix", (3,))
    index.delete(["00000", "00001", "00002"])
    for cache_limit in (0, 1 << 30):
        again = Index.open(index.uri, cache_limit=cache_limit)
        assert len(again.search(np.ones(DIMENSION))) == 0
        assert again.similarities(np.ones(DIMENSION)).shape == (0,)


def test_compacted_fragments(index):
    query = unit(1, seed=5)[0]
    index.delete(["00002", "00100"])
    expected = index.search(query, limit=400)
    lance.dataset(index.uri).optimize.compact_files()
    again = Index.open(index.uri, cache_limit=0)
    assert len(again._snapshot.dataset.get_fragments()) == 1
    found = again.search(query, limit=400)
    assert len(found) == 343
    np.testing.assert_array_equal(found["obs_id"], expected["obs_id"])
    np.testing.assert_array_equal(found["similarity"], expected["similarity"])
    pages, _ = map_pages(again._snapshot.dataset, Path(again.uri), DIMENSION)
    assert pages is not None


def test_columns_added_in_files_of_their_own(index):
    query = unit(1, seed=5)[0]
    expected = index.search(query, limit=9)
    lance.dataset(index.uri).add_columns({"magnitude": "CAST(20.5 AS DOUBLE)"})
    again = Index.open(index.uri, cache_limit=0)
    assert isinstance(again._snapshot.vectors, PageVectors)
    found = again.search(query, limit=9)
    np.testing.assert_array_equal(found["obs_id"], expected["obs_id"])
    np.testing.assert_array_equal(found["similarity"], expected["similarity"])


def test_short_vectors_are_read_through_lance(tmp_path):
    index = fill(tmp_path / "ix", (50,), dimension=24)
    assert map_pages(index._snapshot.dataset, Path(index.uri), 24) == (None, {})
    again = Index.open(index.uri, cache_limit=0)
    assert isinstance(again._snapshot.vectors, StreamVectors)
    query = unit(1, 24, seed=2)[0]
    a, b = index.search(query), again.search(query)
    np.testing.assert_array_equal(a["obs_id"], b["obs_id"])
    np.testing.assert_array_equal(a["similarity"], b["similarity"])


def test_a_file_that_lance_reads_otherwise_is_not_mapped(monkeypatch, index):
    monkeypatch.setattr("paperclip.index._mapped._agree", lambda *_: False)
    again = Index.open(index.uri, cache_limit=0)
    assert isinstance(again._snapshot.vectors, StreamVectors)
    query = unit(1, seed=5)[0]
    a, b = index.search(query), again.search(query)
    np.testing.assert_array_equal(a["obs_id"], b["obs_id"])


def test_rows_are_compared_with_what_lance_reads(index):
    data = next(iter((Path(index.uri) / "data").iterdir()))
    other = data.with_name("other.lance")
    data.rename(other)
    content = bytearray(other.read_bytes())
    from paperclip.index._mapped import _agree, _pages_of_file

    reader = lance.file.LanceFileReader(str(other), columns=["vector"])
    n_rows = reader.metadata().num_rows
    column = len(reader.metadata().columns) - 1
    pages = _pages_of_file(other, column, DIMENSION, n_rows)
    assert _agree(reader, pages)
    shifted = [(first, np.roll(vectors, 1)) for first, vectors in pages]
    assert not _agree(reader, shifted)
    assert _pages_of_file(other, column, DIMENSION, n_rows + 1) is None
    assert _pages_of_file(other, column, DIMENSION // 2, n_rows) is None
    assert _pages_of_file(other, column + 1, DIMENSION, n_rows) is None
    assert len(content) == other.stat().st_size


def test_a_file_shortened_while_it_is_open(index):
    again = Index.open(index.uri, cache_limit=0)
    query = unit(1, seed=5)[0]
    again.search(query)
    data = max((Path(index.uri) / "data").iterdir(), key=lambda p: p.stat().st_size)
    os.truncate(data, 4096)
    with pytest.raises(DamagedIndexError, match=r"has 4096 bytes, expected \d+ bytes"):
        again.search(query)
    with pytest.raises(DamagedIndexError, match="expected"):
        again.similarities(query)
    with pytest.raises(DamagedIndexError, match="expected"):
        list(again._snapshot.iter_vectors(9))


def test_a_file_removed_while_it_is_open(index):
    again = Index.open(index.uri, cache_limit=0)
    snapshot = again._snapshot
    query = unit(1, seed=5)[0].astype(np.float32)
    expected = snapshot.best(query, 5)
    for item in (Path(index.uri) / "data").iterdir():
        item.unlink()
    found = snapshot.best(query, 5)
    np.testing.assert_array_equal(found[0], expected[0])
    np.testing.assert_array_equal(found[1], expected[1])


@pytest.mark.parametrize("value", [np.nan, np.inf, 0.0, 3.0])
@pytest.mark.parametrize("row", [0, 700])
def test_vectors_that_are_not_of_unit_length(monkeypatch, tmp_path, value, row):
    vectors = unit(800)
    monkeypatch.setattr("paperclip.index._rows.normalise", lambda v, *_, **__: v)
    path = tmp_path / "ix"
    index = fill(path, (800,), vectors=unit(800))
    half = vectors.astype(np.float16)
    data = next(iter((path / "data").iterdir()))
    content = data.read_bytes()
    needle = index._snapshot.vectors_at(np.array([row], np.uint64)).astype(np.float16)
    bad = np.full(DIMENSION, value, dtype=np.float16)
    assert content.count(needle.tobytes()) == 1
    data.write_bytes(content.replace(needle.tobytes(), bad.tobytes()))
    assert half.shape == (800, DIMENSION)
    query = unit(1, seed=5)[0]
    for cache_limit in (0, 1 << 30):
        for where in (None, f"obs_id >= '{row - 1:05d}'"):
            again = Index.open(path, cache_limit=cache_limit)
            with pytest.raises(DamagedIndexError, match="not of unit length"):
                again.search(query, where=where)
        again = Index.open(path, cache_limit=cache_limit)
        with pytest.raises(DamagedIndexError, match="not of unit length"):
            again.vectors()
