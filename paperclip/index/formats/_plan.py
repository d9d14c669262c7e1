# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""What becomes of the columns of a file that is to be an index."""

import numpy as np
import pyarrow as pa
from astropy.table import Table

from paperclip.exceptions import (
    InvalidQueryError,
    InvalidRowsError,
    ModelMismatchError,
)
from paperclip.index._rows import column_from_arrow, rows_to_arrow
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

__all__ = ["Plan"]

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
