# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""What an index can be built from: files, tables of files, folders of pictures."""

import hashlib
import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import unquote, urlsplit

from astropy.table import Table

from paperclip.exceptions import InvalidQueryError, InvalidRowsError
from paperclip.index._files import local_path
from paperclip.index._metadata import (
    FILE_COLUMNS,
    TABLE_SUFFIXES,
    FileNames,
    last_part,
    read_table,
    texts,
)
from paperclip.index._readers import FITS_SUFFIXES, PICTURE_SUFFIXES, stem_of
from paperclip.index._remote import SCHEMES, is_remote, public_name
from paperclip.index.schema import KEY

_SCHEMES = ", ".join(f"{scheme}://" for scheme in SCHEMES)

__all__ = ["Source", "is_picture_store", "open_source", "plain", "store_source"]


@dataclass(frozen=True)
class Source:
    """
    Files to be put into an index, and what is known of them.

    Parameters
    ----------
    kind : str
        "folder", "table" or "store".
    place : str
        What tells this source from others of its kind.
    obs_ids, paths : list of str
        One for each file; ``obs_ids`` may repeat. A path may be the URI of a
        file elsewhere.
    table : `~astropy.table.Table` or None
        Metadata.
    rows : sequence of int
        Number of the row of ``table`` for each file, -1 if there is none.
    failed : list of (str, str, str)
        ``obs_id``, source and reason of what is known to have no file.
    notes : list of str
        What the user should know.
    root : str or None
        Folder without which nothing can be read.
    pending : dict of int to str
        Files that are still to be fetched from MAST: their numbers, and what
        the picture is called there.
    """

    kind: str
    place: str
    obs_ids: list
    paths: list
    table: Table | None = None
    rows: Sequence = ()
    failed: list = field(default_factory=list)
    notes: list = field(default_factory=list)
    root: str | None = None
    pending: dict = field(default_factory=dict)

    def __len__(self):
        return len(self.paths)

    @property
    def identity(self):
        """What tells this source from others (dict of plain values)."""
        return {"kind": self.kind, "place": self.place}

    def key(self, item):
        """
        Return how a file is called in the table of failures.

        Parameters
        ----------
        item : int
            Number of the file.

        Returns
        -------
        obs_id, source : str
            Printable text.
        """
        path = self.paths[item]
        return plain(self.obs_ids[item]), plain(
            public_name(path) if is_remote(path) else path
        )


def plain(text):
    r"""
    Return a text that fits into a line of a table.

    Parameters
    ----------
    text : str
        For example the name of a file, which may hold anything.

    Returns
    -------
    text : str
        Control characters and bytes that are not UTF-8 are spelt ``\xNN``.
    """
    text = text.encode("utf-8", "backslashreplace").decode()
    return "".join(
        c if c.isprintable() else c.encode("unicode_escape").decode() for c in text
    )


def open_source(source, *, metadata=None):
    """
    Find out which files a source has; none is opened.

    Parameters
    ----------
    source : path-like, `~astropy.table.Table` or sequence of path-like
        A folder, which is searched with all folders in it; a folder made by
        `paperclip.mast.PictureStore` or a data set; one picture or FITS file;
        a table, or the file of one, with a column of paths or URIs (``file``,
        ``http``, ``https``, ``s3``, ``gs``, ``abfs``, ``hdfs``); or several files.
    metadata : `~astropy.table.Table` or path-like, optional
        What is known of the files of a folder, or of several files; rows are
        found by the names of files.

    Returns
    -------
    found : Source
        In the order of the table, or sorted by path.

    Raises
    ------
    InvalidQueryError
        If it is nothing of this kind.
    InvalidRowsError
        If a table cannot be used.
    """
    if metadata is not None and not isinstance(metadata, Table):
        metadata = read_table(metadata)
    if isinstance(source, Table):
        return _table_source(source, metadata, str(Path.cwd()))
    if isinstance(source, str | os.PathLike):
        return _place_source(source, metadata)
    if isinstance(source, Sequence) and not isinstance(source, bytes):
        paths = [_file_path(item) for item in source]
        place = hashlib.sha256("\0".join(paths).encode("utf-8", "replace")).hexdigest()
        return _files_source("table", place, paths, metadata, str(Path.cwd()))
    msg = (
        "source must be a folder, a table, files or criteria for MAST, got "
        f"{type(source).__name__}"
    )
    raise InvalidQueryError(msg)


