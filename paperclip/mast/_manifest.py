# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""The file in which a folder of pictures keeps what it wants and has."""

import json
import os
from pathlib import PurePosixPath
from types import MappingProxyType

from paperclip.exceptions import DataSetError, InvalidQueryError
from paperclip.mast._journal import write_error
from paperclip.mast._tables import row_schema, to_arrow
from paperclip.mast.names import NameBook, safe_name
from paperclip.results import COLUMNS, ColumnSpec
from paperclip.utils.files import atomic_path

__all__ = [
    "MANIFEST_COLUMNS",
    "NOTHING",
    "new_rows",
    "read_manifest",
    "state_to_arrow",
    "write_manifest",
]

_FORMAT = 1
_KEY = b"paperclip"
_STATUS = {"wanted", "done", "failed"}
_NOT_HERE = {"rank", "similarity", "similarity_percentile"}
_ROW = (
    ColumnSpec("picture_id", "str", None, "Name of the picture in this folder"),
    *(spec for name, spec in COLUMNS.items() if name not in _NOT_HERE),
    ColumnSpec("obsid", "str", None, "Number of the observation in the archive"),
    ColumnSpec("path", "str", None, "Place of the picture below its folder"),
)
_STATE = (
    ColumnSpec("status", "str", None, "wanted, done or failed"),
    ColumnSpec("message", "str", None, "Why it failed"),
    ColumnSpec("width", "int64", "pix", "Width of the picture"),
    ColumnSpec("height", "int64", "pix", "Height of the picture"),
    ColumnSpec("size", "int64", "byte", "Size of the file"),
    ColumnSpec("sha256", "str", None, "SHA-256 of the file"),
    ColumnSpec("retrieved", "str", None, "When it was fetched (UTC, ISO 8601)"),
)
#: The columns of a manifest, by name.
MANIFEST_COLUMNS = MappingProxyType({spec.name: spec for spec in (*_ROW, *_STATE)})
#: What is known of a picture that is only wanted.
NOTHING = MappingProxyType(
    dict.fromkeys([spec.name for spec in _STATE]) | {"status": "wanted"}
)


def write_manifest(path, table, size):
    """
    Replace a manifest in one step.

    Parameters
    ----------
    path : `~pathlib.Path`
        Where it is.
    table : `pyarrow.Table` or None
        All columns; None for a manifest without rows.
    size : int
        Longest side of the pictures.

    Raises
    ------
    DataSetWriteError
        If the disk is full or cannot be written; the old one stays.
    """
    import pyarrow as pa

    if table is None:
        table = row_schema(list(MANIFEST_COLUMNS.values())).empty_table()
    settings = json.dumps({"format": _FORMAT, "size": size})
    table = table.replace_schema_metadata({_KEY: settings.encode()})
    try:
        with atomic_path(path) as part:
            _write_parquet(table, part)
    except pa.ArrowException as exc:
        raise write_error(path, OSError(str(exc))) from exc
    except OSError as exc:
        raise write_error(path, exc) from exc


def _write_parquet(table, path):
    from pyarrow import parquet

    with path.open("wb") as stream:
        parquet.write_table(table, stream, compression="zstd")
        stream.flush()
        os.fsync(stream.fileno())


def read_manifest(path):
    """
    Read a manifest that anybody may have written.

    Parameters
    ----------
    path : `~pathlib.Path`
        Where it is.

    Returns
    -------
    rows : `pyarrow.Table`
        What does not change.
    state : list of dict
        What does, one for each row.
    size : int
        Longest side of the pictures.

    Raises
    ------
    DataSetError
        If it is missing, damaged, of another version, or names a place that
        is not below its folder.
    """
    import pyarrow as pa
    from pyarrow import parquet

    if not path.is_file():
        msg = f"{os.fspath(path.parent)!r} holds no manifest.parquet; is it the folder?"
        raise DataSetError(msg)
    try:
        with path.open("rb") as stream:
            table = parquet.ParquetFile(stream).read()
        settings = json.loads((table.schema.metadata or {})[_KEY])
        form, size = settings["format"], settings["size"]
        table = table.replace_schema_metadata(None)
        table = table.cast(row_schema(list(MANIFEST_COLUMNS.values())))
    except (pa.ArrowException, OSError, ValueError, LookupError, TypeError) as exc:
        msg = f"{os.fspath(path)!r} cannot be read as a manifest of pictures: {exc}"
        raise DataSetError(msg) from exc
    if form != _FORMAT or not isinstance(size, int):
        msg = (
            f"{os.fspath(path)!r} is of version {form!r}, this package reads "
            f"{_FORMAT}; use the version of paperclip that wrote it"
        )
        raise DataSetError(msg)
    rows = table.select([spec.name for spec in _ROW])
    state = table.select([spec.name for spec in _STATE]).to_pylist()
    _check_rows(rows, state, path)
    return rows, state, size


