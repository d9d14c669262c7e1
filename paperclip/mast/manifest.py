# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""A folder of pictures that knows what it wants, what it has, and why not."""

import os
from collections import Counter
from contextlib import closing, contextmanager
from datetime import UTC, datetime
from pathlib import Path

from astropy.table import Table

from paperclip.exceptions import DataSetError, RemoteServiceError
from paperclip.mast._journal import Journal, lock_folder, remove_parts, write_error
from paperclip.mast._manifest import (
    MANIFEST_COLUMNS,
    NOTHING,
    new_rows,
    read_manifest,
    state_to_arrow,
    write_manifest,
)
from paperclip.mast._tables import from_arrow
from paperclip.mast.download import Download, download
from paperclip.mast.pictures import PictureWriter
from paperclip.utils.checks import whole_number
from paperclip.utils.files import sha256_of

__all__ = ["MANIFEST_COLUMNS", "PictureStore"]

_EVERY = 2000  # outcomes between two manifests
_MAX_BYTES = 1 << 26
_OUTAGE = 16  # files in a row that the archive does not answer for


class PictureStore:
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

    def __init__(self, folder):
        self.folder = Path(folder).expanduser().absolute()
        self._manifest = self.folder / "manifest.parquet"
        self._journal = Journal(self.folder / "journal.jsonl")
        self._load()

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
        folder = Path(folder).expanduser().absolute()
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
        if not (Path(folder).expanduser() / "manifest.parquet").exists():
            return cls.create(folder, size=size)
        store = cls(folder)
        if store.size != size:
            msg = (
                f"{os.fspath(store.folder)!r} holds pictures of {store.size} pixels, "
                f"got size={size}; use size={store.size} or another folder"
            )
            raise DataSetError(msg)
        return store

    def __repr__(self):
        counts = ", ".join(f"{n} {status}" for status, n in self.counts.items())
        return f"<PictureStore {os.fspath(self.folder)!r}: {counts}>"

    def __len__(self):
        return len(self._status)

    def _load(self):
        """Read the journal and then the manifest, which may be newer."""
        records = list(self._journal.read())
        self._rows, self._state, self.size = read_manifest(self._manifest)
        self._ids = self._rows["picture_id"].to_pylist()
        self._paths = self._rows["path"].to_pylist()
        self._uris = self._rows["dataURI"].to_pylist()
        self._place = {name: n for n, name in enumerate(self._ids)}
        self._dirty = False
        for record in records:
            place = self._place.get(record.pop("picture_id", None))
            if place is not None and record.get("status") in ("done", "failed"):
                self._state[place] = {name: record.get(name) for name in NOTHING}
                self._dirty = True

    @property
    def _status(self):
        return [state["status"] for state in self._state]

    @property
    def counts(self):
        """Number of pictures by status: dict with wanted, done and failed."""
        found = Counter(self._status)
        return {status: found[status] for status in ("wanted", "done", "failed")}

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

    def _arrow(self):
        table = self._rows
        state = state_to_arrow(self._state)
        for name in state.column_names:
            table = table.append_column(name, state[name])
        return table

    @contextmanager
    def _writing(self, wait=0.0):
        """Hold the lock, know what others wrote, and leave a manifest."""
        with lock_folder(self.folder, wait=wait):
            self._load()
            try:
                yield
            finally:
                self._journal.close()
            if self._dirty:
                self._compact()

    def _compact(self):
        """Write the manifest, after which the journal is not needed."""
        write_manifest(self._manifest, self._arrow(), self.size)
        try:
            self._journal.clear()
        except OSError as exc:
            raise write_error(self._journal.path, exc) from exc
        self._dirty = False

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

    def _append(self, fresh):
        """Add rows of Arrow to those in memory."""
        import pyarrow as pa

        self._rows = pa.concat_tables([self._rows, fresh]).combine_chunks()
        self._state += [dict(NOTHING) for _ in range(len(fresh))]
        for name in ("picture_id", "path", "dataURI"):
            known = {"picture_id": self._ids, "path": self._paths}
            known.get(name, self._uris).extend(fresh[name].to_pylist())
        self._place = {name: n for n, name in enumerate(self._ids)}
        self._dirty = True

    def fetch(
        self,
        client,
        *,
        check,
        workers=None,
        max_bytes=_MAX_BYTES,
        cloud=False,
        retry_failed=False,
        progress=None,
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
        wait : float, optional
            Seconds to wait for another process that writes here.

        Returns
        -------
        counts : dict of str to int
            Number of pictures by status afterwards: wanted, done, failed.

        Raises
        ------
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
            self._recover(writer, retry_failed)
            jobs = self._jobs()
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
                    self._record_all(outcomes, len(jobs), progress)
        return self.counts

    def _jobs(self):
        return [
            Download(name, uri, self.folder / path)
            for name, uri, path, state in zip(
                self._ids, self._uris, self._paths, self._state, strict=True
            )
            if state["status"] == "wanted"
        ]

    def _recover(self, writer, retry_failed):
        """Compare the manifest with the disk before anything is fetched."""
        for name, path, state in zip(self._ids, self._paths, self._state, strict=True):
            path = self.folder / path
            size = path.stat().st_size if path.is_file() else None
            lost = state["status"] == "done" and size != state["size"]
            if lost or (state["status"] == "failed" and retry_failed):
                state.update(NOTHING)
                self._dirty = True
            if state["status"] == "wanted" and size is not None:
                found = writer.look(path)
                if found is None:
                    _remove(path)
                else:
                    stamp = datetime.fromtimestamp(path.stat().st_mtime, UTC)
                    self._record(name, "done", found=found, stamp=stamp)

    def _record_all(self, outcomes, wanted, progress):
        """Journal the outcomes; failures in an outage are not held against them."""
        silent, since = [], 0
        for number, outcome in enumerate(outcomes, 1):
            if outcome.passing:
                silent.append(outcome)
                if len(silent) >= _OUTAGE:
                    msg = (
                        f"the archive did not answer for {len(silent)} pictures in a "
                        f"row ({outcome.message}); what was fetched before is kept: "
                        "run the same call again later to go on"
                    )
                    raise RemoteServiceError(msg)
            else:
                for failed in silent:
                    self._record(failed.key, "failed", message=failed.message)
                silent = []
                self._record(
                    outcome.key,
                    outcome.status,
                    message=outcome.message or None,
                    found=outcome.result,
                )
            since += 1
            if since >= _EVERY:
                self._compact()
                since = 0
            if progress is not None:
                progress(number, wanted)
        for failed in silent:
            self._record(failed.key, "failed", message=failed.message)

    def _record(self, name, status, *, message=None, found=None, stamp=None):
        """Write down what became of a picture."""
        state = dict(NOTHING) | (found or {}) | {"status": status, "message": message}
        if status == "done":
            stamp = datetime.now(UTC) if stamp is None else stamp
            state["retrieved"] = stamp.strftime("%Y-%m-%dT%H:%M:%SZ")
        self._journal.append({"picture_id": name, **state})
        self._state[self._place[name]] = state
        self._dirty = True

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
                for name, path in zip(self._ids, self._paths, strict=True):
                    state = self._state[self._place[name]]
                    if state["status"] == "done" and self._problem(
                        name, self.folder / path
                    ):
                        _remove(self.folder / path)
                        state.update(NOTHING)
                        self._dirty = True
        names = ("path", "problem")
        return Table(rows=problems or None, names=names, dtype=("U", "U"))

    def _problem(self, name, path):
        """Return what is wrong with one picture, or None."""
        state = self._state[self._place[name]]
        there = path.is_file()
        if state["status"] != "done":
            return f"there, but {state['status']} in the manifest" if there else None
        if not there:
            return "missing"
        if path.stat().st_size != state["size"] or sha256_of(path) != state["sha256"]:
            return "altered"
        return None


def _remove(path):
    try:
        path.unlink(missing_ok=True)
    except OSError as exc:
        raise write_error(path, exc) from exc