def is_picture_store(folder):
    """
    Tell whether a folder was made by `paperclip.mast.PictureStore`.

    Parameters
    ----------
    folder : path-like
        Any place.

    Returns
    -------
    answer : bool
        True if it has a manifest.
    """
    return (Path(folder).expanduser() / "manifest.parquet").is_file()


def _place_source(source, metadata):
    _, path = local_path(source)
    if path is None:
        msg = (
            f"source must be on this machine, got {source!r}; copy it, or give a "
            "table of the URIs of its files"
        )
        raise InvalidQueryError(msg)
    if path.is_dir():
        if is_picture_store(path):
            if metadata is not None:
                msg = f"{path} has a manifest; metadata= cannot be given beside it"
                raise InvalidQueryError(msg)
            return store_source(path)
        return _folder_source(path, metadata)
    if not path.exists():
        msg = f"source: there is no folder or file {os.fspath(source)!r}"
        raise InvalidQueryError(msg)
    if path.suffix.lower() in TABLE_SUFFIXES:
        return _table_source(read_table(path), metadata, str(path.parent), str(path))
    name = path.name.lower()
    if not name.endswith((*FITS_SUFFIXES, *PICTURE_SUFFIXES)):
        msg = (
            f"source {os.fspath(source)!r} is no picture, FITS file or table by its "
            f"name; tables end in {', '.join(TABLE_SUFFIXES)}"
        )
        raise InvalidQueryError(msg)
    return _files_source("table", str(path), [str(path)], metadata, str(path.parent))


def _folder_source(folder, metadata):
    """List the pictures and FITS files below a folder, sorted."""
    wanted = (*FITS_SUFFIXES, *PICTURE_SUFFIXES)
    paths, others, links, locked = [], 0, 0, []
    for here, folders, names in os.walk(folder, onerror=locked.append):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        links += sum(Path(here, name).is_symlink() for name in folders)
        for name in sorted(names):
            if name.startswith("."):
                continue
            if name.lower().endswith(wanted):
                paths.append(f"{here.rstrip(os.sep)}{os.sep}{name}")
            else:
                others += 1
    root = str(folder)
    found = _files_source("folder", root, paths, metadata, root)
    if others:
        found.notes.append(f"{others} files that are no pictures by name were left out")
    if links:
        found.notes.append(f"{links} links to folders were not followed")
    found.notes.extend(f"{exc.filename}: {exc.strerror}; left out" for exc in locked)
    return found


def _files_source(kind, place, paths, metadata, root):
    """Name files after their rows, or after themselves."""
    stems = [_stem(path) for path in paths]
    root_folder = root if kind == "folder" else None
    if metadata is None:
        rows = [-1] * len(paths)
        return Source(kind, place, stems, paths, None, rows, root=root_folder)
    names = FileNames(metadata)
    rows = [names.find(path, root) for path in paths]
    known = texts(metadata[KEY]) if KEY in metadata.colnames else None
    ids = [
        (known[row] if known is not None and row >= 0 else "") or stem
        for row, stem in zip(rows, stems, strict=True)
    ]
    found = Source(kind, place, ids, paths, metadata, rows, root=root_folder)
    if paths and not names.n_used:
        example = (texts(metadata[names.column])[:1] or [""])[0]
        first = paths[0].rpartition(os.sep)[2]
        msg = (
            f"metadata has no row for any of {len(paths)} files: the first file is "
            f"{first!r}, the first {names.column!r} is {example!r}"
        )
        raise InvalidRowsError(msg)
    unused, bare = len(metadata) - names.n_used, rows.count(-1)
    if unused:
        found.notes.append(f"{unused} rows of the metadata belong to no file")
    if bare:
        found.notes.append(f"{bare} files have no row in the metadata")
    return found


