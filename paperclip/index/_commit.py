# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""The calls that change the stored table."""

import re
import secrets
import time
from contextlib import contextmanager

import numpy as np
import pyarrow as pa

from paperclip.exceptions import IndexWriteError
from paperclip.index._files import durable

__all__ = [
    "STORAGE",
    "ConflictError",
    "commit_change",
    "commit_operation",
    "discard",
    "patiently",
    "short",
    "write_rows",
    "writing",
]

STORAGE = "2.2"  # later formats are not read by every Lance client
_FRAGMENT = np.uint64(32)  # a row address is fragment * 2**32 + offset
_ATTEMPTS = 60  # commits tried while others write to an object store


class ConflictError(Exception):
    """Somebody else committed first; look again and repeat."""


@contextmanager
def writing(uri):
    """
    Turn the errors of a store that cannot be written into our own.

    Parameters
    ----------
    uri : str
        The index, for the message.

    Raises
    ------
    ConflictError
        If another commit came first.
    IndexWriteError
        In place of any other error of Lance or Arrow.
    """
    try:
        yield
    except BaseException as exc:
        kind = type(exc).__name__
        if kind == "CommitConflictError" or "commit conflict" in str(exc).lower():
            raise ConflictError(str(exc)) from exc
        # a panic of Lance's Rust code has no name that could be imported
        ours = (OSError, ValueError, RuntimeError, pa.ArrowException)
        if isinstance(exc, IndexWriteError) or not (
            isinstance(exc, ours) or kind == "PanicException"
        ):
            raise
        msg = f"cannot write to the index {uri}, which stays as it was: {short(exc)}"
        if "No space left" in msg:
            msg += "; free some space and try again"
        raise IndexWriteError(msg) from exc


def short(exc):
    """
    Return what a message of Lance says, without places in its sources.

    Parameters
    ----------
    exc : Exception
        An error of Lance.

    Returns
    -------
    text : str
        One line.
    """
    text = re.sub(r",? /\S+\.rs:\d+:\d+", "", str(exc))
    return " ".join(text.split())[:300]


def patiently(place, attempt):
    """
    Repeat a change until nobody else commits between looking and writing.

    Parameters
    ----------
    place : `Place`
        Where the index is; for the message.
    attempt : callable
        Looks at the newest version, commits, and may raise `ConflictError`.

    Returns
    -------
    answer : object
        What ``attempt`` returned.

    Raises
    ------
    IndexWriteError
        If others were faster every time.
    """
    draw = secrets.SystemRandom()
    for number in range(_ATTEMPTS):
        try:
            return attempt()
        except ConflictError as exc:
            last = exc
        time.sleep(draw.uniform(0, min(2.0, 0.02 * 1.5**number)))
    msg = (
        f"cannot write to the index {place.uri}: others changed it {_ATTEMPTS} times "
        "meanwhile; it stays as they left it, so try again"
    )
    raise IndexWriteError(msg) from last


def write_rows(place, rows):
    """
    Write rows that no version has yet.

    Parameters
    ----------
    place : `Place`
        Where the index is.
    rows : `pyarrow.Table`
        Rows with the schema of the index.

    Returns
    -------
    fragments : list of `lance.FragmentMetadata`
        To be committed, or to be given to `discard`. Of a local index they
        are on disk.

    Raises
    ------
    IndexWriteError
        If it failed.
    """
    from lance.fragment import write_fragments

    with writing(place.uri), durable(place.path):
        return write_fragments(
            rows,
            place.uri,
            schema=rows.schema,
            data_storage_version=STORAGE,
            storage_options=place.options,
        )


def discard(place, fragments):
    """
    Remove data files that were never committed; compaction removes the others.

    Parameters
    ----------
    place : `Place`
        Where the index is.
    fragments : list of `lance.FragmentMetadata`
        Of `write_rows`, or with new columns. Files of theirs that the newest
        version needs are kept: a commit may have failed after it was done.
    """
    import lance

    if place.path is None or not fragments:
        return
    try:
        parts = lance.dataset(place.uri).get_fragments()
    except (OSError, ValueError, RuntimeError):
        return
    needed = {data.path for part in parts for data in part.metadata.files}
    for name in {data.path for part in fragments for data in part.files} - needed:
        (place.path / "data" / name).unlink(missing_ok=True)


