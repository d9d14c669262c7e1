# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""What changes the rows of an index: append, upsert, delete."""

from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from paperclip.exceptions import (
    InvalidQueryError,
    InvalidRowsError,
    ModelMismatchError,
)
from paperclip.index._checks import check_unicode
from paperclip.index._commit import commit_change, discard, patiently, write_rows
from paperclip.index._files import writer_lock
from paperclip.index._reading import ADDRESS, scan
from paperclip.index._rows import rows_to_arrow
from paperclip.index._snapshot import Snapshot
from paperclip.index.filters import row_filter
from paperclip.index.schema import KEY

__all__ = ["Upserted", "WriteMethods", "find_rows"]

_LOOKUP = 5000  # ids looked up at a time
_SCAN_SHARE = 0.2  # of all ids; for more it is quicker to read them all


class Upserted(NamedTuple):
    """How many rows an upsert put in and how many it replaced."""

    inserted: int
    updated: int


def find_rows(dataset, uri, keys):
    """
    Look up rows by their ids.

    Parameters
    ----------
    dataset : `lance.LanceDataset`
        The version to look at.
    uri : str
        Where it is, for messages.
    keys : `pyarrow.Array`
        Values of ``obs_id``, each once.

    Returns
    -------
    found : `pyarrow.Array`
        Those that are there.
    addresses : `~numpy.ndarray`, dtype uint64
        Their rows.

    Notes
    -----
    Uses the index of ids where there is one; else reads all ids, in batches.
    """
    by_index = any(
        index.field_names == [KEY] and "BTree" in index.type_url
        for index in dataset.describe_indices()
    )
    if by_index and len(keys) < _SCAN_SHARE * dataset.count_rows():
        parts = [keys[i : i + _LOOKUP] for i in range(0, len(keys), _LOOKUP)]
        found = [batch for part in parts for batch in _with_ids(dataset, uri, part)]
    else:
        found = [
            batch.filter(pc.is_in(batch[KEY], value_set=keys))
            for batch in scan(dataset, uri, [KEY])
        ]
    found = [batch for batch in found if len(batch)]
    if not found:
        return keys[:0], np.empty(0, np.uint64)
    table = pa.Table.from_batches(found)
    return table[KEY].combine_chunks(), table[ADDRESS].to_numpy()


def _with_ids(dataset, uri, keys):
    quoted = ",".join("'" + key.replace("'", "''") + "'" for key in keys.to_pylist())
    return scan(dataset, uri, [KEY], where=f"{KEY} IN ({quoted})")


