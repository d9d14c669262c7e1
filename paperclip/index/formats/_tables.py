# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""Subsets of an index as VOTable, FITS, ECSV and CSV, through astropy."""

import io
import json
import re
import unicodedata
import warnings
from itertools import count
from pathlib import Path

import numpy as np

from paperclip.exceptions import ExportError, PaperclipWarning
from paperclip.index._selecting import half_vectors, iter_rows
from paperclip.index._streaming import rows_to_table
from paperclip.index.formats._places import new_file
from paperclip.index.formats._schema import (
    chosen_rows,
    facts_of,
    outer_schema,
    stored_names,
)
from paperclip.index.schema import VECTOR

__all__ = ["export_csv", "export_ecsv", "export_fits", "export_votable", "rows_of"]

# characters that XML cannot hold
_NOT_XML = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\ud800-\udfff\ufffe\uffff]")
_SHORT = {"fingerprint": "model", "model": "modname"}


def rows_of(index, *, columns=None, vectors=False, **conditions):
    """
    Return rows of an index as a table, with or without their vectors.

    Parameters
    ----------
    index : `~paperclip.index.Index`
        The index.
    columns : sequence of str, optional
        Columns wanted; all when not given.
    vectors : bool, optional
        Add a column ``vector`` (float32, shape (d,)).
    **conditions
        ``where``, ``region`` and the other conditions of
        `paperclip.index.Index.search`.

    Returns
    -------
    table : `~astropy.table.Table`
        In row order. ``meta`` holds ``index``, ``indexver``, ``model`` (the
        fingerprint), ``modname`` and ``dim`` (length of a vector).

    Raises
    ------
    InvalidQueryError
        If an argument is wrong.
    """
    import pyarrow as pa

    snapshot = index._snapshot
    names = stored_names(snapshot, columns, vectors=vectors)
    schema = outer_schema(snapshot, names)
    addresses, asked = chosen_rows(snapshot, conditions)
    parts = list(iter_rows(snapshot, names, addresses=addresses))
    rows = pa.concat_tables([schema.empty_table().select(names), *parts])
    plain = [name for name in names if name != VECTOR]
    table = rows_to_table(rows, plain, snapshot.specs)
    if vectors:
        table[VECTOR] = half_vectors(rows).astype(np.float32)
        table[VECTOR].description = "Vector of the picture"
    facts = facts_of(schema.metadata)
    table.meta.update(asked, index=str(index.uri), indexver=index.version)
    table.meta["dim"] = index.dimension
    table.meta.update({short: facts.get(name, "") for name, short in _SHORT.items()})
    return table


def export_votable(
    index, path, *, columns=None, vectors=False, overwrite=False, **conditions
):
    """
    Write rows of an index as a VOTable.

    Parameters
    ----------
    index : `~paperclip.index.Index`
        The index.
    path : path-like
        Name of the file.
    columns : sequence of str, optional
        Columns to write; all when not given.
    vectors : bool, optional
        Write the vectors as well.
    overwrite : bool, optional
        Replace a file that is there.
    **conditions
        ``where``, ``region`` and the other conditions of
        `paperclip.index.Index.search`.

    Returns
    -------
    path : `~pathlib.Path`
        The file. VOTable has no missing text: it is blank there.

    Raises
    ------
    ExportError
        If there is a file already, or it cannot be written.
    """
    table = rows_of(index, columns=columns, vectors=vectors, **conditions)
    return write_table(table, path, "votable", overwrite=overwrite)


def export_fits(
    index, path, *, columns=None, vectors=False, overwrite=False, **conditions
):
    """
    Write rows of an index as a FITS table.

    Parameters
    ----------
    index : `~paperclip.index.Index`
        The index.
    path : path-like
        Name of the file.
    columns : sequence of str, optional
        Columns to write; all when not given.
    vectors : bool, optional
        Write the vectors as well.
    overwrite : bool, optional
        Replace a file that is there.
    **conditions
        ``where``, ``region`` and the other conditions of
        `paperclip.index.Index.search`.

    Returns
    -------
    path : `~pathlib.Path`
        The file. Truth values are 0 and 1 there where some are missing.

    Raises
    ------
    ExportError
        If there is a file already, or it cannot be written.

    Warns
    -----
    PaperclipWarning
        If texts have characters that FITS, which is ASCII, cannot hold: they
        are spelt without accents.
    """
    table = rows_of(index, columns=columns, vectors=vectors, **conditions)
    return write_table(table, path, "fits", overwrite=overwrite)


def export_ecsv(
    index, path, *, columns=None, vectors=False, overwrite=False, **conditions
):
    """
    Write rows of an index as ECSV.

    Parameters
    ----------
    index : `~paperclip.index.Index`
        The index.
    path : path-like
        Name of the file.
    columns : sequence of str, optional
        Columns to write; all when not given.
    vectors : bool, optional
        Write the vectors as well.
    overwrite : bool, optional
        Replace a file that is there.
    **conditions
        ``where``, ``region`` and the other conditions of
        `paperclip.index.Index.search`.

    Returns
    -------
    path : `~pathlib.Path`
        The file.

    Raises
    ------
    ExportError
        If there is a file already, or it cannot be written.
    """
    table = rows_of(index, columns=columns, vectors=vectors, **conditions)
    return write_table(table, path, "ecsv", overwrite=overwrite)


