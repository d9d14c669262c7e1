# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""Write tables for people and for programs."""

import contextlib
import difflib
import io
import json
import math
import sys
from dataclasses import dataclass
from pathlib import Path

from paperclip.cli.layout import heading_lines, to_text
from paperclip.cli.terminal import clear_status, say
from paperclip.exceptions import InvalidQueryError

__all__ = ["FORMATS", "SUFFIXES", "Destination", "check_new", "new_file"]

FORMATS = ("text", "ecsv", "votable", "csv", "json")
"""Formats of a table."""

SUFFIXES = {
    ".txt": "text",
    ".ecsv": "ecsv",
    ".vot": "votable",
    ".xml": "votable",
    ".csv": "csv",
    ".json": "json",
}
"""Formats by the end of the name of a file."""


def check_new(path, *, overwrite):
    """
    Refuse a file that is there already.

    Parameters
    ----------
    path : `~pathlib.Path` or None
        File to be written, if any.
    overwrite : bool
        Whether it may be replaced.

    Raises
    ------
    OSError
        If it is there and may not be replaced, or is not a file.
    """
    if path is None or not path.exists():
        return
    if not path.is_file():
        msg = f"'{path}' is not a file that can be replaced; give another name"
        raise OSError(msg)
    if not overwrite:
        msg = f"'{path}' exists already; add --overwrite or give another name"
        raise FileExistsError(msg)


@contextlib.contextmanager
def new_file(path):
    """
    Yield a temporary path that becomes ``path`` if the block succeeds.

    Parameters
    ----------
    path : `~pathlib.Path`
        Final name.

    Yields
    ------
    part : `~pathlib.Path`
        Where to write.

    Raises
    ------
    OSError
        If the file cannot be written; it names ``path``.
    """
    from paperclip.utils.files import atomic_path

    try:
        with atomic_path(path) as part:
            yield part
    except OSError as exc:
        msg = f"'{path}' cannot be written: {exc.strerror or exc}"
        raise OSError(msg) from exc


@dataclass(frozen=True)
class Destination:
    """
    Where a table goes, and in which format.

    Parameters
    ----------
    format : str
        One of `FORMATS`.
    path : `~pathlib.Path` or None
        File, or stdout.
    columns : list of str, "all" or None
        Columns wanted; None for the main ones in text, else all.
    """

    format: str
    path: Path | None
    columns: list | str | None

    @classmethod
    def from_args(cls, args):
        """
        Check the options before any work is done.

        Parameters
        ----------
        args : `argparse.Namespace`
            With the options of ``add_output_options``.

        Returns
        -------
        destination : `Destination`
            Ready to `write`.

        Raises
        ------
        OSError
            If the file is there and may not be replaced.
        """
        chosen, path = args.format, None
        if args.output not in (None, "-"):
            path = Path(args.output).expanduser()
            found = SUFFIXES.get(path.suffix.lower())
            if chosen is None and found is None:
                args.fail(
                    f"--output {args.output!r} must end in {', '.join(SUFFIXES)}, "
                    f"or come with --format {{{','.join(FORMATS)}}}"
                )
            chosen = chosen or found
            check_new(path, overwrite=args.overwrite)
        return cls(chosen or "text", path, getattr(args, "columns", None))

    def write(self, table, *, view=None, heading=()):
        """
        Write a table.

        Parameters
        ----------
        table : `~astropy.table.Table`
            What was found.
        view : dict, optional
            Main columns of the text, see `to_text`.
        heading : sequence of (str, object), optional
            Lines in front of the text.

        Raises
        ------
        InvalidQueryError
            If the table has no column of a name that was asked for.
        OSError
            If the file cannot be written.
        """
        if isinstance(self.columns, list):
            table = table[_known(self.columns, table.colnames)]
        if self.format == "text":
            to_screen = self.path is None
            full = self.columns is not None
            text = to_text(table, view or {}, full=full, to_screen=to_screen)
            if heading:
                text = f"{heading_lines(heading)}\n{text}"
        else:
            text = _WRITERS[self.format](table)
        self._emit(text)

    def write_facts(self, facts):
        """
        Write names and values, as lines of text or as a table of one row.

        Parameters
        ----------
        facts : dict of str to str, int or float
            What is to be said.

        Raises
        ------
        OSError
            If the file cannot be written.
        """
        from astropy.table import Table

        if self.format == "text":
            pairs = [(name.replace("_", " "), value) for name, value in facts.items()]
            self._emit(heading_lines(pairs))
        else:
            self._emit(_WRITERS[self.format](Table([facts])))

    def _emit(self, text):
        if self.path is None:
            _to_stdout(text, exact=self.format != "text")
            return
        with new_file(self.path) as part:
            part.write_bytes(text.encode("utf-8", "replace"))
        say(f"table written to {self.path}")


def _known(names, colnames):
    for name in names:
        if name not in colnames:
            near = difflib.get_close_matches(name, colnames, n=1)
            hint = f"did you mean {near[0]!r}? " if near else ""
            msg = f"--columns: no column {name!r}; {hint}There are: "
            raise InvalidQueryError(msg + ", ".join(colnames))
    return names


def _to_stdout(text, *, exact):
    """Write UTF-8 for programs, what the terminal can show for people."""
    clear_status()
    stream = sys.stdout
    if stream is None:  # closed by the caller, as with ">&-"
        return
    if exact and hasattr(stream, "buffer"):
        stream.flush()
        stream.buffer.write(text.encode("utf-8", "replace"))
        return
    encoding = getattr(stream, "encoding", None) or "utf-8"
    stream.write(text.encode(encoding, "replace").decode(encoding))


# ---- formats for programs


def _plain(value):
    """Return a value as JSON and YAML know it; None for missing and NaN."""
    if isinstance(value, str):
        return str(value)
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, dict):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if hasattr(value, "dtype") and getattr(value, "ndim", 0) == 0:
        if value.dtype.kind == "f":
            value = float(str(value))  # the shortest digits, also of a float32
        elif value.dtype.kind in "biu":
            value = value.item()
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    return value if isinstance(value, int) else str(value)


def _column_values(column):
    import numpy as np

    data = np.ma.asarray(column)
    mask = np.ma.getmaskarray(data)
    return [
        None if missing else _plain(value)
        for value, missing in zip(data.data, mask, strict=True)
    ]


def _with_plain_meta(table):
    table = table.copy(copy_data=False)
    meta = _plain(dict(table.meta))
    table.meta.clear()
    table.meta.update(meta)
    return table


def _write_json(table):
    columns = [
        {
            "name": name,
            "unit": None if not (unit := table[name].info.unit) else str(unit),
            "description": table[name].info.description or None,
        }
        for name in table.colnames
    ]
    values = [_column_values(table[name]) for name in table.colnames]
    rows = zip(*values, strict=True)
    rows = [dict(zip(table.colnames, row, strict=True)) for row in rows]
    content = {"meta": _plain(dict(table.meta)), "columns": columns, "rows": rows}
    return json.dumps(content, indent=2, ensure_ascii=False, allow_nan=False) + "\n"


def _write_ecsv(table):
    stream = io.StringIO()
    _with_plain_meta(table).write(stream, format="ascii.ecsv")
    return stream.getvalue()


def _write_csv(table):
    stream = io.StringIO()
    table.write(stream, format="ascii.csv")
    return stream.getvalue()


def _write_votable(table):
    from paperclip.index.formats._tables import votable_bytes

    return votable_bytes(_with_plain_meta(table)).decode()


_WRITERS = {
    "ecsv": _write_ecsv,
    "votable": _write_votable,
    "csv": _write_csv,
    "json": _write_json,
}
