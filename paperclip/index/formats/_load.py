# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""A new index from the rows of files, in one commit and bounded memory."""

import os
from pathlib import Path

import numpy as np
import pyarrow as pa
from astropy.table import Table

from paperclip.exceptions import (
    ExportError,
    IndexExistsError,
    IndexWriteError,
    InvalidQueryError,
    InvalidRowsError,
    ModelMismatchError,
    PaperclipError,
)
from paperclip.index._files import local_path
from paperclip.index._rows import column_from_arrow, rows_to_arrow
from paperclip.index.formats._places import new_folder
from paperclip.index.formats._schema import facts_of, is_internal, spec_of
from paperclip.index.schema import (
    KEY,
    RESULT_COLUMNS,
    ROW_COLUMNS,
    VECTOR,
    Header,
    arrow_schema,
    nearest,
    row_specs,
)

__all__ = ["Plan", "load_index"]

_STORAGE = "2.2"  # as in every index
_CLOSE = 0.02  # squared length of float16 vectors that are unit vectors already


class Plan:
    """
    What becomes of the columns of a file.

    Parameters
    ----------
    schema : `pyarrow.Schema`
        Of the file.
    source : str
        Name of the file, for messages.
    fingerprint, model : str or `None`
        Of the vectors, if the file does not say.
    vector : str
        Column of the vectors.
    rename : mapping of str to str or `None`
        Names in the index by names in the file.
    columns : sequence of str or `None`
        Columns of the file to keep; all when `None`.

    Raises
    ------
    InvalidQueryError, InvalidRowsError, ModelMismatchError
        If the file cannot become an index in this way.
    """

    def __init__(self, schema, source, *, fingerprint, model, vector, rename, columns):
        self.source = source
        rename = dict(rename or {})
        named = [*rename, vector, *(columns or ())]
        if vector not in schema.names:
            hint = nearest(vector, schema.names, then="Name it with vector=")
            msg = f"{source} has no column {vector!r} of vectors{hint}"
            raise InvalidRowsError(msg)
        for name in named:
            if name not in schema.names:
                msg = f"{source} has no column {name!r}{nearest(name, schema.names)}"
                raise InvalidQueryError(msg)
        self.vector = vector
        self.names = self._names(schema, rename, columns)
        self.dimension = _dimension(schema.field(vector), source)
        facts = facts_of(schema.metadata)
        self._check_fingerprint(facts, fingerprint)
        header = Header.new(
            fingerprint=fingerprint or facts["fingerprint"],
            dimension=self.dimension or 1,
            model=model if model is not None else facts.get("model", ""),
        )
        self.header = header
        specs = {new: spec_of(new, schema.field(old)) for old, new in self.names}
        extra = [spec for name, spec in specs.items() if name not in ROW_COLUMNS]
        try:
            self.specs = row_specs(extra)
        except InvalidQueryError as exc:
            what = str(exc).removeprefix("extra_columns has the name ")
            msg = (
                f"{source} has a column {what}; leave it out with columns=, or give it "
                "another name with rename="
            )
            raise InvalidQueryError(msg) from exc

    def _names(self, schema, rename, columns):
        mirrored = {f"{name}.mask" for name in schema.names}
        names = []
        for old in schema.names:
            new = rename.get(old, old)
            skipped = is_internal(old) or old in mirrored or new in RESULT_COLUMNS
            wanted = old in columns if columns is not None else not skipped
            if old != self.vector and (wanted or old in rename):
                names.append((old, new))
        taken = [new for _, new in names]
        if KEY not in taken:
            msg = (
                f"{self.source} has no column {KEY!r}; say which column identifies "
                f"a row, for example rename={{'source_id': '{KEY}'}}"
            )
            raise InvalidRowsError(msg)
        twice = [new for new in taken if taken.count(new) > 1]
        if twice:
            msg = f"{self.source}: two columns would be {twice[0]!r}; change rename="
            raise InvalidQueryError(msg)
        return names

    def _check_fingerprint(self, facts, fingerprint):
        known = facts.get("fingerprint")
        if fingerprint is not None:
            if not isinstance(fingerprint, str) or not fingerprint.strip():
                msg = f"fingerprint must be a text, got {fingerprint!r}"
                raise InvalidQueryError(msg)
            if known not in (None, fingerprint):
                msg = (
                    f"the vectors of {self.source} were made by the model {known!r}, "
                    f"not by {fingerprint!r}; leave fingerprint out to keep them"
                )
                raise ModelMismatchError(msg)
        elif known is None:
            msg = (
                f"{self.source} does not say which model made its vectors; give "
                "fingerprint=encoder.fingerprint of that model"
            )
            raise InvalidQueryError(msg)
        stored = facts.get("dimension")
        if stored is not None and self.dimension not in (None, int(stored)):
            msg = (
                f"{self.source} says that its vectors have dimension {stored}, but "
                f"they have {self.dimension}; write the file again"
            )
            raise InvalidRowsError(msg)

    def set_dimension(self, rows):
        """
        Take the dimension from the first row, where the schema has none.

        Parameters
        ----------
        rows : `pyarrow.Table`
            The first rows.
        """
        if self.dimension is None:
            lengths = rows[self.vector].combine_chunks().value_lengths()
            self.dimension = (lengths[0].as_py() or 0) if len(lengths) else 0
            self.header = Header(
                **{**vars(self.header), "dimension": max(self.dimension, 1)}
            )

    def schema(self):
        """
        Return the schema of the new index.

        Returns
        -------
        schema : `pyarrow.Schema`
            With the facts about the vectors.
        """
        return arrow_schema(self.specs, self.header)

    def rows(self, batch, schema, start):
        """
        Turn rows of the file into rows of an index.

        Parameters
        ----------
        batch : `pyarrow.Table`
            Rows of the file.
        schema : `pyarrow.Schema`
            Schema of the index.
        start : int
            Number of the first row, for messages.

        Returns
        -------
        rows : `pyarrow.Table`
            Checked as in `paperclip.index.Index.append`. Vectors that are
            float16 and of unit length stay as they are, to the bit.
        """
        vectors = _vectors(batch[self.vector], self.dimension, self.source, start)
        table = Table()
        for old, new in self.names:
            spec = self.specs[new]
            table[new] = column_from_arrow(_cast(batch[old], spec, self.source), spec)
        try:
            rows = rows_to_arrow(table, vectors.astype(np.float32), schema)
        except InvalidRowsError as exc:
            msg = f"{self.source}, in the rows from {start} on: {exc}"
            raise InvalidRowsError(msg) from exc
        if vectors.dtype == np.float16:
            place = schema.get_field_index(VECTOR)
            half = _kept(vectors, rows[VECTOR])
            rows = rows.set_column(place, schema.field(VECTOR), half)
        return rows


