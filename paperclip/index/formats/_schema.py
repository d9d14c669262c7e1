# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""The columns and facts that travel with the rows of an index."""

import warnings

import numpy as np
import pyarrow as pa
from astropy import units as u

from paperclip.exceptions import InvalidRowsError, NoResultsWarning
from paperclip.index._selecting import selected
from paperclip.index.schema import INTERNAL, KEY, VECTOR
from paperclip.results import COLUMNS, ColumnSpec

__all__ = [
    "chosen_rows",
    "facts_of",
    "is_internal",
    "outer_schema",
    "spec_of",
    "stored_names",
]

_PREFIX = b"paperclip:"


def stored_names(snapshot, columns, *, vectors):
    """
    Return the names of stored columns that an export writes.

    Parameters
    ----------
    snapshot : `~paperclip.index._snapshot.Snapshot`
        Version of an index.
    columns : sequence of str or `None`
        Columns asked for; all when `None`.
    vectors : bool
        Add the vector.

    Returns
    -------
    names : list of str
        ``obs_id`` among them.

    Raises
    ------
    InvalidQueryError
        If a name is unknown.
    """
    from paperclip.index._checks import column_names

    names = list(column_names(columns, snapshot.specs))
    if KEY not in names:
        names.insert(0, KEY)
    return [*names, VECTOR] if vectors else names


def chosen_rows(snapshot, conditions):
    """
    Return the rows to be written, and warn if there are none.

    Parameters
    ----------
    snapshot : `~paperclip.index._snapshot.Snapshot`
        Version of an index.
    conditions : dict
        As of `paperclip.index.Index.search`.

    Returns
    -------
    addresses : `~numpy.ndarray` of uint64 or `None`
        Ascending; `None` for all rows.
    facts : dict of str to str
        The conditions for people.

    Warns
    -----
    NoResultsWarning
        If no row fulfils the conditions.
    """
    addresses, facts = selected(snapshot, **conditions)
    if addresses is not None and not len(addresses):
        asked = "; ".join(f"{name}: {value}" for name, value in facts.items())
        msg = f"no row of the index {snapshot.uri} fulfils {asked}"
        warnings.warn(msg, NoResultsWarning, stacklevel=4)
    return addresses, facts


def outer_schema(snapshot, names):
    """
    Return the schema of exported rows.

    Parameters
    ----------
    snapshot : `~paperclip.index._snapshot.Snapshot`
        Version of an index.
    names : list of str
        Stored columns.

    Returns
    -------
    schema : `pyarrow.Schema`
        Units, descriptions and UCDs are metadata of the fields; fingerprint,
        dimension and model those of the whole.
    """
    stored = snapshot.schema.metadata or {}
    facts = {k: v for k, v in stored.items() if k.startswith(_PREFIX)}
    fields = []
    for name in names:
        field = snapshot.schema.field(name)
        if spec := snapshot.specs.get(name):
            meta = {
                "unit": "" if spec.unit is None else spec.unit.to_string(),
                "description": spec.description,
                "ucd": spec.ucd,
            }
            field = field.with_metadata({k: v for k, v in meta.items() if v})
        fields.append(field)
    return pa.schema(fields, metadata=facts)


def facts_of(metadata):
    """
    Return the facts about vectors that an export stored.

    Parameters
    ----------
    metadata : mapping of bytes to bytes or `None`
        Metadata of a schema.

    Returns
    -------
    facts : dict of str to str
        Empty if the file is not of this package.
    """
    return {
        key.removeprefix(_PREFIX).decode(): value.decode("utf-8", "replace")
        for key, value in (metadata or {}).items()
        if key.startswith(_PREFIX)
    }


def spec_of(name, field):
    """
    Return the definition of a column of an index for a field of a file.

    Parameters
    ----------
    name : str
        Name in the index.
    field : `pyarrow.Field`
        The field of the file.

    Returns
    -------
    spec : `ColumnSpec`
        That of this package if it has the name.

    Raises
    ------
    InvalidRowsError
        If an index cannot hold the type.
    """
    if name in COLUMNS:
        return COLUMNS[name]
    kind = field.type.value_type if pa.types.is_dictionary(field.type) else field.type
    meta = {k.decode(): v.decode() for k, v in (field.metadata or {}).items()}
    text = (pa.types.is_string, pa.types.is_large_string, pa.types.is_string_view)
    try:
        if any(test(kind) for test in text) or pa.types.is_null(kind):
            dtype = "str"
        elif pa.types.is_float16(kind):
            dtype = "float32"
        elif pa.types.is_unsigned_integer(kind):
            dtype = "int64"
        else:
            dtype = np.dtype(kind.to_pandas_dtype())
        unit = meta.get("unit")
        unit = None if unit is None else u.Unit(unit, parse_strict="silent")
        return ColumnSpec(
            name, dtype, unit, meta.get("description", ""), meta.get("ucd", "")
        )
    except (TypeError, ValueError, NotImplementedError) as exc:
        msg = (
            f"the column {name!r} is of type {field.type}, which an index cannot "
            "hold; name the columns to keep with columns=[...]"
        )
        raise InvalidRowsError(msg) from exc


def is_internal(name):
    """
    Tell whether a column of a file is bookkeeping of this or another format.

    Parameters
    ----------
    name : str
        Name in the file.

    Returns
    -------
    answer : bool
        True for columns that an index computes itself.
    """
    # __index_level_0__ is the index of pandas
    return name in INTERNAL or name.startswith(("_healpix_", "__index_level_"))
