# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""The files of a local index: place, lock, durability, damage."""

import os
import time
import warnings
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit
from urllib.request import url2pathname

from paperclip.exceptions import (
    DamagedIndexError,
    IndexNotFoundError,
    IndexRecoveredWarning,
    IndexWriteError,
    InvalidQueryError,
)

__all__ = [
    "LOCK",
    "check_files",
    "flush_to_disk",
    "local_path",
    "looks_like_index",
    "newest_complete_version",
    "writer_lock",
]

LOCK = ".paperclip-lock"
_LAST = 2**64 - 1  # Lance names manifests so that the newest sorts first
_WRITTEN = ("_deletions", "_transactions", "_versions")


def local_path(uri):
    """
    Split a place into text for Lance and a local path.

    Parameters
    ----------
    uri : str or path-like
        A directory, a ``file://`` URI or an object-store URI.

    Returns
    -------
    uri : str
        Absolute path, or the object-store URI as it was.
    path : `~pathlib.Path` or `None`
        `None` for an object store.

    Raises
    ------
    InvalidQueryError
        If ``uri`` is neither text nor a path, or is blank.
    """
    if not isinstance(uri, (str, os.PathLike)) or not os.fspath(uri):
        msg = f"uri must be a directory or a URI, got {uri!r}"
        raise InvalidQueryError(msg)
    if isinstance(uri, str) and "://" in uri:
        parts = urlsplit(uri)
        if parts.scheme != "file":
            return uri, None
        if parts.netloc not in ("", "localhost"):
            msg = f"uri {uri!r} names the host {parts.netloc!r}; use file:///path"
            raise InvalidQueryError(msg)
        # a URI is cut at '#' and '?', which a path may hold
        uri = url2pathname(uri.split("://", 1)[1].removeprefix(parts.netloc))
    path = Path(uri).expanduser().absolute()
    return str(path), path


def looks_like_index(path):
    """
    Tell whether a local directory holds a Lance table.

    Parameters
    ----------
    path : `~pathlib.Path`
        Directory to look at; it need not exist.

    Returns
    -------
    answer : bool
        True if it has a folder of versions.
    """
    return (path / "_versions").is_dir()


@contextmanager
def writer_lock(path):
    """
    Let one process at a time write to a local index.

    Parameters
    ----------
    path : `~pathlib.Path` or `None`
        Directory of the index; nothing is locked when it is `None`, nor on
        systems without ``fcntl``.

    Raises
    ------
    IndexWriteError
        If the directory cannot be written.
    """
    if path is None:
        yield
        return
    try:
        stream = (path / LOCK).open("ab")
    except OSError as exc:
        msg = (
            f"cannot write to the index {path}: {exc}; copy it to a folder of "
            "your own and change the copy"
        )
        raise IndexWriteError(msg) from exc
    with stream:
        try:
            import fcntl
        except ImportError:  # Windows: a single writer is up to the user
            yield
            return
        fcntl.flock(stream, fcntl.LOCK_EX)
        yield


def flush_to_disk(path, *, since, files=()):
    """
    Make a commit survive a loss of power; Lance itself does not sync.

    Parameters
    ----------
    path : `~pathlib.Path` or `None`
        Directory of the index; nothing is done when it is `None`.
    since : float
        `time.time` before the commit; newer bookkeeping files are synced.
    files : iterable of path-like, optional
        Data files to sync.
    """
    if path is None:
        return
    files = list(files)
    folders = [path]
    for name in _WRITTEN:
        folder = path / name
        if folder.is_dir():
            folders.append(folder)
            files += [p for p in folder.iterdir() if p.stat().st_mtime >= since - 2]
    if (path / "data").is_dir():
        folders.append(path / "data")
    for item in files:
        _sync(item)
    if os.name == "posix":
        for folder in folders:
            _sync(folder)


def _sync(path):
    handle = os.open(path, os.O_RDONLY if os.name == "posix" else os.O_RDWR)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def newest_complete_version(path):
    """
    Find the version to open, setting an empty newest manifest aside.

    Parameters
    ----------
    path : `~pathlib.Path`
        Directory of a local index.

    Returns
    -------
    version : int or `None`
        `None` for the newest; a number if an empty manifest is in the way
        and the directory cannot be written.

    Raises
    ------
    IndexNotFoundError
        If there is nothing at that place.
    DamagedIndexError
        If it is no index, or has no manifest that holds anything.

    Warns
    -----
    IndexRecoveredWarning
        If the newest version was lost.
    """
    if not path.exists():
        msg = (
            f"no index at {path}; build one with 'paperclip index build', or "
            "create an empty one with Index.create"
        )
        raise IndexNotFoundError(msg)
    if not looks_like_index(path):
        msg = f"{path} is not an index: it holds no Lance table; check the path"
        raise DamagedIndexError(msg)
    manifests = sorted((path / "_versions").glob("[0-9]*.manifest"))
    filled = next((p for p in manifests if p.stat().st_size), None)
    if filled is None:
        msg = (
            f"{path} is damaged: no version has a readable manifest; restore the "
            "folder from a copy or build the index again"
        )
        raise DamagedIndexError(msg)
    empty = manifests[: manifests.index(filled)]
    if not empty:
        return None
    msg = (
        f"the newest version of {path} has an empty manifest (power loss or full "
        "disk while it was written); the version before it is used and rows "
        "added since are lost: append them again"
    )
    warnings.warn(msg, IndexRecoveredWarning, stacklevel=4)
    try:
        with writer_lock(path):
            for item in empty:
                if item.exists() and not item.stat().st_size:
                    aside = f"{item.name}.damaged-{time.time_ns()}"
                    item.rename(item.with_name(aside))
    except OSError:  # a folder that cannot be written still opens
        return _LAST - int(filled.stem)
    return None


def check_files(path, dataset):
    """
    Compare the size of every data file with the one in the manifest.

    Parameters
    ----------
    path : `~pathlib.Path`
        Directory of a local index.
    dataset : `lance.LanceDataset`
        The version to check.

    Raises
    ------
    DamagedIndexError
        If a file is missing or has another size.
    """
    for fragment in dataset.get_fragments():
        for data in fragment.metadata.files:
            item = path / "data" / data.path
            expected = data.file_size_bytes
            size = item.stat().st_size if item.exists() else None
            if size is None or (expected is not None and size != expected):
                found = "is missing" if size is None else f"has {size} bytes"
                msg = (
                    f"{path} is damaged: data file {item.name} {found}, expected "
                    f"{expected} bytes; restore the folder from a copy or build "
                    "the index again"
                )
                raise DamagedIndexError(msg)
