# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""Versions of an index: listing, restoring and naming them."""

import re
from datetime import UTC

from astropy.table import Table

from paperclip.exceptions import InvalidQueryError
from paperclip.index._commit import (
    commit_operation,
    patiently,
    writing,
)
from paperclip.index._files import durable, writer_lock
from paperclip.index._opening import open_dataset, open_snapshot
from paperclip.index._reading import reading
from paperclip.utils.checks import whole_number

__all__ = ["VersionMethods"]

_TAG = re.compile(r"[A-Za-z][A-Za-z0-9._-]{0,99}\Z")
_MESSAGE = "__lance_commit_message"
_KINDS = {
    "Append": "append",
    "CreateIndex": "index columns",
    "Delete": "delete",
    "Merge": "change columns",
    "Overwrite": "created",
    "Project": "drop columns",
    "Restore": "restore",
    "Rewrite": "compact",
    "Update": "change rows",
    "BaseOperation": "compact, begun",
}


class VersionMethods:
    """The part of `paperclip.index.Index` that deals with its versions."""

    def versions(self):
        """
        List the versions that can be opened.

        Returns
        -------
        table : `~astropy.table.Table`
            Oldest first: ``version``, ``time`` (ISO 8601, UTC), ``n_rows``,
            ``tags`` (with commas between them) and ``note``, what was done.
        """
        with reading(self.uri):
            dataset = open_dataset(self._place)
            names = {}
            for name, tag in dataset.tags.list().items():
                names.setdefault(tag["version"], []).append(name)
            items = dataset.versions()
            rows = [_row(dataset, item, names) for item in items]
        columns = ["version", "time", "n_rows", "tags", "note"]
        types = ["int64", str, "int64", str, str]
        if not rows:
            return Table(names=columns, dtype=types, meta={"uri": self.uri})
        table = Table(rows=rows, names=columns, dtype=types)
        table.meta["uri"] = self.uri
        return table

    def restore(self, version):
        """
        Make the newest version the same as an older one.

        Parameters
        ----------
        version : int or str
            Number or tag. Nothing is lost: the versions after it stay, and
            can be restored themselves.

        Returns
        -------
        version : int
            Number of the new version.

        Raises
        ------
        InvalidQueryError
            If there is no such version.
        DamagedIndexError
            If files of that version are missing.
        IndexWriteError
            If the index cannot be written.
        """
        from lance import LanceOperation

        version = _checked(version)

        def attempt():
            old = open_snapshot(self._place, 0, version=version).dataset
            note = f"restore version {old.version}"
            if isinstance(version, str):
                note += f" ({version})"
            newest = open_dataset(self._place)
            operation = LanceOperation.Restore(old.version)
            self._move(commit_operation(self._place, newest, operation, note))
            return self.version

        with writer_lock(self._path):
            return patiently(self._place, attempt)

    def tag(self, name, version=None):
        """
        Give a version a name; `compact` keeps it for good.

        Parameters
        ----------
        name : str
            Letters, digits, ``.``, ``-`` and ``_``; the first is a letter.
        version : int or str, optional
            Number or other tag; the version that this object is at when not
            given.

        Raises
        ------
        InvalidQueryError
            If there is no such version, or the name is taken or not allowed.
        IndexWriteError
            If the index cannot be written.
        """
        if not isinstance(name, str) or not _TAG.match(name):
            msg = (
                "name must start with a letter and hold at most 100 letters, "
                f"digits, '.', '-' and '_', got {name!r}"
            )
            raise InvalidQueryError(msg)
        version = self.version if version is None else _checked(version)
        with writer_lock(self._path):
            dataset = open_snapshot(self._place, 0, version=version).dataset
            taken = self._tags().get(name)
            if taken is not None:
                msg = (
                    f"name {name!r} is the tag of version {taken['version']} already; "
                    "choose another, or take it away with untag first"
                )
                raise InvalidQueryError(msg)
            with writing(self.uri), durable(self._path):
                dataset.tags.create(name, dataset.version)

    def untag(self, name):
        """
        Take the name of a version away; the version itself stays.

        Parameters
        ----------
        name : str
            The tag.

        Raises
        ------
        InvalidQueryError
            If there is no such tag.
        IndexWriteError
            If the index cannot be written.
        """
        with writer_lock(self._path):
            known = self._tags()
            if name not in known:
                listed = ", ".join(sorted(known)) or "(none)"
                msg = f"no tag {name!r} in {self.uri}; there are {listed}"
                raise InvalidQueryError(msg)
            with writing(self.uri), durable(self._path):
                open_dataset(self._place).tags.delete(name)

    def _tags(self):
        with reading(self.uri):
            return open_dataset(self._place).tags.list()


def _checked(version):
    if isinstance(version, str):
        return version
    return whole_number("version", version, 1, 2**63 - 1)


def _row(dataset, item, names):
    number = item["version"]
    time = item["timestamp"].astimezone(UTC).isoformat(timespec="seconds")
    rows = int(item["metadata"]["total_rows"])
    tags = ",".join(sorted(names.get(number, ())))
    return number, time, rows, tags, _note(dataset, number)


def _note(dataset, number):
    """Return what was done, as far as the store tells."""
    try:
        transaction = dataset.read_transaction(number)
    except TypeError:  # pylance 14 cannot show what a compaction with indexes did
        return _KINDS["Rewrite"]
    except (OSError, ValueError):
        transaction = None
    if transaction is None:
        return ""
    message = (transaction.transaction_properties or {}).get(_MESSAGE)
    kind = type(transaction.operation).__name__
    return message or _KINDS.get(kind, kind)
