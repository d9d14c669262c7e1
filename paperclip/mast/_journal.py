# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""Records that survive a crash, and a lock that does not."""

import errno
import json
import os
import time
from contextlib import contextmanager, suppress

from paperclip.exceptions import DataSetError, DataSetWriteError

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None

__all__ = [
    "PART",
    "Journal",
    "lock_folder",
    "remove_parts",
    "write_all",
    "write_error",
]

PART = ".part-"  # what the names of unfinished files begin with
_HELD = {errno.EAGAIN, errno.EACCES, errno.EWOULDBLOCK, errno.EDEADLK}
_GROUP = 32  # records between two calls of fsync


def write_error(path, exc):
    """
    Return the error that says why a file could not be written.

    Parameters
    ----------
    path : path-like
        What was being written.
    exc : OSError
        What the system said.

    Returns
    -------
    error : DataSetWriteError
        To be raised by the caller, from ``exc``.
    """
    msg = (
        f"cannot write {os.fspath(path)!r}: {exc.strerror or exc}. What was finished "
        "before is intact; make room or choose a folder that can be written, and "
        "run the same call again to go on"
    )
    return DataSetWriteError(exc.errno, msg)


def write_all(stream, data):
    """
    Write to a file without a buffer, however little fits in one step.

    Parameters
    ----------
    stream : `~io.RawIOBase`
        Opened with ``buffering=0``, so that nothing is left to fail on close.
    data : bytes
        What to write.

    Raises
    ------
    OSError
        If the disk is full or fails.
    """
    rest = memoryview(data)
    while rest:
        rest = rest[stream.write(rest) :]


class Journal:
    """
    A file of JSON lines that is only ever appended to.

    Parameters
    ----------
    path : `~pathlib.Path`
        Where it is or will be.
    """

    def __init__(self, path):
        self.path = path
        self._stream = None
        self._unsynced = 0

    def read(self):
        """
        Yield the records, without what a crash left of the last one.

        Yields
        ------
        record : dict
            One line; lines that are not a JSON object are passed over.
        """
        try:
            stream = self.path.open("rb")
        except FileNotFoundError:
            return
        with stream:
            for line in stream:
                with suppress(ValueError):
                    record = json.loads(line)
                    if isinstance(record, dict):
                        yield record

    def append(self, record):
        """
        Add a record; it is safe from a kill at once, from power loss soon.

        Parameters
        ----------
        record : dict
            Values that JSON knows.

        Raises
        ------
        DataSetWriteError
            If the disk is full or cannot be written.
        """
        line = json.dumps(record, separators=(",", ":")).encode() + b"\n"
        try:
            if self._stream is None:
                self._stream = self._open()
            write_all(self._stream, line)
            self._unsynced += 1
            if self._unsynced >= _GROUP:
                self.sync()
        except OSError as exc:
            raise write_error(self.path, exc) from exc

    def _open(self):
        """Open at the end, on a new line if the last one is torn."""
        stream = self.path.open("ab+", buffering=0)
        if stream.tell():
            stream.seek(-1, os.SEEK_END)
            if stream.read(1) != b"\n":
                write_all(stream, b"\n")
        return stream

    def sync(self):
        """Write to the disk what was appended since the last time."""
        if self._stream is not None and self._unsynced:
            os.fsync(self._stream.fileno())
        self._unsynced = 0

    def close(self):
        """Close the file; the next record opens it again."""
        if self._stream is not None:
            with suppress(OSError):
                self.sync()
            self._stream.close()
            self._stream = None

    def clear(self):
        """Forget all records, which are in the manifest now."""
        if self._stream is not None:
            self._stream.close()
            self._stream = None
        self._unsynced = 0
        self.path.unlink(missing_ok=True)


@contextmanager
def lock_folder(folder, *, wait=0.0):
    """
    Keep other processes from writing to a folder.

    The lock ends with the process, however it ends.

    Parameters
    ----------
    folder : `~pathlib.Path`
        Folder that exists.
    wait : float, optional
        Seconds to wait for another process.

    Raises
    ------
    DataSetError
        If another process, or another thread, holds the lock.
    DataSetWriteError
        If the folder cannot be written.
    """
    path = folder / ".paperclip.lock"
    try:
        stream = path.open("ab")
    except OSError as exc:
        raise write_error(path, exc) from exc
    with stream:
        until = time.monotonic() + wait
        while not _try_lock(stream):
            if time.monotonic() >= until:
                msg = (
                    f"another process is writing to {os.fspath(folder)!r}; wait until "
                    "it has finished, or choose another folder"
                )
                raise DataSetError(msg)
            time.sleep(0.05)
        yield


def _try_lock(stream):
    """Take the lock of an open file; return False if another has it."""
    try:
        if fcntl is not None:
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        else:
            import msvcrt

            stream.seek(0)
            msvcrt.locking(stream.fileno(), msvcrt.LK_NBLCK, 1)
    except OSError as exc:
        # other errors come from file systems that know no locks
        return exc.errno not in _HELD
    return True


def remove_parts(folder):
    """
    Remove the unfinished files that a killed process left.

    Parameters
    ----------
    folder : `~pathlib.Path`
        It is searched with all that is below it. The caller holds its lock.
    """
    for path in folder.rglob(f"{PART}*"):
        if path.is_file() or path.is_symlink():
            try:
                path.unlink(missing_ok=True)
            except OSError as exc:
                raise write_error(path, exc) from exc
