# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""From similarities to the tables that users get."""

import numpy as np
from astropy.table import MaskedColumn, Table

from paperclip.exceptions import InvalidQueryError, ModelMismatchError
from paperclip.results import COLUMNS, describe_columns

__all__ = [
    "add_percentile",
    "check_same_model",
    "conditions_text",
    "count_above",
    "description_table",
    "image_facts",
    "result_columns",
    "search_table",
]

_COMPUTED = ("rank", "similarity", "similarity_percentile")
_PERCENTILE = {"similarity_percentile": COLUMNS["similarity_percentile"]}

# multiplications; the threads of BLAS would keep spinning afterwards, which on two
# cores slows the model that comes next
_FEW = 1 << 24

_ROUNDING = 1e-6
# keys of a search that say what was asked for
_CONDITIONS = ("where", "region", "filter", "t_min", "t_max")

_TERM_COLUMNS = {
    "rank": "Place in the result, 1 is the best",
    "term": "Term of the vocabulary",
    "kind": "Kind of the term",
    "similarity": "Cosine similarity of picture and term, -1 to 1",
    "percentile": "Percentage of the index less similar to the term, 0 to 100",
    "probability": "Softmax of the similarities over the vocabulary",
    "uat_id": "Concept of the Unified Astronomy Thesaurus",
}


def result_columns(columns, known):
    """
    Return the names of the columns of a search result, in order.

    Parameters
    ----------
    columns : sequence of str or None
        What the user asked for.
    known : sequence of str
        Columns of the index.

    Returns
    -------
    names : list of str
        All columns for `None`.

    Raises
    ------
    InvalidQueryError
        If a name is unknown; the nearest one is suggested.
    """
    known = [*_COMPUTED, *known]
    if columns is None:
        return known
    names = [columns] if isinstance(columns, str) else list(columns)
    unknown = [name for name in names if name not in known]
    if unknown:
        from paperclip.index.schema import nearest

        msg = f"columns has the unknown name {unknown[0]!r}{nearest(unknown[0], known)}"
        raise InvalidQueryError(msg)
    return names


def check_same_model(index, fingerprint):
    """
    Refuse an index whose vectors another model made.

    Parameters
    ----------
    index : `~paperclip.index.Index`
        What is to be searched.
    fingerprint : str
        Of the model that makes the query.

    Raises
    ------
    ModelMismatchError
        If the fingerprints differ.
    """
    if index.fingerprint != fingerprint:
        msg = (
            f"index {str(index.uri)!r} was built with model {index.fingerprint!r}, "
            f"the query comes from {fingerprint!r}; load that model, or rebuild the "
            "index"
        )
        raise ModelMismatchError(msg)


def conditions_text(meta):
    """
    Return the conditions of a search in one line.

    Parameters
    ----------
    meta : dict
        Of the result.

    Returns
    -------
    text : str
        For messages.
    """
    return ", ".join(f"{key}={meta[key]!r}" for key in _CONDITIONS if key in meta)


def search_table(index, vector, *, limit, columns, **conditions):
    """
    Search an index and add what is known of the result as a whole.

    Parameters
    ----------
    index : `~paperclip.index.Index`
        What is searched.
    vector : `~numpy.ndarray`, shape (d,)
        The query, of the model of the index.
    limit : int
        Largest number of rows.
    columns : sequence of str or None
        Columns of the result.
    **conditions
        Further arguments of `~paperclip.index.Index.search`.

    Returns
    -------
    table : `~astropy.table.Table`
        Best first. ``meta`` is that of the search, with ``index``,
        ``indexver``, ``n_index`` and, with a column ``proposal_id``,
        ``n_props``.

    Raises
    ------
    InvalidQueryError
        If ``columns`` or a condition cannot be understood.
    """
    names = result_columns(columns, index.colnames)
    stored = [name for name in names if name != "similarity_percentile"]
    search = stored if "similarity" in stored else [*stored, "similarity"]
    table = index.search(vector, limit=limit, columns=search, **conditions)
    size = len(index)
    if "similarity_percentile" in names:
        filtered = table.meta.get("n_match", size) < size
        position = names.index("similarity_percentile")
        add_percentile(table, index, vector, filtered=filtered, position=position)
    if "similarity" not in names:
        table.remove_column("similarity")
    table.meta.update(index=str(index.uri), indexver=index.version, n_index=size)
    if "proposal_id" in table.colnames:
        programmes = set(table["proposal_id"].tolist())  # None where masked
        table.meta["n_props"] = len(programmes - {None})
    return table


