# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""Places of right answers, and figures that are the mean over all orders of ties."""

from dataclasses import dataclass

import numpy as np

from paperclip.exceptions import InvalidQueryError

__all__ = [
    "Ranks",
    "auc",
    "first_rank",
    "none_of",
    "tie_blocks",
    "tied_average_precision",
    "tied_ndcg",
    "tied_success",
]


@dataclass(frozen=True)
class Ranks:
    """
    Where the right answer stands for each query, without hiding ties.

    Parameters
    ----------
    above, tied : `~numpy.ndarray`, shape (n,)
        Wrong answers that are more similar than, and as similar as, the right
        one.
    candidates : `~numpy.ndarray`, shape (n,)
        Answers that there are for the query, the right one included.
    """

    above: np.ndarray
    tied: np.ndarray
    candidates: np.ndarray

    def expected(self):
        """
        Return the mean rank over all orders of what is tied.

        Returns
        -------
        rank : `~numpy.ndarray`, shape (n,)
            1 is the best.
        """
        return self.above + 1 + self.tied / 2

    def within(self, k):
        """
        Return how probable it is that the right answer is among the first k.

        Parameters
        ----------
        k : float or `~numpy.ndarray`
            Number of answers; in between whole numbers the probability is
            interpolated linearly.

        Returns
        -------
        probability : `~numpy.ndarray`, shape (n,)
            0 or 1 where nothing is tied and ``k`` is whole.
        """
        return np.clip((k - self.above) / (self.tied + 1), 0, 1)

    def within_fraction(self, fraction):
        """
        Return how probable it is that the right answer is in the best part.

        Parameters
        ----------
        fraction : float
            Part of the candidates, from 0 to 1.

        Returns
        -------
        probability : `~numpy.ndarray`, shape (n,)
            Chance is ``fraction`` whatever the number of candidates, because
            parts of a candidate count in proportion.
        """
        return self.within(fraction * self.candidates)

    def reciprocal(self):
        """
        Return the mean of 1 / rank, the average precision of one right answer.

        Returns
        -------
        value : `~numpy.ndarray`, shape (n,)
            Over all orders of what is tied.
        """
        harmonic = _cumulative(1 / np.arange(1, self._longest() + 1))
        return self._mean_over_ties(harmonic)

    def gain(self, k):
        """
        Return the nDCG among the first k with one right answer.

        Parameters
        ----------
        k : int
            Answers that count.

        Returns
        -------
        value : `~numpy.ndarray`, shape (n,)
            1 / log2(1 + rank) up to ``k``, over all orders of what is tied.
        """
        places = np.arange(1, self._longest() + 1)
        gains = np.where(places <= k, 1 / np.log2(1 + places), 0)
        return self._mean_over_ties(_cumulative(gains))

    def at_chance(self):
        """
        Return the ranks of a model that says the same of everything.

        Returns
        -------
        ranks : Ranks
            All candidates tied.
        """
        none = np.zeros_like(self.above)
        return Ranks(none, self.candidates - 1, self.candidates)

    def _longest(self):
        return int(self.candidates.max(initial=1))

    def _mean_over_ties(self, sums):
        last = self.above + self.tied + 1
        return (sums[last] - sums[self.above]) / (self.tied + 1)


def _cumulative(values):
    return np.concatenate([[0.0], np.cumsum(values)])


# ---- one query with several right answers; blocks of ties in order


def tie_blocks(wrong, right):
    """
    Describe the places of right answers among all.

    Parameters
    ----------
    wrong : `~numpy.ndarray`, shape (w,)
        Similarities of the wrong answers, ascending.
    right : `~numpy.ndarray`, shape (r,)
        Similarities of the right answers.

    Returns
    -------
    before, size, count, found : `~numpy.ndarray`, shape (b,)
        For each distinct similarity of a right answer, best first: answers
        that are more similar, answers that have it, right ones among these,
        and right ones among those before.
    """
    values, count = np.unique(right, return_counts=True)
    values, count = values[::-1], count[::-1]
    last = np.searchsorted(wrong, values, "right")
    tied = last - np.searchsorted(wrong, values, "left")
    found = np.cumsum(count) - count
    return len(wrong) - last + found, tied + count, count, found


