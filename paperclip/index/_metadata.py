# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""Tables that say which file shows which observation."""

import os
from pathlib import Path
from urllib.parse import urlsplit

import numpy as np
from astropy.table import Table

from paperclip.exceptions import InvalidQueryError, InvalidRowsError
from paperclip.index._readers import stem_of
from paperclip.index.schema import KEY, nearest
from paperclip.results import COLUMNS, ColumnSpec

__all__ = [
    "TABLE_SUFFIXES",
    "FileNames",
    "cell",
    "extra_specs",
    "last_part",
    "read_table",
    "texts",
]

# how the names of tables end -> format of astropy
_FORMATS = {
    ".csv": "ascii.csv",
    ".ecsv": "ascii.ecsv",
    ".parquet": "parquet",
    ".vot": "votable",
    ".xml": "votable",
}
TABLE_SUFFIXES = tuple(_FORMATS)
#: Columns that may hold the name of a file, best first.
FILE_COLUMNS = ("path", "file", "filename", "file_name", "productFilename")
_ADDRESSES = ("jpegURL", "dataURI", "dataURL")
_TEXTS = {name for name, spec in COLUMNS.items() if spec.dtype == "str"}


def read_table(path):
    """
    Read a table of observations.

    Parameters
    ----------
    path : path-like
        CSV, ECSV, Parquet or VOTable, by how the name ends.

    Returns
    -------
    table : `~astropy.table.Table`
        Columns of text, ``proposal_id`` for one, are read as text also if
        they hold numbers.

    Raises
    ------
    InvalidRowsError
        If there is no such file or it cannot be read.
    """
    path = Path(path).expanduser()
    form = _FORMATS.get(path.suffix.lower())
    if form is None:
        msg = (
            f"metadata must end in {', '.join(TABLE_SUFFIXES)}, got {os.fspath(path)!r}"
        )
        raise InvalidQueryError(msg)
    options = {}
    if form == "ascii.csv":
        text = {*_TEXTS, *FILE_COLUMNS, *_ADDRESSES}
        options = {"converters": dict.fromkeys(text, str), "guess": False}
    elif form == "votable":
        options = {"use_names_over_ids": True}
    try:
        return Table.read(os.fspath(path), format=form, **options)
    except (OSError, ValueError, LookupError, TypeError, ImportError) as exc:
        text = " ".join(str(exc).split())[:300]
        msg = f"{os.fspath(path)} cannot be read as a table ({form}): {text}"
        raise InvalidRowsError(msg) from exc


def texts(column):
    """
    Return a column as text.

    Parameters
    ----------
    column : `~astropy.table.Column`
        Text, bytes or whole numbers.

    Returns
    -------
    values : list of str
        Blank where a value is masked.
    """
    mask = np.broadcast_to(getattr(column, "mask", False), len(column)).tolist()
    values = np.asarray(getattr(column, "unmasked", column)).tolist()
    return [
        ""
        if gone or value is None
        else value.decode("utf-8", "replace")
        if isinstance(value, bytes)
        else str(value).strip()
        for value, gone in zip(values, mask, strict=True)
    ]


def cell(table, name):
    """
    Return a column as an index takes it.

    Parameters
    ----------
    table : `~astropy.table.Table`
        Table of observations.
    name : str
        One of its columns.

    Returns
    -------
    column : `~astropy.table.Column` or `~astropy.table.MaskedColumn`
        Numbers of programmes and the like as text; everything else as it is.
    """
    column = table[name]
    if name in _TEXTS and getattr(column, "dtype", None) is not None:
        if column.dtype.kind in "iu":
            return np.array(texts(column), dtype=str)
        if column.dtype.kind == "f" and np.isnan(np.ma.filled(column, np.nan)).all():
            return np.zeros(len(column), dtype="U1")
    return column


