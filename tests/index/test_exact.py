# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""The products: no true best row is lost, whatever does the arithmetic."""

import threading

import numpy as np
import pytest

from paperclip.index import _exact, _vectors
from paperclip.index._exact import (
    Best,
    Query,
    fast_product,
    in_threads,
    near_best,
    quick_cosines,
    squares,
    to_float32,
    true_cosines,
    workers,
)
from paperclip.index._mapped import Page
from paperclip.index._vectors import PageVectors

DIMENSIONS = (1, 2, 31, 384, 512, 1000)


def unit(shape, seed=0):
    vectors = np.random.default_rng(seed).normal(size=shape)
    vectors /= np.linalg.norm(vectors, axis=-1, keepdims=True)
    return vectors.astype(np.float32)


def near_copies(n, d, seed=0):
    """Vectors so alike that float16 queries and float32 sums mix their order."""
    rng = np.random.default_rng(seed)
    vectors = unit(d, seed) + 2e-4 * rng.normal(size=(n, d)) / np.sqrt(d)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    return vectors.astype(np.float16)


def brute_force(half, query):
    """Row numbers, best first, and similarities, all in float64."""
    sums = (half.astype(np.float64) * query.astype(np.float64)).sum(axis=1)
    similarity = np.clip(sums.astype(np.float32), -1, 1)
    order = np.argsort(-similarity, kind="stable")
    return order, similarity[order]


@pytest.fixture(name="plain", params=["numkong", "numpy"])
def fixture_plain(request, monkeypatch):
    """Run a test with numkong, and as if it were not installed."""
    if request.param == "numpy":
        monkeypatch.setattr(_exact, "fast_product", lambda dimension: None)
    else:
        pytest.importorskip("numkong")
    return request.param


def pages_of(half, *sizes):
    pages, start = [], 0
    for number, size in enumerate(sizes):
        pages.append(Page(number, 0, half[start : start + size]))
        start += size
    return PageVectors(pages, np.empty(0, np.int64), "here")


@pytest.mark.parametrize("d", DIMENSIONS)
def test_errors_stay_within_the_margin(plain, d):
    for seed in range(5):
        query = Query(unit(d, seed))
        for half in (unit((500, d), seed + 9).astype(np.float16), near_copies(500, d)):
            exact = half.astype(np.float64) @ query.double
            error = np.abs(quick_cosines(half, query) - exact).max()
            assert error <= query.margin_for(half.dtype) / 2
            wide = half.astype(np.float32)
            error = np.abs(quick_cosines(wide, query) - exact).max()
            assert error <= query.margin_for(wide.dtype) / 2
            assert np.abs(query.fine(half) - np.clip(exact, -1, 1)).max() < 1e-6
            assert query.fine(half).dtype == np.float32


@pytest.mark.parametrize("d", [2, 384, 512])
@pytest.mark.parametrize("limit", [1, 10, 100, 2500])
def test_no_row_is_lost_among_near_copies(monkeypatch, plain, d, limit):
    half = np.concatenate([near_copies(1200, d), unit((1300, d)).astype(np.float16)])
    half = half[np.random.default_rng(1).permutation(len(half))]
    for block in (1 << 23, 300 * d):
        monkeypatch.setattr(_vectors, "_BLOCK", block)
        for sizes in ((2500,), (1000, 7, 1493)):
            vectors = pages_of(half, *sizes)
            for seed in (0, 3):
                query = unit(d, seed)
                rows, similarity = brute_force(half, query)
                address, found = vectors.best(query, limit)
                np.testing.assert_array_equal(found, similarity[:limit])
                expected = vectors.addresses()[rows[:limit]]
                np.testing.assert_array_equal(address, expected)


def test_several_threads_give_the_same(monkeypatch, plain):
    half = near_copies(3000, 64)
    query = unit(64, 4)
    expected = pages_of(half, 1400, 1600).best(query, 50)
    monkeypatch.setattr(_vectors, "_BLOCK", 100 * 64)
    monkeypatch.setattr(_vectors, "workers", lambda elements: 4)
    vectors = pages_of(half, 1400, 1600)
    for addresses in (None, vectors.addresses()):
        for _ in range(5):
            found = vectors.best(query, 50, addresses)
            np.testing.assert_array_equal(found[0], expected[0])
            np.testing.assert_array_equal(found[1], expected[1])
    every = pages_of(half, 3000).similarities(query)
    np.testing.assert_array_equal(vectors.similarities(query), every)


def test_identical_vectors_come_in_row_order(plain):
    half = np.repeat(unit((1, 384)).astype(np.float16), 20_000, axis=0)
    vectors = pages_of(half, 9_000, 11_000)
    address, similarity = vectors.best(unit(384, 2), 12_000)
    np.testing.assert_array_equal(address, vectors.addresses()[:12_000])
    assert len(set(similarity.tolist())) == 1


