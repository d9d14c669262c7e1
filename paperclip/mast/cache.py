# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""
Answers of the archive on disk, to be used again.

Each answer is a Parquet file with its rows and a JSON file that says what was
asked, when, and which SHA-256 the rows have. An entry that does not fit its
SHA-256, or cannot be read, counts as none and is replaced by the next answer.
"""

import hashlib
import json
import threading
import time
from contextlib import suppress
from datetime import UTC, datetime, timedelta

import numpy as np
from astropy import units as u
from astropy.table import MaskedColumn, Table

from paperclip.exceptions import InvalidQueryError, RemoteServiceWarning
from paperclip.utils.files import atomic_path, cache_directory, sha256_of
from paperclip.utils.warn import warn_user

__all__ = ["cache_dir", "clear_cache", "list_cached", "load_answer", "store_answer"]

_VERSION = 1
_FRESH = 30 * 86400.0  # seconds after which an answer is asked for anew
_KINDS = {"U": "str", "i": "int64", "f": "float64", "b": "bool"}
_lock = threading.Lock()


def cache_dir():
    """
    Return the folder of stored answers, creating it when missing.

    Returns
    -------
    path : `~pathlib.Path`
        ``mast`` below ``paperclip.conf.cache_dir``, or below the astropy
        cache of this package.
    """
    path = cache_directory() / "mast"
    path.mkdir(parents=True, exist_ok=True)
    return path


def list_cached():
    """
    List the stored answers.

    Returns
    -------
    table : `~astropy.table.Table`
        One row per answer, the newest first: ``key``, ``service``, ``query``
        (what was asked, JSON), ``rows``, ``size`` (bytes) and ``stored``
        (time, UTC, ISO 8601). Damaged entries are left out.
    """
    entries = []
    for path in sorted(cache_dir().glob("*.json")):
        about = _read_about(path)
        if about is None:
            continue
        rows = path.with_suffix(".parquet")
        try:
            size = path.stat().st_size + rows.stat().st_size
        except OSError:
            continue
        query = json.dumps(about["query"], sort_keys=True)
        stored = about["stored"]
        service = str(about["query"].get("service", ""))
        entries.append((path.stem, service, query, about["rows"], size, stored))
    entries.sort(key=lambda entry: entry[-1], reverse=True)
    table = Table(
        rows=entries or None,
        names=("key", "service", "query", "rows", "size", "stored"),
        dtype=(str, str, str, "i8", "i8", str),
    )
    table["size"].unit = u.byte
    return table


def clear_cache(*, older_than=None):
    """
    Delete stored answers, damaged ones included.

    Parameters
    ----------
    older_than : `~astropy.units.Quantity`, `~datetime.timedelta` or float, optional
        Delete only what was stored longer ago; a number is in days. Everything
        when not given.

    Returns
    -------
    n : int
        Answers that were deleted.

    Raises
    ------
    InvalidQueryError
        If ``older_than`` is not a length of time.
    """
    seconds = None if older_than is None else _seconds(older_than)
    n = 0
    folder = cache_dir()
    for path in [*folder.glob("*.json"), *folder.glob("*.parquet")]:
        if not path.is_file():
            continue
        if seconds is not None and time.time() - path.stat().st_mtime < seconds:
            continue
        n += path.suffix == ".json"
        path.unlink(missing_ok=True)
    return n


def _seconds(older_than):
    """Return a length of time in seconds."""
    try:
        if isinstance(older_than, timedelta):
            seconds = older_than.total_seconds()
        elif isinstance(older_than, u.Quantity) or hasattr(older_than, "to_value"):
            seconds = float(older_than.to_value(u.s))
        else:
            seconds = float(older_than) * 86400
    except (TypeError, ValueError, u.UnitsError):
        seconds = np.nan
    if not seconds >= 0:
        msg = (
            "older_than must be a number of days, a timedelta or a Quantity of time, "
            f"0 or more; got {older_than!r}"
        )
        raise InvalidQueryError(msg)
    return seconds


def _key(query):
    """Return the name of the files of a query."""
    text = json.dumps(query, sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:40]


def _read_about(path):
    """Return the description of an entry, or None when it is damaged."""
    try:
        about = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return None
    needed = {"version": int, "query": dict, "rows": int, "stored": str}
    needed |= {"sha256": str, "meta": dict, "columns": dict}
    good = isinstance(about, dict) and all(
        isinstance(about.get(name), kind) for name, kind in needed.items()
    )
    return about if good and about["version"] == _VERSION else None


def load_answer(query, *, any_age=False):
    """
    Return the stored answer to a query.

    Parameters
    ----------
    query : dict
        What is asked, as JSON can hold it.
    any_age : bool, optional
        Take also what was stored more than 30 days ago.

    Returns
    -------
    table : `~astropy.table.Table` or None
        None when there is none, or it is damaged or old.
    """
    try:
        path = cache_dir() / f"{_key(query)}.json"
    except OSError:
        return None
    about = _read_about(path)
    if about is None:
        return None
    try:
        age = datetime.now(UTC) - datetime.fromisoformat(about["stored"])
    except (ValueError, TypeError):
        return None
    if not any_age and not 0 <= age.total_seconds() < _FRESH:
        return None
    rows = path.with_suffix(".parquet")
    try:
        if sha256_of(rows) != about["sha256"]:
            return None
    except OSError:
        return None
    return _read_rows(rows, about)


def _read_rows(path, about):
    """Return the rows of an entry, or None when they cannot be read."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        found = pq.read_table(path)
    except (OSError, pa.ArrowException):
        return None
    if found.column_names != list(about["columns"]):
        return None
    table = Table(meta=about["meta"])
    for name, kind in about["columns"].items():
        values = found.column(name)
        mask = values.is_null().to_numpy()
        if kind == "str":
            texts = ["" if text is None else text for text in values.to_pylist()]
            table[name] = MaskedColumn(texts, mask=mask, dtype=str)
        else:
            filled = values.fill_null(False if kind == "bool" else 0)
            table[name] = MaskedColumn(filled.to_numpy(), mask=mask, dtype=kind)
    return table


