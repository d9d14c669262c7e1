# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""
Figures of merit of retrieval, from vectors and who belongs to whom.

Everything is exact and deterministic. Where similarities are equal, figures
are the mean over all orders of what is tied, so that a model that says the
same of everything comes out at chance; chance is what these functions give
when all is tied. Similarities are computed block by block.
"""

import numpy as np

from paperclip.exceptions import InvalidQueryError

from ._ties import Ranks, auc

__all__ = [
    "Ranks",
    "auc",
    "image_ranks",
    "pair_ranks",
    "retrieval_accuracy",
    "summary",
    "unit_rows",
]

_BLOCK = 4 << 20  # similarities at a time
GRID = 2.0**24  # steps of similarities from 0 to 1; float32 holds them exactly


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


def image_ranks(image_vectors, text_vectors, own, *, groups=None, log_scale=None):
    """
    Rank the captions for each picture.

    Parameters
    ----------
    image_vectors : array-like, shape (n, d)
        One row per picture.
    text_vectors : array-like, shape (m, d)
        One row per *distinct* caption.
    own : array-like of int, shape (n,)
        The caption of each picture.
    groups : sequence, length n, optional
        Proposal of each picture. Other captions of the same proposal are
        neither right nor wrong: they are left out.
    log_scale : float, optional
        Natural logarithm of the factor on cosines in the loss.

    Returns
    -------
    ranks : Ranks
        Of the own caption of each picture.
    right : `~numpy.ndarray`, shape (n,), float32
        Cosine of each picture and its caption.
    loss : `~numpy.ndarray`, shape (n,), or None
        Cross entropy of each picture in nats, if ``log_scale`` is given.

    Raises
    ------
    InvalidQueryError
        If shapes do not fit, or a vector is zero or not finite.
    """
    images, texts, own = _checked(image_vectors, text_vectors, own)
    n, m = len(images), len(texts)
    codes = group_codes(groups, own)
    several = siblings(own, codes)
    above, tied = np.empty(n, np.int64), np.empty(n, np.int64)
    candidates = np.full(n, m)
    right = np.empty(n, np.float32)
    loss = None if log_scale is None else np.empty(n)
    for start, block in similarity_blocks(images, texts):
        rows = np.arange(start, start + len(block))
        mine = block[rows - start, own[rows]]
        for row in rows[np.isin(codes[rows], list(several))]:
            others = several[int(codes[row])]
            others = others[others != own[row]]
            block[row - start, others] = -np.inf
            candidates[row] -= len(others)
        above[rows] = (block > mine[:, None]).sum(1)
        tied[rows] = (block == mine[:, None]).sum(1) - 1
        right[rows] = mine
        if loss is not None:
            loss[rows] = cross_entropy(block, mine, np.exp(log_scale))
    return Ranks(above, tied, candidates), right, loss


def cross_entropy(block, right, scale):
    """
    Return minus the logarithm of the softmax of the right answers.

    Parameters
    ----------
    block : `~numpy.ndarray`, shape (b, m)
        Similarities.
    right : `~numpy.ndarray`, shape (b,)
        Similarity of the right answer of each row.
    scale : float
        Factor on the similarities.

    Returns
    -------
    loss : `~numpy.ndarray`, shape (b,)
        In nats.
    """
    logits = scale * (block.astype(np.float64) - right[:, None])
    top = np.maximum(logits.max(1, initial=0), 0)
    return top + np.log(np.exp(logits - top[:, None]).sum(1))


def _checked(image_vectors, text_vectors, own):
    images = unit_rows("image_vectors", image_vectors)
    texts = unit_rows("text_vectors", text_vectors)
    if images.shape[1] != texts.shape[1]:
        msg = (
            "image_vectors and text_vectors must have rows of equal length, got "
            f"{images.shape[1]} and {texts.shape[1]}"
        )
        raise InvalidQueryError(msg)
    return images, texts, check_own(own, len(images), len(texts))


def retrieval_accuracy(image_vectors, text_vectors, own, fraction=0.1, *, groups=None):
    """
    Tell how often the own caption is in the best part of all captions.

    Parameters
    ----------
    image_vectors : array-like, shape (n, d)
        One row per picture.
    text_vectors : array-like, shape (m, d)
        One row per *distinct* caption.
    own : array-like of int, shape (n,)
        The caption of each picture.
    fraction : float, optional
        The part of the captions that counts, above 0, at most 1.
    groups : sequence, length n, optional
        Proposal of each picture; its other captions are left out.

    Returns
    -------
    accuracy : float
        From 0 to 1; ``fraction`` is chance.

    Raises
    ------
    InvalidQueryError
        If shapes do not fit, a vector is zero or not finite, or ``fraction``
        is out of range.

    Notes
    -----
    The figure of section 5.1 of [1]_, on all captions at once, each counted
    once however many pictures share it.

    References
    ----------
    .. [1] Mishra-Sharma, S., Song, Y., & Thaler, J. 2024, arXiv:2403.08851

    Examples
    --------
    >>> import numpy as np
    >>> from paperclip.training.metrics import retrieval_accuracy
    >>> retrieval_accuracy(np.eye(10), np.eye(10), np.arange(10))
    1.0
    """
    ranks, _, _ = image_ranks(image_vectors, text_vectors, own, groups=groups)
    return float(ranks.within_fraction(check_fraction(fraction)).mean())


def check_fraction(fraction):
    """
    Return a fraction above 0 and at most 1, or say what is wrong.

    Parameters
    ----------
    fraction : float
        Share of the captions.

    Returns
    -------
    fraction : float
        The same.
    """
    try:
        value = float(fraction)
    except (TypeError, ValueError):
        value = np.nan
    if not 0 < value <= 1:
        msg = f"fraction must be above 0 and at most 1, got {fraction!r}"
        raise InvalidQueryError(msg)
    return value


def summary(image_vectors, text_vectors, own, *, groups=None, log_scale=None):
    """
    Return a few figures quickly, to tell checkpoints of a run from each other.

    Parameters
    ----------
    image_vectors : array-like, shape (n, d)
        As for `image_ranks`.
    text_vectors : array-like, shape (m, d)
        As for `image_ranks`.
    own : array-like of int, shape (n,)
        As for `image_ranks`.
    groups : sequence, length n, optional
        As for `image_ranks`.
    log_scale : float, optional
        As for `image_ranks`.

    Returns
    -------
    figures : dict of str to float
        ``top10`` and ``top1``: share of pictures whose caption is in the best
        10 and 1 %; ``top10_text``: the same for captions and pictures;
        ``recall@1``, ``recall@5``, ``recall@10``; ``median_rank``; ``auc``:
        mean probability that the own caption is more similar than another one;
        ``loss``, if ``log_scale`` is given.

    Raises
    ------
    InvalidQueryError
        If shapes do not fit, or a vector is zero or not finite.
    """
    ranks, _, loss = image_ranks(
        image_vectors, text_vectors, own, groups=groups, log_scale=log_scale
    )
    back, back_loss = pair_ranks(
        image_vectors, text_vectors, own, groups=groups, log_scale=log_scale
    )
    rivals = np.maximum(ranks.candidates - 1, 1)
    figures = {
        "top10": ranks.within_fraction(0.1).mean(),
        "top1": ranks.within_fraction(0.01).mean(),
        "top10_text": back.within_fraction(0.1).mean(),
        **{f"recall@{k}": ranks.within(k).mean() for k in (1, 5, 10)},
        "median_rank": np.median(ranks.expected()),
        "auc": (1 - (ranks.above + ranks.tied / 2) / rivals).mean(),
    }
    if loss is not None:
        figures["loss"] = (loss.mean() + back_loss.mean()) / 2
    return {name: float(value) for name, value in figures.items()}


def pair_ranks(image_vectors, text_vectors, own, *, groups=None, log_scale=None):
    """
    Rank each picture for its caption, among the pictures of other proposals.

    Parameters
    ----------
    image_vectors : array-like, shape (n, d)
        As for `image_ranks`.
    text_vectors : array-like, shape (m, d)
        As for `image_ranks`.
    own : array-like of int, shape (n,)
        As for `image_ranks`.
    groups : sequence, length n, optional
        As for `image_ranks`.
    log_scale : float, optional
        As for `image_ranks`.

    Returns
    -------
    ranks : Ranks
        One for each picture; other pictures of the caption or of the proposal
        are neither right nor wrong.
    loss : `~numpy.ndarray`, shape (n,), or None
        Cross entropy in nats, if ``log_scale`` is given.
    """
    images, texts, own = _checked(image_vectors, text_vectors, own)
    codes = group_codes(groups, own)
    n = len(images)
    above, tied = np.empty(n, np.int64), np.empty(n, np.int64)
    candidates = np.empty(n, np.int64)
    loss = None if log_scale is None else np.empty(n)
    used, members = members_of(own)
    for start, block in similarity_blocks(texts[used], images):
        for row, right in zip(block, members[start : start + len(block)], strict=True):
            wrong = np.sort(row[others_than(codes, right)])
            mine = row[right]
            first = np.searchsorted(wrong, mine, "left")
            last = np.searchsorted(wrong, mine, "right")
            above[right], tied[right] = len(wrong) - last, last - first
            candidates[right] = len(wrong) + 1
            if loss is not None:
                rivals = np.broadcast_to(wrong, (len(mine), len(wrong)))
                rivals = np.concatenate([rivals, mine[:, None]], axis=1)
                loss[right] = cross_entropy(rivals, mine, np.exp(log_scale))
    return Ranks(above, tied, candidates), loss


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
