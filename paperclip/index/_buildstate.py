# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""What a build remembers beside the index: its source, and what failed."""

import json
import os
from contextlib import contextmanager

from astropy.table import Table

from paperclip.exceptions import IndexWriteError, InvalidRowsError
from paperclip.index._metadata import texts
from paperclip.utils.files import atomic_path

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None

__all__ = ["BuildState"]

_FORMAT = 1
_COLUMNS = {
    "obs_id": "Observation identifier",
    "source": "File or URI",
    "status": "failed: could not be read; absent: could not be fetched; repeated: "
    "another file has the same obs_id",
    "reason": "What went wrong",
}


class BuildState:
    """
    The folder beside an index in which its build keeps notes.

    It holds ``build.json`` (what is being built and whether it is complete) and
    ``failures.ecsv``. The index does not need it: without the folder, the next
    build has to be asked to add to the index, and tries failed rows again.

    Parameters
    ----------
    folder : `~pathlib.Path`
        Where it is or will be.
    """

    def __init__(self, folder):
        self.folder = folder
        self.failures_path = folder / "failures.ecsv"
        self._path = folder / "build.json"
        self.record = self._read_record()
        self._failed = {}
        self._others = []
        self._absent = set()
        self._dirty = False

    @contextmanager
    def lock(self):
        """
        Keep other builds of the same index out.

        Raises
        ------
        IndexWriteError
            If another process has the lock, or the folder cannot be made.
        """
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            stream = (self.folder / "build.lock").open("ab")
        except OSError as exc:
            raise self._error(exc) from exc
        with stream:
            if fcntl is not None:
                try:
                    fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
                except BlockingIOError as exc:
                    msg = (
                        f"another process is building this index ({self.folder} is "
                        "locked); wait until it ends"
                    )
                    raise IndexWriteError(msg) from exc
            self.record = self._read_record()
            yield

    def _error(self, exc):
        msg = (
            f"cannot write the notes of the build in {self.folder}: "
            f"{exc.strerror or exc}; make room or choose a place that can be written"
        )
        return IndexWriteError(msg)

    def _read_record(self):
        try:
            record = json.loads(self._path.read_text(encoding="utf-8"))
        except (OSError, ValueError):  # none, or not one of ours
            return None
        good = isinstance(record, dict) and record.get("format") == _FORMAT
        return record if good else None

    def write_record(self, **changes):
        """
        Change the record on disk, in one step.

        Parameters
        ----------
        **changes
            Entries to set.

        Raises
        ------
        IndexWriteError
            If it cannot be written.
        """
        record = {**(self.record or {}), "format": _FORMAT, **changes}
        self.record = record
        try:
            with atomic_path(self._path) as part, part.open("w") as stream:
                json.dump(record, stream, indent=2)
                stream.flush()
                os.fsync(stream.fileno())
        except OSError as exc:
            raise self._error(exc) from exc

    def is_of(self, source):
        """
        Tell whether the last build was from the same source.

        Parameters
        ----------
        source : dict
            What identifies a source.

        Returns
        -------
        answer : bool
            False also if nothing is known.
        """
        return self.record is not None and self.record.get("source") == source

    # ---- failures

    def load_failures(self, present):
        """
        Read what failed before.

        Parameters
        ----------
        present : container of str
            The ``obs_id`` of the rows in the index, which have not failed.

        Raises
        ------
        InvalidRowsError
            If the file is damaged.
        """
        self._failed, self._others, self._dirty = {}, [], False
        self._absent = set()
        if not self.failures_path.is_file():
            return
        try:
            table = Table.read(self.failures_path, format="ascii.ecsv")
            rows = [texts(table[name]) for name in _COLUMNS]
        except (OSError, ValueError, LookupError, TypeError) as exc:
            msg = (
                f"{self.failures_path} cannot be read: {' '.join(str(exc).split())}; "
                "remove it, and what failed is tried again"
            )
            raise InvalidRowsError(msg) from exc
        for obs_id, source, status, reason in zip(*rows, strict=True):
            if status == "failed" and obs_id not in present:
                self._failed[obs_id, source] = reason
            elif status == "absent":
                self._absent.add(obs_id)

    def was_absent(self, obs_id):
        """
        Tell whether there was nothing to read in the build before.

        Parameters
        ----------
        obs_id : str
            As it is in the table.

        Returns
        -------
        answer : bool
            True if it is in the list as absent.
        """
        return obs_id in self._absent

    def has_failed(self, obs_id, source):
        """
        Tell whether a file failed before.

        Parameters
        ----------
        obs_id, source : str
            As they are in the table.

        Returns
        -------
        answer : bool
            True if it is in the list.
        """
        return (obs_id, source) in self._failed

    def fail(self, obs_id, source, reason):
        """
        Note that a file could not be used.

        Parameters
        ----------
        obs_id, source, reason : str
            What goes into the table.
        """
        self._failed[obs_id, source] = reason
        self._dirty = True

    def forget(self, obs_id, source):
        """
        Note that a file is in the index now.

        Parameters
        ----------
        obs_id, source : str
            As in `fail`.
        """
        if self._failed.pop((obs_id, source), None) is not None:
            self._dirty = True

    def set_others(self, rows):
        """
        Replace what is known without reading any file.

        Parameters
        ----------
        rows : list of tuple of str
            ``obs_id``, source, status and reason.
        """
        self._others = rows
        self._dirty = True

    @property
    def failures(self):
        """All that is not in the index, as a `~astropy.table.Table`."""
        rows = [(*key, "failed", text) for key, text in self._failed.items()]
        rows += self._others
        table = Table(rows=rows or None, names=list(_COLUMNS), dtype=["U"] * 4)
        for name, text in _COLUMNS.items():
            table[name].description = text
        return table

    def save_failures(self):
        """
        Write the table, if it has changed, in one step.

        Raises
        ------
        IndexWriteError
            If it cannot be written.
        """
        if not self._dirty:
            return
        try:
            if not self._failed and not self._others:
                self.failures_path.unlink(missing_ok=True)
            else:
                with atomic_path(self.failures_path) as part:
                    self.failures.write(part, format="ascii.ecsv", overwrite=True)
        except OSError as exc:
            raise self._error(exc) from exc
        self._dirty = False
