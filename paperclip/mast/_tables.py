# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""Tables of astropy to and from Arrow, which keeps long text small."""

import numpy as np
from astropy.table import Column, MaskedColumn, Table

from paperclip.exceptions import DataSetError
from paperclip.results import describe_columns

__all__ = ["from_arrow", "row_schema", "text_column", "to_arrow"]


def row_schema(specs):
    """
    Return the Arrow schema of column definitions.

    Parameters
    ----------
    specs : sequence of ColumnSpec
        Names and types.

    Returns
    -------
    schema : `pyarrow.Schema`
        All columns may hold nulls.
    """
    import pyarrow as pa

    types = {
        spec.dtype: pa.from_numpy_dtype(spec.dtype)
        for spec in specs
        if spec.dtype != "str"
    } | {"str": pa.large_string()}
    return pa.schema([pa.field(spec.name, types[spec.dtype]) for spec in specs])


def to_arrow(table, specs):
    """
    Return columns of a table as Arrow; those that it lacks are all null.

    Parameters
    ----------
    table : `~astropy.table.Table`
        Units are converted to those of the definitions.
    specs : sequence of ColumnSpec
        Columns wanted.

    Returns
    -------
    arrow : `pyarrow.Table`
        Masked values and NaN are null.

    Raises
    ------
    DataSetError
        If a column cannot be turned into its type.
    """
    import pyarrow as pa

    schema = row_schema(specs)
    arrays = []
    for spec, field in zip(specs, schema, strict=True):
        if spec.name not in table.colnames:
            arrays.append(pa.nulls(len(table), field.type))
            continue
        column = table[spec.name]
        try:
            text = spec.dtype == "str"
            values = _texts(column) if text else _numbers(column, spec)
            arrays.append(pa.array(values, field.type, from_pandas=True))
        except (TypeError, ValueError, ArithmeticError, pa.ArrowException) as exc:
            msg = f"column {spec.name!r} cannot be read as {spec.dtype}: {exc}"
            raise DataSetError(msg) from exc
    return pa.table(arrays, schema=schema)


def _texts(column):
    """Return a list of str, None where masked."""
    mask = np.broadcast_to(getattr(column, "mask", False), len(column))
    values = [
        value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)
        for value in np.asarray(column).tolist()
    ]
    return [None if gone else value for value, gone in zip(values, mask, strict=True)]


def _numbers(column, spec):
    """Return numbers in the unit of the definition, None where masked."""
    mask = np.broadcast_to(getattr(column, "mask", False), len(column))
    values = np.ma.getdata(np.ma.asarray(getattr(column, "value", column)))
    values = values.astype(spec.dtype)
    unit = getattr(column, "unit", None)
    if spec.unit is not None and unit is not None and unit != spec.unit:
        values = unit.to(spec.unit, values)
    return np.ma.masked_array(values, mask | _nan(values)).tolist()


def _nan(values):
    return np.isnan(values) if values.dtype.kind == "f" else False


def from_arrow(arrow, specs):
    """
    Return Arrow columns as a table with units and descriptions.

    Parameters
    ----------
    arrow : `pyarrow.Table`
        Rows.
    specs : sequence of ColumnSpec
        Definitions of its columns.

    Returns
    -------
    table : `~astropy.table.Table`
        Columns with nulls are masked.
    """
    table = Table()
    for spec in specs:
        column = arrow[spec.name].combine_chunks()
        if spec.dtype == "str":
            values = column.to_pylist()
            mask = [value is None for value in values]
            data = np.array([value or "" for value in values], dtype=str)
            if not values:
                data = np.array([], dtype=spec.numpy_dtype)
        else:
            mask = np.asarray(column.is_null())
            data = column.fill_null(0).to_numpy(zero_copy_only=False)
            data = data.astype(spec.dtype)
        if np.any(mask):
            table[spec.name] = MaskedColumn(data, mask=mask)
        else:
            table[spec.name] = data
    return describe_columns(table, specs={spec.name: spec for spec in specs})


def text_column(values):
    """
    Return a column of text, masked where there is None.

    Parameters
    ----------
    values : list of str or None
        One for each row.

    Returns
    -------
    column : `~astropy.table.Column`
        As wide as the longest text.
    """
    mask = [value is None for value in values]
    width = max([1, *(len(value) for value in values if value is not None)])
    data = [value or "" for value in values]
    if any(mask):
        return MaskedColumn(data, mask=mask, dtype=f"U{width}")
    return Column(data, dtype=f"U{width}")
