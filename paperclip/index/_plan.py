# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""Choose how a search is done."""

from collections.abc import Callable
from dataclasses import dataclass

__all__ = ["Plan", "choose"]


@dataclass(frozen=True)
class Plan:
    """
    How one search is done.

    Parameters
    ----------
    kind : str
        ``"exact"`` or ``"ann"``.
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
        What to do.
    """
    return Plan()
