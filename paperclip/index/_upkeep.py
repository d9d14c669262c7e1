# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""Upkeep of an index: fewer files, indexes of columns, old versions."""

from datetime import timedelta
from numbers import Real
from typing import NamedTuple

from paperclip.exceptions import InvalidQueryError
from paperclip.index._commit import STORAGE, patiently, writing
from paperclip.index._files import durable, writer_lock
from paperclip.index._opening import open_dataset

__all__ = ["SCALAR_INDEXES", "Compacted", "UpkeepMethods", "clean"]

#: Kind of the index of a column, by the name of the column. Times have none: to list
#: the rows of half a mission by it took ten times as long as to read all times.
SCALAR_INDEXES = {
    "obs_id": "BTREE",
    "proposal_id": "BTREE",
    "hpx29": "BTREE",
    "sky_radius": "BTREE",  # for the few footprints that ranges of cells miss
    "obs_collection": "BITMAP",
    "instrument_name": "BITMAP",
    "filters": "BITMAP",
}
_INDEX_FROM = 10_000  # rows; fewer are read as quickly without indexes
_DELETED = 0.05  # share of deleted rows from which a file is written again


class Compacted(NamedTuple):
    """What `UpkeepMethods.compact` did."""

    files_before: int
    files_after: int
    versions_removed: int
    bytes_removed: int


class UpkeepMethods:
    """The part of `paperclip.index.Index` that keeps it quick and small."""

    def compact(self, *, keep_days=7):
        """
        Put small files together, index columns, remove old versions.

        Parameters
        ----------
        keep_days : float, optional
            Versions that are older are removed with the files that only they
            need, at least 1. Those with a tag and the newest are kept.

        Returns
        -------
        report : tuple
            Named tuple: data files before and after (``files_before``,
            ``files_after``), ``versions_removed`` and ``bytes_removed``.

        Raises
        ------
        InvalidQueryError
            If ``keep_days`` is less than 1.
        IndexWriteError
            If the index cannot be written; it stays as it was.

        Notes
        -----
        The order of the rows stays. Who has a version open reads on until it
        is older than ``keep_days``. Files that writers left when they were
        killed are removed when they are a week old. From 10,000 rows on the
        columns of ``SCALAR_INDEXES`` are indexed, so that filters and the
        search for ids need not read all rows.
        """
        if (
            isinstance(keep_days, bool)
            or not isinstance(keep_days, Real)
            or not 1 <= keep_days <= 36500
        ):
            msg = (
                "keep_days must be a number of days from 1 to 36500, because whoever "
                f"has an older version open could not read on; got {keep_days!r}"
            )
            raise InvalidQueryError(msg)
        with writer_lock(self._path):
            self.refresh()
            before = _count_files(self._snapshot.dataset)
            # Lance puts only files together that the same indexes cover
            patiently(self._place, self._index_columns)
            patiently(self._place, self._merge_files)
            removed = clean(self._place, timedelta(days=float(keep_days)))
            self.refresh()
        return Compacted(before, _count_files(self._snapshot.dataset), *removed)

    def _merge_files(self):
        from lance.optimize import Compaction

        dataset = open_dataset(self._place)
        options = {
            "materialize_deletions_threshold": _DELETED,
            "data_storage_version": STORAGE,
        }
        plan = Compaction.plan(dataset, options)
        if not plan.tasks:
            return
        with writing(self.uri):
            with durable(self._path):  # what a commit names must be on disk
                done = [task.execute(dataset) for task in plan.tasks]
            with durable(self._path):
                Compaction.commit(dataset, done)
        self.refresh()

    def _index_columns(self):
        for column, kind in SCALAR_INDEXES.items():
            dataset = open_dataset(self._place)
            if column in dataset.schema.names:
                with writing(self.uri), durable(self._path):
                    _index_column(dataset, column, kind)
        self.refresh()


def _index_column(dataset, column, kind):
    """Make the index of a column, or bring it up to date."""
    name = f"{column}_idx"
    known = {i.name: i for i in dataset.describe_indices() if i.field_names == [column]}
    if name not in known:
        if dataset.count_rows() < _INDEX_FROM:
            return
        dataset.create_scalar_index(column, kind, name=name)
        return
    covered = set()
    for segment in known[name].segments:
        covered |= set(segment.fragment_ids or ())
    if {part.fragment_id for part in dataset.get_fragments()} - covered:
        dataset.optimize.optimize_indices(index_names=[name])


def _count_files(dataset):
    return sum(len(part.metadata.files) for part in dataset.get_fragments())


def clean(place, age):
    """
    Remove versions of an age that have no tag, and their files.

    Parameters
    ----------
    place : `~paperclip.index._files.Place`
        Where the index is.
    age : `~datetime.timedelta`
        Versions that are older are removed, but not the newest.

    Returns
    -------
    removed : tuple of (int, int)
        Number of versions and bytes.

    Raises
    ------
    IndexWriteError
        If files cannot be removed.
    """
    with writing(place.uri), durable(place.path):
        dataset = open_dataset(place)
        stats = dataset.cleanup_old_versions(
            older_than=age, error_if_tagged_old_versions=False
        )
    return stats.old_versions, stats.bytes_removed