def _stem(path):
    """Return the name of a file, or at the end of a URI, without its suffix."""
    if is_remote(path):
        name = unquote(urlsplit(path).path).rpartition("/")[2]
        if not name.lower().endswith((*FITS_SUFFIXES, *PICTURE_SUFFIXES)):
            name = last_part(path) or name  # as in ?uri=mast:HST/a.jpg
    else:
        name = path.replace(os.sep, "/").rpartition("/")[2]
    return plain(stem_of(name))


def _table_source(table, metadata, root, place=None):
    """Take the files that a table names."""
    if metadata is not None:
        msg = "metadata= is for folders and files; a table is its own metadata"
        raise InvalidQueryError(msg)
    names = (*FILE_COLUMNS, "uri", "dataURI")
    name = next((n for n in names if n in table.colnames), None)
    if name is None:
        msg = f"source must have a column {', '.join(names)}, got {table.colnames}"
        raise InvalidQueryError(msg)
    if name == "dataURI" and any(v.startswith("mast:") for v in texts(table[name])):
        msg = (
            "source has no column of paths; fetch the pictures first, with "
            "Paperclip.get_previews(table, folder), and build from that folder"
        )
        raise InvalidQueryError(msg)
    ids = texts(table[KEY]) if KEY in table.colnames else [""] * len(table)
    obs_ids, paths, rows, failed = [], [], [], []
    for number, (given, value) in enumerate(zip(ids, texts(table[name]), strict=True)):
        stem = plain(given) or _stem(value)
        if not value:
            failed.append((stem, f"row {number}", f"the row has no {name}"))
            continue
        path = _file_path(value, root)
        if path is None:
            reason = f"only files on this machine and {_SCHEMES} can be read"
            failed.append((stem, value, reason))
            continue
        obs_ids.append(stem)
        paths.append(path)
        rows.append(number)
    if place is None:
        text = "\0".join(paths).encode("utf-8", "replace")
        place = hashlib.sha256(text).hexdigest()
    return Source("table", place, obs_ids, paths, table, rows, failed)


def _file_path(item, root=None):
    """Return the absolute path of a file or its URI, or None if neither fits."""
    if isinstance(item, str) and "://" in item:
        if is_remote(item):
            return item
        path = local_path(item)[1]
        if path is None and root is None:
            msg = f"source: only files and {_SCHEMES} can be read, got {item!r}"
            raise InvalidQueryError(msg)
        return None if path is None else str(path)
    if root is None:
        if not isinstance(item, str | os.PathLike):
            msg = f"source must hold paths, got {item!r}"
            raise InvalidQueryError(msg)
        root = Path.cwd()
    return os.path.normpath(Path(root) / Path(item).expanduser())


def store_source(folder, *, wanted=False, retry_failed=False):
    """
    Take the pictures that were fetched into a folder.

    Parameters
    ----------
    folder : path-like
        Made by `paperclip.mast.PictureStore`.
    wanted : bool, optional
        Take those too that are still to be fetched.
    retry_failed : bool, optional
        Of those, also the ones that failed before.

    Returns
    -------
    found : Source
        The pictures; those that failed are in ``failed``.

    Raises
    ------
    DataSetError
        If the folder is damaged.
    """
    from paperclip.mast.manifest import PictureStore

    store = PictureStore.open(folder)
    manifest = store.manifest
    names = texts(manifest["picture_id"])
    obs_ids = [one or two for one, two in zip(texts(manifest[KEY]), names, strict=True)]
    paths, uris = texts(manifest["path"]), texts(manifest["dataURI"])
    messages = texts(manifest["message"])
    root = str(Path(folder).expanduser().absolute())
    found = Source("store", root, [], [], manifest, [], root=root)
    left = 0
    for row, status in enumerate(texts(manifest["status"])):
        to_come = wanted and (
            status == "wanted" or (status == "failed" and retry_failed)
        )
        if to_come:
            found.pending[len(found.paths)] = names[row]
        if to_come or status == "done":
            found.obs_ids.append(obs_ids[row])
            found.paths.append(str(Path(root, paths[row])))
            found.rows.append(row)
        elif status == "failed":
            reason = messages[row] or "the picture could not be fetched"
            found.failed.append((obs_ids[row], uris[row], reason))
        else:
            left += 1
    if left:
        found.notes.append(f"{left} pictures of {root} have not been fetched yet")
    return found
