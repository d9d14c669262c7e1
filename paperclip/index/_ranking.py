# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""All rows above a similarity, best first, in a few bytes a row."""

import numpy as np

from paperclip.exceptions import InvalidQueryError
from paperclip.index._exact import Query, true_cosines

__all__ = ["Ranking"]

_MOST = 2**32  # rows whose places fit beside their similarities
_SIGN = np.uint32(1 << 31)
_STEP = 8192  # rows whose vectors are read in one go


class Ranking:
    """
    The order of the rows of one version for one query.

    Held are eight bytes a row for similarity and place, packed so that they
    are sorted in place, and eight for the address. Similarities of float32
    sums put the rows in order; those that `pages` gives are summed as in a
    search, and in the order that a search gives.

    Parameters
    ----------
    batches : iterable of (`~numpy.ndarray`, `~numpy.ndarray`)
        Addresses, and similarities (float32) with the error of a sum in
        float32, in row order.
    vectors_at : callable
        Returns the vectors (float32) of an array of addresses, in its order.
    query : `~numpy.ndarray`, shape (d,), dtype float32
        Unit vector.
    floor : float, optional
        Rows less similar are left out.
    limit : int, optional
        Largest number of rows.
    """

    def __init__(self, batches, vectors_at, query, *, floor=None, limit=None):
        self._query = Query(query).double
        self._vectors_at = vectors_at
        # a dot product of d float32 terms is off by at most about d * 2**-24
        self._margin = np.float32(2.1 * len(query) * 2.0**-24 + 1e-6)
        keys, addresses = [], []
        self.n_seen = n_kept = 0
        for address, similarity in batches:
            self.n_seen += len(address)
            if floor is not None:
                kept = self._above(address, similarity, np.float32(floor))
                address, similarity = address[kept], similarity[kept]
            keys.append(_pack(similarity, n_kept))
            addresses.append(np.asarray(address, dtype=np.uint64))
            n_kept += len(address)
            if n_kept > _MOST:
                msg = (
                    f"more than {_MOST} rows are similar enough for one stream; "
                    "give a higher min_similarity or narrower conditions"
                )
                raise InvalidQueryError(msg)
        self._addresses = _joined(addresses)
        self._keys = _joined(keys)
        self._keys.sort()
        if limit is not None and limit < n_kept:
            lowest = _similarity(self._keys[limit - 1 : limit])[0] - self._margin
            n_near = np.searchsorted(self._keys, _pack(np.array([lowest]), _MOST - 1))
            self._keys = self._keys[: int(n_near[0])].copy()
        self._limit = n_kept if limit is None else min(limit, n_kept)

    def _above(self, addresses, similarity, floor):
        kept = similarity >= floor + self._margin
        unsure = np.flatnonzero((similarity >= floor - self._margin) & ~kept)
        for start in range(0, len(unsure), _STEP):
            rows = unsure[start : start + _STEP]
            kept[rows] = self._precise(addresses[rows]) >= floor
        return kept

    def __len__(self):
        return self._limit

    def pages(self, size):
        """
        Yield the rows, best first, equal ones in row order.

        Parameters
        ----------
        size : int
            Rows of a page; the last one may be shorter.

        Yields
        ------
        addresses : `~numpy.ndarray` of uint64
            Where the rows are.
        similarity : `~numpy.ndarray` of float32
            Their similarities.
        """
        values = np.empty(0, np.float32)
        places = np.empty(0, np.uint64)
        done = given = 0
        while given < self._limit:
            wanted = min(size, self._limit - given)
            ready = 0
            while ready < wanted:
                block = self._keys[done : done + min(max(wanted - ready, 64), _STEP)]
                done += len(block)
                place = block & np.uint64(_MOST - 1)
                found = self._precise(self._addresses[place])
                values = np.concatenate([values, found])
                places = np.concatenate([places, place])
                order = np.lexsort((places, -values))
                values, places = values[order], places[order]
                if done == len(self._keys):
                    ready = len(values)
                    break
                # no later row can be more similar than this
                bound = _similarity(self._keys[done : done + 1])[0] + self._margin
                ready = int(np.searchsorted(-values, -bound, side="left"))
            wanted = min(wanted, ready)
            yield self._addresses[places[:wanted]], values[:wanted]
            given += wanted
            values, places = values[wanted:], places[wanted:]

    def _precise(self, addresses):
        return true_cosines(self._vectors_at(addresses), self._query)


def _joined(parts):
    """Join arrays of uint64 and let go of them."""
    if len(parts) == 1:
        return parts.pop()
    whole = np.concatenate([np.empty(0, np.uint64), *parts])
    parts.clear()
    return whole


def _pack(similarity, first):
    """Return integers whose order is: more similar first, then row order."""
    bits = np.asarray(similarity, dtype=np.float32).view(np.uint32)
    rising = np.where(bits & _SIGN, ~bits, bits | _SIGN)
    keys = (~rising).astype(np.uint64) << np.uint64(32)
    return keys | np.arange(first, first + len(keys), dtype=np.uint64)


def _similarity(keys):
    """Return the similarities that are in the upper half of the integers."""
    rising = ~(keys >> np.uint64(32)).astype(np.uint32)
    bits = np.where(rising & _SIGN, rising & ~_SIGN, ~rising)
    return bits.astype(np.uint32).view(np.float32)
