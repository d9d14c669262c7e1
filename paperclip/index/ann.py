# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""The approximate index: make it, measure it, drop it."""

import time
import warnings
from dataclasses import astuple, replace
from datetime import UTC, datetime
from numbers import Real

import numpy as np
from astropy.table import Table

from paperclip.exceptions import (
    ApproximateSearchWarning,
    InvalidQueryError,
)
from paperclip.index._annbuild import (
    build_segment,
    commit_segment,
    partitions_for,
    parts_of,
)
from paperclip.index._approx import KEY, STORED, Tuning, indexed
from paperclip.index._calibrate import calibrate
from paperclip.index._checks import unit_query
from paperclip.index._commit import commit_operation, patiently
from paperclip.index._files import writer_lock
from paperclip.index._plan import standing
from paperclip.index.schema import nearest
from paperclip.utils.checks import whole_number

__all__ = ["AnnMethods"]

_LEAST = 10_000  # rows; fewer are compared in a millisecond
_LEVELS = {
    "share": ("f8", "Part of the rows that a filter keeps; 1 without a filter"),
    "limit": ("i8", "Rows wanted, up to"),
    "nprobes": ("i8", "Partitions searched; 0 if the recall is out of reach"),
    "candidates": ("f8", "Rows compared exactly for each row wanted"),
    "recall": ("f8", "Part of the true best rows that is found"),
    "time": ("f8", "Time, that of the exact search of all rows being one"),
    "exact_time": ("f8", "The same of the exact search of the rows kept"),
}


class AnnMethods:
    """The part of `paperclip.index.Index` for approximate search."""

    def create_ann(
        self, *, recall=0.98, kind=None, seed=0, queries=None, progress=None
    ):
        """
        Make an approximate index of the vectors, and measure what it finds.

        Searches use it from then on where it was measured to be quicker, unless
        they ask for ``exact=True``. Rows that are added later are found all the
        same, because they are compared one by one; make the index anew when
        they are many.

        Parameters
        ----------
        recall : float, optional
            Part of the true best rows that searches should find on average,
            between 0 and 1.
        kind : str, optional
            ``"small"`` (default): one bit per dimension, about 8 % of the
            size of the vectors. ``"fast"``: one byte per dimension, half of
            their size, for vectors that ``"small"`` cannot tell apart.
        seed : int, optional
            Of all random numbers. The same rows and seed give the same index on
            one machine; only the scale of ``"fast"`` is from a sample of Lance's.
        queries : array_like, shape (n, d), optional
            Vectors of real queries, of texts above all, to measure with; half
            of the queries are rows of the index in any case. Without them
            vectors far from all rows are made.
        progress : callable, optional
            Called with the name of a stage and the part of it that is done.

        Returns
        -------
        report : `~astropy.table.Table`
            See `ann_info`.

        Raises
        ------
        InvalidQueryError
            If an argument has no meaning, or there are fewer than 10,000 rows.
        IndexWriteError
            If the index cannot be written. Searches go on as before.

        Warns
        -----
        ApproximateSearchWarning
            If the recall is out of reach, or the exact search is as quick, so
            that searches of that size stay exact.

        Notes
        -----
        An inverted file [1]_ of quantised vectors; ``"small"`` uses RaBitQ
        codes [2]_. The candidates are compared exactly, so an approximate
        answer has the same similarities in the same order as an exact one,
        and may only miss rows. Others can read and write meanwhile.

        References
        ----------
        .. [1] https://lance.org/format/index/vector/
        .. [2] Gao & Long 2024, "RaBitQ", Proc. ACM Manag. Data 2, 167
        """
        recall, kind, seed = _checked(recall, kind, seed)
        tell = progress if progress is not None else _say_nothing
        with writer_lock(self._path):  # say at once if it cannot be written
            self.refresh()
        if queries is not None:
            queries = _unit_rows(queries, self.dimension)
        built_from = self._snapshot
        n_rows = built_from.n_rows
        _check_size(self.uri, n_rows)
        start = time.monotonic()
        n_partitions = partitions_for(n_rows)
        segment = build_segment(
            built_from,
            self._place,
            kind=kind,
            n_partitions=n_partitions,
            seed=seed,
            tell=tell,
        )
        if KEY in self._snapshot.dataset.config():
            self._keep_tuning(None)  # it does not hold for the new one
        self._commit_segment(segment, built_from)
        tuning = Tuning(
            kind,
            n_partitions,
            recall,
            n_rows,
            [str(segment.uuid)],
            seed,
            datetime.now(UTC).isoformat(timespec="seconds"),
            round(time.monotonic() - start, 1),
        )
        levels, curve = calibrate(
            self._snapshot,
            kind=kind,
            n_partitions=n_partitions,
            recall=recall,
            queries=queries,
            seed=seed,
            tell=tell,
        )
        self._keep_tuning(replace(tuning, levels=levels, curve=curve))
        _warn_of_slow(levels, recall)
        return self.ann_info()

    def _commit_segment(self, segment, built_from):
        def attempt():
            self.refresh()
            return commit_segment(
                self._place,
                self._snapshot.dataset,
                segment,
                built_from.dataset,
                note="make an approximate index",
            )

        with writer_lock(self._path):
            self._move(patiently(self._place, attempt))

    def _keep_tuning(self, tuning):
        from lance import LanceOperation

        text = None if tuning is None else tuning.to_text()

        def attempt():
            self.refresh()
            update = LanceOperation.UpdateMap({KEY: text})
            operation = LanceOperation.UpdateConfig(config_updates=update)
            dataset = self._snapshot.dataset
            note = "keep what was measured of the approximate index"
            self._move(commit_operation(self._place, dataset, operation, note))

        with writer_lock(self._path):
            patiently(self._place, attempt)

    def drop_ann(self):
        """
        Remove the approximate index; searches are exact from then on.

        Its files go with the next compaction that removes the versions that
        have it.

        Returns
        -------
        dropped : bool
            False if there was none.

        Raises
        ------
        IndexWriteError
            If the index cannot be written.
        """
        from lance import LanceOperation

        def attempt():
            self.refresh()
            dataset = self._snapshot.dataset
            parts = parts_of(dataset)
            if parts:
                operation = LanceOperation.CreateIndex([], parts)
                note = "drop the approximate index"
                self._move(commit_operation(self._place, dataset, operation, note))
            return bool(parts)

        with writer_lock(self._path):
            dropped = patiently(self._place, attempt)
        if KEY in self._snapshot.dataset.config():
            self._keep_tuning(None)
        return dropped

    def ann_info(self, *, curve=False):
        """
        Tell what was measured when the approximate index was made.

        Parameters
        ----------
        curve : bool, optional
            Give all settings that were tried, not only the chosen ones; they
            have no times.

        Returns
        -------
        table : `~astropy.table.Table`
            How searches are done, by the part of the rows that a filter keeps
            (``share``) and the number of rows wanted (``limit``); no rows if
            there is no approximate index. ``meta`` holds ``kind`` (`None`
            without one), ``state`` (``"in use"``, ``"not measured"``:
            searches are exact until it is made anew), ``recall`` (asked
            for), ``partitions``, ``rows`` (when it was made), ``new_rows``
            (compared one by one), ``size`` (bytes), ``created``,
            ``build_time`` (s) and ``seed``.
        """
        found = indexed(self._snapshot.dataset)
        known = standing(self._snapshot)
        names = list(_LEVELS)[:5] if curve else list(_LEVELS)
        rows = []
        if known.usable:
            levels = [astuple(level) for level in known.tuning.levels]
            rows = known.tuning.curve if curve else levels
        table = Table(
            rows=rows or None,
            names=names,
            dtype=[_LEVELS[name][0] for name in names],
            descriptions={name: _LEVELS[name][1] for name in names},
        )
        table.meta["kind"] = table.meta["state"] = None
        if found is None:
            return table
        details = {"size": int(found.total_size_bytes or 0)}
        if known.tuning is not None:
            for name in ("recall", "partitions", "rows", "created"):
                details[name] = getattr(known.tuning, name)
            details["build_time"] = known.tuning.build_time
            details["seed"] = known.tuning.seed
            details["new_rows"] = len(known.new_rows)
        kinds = {made: kind for kind, made in STORED.items()}
        table.meta.update(
            kind=kinds.get(found.index_type, found.index_type),
            state="in use" if known.usable else "not measured",
            **details,
        )
        return table


