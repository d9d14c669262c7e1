# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""Write a stream of tables to one file, page by page."""

import io
import json
import re
import tempfile
from contextlib import nullcontext
from pathlib import Path

import numpy as np
from astropy.table import Table

from paperclip.exceptions import ExportError, InvalidQueryError
from paperclip.index.formats._parquet import longest_texts, write_parquet
from paperclip.index.formats._places import new_file
from paperclip.index.schema import nearest

__all__ = ["STREAMED", "write_pages"]

STREAMED = {
    ".csv": "csv",
    ".ecsv": "ecsv",
    ".parquet": "parquet",
    ".vot": "votable",
    ".xml": "votable",
}
"""Formats that can be written page by page, by the end of the name."""


def write_pages(pages, path, *, format=None, overwrite=False):  # noqa: A002
    """
    Write the pages of a stream to one file.

    Parameters
    ----------
    pages : iterable of `~astropy.table.Table`
        At least one, all with the same columns, as from
        `paperclip.index.Index.iter_search`.
    path : path-like
        Name of the file.
    format : str, optional
        ``"csv"``, ``"ecsv"``, ``"parquet"`` or ``"votable"``; by default what
        the end of the name says.
    overwrite : bool, optional
        Replace a file that is there.

    Returns
    -------
    n_rows : int
        Rows written.

    Raises
    ------
    InvalidQueryError
        If the format is unknown.
    ExportError
        If there is a file already, it cannot be written, or there are no
        pages.

    Notes
    -----
    No more than a page is held in memory, and of Parquet one row group, some
    100 MB. The file gets its name when the last page is written.
    """
    kind = page_format(path, format)
    n_rows = 0
    with (
        new_file(path, overwrite=overwrite) as part,
        part.open("wb") as stream,
        _spool(kind, part) as spool,
    ):
        writer = None
        for page in pages:
            if writer is None:
                writer = _WRITERS[kind](stream, page, spool)
            writer.write(page)
            n_rows += len(page)
        if writer is None:
            msg = f"there are no pages to write to {path}"
            raise ExportError(msg)
        writer.close()
    return n_rows


def _spool(kind, part):
    if kind != "parquet":
        return nullcontext()
    return tempfile.TemporaryFile(dir=part.parent)


def page_format(path, wanted=None):
    """
    Return the format of a file of pages.

    Parameters
    ----------
    path : path-like
        Name of the file.
    wanted : str, optional
        Format asked for.

    Returns
    -------
    kind : str
        A value of `STREAMED`.

    Raises
    ------
    InvalidQueryError
        If it is none that can be written page by page.
    """
    kinds = list(dict.fromkeys(STREAMED.values()))
    if wanted is not None:
        if wanted not in kinds:
            msg = f"there is no format {wanted!r} of streams{nearest(wanted, kinds)}"
            raise InvalidQueryError(msg)
        return wanted
    kind = STREAMED.get(Path(path).suffix.lower())
    if kind is None:
        msg = (
            f"the name of a stream's file must end in {', '.join(STREAMED)}, got "
            f"{str(path)!r}"
        )
        raise InvalidQueryError(msg)
    return kind


class _Csv:
    def __init__(self, stream, first, _):
        self._stream = stream
        self._write(first[:0], "ascii.csv", skip=0)

    def _write(self, table, kind, skip):
        text = io.StringIO()
        table.write(text, format=kind)
        lines = text.getvalue().splitlines(keepends=True)
        self._stream.write("".join(lines[skip:]).encode())

    def write(self, page):
        if len(page):
            self._write(page, "ascii.csv", skip=1)

    def close(self):
        pass


class _Ecsv(_Csv):
    """The header is that of the first page; texts have no length in ECSV."""

    def __init__(self, stream, first, _):
        self._stream = stream
        head = _plain(first[:0])
        facts = {k: v for k, v in first.meta.items() if k != "page"}
        head.meta = json.loads(json.dumps(facts, default=str))
        self._write(head, "ascii.ecsv", skip=0)

    def write(self, page):
        if len(page):
            self._write(page, "ascii.ecsv", skip=self._header(page))

    def _header(self, page):
        text = io.StringIO()
        page[:0].write(text, format="ascii.ecsv")
        return len(text.getvalue().splitlines())