def _dimension(field, source):
    kind = field.type
    listed = pa.types.is_fixed_size_list(kind) or pa.types.is_list(kind)
    if not (listed or pa.types.is_large_list(kind)) or not (
        pa.types.is_floating(kind.value_type) or pa.types.is_integer(kind.value_type)
    ):
        msg = (
            f"the column {field.name!r} of {source} must hold vectors (lists of "
            f"numbers), not {kind}; name another one with vector="
        )
        raise InvalidRowsError(msg)
    return kind.list_size if pa.types.is_fixed_size_list(kind) else None


def _vectors(column, dimension, source, start):
    column = column.combine_chunks()
    if isinstance(column, pa.ChunkedArray):
        column = column.chunk(0) if column.num_chunks else pa.array([], column.type)
    if column.null_count:
        row = int(np.flatnonzero(column.is_null().to_numpy(zero_copy_only=False))[0])
        msg = f"{source}: row {start + row} has no vector; leave such rows out"
        raise InvalidRowsError(msg)
    values = column.flatten()
    lengths = column.value_lengths().to_numpy(zero_copy_only=False)
    wrong = np.flatnonzero(lengths != dimension)
    if len(wrong) or values.null_count:
        row = start + (int(wrong[0]) if len(wrong) else 0)
        what = lengths[wrong[0]] if len(wrong) else "missing"
        msg = (
            f"{source}: all vectors must have {dimension} numbers; row {row} has {what}"
        )
        raise InvalidRowsError(msg)
    return values.to_numpy(zero_copy_only=False).reshape(-1, dimension)


def _kept(vectors, scaled):
    """Return float16 vectors as they are, scaled ones where length is not one."""
    square = np.square(vectors.astype(np.float32)).sum(axis=1)
    far = np.abs(square - 1) > _CLOSE
    if far.any():
        other = scaled.combine_chunks()
        other = other.chunk(0) if isinstance(other, pa.ChunkedArray) else other
        vectors = vectors.copy()
        vectors[far] = other.flatten().to_numpy().reshape(vectors.shape)[far]
    flat = pa.array(np.ascontiguousarray(vectors).ravel())
    return pa.FixedSizeListArray.from_arrays(flat, vectors.shape[1])


