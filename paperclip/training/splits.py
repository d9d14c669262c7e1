# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""
Split observations into training, validation and test sets that share nothing.

A picture of the test set says little about a model that has seen its
neighbour. So whole groups are dealt out: observations of one proposal, those
close to each other on the sky and, if wanted, those of one principal
investigator belong together, and so does everything that such ties connect.
"""

import hashlib
from collections import Counter
from dataclasses import dataclass

import numpy as np
from astropy.table import Table

from paperclip.exceptions import InvalidQueryError
from paperclip.training._conflicts import settle
from paperclip.training._rows import (
    SPLITS,
    degrees,
    earlier_splits,
    fixed_splits,
    investigators_of,
    proposals_of,
)
from paperclip.training._sky import chord_of, link, merge, unit_vectors
from paperclip.utils.checks import whole_number

__all__ = ["SPLITS", "Split", "SplitSettings", "split_proposals"]

_SMALLEST, _LARGEST = 1 / 3600, 10.0  # degrees


@dataclass(frozen=True)
class SplitSettings:
    """
    What belongs together, and how large the splits shall be.

    Parameters
    ----------
    fractions : tuple of three float, optional
        Shares of the rows for train, validation and test; together one.
    radius : `~astropy.units.Quantity` or str, angle, optional
        Observations at most this far apart share a split, with a unit:
        ``"2 arcmin"``. Zero leaves positions out of account.
    by_pi : bool, optional
        Keep all proposals of a principal investigator in one split, too.

    Raises
    ------
    InvalidQueryError
        If a value is not possible.
    """

    fractions: tuple = (0.8, 0.1, 0.1)
    radius: object = "2 arcmin"
    by_pi: bool = False

    def __post_init__(self):
        object.__setattr__(self, "fractions", _fractions(self.fractions))
        object.__setattr__(self, "radius", _radius(self.radius))
        if not isinstance(self.by_pi, bool):
            msg = f"by_pi must be True or False, got {self.by_pi!r}"
            raise InvalidQueryError(msg)

    def to_dict(self):
        """
        Return the settings as JSON can hold them.

        Returns
        -------
        settings : dict
            ``radius`` is in arcmin.
        """
        return {
            "fractions": list(self.fractions),
            "radius": round(float(self.radius.to_value("arcmin")), 9),
            "by_pi": self.by_pi,
        }


def _fractions(given):
    try:
        values = tuple(float(value) for value in given)
    except (TypeError, ValueError):
        values = ()
    if (
        len(values) != len(SPLITS)
        or not all(0 <= value <= 1 for value in values)
        or abs(sum(values) - 1) > 1e-6
        or values[0] == 0
    ):
        msg = (
            "fractions must be three numbers from 0 to 1 for train, validation and "
            f"test, whose sum is 1 and the first is not 0, got {given!r}"
        )
        raise InvalidQueryError(msg)
    return values


def _radius(given):
    from astropy import units as u

    try:
        angle = u.Quantity(given)
        value = angle.to_value(u.deg)
    except (TypeError, ValueError, u.UnitsError):
        value = np.nan
    if np.ndim(value) or not (value == 0 or _SMALLEST <= value <= _LARGEST):
        msg = (
            "radius must be an angle with a unit, from 1 arcsec to 10 deg, or "
            f"'0 arcmin' to leave positions out of account, got {given!r}"
        )
        raise InvalidQueryError(msg)
    return angle.to(u.arcmin)


@dataclass(frozen=True)
class Split:
    """
    Who is in which split.

    Parameters
    ----------
    names : `~numpy.ndarray`, shape (n,), str
        Split of each row, blank for rows that are left out.
    reasons : `~numpy.ndarray`, shape (n,), str
        Why a row is left out, else blank.
    proposals : `~astropy.table.Table`
        One row per proposal: ``proposal_id``, ``mission``, ``split``,
        ``group`` (the smallest name among the proposals that it is tied to)
        and ``n_rows``.
    """

    names: np.ndarray
    reasons: np.ndarray
    proposals: Table


def split_proposals(rows, *, settings=None, seed=0, earlier=None):
    """
    Split observations by proposal, by position and, if wanted, by PI.

    Rows without position are kept together by proposal alone. Groups are
    dealt out in an order drawn from the seed, each to the split that lacks
    most rows; groups of more than half of the smallest split come first,
    large ones in front, and a split that would stay empty gets the smallest
    new group. The result depends neither on the order of the rows nor on the
    version of a random generator.

    Rows that were dealt out earlier never move. New rows of an old proposal,
    or tied to one split only, join it. A new proposal that is tied to two
    splits joins the one that most of its rows are close to (the split of its
    PI, if PIs count), and those of its rows that are close to another split
    are left out, with the reason.

    Parameters
    ----------
    rows : `~astropy.table.Table`
        Observations with ``proposal_id``; ``obs_collection``, ``s_ra`` and
        ``s_dec`` (deg), ``proposal_pi`` where known.
    settings : `SplitSettings`, optional
        What belongs together, and the sizes.
    seed : int, optional
        Another seed gives another split; 0 is a seed like any other.
    earlier : sequence of str, length n, optional
        The split that each row has already, blank for new rows.

    Returns
    -------
    split : `Split`
        Names in the order of the rows.

    Raises
    ------
    InvalidQueryError
        If there is no column ``proposal_id``, one of its values is missing,
        or the seed is no whole number.
    DataSetError
        If ``earlier`` is of another length, has unknown names, or puts one
        proposal into two splits.

    Examples
    --------
    >>> from astropy.table import Table
    >>> from paperclip.training import split_proposals
    >>> rows = Table({"proposal_id": ["1", "2", "3", "3"],
    ...               "s_ra": [359.99, 0.01, 90, 200], "s_dec": [0, 0, 5, 5]})
    >>> split = split_proposals(rows, seed=0)
    >>> bool(split.names[0] == split.names[1])  # 1.2 arcmin apart
    True
    """
    settings = SplitSettings() if settings is None else settings
    seed = whole_number("seed", seed, low=0)
    keys, proposal = proposals_of(rows)
    n = len(rows)
    if {"s_ra", "s_dec"} <= set(rows.colnames):
        vectors = unit_vectors(degrees(rows["s_ra"]), degrees(rows["s_dec"]))
    else:
        vectors = np.full((n, 3), np.nan)
    radius = settings.radius.to_value("deg")
    vectors = vectors if radius else np.full((n, 3), np.nan)
    pi = investigators_of(rows) if settings.by_pi else np.full(n, -1)
    old = earlier_splits(earlier, n)
    fixed = fixed_splits(old, proposal, keys)

    labels = _components(vectors, radius, proposal, pi, np.ones(n, dtype=bool))
    torn = _torn(labels, fixed[proposal])
    reasons = np.full(n, "", dtype=object)
    if torn.any():
        which = np.flatnonzero(torn)
        fixed, dropped = settle(
            which, vectors, chord_of(radius), proposal, pi, old, fixed, SPLITS
        )
        for row, reason in dropped.items():
            reasons[row] = reason
        kept = reasons == ""
        labels = _components(vectors, radius, proposal, pi, kept)
    kept = reasons == ""
    split = _deal(labels, kept, fixed[proposal], proposal, keys, settings, seed)
    names = np.where(kept, np.array([*SPLITS, ""])[split], "")
    table = _proposal_table(names, labels, kept, proposal, keys)
    return Split(names, reasons.astype(str), table)


# ---- groups


def _components(vectors, radius, proposal, pi, kept):
    """Return a number per group of rows; -1 for rows that are not kept."""
    labels = np.full(len(proposal), -1)
    rows = np.flatnonzero(kept)
    parent = np.arange(len(proposal))
    ties = [proposal[rows]]
    known = rows[~np.isnan(vectors[rows, 0])]
    parent = _join(parent, rows, ties[0])
    if len(known):
        parent = _join(parent, known, link(vectors[known], chord_of(radius)))
    named = rows[pi[rows] >= 0]
    parent = _join(parent, named, pi[named])
    labels[rows] = parent[rows]
    return labels


def _join(parent, rows, tie):
    """Join all rows of equal ``tie``."""
    order = np.argsort(tie, kind="stable")
    same = tie[order][1:] == tie[order][:-1]
    return merge(parent, rows[order][1:][same], rows[order][:-1][same])


def _torn(labels, fixed):
    """Tell which rows are in groups that are tied to several splits."""
    bits = np.zeros(labels.max(initial=-1) + 1, dtype=np.int64)
    known = fixed >= 0
    np.bitwise_or.at(bits, labels[known], 1 << fixed[known])
    several = (bits & (bits - 1)) > 0
    return several[labels] if len(labels) else np.zeros(0, dtype=bool)


def _draw(seed, name):
    """Return a number of 64 bits that is drawn from a seed and a name."""
    digest = hashlib.sha256(f"{seed}:{name}".encode("utf-8", "replace")).digest()
    return int.from_bytes(digest[:8], "big")


def _group_names(labels, kept, proposal, keys):
    """Return label -> name of its first proposal; proposals are sorted."""
    first = {}
    for label, number in zip(
        labels[kept].tolist(), proposal[kept].tolist(), strict=True
    ):
        first[label] = min(number, first.get(label, number))
    return {label: "-".join(filter(None, keys[i])) for label, i in first.items()}


def _deal(labels, kept, fixed, proposal, keys, settings, seed):
    """Return the number of the split of each row, -1 for those left out."""
    names = _group_names(labels, kept, proposal, keys)
    sizes = dict(zip(*np.unique(labels[kept], return_counts=True), strict=True))
    sizes = {int(label): int(size) for label, size in sizes.items()}
    known = kept & (fixed >= 0)
    chosen = dict(zip(labels[known].tolist(), fixed[known].tolist(), strict=True))
    total = sum(sizes.values())
    lack = [fraction * total for fraction in settings.fractions]
    for label, number in chosen.items():
        lack[number] -= sizes[label]
    wanted = [i for i, fraction in enumerate(settings.fractions) if fraction]
    bound = min(settings.fractions[i] for i in wanted) * total / 2
    new = [label for label in names if label not in chosen]
    drawn = {label: _draw(seed, names[label]) for label in new}
    new.sort(key=lambda x: (-sizes[x] if sizes[x] > bound else 0, drawn[x], names[x]))
    for label in new:
        number = max(wanted, key=lambda i: lack[i])
        chosen[label] = number
        lack[number] -= sizes[label]
    _fill_empty(chosen, new, sizes, drawn, wanted)
    result = np.full(len(labels), -1)
    result[kept] = [chosen[label] for label in labels[kept].tolist()]
    result[known] = fixed[known]  # they never move, whatever their group does
    return result


def _fill_empty(chosen, new, sizes, drawn, wanted):
    """Give the smallest new group to each split that has none."""
    for number in wanted:
        members = Counter(chosen.values())
        if members[number]:
            continue
        spare = [label for label in new if members[chosen[label]] > 1]
        if spare:
            chosen[min(spare, key=lambda x: (sizes[x], drawn[x]))] = number


def _proposal_table(names, labels, kept, proposal, keys):
    groups = _group_names(labels, kept, proposal, keys)
    counts = np.bincount(proposal[kept], minlength=len(keys))
    of = dict(zip(proposal[kept].tolist(), np.flatnonzero(kept).tolist(), strict=True))
    rows = [(of.get(i), key, int(counts[i])) for i, key in enumerate(keys)]
    return Table(
        {
            "proposal_id": [key[1] for _, key, _ in rows],
            "mission": [key[0] for _, key, _ in rows],
            "split": ["" if row is None else str(names[row]) for row, _, _ in rows],
            "group": ["" if row is None else groups[labels[row]] for row, _, _ in rows],
            "n_rows": [count for _, _, count in rows],
        },
        dtype=[str, str, str, str, np.int64],
    )