def extra_specs(table, names):
    """
    Return definitions of columns of a table that no index has by itself.

    Parameters
    ----------
    table : `~astropy.table.Table` or None
        The metadata.
    names : sequence of str
        Columns to be kept.

    Returns
    -------
    specs : list of ColumnSpec
        With the types, units and descriptions of the table.

    Raises
    ------
    InvalidQueryError
        If a name is not in the table or its type cannot be kept.
    """
    known = [] if table is None else table.colnames
    specs = []
    for name in names:
        if name not in known:
            hint = nearest(name, known) if known else "; there is no table of metadata"
            msg = f"extra_columns has the name {name!r}, which is not in it{hint}"
            raise InvalidQueryError(msg)
        column = table[name]
        kind = "str" if column.dtype.kind in "SUO" else column.dtype.name
        about = column.info.description or ""
        try:
            specs.append(ColumnSpec(name, kind, column.info.unit, about))
        except ValueError as exc:
            msg = f"extra_columns has {name!r}: {exc}"
            raise InvalidQueryError(msg) from exc
    return specs


class FileNames:
    """
    Find the row of a file by its name.

    Parameters
    ----------
    table : `~astropy.table.Table`
        With a column ``path``, ``file``, ``filename``, ``file_name`` or
        ``productFilename``, whose folders do not matter where the names alone
        tell the files apart; without one, the names at the end of ``jpegURL``,
        ``dataURI`` and ``dataURL`` and the stems in ``obs_id`` count.

    Raises
    ------
    InvalidRowsError
        If the table has none of these columns, or names a file twice.
    """

    def __init__(self, table):
        self.column = next((n for n in FILE_COLUMNS if n in table.colnames), None)
        self._rows = {}
        self._lasts = {}  # without folders; None where that is not enough
        self._used = set()
        if self.column is not None:
            self._add_files(texts(table[self.column]))
            return
        names = [n for n in (*_ADDRESSES, KEY) if n in table.colnames]
        if not names:
            msg = (
                "metadata must say which file a row belongs to, in a column "
                f"{', '.join(FILE_COLUMNS)} or {KEY}; it has {table.colnames}"
            )
            raise InvalidRowsError(msg)
        self.column = names[0]
        for name in names:
            for number, value in enumerate(texts(table[name])):
                end = last_part(value) if name in _ADDRESSES else value
                if end:
                    self._rows.setdefault(end, number)
                    if name in _ADDRESSES:
                        self._rows.setdefault(stem_of(end), number)

    def _add_files(self, values):
        for number, value in enumerate(values):
            name = value.replace("\\", "/").removeprefix("./")
            if name and self._rows.setdefault(name, number) != number:
                msg = (
                    f"metadata names the file {value!r} in rows {self._rows[name]} and "
                    f"{number}; keep one of them"
                )
                raise InvalidRowsError(msg)
            last = name.rpartition("/")[2]
            self._lasts[last] = number if last not in self._lasts else None

    def find(self, path, root):
        """
        Return the number of the row of a file.

        Parameters
        ----------
        path : str
            The file.
        root : str
            Folder that the names in the table are relative to.

        Returns
        -------
        number : int
            -1 if there is none.
        """
        name = path.rpartition(os.sep)[2]
        below = path.removeprefix(root).lstrip(os.sep).replace(os.sep, "/")
        stem = stem_of(name)
        found = [self._rows.get(key) for key in (path, below, name, stem)]
        found += [self._lasts.get(name), self._lasts.get(stem)]
        number = next((number for number in found if number is not None), -1)
        self._used.add(number)
        return number

    @property
    def n_used(self):
        """Number of rows that belong to a file that was asked for."""
        return len(self._used - {-1})


def last_part(address):
    """
    Return the name of the file at the end of a URI.

    Parameters
    ----------
    address : str
        A path in the query counts too, as in ``?uri=mast:HST/a.jpg``.

    Returns
    -------
    name : str
        Without folders.
    """
    tail = urlsplit(address).query.rpartition("/")[2] if "?" in address else ""
    return tail or address.partition("?")[0].rpartition("/")[2]
