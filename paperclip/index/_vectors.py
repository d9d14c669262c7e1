# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""The vectors of one version of an index that are in memory, or mapped into it."""

import numpy as np

from paperclip.index._exact import (
    Best,
    Query,
    in_threads,
    near_best,
    of_unit_length,
    quick_cosines,
    to_float32,
    true_cosines,
    workers,
)
from paperclip.index._mapped import check_sizes
from paperclip.index._reading import not_unit, rows_missing

__all__ = ["PageVectors"]

_BLOCK = 1 << 23  # elements in one step of a product: 16 MB as float16
_FINE = 1 << 20  # of them in one step that reads them twice: 2 MB, a cache's size
# of the rows of a stretch: fewer are copied out and multiplied, more are picked
# from the product with the whole stretch
_SPARSE = 0.3
_FRAGMENT = np.uint64(32)  # bits below the number of the fragment in an address
_LARGEST = 1.02  # product with a unit vector


class PageVectors:
    """
    Vectors in arrays, mapped from files or in memory.

    A position is the place of a row among all rows of the pages, deleted ones
    included.

    Parameters
    ----------
    pages : list of `~paperclip.index._mapped.Page`
        In row order.
    dead : `~numpy.ndarray` of int64
        Positions of deleted rows, ascending.
    uri : str
        The index, for messages.
    sizes : dict of str to int, optional
        Size of every file that is mapped.
    matrix : `~numpy.ndarray`, shape (n, d), optional
        The vectors of all pages in one array.
    """

    def __init__(self, pages, dead, uri, *, sizes=None, matrix=None):
        self._pages = [page.vectors for page in pages] if matrix is None else [matrix]
        self._uri = uri
        self._sizes = sizes or {}
        self._dead = dead
        self._checked = False
        self._starts = _starts(self._pages)
        # the rows of a segment have addresses that follow each other
        self._segments = _starts([page.vectors for page in pages])
        bases = np.array([page.fragment for page in pages], dtype=np.uint64)
        bases <<= _FRAGMENT
        self._bases = bases + np.array([page.first for page in pages], dtype=np.uint64)
        self._order = np.argsort(self._bases)
        self.n_rows = int(self._starts[-1]) - len(dead)

    @property
    def dtype(self):
        """The type of the numbers."""
        return self._pages[0].dtype if self._pages else np.dtype(np.float16)

    def best(self, vector, limit, addresses=None):
        """
        Return the most similar rows.

        Parameters
        ----------
        vector : `~numpy.ndarray`, shape (d,), dtype float32
            Unit vector.
        limit : int
            Largest number of rows.
        addresses : `~numpy.ndarray` of uint64, optional
            Rows to search, ascending; all when not given.

        Returns
        -------
        addresses : `~numpy.ndarray` of uint64
            Best first; equal similarities in row order.
        similarity : `~numpy.ndarray` of float32
            Sums in float64, rounded.

        Raises
        ------
        DamagedIndexError
            If a row is missing, or a vector is not of unit length.
        """
        check_sizes(self._uri, self._sizes)
        query = Query(vector)
        if addresses is None and len(self._pages) == 1:
            page = self._pages[0]
            if page.size <= _BLOCK:  # one product, and nothing around it
                similarity = self._score(0, 0, len(page), None, query)
                self._checked = True
                n_seen = len(page) - len(self._dead)
                margin = query.margin_for(self.dtype)
                positions = near_best(similarity, min(limit, n_seen), margin)
                return self._ordered(positions, query, limit)
        best = Best(limit, query.margin_for(self.dtype))
        tasks = self._stretches() if addresses is None else self._picks(addresses)

        def work(task):
            number, start, stop, picked = task
            similarity = self._score(number, start, stop, picked, query)
            first = int(self._starts[number])
            best.add(first + start if picked is None else first + picked, similarity)

        rows = self._starts[-1] if addresses is None else len(addresses)
        in_threads(work, tasks, workers(int(rows) * len(vector)))
        self._checked |= addresses is None
        return self._ordered(best.positions(), query, limit)

    def _ordered(self, positions, query, limit):
        similarity = self._precise(positions, query)
        order = np.argsort(-similarity, kind="stable")[:limit]
        return self._addresses_of(positions[order]), similarity[order]

    def _stretches(self, block=None):
        """Cut the pages into pieces (page, first row, last row + 1, all)."""
        block = _BLOCK if block is None else block
        tasks = []
        for number, page in enumerate(self._pages):
            step = max(1, block // page.shape[1])
            starts = range(0, len(page), step)
            tasks += [(number, i, min(i + step, len(page)), None) for i in starts]
        return tasks

    def _picks(self, addresses):
        """Cut addresses into pieces (page, first row, last row + 1, rows)."""
        positions = np.sort(self.positions_of(addresses))
        tasks = []
        ends = np.searchsorted(positions, self._starts)
        for number in np.flatnonzero(np.diff(ends)):
            rows = positions[ends[number] : ends[number + 1]] - self._starts[number]
            step = max(1, _BLOCK // self._pages[number].shape[1] // 4)
            for start in range(0, len(rows), step):
                part = rows[start : start + step]
                tasks.append((number, int(part[0]), int(part[-1]) + 1, part))
        return tasks

    def _score(self, number, start, stop, picked, query):
        page = self._pages[number]
        if picked is None:
            similarity = self._product(page[start:stop], query)
            if len(self._dead):
                first = int(self._starts[number]) + start
                low, high = np.searchsorted(self._dead, [first, first + stop - start])
                similarity[self._dead[low:high] - first] = -9
            return similarity
        if len(picked) == stop - start:
            return self._product(page[start:stop], query)
        if len(picked) > _SPARSE * (stop - start):
            return self._product(page[start:stop], query)[picked - start]
        return self._product(page.take(picked, axis=0), query)

    def _product(self, vectors, query):
        similarity = quick_cosines(vectors, query)
        low, high = similarity.min(), similarity.max()
        # also false for NaN; then lengths, when every row is read for the first time
        sane = low > -_LARGEST and high < _LARGEST
        if sane and not self._checked:
            sane = self._unit(vectors)
        if not sane:
            raise not_unit(self._uri)
        if low < -1 or high > 1:  # equal, as they are in the answer
            np.clip(similarity, -1, 1, out=similarity)
        return similarity

    def _unit(self, vectors):
        step = max(1, _FINE // vectors.shape[1])
        for start in range(0, len(vectors), step):
            if not of_unit_length(vectors[start : start + step]):
                return False
        return True

    def _precise(self, positions, query):
        if len(positions) <= 4096:
            return true_cosines(self._at(positions), query.double)
        similarity = np.empty(len(positions), dtype=np.float32)
        for start in range(0, len(positions), 4096):
            block = self._at(positions[start : start + 4096])
            similarity[start : start + 4096] = true_cosines(block, query.double)
        return similarity

    def _at(self, positions):
        """Copy vectors out, in the order of the positions, as they are stored."""
        if len(self._pages) == 1:
            return self._pages[0].take(positions, axis=0)
        if not self._pages:
            return np.empty((0, 0), dtype=np.float16)
        shape = len(positions), self._pages[0].shape[1]
        out = np.empty(shape, dtype=self.dtype)
        pages = np.searchsorted(self._starts, positions, side="right") - 1
        for number in np.unique(pages):
            here = np.flatnonzero(pages == number)
            out[here] = self._pages[number][positions[here] - self._starts[number]]
        return out

    def _addresses_of(self, positions):
        if len(self._bases) == 1:
            return positions.astype(np.uint64) + self._bases[0]
        place = np.searchsorted(self._segments, positions, side="right") - 1
        offsets = positions - self._segments[place]
        return self._bases[place] + offsets.astype(np.uint64)

    def positions_of(self, addresses):
        """Return positions in the order of the addresses."""
        addresses = np.asarray(addresses, dtype=np.uint64)
        if not len(addresses):
            return np.empty(0, dtype=np.int64)
        if len(self._bases) == 1:
            positions = (addresses - self._bases[0]).view(np.int64)
            if positions.min() < 0 or positions.max() >= self._segments[-1]:
                raise rows_missing(self._uri)
            return positions
        place = np.searchsorted(self._bases[self._order], addresses, side="right") - 1
        if place.min() < 0:
            raise rows_missing(self._uri)
        place = self._order[place]
        offsets = (addresses - self._bases[place]).astype(np.int64)
        if np.any(offsets >= np.diff(self._segments)[place]):
            raise rows_missing(self._uri)
        return self._segments[place] + offsets

    def ranks(self, addresses):
        """Return the places of rows in row order, without the deleted ones."""
        positions = self.positions_of(addresses)
        if not len(self._dead):
            return positions
        return positions - np.searchsorted(self._dead, positions)

    def addresses(self):
        """Return the addresses of all rows, in row order."""
        return self._addresses_of(self._alive(0, int(self._starts[-1])))

    def _alive(self, start, stop):
        low, high = np.searchsorted(self._dead, [start, stop])
        return np.delete(np.arange(start, stop), self._dead[low:high] - start)

    def at(self, addresses):
        """Return vectors by address, shape (n, d), float32."""
        check_sizes(self._uri, self._sizes)
        vectors = self._at(self.positions_of(addresses))
        return _single(vectors)

    def iterate(self, batch):
        """Yield (addresses, float32 vectors) in row order, ``batch`` rows each."""
        check_sizes(self._uri, self._sizes)
        for number, page in enumerate(self._pages):
            first = int(self._starts[number])
            for start in range(0, len(page), batch):
                stop = min(start + batch, len(page))
                alive = self._alive(first + start, first + stop)
                rows = page[start:stop]
                if len(alive) < len(rows):
                    rows = rows[alive - first - start]
                rows = _single(rows)
                if not self._checked and not self._unit(rows):
                    raise not_unit(self._uri)
                yield self._addresses_of(alive), rows

    def similarities(self, vector):
        """Return the cosine of every row in row order, float32."""
        check_sizes(self._uri, self._sizes)
        query = Query(vector)
        out = np.empty(int(self._starts[-1]), dtype=np.float32)

        def work(task):
            number, start, stop, _ = task
            first = int(self._starts[number])
            values = query.fine(self._pages[number][start:stop])
            out[first + start : first + stop] = values

        in_threads(work, self._stretches(_FINE), workers(out.size * len(vector)))
        return np.delete(out, self._dead) if len(self._dead) else out


def _starts(arrays):
    return np.cumsum([0, *map(len, arrays)])


def _single(vectors):
    return to_float32(vectors) if vectors.dtype == np.float16 else vectors