def commit_change(place, dataset, *, gone=(), fragments=(), note):
    """
    Take rows away and put others in, in one commit.

    Parameters
    ----------
    place : `Place`
        Where the index is.
    dataset : `lance.LanceDataset`
        The version that the change was made for.
    gone : `~numpy.ndarray`, dtype uint64, optional
        Addresses of the rows to take away.
    fragments : list of `lance.FragmentMetadata`, optional
        Rows to put in.
    note : str
        What is done, for the list of versions.

    Returns
    -------
    dataset : `lance.LanceDataset`
        The committed version; of a local index it is on disk.

    Raises
    ------
    ConflictError
        If the index was changed since ``dataset``.
    IndexWriteError
        If it failed.

    Notes
    -----
    Lance lets two appends, or an append and a deletion, both succeed [1]_, so
    that the same row could come in twice. Two updates of one fragment exclude
    each other. Therefore each change updates the first fragment that is
    left, even if only by itself, and of two writers who saw the same version
    the second has to look again. An index without fragments is filled with a
    merge, which excludes everything else.

    References
    ----------
    .. [1] https://lance.org/format/table/transaction/
    """
    from lance import LanceOperation

    with writing(place.uri), durable(place.path):
        parts = {part.fragment_id: part for part in dataset.get_fragments()}
        changed, removed = _without(parts, gone)
        fragments = list(fragments)
        first = min(set(parts) - set(removed), default=None)
        if not parts:
            start = _unused_number(dataset)
            for number, fragment in enumerate(fragments, start):
                fragment.id = number
            operation = LanceOperation.Merge(fragments, dataset.lance_schema)
        else:
            if first is not None:
                changed.setdefault(first, parts[first].metadata)
            operation = LanceOperation.Update(
                removed_fragment_ids=removed,
                updated_fragments=list(changed.values()),
                new_fragments=fragments,
            )
    return commit_operation(place, dataset, operation, note)


def _without(parts, gone):
    """Return fragments with new deletion files, and those that end."""
    gone = np.asarray(gone, np.uint64)
    changed, removed = {}, []
    numbers = gone >> _FRAGMENT
    for number in np.unique(numbers).tolist():
        inside = np.unique(gone[numbers == number])
        metadata = parts[number].delete(_among(inside))
        if metadata is None:
            removed.append(number)
        else:
            changed[number] = metadata
    return changed, removed


def _among(addresses):
    """Return an SQL condition for sorted row addresses, by runs."""
    breaks = np.flatnonzero(np.diff(addresses) != 1) + 1
    runs = np.split(addresses, breaks)
    single = [str(run[0]) for run in runs if len(run) == 1]
    long = [f"_rowaddr BETWEEN {r[0]} AND {r[-1]}" for r in runs if len(r) > 1]
    if single:
        long.append(f"_rowaddr IN ({','.join(single)})")
    return " OR ".join(long)


def _unused_number(dataset):
    # an index that covers a fragment of the past must not seem to cover a new one
    segments = [s for index in dataset.describe_indices() for s in index.segments]
    used = [number for segment in segments for number in segment.fragment_ids or ()]
    return max(used, default=-1) + 1


def commit_operation(place, dataset, operation, note):
    """
    Commit an operation of Lance.

    Parameters
    ----------
    place : `Place`
        Where the index is.
    dataset : `lance.LanceDataset`
        The version that it was made for.
    operation : `lance.LanceOperation.BaseOperation`
        The change.
    note : str
        What is done, for the list of versions.

    Returns
    -------
    dataset : `lance.LanceDataset`
        The committed version; of a local index it is on disk.

    Raises
    ------
    ConflictError
        If the index was changed since ``dataset``.
    IndexWriteError
        If it failed.
    """
    import lance

    with writing(place.uri), durable(place.path):
        return lance.LanceDataset.commit(
            dataset,
            operation,
            read_version=dataset.version,
            commit_message=note,
        )
