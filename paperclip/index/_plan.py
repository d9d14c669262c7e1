# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""Choose how a search is done: exactly, or through an approximate index."""

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from weakref import WeakKeyDictionary

import numpy as np

from paperclip.exceptions import IndexRecoveredWarning
from paperclip.index._approx import (
    KEY,
    STORED,
    Tuning,
    allow_list,
    indexed,
    nominate,
)
from paperclip.index._reading import ADDRESS, first_line, from_store

__all__ = ["Plan", "Standing", "choose", "standing"]

_PAYS = 0.8  # of the time of the exact search: more is not worth any loss
# rows that a filter keeps; so few are compared one by one in less time than a
# user notices, and what is found does not depend on how the filter was measured
_FEW = 200_000
_KNOWN = WeakKeyDictionary()


@dataclass
class Plan:
    """
    How one search is done.

    Parameters
    ----------
    kind : str
        ``"exact"`` or ``"ann"``; after the search, what it was.
    recall : float
        Expected share of the true best rows that are found; 1 for exact.
    search : callable or `None`
        For any other kind than exact: called with the query, the limit and
        the addresses of the rows asked for (or `None`), returns what
        `Snapshot.best` returns.
    """

    kind: str = "exact"
    recall: float = 1.0
    search: Callable | None = None


@dataclass(eq=False)
class Standing:
    """
    What a version knows of its approximate index.

    Parameters
    ----------
    tuning : `~paperclip.index._approx.Tuning` or `None`
        `None` if there is no index, or it was never measured.
    usable : bool
        Whether the measurement holds for the index that is there.
    outside : tuple of int
        Fragments that came after the index was made.
    new_rows : `~numpy.ndarray` of uint64
        Their rows, ascending.
    """

    tuning: Tuning | None
    usable: bool
    outside: tuple = ()
    new_rows: np.ndarray | None = None


def standing(snapshot):
    """
    Look at the approximate index of a version, once.

    Parameters
    ----------
    snapshot : `~paperclip.index._snapshot.Snapshot`
        The version.

    Returns
    -------
    found : `Standing`
        From the manifest; the index itself is not read.
    """
    if snapshot not in _KNOWN:
        _KNOWN[snapshot] = _look(snapshot)
    return _KNOWN[snapshot]


def _look(snapshot):
    dataset = snapshot.dataset
    tuning = Tuning.from_text(dataset.config().get(KEY))
    found = indexed(dataset)
    if tuning is None or found is None:
        return Standing(None, usable=False)
    # moving rows to other files renews the parts, but they hold the same rows; more
    # rows, or several parts, are an index that was not measured
    same = {part.uuid for part in found.segments} == set(tuning.identity)
    moved = (
        len(found.segments) == 1
        and found.index_type == STORED[tuning.kind]
        and found.num_rows_indexed <= tuning.rows
    )
    covered = {n for part in found.segments for n in part.fragment_ids}
    parts = [p for p in dataset.get_fragments() if p.fragment_id not in covered]
    outside = tuple(sorted(part.fragment_id for part in parts))
    rows = np.empty(0, np.uint64)
    if parts:
        scanner = dataset.scanner(columns=[], with_row_address=True, fragments=parts)
        rows = np.sort(scanner.to_table()[ADDRESS].to_numpy())
    return Standing(tuning, same or moved, outside, rows)


def choose(snapshot, row_filter, limit, exact, addresses=None):
    """
    Choose how a search is done.

    Parameters
    ----------
    snapshot : `~paperclip.index._snapshot.Snapshot`
        The version to search.
    row_filter : object or `None`
        The rows asked for.
    limit : int
        Largest number of rows.
    exact : bool
        True forbids an approximate answer.
    addresses : `~numpy.ndarray` of uint64, optional
        The rows that fulfil ``row_filter``, ascending.

    Returns
    -------
    plan : `Plan`
        What to do. Approximate only if that was measured to be quicker by a
        fifth at least, for an answer of that size and a filter that keeps
        that part of the rows, with the recall that was asked for.
    """
    if exact or (addresses is not None and len(addresses) <= _FEW):
        return Plan()
    known = standing(snapshot)
    if not known.usable or not snapshot.n_rows:
        return Plan()
    n_match = snapshot.n_rows if addresses is None else len(addresses)
    share = 1.0 if addresses is None else n_match / snapshot.n_rows
    level = _fitting(known.tuning, share, limit, filtered=addresses is not None)
    if level is None:
        return Plan()
    apart = len(known.new_rows) / snapshot.n_rows
    if level.time + apart > _PAYS * _exact_time(known.tuning, level, share, addresses):
        return Plan()
    plan = Plan("ann", level.recall)
    plan.search = partial(_search, plan, snapshot, known, level)
    return plan


def _fitting(tuning, share, limit, *, filtered):
    """Return the level that was measured for as few rows or fewer, if any is good."""
    below = [v.share for v in tuning.levels if v.share <= share]
    if filtered:  # what was measured without a filter does not tell
        below = [value for value in below if value < 1]
    fits = [
        v
        for v in tuning.levels
        if below and v.share == max(below) and v.limit >= limit and v.nprobes
    ]
    return min(fits, key=lambda v: v.limit, default=None)


def _exact_time(tuning, level, share, addresses):
    """Return the time of the exact search, that of all rows being one."""
    if addresses is None:
        return 1.0
    known = sorted(
        (v.share, v.exact_time)
        for v in tuning.levels
        if v.limit == level.limit and v.share < 1
    )
    shares, times = zip((0.0, 0.0), *known, strict=True)
    return float(np.interp(share, (*shares, 1.0), (*times, max(1.0, times[-1]))))


def _search(plan, snapshot, known, level, query, limit, addresses=None):
    """Return what `Snapshot.best` returns, of the rows that the index nominates."""
    new = known.new_rows
    allowed = None
    if addresses is not None:
        new = np.intersect1d(new, addresses, assume_unique=True)
        allowed = allow_list(addresses)
    try:
        named = nominate(
            snapshot.dataset,
            query,
            n=max(limit, round(level.candidates * level.limit)),
            nprobes=level.nprobes,
            allowed=allowed,
        )
    except BaseException as exc:
        if not from_store(exc):
            raise
        msg = (
            f"the approximate index of {snapshot.uri} cannot be read; the exact search "
            "is used. Make it anew with create_ann or remove it with drop_ann. "
            f"The store says: {first_line(exc)}"
        )
        warnings.warn(msg, IndexRecoveredWarning, stacklevel=4)
        known.usable = False
        named = np.empty(0, np.uint64)
    n_match = snapshot.n_rows if addresses is None else len(addresses)
    named = np.union1d(named, new)
    if len(named) < min(limit, n_match):
        plan.kind, plan.recall = "exact", 1.0
        return snapshot.best(query, limit, addresses)
    return snapshot.best(query, limit, named)
