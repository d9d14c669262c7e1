# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""Rows between astropy Tables and Arrow, with the checks on new ones."""

import numpy as np
import pyarrow as pa
from astropy import units as u
from astropy.table import Column, MaskedColumn, Table

from paperclip.exceptions import InvalidRowsError
from paperclip.index._sky import sky_columns
from paperclip.index.schema import KEY, VECTOR, nearest, specs_from_schema

__all__ = [
    "column_from_arrow",
    "columns_to_arrow",
    "in_unit",
    "normalise",
    "rows_to_arrow",
]

_FINITE = frozenset({"s_ra", "s_dec", "t_min", "t_max"})
_BLOCK = 16384  # rows normalised at a time


def normalise(vectors, dimension, *, n_rows=None, name="vectors"):
    """
    Check vectors and scale each to unit length.

    Parameters
    ----------
    vectors : array_like, shape (n, d)
        Real numbers.
    dimension : int
        The ``d`` that is wanted.
    n_rows : int, optional
        The ``n`` that is wanted.
    name : str, optional
        What the messages call the array.

    Returns
    -------
    vectors : `~numpy.ndarray`, shape (n, d), dtype float32
        A new array of unit vectors.

    Raises
    ------
    InvalidRowsError
        If the shape or type is wrong, or a row is zero or not finite.
    """
    vectors = np.asarray(vectors)
    if vectors.dtype.kind not in "fiu":
        msg = f"{name} must be real numbers, got dtype {vectors.dtype}"
        raise InvalidRowsError(msg)
    if vectors.ndim != 2 or vectors.shape[1] != dimension:
        msg = (
            f"{name} must have shape (n, {dimension}) for this index, got "
            f"{vectors.shape}; were they made by another model?"
        )
        raise InvalidRowsError(msg)
    if n_rows is not None and len(vectors) != n_rows:
        msg = f"need one vector per row: {len(vectors)} vectors, {n_rows} rows"
        raise InvalidRowsError(msg)
    out = np.empty(vectors.shape, dtype=np.float32)
    for start in range(0, len(vectors), _BLOCK):
        block = vectors[start : start + _BLOCK].astype(np.float64)
        largest = np.abs(block).max(axis=1, keepdims=True)
        bad = np.flatnonzero(~(np.isfinite(largest) & (largest > 0)))
        if len(bad):
            what = "zeros only" if largest[bad[0], 0] == 0 else largest[bad[0], 0]
            msg = (
                f"{name} must be finite and not all zero; row {start + bad[0]} has "
                f"{what}. Leave rows out whose encoding failed"
            )
            raise InvalidRowsError(msg)
        block /= largest  # squares of huge or tiny numbers stay in range
        block /= np.linalg.norm(block, axis=1, keepdims=True)
        out[start : start + _BLOCK] = block
    return out


def rows_to_arrow(table, vectors, schema):
    """
    Check rows and vectors and turn them into one Arrow table.

    Parameters
    ----------
    table : `~astropy.table.Table` or anything that ``Table`` accepts
        Rows with ``obs_id`` and any other columns of the index. Columns of
        the index that it lacks are stored as missing.
    vectors : array_like, shape (n, d)
        One vector per row.
    schema : `pyarrow.Schema`
        The schema of the index.

    Returns
    -------
    rows : `pyarrow.Table`
        Missing, blank and NaN values are null; right ascensions are in
        [0, 360); the internal columns follow from the footprints and
        positions; vectors have unit length, in float16.

    Raises
    ------
    InvalidRowsError
        If anything does not fit; nothing is changed.
    """
    columns = columns_to_arrow(table, schema)
    dimension = schema.field(VECTOR).type.list_size
    vectors = normalise(vectors, dimension, n_rows=len(columns))
    _check_keys(columns[KEY])
    half = pa.array(vectors.astype(np.float16).ravel())
    half = pa.FixedSizeListArray.from_arrays(half, dimension)
    arrays = {
        **dict(zip(columns.column_names, columns.columns, strict=True)),
        **sky_columns(columns),
        VECTOR: half,
    }
    return pa.Table.from_arrays([arrays[n] for n in schema.names], schema=schema)