def store_answer(query, table):
    """
    Store an answer; a disk that is full or read-only is only warned about.

    Parameters
    ----------
    query : dict
        What was asked, as JSON can hold it.
    table : `~astropy.table.Table`
        What came: masked columns of text, numbers and bool.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    columns = {name: _KINDS[table[name].dtype.kind] for name in table.colnames}
    arrays = []
    for name, kind in columns.items():
        column = table[name]
        mask = np.broadcast_to(getattr(column, "mask", False), len(column))
        dtype = pa.string() if kind == "str" else kind.replace("float64", "double")
        values = np.ma.getdata(column)
        values = values.astype(object) if kind == "str" else values
        arrays.append(pa.array(values, type=dtype, mask=np.array(mask)))
    rows = pa.Table.from_arrays(arrays, names=list(columns))
    try:
        path = cache_dir() / f"{_key(query)}.json"
        # one writer at a time: the temporary names depend on the process only
        with _lock:
            with suppress(FileNotFoundError):
                path.unlink()
            with atomic_path(path.with_suffix(".parquet")) as part:
                pq.write_table(rows, part)
                digest = sha256_of(part)
            about = {
                "version": _VERSION,
                "query": query,
                "rows": len(table),
                "stored": datetime.now(UTC).isoformat(timespec="seconds"),
                "sha256": digest,
                "columns": columns,
                "meta": dict(table.meta),
            }
            with atomic_path(path) as part:
                part.write_text(json.dumps(about, default=str), encoding="utf-8")
    except OSError as exc:
        msg = f"an answer of the archive could not be stored for later use: {exc}"
        warn_user(msg, RemoteServiceWarning)
