# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""The end of a build: vectors to rows, rows to commits."""

import time
from pathlib import Path

import numpy as np
from astropy.table import Table

from paperclip.exceptions import InvalidQueryError, RemoteServiceError
from paperclip.index._remote import is_remote, public_name
from paperclip.index.schema import KEY

__all__ = ["RowWriter", "rows_table"]

_OUTAGE = 16  # files in a row that a server does not answer for


def rows_table(obs_ids, paths, owns, given, names):
    """
    Put together rows: metadata first, then the file's own words.

    Parameters
    ----------
    obs_ids, paths : sequence of str
        One for each row.
    owns : sequence of dict
        What each file says about itself.
    given : sequence of dict
        What the metadata say, None where they say nothing.
    names : container of str
        The columns of the index.

    Returns
    -------
    table : `~astropy.table.Table`
        For `paperclip.index.Index.append`.
    """
    rows = []
    for obs_id, path, own, known in zip(obs_ids, paths, owns, given, strict=True):
        row = {name: v for name, v in own.items() if name in names}
        row |= {name: v for name, v in known.items() if v is not None}
        row[KEY] = obs_id
        row.setdefault(
            "dataURI", public_name(path) if is_remote(path) else Path(path).as_uri()
        )
        rows.append(row)
    columns = {}
    for name in sorted({name for row in rows for name in row}):
        column = np.empty(len(rows), dtype=object)
        column[:] = [row.get(name) for row in rows]
        columns[name] = column
    return Table(columns)


class RowWriter:
    """
    Collect rows and commit them in batches.

    Parameters
    ----------
    index : `~paperclip.index.Index`
        Where they go.
    source : `~paperclip.index.sources.Source`
        Where they come from.
    metadata : `pyarrow.Table` or None
        Columns of the index, for the rows of ``source.table``.
    state : paperclip.index._buildstate.BuildState
        Keeps what failed.
    fingerprint : str
        Of the model.
    rows : int
        Most rows of a commit.
    seconds : float
        Time between commits.
    """

    def __init__(self, index, source, metadata, state, *, fingerprint, rows, seconds):
        self._index = index
        self._source = source
        self.metadata = metadata
        self._state = state
        self._fingerprint = fingerprint
        self._limit = rows
        self._seconds = seconds
        self._last = time.monotonic()
        self._waiting = []
        self._names = set(index.colnames)
        self.n_added = 0
        self.n_failed = 0
        self._silent = []

    def fail(self, loaded):
        """
        Keep the reason why a file has no row.

        Parameters
        ----------
        loaded : paperclip.index._readers.Loaded
            What became of it; its item is a number of the source.

        Raises
        ------
        InvalidQueryError
            If the whole source has gone, which is no fault of the file.
        RemoteServiceError
            If its server has not answered for many files in a row.
        """
        root = self._source.root
        if root is not None and not Path(root).is_dir():
            msg = (
                f"source {root} is no longer there; what was read before is kept. "
                "Bring it back and run the same call again to go on"
            )
            raise InvalidQueryError(msg)
        key = self._source.key(loaded.item)
        self.n_failed += 1
        if loaded.kind == "absent":
            return
        self._state.fail(*key, loaded.reason)
        self._silent = [*self._silent, key] if loaded.kind == "silent" else []
        if len(self._silent) >= _OUTAGE:
            for silent in self._silent:
                self._state.forget(*silent)  # to be tried again
            msg = (
                f"the source did not answer for {len(self._silent)} files in a row "
                f"({loaded.reason}); what was read before is kept: run the same call "
                "again later to go on"
            )
            raise RemoteServiceError(msg)

    def add(self, batch, vectors):
        """
        Take rows; they are in the index after some time, or after `flush`.

        Parameters
        ----------
        batch : list of paperclip.index._readers.Loaded
            Their items are numbers of the source.
        vectors : `~numpy.ndarray`, shape (n, d)
            One for each.
        """
        facts = ((loaded.item, loaded.row) for loaded in batch)
        self._silent = []
        self._waiting += zip(facts, vectors, strict=True)
        due = time.monotonic() - self._last >= self._seconds
        if due or len(self._waiting) >= self._limit:
            self.flush()

    def count(self, items):
        """
        Note that rows are in the index that others have put there.

        Parameters
        ----------
        items : list of int
            Numbers of the source.
        """
        self.n_added += len(items)
        for item in items:
            self._state.forget(*self._source.key(item))

    def flush(self):
        """Commit what is waiting, and save what failed."""
        waiting, self._waiting = self._waiting, []  # never twice, whatever happens
        if waiting:
            vectors = np.array([vector for _, vector in waiting])
            table = self._table([facts for facts, _ in waiting])
            self._index.append(table, vectors, fingerprint=self._fingerprint)
            self.count([item for (item, _), _ in waiting])
        self._state.save_failures()
        self._last = time.monotonic()

    def _table(self, facts):
        items = [item for item, _ in facts]
        return rows_table(
            [self._source.obs_ids[item] for item in items],
            [self._source.paths[item] for item in items],
            [own for _, own in facts],
            self._given(items),
            self._names,
        )

    def _given(self, items):
        """Return what the metadata say of some files."""
        if self.metadata is None:
            return [{}] * len(items)
        numbers = [self._source.rows[item] for item in items]
        known = self.metadata.take([max(number, 0) for number in numbers]).to_pylist()
        return [
            row if number >= 0 else {}
            for number, row in zip(numbers, known, strict=True)
        ]
