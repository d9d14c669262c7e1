# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""What a folder of pictures keeps in memory, and how it gets to the disk."""

import os
from collections import Counter
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

from paperclip.exceptions import RemoteServiceError
from paperclip.utils.files import sha256_of

from ._journal import Journal, lock_folder, write_error
from ._manifest import NOTHING, read_manifest, state_to_arrow, write_manifest
from .download import Download

__all__ = ["StoreFolder"]

_EVERY = 2000  # outcomes between two manifests
_OUTAGE = 16  # files in a row that the archive does not answer for


class StoreFolder:
    """
    The inner side of `~paperclip.mast.PictureStore`.

    Parameters
    ----------
    folder : path-like
        With a manifest.
    """

    def __init__(self, folder):
        self.folder = Path(folder).expanduser().absolute()
        self._manifest = self.folder / "manifest.parquet"
        self._journal = Journal(self.folder / "journal.jsonl")
        self._load()

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

    def _jobs(self, places):
        """Return what is to be downloaded."""
        jobs = []
        for place in dict.fromkeys(places):
            if self._state[place]["status"] == "wanted":
                path = self.folder / self._paths[place]
                jobs.append(Download(self._ids[place], self._uris[place], path))
        return jobs

    def _recover(self, places, writer, retry_failed, arrived=None):
        """Compare the manifest with the disk before anything is fetched."""
        for place in places:
            path, state = self.folder / self._paths[place], self._state[place]
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
                    self._record(self._ids[place], "done", found=found, stamp=stamp)
                    if arrived is not None:
                        arrived(self._ids[place], None)

    def _record_all(self, outcomes, wanted, progress, arrived=None):
        """Journal the outcomes; failures in an outage are not held against them."""

        def record(outcome, status, message, found=None):
            self._record(outcome.key, status, message=message, found=found)
            if arrived is not None:
                arrived(outcome.key, None if status == "done" else message or status)

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
                    record(failed, "failed", failed.message)
                silent = []
                record(outcome, outcome.status, outcome.message or None, outcome.result)
            since += 1
            if since >= _EVERY:
                self._compact()
                since = 0
            if progress is not None:
                progress(number, wanted)
        for failed in silent:
            record(failed, "failed", failed.message)

    def _record(self, name, status, *, message=None, found=None, stamp=None):
        """Write down what became of a picture."""
        state = dict(NOTHING) | (found or {}) | {"status": status, "message": message}
        if status == "done":
            stamp = datetime.now(UTC) if stamp is None else stamp
            state["retrieved"] = stamp.strftime("%Y-%m-%dT%H:%M:%SZ")
        self._journal.append({"picture_id": name, **state})
        self._state[self._place[name]] = state
        self._dirty = True

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

    def _want_damaged(self):
        """Remove pictures that are not as they were written, and want them."""
        for name, path, state in zip(self._ids, self._paths, self._state, strict=True):
            path = self.folder / path
            if state["status"] == "done" and self._problem(name, path):
                _remove(path)
                state.update(NOTHING)
                self._dirty = True


def _remove(path):
    try:
        path.unlink(missing_ok=True)
    except OSError as exc:
        raise write_error(path, exc) from exc
