# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""
Cosines of stored vectors: quick for all rows, precise for the best.

A coarse product goes over all rows and keeps those that its rounding might have
hidden among the best; their cosines are then summed in float64 row by row. So
the answer is that of float64, whatever does the coarse product.

Over float16 vectors the coarse product is that of numkong [1]_, which reads
them as they are, about as fast as memory delivers them. It wants the query in
float16 too. With r the difference between the query and its float16 form, e the
largest error of a sum of d products in float32, and vectors not longer than m,
the error of a cosine is at most m |r| + e; a true best row can therefore lie at
most twice that below the last of the best by the coarse product.

References
----------
.. [1] https://github.com/ashvardanian/NumKong
"""

import math
import os
import threading
from collections import deque
from concurrent.futures import ThreadPoolExecutor
from functools import cache

import numpy as np

__all__ = [
    "Best",
    "Query",
    "coarse",
    "fast_product",
    "in_threads",
    "near_best",
    "of_unit_length",
    "precise",
    "quick_cosines",
    "squares",
    "to_float32",
    "true_cosines",
    "workers",
]

_LONGEST = 1.02  # length of a stored vector at most, see `squares`
_TOLERANCE = 0.02  # of the square of a length of one: float16 rounds to 2**-11
_NONE = np.float64(-3)  # below every cosine
_MOST = 8  # threads; a few saturate the memory
# elements (some 20 ms) below which a second thread saves little, and on a busy
# machine costs more
_WORK = 1 << 28


class Query:
    """
    A query in the forms that the products want.

    Parameters
    ----------
    vector : `~numpy.ndarray`, shape (d,), dtype float32
        Unit vector.
    """

    def __init__(self, vector):
        self.single = vector
        self.double = vector.astype(np.float64)
        self.half = vector.astype(np.float16)
        self._rest = self.double - self.half
        rounding = _LONGEST * math.sqrt(self._rest @ self._rest)
        # a float32 sum of d products is off by at most about d * 2**-24
        # and values that differ by less than 2**-24 are equal after their rounding
        sums = (1.05 * len(vector) + 1) * 2.0**-24
        self.margin = 2 * sums
        self.half_margin = 2 * (rounding + sums)

    def margin_for(self, dtype):
        """Return how far below the best a true one can seem to be."""
        half = dtype == np.float16 and fast_product(len(self.single)) is not None
        return self.half_margin if half else self.margin

    def fine(self, vectors):
        """Return cosines with the error of a float32 sum, dtype float32."""
        product = fast_product(len(self.single))
        if vectors.dtype != np.float16 or product is None:
            return np.clip(quick_cosines(vectors, self), -1, 1)
        # the rest in float16 too, scaled so that its digits are kept
        halves = np.stack([self.half, (self._rest * 2.0**11).astype(np.float16)])
        high, low = product(halves, vectors)
        return np.clip(high + low * 2.0**-11, -1, 1).astype(np.float32)


def to_float32(half):
    """
    Widen float16 numbers, many of them four times faster than ``astype``.

    The exponent and mantissa are moved to their places in a float32 and the
    difference of the exponent biases (127 - 15) is multiplied in, which is
    exact for all finite numbers, subnormal ones included. Of many numbers,
    infinities and NaN become ones of 65536 and more.
    """
    if half.ndim > 1:
        return to_float32(half.reshape(-1)).reshape(half.shape)
    if half.size < 1 << 13:
        return half.astype(np.float32)
    out = np.empty(half.shape, dtype=np.float32)
    step = 1 << 15
    for start in range(0, half.size, step):
        block = out[start : start + step]
        bits = block.view(np.int32)
        np.copyto(bits, half[start : start + step].view(np.int16))
        bits <<= 13
        bits &= np.int32(-0x70000001)  # keep the sign, drop its extension
        block *= np.float32(2.0**112)
    return out


@cache
def fast_product(dimension):
    """
    Return numkong's product of float16 matrices, if it can be used.

    Its kernels differ between processors, so that the first call compares
    one product with that of float64.

    Parameters
    ----------
    dimension : int
        Length of a vector.

    Returns
    -------
    product : callable or `None`
        Takes matrices (m, d) and (n, d), gives (m, n). `None` if numkong is
        not installed or rounds more than a float32 sum.
    """
    try:
        import numkong
    except (ImportError, OSError):
        return None

    def product(a, b):
        # threads=1 is its default: it must not start threads of its own
        return np.asarray(numkong.cdist(a, b, "dot"))

    rng = np.random.default_rng(0)
    sample = rng.standard_normal((17, dimension))
    sample[-1] = 1
    sample /= np.linalg.norm(sample, axis=1, keepdims=True)
    sample = sample.astype(np.float16)
    wide = sample.astype(np.float64)
    error = np.abs(product(sample[-2:], sample) - wide[-2:] @ wide.T).max()
    return product if error <= dimension * 2.0**-24 else None


def quick_cosines(vectors, query):
    """
    Return cosines whose last digits depend on the processor and the shape.

    Parameters
    ----------
    vectors : `~numpy.ndarray`, shape (n, d), dtype float16 or float32
        A block that fits in memory; C-contiguous.
    query : `Query`
        What to compare with.

    Returns
    -------
    similarity : `~numpy.ndarray`, shape (n,), dtype float32 or float64
        Off by `Query.margin_for` / 2 at most.
    """
    if vectors.dtype == np.float16:
        product = fast_product(vectors.shape[1])
        if product is not None and len(vectors):
            return product(query.half[None], vectors)[0]
        vectors = to_float32(vectors)
    # unlike the product of BLAS, which keeps its threads spinning for a tenth of a
    # second (OpenBLAS) and slows the model of the next query
    return np.vecdot(vectors, query.single)


def squares(vectors):
    """Return the squared lengths of vectors, shape (n,)."""
    if vectors.dtype == np.float16:
        vectors = to_float32(vectors)
    return np.vecdot(vectors, vectors)


def of_unit_length(vectors):
    """Tell whether all vectors have the length one, up to the rounding of float16."""
    return bool(np.all(np.abs(squares(vectors) - 1) < _TOLERANCE))


def true_cosines(vectors, query):
    """
    Return similarities that depend on nothing but the row and the query.

    Parameters
    ----------
    vectors : `~numpy.ndarray`, shape (n, d), dtype float16 or float32
        As they are stored.
    query : `~numpy.ndarray`, shape (d,), dtype float64
        `Query.double`.

    Returns
    -------
    similarity : `~numpy.ndarray`, shape (n,), dtype float32
        Sums in float64, rounded.
    """
    out = np.empty(len(vectors), dtype=np.float32)
    for start in range(0, len(vectors), 1024):
        block = vectors[start : start + 1024]
        if block.dtype == np.float16:
            block = to_float32(block)
        out[start : start + 1024] = (block * query).sum(axis=1)
    return np.clip(out, -1, 1, out=out)


def near_best(similarity, limit, margin):
    """Return, ascending, the places that rounding may lift among the best."""
    last = len(similarity) - limit
    if last <= 0:
        return np.arange(len(similarity))
    if limit == 0:
        return np.empty(0, dtype=np.int64)
    return np.flatnonzero(similarity >= np.partition(similarity, last)[last] - margin)


def coarse(vectors, query):
    """Return float32 cosines, whose last digits depend on the processor."""
    similarity = np.vecdot(vectors, query)
    return np.clip(similarity, -1, 1, out=similarity)


def precise(vectors, rows, query):
    """Return the `true_cosines` of some rows."""
    out = np.empty(len(rows), dtype=np.float32)
    for start in range(0, len(rows), 1024):
        block = vectors[rows[start : start + 1024]]
        out[start : start + 1024] = true_cosines(block, query.astype(np.float64))
    return out


class Best:
    """
    Collect the rows that may be among the best, from several threads.

    Parameters
    ----------
    limit : int
        Number of rows that are wanted.
    margin : float
        How far below the last of them a row is still kept.
    """

    def __init__(self, limit, margin):
        self._limit = limit
        self._margin = margin
        self._floor = _NONE
        self._lock = threading.Lock()
        self._parts = []
        self._size = 0
        self._full = 4096 + 4 * limit

    def add(self, positions, similarity):
        """
        Take in some rows.

        Parameters
        ----------
        positions : `~numpy.ndarray`, shape (n,), or int
            Their places, or that of the first of n that follow each other.
        similarity : `~numpy.ndarray`, shape (n,)
            From `quick_cosines`.
        """
        if self._floor == _NONE:  # the best of a few are a first bound
            few = max(1024, 4 * self._limit)
            if few < len(similarity):
                last = np.partition(similarity[:few], few - self._limit)
                self._floor = last[few - self._limit] - self._margin
        keep = np.flatnonzero(similarity >= self._floor)
        if not len(keep):
            return
        similarity = similarity[keep]
        places = keep + positions if np.isscalar(positions) else positions[keep]
        with self._lock:
            self._parts.append((places, similarity))
            self._size += len(keep)
            if self._size > self._full:
                self._shrink()
                # many that are equal all stay: look at them again at twice as many
                self._full = max(self._full, 2 * self._size)

    def _shrink(self):
        places, similarity = (
            np.concatenate(part) for part in zip(*self._parts, strict=True)
        )
        if self._limit < len(similarity):
            last = len(similarity) - self._limit
            floor = np.partition(similarity, last)[last] - self._margin
            keep = similarity >= floor
            places, similarity = places[keep], similarity[keep]
            self._floor = max(self._floor, floor)
        self._parts = [(places, similarity)]
        self._size = len(places)

    def positions(self):
        """Return all rows that may be among the best, ascending."""
        if not self._parts:
            return np.empty(0, dtype=np.int64)
        self._shrink()
        return np.sort(self._parts[0][0])


def workers(elements):
    """
    Return how many threads a product should use.

    Parameters
    ----------
    elements : int
        Numbers to multiply.

    Returns
    -------
    n : int
        One for a small product; never more than the processors that this
        process may use, nor than the variable ``OMP_NUM_THREADS`` says.
    """
    if elements < _WORK:
        return 1
    try:
        free = len(os.sched_getaffinity(0))
    except AttributeError:  # not on macOS and Windows
        free = os.cpu_count() or 1
    asked = os.environ.get("OMP_NUM_THREADS", "").split(",")[0].strip()
    if asked.isdecimal() and int(asked):
        free = min(free, int(asked))
    return min(free, _MOST, max(1, elements // (_WORK // 4)))


def in_threads(work, tasks, n_threads):
    """
    Call a function for every task; the last error is raised.

    Parameters
    ----------
    work : callable
        Called with one task; it should release the interpreter lock.
    tasks : list
        What there is to do.
    n_threads : int
        Threads, of which this one is one.
    """
    if n_threads < 2 or len(tasks) < 2:
        for task in tasks:
            work(task)
        return
    waiting = deque(tasks)

    def run():
        try:
            while waiting:
                try:
                    task = waiting.popleft()
                except IndexError:
                    return
                work(task)
        except BaseException:
            waiting.clear()  # the others stop too
            raise

    with ThreadPoolExecutor(n_threads - 1) as pool:
        others = [pool.submit(run) for _ in range(n_threads - 1)]
        run()
        for other in others:
            other.result()
