# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""
Measure what an approximate index finds, and choose how to search it.

The true answers of some queries are compared with what the index nominates.
Half of the queries are rows of the table, each without itself; the others are
far from all rows, as texts are: those that the caller gives, or made ones. So
many partitions and candidates are taken that the worse half, and with filters
the worse kind of filter, has the recall that was asked for.

A filter that keeps rows at random is the easy case. Real ones, an instrument
for example, keep rows that look alike, and may keep none of those around the
query. So half of the filters keep the rows on one side of a blurred plane.
"""

import time
from dataclasses import dataclass

import numpy as np

from paperclip.index._approx import Level, allow_list, nominate

__all__ = ["LIMITS", "SHARES", "calibrate"]

#: Sizes of an answer that are measured.
LIMITS = (10, 100, 1000)
#: Parts of the rows that filters keep in the measurement.
SHARES = (1.0, 0.2, 0.01)
# candidates for each row wanted that are tried, by kind and size of the answer
_CANDIDATES = {
    "fast": {10: (2.0, 4.0), 100: (1.5, 3.0), 1000: (1.2, 2.0)},
    "small": {10: (10.0, 30.0, 90.0), 100: (5.0, 12.0, 30.0), 1000: (4.0, 10.0, 25.0)},
}
_QUERIES = 20  # of each half
_TIMED = 9
_FEWEST = 4  # rows of a share for each row wanted; fewer are always compared


@dataclass(frozen=True, eq=False)
class _Case:
    """A query, the rows it may find, and the best of them."""

    family: tuple
    query: np.ndarray
    rows: np.ndarray | None
    allowed: bytes | None
    own: np.uint64 | None
    truth: np.ndarray


def calibrate(snapshot, *, kind, n_partitions, recall, queries, seed, tell):
    """
    Measure recall and time, and choose how to search.

    Parameters
    ----------
    snapshot : `~paperclip.index._snapshot.Snapshot`
        A version with an approximate index.
    kind : str
        Kind of that index.
    n_partitions : int
        Number of its parts.
    recall : float
        Share of the best rows to be found, 0 to 1.
    queries : `~numpy.ndarray`, shape (n, d), dtype float32, or `None`
        Unit vectors of real queries.
    seed : int
        Of all random numbers.
    tell : callable
        Called with a stage and the part of it that is done, 0 to 1.

    Returns
    -------
    levels : list of `~paperclip.index._approx.Level`
        What to do by share of the rows and size of the answer.
    curve : list of list
        Share, limit, nprobes, candidates and recall of all that was tried.
    """
    rng = np.random.default_rng([seed, 1])
    families = _queries(snapshot, queries, rng)
    limits = [n for n in LIMITS if _FEWEST * n <= snapshot.n_rows]
    levels, curve = [], []
    for number, share in enumerate(SHARES):
        fits = [n for n in limits if _FEWEST * n <= share * snapshot.n_rows]
        if not fits:
            continue
        tell("measuring", number / len(SHARES))
        cases = _cases(snapshot, families, share, fits[-1], rng)
        found = _recalls(snapshot.dataset, cases, fits, kind, n_partitions, recall)
        curve += [[share, *key, value] for key, value in found.items()]
        levels += [
            _level(snapshot, cases, found, share, limit, n_partitions, recall)
            for limit in fits
        ]
    tell("measuring", 1.0)
    return levels, curve


def _queries(snapshot, given, rng):
    """Return rows with their addresses, and queries far from all rows."""
    addresses = snapshot.addresses()
    rows = np.sort(rng.choice(len(addresses), 3 * _QUERIES, replace=False))
    vectors = snapshot.vectors_at(addresses[rows])
    near = list(zip(vectors[:_QUERIES], addresses[rows], strict=False))
    if given is not None:
        chosen = rng.permutation(len(given))[:_QUERIES]
        return {"near": near, "far": [(given[i], None) for i in chosen]}
    # half about what a row is about beside what all have in common, half noise
    own = vectors[_QUERIES:] - vectors.mean(axis=0)
    noise = rng.standard_normal(own.shape, np.float32)
    far = _unit(0.45 * _unit(own) + 0.88 * _unit(noise))[:_QUERIES]
    return {"near": near, "far": [(query, None) for query in far]}


def _unit(vectors):
    length = np.linalg.norm(vectors, axis=-1, keepdims=True)
    return (vectors / np.maximum(length, 1e-12)).astype(np.float32)


def _cases(snapshot, families, share, limit, rng):
    if share == 1:
        filters = {"none": (None, None)}
    else:
        picked = _filters(snapshot, share, rng)
        filters = {k: (rows, allow_list(rows)) for k, rows in picked.items()}
    cases = []
    for name, pairs in families.items():
        for query, own in pairs:
            for filter_name, (rows, allowed) in filters.items():
                truth, _ = snapshot.best(query, limit + (own is not None), rows)
                truth = truth[truth != own][:limit] if own is not None else truth
                family = (name, filter_name)
                cases.append(_Case(family, query, rows, allowed, own, truth))
    return cases


def _filters(snapshot, share, rng):
    addresses = snapshot.addresses()
    middle, one = snapshot.vectors_at(addresses[rng.integers(0, len(addresses), 2)])
    side = snapshot.similarities(_unit(one - middle)).astype(np.float32)
    side += side.std() * rng.standard_normal(len(side), np.float32)
    n = max(1, round(share * len(addresses)))
    alike = np.argpartition(-side, n - 1)[:n]
    random = rng.choice(len(addresses), n, replace=False)
    return {"random": np.sort(addresses[random]), "alike": np.sort(addresses[alike])}


def _recalls(dataset, cases, limits, kind, n_partitions, aim):
    """Return the recall of the worst family by limit, nprobes and candidates."""
    found = {}
    factors = _CANDIDATES[kind]
    most = max(round(factors[limit][-1] * limit) for limit in limits)
    nprobes = max(1, n_partitions // 128)
    while True:
        hits = {}
        for case in cases:
            named = nominate(
                dataset, case.query, n=most, nprobes=nprobes, allowed=case.allowed
            )
            named = named[named != case.own] if case.own is not None else named
            for limit in limits:
                for factor in factors[limit]:
                    first = named[: round(factor * limit)]
                    truth = case.truth[:limit]
                    part = np.isin(truth, first).mean() if len(truth) else 1.0
                    key = (limit, nprobes, factor)
                    hits.setdefault(key, {}).setdefault(case.family, []).append(part)
        for key, families in hits.items():
            found[key] = round(min(np.mean(p).item() for p in families.values()), 4)
        enough = all(
            any(found[limit, nprobes, f] >= _goal(aim) for f in factors[limit])
            for limit in limits
        )
        if enough or nprobes == n_partitions:
            return found
        nprobes = min(2 * nprobes, n_partitions)


def _goal(aim):
    """Return a recall a little above the one asked for, as this is a sample."""
    return aim + 0.2 * (1 - aim)


def _level(snapshot, cases, found, share, limit, n_partitions, aim):
    """Choose the quickest setting that reaches the aim, and time it."""
    options = {}  # candidates -> fewest partitions that reach the aim
    for enough in (_goal(aim), aim):
        for (n, nprobes, factor), value in found.items():
            if n == limit and value >= enough:
                options[factor] = min(options.get(factor, n_partitions), nprobes)
        if options:
            break
    ways = list(options.items())
    settings = [None, 0, *((nprobes, round(f * limit)) for f, nprobes in ways)]
    whole, exact, *seconds = _timed(snapshot, cases, limit, settings)
    if not ways:
        most = max(value for (n, *_), value in found.items() if n == limit)
        return Level(share, limit, 0, 0.0, most, 0.0, round(exact / whole, 4))
    quickest = int(np.argmin(seconds))
    factor, nprobes = ways[quickest]
    value = found[limit, nprobes, factor]
    ratio = seconds[quickest] / whole
    ratios = round(ratio, 4), round(exact / whole, 4)
    return Level(share, limit, nprobes, factor, value, *ratios)


def _timed(snapshot, cases, limit, settings):
    """Return median times of searches of all rows, of the allowed, of the index."""
    taken = [[] for _ in settings]
    for case in cases[:: max(1, len(cases) // _TIMED)]:
        for setting, times in zip(settings, taken, strict=True):
            start = time.perf_counter()
            if setting is None:
                snapshot.best(case.query, limit)
            elif setting == 0:
                snapshot.best(case.query, limit, case.rows)
            else:
                allowed = None if case.rows is None else allow_list(case.rows)
                nprobes, n = setting
                named = nominate(
                    snapshot.dataset, case.query, n=n, nprobes=nprobes, allowed=allowed
                )
                snapshot.best(case.query, limit, np.sort(named))
            times.append(time.perf_counter() - start)
    return [float(np.median(times)) for times in taken]