def _cast(column, spec, source):
    kind = pa.string() if spec.dtype == "str" else pa.from_numpy_dtype(spec.dtype)
    try:
        return column.cast(kind)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as exc:
        msg = f"{source}: the column {spec.name!r} must hold {spec.dtype}: {exc}"
        raise InvalidRowsError(msg) from exc


def load_index(batches, uri, plan, *, storage_options=None):
    """
    Write rows of files as a new index.

    Parameters
    ----------
    batches : iterator of `pyarrow.Table`
        Rows of the file.
    uri : str or path-like
        Place of the new index; nothing must be there.
    plan : `Plan`
        What becomes of the columns.
    storage_options : dict, optional
        For an object store.

    Returns
    -------
    index : `~paperclip.index.Index`
        The new index.

    Raises
    ------
    IndexExistsError
        If there is something already.
    InvalidRowsError
        If the rows do not fit; there is no new index then.
    IndexWriteError
        If the index cannot be written.
    """
    from paperclip.index.store import Index

    text, path = local_path(uri)
    options = {} if storage_options is None else {"storage_options": storage_options}
    if path is None:
        _write(batches, text, plan, options)
        return Index.open(uri, **options)
    if path.exists() and (not path.is_dir() or any(path.iterdir())):
        msg = f"there is something at {path} already; choose another place"
        raise IndexExistsError(msg)
    try:
        with new_folder(path, overwrite=True, mark="_versions") as part:
            _write(batches, str(part / "index"), plan, options)
            for item in (part / "index").iterdir():
                item.rename(part / item.name)
            (part / "index").rmdir()
            _flush(part)
    except ExportError as exc:
        msg = f"the index {path} cannot be written: {exc}"
        raise IndexWriteError(msg) from exc
    return Index.open(uri)


def _write(batches, uri, plan, options):
    """Write all rows and commit once."""
    import lance

    try:
        first = next(batches, None)
    except (OSError, ValueError, pa.ArrowException) as exc:
        raise _unreadable(plan.source, exc) from exc
    if first is not None:
        plan.set_dimension(first)
    schema = plan.schema()
    failed, keys = [], []

    def rows():
        # an error inside of the writer would lose its class on the way out
        try:
            start, batch = 0, first
            while batch is not None:
                found = plan.rows(batch, schema, start)
                keys.extend(found[KEY].chunks)
                yield from found.to_batches()
                start += len(batch)
                batch = next(batches, None)
            _check_unique(keys, plan.source)
        except PaperclipError as exc:
            failed.append(exc)
            raise
        except (OSError, ValueError, pa.ArrowException) as exc:
            failed.append(_unreadable(plan.source, exc))
            raise

    reader = pa.RecordBatchReader.from_batches(schema, rows())
    try:
        lance.write_dataset(
            reader, uri, mode="create", data_storage_version=_STORAGE, **options
        )
    except (OSError, ValueError, RuntimeError, pa.ArrowException) as exc:
        if failed:
            raise failed[0] from None
        if "already exists" in str(exc):
            msg = f"there is an index at {uri} already; choose another place"
            raise IndexExistsError(msg) from exc
        msg = f"cannot write the index {uri}: {str(exc)[:300]}"
        raise IndexWriteError(msg) from exc


def _unreadable(source, exc):
    msg = f"{source} cannot be read: {str(exc)[:300]}"
    return InvalidRowsError(msg)


def _check_unique(keys, source):
    counts = pa.chunked_array(keys, pa.string()).value_counts()
    counts = counts.filter(pa.compute.greater(counts.field("counts"), 1))
    if len(counts):
        msg = (
            f"{source}: {KEY} must be unique; {len(counts)} are repeated, among them "
            f"{counts[0]['values'].as_py()!r}"
        )
        raise InvalidRowsError(msg)


def _flush(folder):
    """Make files survive a loss of power before they get their name."""
    items = [folder, *folder.rglob("*")]
    for item in items:
        if item.is_dir() and os.name == "nt":
            continue
        number = os.open(item, os.O_RDONLY)
        try:
            os.fsync(number)
        finally:
            os.close(number)


def file_batches(path, size):
    """
    Yield the rows of a Parquet file.

    Parameters
    ----------
    path : `~pathlib.Path`
        The file.
    size : int
        Rows of a batch.

    Yields
    ------
    rows : `pyarrow.Table`
        In the order of the file.
    """
    import pyarrow.parquet as pq

    with pq.ParquetFile(Path(path)) as file:
        for batch in file.iter_batches(batch_size=size):
            yield pa.Table.from_batches([batch])
