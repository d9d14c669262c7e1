# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""A new index from the rows of files, in one commit and bounded memory."""

import os
from pathlib import Path

import pyarrow as pa

from paperclip.exceptions import (
    ExportError,
    IndexExistsError,
    IndexWriteError,
    InvalidRowsError,
    PaperclipError,
)
from paperclip.index._commit import STORAGE
from paperclip.index._files import local_path
from paperclip.index.formats._places import new_folder
from paperclip.index.schema import KEY

__all__ = ["file_batches", "load_index"]


def load_index(batches, uri, plan, *, storage_options=None):
    """
    Write rows of files as a new index.

    Parameters
    ----------
    batches : iterator of `pyarrow.Table`
        Rows of the file.
    uri : str or path-like
        Place of the new index; nothing must be there.
    plan : `Plan`
        What becomes of the columns.
    storage_options : dict, optional
        For an object store.

    Returns
    -------
    index : `~paperclip.index.Index`
        The new index.

    Raises
    ------
    IndexExistsError
        If there is something already.
    InvalidRowsError
        If the rows do not fit; there is no new index then.
    IndexWriteError
        If the index cannot be written.
    """
    from paperclip.index.store import Index

    text, path = local_path(uri)
    options = {} if storage_options is None else {"storage_options": storage_options}
    if path is None:
        _write(batches, text, plan, options)
        return Index.open(uri, **options)
    if path.exists() and (not path.is_dir() or any(path.iterdir())):
        msg = f"there is something at {path} already; choose another place"
        raise IndexExistsError(msg)
    try:
        with new_folder(path, overwrite=True, mark="_versions") as part:
            _write(batches, str(part / "index"), plan, options)
            for item in (part / "index").iterdir():
                item.rename(part / item.name)
            (part / "index").rmdir()
            _flush(part)
    except ExportError as exc:
        msg = f"the index {path} cannot be written: {exc}"
        raise IndexWriteError(msg) from exc
    return Index.open(uri)


def _write(batches, uri, plan, options):
    """Write all rows and commit once."""
    import lance

    try:
        first = next(batches, None)
    except (OSError, ValueError, pa.ArrowException) as exc:
        raise _unreadable(plan.source, exc) from exc
    if first is not None:
        plan.set_dimension(first)
    schema = plan.schema()
    failed, keys = [], []

    def rows():
        # an error inside of the writer would lose its class on the way out
        try:
            start, batch = 0, first
            while batch is not None:
                found = plan.rows(batch, schema, start)
                keys.extend(found[KEY].chunks)
                yield from found.to_batches()
                start += len(batch)
                batch = next(batches, None)
            _check_unique(keys, plan.source)
        except PaperclipError as exc:
            failed.append(exc)
            raise
        except (OSError, ValueError, pa.ArrowException) as exc:
            failed.append(_unreadable(plan.source, exc))
            raise

    reader = pa.RecordBatchReader.from_batches(schema, rows())
    try:
        lance.write_dataset(
            reader, uri, mode="create", data_storage_version=STORAGE, **options
        )
    except (OSError, ValueError, RuntimeError, pa.ArrowException) as exc:
        if failed:
            raise failed[0] from None
        if "already exists" in str(exc):
            msg = f"there is an index at {uri} already; choose another place"
            raise IndexExistsError(msg) from exc
        msg = f"cannot write the index {uri}: {str(exc)[:300]}"
        raise IndexWriteError(msg) from exc


def _unreadable(source, exc):
    msg = f"{source} cannot be read: {str(exc)[:300]}"
    return InvalidRowsError(msg)


def _check_unique(keys, source):
    counts = pa.chunked_array(keys, pa.string()).value_counts()
    counts = counts.filter(pa.compute.greater(counts.field("counts"), 1))
    if len(counts):
        msg = (
            f"{source}: {KEY} must be unique; {len(counts)} are repeated, among them "
            f"{counts[0]['values'].as_py()!r}"
        )
        raise InvalidRowsError(msg)


def _flush(folder):
    """Make files survive a loss of power before they get their name."""
    items = [folder, *folder.rglob("*")]
    for item in items:
        if item.is_dir() and os.name == "nt":
            continue
        number = os.open(item, os.O_RDONLY)
        try:
            os.fsync(number)
        finally:
            os.close(number)


def file_batches(path, size):
    """
    Yield the rows of a Parquet file.

    Parameters
    ----------
    path : `~pathlib.Path`
        The file.
    size : int
        Rows of a batch.

    Yields
    ------
    rows : `pyarrow.Table`
        In the order of the file.
    """
    import pyarrow.parquet as pq

    with pq.ParquetFile(Path(path)) as file:
        for batch in file.iter_batches(batch_size=size):
            yield pa.Table.from_batches([batch])