def columns_to_arrow(table, schema):
    """
    Check everything but the vectors and turn it into one Arrow table.

    Parameters
    ----------
    table : `~astropy.table.Table` or anything that ``Table`` accepts
        See `rows_to_arrow`; ``obs_id`` may be missing here.
    schema : `pyarrow.Schema`
        The schema of the index.

    Returns
    -------
    columns : `pyarrow.Table`
        All columns of the index but the internal ones and the vector.

    Raises
    ------
    InvalidRowsError
        If a column is not one of the index, or its values do not fit.
    """
    if not isinstance(table, Table):
        try:
            table = Table(table)
        except (TypeError, ValueError) as exc:
            msg = f"table must be an astropy Table, got {type(table).__name__}: {exc}"
            raise InvalidRowsError(msg) from exc
    specs = specs_from_schema(schema)
    for name in table.colnames:
        if name not in specs:
            then = "Remove it, or add it to the index with add_columns"
            msg = f"table has a column {name!r} that this index lacks"
            msg += nearest(name, specs, then=then)
            raise InvalidRowsError(msg)
    arrays = {}
    for name, spec in specs.items():
        kind = schema.field(name).type
        if name in table.colnames:
            arrays[name] = _column_to_arrow(table[name], spec, kind)
        else:
            arrays[name] = pa.nulls(len(table), kind)
    return pa.table(arrays)


def _check_keys(keys):
    if keys.null_count:
        row = int(np.flatnonzero(keys.is_null().to_numpy(zero_copy_only=False))[0])
        msg = (
            f"every row needs an {KEY}; row {row} has none: give it one or leave it out"
        )
        raise InvalidRowsError(msg)
    counts = keys.value_counts()
    repeated = [c["values"].as_py() for c in counts if c["counts"].as_py() > 1]
    if repeated:
        msg = (
            f"{KEY} must be unique; {len(repeated)} are repeated in the table, "
            f"among them {repeated[0]!r}; keep one row of each"
        )
        raise InvalidRowsError(msg)


def _column_to_arrow(column, spec, kind):
    if hasattr(column, "mjd"):  # an astropy Time, without the cost of its import
        mask, values = np.asarray(column.mask), np.asarray(column.utc.mjd)
    else:
        mask = np.asarray(getattr(column, "mask", False))
        values = getattr(column, "unmasked", column)
        values = in_unit(values, spec)
    if values.ndim != 1:
        msg = f"column {spec.name!r} must have one value per row, got {values.shape}"
        raise InvalidRowsError(msg)
    mask = np.broadcast_to(mask, values.shape).copy()
    if mask.all():
        return pa.nulls(len(values), kind)
    if values.dtype.kind == "O":
        missing = np.array([v is None or v is np.ma.masked for v in values])
        mask |= missing
        if mask.all():
            return pa.nulls(len(values), kind)
        values = np.array(values[~mask].tolist())
    else:
        values = values[~mask]
    convert = _text_values if spec.dtype == "str" else _number_values
    values, blank = convert(values, spec)
    mask[np.flatnonzero(~mask)[blank]] = True
    full = np.zeros(len(mask), dtype=object if spec.dtype == "str" else values.dtype)
    full[~mask] = values[~blank]
    try:
        return pa.array(full, type=kind, mask=mask)
    except UnicodeEncodeError as exc:
        msg = (
            f"column {spec.name!r} must hold Unicode, got {exc.object!r:.60} with half "
            "a character (as names of files have that are not UTF-8); replace it"
        )
        raise InvalidRowsError(msg) from exc


