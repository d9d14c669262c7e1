# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""The calls that open and create the stored table."""

from paperclip.exceptions import (
    IndexExistsError,
    IndexNotFoundError,
    IndexWriteError,
    InvalidQueryError,
    RemoteServiceError,
)
from paperclip.index._commit import STORAGE, ConflictError, patiently, short, writing
from paperclip.index._files import (
    LOCK,
    check_files,
    durable,
    flush_folder,
    looks_like_index,
    newest_complete_version,
    writer_lock,
)
from paperclip.index._reading import reading
from paperclip.index._snapshot import Snapshot

__all__ = ["create_table", "open_dataset", "open_snapshot"]


def open_snapshot(place, cache_limit, *, version=None):
    """
    Open a version of a stored table.

    Parameters
    ----------
    place : `Place`
        Where it is.
    cache_limit : int
        See `paperclip.index.Index.open`.
    version : int or str, optional
        Number or tag; the newest version when not given.

    Returns
    -------
    snapshot : `~paperclip.index._snapshot.Snapshot`
        With the sizes of its files checked, if they are local.

    Raises
    ------
    InvalidQueryError
        If there is no such version.
    IndexNotFoundError, DamagedIndexError, RemoteServiceError
        If it cannot be opened.
    """
    dataset = open_dataset(place, version=version)
    if place.path is not None:
        with reading(place.uri):
            check_files(place.path, dataset)
    return Snapshot(dataset, place.uri, cache_limit=cache_limit)


def open_dataset(place, *, version=None):
    """
    Open a version of a stored table, without a look at its files.

    Parameters
    ----------
    place : `Place`
        Where it is.
    version : int or str, optional
        Number or tag; the newest version when not given.

    Returns
    -------
    dataset : `lance.LanceDataset`
        An object of its own: Lance moves the one on which something is
        committed to the new version.

    Raises
    ------
    InvalidQueryError, IndexNotFoundError, DamagedIndexError, RemoteServiceError
        As `open_snapshot`.
    """
    import lance

    newest = None if place.path is None else newest_complete_version(place.path)
    wanted = newest if version is None else version
    try:
        return lance.dataset(place.uri, version=wanted, storage_options=place.options)
    except (OSError, ValueError, RuntimeError) as exc:
        missing = "not found" in str(exc) or "does not exist" in str(exc)
        if version is not None and missing and (newest or _exists_at(place)):
            raise InvalidQueryError(_no_version(place, version)) from exc
        if place.path is None:
            raise _cannot_open(place, exc) from exc
        with reading(place.uri):
            raise


def _exists_at(place):
    import lance

    try:
        lance.dataset(place.uri, storage_options=place.options)
    except (OSError, ValueError, RuntimeError):
        return False
    return True


def _no_version(place, version):
    import lance

    dataset = lance.dataset(place.uri, storage_options=place.options)
    numbers = [item["version"] for item in dataset.versions()]
    tags = sorted(dataset.tags.list())
    return (
        f"version={version!r}: the index {place.uri} has {len(numbers)} versions from "
        f"{numbers[0]} to {numbers[-1]} and the tags {', '.join(tags) or '(none)'}; "
        "compaction removes old ones that have no tag"
    )


def _cannot_open(place, exc):
    if "was not found" in str(exc):
        msg = (
            f"no index at {place.uri}; build one with 'paperclip index build', or "
            "create an empty one with Index.create"
        )
        return IndexNotFoundError(msg)
    msg = (
        f"cannot open the index {place.uri}: {short(exc)}; look after the address "
        "and the keys in storage_options or the environment"
    )
    return RemoteServiceError(msg, url=place.uri)


def create_table(place, schema, *, overwrite):
    """
    Commit a table without rows.

    Parameters
    ----------
    place : `Place`
        Where it is to be.
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

    def attempt():
        try:
            with writing(place.uri), durable(place.path):
                lance.write_dataset(
                    schema.empty_table(),
                    place.uri,
                    mode="overwrite" if overwrite else "create",
                    data_storage_version=STORAGE,
                    storage_options=place.options,
                    commit_message="created without rows",
                )
        except (ConflictError, IndexWriteError) as exc:
            if not overwrite and "already exists" in str(exc.__cause__):
                raise IndexExistsError(_exists(place.uri)) from exc
            raise

    if place.path is not None:
        _make_folder(place.path, overwrite=overwrite)
    with writer_lock(place.path):
        patiently(place, attempt)
    if place.path is not None:
        flush_folder(place.path.parent)


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