class WriteMethods:
    """The writing half of `paperclip.index.Index`, which inherits it."""

    def append(self, table, vectors, *, fingerprint=None):
        """
        Add rows; either all of them are added or none.

        Parameters
        ----------
        table : `~astropy.table.Table`, length n
            Rows with a unique ``obs_id`` and any other columns of the index.
            Masked, blank and NaN values are missing ones.
        vectors : array_like, shape (n, d)
            One vector per row; each is scaled to unit length and stored as
            float16.
        fingerprint : str, optional
            Fingerprint of the model that made ``vectors``, to be compared.

        Raises
        ------
        ModelMismatchError
            If the fingerprints differ.
        InvalidRowsError
            If rows or vectors do not fit, or an ``obs_id`` is there already.
        IndexWriteError
            If the index cannot be written.
        """

        def check(found, addresses):
            if len(found):
                msg = (
                    f"{len(found)} rows are in the index already, among them {KEY} "
                    f"{found[0].as_py()!r}; delete them first, leave them out, or "
                    "replace them with upsert"
                )
                raise InvalidRowsError(msg)
            return addresses

        self._put(table, vectors, fingerprint, check, "append")

    def upsert(self, table, vectors, *, fingerprint=None):
        """
        Add rows, and replace those whose ``obs_id`` is there already.

        Parameters
        ----------
        table : `~astropy.table.Table`, length n
            As `append` takes it. A row that is there is replaced as a whole:
            columns that ``table`` lacks become missing. It moves to the end.
        vectors : array_like, shape (n, d)
            One vector per row.
        fingerprint : str, optional
            Fingerprint of the model that made ``vectors``, to be compared.

        Returns
        -------
        counts : tuple of (int, int)
            Named tuple: rows ``inserted``, rows ``updated``.

        Raises
        ------
        ModelMismatchError
            If the fingerprints differ.
        InvalidRowsError
            If rows or vectors do not fit.
        IndexWriteError
            If the index cannot be written.

        Notes
        -----
        Old rows go and new ones come in one commit: no reader sees a row
        twice or not at all, and of two writers who change the same row one
        comes after the other.
        """
        n_found = 0

        def check(found, addresses):
            nonlocal n_found
            n_found = len(found)
            return addresses

        total = self._put(table, vectors, fingerprint, check, "upsert")
        return Upserted(total - n_found, n_found)

    def _put(self, table, vectors, fingerprint, check, verb):
        """Write rows, and take away those that ``check`` answers with."""
        expected = self.fingerprint if fingerprint is None else fingerprint
        self.refresh()  # others may have added columns that the table has
        self._check_fingerprint(expected)
        rows = rows_to_arrow(table, vectors, self._snapshot.schema)
        if not len(rows):
            return 0
        fragments = []

        def attempt():
            nonlocal rows, fragments
            self.refresh()
            self._check_fingerprint(expected)  # it may have been overwritten
            schema = self._snapshot.schema
            if not schema.equals(rows.schema, check_metadata=True):
                rows = rows_to_arrow(table, vectors, schema)
                discard(self._place, fragments)
                fragments = []
            dataset = self._snapshot.dataset
            keys = rows[KEY].combine_chunks()
            gone = check(*find_rows(dataset, self.uri, keys))
            fragments = fragments or write_rows(self._place, rows)
            note = f"{verb} {len(rows)} rows"
            if len(gone):
                note += f", {len(gone)} of them replaced"
            self._move(
                commit_change(
                    self._place, dataset, gone=gone, fragments=fragments, note=note
                )
            )
            fragments = []

        with writer_lock(self._path):
            try:
                patiently(self._place, attempt)
            finally:
                discard(self._place, fragments)
        return len(rows)

    def delete(self, ids=None, *, where=None):
        """
        Remove rows, by their ids or by a condition.

        Parameters
        ----------
        ids : str or sequence of str, optional
            Values of ``obs_id``; those that are not there are ignored.
        where : str, optional
            Condition in SQL, as `search` takes it.

        Returns
        -------
        n_deleted : int
            Number of rows removed. Their vectors stay on disk, for readers
            and `restore`, until `compact`.

        Raises
        ------
        InvalidQueryError
            If ``ids`` holds anything but text, ``where`` cannot be
            understood, or not exactly one of them is given.
        IndexWriteError
            If the index cannot be written.
        """
        if (ids is None) == (where is None):
            msg = "delete needs either ids or where, and not both"
            raise InvalidQueryError(msg)
        if ids is not None:
            ids = [ids] if isinstance(ids, str) or not np.iterable(ids) else list(ids)
            wrong = [item for item in ids if not isinstance(item, str)]
            if wrong:
                msg = f"ids must hold {KEY} values as text, got {wrong[0]!r}"
                raise InvalidQueryError(msg)
            for item in ids:
                check_unicode("ids", item)
            keys = pa.array(list(dict.fromkeys(ids)), pa.string())
        elif not isinstance(where, str) or not where.strip():
            msg = f"where must be a condition in SQL, got {where!r}"
            raise InvalidQueryError(msg)

        def attempt():
            self.refresh()
            dataset = self._snapshot.dataset
            if where is None:
                gone = find_rows(dataset, self.uri, keys)[1]
            else:
                asked = row_filter(self._snapshot.specs, where=where)
                gone = asked.addresses(dataset, self.uri)
            if len(gone):
                note = f"delete {len(gone)} rows"
                self._move(commit_change(self._place, dataset, gone=gone, note=note))
            return len(gone)

        with writer_lock(self._path):
            return patiently(self._place, attempt)

    def _move(self, dataset):
        """Look at a version that was just committed."""
        self._snapshot = Snapshot(dataset, self.uri, cache_limit=self._cache_limit)

    def _check_fingerprint(self, fingerprint):
        if fingerprint is not None and fingerprint != self.fingerprint:
            msg = (
                f"the index {self.uri} was built with the model {self.fingerprint!r}"
                f"{f' ({self.model})' if self.model else ''}, but these vectors come "
                f"from {fingerprint!r}; load that model, or rebuild the index with "
                "the new one"
            )
            raise ModelMismatchError(msg)
