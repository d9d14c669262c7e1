# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""Where an index is; the lock, durability and damage of a local one."""

import os
import re
import threading
import time
import warnings
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
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
    "Place",
    "check_files",
    "durable",
    "flush_folder",
    "local_path",
    "looks_like_index",
    "newest_complete_version",
    "writer_lock",
]

LOCK = ".paperclip-lock"
_LAST = 2**64 - 1  # Lance names manifests so that the newest sorts first
_MANIFEST = re.compile(r"[0-9]+\.manifest")
_WRITTEN = ("data", "_deletions", "_indices", "_transactions", "_versions")
# small files that are written again in place
_RENEWED = ("_versions/latest_version_hint.json", "_refs/tags/*")
_held = threading.local()  # locks of this thread, by path


@dataclass(frozen=True)
class Place:
    """
    Where an index is.

    Parameters
    ----------
    uri : str
        Absolute path or object-store URI.
    path : `~pathlib.Path` or `None`
        The same as a local path, if it is one.
    options : dict of str to str, optional
        Options of the object store; they may hold secrets.
    """

    uri: str
    path: Path | None = None
    options: dict | None = field(default=None, repr=False)

    @classmethod
    def of(cls, uri, storage_options=None):
        """
        Check what a user gave.

        Parameters
        ----------
        uri : str or path-like
            A directory, a ``file://`` URI or an object-store URI.
        storage_options : mapping of str to str, optional
            Options of the object store.

        Returns
        -------
        place : `Place`
            With an absolute path or the URI as it was.

        Raises
        ------
        InvalidQueryError
            If ``uri`` is neither text nor a path, or is blank, or the options
            are not text.
        """
        text, path = local_path(uri)
        if storage_options is None:
            return cls(text, path)
        try:
            options = dict(storage_options)
        except (TypeError, ValueError):
            options = {None: None}
        if not all(isinstance(word, str) for pair in options.items() for word in pair):
            msg = (
                "storage_options must map names to texts, for example "
                '{"aws_region": "us-east-1"}'
            )
            raise InvalidQueryError(msg)
        return cls(text, path, options or None)


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
    Let one process, and one thread of it, at a time write to a local index.

    Parameters
    ----------
    path : `~pathlib.Path` or `None`
        Directory of the index; nothing is locked when it is `None`. A thread
        that holds the lock may take it again.

    Raises
    ------
    IndexWriteError
        If the directory cannot be written.

    Notes
    -----
    The lock is that of the operating system (``flock`` or ``LockFile``): it
    ends with its process, however that dies.
    """
    held = _held.__dict__.setdefault("paths", set())
    if path is None or path in held:
        yield
        return
    from filelock import FileLock

    with ExitStack() as stack:
        try:
            lock = FileLock(path / LOCK)
            stack.enter_context(lock.acquire(poll_interval=0.02))
        except OSError as exc:
            msg = (
                f"cannot write to the index {path}: {exc}; copy it to a folder of "
                "your own and change the copy"
            )
            raise IndexWriteError(msg) from exc
        held.add(path)
        stack.callback(held.discard, path)
        yield


@contextmanager
def durable(path):
    """
    Make what is written within survive a loss of power; Lance does not sync.

    Parameters
    ----------
    path : `~pathlib.Path` or `None`
        Directory of the index; nothing is done when it is `None`.

    Raises
    ------
    IndexWriteError
        If the system cannot say that all is on disk.
    """
    if path is None:
        yield
        return
    before = _listing(path)
    yield
    try:
        after = _listing(path)
        new = [p / n for p in after for n in after[p] - before.get(p, set())]
        files, folders = [], [path, *after]
        for item in new:
            inside = [item, *item.rglob("*")] if item.is_dir() else [item]
            folders += [p for p in inside if p.is_dir()]
            files += [p for p in inside if not p.is_dir()]
        files += [p for pattern in _RENEWED for p in path.glob(pattern)]
        folders += path.glob("_refs/**/")
        for item in files if os.name == "nt" else [*files, *folders]:
            _sync(item)
    except OSError as exc:
        msg = (
            f"cannot flush the index {path} to its disk: {exc}; look after the disk, "
            "then see with Index.versions what is there"
        )
        raise IndexWriteError(msg) from exc


def flush_folder(path):
    """
    Make the names of what is in a folder survive a loss of power.

    Parameters
    ----------
    path : `~pathlib.Path`
        The folder; nothing is done where it cannot be opened.
    """
    if os.name != "nt":
        with suppress(OSError):
            _sync(path)


def _listing(path):
    folders = (path / name for name in _WRITTEN)
    return {item: set(_names(item)) for item in folders if item.is_dir()}


def _names(folder):
    """Return names as text: an index may have many thousand files."""
    with os.scandir(folder) as entries:
        return [entry.name for entry in entries]


def _sync(path):
    try:
        handle = os.open(path, os.O_RDWR if os.name == "nt" else os.O_RDONLY)
    except FileNotFoundError:  # a file that another process has cleaned up
        return
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
    folder = path / "_versions"
    names = sorted(n for n in _names(folder) if _MANIFEST.fullmatch(n))
    filled = next((n for n in names if (folder / n).stat().st_size), None)
    if filled is None:
        msg = (
            f"{path} is damaged: no version has a readable manifest; restore the "
            "folder from a copy or build the index again"
        )
        raise DamagedIndexError(msg)
    empty = [folder / name for name in names[: names.index(filled)]]
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
        return _LAST - int(filled.removesuffix(".manifest"))
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
    parts = dataset.get_fragments()
    if not parts:
        return
    with os.scandir(path / "data") as entries:
        there = {entry.name: entry for entry in entries}
    for data in (data for part in parts for data in part.metadata.files):
        name, expected = data.path, data.file_size_bytes
        size = there[name].stat().st_size if name in there else None
        if size is None or (expected is not None and size != expected):
            found = "is missing" if size is None else f"has {size} bytes"
            msg = (
                f"{path} is damaged: data file {name} {found}, expected "
                f"{expected} bytes; restore the folder from a copy or build the "
                "index again, or go back to an older version with restore"
            )
            raise DamagedIndexError(msg)
