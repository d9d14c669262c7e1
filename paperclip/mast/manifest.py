# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""A folder of pictures that knows what it wants, what it has, and why not."""

import os
from contextlib import closing

from astropy.table import Table

from paperclip.exceptions import DataSetError, InvalidQueryError
from paperclip.utils.checks import folder_path, whole_number

from ._journal import lock_folder, remove_parts, write_error
from ._manifest import MANIFEST_COLUMNS, new_rows, write_manifest
from ._store import StoreFolder
from ._tables import from_arrow
from .download import download
from .pictures import PictureWriter

__all__ = ["MANIFEST_COLUMNS", "PictureStore"]

_MAX_BYTES = 1 << 26


class PictureStore(StoreFolder):
    """
    Pictures of observations on disk, with a manifest of the wanted ones.

    The folder holds ``manifest.parquet`` with one row for each wanted picture,
    ``journal.jsonl`` with what happened since the manifest was written, and
    the pictures in ``pictures/<obs_collection>/<proposal_id>/``. A process
    that is killed loses nothing that is complete: the next `fetch` takes up
    where it ended.

    Use `create`, `open` or `open_or_create`.

    Parameters
    ----------
    folder : path-like
        A folder made by `create`.
    """

    @classmethod
    def open(cls, folder):
        """
        Open a folder of pictures; nothing is written.

        Parameters
        ----------
        folder : path-like
            A folder made by `create`.

        Returns
        -------
        store : PictureStore
            The pictures in it.

        Raises
        ------
        DataSetError
            If there is none, or its manifest is damaged.
        """
        return cls(folder)

    @classmethod
    def create(cls, folder, *, size=512):
        """
        Make a folder of pictures.

        Parameters
        ----------
        folder : path-like
            New or empty folder; other files in it are left alone.
        size : int, optional
            Longest side of the pictures in pixels; larger ones are reduced to
            it (Lanczos).

        Returns
        -------
        store : PictureStore
            Without pictures.

        Raises
        ------
        DataSetError
            If there is a manifest already.
        DataSetWriteError
            If the folder cannot be written.
        """
        size = whole_number("size", size, low=16, high=1 << 14)
        folder = folder_path("folder", folder)
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as exc:
            raise write_error(folder, exc) from exc
        with lock_folder(folder):
            if (folder / "manifest.parquet").exists():
                msg = (
                    f"{os.fspath(folder)!r} holds pictures already; use "
                    "PictureStore.open, or choose another folder"
                )
                raise DataSetError(msg)
            write_manifest(folder / "manifest.parquet", None, size)
        return cls(folder)

    @classmethod
    def open_or_create(cls, folder, *, size=512):
        """
        Open a folder of pictures, or make one.

        Parameters
        ----------
        folder : path-like
            Where it is or will be.
        size : int, optional
            Longest side of the pictures in pixels.

        Returns
        -------
        store : PictureStore
            New or old.

        Raises
        ------
        DataSetError
            If there is one with pictures of another size, or it is damaged.
        """
        folder = folder_path("folder", folder)
        if not (folder / "manifest.parquet").exists():
            return cls.create(folder, size=size)
        store = cls(folder)
        if store.size != size:
            msg = (
                f"{os.fspath(store.folder)!r} holds pictures of {store.size} pixels, "
                f"got size={size}; use size={store.size} or another folder"
            )
            raise DataSetError(msg)
        return store

    @property
    def manifest(self):
        """All wanted pictures as a `~astropy.table.Table`, in order of `add`."""
        return from_arrow(self._arrow(), list(MANIFEST_COLUMNS.values()))

    def pictures(self):
        """
        Return the pictures that are there.

        Returns
        -------
        table : `~astropy.table.Table`
            The rows of the manifest with status ``"done"``; ``path`` is
            absolute.
        """
        import pyarrow as pa

        done = pa.array([status == "done" for status in self._status], pa.bool_())
        arrow = self._arrow().filter(done)
        paths = [os.fspath(self.folder / path) for path in arrow["path"].to_pylist()]
        place = arrow.column_names.index("path")
        arrow = arrow.set_column(place, "path", pa.array(paths, pa.large_string()))
        return from_arrow(arrow, list(MANIFEST_COLUMNS.values()))

    def add(self, rows, *, wait=0.0):
        """
        Want pictures.

        Parameters
        ----------
        rows : `~astropy.table.Table`
            One row for each picture: ``dataURI``, and what is known of the
            observation. Pictures that are in the manifest stay as they are.
        wait : float, optional
            Seconds to wait for another process that writes here.

        Returns
        -------
        picture_ids : list of str
            One for each row, new or old.

        Raises
        ------
        InvalidQueryError
            If a row has no ``dataURI``.
        DataSetError
            If another process is writing here.
        DataSetWriteError
            If the manifest cannot be written.
        """
        with self._writing(wait):
            known = dict(zip(self._uris, self._ids, strict=True))
            fresh, uris = new_rows(rows, known)
            if len(fresh):
                self._append(fresh)
        known = dict(zip(self._uris, self._ids, strict=True))
        return [known[uri] for uri in uris]

    def fetch(
        self,
        client,
        *,
        check,
        only=None,
        workers=None,
        max_bytes=_MAX_BYTES,
        cloud=False,
        retry_failed=False,
        progress=None,
        arrived=None,
        wait=0.0,
    ):
        """
        Download the pictures that are wanted and not there.

        Pictures that are on disk already are verified and recorded, not
        fetched. When there is nothing to do, no request is sent.

        Parameters
        ----------
        client : MastClient
            Knows the addresses.
        check : callable
            Decodes the content of a file: bytes to uint8 of shape
            (ny, nx, 3); it raises `ValueError` or `OSError` for one that is
            no picture or too large. `paperclip.imaging.read_preview` does.
        only : iterable of str, optional
            ``picture_id`` of those to fetch; all that are wanted by default.
        workers : int, optional
            Number of threads, ``paperclip.conf.workers`` when not given.
        max_bytes : int, optional
            Largest file that is taken, 64 MiB by default.
        cloud : bool, optional
            Read from the public copy in the cloud what is there.
        retry_failed : bool, optional
            Also try those again that failed in an earlier call.
        progress : callable, optional
            Called as ``progress(finished, wanted)`` after each picture.
        arrived : callable, optional
            Called as ``arrived(picture_id, message)`` when a picture is on disk,
            with None, or has failed, with the reason.
        wait : float, optional
            Seconds to wait for another process that writes here.

        Returns
        -------
        counts : dict of str to int
            Number of pictures by status afterwards: wanted, done, failed.

        Raises
        ------
        InvalidQueryError
            If a picture is not in the manifest.
        DataSetError
            If another process is writing here.
        DataSetWriteError
            If the disk is full or cannot be written; what was finished stays.
        RemoteServiceError
            If the archive does not answer for 16 pictures in a row; they
            stay wanted.
        """
        with self._writing(wait):
            remove_parts(self.folder)
            writer = PictureWriter(check, self.size)
            places = self._chosen(only)
            self._recover(places, writer, retry_failed, arrived)
            jobs = self._jobs(places)
            if jobs:
                outcomes = download(
                    iter(jobs),
                    client=client,
                    workers=workers,
                    max_bytes=max_bytes,
                    check=writer,
                    cloud=cloud,
                )
                with closing(outcomes):
                    self._record_all(outcomes, len(jobs), progress, arrived)
        return self.counts

    def verify(self, *, repair=False):
        """
        Compare every picture on disk with the manifest.

        Parameters
        ----------
        repair : bool, optional
            Want those again that are missing or altered, so that the next
            `fetch` gets them, and remove what is unfinished.

        Returns
        -------
        problems : `~astropy.table.Table`
            Columns ``path`` and ``problem``; empty if all is well.
        """
        known, problems = set(), []
        for name, path in zip(self._ids, self._paths, strict=True):
            known.add(path)
            problem = self._problem(name, self.folder / path)
            if problem:
                problems.append((path, problem))
        for path in sorted((self.folder / "pictures").rglob("*")):
            place = path.relative_to(self.folder).as_posix()
            if not path.is_dir() and place not in known:
                problems.append((place, "not in the manifest"))
        if repair and problems:
            with self._writing():
                remove_parts(self.folder)
                self._want_damaged()
        names = ("path", "problem")
        return Table(rows=problems or None, names=names, dtype=("U", "U"))

    def look_up(self, picture_ids):
        """
        Return what the manifest says of some pictures.

        Parameters
        ----------
        picture_ids : iterable of str
            As `add` returned them.

        Returns
        -------
        facts : list of dict
            One for each: path (absolute; None if it is not there), status,
            message, width, height, size, sha256 and retrieved.

        Raises
        ------
        InvalidQueryError
            If a picture is not in the manifest.
        """
        facts = []
        for place in self._chosen(picture_ids):
            state = self._state[place]
            done = state["status"] == "done"
            path = os.fspath(self.folder / self._paths[place]) if done else None
            facts.append({"path": path, **state})
        return facts

    def _chosen(self, picture_ids):
        """Return the places of pictures, those of all for None."""
        if picture_ids is None:
            return range(len(self))
        try:
            return [self._place[name] for name in picture_ids]
        except KeyError as exc:
            msg = f"no picture {exc.args[0]!r} in {os.fspath(self.folder)!r}"
            raise InvalidQueryError(msg) from exc
