# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""Indexes of VOTable, FITS and ECSV files, through astropy."""

import warnings
from pathlib import Path

import numpy as np

from paperclip.exceptions import InvalidQueryError, InvalidRowsError
from paperclip.results import COLUMNS

__all__ = ["TABLES", "import_table"]

TABLES = {
    ".ecsv": "ascii.ecsv",
    ".fit": "fits",
    ".fits": "fits",
    ".vot": "votable",
    ".xml": "votable",
}
"""Formats that `import_table` reads, by the end of the name."""

_READ = 8192  # rows written at a time


def import_table(
    path,
    uri,
    *,
    fingerprint=None,
    model=None,
    vector="vector",
    rename=None,
    columns=None,
    storage_options=None,
):
    """
    Make an index of a VOTable, FITS or ECSV file.

    Parameters
    ----------
    path : path-like
        A file of ``Index.export(..., vectors=True)``, or any other one with a
        column of vectors. Its name ends in ``.vot``, ``.xml``, ``.fits``,
        ``.fit`` or ``.ecsv``.
    uri : str or path-like
        Place of the new index; nothing must be there.
    fingerprint : str, optional
        Fingerprint of the model that made the vectors, where the file does
        not say it.
    model : str, optional
        Name of that model.
    vector : str, optional
        Column of the vectors, arrays of one length.
    rename : mapping of str to str, optional
        Names in the index by names in the file.
    columns : sequence of str, optional
        Columns of the file to keep; all when not given. Columns that no
        index has become extra columns.
    storage_options : dict, optional
        For an object store.

    Returns
    -------
    index : `~paperclip.index.Index`
        The new index.

    Raises
    ------
    InvalidQueryError
        If an argument is wrong, or the fingerprint is not known.
    InvalidRowsError
        If the file cannot be read, lacks ``obs_id`` or vectors, or holds what
        an index cannot hold.
    ModelMismatchError
        If another model made the vectors than the one given.
    IndexExistsError
        If there is something at the place already.

    Notes
    -----
    The rows are held in memory. Units are converted; blank texts are missing
    ones. Vectors that were written from an index come back to the bit.
    """
    from paperclip.index.formats._load import load_index
    from paperclip.index.formats._plan import Plan
    from paperclip.index.schema import nearest

    path = Path(path).expanduser()
    table = _read(path)
    rename = dict(rename or {})
    if vector not in table.colnames:
        hint = nearest(vector, table.colnames, then="Name it with vector=")
        msg = f"{path} has no column {vector!r} of vectors{hint}"
        raise InvalidRowsError(msg)
    if columns is not None:  # others need not be of a type that an index has
        kept = {*columns, *rename, vector}
        table = table[[name for name in table.colnames if name in kept]]
    rows = _to_arrow(table, vector, rename, str(path))
    plan = Plan(
        rows.schema,
        str(path),
        fingerprint=fingerprint,
        model=model,
        vector=vector,
        rename=rename,
        columns=columns,
    )
    batches = (rows[start : start + _READ] for start in range(0, len(rows), _READ))
    return load_index(batches, uri, plan, storage_options=storage_options)


def _read(path):
    from astropy.table import Table
    from astropy.units import UnitsWarning

    kind = TABLES.get(path.suffix.lower())
    if kind is None:
        msg = f"path must end in one of {', '.join(TABLES)}, got {str(path)!r}"
        raise InvalidQueryError(msg)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UnitsWarning)  # they are kept as they are
            table = Table.read(path, format=kind)
            if kind == "votable":
                table.meta.update(_infos(path))
    except (OSError, ValueError, TypeError, KeyError, IndexError) as exc:
        msg = f"{path} cannot be read as {kind.removeprefix('ascii.').upper()}: {exc}"
        raise InvalidRowsError(msg) from exc
    table.meta = {str(key).lower(): value for key, value in table.meta.items()}
    return table


def _infos(path):
    from astropy.io.votable import parse

    resources = parse(path).resources
    return {item.name: item.value for part in resources for item in part.infos}


def _to_arrow(table, vector, rename, source):
    """Return a table as Arrow, with what it says of itself and of its columns."""
    import pyarrow as pa

    arrays, fields = [], []
    for name in table.colnames:
        column = table[name]
        if name == vector:
            array = _vectors(column, table.meta, source)
        else:
            array = _values(name, column, COLUMNS.get(rename.get(name, name)), source)
        info = column.info
        facts = {
            "unit": "" if info.unit is None else info.unit.to_string(),
            "description": info.description or "",
            "ucd": (info.meta or {}).get("ucd") or "",
        }
        facts = {key: value for key, value in facts.items() if value}
        arrays.append(array)
        fields.append(pa.field(name, array.type, metadata=facts))
    known = {"fingerprint": table.meta.get("model"), "model": table.meta.get("modname")}
    known = {f"paperclip:{key}": str(value) for key, value in known.items() if value}
    return pa.Table.from_arrays(arrays, schema=pa.schema(fields, metadata=known))


def _values(name, column, spec, source):
    import pyarrow as pa

    from paperclip.index._rows import in_unit

    mask = np.asarray(getattr(column, "mask", False))
    if hasattr(column, "mjd"):
        values = np.asarray(column.utc.mjd)
    elif not hasattr(column, "dtype"):
        msg = (
            f"{source}: the column {name!r} is a {type(column).__name__}, which an "
            "index cannot hold; name the columns to keep with columns=[...]"
        )
        raise InvalidRowsError(msg)
    else:
        values = column if spec is None else in_unit(column, spec)
        values = np.asarray(np.ma.getdata(np.ma.asarray(values)))
    if values.ndim != 1:
        msg = (
            f"{source}: the column {name!r} has more than one value per row; name the "
            "column of vectors with vector=, and those to keep with columns=[...]"
        )
        raise InvalidRowsError(msg)
    mask = np.broadcast_to(mask, values.shape)
    if values.dtype.kind == "S":
        values = np.strings.decode(values, "utf-8", "replace")
    if values.dtype.kind in "OU":
        texts = np.where(mask, "", values.astype(object))
        return pa.array([str(text) for text in texts], pa.string(), mask=mask)
    native = values.astype(values.dtype.newbyteorder("="))
    return pa.array(native, mask=mask, from_pandas=native.dtype.kind == "f")


def _vectors(column, meta, source):
    """Return vectors, of half precision if nothing is lost by that."""
    import pyarrow as pa

    values = np.ma.getdata(np.ma.asarray(column))
    if not len(values) and values.ndim == 1:
        values = np.empty((0, int(meta.get("dim") or 1)), np.float16)
    if values.ndim != 2 or values.dtype.kind not in "fiu":
        msg = (
            f"{source}: the column {column.info.name!r} must hold vectors, arrays of "
            "numbers of one length; name another one with vector="
        )
        raise InvalidRowsError(msg)
    values = values.astype(values.dtype.newbyteorder("="))
    with np.errstate(over="ignore"):
        half = values.astype(np.float16)
    if (half == values).all():
        values = half
    flat = pa.array(np.ascontiguousarray(values).ravel())
    return pa.FixedSizeListArray.from_arrays(flat, values.shape[1])
