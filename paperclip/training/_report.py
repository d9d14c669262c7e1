# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""Count what is in the splits of a data set, and how far apart they are."""

import numpy as np
from astropy import units as u
from astropy.table import MaskedColumn, Table

from paperclip.training._sky import nearest, unit_vectors

__all__ = ["split_report"]

_DESCRIPTIONS = {
    "split": "Name of the split",
    "rows": "Pairs of picture and text",
    "fraction": "Share of all pairs",
    "wanted": "Share that was asked for",
    "proposals": "Different proposals",
    "positions": "Different positions on the sky",
    "pis": "Different principal investigators",
    "largest_group": "Pairs of the largest group that belongs together",
    "no_position": "Share of the pairs without a position",
    "nearest": "Distance to the nearest position of another split",
}


def split_report(rows, names, groups, fractions):
    """
    Say what is in each split.

    Parameters
    ----------
    rows : `~astropy.table.Table`
        Observations, with ``proposal_id``, and where known ``obs_collection``,
        ``proposal_pi``, ``s_ra`` and ``s_dec``.
    names : sequence of str, length n
        Split of each row, blank for rows that are left out.
    groups : sequence of str, length n
        Group of each row.
    fractions : dict of str to float
        Splits and the shares that were asked for.

    Returns
    -------
    report : `~astropy.table.Table`
        One row per split, masked where there is nothing to count; the
        columns describe themselves.
    """
    names, groups = np.asarray(names, dtype=str), np.asarray(groups, dtype=str)
    if {"s_ra", "s_dec"} <= set(rows.colnames):
        vectors = unit_vectors(rows["s_ra"], rows["s_dec"])
    else:
        vectors = np.full((len(rows), 3), np.nan)
    known = ~np.isnan(vectors[:, 0])
    proposals = _joined(rows, ("obs_collection", "proposal_id"))
    pis = _joined(rows, ("proposal_pi",))
    distances = _distances(vectors, names, list(fractions))
    used = max(1, int((names != "").sum()))
    lines = []
    for name, wanted in fractions.items():
        here = names == name
        n = int(here.sum())
        sizes = np.unique(groups[here], return_counts=True)[1]
        lines.append(
            {
                "split": name,
                "rows": n,
                "fraction": n / used,
                "wanted": wanted,
                "proposals": len(set(proposals[here].tolist())),
                "positions": len(np.unique(vectors[here & known], axis=0)),
                "pis": len(set(pis[here].tolist()) - {""}),
                "largest_group": int(sizes.max(initial=0)),
                "no_position": float((~known[here]).mean()) if n else np.nan,
                "nearest": distances[name],
            }
        )
    table = Table(rows=lines, names=list(_DESCRIPTIONS))
    for column, text in _DESCRIPTIONS.items():
        table[column].info.description = text
    for column in ("no_position", "nearest"):
        values = table[column]
        table[column] = MaskedColumn(
            values, mask=np.isnan(values), description=_DESCRIPTIONS[column]
        )
    table["nearest"].unit = u.arcmin
    for column in ("fraction", "wanted", "no_position"):
        table[column].info.format = ".3f"
    table["nearest"].info.format = ".2f"
    return table


def _joined(rows, columns):
    """Return the texts of some columns of each row, in one."""
    parts = []
    for name in columns:
        if name in rows.colnames:
            values = np.ma.asarray(rows[name]).astype(str)
            parts.append(np.ma.filled(values, "").tolist())
    if not parts:
        return np.full(len(rows), "", dtype=object)
    joined = [
        " ".join(part.strip() for part in row) for row in zip(*parts, strict=True)
    ]
    return np.array(joined, dtype=object)


def _distances(vectors, names, splits):
    """Return split -> distance to the nearest position of the others, arcmin."""
    found = dict.fromkeys(splits, np.nan)
    for i, one in enumerate(splits):
        for two in splits[i + 1 :]:
            angle = nearest(vectors[names == one], vectors[names == two]) * 60
            found[one] = np.fmin(found[one], angle)
            found[two] = np.fmin(found[two], angle)
    return {name: float(value) for name, value in found.items()}
