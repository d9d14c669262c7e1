# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""The calls that open, create and change the stored table."""

import time
from contextlib import contextmanager

import pyarrow as pa

from paperclip.exceptions import (
    IndexExistsError,
    IndexNotFoundError,
    IndexWriteError,
    RemoteServiceError,
)
from paperclip.index._files import (
    LOCK,
    check_files,
    flush_to_disk,
    looks_like_index,
    newest_complete_version,
    writer_lock,
)
from paperclip.index._snapshot import Snapshot, reading

__all__ = ["commit_delete", "commit_rows", "create_table", "open_snapshot"]

_STORAGE = "2.2"  # later formats are not read by every Lance client


@contextmanager
def _writing(uri):
    try:
        yield
    except (OSError, ValueError, RuntimeError, pa.ArrowException) as exc:
        msg = (
            f"cannot write to the index {uri}, which stays as it was: {str(exc)[:300]}"
        )
        raise IndexWriteError(msg) from exc


def open_snapshot(uri, path, cache_limit):
    """
    Open the newest version of a stored table.

    Parameters
    ----------
    uri : str
        Absolute path or object-store URI.
    path : `~pathlib.Path` or `None`
        The same as a local path, if it is one.
    cache_limit : int
        See `paperclip.index.Index.open`.

    Returns
    -------
    snapshot : `~paperclip.index._snapshot.Snapshot`
        With the sizes of its files checked, if they are local.

    Raises
    ------
    IndexNotFoundError, DamagedIndexError, RemoteServiceError
        If it cannot be opened.
    """
    import lance

    if path is None:
        try:
            dataset = lance.dataset(uri)
        except (OSError, ValueError, RuntimeError) as exc:
            if "was not found" in str(exc):
                msg = (
                    f"no index at {uri}; build one with 'paperclip index build', or "
                    "create an empty one with Index.create"
                )
                raise IndexNotFoundError(msg) from exc
            msg = f"cannot open the index {uri}: {str(exc)[:300]}"
            raise RemoteServiceError(msg, url=uri) from exc
        return Snapshot(dataset, uri, cache_limit=cache_limit)
    version = newest_complete_version(path)
    with reading(uri):
        dataset = lance.dataset(uri, version=version)
        check_files(path, dataset)
    return Snapshot(dataset, uri, cache_limit=cache_limit)


def create_table(uri, path, schema, *, overwrite):
    """
    Commit a table without rows.

    Parameters
    ----------
    uri : str
        Absolute path or object-store URI.
    path : `~pathlib.Path` or `None`
        The same as a local path, if it is one.
    schema : `pyarrow.Schema`
        Columns and metadata.
    overwrite : bool
        Replace the rows and columns of a table that is there.

    Raises
    ------
    IndexExistsError
        If something is there already.
    IndexWriteError
        If the place cannot be written.
    """
    import lance

    if path is not None:
        _make_folder(path, overwrite=overwrite)
    since = time.time()
    with writer_lock(path):
        try:
            with _writing(uri):
                lance.write_dataset(
                    schema.empty_table(),
                    uri,
                    mode="overwrite" if overwrite else "create",
                    data_storage_version=_STORAGE,
                )
        except IndexWriteError as exc:
            if "already exists" in str(exc):
                raise IndexExistsError(_exists(uri)) from exc
            raise
        flush_to_disk(path, since=since)


def commit_rows(uri, path, rows, version):
    """
    Write rows and then commit them in one step.

    Parameters
    ----------
    uri : str
        Absolute path or object-store URI.
    path : `~pathlib.Path` or `None`
        The same as a local path, if it is one.
    rows : `pyarrow.Table`
        Rows with the schema of the index.
    version : int
        The version that the rows were checked against.

    Returns
    -------
    dataset : `lance.LanceDataset`
        The committed version, on disk.

    Raises
    ------
    IndexWriteError
        If it failed; the rows that were written are removed.
    """
    import lance
    from lance.fragment import write_fragments

    since = time.time()
    with _writing(uri):
        fragments = write_fragments(
            rows, uri, schema=rows.schema, data_storage_version=_STORAGE
        )
    names = [data.path for fragment in fragments for data in fragment.files]
    files = [] if path is None else [path / "data" / name for name in names]
    committed = False
    try:
        flush_to_disk(path, since=since, files=files)
        with _writing(uri):
            dataset = lance.LanceDataset.commit(
                uri, lance.LanceOperation.Append(fragments), read_version=version
            )
        committed = True
    finally:
        if not committed:
            for item in files:
                item.unlink(missing_ok=True)
    flush_to_disk(path, since=since)
    return dataset


def commit_delete(uri, path, predicate):
    """
    Delete rows in one commit.

    Parameters
    ----------
    uri : str
        Absolute path or object-store URI.
    path : `~pathlib.Path` or `None`
        The same as a local path, if it is one.
    predicate : str
        SQL condition of the rows to delete.

    Returns
    -------
    dataset : `lance.LanceDataset`
        The committed version, on disk.

    Raises
    ------
    IndexWriteError
        If it failed.
    """
    import lance

    since = time.time()
    with _writing(uri):
        dataset = lance.dataset(uri)
        dataset.delete(predicate)
    flush_to_disk(path, since=since)
    return dataset


def _exists(place):
    return (
        f"there is an index at {place} already; open it with Index.open, or "
        "replace it with overwrite=True"
    )


def _make_folder(path, *, overwrite):
    if path.exists() and not path.is_dir():
        msg = f"{path} is a file; an index needs a directory of its own"
        raise IndexExistsError(msg)
    own = {LOCK, "_transactions"}  # left by a creation that was interrupted
    if (
        path.is_dir()
        and not looks_like_index(path)
        and any(item.name not in own for item in path.iterdir())
    ):
        msg = f"{path} holds other files; an index needs a directory of its own"
        raise IndexExistsError(msg)
    if path.is_dir() and looks_like_index(path) and not overwrite:
        raise IndexExistsError(_exists(path))
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as exc:
        msg = f"cannot create the folder {path}: {exc}; choose another place"
        raise IndexWriteError(msg) from exc
