# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""Folders with the records of an evaluation."""

import json
import shutil
import tempfile
from pathlib import Path

import numpy as np
from astropy.table import Table

from paperclip.exceptions import DataSetError, DataSetWriteError

__all__ = ["check_place", "read_records", "write_records"]

FORMAT = 1
_SETTINGS = "evaluation.json"
_TABLES = ("pictures", "queries")
_MOST = 1 << 20  # bytes of settings
_NEEDED = {
    "pictures": (
        "subset", "key", "group", "caption", "right", "shuffled", "loss", "above",
        "tied", "candidates", "above_text", "tied_text", "candidates_text", "batch",
    ),
    "queries": (
        "subset", "method", "query", "text", "group", "n_right", "within", "first",
        "ap", "ndcg", "top", "top_right",
    ),
}  # fmt: skip


def check_place(folder):
    """
    Refuse a folder that holds something else than an evaluation.

    Parameters
    ----------
    folder : path-like
        Where records shall go.

    Returns
    -------
    folder : `~pathlib.Path`
        The same.

    Raises
    ------
    DataSetError
        If it is a file, or a folder with other content.
    """
    folder = Path(folder).expanduser()
    if folder.exists() and not folder.is_dir():
        msg = f"records must be a folder, {folder} is a file"
        raise DataSetError(msg)
    if folder.is_dir() and any(folder.iterdir()) and not (folder / _SETTINGS).exists():
        msg = f"records must be a new or empty folder, or an evaluation, got {folder}"
        raise DataSetError(msg)
    return folder


def write_records(folder, pictures, queries, metrics, settings):
    """
    Write an evaluation; an earlier one at the place is replaced at the end.

    Parameters
    ----------
    folder : path-like
        New, empty, or an evaluation.
    pictures, queries, metrics : `~astropy.table.Table`
        What was found.
    settings : dict
        As JSON can hold it.

    Raises
    ------
    DataSetError
        If the place holds something else.
    DataSetWriteError
        If it cannot be written; what was there is intact.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    folder = check_place(folder)
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        part = Path(tempfile.mkdtemp(prefix=f".part-{folder.name}-", dir=folder.parent))
    except OSError as exc:
        msg = f"records cannot be written to {folder}: {exc}"
        raise DataSetWriteError(msg) from exc
    try:
        for name, table in zip(_TABLES, (pictures, queries), strict=True):
            arrays = {n: pa.array(table[n].tolist()) for n in table.colnames}
            pq.write_table(pa.table(arrays), part / f"{name}.parquet")
        metrics = metrics.copy()
        for name in metrics.colnames:
            metrics[name].info.format = None  # all digits
        metrics.write(part / "metrics.ecsv", format="ascii.ecsv")
        text = json.dumps({"format": FORMAT, **settings}, indent=2) + "\n"
        (part / _SETTINGS).write_text(text, encoding="utf-8")
        part.chmod(0o755)
        _put(part, folder)
    except (OSError, pa.ArrowException) as exc:
        msg = f"records cannot be written to {folder}: {exc}"
        raise DataSetWriteError(msg) from exc
    finally:
        shutil.rmtree(part, ignore_errors=True)


def _put(part, folder):
    if not folder.exists():
        part.rename(folder)
        return
    names = [path.name for path in part.iterdir()]
    names.sort(key=lambda name: name == _SETTINGS)  # last
    (folder / _SETTINGS).unlink(missing_ok=True)
    for name in names:
        (part / name).replace(folder / name)


def read_records(folder):
    """
    Read an evaluation.

    Parameters
    ----------
    folder : path-like
        Folder that `write_records` made.

    Returns
    -------
    pictures, queries : `~astropy.table.Table`
        The records.
    settings : dict
        What was measured.

    Raises
    ------
    DataSetError
        If it is no evaluation, or one that is damaged or from a later version.
    """
    folder = Path(folder).expanduser()
    place = folder / _SETTINGS
    if not place.is_file():
        msg = f"{folder} is no evaluation: there is no {_SETTINGS}"
        raise DataSetError(msg)
    try:
        with place.open("rb") as stream:
            settings = json.loads(stream.read(_MOST))
        _check_settings(settings)
    except (OSError, ValueError, RecursionError) as exc:
        msg = f"{place} is damaged: {exc}; evaluate again"
        raise DataSetError(msg) from exc
    tables = [_read_table(folder / f"{name}.parquet", name) for name in _TABLES]
    return (*tables, settings)


def _check_settings(settings):
    kinds = {
        "format": int, "ks": list, "fraction": float, "bootstrap": int, "seed": int,
        "model": dict, "texts": list,
    }  # fmt: skip
    if not isinstance(settings, dict):
        msg = "it must hold a mapping"
        raise ValueError(msg)  # noqa: TRY004 (damage, like the others)
    for name, kind in kinds.items():
        if not isinstance(settings.get(name), kind):
            msg = f"{name} must be of the type {kind.__name__}"
            raise ValueError(msg)  # noqa: TRY004
    if settings["format"] != FORMAT:
        msg = f"it has the format {settings['format']}, this version reads {FORMAT}"
        raise ValueError(msg)


def _read_table(path, name):
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        read = pq.read_table(path, use_threads=False, memory_map=False)
        columns = {n: np.array(read[n].to_pylist()) for n in read.column_names}
    except (OSError, ValueError, pa.ArrowException) as exc:
        msg = f"{path} cannot be read: {exc}; evaluate again"
        raise DataSetError(msg) from exc
    missing = [n for n in _NEEDED[name] if n not in columns]
    odd = [n for n, values in columns.items() if values.dtype == object]
    if missing or odd or not len(read):
        what = f"lacks {missing[0]}" if missing else f"is damaged in {odd or 'all'}"
        msg = f"{path} {what}; evaluate again"
        raise DataSetError(msg)
    return Table(columns)
