# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""Exact search over one version of an index."""

import re
import threading
from contextlib import contextmanager

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from astropy.table import Table

from paperclip.exceptions import (
    DamagedIndexError,
    InvalidQueryError,
    PaperclipError,
)
from paperclip.index._exact import candidates, coarse, precise, to_float32
from paperclip.index._rowcache import ArrowRows, TableRows
from paperclip.index._rows import column_from_arrow
from paperclip.index.schema import (
    KEY,
    VECTOR,
    header_from_schema,
    nearest,
    specs_from_schema,
)
from paperclip.results import COLUMNS, empty_table

__all__ = ["Snapshot", "reading"]

_ADDRESS = "_rowaddr"
_TABLE_BYTES = 1 << 26  # of rows kept as table columns; more stay in Arrow
_BATCH_BYTES = 1 << 22  # of float16 vectors in one step of a scan
_TAKE = 4096  # rows fetched by address in one go
_STORE_ERRORS = (OSError, ValueError, RuntimeError, pa.ArrowException)
_QUOTED = re.compile(r"'(?:[^']|'')*'")
_FIELD = re.compile(r"No field named [`\"']?([^`\"'\s,]+?)[`\"']?\.(?:\s|$)")


@contextmanager
def reading(uri):
    """
    Turn the errors of a store that cannot be read into our own.

    Parameters
    ----------
    uri : str
        The index, for the message.

    Raises
    ------
    DamagedIndexError
        In place of the error of Lance or Arrow.
    """
    try:
        yield
    except BaseException as exc:
        if isinstance(exc, PaperclipError) or not _from_store(exc):
            raise
        raise _damaged(uri, exc) from exc


def _from_store(exc):
    # a panic of Lance's Rust code derives from BaseException and has no name
    # that could be imported
    return isinstance(exc, _STORE_ERRORS) or type(exc).__name__ == "PanicException"


def _damaged(uri, exc):
    msg = (
        f"{uri} is damaged or cannot be read; restore it from a copy or build the "
        f"index again. The store says: {_first_line(exc)}"
    )
    return DamagedIndexError(msg)


