# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""Exact search over one version of an index."""

import threading

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from astropy.table import Table

from paperclip.index._load import open_vectors
from paperclip.index._plan import choose
from paperclip.index._reading import (
    ADDRESS,
    address_condition,
    reading,
    rows_missing,
    scan,
)
from paperclip.index._rowcache import ArrowRows, TableRows
from paperclip.index._rows import column_from_arrow
from paperclip.index.schema import (
    KEY,
    header_from_schema,
    specs_from_schema,
)
from paperclip.results import COLUMNS, empty_table

__all__ = ["Snapshot", "reading"]

_TABLE_BYTES = 1 << 26  # of rows kept as table columns; more stay in Arrow
_TAKE = 4096  # rows fetched by address in one go
_OFTEN = 64  # answers after which rows that are kept in Arrow pay for their reading


class Snapshot:
    """
    One version of an index, and how it is searched.

    Similarities are the dot products of the normalised query with the stored
    float16 vectors: a coarse product picks the candidates, whose values are
    then summed in float64 row by row and rounded to float32. So the values
    and the order do not depend on how many rows are searched together.

    Parameters
    ----------
    dataset : `lance.LanceDataset`
        The version.
    uri : str
        Where it is.
    cache_limit : int
        Largest size in bytes of the rows held in memory, and of the vectors
        where they cannot be mapped from their files; more is read for every
        search.
    """

    def __init__(self, dataset, uri, *, cache_limit):
        self.dataset = dataset
        self.uri = uri
        with reading(uri):
            self.schema = dataset.schema
            self.header = header_from_schema(self.schema, uri)
            self.specs = specs_from_schema(self.schema)
            self.n_rows = dataset.count_rows()
        self.result_specs = {
            "rank": COLUMNS["rank"],
            "similarity": COLUMNS["similarity"],
            **self.specs,
        }
        self._cache_limit = cache_limit
        self._lock = threading.Lock()
        self._opened = self._matrix = self._rows = self._row_bytes = None
        self._answers = 0

    def _scan(self, columns, *, where=None, batch_size=None):
        """Yield record batches with the row addresses, in row order."""
        options = {} if batch_size is None else {"batch_size": batch_size}
        return scan(self.dataset, self.uri, columns, where=where, **options)

    @property
    def vectors(self):
        """The vectors, opened when they are needed for the first time."""
        if self._opened is None:
            with self._lock:
                if self._opened is None:
                    self._opened = open_vectors(
                        self.dataset, self.uri, self.header.dimension, self._cache_limit
                    )
        return self._opened

    def best(self, query, limit, addresses=None):
        """
        Return the most similar rows, exactly.

        Parameters
        ----------
        query : `~numpy.ndarray`, shape (d,), dtype float32
            Unit vector.
        limit : int
            Largest number of rows.
        addresses : `~numpy.ndarray` of uint64, optional
            Rows to search, ascending; all when not given.

        Returns
        -------
        addresses : `~numpy.ndarray` of uint64, shape (n,)
            Best first; equal similarities in row order.
        similarity : `~numpy.ndarray` of float32, shape (n,)
            Cosines.
        """
        return self.vectors.best(query, limit, addresses)

    def vectors_at(self, addresses):
        """Return vectors by address, in their order, shape (n, d), float32."""
        return self.vectors.at(addresses)

    def addresses(self):
        """Return the addresses of all rows, in row order, uint64."""
        return self.vectors.addresses()

    def iter_vectors(self, batch):
        """Yield (addresses, float32 vectors) in row order, at most ``batch`` each."""
        yield from self.vectors.iterate(batch)

    def _vector_batches(self):
        return self.iter_vectors(max(64, (1 << 21) // self.header.dimension))

    def matrix(self):
        """
        Return all vectors.

        Returns
        -------
        vectors : `~numpy.ndarray`, shape (n, d), dtype float32
            Read-only; kept when it fits the limit.
        """
        if self._matrix is not None:
            return self._matrix
        matrix = np.empty((self.n_rows, self.header.dimension), dtype=np.float32)
        start = 0
        for _, vectors in self._vector_batches():
            matrix[start : start + len(vectors)] = vectors
            start += len(vectors)
        matrix.flags.writeable = False
        if matrix.nbytes <= self._cache_limit:
            self._matrix = matrix
        return matrix

    def similarities(self, query):
        """
        Return the similarity of every row.

        Parameters
        ----------
        query : `~numpy.ndarray`, shape (d,), dtype float32
            Unit vector.

        Returns
        -------
        similarity : `~numpy.ndarray`, shape (n,), dtype float32
            In row order; off by the rounding of a float32 sum.
        """
        return self.vectors.similarities(query)

    def search(self, query, *, limit, row_filter=None, names, exact=False):
        """
        Return the most similar rows.

        Parameters
        ----------
        query : `~numpy.ndarray`, shape (d,), dtype float32
            Unit vector.
        limit : int
            Largest number of rows.
        row_filter : object, optional
            Has ``addresses(dataset, uri)``, the rows asked for.
        names : tuple of str
            Columns wanted.
        exact : bool, optional
            True forbids an approximate answer.

        Returns
        -------
        table : `~astropy.table.Table`
            Best first; equal similarities in row order.
        facts : dict
            ``search`` (``"exact"`` or ``"ann"``), ``recall`` (expected) and
            ``n_match`` (rows that were asked for).
        """
        addresses = None
        if row_filter is not None:
            addresses = row_filter.addresses(self.dataset, self.uri)
        plan = choose(self, row_filter, limit, exact, addresses)
        find = self.best if plan.search is None else plan.search
        found, similarity = find(query, limit, addresses)
        n_match = self.n_rows if addresses is None else len(addresses)
        facts = {"search": plan.kind, "recall": plan.recall, "n_match": n_match}
        table = self.fetch(found, names)
        if "similarity" in names:
            table["similarity"][:] = similarity
        if "rank" in names:
            table["rank"][:] = np.arange(1, len(table) + 1)
        return table, facts

    def fetch(self, addresses, names):
        """
        Return rows by address.

        Parameters
        ----------
        addresses : `~numpy.ndarray` of uint64, shape (n,)
            In any order, each once.
        names : tuple of str
            Columns wanted; those that are not stored are zero.

        Returns
        -------
        table : `~astropy.table.Table`, length n
            In the order of the addresses.

        Raises
        ------
        DamagedIndexError
            If a row is not there or cannot be read.
        """
        if not len(addresses):
            return empty_table(names, specs=self.result_specs)
        rows = self._kept_rows()
        if rows is not None:
            return rows.take(self.vectors.ranks(addresses), names)
        wanted = [name for name in names if name in self.specs] or [KEY]
        tables = []
        for start in range(0, len(addresses), _TAKE):
            block = addresses[start : start + _TAKE]
            batches = list(self._scan(wanted, where=address_condition(block)))
            if sum(map(len, batches)) != len(block):
                raise rows_missing(self.uri)
            found = pa.Table.from_batches(batches).sort_by(ADDRESS)
            tables.append(found.take(np.searchsorted(np.sort(block), block)))
        return self._to_table(pa.concat_tables(tables), names)

    def _to_table(self, rows, names):
        columns = []
        for name in names:
            spec = self.result_specs[name]
            if name in self.specs:
                data = rows[name]
            else:
                data = pa.array(np.zeros(len(rows), spec.numpy_dtype))
            with reading(self.uri):
                columns.append(column_from_arrow(data, spec))
        return Table(columns, copy=False)

    def _kept_rows(self):
        """Return the rows in memory, `None` if they are read when asked for."""
        if self._rows is None:
            with self._lock:
                self._answers += 1
                if self._rows is None:
                    self._rows = self._load_rows()
        return self._rows or None

    def _load_rows(self):
        """Return rows to keep, `False` to keep none, `None` to decide later."""
        if not hasattr(self._opened, "ranks"):
            return False if self._opened is not None else None
        names = list(self.specs)
        if self._row_bytes is None:
            with reading(self.uri):
                sample = self.dataset.to_table(columns=names, limit=1024)
            self._row_bytes = sample.nbytes / max(len(sample), 1)
        size = self._row_bytes * self.n_rows
        if size > self._cache_limit:
            return False
        if size > _TABLE_BYTES and self._answers < _OFTEN:
            return None
        rows = self.read(names).combine_chunks()
        wide = 0  # NumPy stores text at its longest, four bytes a character
        for name, spec in self.specs.items():
            if spec.dtype == "str":
                wide += 4 * (pc.max(pc.utf8_length(rows[name])).as_py() or 1)
        if wide * self.n_rows > _TABLE_BYTES:
            return ArrowRows(rows, self._to_table)
        return TableRows(self._to_table(rows, tuple(self.result_specs)))

    def read(self, names):
        """
        Return whole columns in row order.

        Parameters
        ----------
        names : list of str
            Columns of the rows.

        Returns
        -------
        rows : `pyarrow.Table`
            Without the vectors, unless named.
        """
        with reading(self.uri):
            return self.dataset.to_table(columns=names, scan_in_order=True)

    def to_table(self, names):
        """
        Return all rows.

        Parameters
        ----------
        names : tuple of str
            Columns of the rows.

        Returns
        -------
        table : `~astropy.table.Table`, length n
            In row order.
        """
        if not self.n_rows:
            return empty_table(names, specs=self.specs)
        return self._to_table(self.read(list(names)), names)