def _checked(recall, kind, seed):
    if isinstance(recall, bool) or not isinstance(recall, Real) or not 0 < recall < 1:
        msg = (
            "recall must be a number between 0 and 1, for example 0.98; for all rows "
            f"search with exact=True; got {recall!r}"
        )
        raise InvalidQueryError(msg)
    if kind is not None and kind not in STORED:
        msg = f"kind={kind!r} is no kind of approximate index{nearest(kind, STORED)}"
        raise InvalidQueryError(msg)
    return float(recall), kind or "small", whole_number("seed", seed, 0, 2**62)


def _check_size(uri, n_rows):
    if n_rows < _LEAST:
        msg = (
            f"the index {uri} has {n_rows} rows; an approximate index needs {_LEAST}, "
            "because the exact search of fewer takes a millisecond"
        )
        raise InvalidQueryError(msg)


def _unit_rows(queries, dimension):
    try:
        rows = list(np.atleast_2d(np.asarray(queries, dtype=np.float64)))
    except (TypeError, ValueError) as exc:
        msg = f"queries must be vectors, shape (n, {dimension}): {exc}"
        raise InvalidQueryError(msg) from exc
    if not rows:
        msg = "queries must hold one vector at least; leave it out to have some made"
        raise InvalidQueryError(msg)
    return np.stack([unit_query(row, dimension) for row in rows])


def _warn_of_slow(levels, recall):
    plain = [level for level in levels if level.share == 1]
    lost = [level for level in plain if not level.nprobes]
    slow = [level for level in plain if level.nprobes and level.time > 0.8]
    if lost:
        best = max(level.recall for level in lost)
        sizes = ", ".join(str(level.limit) for level in lost)
        msg = (
            f"no setting has a recall of {recall:g} for answers of {sizes} rows (at "
            f"most {best:.3f}); these stay exact. Ask for less, or use kind='fast'"
        )
    elif slow:
        sizes = ", ".join(str(level.limit) for level in slow)
        msg = (
            f"the exact search is as quick for answers of {sizes} rows, which stay "
            "exact; an approximate index pays for more rows than this index has"
        )
    else:
        return
    warnings.warn(msg, ApproximateSearchWarning, stacklevel=3)


def _say_nothing(stage, part):
    """Tell nobody."""