def tied_success(blocks, k):
    """
    Return how probable it is that a right answer is among the first k.

    Parameters
    ----------
    blocks : tuple of `~numpy.ndarray`
        From `tie_blocks`.
    k : int
        Number of answers.

    Returns
    -------
    probability : float
        Over all orders of what is tied.
    """
    before, size, count, _ = (int(values[0]) for values in blocks)
    return 1 - none_of(size, count, min(max(k - before, 0), size))


def none_of(size, count, drawn):
    """Return how probable it is to draw none of some, without putting back."""
    steps = np.arange(drawn)
    left = np.clip(size - count - steps, 0, None)
    return float(np.prod(left / (size - steps)))


def tied_average_precision(blocks):
    """
    Return the mean average precision over all orders of what is tied.

    Parameters
    ----------
    blocks : tuple of `~numpy.ndarray`
        From `tie_blocks`.

    Returns
    -------
    value : float
        From 0 to 1.

    Notes
    -----
    Section 3 of [1]_: at place x of a block, an answer is right with the
    probability count / size, and (x - 1) (count - 1) / (size - 1) of those
    before it in the block are right in the mean.

    References
    ----------
    .. [1] McSherry, F., & Najork, M. 2008, ECIR, LNCS 4956, 414
    """
    before, size, count, found = blocks
    single = size == 1
    total = ((found[single] + 1) / (before[single] + 1)).sum()
    for a, s, r, f in zip(*(values[~single] for values in blocks), strict=True):
        x = np.arange(1, s + 1)
        precision = (f + 1 + (x - 1) * (r - 1) / (s - 1)) / (a + x)
        total += (r / s) * precision.sum()
    return float(total / count.sum())


def tied_ndcg(blocks, k):
    """
    Return the normalised discounted cumulative gain among the first k.

    Parameters
    ----------
    blocks : tuple of `~numpy.ndarray`
        From `tie_blocks`.
    k : int
        Answers that count.

    Returns
    -------
    value : float
        Mean over all orders of what is tied; right answers have the gain 1.

    References
    ----------
    .. [1] Järvelin, K., & Kekäläinen, J. 2002, ACM TOIS 20, 422
    """
    before, size, count, _ = blocks
    sums = _cumulative(1 / np.log2(np.arange(2, k + 2)))
    last = np.minimum(before + size, k)
    gain = (sums[last] - sums[np.minimum(before, k)]) * count / size
    return float(gain.sum() / sums[min(int(count.sum()), k)])


def auc(right, wrong, right_weights=None, wrong_weights=None):
    """
    Return how probable it is that a right value is above a wrong one.

    Parameters
    ----------
    right, wrong : array-like
        Cosines of right and of shuffled pairs.
    right_weights, wrong_weights : array-like, optional
        Weights of the values; all the same by default.

    Returns
    -------
    area : float
        Area under the ROC curve; equal values count half, 0.5 is chance.

    Raises
    ------
    InvalidQueryError
        If there are no values, or some are not finite.
    """
    right, wrong = (np.asarray(v, dtype=np.float64).ravel() for v in (right, wrong))
    for name, values in (("right", right), ("wrong", wrong)):
        if not len(values) or not np.isfinite(values).all():
            msg = f"{name} must be finite numbers, at least one, got {values!r}"
            raise InvalidQueryError(msg)
    u = np.ones(len(right)) if right_weights is None else np.ravel(right_weights)
    v = np.ones(len(wrong)) if wrong_weights is None else np.ravel(wrong_weights)
    order = np.argsort(wrong)
    sums = _cumulative(v[order])
    low = sums[np.searchsorted(wrong[order], right, "left")]
    high = sums[np.searchsorted(wrong[order], right, "right")]
    return float((u * (low + high)).sum() / (2 * u.sum() * sums[-1]))


def first_rank(blocks):
    """
    Return the mean rank of the first right answer.

    Parameters
    ----------
    blocks : tuple of `~numpy.ndarray`
        From `tie_blocks`.

    Returns
    -------
    rank : float
        1 is the best; mean over all orders of what is tied.
    """
    before, size, count, _ = (int(values[0]) for values in blocks)
    return before + (size + 1) / (count + 1)
