# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""One run at a time in a directory."""

import errno
import warnings

from paperclip.exceptions import CheckpointError, TrainingWarning

from ._ckptfiles import write_error

__all__ = ["LOCK", "lock_run"]

LOCK = ".paperclip-lock"
_PATIENCE = 2.0  # seconds, as a process that was killed may still be going
# file systems, most of them of clusters, that know no locks
_NO_LOCKS = (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP)


def lock_run(directory, process):
    """
    Keep other runs out of a directory.

    Parameters
    ----------
    directory : `~pathlib.Path`
        Of the run; it is made if there is none.
    process : Process
        The main one holds the lock for all that train together.

    Returns
    -------
    lock : `filelock.FileLock` or None
        To be released; None in other processes than the main one.

    Raises
    ------
    CheckpointError
        If a run is going on there, in all processes.
    CheckpointWriteError
        If the directory cannot be written.

    Warns
    -----
    TrainingWarning
        If the file system has no locks.

    Notes
    -----
    The lock is that of the operating system (``flock`` or ``LockFile``): it
    ends with its process, however that dies. The file stays.
    """
    lock = error = None
    if process.is_main:
        try:
            lock = _locked(directory)
        except (CheckpointError, OSError) as exc:
            error = exc
    failed = process.agree(float(error is not None))[0]
    if isinstance(error, CheckpointError):
        raise error
    if error is not None:
        raise write_error(directory, error) from error
    if failed:
        msg = (
            f"the main process cannot begin in run.output, {directory}; its own error "
            "says why"
        )
        raise CheckpointError(msg)
    return lock


def _locked(directory):
    from filelock import FileLock, Timeout

    directory.mkdir(parents=True, exist_ok=True)
    lock = FileLock(directory / LOCK)
    try:
        lock.acquire(timeout=_PATIENCE, poll_interval=0.05)
    except Timeout:
        msg = (
            f"run.output must belong to one process at a time, and another one trains "
            f"in {directory}; wait until it ends, and the same call goes on from its "
            "last checkpoint, or name another run.output"
        )
        raise CheckpointError(msg) from None
    except (NotImplementedError, OSError) as exc:
        if isinstance(exc, OSError) and exc.errno not in _NO_LOCKS:
            raise
        msg = (
            f"the file system of {directory} has no locks ({exc}); start no other run "
            "there while this one goes on"
        )
        warnings.warn(msg, TrainingWarning, stacklevel=6)
        return None
    return lock
