# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""From observations, in whatever form they are given, to their products."""

import numpy as np
from astropy.table import MaskedColumn, Row, Table, vstack

from paperclip.exceptions import (
    FailedRowsWarning,
    InvalidQueryError,
    MaxResultsWarning,
    NoResultsWarning,
)
from paperclip.results import describe_columns, empty_table
from paperclip.utils.warn import warn_user

from ._choice import choose_previews
from ._fields import column_values
from ._rows import (
    OBSERVATION_COLUMNS,
    PRODUCT_COLUMNS,
    as_text,
    finish,
    limit_of,
    rights_of,
)
from .recipes import choose_recipe

__all__ = ["choose_previews", "get_product_list", "observation_ids"]

_BATCH = 200  # identifiers in one question
_LONGEST_OBSID = 12  # digits; GALEX has obs_id of 19 digits


def observation_ids(client, observations):
    """
    Return the numbers that MAST knows observations by, and their rows.

    Parameters
    ----------
    client : `~paperclip.mast.MastClient`
        Who asks; nobody is asked when there is a column ``obsid``.
    observations : `~astropy.table.Table`, `~astropy.table.Row`, str, int or sequence
        Rows with ``obsid`` or ``obs_id``, such as ``query_criteria`` and
        ``query_text`` return; or identifiers of either kind.

    Returns
    -------
    obsids : list of str
        Each once, in the order given.
    table : `~astropy.table.Table`
        The row of each. What was given stays; columns that it lacked are MAST's
        where MAST was asked.

    Raises
    ------
    InvalidQueryError
        If there are no observations in it: a table of products, for example.
    RemoteServiceError
        If MAST does not answer.

    Warns
    -----
    FailedRowsWarning
        If MAST does not know some of them: how many, and which is the first.
    """
    table = _as_table(observations)
    if not len(table):
        return [], _with_obsid(table, [])
    numbers = [as_text(value) for value in column_values(table, "obsid")]
    names = [as_text(value) for value in column_values(table, "obs_id")]
    missing = [row for row, number in enumerate(numbers) if number is None]
    found = None
    if missing:
        found = _looked_up(client, [names[row] for row in missing])
        missions = [as_text(m) for m in column_values(table, "obs_collection")]
        for row in missing:
            numbers[row] = found.get(_key(names[row], missions[row]))
    _warn_of_unknown(numbers, names)
    first = {}
    for row, number in enumerate(numbers):
        if number is not None:
            first.setdefault(number, row)
    rows = _with_obsid(table[list(first.values())], list(first))
    if found is not None:
        rows = _completed(rows, found.rows)
    return list(first), rows


def get_product_list(
    client, observations, *, recipe=None, limit=None, data_rights="PUBLIC"
):
    """
    Return the files of observations.

    Parameters
    ----------
    client : `~paperclip.mast.MastClient`
        Who asks.
    observations : `~astropy.table.Table`, `~astropy.table.Row`, str, int or sequence
        As `observation_ids` takes it.
    recipe : PreviewRecipe or str, optional
        Only what the recipe takes; ``"SCIENCE"`` for FITS files. Everything by
        default.
    limit : int, optional
        Largest number of rows.
    data_rights : str, sequence of str or None, optional
        Leave out what is marked otherwise; None for everything.

    Returns
    -------
    table : `~astropy.table.Table`
        One row for each ``dataURI``, in the order of the observations. ``meta`` holds
        ``n_obs`` (observations), ``n_avail`` (rows there are), ``server`` and ``time``.

    Raises
    ------
    InvalidQueryError
        If an argument is wrong.
    RemoteServiceError
        If MAST does not answer.

    Warns
    -----
    FailedRowsWarning
        If MAST does not know some of the observations.
    MaxResultsWarning
        If there are more than ``limit``.
    NoResultsWarning
        If there is none; the table is empty then.
    """
    limit = limit_of("limit", limit)
    recipe = choose_recipe(recipe)
    data_rights = rights_of(data_rights)
    allowed = None if data_rights is None else {None, *data_rights}
    obsids, _ = observation_ids(client, observations)
    if not obsids:
        warn_user("there are no observations", NoResultsWarning)
        return _no_products()
    held = 0

    def keep(products):
        nonlocal held
        wanted = np.ones(len(products), dtype=bool)
        if recipe is not None:
            wanted = recipe.mask(products)
        if allowed is None:
            return wanted
        rights = column_values(products, "dataRights")
        other = wanted & np.array([as_text(r) not in allowed for r in rights], bool)
        held += int(other.sum())
        return wanted & ~other

    if client.cache:  # whole answers are kept on disk
        table = client.products(obsids)
        table = table[keep(table)]
    else:
        table = client.products(obsids, keep=keep)
    total = len(table)
    table = table[:limit]
    about = {"n_obs": len(obsids), "n_avail": total}
    if recipe is not None:
        about["recipe"] = recipe.name
    table = finish(table, PRODUCT_COLUMNS, **about)
    _tell(total, limit, recipe, held, data_rights)
    return table