def _check_rows(rows, state, path):
    """Refuse rows that lead out of the folder or stand for one another."""
    seen = set()
    columns = [rows[name].to_pylist() for name in ("picture_id", "path", "dataURI")]
    for number, (name, place, uri) in enumerate(zip(*columns, strict=True)):
        good = bool(name and place and uri) and safe_name(name) == name
        if good:
            parts = PurePosixPath(place).parts
            good = len(parts) == 4 and parts[0] == "pictures"
            good = good and all(safe_name(part) == part for part in parts[1:3])
            good = good and parts[3] == f"{name}.jpg" and "\\" not in place
            good = good and state[number]["status"] in _STATUS
        if not good or name.casefold() in seen:
            msg = (
                f"{os.fspath(path)!r}: row {number} is not one that this package "
                f"wrote (picture_id {name!r}, path {place!r}); restore the file"
            )
            raise DataSetError(msg)
        seen.add(name.casefold())


def state_to_arrow(state):
    """
    Return the changing part of a manifest as Arrow.

    Parameters
    ----------
    state : list of dict
        One for each row.

    Returns
    -------
    table : `pyarrow.Table`
        The same.
    """
    import pyarrow as pa

    return pa.Table.from_pylist(state, row_schema(_STATE))


def new_rows(rows, known):
    """
    Give the rows that are new names and places.

    Parameters
    ----------
    rows : `~astropy.table.Table`
        With ``dataURI``.
    known : dict of str to str
        ``picture_id`` by ``dataURI`` of the rows there are.

    Returns
    -------
    fresh : `pyarrow.Table`
        The rows with a ``dataURI`` that is not known, each one once.
    uris : list of str
        The ``dataURI`` of all rows.

    Raises
    ------
    InvalidQueryError
        If one is missing.
    """
    import pyarrow as pa

    if "dataURI" not in rows.colnames:
        msg = f"rows must have a column 'dataURI', got {rows.colnames}"
        raise InvalidQueryError(msg)
    arrow = to_arrow(rows, _ROW)
    uris = arrow["dataURI"].to_pylist()
    first = {}
    for number, uri in enumerate(uris):
        if not uri:
            msg = f"rows[{number}] has no dataURI; leave such rows out"
            raise InvalidQueryError(msg)
        if uri not in known:
            first.setdefault(uri, number)
    arrow = arrow.take(pa.array(list(first.values()), pa.int64()))
    book = NameBook(known)
    names = [book.name(uri, _stem(uri)) for uri in first]
    places = [
        f"pictures/{safe_name(mission or 'unknown')}/"
        f"{safe_name(proposal or 'unknown')}/{name}.jpg"
        for mission, proposal, name in zip(
            arrow["obs_collection"].to_pylist(),
            arrow["proposal_id"].to_pylist(),
            names,
            strict=True,
        )
    ]
    for column, values in (("picture_id", names), ("path", places)):
        place = arrow.column_names.index(column)
        values = pa.array(values, pa.large_string())
        arrow = arrow.set_column(place, column, values)
    return arrow, uris


def _stem(uri):
    """Return the last part of a URI in lower case and without dots."""
    name = uri.replace("\\", "/").rsplit("/", 1)[-1].lower()
    stem, dot, suffix = name.rpartition(".")
    if dot and suffix in ("jpg", "jpeg", "png", "gif", "tif", "tiff", "webp"):
        name = stem
    return name.replace(".", "_")
