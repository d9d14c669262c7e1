# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""Columns of an index that come and go."""

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from astropy.table import Table

from paperclip.exceptions import InvalidQueryError, InvalidRowsError
from paperclip.index._commit import (
    commit_operation,
    discard,
    patiently,
    writing,
)
from paperclip.index._files import durable, writer_lock
from paperclip.index._opening import open_dataset
from paperclip.index._rows import columns_to_arrow
from paperclip.index._writing import find_rows
from paperclip.index.schema import (
    KEY,
    ROW_COLUMNS,
    VECTOR,
    arrow_schema,
    nearest,
    row_specs,
)
from paperclip.results import ColumnSpec

__all__ = ["ColumnMethods"]


class ColumnMethods:
    """The part of `paperclip.index.Index` that changes its columns."""

    def add_columns(self, columns):
        """
        Add columns to all rows; vectors and other columns stay as they are.

        Parameters
        ----------
        columns : `~astropy.table.Table`, mapping of str to dtype, or iterable \
of `~paperclip.results.ColumnSpec`
            A table with ``obs_id`` and the new columns gives values to the
            rows it names; what it says of other rows is ignored, and times
            are stored as MJD. Without a table, and for rows that it does not
            name, the values are missing.

        Returns
        -------
        n_rows : int
            Number of rows that the table names.

        Raises
        ------
        InvalidQueryError
            If a name is taken or not allowed, or a type cannot be stored.
        InvalidRowsError
            If the table has no ``obs_id``, the same one twice, or values that
            do not fit.
        IndexWriteError
            If the index cannot be written; it stays as it was.
        """
        table = columns if isinstance(columns, Table) else None
        specs = columns if table is None else _specs_of(table)
        try:
            specs = row_specs(specs)
        except InvalidQueryError as exc:
            raise InvalidQueryError(
                str(exc).replace("extra_columns", "columns")
            ) from exc
        except TypeError as exc:
            msg = (
                "columns must be a Table, map names to types or list ColumnSpec "
                f"objects, got {columns!r}"
            )
            raise InvalidQueryError(msg) from exc
        names = [name for name in specs if name not in ROW_COLUMNS]
        if not names:
            msg = f"columns must hold at least one column beside {KEY}, got none"
            raise InvalidQueryError(msg)

        def attempt():
            self.refresh()
            snapshot = self._snapshot
            taken = {name.lower() for name in snapshot.schema.names}
            for name in names:
                if name.lower() in taken:
                    msg = (
                        f"columns has the name {name!r}, which the index has already; "
                        "drop that column first or choose another name"
                    )
                    raise InvalidQueryError(msg)
            full = arrow_schema(specs, snapshot.header)
            fields = pa.schema([full.field(name) for name in names])
            if table is None or not len(self):
                with writing(self.uri), durable(self._path):
                    open_dataset(self._place).add_columns(fields)
                self.refresh()
                return 0
            return self._join(table, fields)

        with writer_lock(self._path):
            return patiently(self._place, attempt)

    def _join(self, table, fields):
        from lance import LanceOperation

        dataset = self._snapshot.dataset
        key = self._snapshot.schema.field(KEY)
        values = columns_to_arrow(table, pa.schema([key, *fields])).combine_chunks()
        keys = values[KEY].combine_chunks()
        if keys.null_count or pc.count_distinct(keys).as_py() < len(keys):
            msg = f"columns must have one {KEY} per row, each once; it has others"
            raise InvalidRowsError(msg)
        values = values.select(fields.names).cast(fields)
        n_rows = len(find_rows(dataset, self.uri, keys)[0])

        def look_up(batch):  # rows that were deleted are among them
            places = pc.index_in(batch[KEY], value_set=keys)
            return values.take(places).combine_chunks().to_batches()[0]

        parts, schema, done = [], None, False
        try:
            with writing(self.uri), durable(self._path):
                for part in dataset.get_fragments():
                    metadata, schema = part.merge_columns(look_up, columns=[KEY])
                    parts.append(metadata)
            operation = LanceOperation.Merge(parts, schema)
            note = f"add columns {', '.join(fields.names)}"
            self._move(commit_operation(self._place, dataset, operation, note))
            done = True
        finally:
            if not done:
                discard(self._place, parts)
        return n_rows

    def drop_columns(self, names):
        """
        Remove columns that were added to those that every index has.

        Parameters
        ----------
        names : str or sequence of str
            The columns. Their values stay on disk, for readers and `restore`,
            until `compact`.

        Raises
        ------
        InvalidQueryError
            If there is no such column, or every index has it.
        IndexWriteError
            If the index cannot be written; it stays as it was.
        """
        names = [names] if isinstance(names, str) else list(names)

        def attempt():
            self.refresh()
            known = [name for name in self.colnames if name not in ROW_COLUMNS]
            for name in names:
                if name in ROW_COLUMNS or name == VECTOR:
                    msg = f"names has {name!r}, a column that every index has"
                    raise InvalidQueryError(msg)
                if name not in known:
                    hint = nearest(name, known) if known else "; it has none to drop"
                    msg = f"names has the unknown column {name!r}{hint}"
                    raise InvalidQueryError(msg)
            if names:
                with writing(self.uri), durable(self._path):
                    open_dataset(self._place).drop_columns(names)
                self.refresh()

        with writer_lock(self._path):
            patiently(self._place, attempt)


def _specs_of(table):
    """Return the definitions of the columns of a table, without the key."""
    if KEY not in table.colnames:
        msg = f"columns needs a column {KEY} that says which row a value is for"
        raise InvalidRowsError(msg)
    specs = []
    for column in table.itercols():
        name = column.info.name
        if name == KEY:
            continue
        dtype, unit = getattr(column, "dtype", None), column.info.unit
        if hasattr(column, "mjd"):  # a Time, which is stored as MJD
            dtype, unit = np.dtype(float), "d"
        if dtype is None:
            msg = (
                f"columns: {name!r} cannot be stored: it is a {type(column).__name__}; "
                "give its parts as columns of numbers"
            )
            raise InvalidQueryError(msg)
        dtype = {"U": str, "S": str, "O": str, "u": "int64"}.get(dtype.kind, dtype)
        try:
            spec = ColumnSpec(name, dtype, unit, column.info.description or "")
        except (TypeError, ValueError) as exc:
            msg = f"columns: {name!r} cannot be stored: {exc}"
            raise InvalidQueryError(msg) from exc
        specs.append(spec)
    return specs
