# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""What a run is given: pairs, and settings that it may have had before."""

import warnings

from paperclip.exceptions import DataSetError, InvalidQueryError, TrainingWarning

from .pairs import PairList
from .tables import read_pairs

__all__ = ["differences", "pair_list", "read_parts"]

_NAMED = 3


def pair_list(name, pairs):
    """Return pairs as a list of pairs."""
    if isinstance(pairs, PairList):
        return pairs
    if isinstance(pairs, str | bytes):
        msg = f"{name} must be a PairList, got {type(pairs).__name__}"
        raise InvalidQueryError(msg)
    return PairList(pairs)


def read_parts(settings, *, validation=True):
    """
    Read what a run is trained and compared on.

    Parameters
    ----------
    settings : `~paperclip.training.DataSettings`
        Data sets or tables, and the names of two of their parts.
    validation : bool, optional
        Whether the second one is wanted.

    Returns
    -------
    pairs, validation : `~paperclip.training.PairList` or None
        None for validation pairs that are not wanted or not there.

    Raises
    ------
    InvalidQueryError
        If nothing is named, or something that is no table of pairs.
    DataSetError
        If there is no such data set, or nothing to train on.

    Warns
    -----
    TrainingWarning
        If there are no validation pairs, or groups are in both parts.
    """
    if not settings.path:
        msg = "name a data set or a table in data.path, or give pairs"
        raise InvalidQueryError(msg)
    pairs = _joined(settings.path, settings.train)
    if not validation:
        return pairs, None
    try:
        held = _joined(settings.path, settings.validation)
    except (DataSetError, InvalidQueryError) as exc:
        msg = f"no figures while training, and the last step is the result: {exc}"
        warnings.warn(msg, TrainingWarning, stacklevel=5)
        return pairs, None
    both = set(pairs.groups) & set(held.groups)
    if both:
        named = ", ".join(sorted(both)[:_NAMED])
        msg = (
            f"{len(both)} groups are in training and in validation ({named}); figures "
            "will look better than they are"
        )
        warnings.warn(msg, TrainingWarning, stacklevel=5)
    return pairs, held


def _joined(paths, split):
    parts = [read_pairs(path, split) for path in paths]
    return parts[0] if len(parts) == 1 else PairList(p for part in parts for p in part)


def differences(then, now, prefix=""):
    """Name settings that differ, with both values."""
    found = []
    for name in sorted({*then, *now}):
        a, b = then.get(name), now.get(name)
        if name not in then and not b:
            continue  # a switch that did not exist then, and is off
        if isinstance(a, dict) and isinstance(b, dict):
            found += differences(a, b, f"{prefix}{name}.")
        elif a != b and f"{prefix}{name}" != "recipe":
            found.append(f"{prefix}{name} ({a!r} then, {b!r} now)")
    logistics = ("output", "workers", "save_every", "keep", "log", "device")
    return [f for f in found if not f.startswith(tuple(f"run.{n} " for n in logistics))]