class Snapshot:
    """
    One version of an index, with what searching it needs in memory.

    Similarities are the dot products of the normalised query with the stored
    float16 vectors: float32 arithmetic picks the candidates, whose values are
    then summed in float64 row by row and rounded to float32. So the values
    and the order do not depend on how many rows are searched together.

    Parameters
    ----------
    dataset : `lance.LanceDataset`
        The version.
    uri : str
        Where it is.
    cache_limit : int
        Largest size in bytes of the vectors held in memory as float32, and
        of the rows; more is read from disk for every search.
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
        d = self.header.dimension
        self._cache_limit = cache_limit
        self.in_memory = self.n_rows * d * 4 <= cache_limit
        # a dot product of d float32 terms is off by at most about d * 2**-24
        self._margin = np.float32(2.1 * d * 2.0**-24)
        self._lock = threading.Lock()
        self._matrix = self._addresses = self._rows = None

    def _scan(self, columns, *, where=None, batch_size=None):
        """Yield record batches with the row addresses, in row order."""
        options = {} if batch_size is None else {"batch_size": batch_size}
        if where is not None:
            options |= {"filter": where, "prefilter": True}
        scanner = self.dataset.scanner(
            columns=columns, with_row_address=True, scan_in_order=True, **options
        )
        try:
            yield from scanner.to_batches()
        except BaseException as exc:
            if not _from_store(exc):
                raise
            if where is not None and "applying filter" in str(exc):
                msg = f"where={where!r} cannot be computed: {_first_line(exc)}"
                raise InvalidQueryError(msg) from exc
            raise _damaged(self.uri, exc) from exc

    def _vector_batches(self, *, where=None):
        """Yield (addresses, float32 vectors)."""
        d = self.header.dimension
        size = max(64, _BATCH_BYTES // (2 * d))
        for batch in self._scan([VECTOR], where=where, batch_size=size):
            half = batch[VECTOR].flatten().to_numpy(zero_copy_only=True)
            yield batch[_ADDRESS].to_numpy(), to_float32(half).reshape(-1, d)

    def matrix(self):
        """
        Return all vectors.

        Returns
        -------
        vectors : `~numpy.ndarray`, shape (n, d), dtype float32
            Read-only; kept when the index fits the limit.
        """
        if self._matrix is None:
            with self._lock:
                if self._matrix is None:
                    return self._load_matrix()
        return self._matrix

    def _load_matrix(self):
        matrix = np.empty((self.n_rows, self.header.dimension), dtype=np.float32)
        addresses = np.empty(self.n_rows, dtype=np.uint64)
        start = 0
        for address, vectors in self._vector_batches():
            stop = start + len(vectors)
            matrix[start:stop], addresses[start:stop] = vectors, address
            start = stop
        square = np.einsum("ij,ij->i", matrix, matrix)
        if not (start == self.n_rows and np.all(np.abs(square - 1) < 0.02)):
            msg = (
                f"{self.uri} is damaged: it holds vectors that are not of unit "
                "length; restore it from a copy or build the index again"
            )
            raise DamagedIndexError(msg)
        matrix.flags.writeable = False
        if self.in_memory:
            self._addresses, self._matrix = addresses, matrix
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
            In row order.
        """
        if self.in_memory:
            return coarse(self.matrix(), query)
        parts = [coarse(vectors, query) for _, vectors in self._vector_batches()]
        return np.concatenate(parts)

    def search(self, query, *, limit, where, names):
        """
        Return the most similar rows.

        Parameters
        ----------
        query : `~numpy.ndarray`, shape (d,), dtype float32
            Unit vector.
        limit : int
            Largest number of rows.
        where : str or `None`
            SQL condition on the columns.
        names : tuple of str
            Columns wanted.

        Returns
        -------
        table : `~astropy.table.Table`
            Best first; equal similarities in row order.
        """
        if where is not None:
            self._check_where(where)
        if self.in_memory:
            positions, similarity = self._search_memory(query, limit, where)
            addresses = self._addresses[positions]
        else:
            positions = None
            addresses, similarity = self._search_disk(query, limit, where)
        if not len(similarity):
            return empty_table(names, specs=self.result_specs)
        rows = self._table_cache() if positions is not None else None
        if rows is not None:
            table = rows.take(positions, names)
        else:
            table = self._fetch(addresses, names)
        if "similarity" in names:
            table["similarity"][:] = similarity
        if "rank" in names:
            table["rank"][:] = np.arange(1, len(table) + 1)
        return table

    def _check_where(self, where):
        bare = _QUOTED.sub("''", where)
        if ";" in bare:
            msg = f"where={where!r} must be one condition, without ';'"
            raise InvalidQueryError(msg)
        known = {name.lower() for name in self.specs}
        for name in re.findall(r'"([^"]*)"', bare):
            if name.lower() in known:  # Lance would compare a text, not a column
                msg = f"where={where!r}: write {name} without double quotes"
                raise InvalidQueryError(msg)
        try:
            self.dataset.scanner(
                columns=[], filter=where, with_row_address=True, prefilter=True
            ).explain_plan()
        except _STORE_ERRORS as exc:
            unknown = _FIELD.search(str(exc))
            if unknown:
                hint = nearest(unknown[1], self.specs)
                msg = f"where={where!r}: no column {unknown[1]!r}{hint}"
            else:
                msg = (
                    f"where={where!r} is not a condition in SQL such as "
                    f"\"instrument_name = 'NIRCAM'\": {_first_line(exc)}"
                )
            raise InvalidQueryError(msg) from exc

    def _search_memory(self, query, limit, where):
        similarity = coarse(self.matrix(), query)
        if where is None:
            rows = candidates(similarity, limit, self._margin)
        else:
            found = [b[_ADDRESS].to_numpy() for b in self._scan([], where=where)]
            found = np.sort(np.concatenate([np.empty(0, np.uint64), *found]))
            subset = np.searchsorted(self._addresses, found)
            rows = subset[candidates(similarity[subset], limit, self._margin)]
        exact = precise(self._matrix, rows, query)
        order = np.argsort(-exact, kind="stable")[:limit]
        return rows[order], exact[order]

    def _search_disk(self, query, limit, where):
        best = np.empty(0, np.float32)
        addresses = np.empty(0, np.uint64)
        for address, vectors in self._vector_batches(where=where):
            floor = best[-1] if len(best) == limit else np.float32(-2)
            rough = coarse(vectors, query)
            rows = candidates(rough, limit, self._margin)
            rows = rows[rough[rows] >= floor - self._margin]
            # what came earlier stays first among equals
            best = np.concatenate([best, precise(vectors, rows, query)])
            addresses = np.concatenate([addresses, address[rows]])
            order = np.argsort(-best, kind="stable")[:limit]
            best, addresses = best[order], addresses[order]
        return addresses, best

    def _fetch(self, addresses, names):
        """Read rows by address, in the order of the addresses."""
        wanted = [name for name in names if name in self.specs] or [KEY]
        tables = []
        for start in range(0, len(addresses), _TAKE):
            block = addresses[start : start + _TAKE]
            inside = f"{_ADDRESS} IN ({','.join(map(str, block.tolist()))})"
            batches = list(self._scan(wanted, where=inside))
            if sum(map(len, batches)) != len(block):
                msg = f"{self.uri} is damaged: rows are missing; build it again"
                raise DamagedIndexError(msg)
            found = pa.Table.from_batches(batches).sort_by(_ADDRESS)
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

    def _table_cache(self):
        if self._rows is None:
            with self._lock:
                if self._rows is None:
                    self._rows = self._load_rows() or False
        return self._rows or None

    def _load_rows(self):
        names = list(self.specs)
        with reading(self.uri):
            sample = self.dataset.to_table(columns=names, limit=1024)
        if sample.nbytes / len(sample) * self.n_rows > self._cache_limit:
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


def _first_line(exc):
    text = (str(exc).splitlines() or [type(exc).__name__])[0]
    return re.sub(r",? /\S+\.rs:\d+:\d+", "", text)[:300]
