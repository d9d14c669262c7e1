# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""Similarities of vectors, and who belongs to whom among them."""

import numpy as np

from paperclip.exceptions import InvalidQueryError

__all__ = [
    "GRID",
    "check_own",
    "group_codes",
    "members_of",
    "others_than",
    "siblings",
    "similarity_blocks",
    "unit_rows",
]

_BLOCK = 4 << 20  # similarities at a time
GRID = 2.0**24
"""Steps of similarities from 0 to 1; float32 holds them exactly."""


def unit_rows(name, vectors):
    """
    Return vectors scaled to length 1.

    Parameters
    ----------
    name : str
        What errors call them.
    vectors : array-like, shape (n, d)
        Any finite rows that are not zero.

    Returns
    -------
    rows : `~numpy.ndarray`, shape (n, d), float64
        In the same order.

    Raises
    ------
    InvalidQueryError
        If the shape is another, or a row is zero or not finite; its place is
        named.
    """
    rows = np.asarray(vectors, dtype=np.float64)
    if rows.ndim != 2 or not rows.size:
        msg = f"{name} must have the shape (n, d) and not be empty, got {rows.shape}"
        raise InvalidQueryError(msg)
    with np.errstate(over="ignore", invalid="ignore"):
        lengths = np.linalg.norm(rows, axis=1)
    bad = np.flatnonzero(~np.isfinite(lengths) | (lengths == 0))
    if len(bad):
        msg = (
            f"{name} must be finite and not zero, got {len(bad)} bad rows of "
            f"{len(rows)}, the first is row {bad[0]}"
        )
        raise InvalidQueryError(msg)
    return rows / lengths[:, None]


def check_own(own, n, m):
    """
    Return the captions' places as integers, or say what is wrong.

    Parameters
    ----------
    own : array-like of int, shape (n,)
        The caption of each picture.
    n : int
        How many pictures there are.
    m : int
        How many captions there are.

    Returns
    -------
    own : `~numpy.ndarray` of int, shape (n,)
        The same.
    """
    own = np.asarray(own)
    if own.shape != (n,) or own.dtype.kind not in "iu":
        msg = (
            f"own must be {n} whole numbers, the caption of each picture, got "
            f"{own.dtype} of shape {own.shape}"
        )
        raise InvalidQueryError(msg)
    if n and not (own.min() >= 0 and own.max() < m):
        msg = f"own must be from 0 to {m - 1}, got {own.min()} to {own.max()}"
        raise InvalidQueryError(msg)
    return own.astype(np.int64)


def group_codes(groups, own):
    """
    Return a number per picture; the caption is the group if none is given.

    Parameters
    ----------
    groups : sequence, length n, or None
        Proposal of each picture.
    own : `~numpy.ndarray` of int, shape (n,)
        The caption of each picture.

    Returns
    -------
    codes : `~numpy.ndarray` of int, shape (n,)
        Equal where the groups are equal.
    """
    if groups is None:
        return own
    if len(groups) != len(own):
        msg = f"groups must have one entry for each of {len(own)} pictures, "
        msg += f"got {len(groups)}"
        raise InvalidQueryError(msg)
    return np.unique(np.asarray(groups), return_inverse=True)[1].reshape(-1)


def similarity_blocks(queries, answers):
    """
    Yield similarities block by block, equal where vectors are equal.

    Parameters
    ----------
    queries, answers : `~numpy.ndarray`, shapes (n, d) and (m, d), float64
        Rows of length 1.

    Yields
    ------
    start : int
        First query of the block.
    block : `~numpy.ndarray`, shape (b, m), float32
        Products in float64, rounded to multiples of 2**-24: those of equal
        rows at different places differ in the last bits and would not be tied
        otherwise.
    """
    step = max(1, _BLOCK // len(answers))
    for start in range(0, len(queries), step):
        block = queries[start : start + step] @ answers.T
        block *= GRID
        block = np.rint(block, out=block).astype(np.float32)
        block /= GRID
        yield start, block


def siblings(own, codes):
    """
    Return for each group with several captions which ones these are.

    Parameters
    ----------
    own : `~numpy.ndarray` of int, shape (n,)
        The caption of each picture.
    codes : `~numpy.ndarray` of int, shape (n,)
        Group of each picture.

    Returns
    -------
    captions : dict of int to `~numpy.ndarray`
        By group.
    """
    pairs = np.unique(np.stack([codes, own], axis=1), axis=0)
    groups, starts, counts = np.unique(pairs[:, 0], return_index=True, return_counts=1)
    return {
        int(group): pairs[start : start + count, 1]
        for group, start, count in zip(groups, starts, counts, strict=True)
        if count > 1
    }


def members_of(own):
    """
    Return the captions that pictures have, and the pictures of each.

    Parameters
    ----------
    own : `~numpy.ndarray` of int, shape (n,)
        The caption of each picture.

    Returns
    -------
    used : `~numpy.ndarray` of int
        Captions that occur.
    members : list of `~numpy.ndarray`
        Pictures of each of them.
    """
    order = np.argsort(own, kind="stable")
    used, starts = np.unique(own[order], return_index=True)
    return used, np.split(order, starts[1:])


def others_than(codes, right):
    """
    Tell which pictures are of no group that a right one is of.

    Parameters
    ----------
    codes : `~numpy.ndarray` of int, shape (n,)
        Group of each picture.
    right : `~numpy.ndarray` of int
        The right pictures.

    Returns
    -------
    others : `~numpy.ndarray` of bool, shape (n,)
        True for pictures of other groups.
    """
    groups = np.unique(codes[right])
    return codes != groups[0] if len(groups) == 1 else ~np.isin(codes, groups)