# -- helpers ------------------------------------------------------------------
def _as_table(observations):
    """Return what was given as a table with obsid or obs_id."""
    if isinstance(observations, Row):
        observations = Table(observations)
    if isinstance(observations, Table):
        return _checked(observations)
    if isinstance(observations, (str, bytes, int, np.integer)):
        observations = [observations]
    try:
        items = list(observations)
    except TypeError:
        items = None
    frame = hasattr(observations, "to_numpy") and hasattr(observations, "columns")
    if items is None or isinstance(observations, dict) or frame:
        msg = (
            "observations must be a Table, a Row, or obs_id or obsid, one or several, "
            f"got {type(observations).__name__}: {observations!r:.80}"
        )
        if frame:
            msg = (
                "observations must be a Table, got a DataFrame; convert it with "
                "astropy.table.Table.from_pandas"
            )
        raise InvalidQueryError(msg)
    if items and all(isinstance(item, Row) for item in items):
        tables = [Table(item) for item in items]
        return _checked(vstack(tables, metadata_conflicts="silent"))
    return _identifiers(items)


def _checked(table):
    names = set(table.colnames)
    if "productType" in names or {"obsID", "dataURI"} <= names:
        msg = (
            "observations must be a table of observations, and this is a table of "
            "products (it has the columns "
            f"{', '.join(sorted(names & {'productType', 'obsID', 'dataURI'}))}); give "
            "it to download_products, or the observations it was made from here"
        )
        raise InvalidQueryError(msg)
    if len(table) and not names & {"obsid", "obs_id"}:
        msg = (
            "observations must have a column obsid or obs_id, got "
            f"{', '.join(table.colnames)}"
        )
        raise InvalidQueryError(msg[:500])
    return table


def _identifiers(items):
    """Return a table of identifiers; short numbers are obsid, the rest obs_id."""
    texts = []
    for item in items:
        if np.ma.is_masked(item) or isinstance(item, (bool, np.bool_, float)):
            text = None
        elif isinstance(item, (str, bytes, int, np.integer)):
            text = as_text(item)
        else:
            text = None
        if text is None:
            msg = f"observations must hold obs_id or obsid, got {item!r:.80}"
            raise InvalidQueryError(msg)
        if text.lower().startswith("mast:"):
            msg = (
                f"observations must hold obs_id or obsid, got the address of a file: "
                f"{text!r:.200}; give its row of get_product_list to download_products"
            )
            raise InvalidQueryError(msg)
        texts.append(text)
    short = [t.isdecimal() and len(t) <= _LONGEST_OBSID for t in texts]
    size = max([1, *map(len, texts)])
    columns = {
        "obsid": MaskedColumn(texts, mask=~np.array(short, bool), dtype=f"U{size}"),
        "obs_id": MaskedColumn(texts, mask=np.array(short, bool), dtype=f"U{size}"),
    }
    return Table({n: c for n, c in columns.items() if not np.all(c.mask) or not texts})


def _key(name, mission):
    return str(name or "").lower(), mission


class _Found(dict):
    """(obs_id, mission or None) to obsid, with the rows of MAST."""

    rows = None


def _looked_up(client, names):
    """Ask MAST for the obsid of rows that have an obs_id."""
    wanted = list(dict.fromkeys(name for name in names if name))
    found, parts = _Found(), []
    for first in range(0, len(wanted), _BATCH):
        part = client.observations({"obs_id": wanted[first : first + _BATCH]})
        parts.append(part)
        columns = [
            column_values(part, n) for n in ("obs_id", "obs_collection", "obsid")
        ]
        for name, mission, number in zip(*columns, strict=True):
            for key in (_key(name, mission), _key(name, None)):
                found.setdefault(key, as_text(number))
    if parts:
        rows = (
            vstack(parts, metadata_conflicts="silent") if len(parts) > 1 else parts[0]
        )
        found.rows = rows
    return found


def _warn_of_unknown(numbers, names):
    unknown = [row for row, number in enumerate(numbers) if number is None]
    if not unknown:
        return
    row = unknown[0]
    what = f"obs_id {names[row]!r}" if names[row] else "neither obsid nor obs_id"
    msg = (
        f"{len(unknown)} of {len(numbers)} observations are not in MAST and are left "
        f"out; the first, row {row}, has {what}"
    )
    warn_user(msg, FailedRowsWarning)


def _with_obsid(table, numbers):
    """Return a copy with the column obsid as text, and describe it."""
    table = table.copy()
    size = max([1, *map(len, numbers)])
    table["obsid"] = np.array(numbers, dtype=f"U{size}")
    return table


def _completed(rows, found):
    """Add the columns of MAST that rows lack."""
    if found is None or not len(rows):
        return rows
    place = {as_text(n): row for row, n in enumerate(found["obsid"].tolist())}
    index = [place.get(number, -1) for number in rows["obsid"].tolist()]
    unknown = np.array(index) < 0
    for name in found.colnames:
        if name in rows.colnames or name.startswith("_"):
            continue
        column = MaskedColumn(found[name][index], name=name)
        if unknown.any():
            column.mask = column.mask | unknown
        rows[name] = column
    return describe_columns(rows, specs=OBSERVATION_COLUMNS)


def _no_products():
    table = empty_table(specs=PRODUCT_COLUMNS)
    table.meta = {"n_obs": 0, "n_avail": 0, "server": "", "time": ""}
    return table


def _tell(total, limit, recipe, held, rights):
    """Warn of nothing, and of more than the limit lets through."""
    kind = "products" if recipe is None else f"products of recipe {recipe.name!r}"
    if total == 0:
        why = ""
        if held:
            why = f"; {held} are not {' or '.join(rights)}, data_rights=None lists them"
        msg = f"the observations have no {kind}{why}"
        warn_user(msg, NoResultsWarning)
    elif limit is not None and total > limit:
        msg = (
            f"there are {total} {kind}, limit={limit} lets the first {limit} through; "
            "raise limit, or set limit=None for all"
        )
        warn_user(msg, MaxResultsWarning)
