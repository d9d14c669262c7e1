# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""Rows that fulfil conditions, as record batches, in bounded memory."""

import numpy as np
import pyarrow as pa

from paperclip.exceptions import DamagedIndexError, InvalidQueryError
from paperclip.index._reading import reading
from paperclip.index.filters import TEXT_FILTERS, row_filter
from paperclip.index.schema import VECTOR, nearest

__all__ = [
    "CONDITIONS",
    "batch_rows",
    "half_vectors",
    "iter_rows",
    "rows_at",
    "selected",
]

CONDITIONS = ("where", "region", "radius", "t_min", "t_max", *TEXT_FILTERS)
"""Names of the arguments that choose rows."""

_ADDRESS = "_rowaddr"
_TAKE = 4096  # rows read by address in one go
_BYTES = 1 << 24  # of vectors in one batch


def selected(snapshot, **conditions):
    """
    Return the rows that fulfil conditions.

    Parameters
    ----------
    snapshot : `~paperclip.index._snapshot.Snapshot`
        Version of an index.
    **conditions
        As of `paperclip.index.Index.search`.

    Returns
    -------
    addresses : `~numpy.ndarray` of uint64 or `None`
        Ascending; `None` for all rows.
    facts : dict of str to str
        The conditions for people, for the ``meta`` of a table.

    Raises
    ------
    InvalidQueryError
        If a condition is unknown or cannot be understood.
    """
    for name in conditions:
        if name not in CONDITIONS:
            msg = f"there is no argument {name!r}{nearest(name, CONDITIONS)}"
            raise InvalidQueryError(msg)
    chosen = row_filter(snapshot.specs, **conditions)
    if chosen is None:
        return None, {}
    return chosen.addresses(snapshot.dataset, snapshot.uri), chosen.facts


def batch_rows(snapshot):
    """
    Return how many rows are read at a time.

    Parameters
    ----------
    snapshot : `~paperclip.index._snapshot.Snapshot`
        Version of an index.

    Returns
    -------
    n_rows : int
        Some 16 MB of vectors.
    """
    return int(np.clip(_BYTES // (2 * snapshot.header.dimension), 256, 65536))


def iter_rows(snapshot, names, *, addresses=None, size=None):
    """
    Yield rows in row order.

    Parameters
    ----------
    snapshot : `~paperclip.index._snapshot.Snapshot`
        Version of an index.
    names : list of str
        Columns as they are stored, the vector among them if wanted.
    addresses : `~numpy.ndarray` of uint64, optional
        Rows wanted, ascending; all when not given.
    size : int, optional
        Largest number of rows of one batch.

    Yields
    ------
    rows : `pyarrow.Table`
        At most ``size`` rows.

    Raises
    ------
    DamagedIndexError
        If the rows cannot be read.
    """
    size = size or batch_rows(snapshot)
    if addresses is not None:
        for start in range(0, len(addresses), size):
            yield rows_at(snapshot, addresses[start : start + size], names)
        return
    with reading(snapshot.uri):
        scanner = snapshot.dataset.scanner(
            columns=names, scan_in_order=True, batch_size=size
        )
        batches = scanner.to_batches()
    while True:
        with reading(snapshot.uri):
            batch = next(batches, None)
        if batch is None:
            return
        yield pa.Table.from_batches([batch])


def rows_at(snapshot, addresses, names):
    """
    Return rows by their addresses.

    Parameters
    ----------
    snapshot : `~paperclip.index._snapshot.Snapshot`
        Version of an index.
    addresses : `~numpy.ndarray` of uint64, shape (n,)
        In any order, each once.
    names : list of str
        Columns as they are stored.

    Returns
    -------
    rows : `pyarrow.Table`, length n
        In the order of the addresses.

    Raises
    ------
    DamagedIndexError
        If a row is not there or cannot be read.
    """
    tables = []
    for start in range(0, max(len(addresses), 1), _TAKE):
        block = addresses[start : start + _TAKE]
        if not len(block):
            fields = [snapshot.schema.field(name) for name in names]
            return pa.schema(fields).empty_table()
        with reading(snapshot.uri):
            found = snapshot.dataset.scanner(
                columns=names,
                filter=f"{_ADDRESS} IN ({','.join(map(str, block.tolist()))})",
                prefilter=True,
                with_row_address=True,
            ).to_table()
        place = found[_ADDRESS].to_numpy()
        if len(place) != len(block):
            msg = f"{snapshot.uri} is damaged: rows are missing; build it again"
            raise DamagedIndexError(msg)
        order = np.empty(len(block), dtype=np.int64)
        order[np.argsort(block, kind="stable")] = np.argsort(place, kind="stable")
        if len(order) > 1 and (np.diff(order) != 1).any():
            found = found.take(order)
        tables.append(found.drop_columns([_ADDRESS]))
    return pa.concat_tables(tables)


def half_vectors(rows):
    """
    Return the vectors of rows as they are stored.

    Parameters
    ----------
    rows : `pyarrow.Table`, length n
        With a column of vectors.

    Returns
    -------
    vectors : `~numpy.ndarray`, shape (n, d), dtype float16
        In the order of the rows.
    """
    column = rows[VECTOR]
    size = column.type.list_size
    parts = [chunk.flatten().to_numpy(zero_copy_only=False) for chunk in column.chunks]
    flat = np.concatenate(parts) if parts else np.empty(0, np.float16)
    return flat.reshape(-1, size)