def add_percentile(table, index, vector, *, filtered, position):
    """
    Insert the percentage of the index that is not more similar.

    Parameters
    ----------
    table : `~astropy.table.Table`
        Result with a column ``similarity``, best first; changed in place.
    index : `~paperclip.index.Index`
        What was searched.
    vector : `~numpy.ndarray`, shape (d,)
        The query.
    filtered : bool
        Whether rows of the index were left out by a condition.
    position : int
        Place of the new column.
    """
    similarity = np.asarray(table["similarity"], dtype=float)
    size = max(len(index), 1)
    if not len(table):
        above = np.zeros(0)
    elif filtered:  # the rows above are not in the table: look at the whole index
        # a float32 sum rounds differently with its order
        above = count_above(index.similarities(vector), similarity + _ROUNDING)
    else:
        above = np.searchsorted(-similarity, -similarity)
    percentile = 100.0 * (size - above) / size
    table.add_column(percentile, name="similarity_percentile", index=position)
    describe_columns(table, specs=_PERCENTILE)


def count_above(values, levels):
    """
    Count the values that are above levels, without sorting the values.

    Parameters
    ----------
    values : `~numpy.ndarray`, shape (n,), dtype float32
        In any order.
    levels : `~numpy.ndarray`, shape (m,), dtype float64
        In descending order.

    Returns
    -------
    above : `~numpy.ndarray` of int, shape (m,)
        Numbers of values larger than or equal to each level.
    """
    # the lowest level leaves few values that the others need to look at
    near = np.sort(values[values >= levels[-1]].astype(float))
    return len(near) - np.searchsorted(near, levels)


def description_table(terms, matrix, vector, *, scale, background, limit=None):
    """
    Rank the terms of a vocabulary for one picture.

    Parameters
    ----------
    terms : `~astropy.table.Table`, length n
        Columns ``term``, ``kind`` and ``uat_id``.
    matrix : `~numpy.ndarray`, shape (n, d)
        Unit vectors of the terms.
    vector : `~numpy.ndarray`, shape (d,)
        Unit vector of the picture.
    scale : float
        Factor on the cosines that gives logits, the inverse temperature.
    background : `~numpy.ndarray`, shape (m, d), or None
        Unit vectors of other pictures, for the percentile.
    limit : int or None, optional
        Largest number of rows; `None` for all terms.

    Returns
    -------
    table : `~astropy.table.Table`
        Best first; the columns of `~paperclip.PaperclipClass.describe`.
    """
    similarity = np.vecdot(matrix, vector)
    weights = np.exp(scale * (similarity - similarity.max()))
    order = np.argsort(-similarity, kind="stable")[:limit]
    if background is None:
        percentile = MaskedColumn(np.zeros(len(order)), mask=True)
    else:
        below = _products(matrix[order], background) < similarity[order, None]
        percentile = MaskedColumn(100.0 * below.mean(axis=1))
    table = Table(
        {
            "rank": np.arange(1, len(order) + 1),
            "term": terms["term"][order],
            "kind": terms["kind"][order],
            "similarity": similarity[order],
            "percentile": percentile,
            "probability": (weights / weights.sum())[order],
            "uat_id": terms["uat_id"][order],
        }
    )
    for name, column in table.columns.items():
        column.description = _TERM_COLUMNS[name]
    for name in ("similarity", "percentile", "probability"):
        table[name].unit = COLUMNS["similarity"].unit
    return table


def _products(left, right):
    """Return all dot products of the rows of two matrices."""
    if len(left) * right.size > _FEW:
        return left @ right.T
    return np.vecdot(left[:, np.newaxis], right)


def image_facts(picture):
    """
    Return the facts of a picture as plain values, for the header of a table.

    Parameters
    ----------
    picture : `~paperclip.imaging.Picture`
        The picture.

    Returns
    -------
    facts : dict
        ``image`` (file name or kind of input) and, where known, ``hdu``,
        ``target``, ``shape`` (rows x columns of the original).
    """
    meta = picture.meta
    facts = {"image": str(meta.get("file") or "in memory")}
    for name in ("hdu", "target"):
        if meta.get(name) is not None:
            facts[name] = str(meta[name])
    if meta.get("shape"):
        facts["shape"] = " x ".join(str(length) for length in meta["shape"])
    return facts
