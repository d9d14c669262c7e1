# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""A fair choice among many pictures that does not depend on their order."""

import hashlib
from collections import defaultdict

import numpy as np

from paperclip.utils.checks import whole_number

from ._fields import column_values
from ._rows import as_text

__all__ = ["check_seed", "choose_previews"]


def choose_previews(products, observations, *, max_per_proposal=None, rng=0):
    """
    Choose pictures so that no proposal and no target has too many.

    Parameters
    ----------
    products : `~astropy.table.Table`
        Previews, as `get_product_list` returns them with a recipe.
    observations : `~astropy.table.Table`
        Rows with ``obsid``, ``proposal_id``, ``obs_collection`` and ``target_name``.
    max_per_proposal : int, optional
        Most pictures of one proposal; all when not given.
    rng : int or `~numpy.random.Generator`, optional
        Seed of the choice.

    Returns
    -------
    table : `~astropy.table.Table`
        The row of the observation of each chosen picture, with ``dataURI``,
        ``productFilename`` and ``size`` of the picture; by mission, proposal and URI.

    Notes
    -----
    Drawn without replacement: the first picture of every target of a proposal
    comes before the second of any. Each picture has its place from the seed and
    its URI alone, so the order of the rows does not matter, nor what other
    proposals are in the table.
    """
    if max_per_proposal is not None:
        max_per_proposal = whole_number("max_per_proposal", max_per_proposal)
    check_seed(rng)
    seed = int(np.random.default_rng(rng).integers(1 << 62))
    place = {}
    for row, number in enumerate(column_values(observations, "obsid")):
        place.setdefault(as_text(number), row)
    columns = {
        name: [as_text(value) or "" for value in column_values(observations, name)]
        for name in ("obs_collection", "proposal_id", "target_name")
    }
    groups, seen = defaultdict(lambda: defaultdict(list)), set()
    for row, parent, uri in _parents(products, place):
        if uri in seen:
            continue
        seen.add(uri)
        mission, proposal, target = (values[parent] for values in columns.values())
        groups[mission, proposal][target].append((_draw(seed, uri), uri, row, parent))
    chosen = []
    for (mission, proposal), targets in groups.items():
        turns = []
        for target, pictures in targets.items():
            turn = _draw(seed, f"{mission} {proposal} {target}")
            pictures = sorted(pictures)
            turns += [((n, turn), *rest) for n, (_, *rest) in enumerate(pictures)]
        for _, uri, row, parent in sorted(turns)[:max_per_proposal]:
            chosen.append((mission, proposal, uri, row, parent))
    chosen.sort()
    rows, parents = ([item[i] for item in chosen] for i in (3, 4))
    table = observations[np.array(parents, dtype=int)]
    picked = products[np.array(rows, dtype=int)]
    for name in ("dataURI", "productFilename", "size"):
        if name in picked.colnames:
            table[name] = picked[name]
    return table


def check_seed(seed):
    """
    Refuse what is neither a seed nor a generator.

    Parameters
    ----------
    seed : int or `~numpy.random.Generator`
        What was given.

    Raises
    ------
    InvalidQueryError
        If it is something else, or below zero.
    """
    if not isinstance(seed, np.random.Generator):
        whole_number("seed", seed, low=0)


def _parents(products, place):
    """Yield (row, row of its observation, URI) of products that have both."""
    names = ("parent_obsid", "obsID", "dataURI")
    columns = [column_values(products, name) for name in names]
    for row, (parent, owner, uri) in enumerate(zip(*columns, strict=True)):
        found = place.get(as_text(parent), place.get(as_text(owner)))
        if found is not None and as_text(uri):
            yield row, found, as_text(uri)


def _draw(seed, text):
    return hashlib.sha256(f"{seed} {text}".encode()).digest()
