# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""Read what the rows of observations say about who belongs to whom."""

import numpy as np

from paperclip.exceptions import DataSetError, InvalidQueryError

__all__ = [
    "SPLITS",
    "degrees",
    "earlier_splits",
    "fixed_splits",
    "investigators_of",
    "proposals_of",
]

SPLITS = ("train", "validation", "test")
"""Names of the splits."""


def _text(rows, name):
    """Return a column as a list of stripped texts, blank where it is missing."""
    if name not in rows.colnames:
        return [""] * len(rows)
    column = np.ma.asarray(rows[name])
    mask = np.ma.getmaskarray(column)
    values = [
        "" if missing or value is None else str(value).strip()
        for value, missing in zip(column.data.tolist(), mask, strict=True)
    ]
    return ["" if value in ("nan", "--") else value for value in values]


def degrees(column):
    unit = getattr(column, "unit", None)
    values = np.ma.asarray(getattr(column, "value", column), dtype=np.float64)
    if unit is None or str(unit) == "deg":
        return values
    from astropy import units as u

    return np.ma.array(
        u.Quantity(np.ma.filled(values, np.nan), unit).to_value(u.deg),
        mask=np.ma.getmaskarray(values),
    )


def proposals_of(rows):
    """Return the sorted (mission, proposal) keys and the key of each row."""
    if "proposal_id" not in rows.colnames:
        msg = f"rows must have a column proposal_id; they have {rows.colnames}"
        raise InvalidQueryError(msg)
    ids = _text(rows, "proposal_id")
    if "" in ids:
        msg = (
            f"proposal_id of row {ids.index('')} is missing; a row without proposal "
            "cannot be kept apart from the others, leave it out"
        )
        raise InvalidQueryError(msg)
    pairs = list(zip(_text(rows, "obs_collection"), ids, strict=True))
    keys = sorted(set(pairs))
    number = {key: i for i, key in enumerate(keys)}
    return keys, np.array([number[pair] for pair in pairs], dtype=np.int64)


def investigators_of(rows):
    """Return a number per PI, whatever case and marks; -1 if missing."""
    names = [
        " ".join("".join(c if c.isalnum() else " " for c in name).casefold().split())
        for name in _text(rows, "proposal_pi")
    ]
    number = {name: i for i, name in enumerate(sorted(set(names) - {""}))}
    return np.array([number.get(name, -1) for name in names], dtype=np.int64)


def earlier_splits(earlier, n):
    """Return the number of the earlier split of each row, -1 where there is none."""
    if earlier is None:
        return np.full(n, -1)
    names = [
        "" if name is None or name is np.ma.masked else str(name) for name in earlier
    ]
    if len(names) != n:
        msg = f"earlier must have one entry for each of {n} rows, got {len(names)}"
        raise DataSetError(msg)
    if unknown := sorted(set(names) - {*SPLITS, ""}):
        msg = f"earlier must hold {', '.join(SPLITS)} or '', got {unknown[0]!r}"
        raise DataSetError(msg)
    number = {**{name: i for i, name in enumerate(SPLITS)}, "": -1}
    return np.array([number[name] for name in names], dtype=np.int64)


def fixed_splits(old, proposal, keys):
    """Return the split of every proposal that has one, else -1."""
    fixed = np.full(len(keys), -1)
    known = old >= 0
    fixed[proposal[known]] = old[known]
    wrong = np.flatnonzero(known & (fixed[proposal] != old))
    if len(wrong):
        mission, name = keys[proposal[wrong[0]]]
        msg = f"proposal {mission} {name} is in two earlier splits; split anew"
        raise DataSetError(msg.replace("  ", " "))
    return fixed
