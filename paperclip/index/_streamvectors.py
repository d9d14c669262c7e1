# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""The vectors of one version that are read through Lance for every search."""

import numpy as np

from paperclip.index._exact import (
    Best,
    Query,
    of_unit_length,
    quick_cosines,
    to_float32,
    true_cosines,
)
from paperclip.index._reading import (
    ADDRESS,
    address_condition,
    not_unit,
    rows_missing,
    scan,
)
from paperclip.index.schema import VECTOR

__all__ = ["StreamVectors"]

_BATCH_BYTES = 1 << 22  # of float16 vectors in one step of a scan
_SPARSE = 0.3  # of all rows: more are picked from a scan of all
_TAKE = 4096  # rows fetched by address in one go


class StreamVectors:
    """
    Vectors that are read through Lance for every search.

    Parameters
    ----------
    dataset : `lance.LanceDataset`
        The version.
    uri : str
        Where it is.
    dimension : int
        Length of a vector.
    """

    def __init__(self, dataset, uri, dimension):
        self._dataset = dataset
        self._uri = uri
        self._dimension = dimension

    def best(self, vector, limit, addresses=None):
        """Return the most similar rows, as `PageVectors.best`."""
        query = Query(vector)
        best = np.empty(0, np.float32)
        found = np.empty(0, np.uint64)
        margin = query.margin_for(np.float32)
        for address, vectors in self._chosen(addresses):
            floor = best[-1] if len(best) == limit else np.float32(-2)
            collected = Best(limit, margin)
            similarity = np.clip(quick_cosines(vectors, query), -1, 1)
            rows = np.flatnonzero(similarity >= floor - margin)
            collected.add(rows, similarity[rows])
            rows = collected.positions()
            # what came earlier stays first among equals
            best = np.concatenate([best, true_cosines(vectors[rows], query.double)])
            found = np.concatenate([found, address[rows]])
            order = np.argsort(-best, kind="stable")[:limit]
            best, found = best[order], found[order]
        return found, best

    def _batches(self, *, where=None, size=None):
        """Yield (addresses, float32 vectors)."""
        d = self._dimension
        size = max(64, _BATCH_BYTES // (2 * d)) if size is None else size
        options = {"where": where, "batch_size": size}
        for batch in scan(self._dataset, self._uri, [VECTOR], **options):
            half = batch[VECTOR].flatten().to_numpy(zero_copy_only=False)
            vectors = to_float32(half).reshape(-1, d)
            if not of_unit_length(vectors):
                raise not_unit(self._uri)
            yield batch[ADDRESS].to_numpy(), vectors

    def _chosen(self, addresses):
        """Yield (addresses, float32 vectors) of some rows, in row order."""
        if addresses is None:
            yield from self._batches()
        elif len(addresses) > _SPARSE * self._dataset.count_rows():
            for address, vectors in self._batches():
                place = np.searchsorted(addresses, address)
                place = np.minimum(place, len(addresses) - 1)
                keep = addresses[place] == address
                yield address[keep], vectors[keep]
        else:
            for start in range(0, len(addresses), _TAKE):
                inside = address_condition(addresses[start : start + _TAKE])
                yield from self._batches(where=inside)

    def at(self, addresses):
        """Return vectors by address, shape (n, d), float32."""
        out = np.empty((len(addresses), self._dimension), dtype=np.float32)
        order = np.argsort(addresses)
        ordered = np.asarray(addresses, dtype=np.uint64)[order]
        filled = 0
        for start in range(0, len(ordered), _TAKE):
            inside = address_condition(ordered[start : start + _TAKE])
            for address, vectors in self._batches(where=inside):
                out[order[np.searchsorted(ordered, address)]] = vectors
                filled += len(address)
        if filled != len(out):
            raise rows_missing(self._uri)
        return out

    def iterate(self, batch):
        """Yield (addresses, float32 vectors) in row order, ``batch`` rows each."""
        yield from self._batches(size=batch)

    def addresses(self):
        """Return the addresses of all rows, in row order."""
        parts = [b[ADDRESS].to_numpy() for b in scan(self._dataset, self._uri, [])]
        return np.concatenate([np.empty(0, np.uint64), *parts])

    def similarities(self, vector):
        """Return the cosine of every row in row order, float32."""
        query = Query(vector)
        parts = [query.fine(vectors) for _, vectors in self._batches()]
        return np.concatenate([np.empty(0, np.float32), *parts])