def test_fragments_out_of_order():
    half = unit((30, 8)).astype(np.float16)
    pages = [Page(5, 0, half[:10]), Page(2, 0, half[10:20]), Page(2, 10, half[20:])]
    vectors = PageVectors(pages, np.empty(0, np.int64), "here")
    address = vectors.addresses()
    assert (address >> np.uint64(32)).tolist() == [5] * 10 + [2] * 20
    np.testing.assert_array_equal(vectors.positions_of(address), np.arange(30))
    rows, _ = brute_force(half, unit(8))
    found, _ = vectors.best(unit(8), 4, np.sort(address))
    np.testing.assert_array_equal(found, address[rows[:4]])


def test_deleted_rows_are_never_found(plain):
    half = unit((50, 16)).astype(np.float16)
    pages = [Page(0, 0, half[:20]), Page(1, 0, half[20:])]
    dead = np.array([0, 3, 19, 20, 49])
    query = half[3].astype(np.float32)
    for vectors in (
        PageVectors(pages, dead, "here"),
        PageVectors(pages, dead, "here", matrix=half),
    ):
        alive = np.delete(np.arange(50), dead)
        rows, similarity = brute_force(half[alive], query)
        address, found = vectors.best(query, 50)
        assert vectors.n_rows == len(address) == 45
        np.testing.assert_array_equal(found, similarity)
        np.testing.assert_array_equal(vectors.ranks(address), rows)
        np.testing.assert_array_equal(vectors.addresses()[rows], address)
        assert vectors.similarities(query).shape == (45,)


def test_all_float16_numbers_are_widened():
    bits = np.arange(1 << 16, dtype=np.uint16)
    half = bits.view(np.float16)
    half = half[np.isfinite(half)]
    wide = to_float32(half)
    np.testing.assert_array_equal(wide.view(np.int32), half.astype("f4").view(np.int32))
    np.testing.assert_array_equal(to_float32(half[:100]), half[:100].astype("f4"))
    square = half[: 4 * (len(half) // 4)].reshape(4, -1)
    np.testing.assert_array_equal(to_float32(square), square.astype(np.float32))


def test_precise_values_do_not_depend_on_company():
    half = unit((3000, 384)).astype(np.float16)
    query = unit(384, 1).astype(np.float64)
    every = true_cosines(half, query)
    for rows in (slice(0, 1), slice(7, 30), slice(1000, 2100)):
        np.testing.assert_array_equal(true_cosines(half[rows], query), every[rows])
        wide = half[rows].astype(np.float32)
        np.testing.assert_array_equal(true_cosines(wide, query), every[rows])


def test_a_kernel_that_rounds_more_is_not_used(monkeypatch):
    numkong = pytest.importorskip("numkong")
    product = numkong.cdist
    assert fast_product(777) is not None
    monkeypatch.setattr(
        numkong, "cdist", lambda *args: np.asarray(product(*args)).astype(np.float16)
    )
    assert fast_product.__wrapped__(777) is None


def test_without_numkong(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "numkong", None)
    assert fast_product.__wrapped__(5) is None


def test_squares():
    half = (2 * unit((9, 40))).astype(np.float16)
    np.testing.assert_allclose(squares(half), 4, rtol=1e-2)
    np.testing.assert_allclose(squares(half.astype(np.float32)), 4, rtol=1e-2)


@pytest.mark.parametrize(("limit", "expected"), [(0, 0), (1, 2), (3, 4), (9, 4)])
def test_near_best(limit, expected):
    similarity = np.array([0.1, 0.5, 0.499, 0.3])
    assert len(near_best(similarity, limit, 0.2 if limit == 3 else 0.01)) == expected


def test_best_takes_places_or_a_first_place():
    best = Best(2, 0.0)
    best.add(10, np.array([0.1, 0.9, -5.0]))
    best.add(np.array([4, 2]), np.array([0.5, 0.2]))
    assert best.positions().tolist() == [4, 11]
    assert Best(3, 0.0).positions().tolist() == []


def test_workers(monkeypatch):
    monkeypatch.setattr(
        "os.sched_getaffinity", lambda pid: set(range(64)), raising=False
    )
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    assert workers(1 << 25) == 1
    assert 2 <= workers(1 << 28) <= workers(1 << 40) <= 8
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    assert workers(1 << 40) == 1
    monkeypatch.setenv("OMP_NUM_THREADS", "3,2")
    assert workers(1 << 40) == 3
    monkeypatch.setenv("OMP_NUM_THREADS", "many")
    assert workers(1 << 40) == 8


@pytest.mark.parametrize("n_threads", [1, 3])
def test_work_in_threads(n_threads):
    lock, done = threading.Lock(), []

    def work(task):
        with lock:
            done.append(task)
        if task == 40:
            msg = "stop"
            raise RuntimeError(msg)

    in_threads(work, list(range(20)), n_threads)
    assert sorted(done) == list(range(20))
    with pytest.raises(RuntimeError, match="stop"):
        in_threads(work, list(range(20, 4000)), n_threads)
    assert len(done) < 4000
