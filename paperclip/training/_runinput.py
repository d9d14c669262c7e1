# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""What a run is given: pairs, and settings that it may have had before."""

from paperclip.exceptions import InvalidQueryError

from .pairs import PairList

__all__ = ["differences", "from_datasets", "pair_list"]


def pair_list(name, pairs):
    """Return pairs as a list of pairs."""
    if isinstance(pairs, PairList):
        return pairs
    if isinstance(pairs, str | bytes):
        msg = f"{name} must be a PairList, got {type(pairs).__name__}"
        raise InvalidQueryError(msg)
    return PairList(pairs)


def from_datasets(paths, split):
    """Return one part of several data sets."""
    parts = [PairList.from_dataset(path, split) for path in paths]
    return parts[0] if len(parts) == 1 else PairList(p for part in parts for p in part)


def differences(then, now, prefix=""):
    """Name settings that differ, with both values."""
    found = []
    for name in sorted({*then, *now}):
        a, b = then.get(name), now.get(name)
        if isinstance(a, dict) and isinstance(b, dict):
            found += differences(a, b, f"{prefix}{name}.")
        elif a != b and f"{prefix}{name}" != "recipe":
            found.append(f"{prefix}{name} ({a!r} then, {b!r} now)")
    logistics = ("output", "workers", "save_every", "keep", "log", "device")
    return [f for f in found if not f.startswith(tuple(f"run.{n} " for n in logistics))]