def _plain(table):
    """Return a table whose columns are not masked; it has no rows."""
    return Table([table.Column(column) for column in table.itercols()], copy=False)


class _Votable:
    """The rows of each page go between the head and the tail of the first."""

    _HEAD = re.compile(rb"\A.*?<TABLEDATA>\n?", re.DOTALL)
    _TAIL = re.compile(rb"[ ]*</TABLEDATA>.*\Z", re.DOTALL)

    def __init__(self, stream, first, _):
        self._stream = stream
        row = Table(first[:0], copy=True)
        row.meta = {k: v for k, v in first.meta.items() if k != "page"}
        head, _, tail = self._parts(_one_row(row))
        stream.write(head)
        self._end = tail

    def _parts(self, table):
        from paperclip.index.formats._tables import votable_bytes

        content = votable_bytes(table)
        head = self._HEAD.search(content).end()
        tail = self._TAIL.search(content, head).start()
        return content[:head], content[head:tail], content[tail:]

    def write(self, page):
        if len(page):
            bare = page.copy(copy_data=False)
            bare.meta.clear()
            self._stream.write(self._parts(bare)[1])

    def close(self):
        self._stream.write(self._end)


def _one_row(table):
    """Return a table of one row, so that the head names the data."""
    meta = dict(table.meta)
    columns = []
    for column in table.itercols():
        data = np.zeros(1, column.dtype)
        new = table.Column(data, name=column.name, unit=column.unit)
        new.description, new.meta = column.description, column.meta
        columns.append(new)
    made = Table(columns)
    made.meta.update(meta)
    return made


class _Parquet:
    """
    Rows wait on the disk until all have come.

    What astropy wants to know of a file, such as the columns in which values are
    missing, decides which columns the file has.
    """

    def __init__(self, stream, first, spool):
        import pyarrow as pa

        self._stream, self._spool = stream, spool
        self._schema = _arrow_schema(first)
        self._meta = {k: v for k, v in first.meta.items() if k != "page"}
        self._gaps, self._longest = set(), {}
        options = pa.ipc.IpcWriteOptions(compression="zstd")
        self._writer = pa.ipc.new_stream(spool, self._schema, options=options)

    def write(self, page):
        import pyarrow as pa

        if not len(page):
            return
        arrays = []
        for field in self._schema:
            column = page[field.name]
            mask = np.ma.getmaskarray(np.ma.asarray(column))
            values = np.asarray(column)
            values = values.astype(object) if values.dtype.kind == "U" else values
            arrays.append(pa.array(values, type=field.type, mask=mask))
        rows = pa.Table.from_arrays(arrays, schema=self._schema)
        self._gaps |= {n for n in rows.column_names if rows[n].null_count}
        self._longest = longest_texts(rows, self._longest)
        self._writer.write_table(rows)

    def close(self):
        import pyarrow as pa

        self._writer.close()
        self._spool.seek(0)
        with pa.ipc.open_stream(self._spool) as reader:
            write_parquet(
                self._stream,
                (pa.Table.from_batches([batch]) for batch in reader),
                self._schema,
                [name for name in self._schema.names if name in self._gaps],
                self._longest,
                meta=json.loads(json.dumps(self._meta, default=str)),
            )


def _arrow_schema(page):
    import pyarrow as pa

    fields = []
    for name in page.colnames:
        info = page[name].info
        kind = (
            pa.string()
            if page[name].dtype.kind == "U"
            else pa.from_numpy_dtype(page[name].dtype)
        )
        facts = {
            "unit": "" if info.unit is None else info.unit.to_string(),
            "description": info.description or "",
            "ucd": (info.meta or {}).get("ucd", ""),
        }
        facts = {key: value for key, value in facts.items() if value}
        fields.append(pa.field(name, kind, metadata=facts))
    meta = {k: json.dumps(v, default=str) for k, v in page.meta.items() if k != "page"}
    return pa.schema(fields, metadata=meta)


_WRITERS = {"csv": _Csv, "ecsv": _Ecsv, "parquet": _Parquet, "votable": _Votable}