def in_unit(column, spec):
    """
    Return the values of a column in the unit that an index has them in.

    Parameters
    ----------
    column : `~astropy.table.Column` or array
        Values, with a unit or without.
    spec : `ColumnSpec`
        Name and unit of the column of the index.

    Returns
    -------
    values : `~numpy.ndarray`
        As they are where there is no unit.

    Raises
    ------
    InvalidRowsError
        If the unit is one of another quantity.
    """
    unit = getattr(column, "unit", None)
    if unit is None or spec.dtype == "str" or spec.unit is None or unit == spec.unit:
        return np.asarray(column)
    try:
        return u.Quantity(column, unit).to_value(spec.unit)
    except (TypeError, u.UnitConversionError) as exc:
        msg = f"column {spec.name!r} must be in {spec.unit}, got {unit}"
        raise InvalidRowsError(msg) from exc


def _wrong_type(values, spec):
    msg = f"column {spec.name!r} must hold {spec.dtype} values, got {values.dtype}"
    if spec.dtype == "str" and values.dtype.kind in "iu":
        msg += f'; convert with table["{spec.name}"].astype(str)'
    return InvalidRowsError(msg)


def _text_values(values, spec):
    if values.dtype.kind == "S":
        try:
            values = np.char.decode(values, "utf-8")
        except UnicodeDecodeError as exc:
            msg = f"column {spec.name!r} holds bytes that are not UTF-8: {exc}"
            raise InvalidRowsError(msg) from exc
    if values.dtype.kind != "U" or values.ndim != 1:
        raise _wrong_type(values, spec)
    return values.astype(object), np.strings.strip(values) == ""


def _number_values(values, spec):
    dtype = np.dtype(spec.dtype)
    allowed = {"f": "fiu", "i": "iu", "b": "b"}[dtype.kind]
    if values.dtype.kind not in allowed or values.ndim != 1:
        raise _wrong_type(values, spec)
    if dtype.kind == "i":
        limits = np.iinfo(dtype)
        if values.min() < limits.min or values.max() > limits.max:
            msg = f"column {spec.name!r} holds numbers that do not fit {spec.dtype}"
            raise InvalidRowsError(msg)
    if dtype.kind != "f":
        return values.astype(dtype), np.zeros(len(values), dtype=bool)
    blank = np.isnan(values)
    if spec.name in _FINITE and np.isinf(values).any():
        msg = f"column {spec.name!r} must be finite (NaN or masked if unknown)"
        raise InvalidRowsError(msg)
    if spec.name == "s_dec" and (np.abs(values[~blank]) > 90).any():
        worst = values[~blank][np.abs(values[~blank]).argmax()]
        msg = f"column 's_dec' must be within -90 to 90 deg, got {worst}"
        raise InvalidRowsError(msg)
    if spec.name == "s_ra":
        values = np.mod(values.astype(np.float64), 360.0)
    return values.astype(dtype), blank


def column_from_arrow(array, spec):
    """
    Turn an Arrow array into a table column.

    Parameters
    ----------
    array : `pyarrow.Array` or `pyarrow.ChunkedArray`
        Values; null is missing.
    spec : `ColumnSpec`
        Name, type, unit, description and UCD of the column.

    Returns
    -------
    column : `~astropy.table.Column` or `~astropy.table.MaskedColumn`
        Masked only if a value is missing.
    """
    filler = {"str": "", "bool": False}.get(spec.dtype, 0)
    if np.dtype(spec.dtype).kind == "f":
        filler = np.nan
    mask = array.is_null().to_numpy(zero_copy_only=False) if array.null_count else None
    if mask is not None:
        array = array.fill_null(filler)
    if isinstance(array, pa.ChunkedArray):
        array = array.combine_chunks()
    if spec.dtype == "str":
        data = np.array(array.to_pylist(), dtype=str)
        if data.dtype.itemsize == 0:
            data = data.astype("U1")
    else:
        data = array.to_numpy(zero_copy_only=False)
        data = data if data.flags.writeable else data.copy()
    options = {
        "name": spec.name,
        "unit": spec.unit,
        "description": spec.description or None,
        "meta": {"ucd": spec.ucd} if spec.ucd else None,
        "copy": False,
    }
    if mask is None:
        return Column(data, **options)
    return MaskedColumn(data, mask=mask, **options)
