# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""One function for all formats that an index can be written in."""

import inspect
from difflib import get_close_matches
from pathlib import Path

from paperclip.exceptions import InvalidQueryError
from paperclip.index._selecting import CONDITIONS
from paperclip.index.formats._coverage import export_moc
from paperclip.index.formats._hats import export_hats
from paperclip.index.formats._obscore import export_obscore
from paperclip.index.formats._parquet import export_parquet
from paperclip.index.formats._tables import (
    export_csv,
    export_ecsv,
    export_fits,
    export_votable,
)
from paperclip.index.schema import nearest

__all__ = ["FORMATS", "export"]

_WRITERS = {
    "hats": export_hats,
    "parquet": export_parquet,
    "votable": export_votable,
    "fits": export_fits,
    "ecsv": export_ecsv,
    "csv": export_csv,
    "moc": export_moc,
    "obscore": export_obscore,
}
FORMATS = tuple(_WRITERS)
"""Formats that `export` writes."""
_ENDS = {
    ".parquet": "parquet",
    ".vot": "votable",
    ".xml": "votable",
    ".fits": "fits",
    ".ecsv": "ecsv",
    ".csv": "csv",
    ".hats": "hats",
    ".moc": "moc",
}


def export(index, path, *, format=None, overwrite=False, **options):  # noqa: A002
    """
    Write an index in a format of astronomy.

    Parameters
    ----------
    index : `~paperclip.index.Index`
        The index.
    path : path-like
        File or folder to write.
    format : str, optional
        One of ``FORMATS``; by default what the end of the name says:
        ``.parquet``, ``.vot``, ``.xml``, ``.fits``, ``.ecsv``, ``.csv``,
        ``.hats`` (a folder) or ``.moc``.
    overwrite : bool, optional
        Replace what is there.
    **options
        Options of the function of the format, ``export_NAME``, and the
        conditions of `paperclip.index.Index.search` that choose rows.

    Returns
    -------
    path : `~pathlib.Path`
        What was written.

    Raises
    ------
    InvalidQueryError
        If the format or an option is unknown; the nearest one is suggested.
    ExportError
        If there is something already, or it cannot be written.
    MissingDependencyError
        If the format needs a package that is not installed.
    """
    writer = _WRITERS[_format_of(path, format)]
    known = [
        name
        for name, item in inspect.signature(writer).parameters.items()
        if item.kind is item.KEYWORD_ONLY
    ]
    for name in options:
        if name not in known and name not in CONDITIONS:
            hint = nearest(name, [*known, *CONDITIONS])
            msg = f"export as {writer.__name__[7:]!r} has no option {name!r}{hint}"
            raise InvalidQueryError(msg)
    return writer(index, path, overwrite=overwrite, **options)


def _format_of(path, wanted):
    if wanted is None:
        try:
            end = Path(path).suffix.lower()
        except TypeError as exc:
            msg = f"path must be the name of a file or folder, got {path!r}"
            raise InvalidQueryError(msg) from exc
        if end not in _ENDS:
            close = get_close_matches(end, _ENDS, n=1)
            hint = f"; did you mean {close[0]!r}?" if close else ";"
            msg = (
                f"the name {str(path)!r} does not say the format{hint} end it in one "
                f"of {', '.join(_ENDS)}, or give format= one of {', '.join(FORMATS)}"
            )
            raise InvalidQueryError(msg)
        return _ENDS[end]
    if wanted not in FORMATS:
        msg = f"there is no format {wanted!r}{nearest(wanted, FORMATS)}"
        raise InvalidQueryError(msg)
    return wanted
