# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""What a build says while it runs and when it ends."""

from dataclasses import dataclass
from pathlib import Path

from paperclip.index.store import Index

__all__ = ["BuildReport", "Progress"]


@dataclass(frozen=True, kw_only=True)
class BuildReport:
    """
    What a build found and did.

    Parameters
    ----------
    uri : str
        The index.
    index : `Index` or None
        The same, open; None after a dry run of a new one.
    n_source : int
        Files in the source that can be put into an index, each ``obs_id``
        counted once.
    n_present : int
        Of these, those that were in the index before.
    n_new : int
        Of these, those that were not in it and had not failed before.
    n_added : int
        Rows added by this build.
    n_failed : int
        Rows in the table of failures now, repeated ones not counted.
    n_repeated : int
        Files whose ``obs_id`` another file has; they are in the table too.
    failures : `~pathlib.Path`
        The table of failures, which exists only if there are any.
    complete : bool
        True if nothing of the source is left to do.
    seconds : float
        Wall time.
    notes : tuple of str
        Remarks for the user.
    """

    uri: str
    index: Index | None
    n_source: int
    n_present: int
    n_new: int
    n_added: int
    n_failed: int
    n_repeated: int
    failures: Path
    complete: bool
    seconds: float
    notes: tuple = ()


@dataclass(frozen=True)
class Progress:
    """
    How far a build is.

    Parameters
    ----------
    stage : str
        "listing", "fetching" or "embedding".
    done, total : int
        Files dealt with and files to deal with; 0 of 0 while that is unknown.
    failed : int
        Of ``done``, those that failed.
    rate : float
        Files per second, of late.
    seconds_left : float or None
        At this rate; None while there is none.
    """

    stage: str
    done: int = 0
    total: int = 0
    failed: int = 0
    rate: float = 0.0
    seconds_left: float | None = None
