# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""Answers of any length, page by page."""

import numpy as np
from astropy.table import Table

from paperclip.exceptions import InvalidQueryError
from paperclip.index._checks import column_names
from paperclip.index._exact import coarse
from paperclip.index._ranking import Ranking
from paperclip.index._rows import column_from_arrow
from paperclip.index._selecting import batch_rows, rows_at, selected
from paperclip.index.schema import KEY
from paperclip.results import empty_table
from paperclip.utils.checks import whole_number

__all__ = ["StreamMethods", "rows_to_table"]

_STEP = 1 << 20  # rows whose similarities are looked at in one go


class StreamMethods:
    """The part of `paperclip.index.Index` that answers in pages."""

    def iter_search(
        self,
        vector,
        *,
        page=1000,
        limit=None,
        min_similarity=None,
        columns=None,
        exact=True,
        fingerprint=None,
        **conditions,
    ):
        """
        Find rows as `search` does, and yield them page by page.

        Any number of rows can be asked for: the rows are put in order by
        their similarities, and read when their page is due. The stream stays
        at the version at which it began, whatever is written meanwhile.

        Parameters
        ----------
        vector : array_like, shape (d,)
            Query; it is scaled to unit length.
        page : int, optional
            Rows of a page; the last one may have fewer.
        limit : int, optional
            Largest number of rows in all; no limit when not given.
        min_similarity : float, optional
            Rows less similar than this are left out (-1 to 1).
        columns : sequence of str, optional
            Columns of the pages, see `search`.
        exact : bool, optional
            Streams are exact in any case.
        fingerprint : str, optional
            Fingerprint of the model that made ``vector``, to be compared.
        **conditions
            ``where``, ``region``, ``instrument_name`` and the other
            conditions of `search`.

        Yields
        ------
        table : `~astropy.table.Table`
            The columns of `search`, with the same values. ``rank`` goes on
            from page to page. ``meta`` holds ``search``, ``recall``,
            ``n_match`` (rows that fulfil the conditions), ``n_stream`` (rows
            of all pages together) and ``page`` (from 1). There is at least
            one page, which is empty if nothing was found.

        Raises
        ------
        ModelMismatchError
            If the fingerprints differ.
        InvalidQueryError
            If an argument is wrong; said by the call, before the first page.
        DamagedIndexError
            If the files cannot be read.

        Notes
        -----
        Memory: 16 bytes for each row above ``min_similarity`` and a page; for
        a moment, when the stream begins, 12 bytes for each row of the index
        besides.
        """
        snapshot = self._snapshot
        query = self._query(vector, fingerprint)
        page = whole_number("page", page, 1, 10_000_000)
        if limit is not None:
            limit = whole_number("limit", limit, 1, 2**62)
        floor = _similarity_floor(min_similarity)
        names = column_names(columns, snapshot.result_specs)
        if not isinstance(exact, (bool, np.bool_)):
            msg = f"exact must be True or False, got {exact!r}"
            raise InvalidQueryError(msg)
        addresses, facts = selected(snapshot, **conditions)
        return _pages(snapshot, query, addresses, page, limit, floor, names, facts)


def _similarity_floor(value):
    if value is None:
        return None
    try:
        number = float(value)
    except (TypeError, ValueError):
        number = np.nan
    if isinstance(value, (bool, np.bool_)) or not -1 <= number <= 1:
        msg = f"min_similarity must be a number from -1 to 1, got {value!r}"
        raise InvalidQueryError(msg)
    return number


def _pages(snapshot, query, addresses, page, limit, floor, names, asked):
    ranking = Ranking(
        _similarities(snapshot, query, addresses, floor),
        snapshot.vectors_at,
        query,
        floor=floor,
        limit=limit,
    )
    facts = {
        "search": "exact",
        "recall": 1.0,
        "n_match": ranking.n_seen,
        "n_stream": len(ranking),
        **asked,
    }
    rank = 1
    for number, (found, similarity) in enumerate(ranking.pages(page), start=1):
        table = _fetch(snapshot, found, names)
        if "similarity" in names:
            table["similarity"][:] = similarity
        if "rank" in names:
            table["rank"][:] = np.arange(rank, rank + len(table))
        table.meta.update(facts, page=number)
        rank += len(table)
        yield table
    if rank == 1:
        table = empty_table(names, specs=snapshot.result_specs)
        table.meta.update(facts, page=1)
        yield table


def _similarities(snapshot, query, addresses, floor):
    """Yield addresses and similarities in row order."""
    if addresses is not None:
        step = batch_rows(snapshot)
        for start in range(0, len(addresses), step):
            block = addresses[start : start + step]
            yield block, coarse(snapshot.vectors_at(block), query)
        return
    similarity, addresses = snapshot.similarities(query), snapshot.addresses()
    step = _STEP if floor is not None else max(1, len(addresses))
    for start in range(0, len(addresses), step):
        yield addresses[start : start + step], similarity[start : start + step]


def _fetch(snapshot, addresses, names):
    stored = [name for name in names if name in snapshot.specs] or [KEY]
    rows = rows_at(snapshot, addresses, stored)
    return rows_to_table(rows, names, snapshot.result_specs)


def rows_to_table(rows, names, specs):
    """
    Turn stored rows into a table.

    Parameters
    ----------
    rows : `pyarrow.Table`, length n
        Rows of an index.
    names : sequence of str
        Columns of the table; those that ``rows`` lacks are zero.
    specs : mapping of str to `~paperclip.results.ColumnSpec`
        Definitions of the columns.

    Returns
    -------
    table : `~astropy.table.Table`, length n
        Masked where values are missing.
    """
    import pyarrow as pa

    columns = []
    for name in names:
        spec = specs[name]
        if name in rows.column_names:
            data = rows[name]
        else:
            data = pa.array(np.zeros(len(rows), spec.numpy_dtype))
        columns.append(column_from_arrow(data, spec))
    return Table(columns, copy=False)
