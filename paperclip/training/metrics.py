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

from ._similar import (
    check_own,
    group_codes,
    members_of,
    others_than,
    siblings,
    similarity_blocks,
    unit_rows,
)
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