def export_csv(index, path, *, columns=None, overwrite=False, **conditions):
    """
    Write rows of an index as CSV, without units and without vectors.

    Parameters
    ----------
    index : `~paperclip.index.Index`
        The index.
    path : path-like
        Name of the file.
    columns : sequence of str, optional
        Columns to write; all when not given.
    overwrite : bool, optional
        Replace a file that is there.
    **conditions
        ``where``, ``region`` and the other conditions of
        `paperclip.index.Index.search`.

    Returns
    -------
    path : `~pathlib.Path`
        The file.

    Raises
    ------
    ExportError
        If there is a file already, or it cannot be written.
    """
    table = rows_of(index, columns=columns, **conditions)
    return write_table(table, path, "csv", overwrite=overwrite)


def write_table(table, path, kind, *, overwrite):
    """
    Write a table in one of the formats of this module.

    Parameters
    ----------
    table : `~astropy.table.Table`
        What to write; it is left as it is.
    path : path-like
        Name of the file.
    kind : str
        "votable", "fits", "ecsv" or "csv".
    overwrite : bool
        Replace a file that is there.

    Returns
    -------
    path : `~pathlib.Path`
        The file.

    Raises
    ------
    ExportError
        If there is a file already, or it cannot be written.
    """
    with new_file(path, overwrite=overwrite) as part:
        try:
            _WRITERS[kind](table, part)
        except (ValueError, TypeError) as exc:
            msg = f"{path} cannot be written: {exc}"
            raise ExportError(msg) from exc
    return Path(path).expanduser().absolute()


def votable_bytes(table, *, version="1.4"):
    """
    Return a table as the text of a VOTable.

    Parameters
    ----------
    table : `~astropy.table.Table`
        Columns may have ``ucd`` and ``utype`` in their ``meta``.
    version : str, optional
        Version of the format.

    Returns
    -------
    content : bytes
        XML; ``meta`` of the table are ``INFO`` elements.
    """
    from astropy.io.votable import from_table
    from astropy.io.votable.tree import Info

    plain = table.copy()
    plain.meta.clear()
    _widen(plain)
    for column in plain.itercols():
        if column.dtype.kind == "U":
            for i, value in enumerate(column):
                if isinstance(value, str) and _NOT_XML.search(value):
                    column[i] = _NOT_XML.sub(" ", value)
    votable = from_table(plain)
    votable.version = version
    for field in votable.get_first_table().fields:
        facts = table[field.name].info.meta or {}
        field.ucd = facts.get("ucd")
        field.utype = facts.get("utype")
        if field.datatype in ("char", "unicodeChar") and table[field.name].ndim == 1:
            field.arraysize = "*"
    for key, value in table.meta.items():
        text = value if isinstance(value, str) else json.dumps(value, default=str)
        info = Info(name=_NOT_XML.sub(" ", str(key)), value=_NOT_XML.sub(" ", text))
        votable.resources[0].infos.append(info)
    stream = io.BytesIO()
    votable.to_xml(stream)
    return stream.getvalue()


def _write_votable(table, path):
    path.write_bytes(votable_bytes(table))


def _write_fits(table, path):
    plain, changed = table.copy(), 0
    for name in plain.colnames:
        if plain[name].dtype.kind == "U":
            changed += _to_ascii(plain, name)
    _widen(plain)
    for name in plain.colnames:
        _mark_gaps(plain, name)
    for key, value in list(plain.meta.items()):
        if isinstance(value, str):
            plain.meta[key] = _ascii(value)
    if changed:
        msg = (
            f"{changed} texts are spelt without their accents, because FITS is ASCII; "
            "Parquet, VOTable and ECSV keep them"
        )
        warnings.warn(msg, PaperclipWarning, stacklevel=4)
    # a long value of the header becomes a comment of its own
    plain.write(path, format="fits", overwrite=True)


def _widen(table):
    """Turn integers of one byte, which neither FITS nor VOTable has, into two."""
    for name in table.colnames:
        if table[name].dtype == np.int8:
            table.replace_column(name, table[name].astype(np.int16))


def _mark_gaps(table, name):
    """Let a number that no row has stand for what is missing."""
    column = table[name]
    if column.dtype.kind not in "bi" or not np.any(getattr(column, "mask", False)):
        return
    if column.dtype.kind == "b":
        table.replace_column(name, column.astype(np.int16))
        column = table[name]
    taken = set(column.compressed().tolist())
    numbers = count(np.iinfo(column.dtype).min)
    column.fill_value = next(number for number in numbers if number not in taken)


def _to_ascii(table, name):
    """Spell the texts of a column in ASCII; return how many changed."""
    column = table[name]
    values = np.asarray(getattr(column, "filled", lambda _: column)(""))
    foreign = [i for i, value in enumerate(values.tolist()) if not value.isascii()]
    if foreign:
        texts = values.astype(object)
        for i in foreign:
            texts[i] = _ascii(texts[i])
        new = type(column)(texts.astype(str), name=name)
        if hasattr(column, "mask"):
            new.mask = column.mask
        new.description, new.meta = column.description, column.meta
        table.replace_column(name, new)
    return len(foreign)


def _ascii(text):
    flat = unicodedata.normalize("NFKD", text)
    flat = "".join(c for c in flat if not unicodedata.combining(c))
    return flat.encode("ascii", "replace").decode()


def _write_ecsv(table, path):
    table.write(path, format="ascii.ecsv", overwrite=True)


def _write_csv(table, path):
    table.write(path, format="ascii.csv", overwrite=True)


_WRITERS = {
    "votable": _write_votable,
    "fits": _write_fits,
    "ecsv": _write_ecsv,
    "csv": _write_csv,
}
