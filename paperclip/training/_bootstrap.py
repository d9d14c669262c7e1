# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""Figures as functions of the weights of proposals, and intervals from them."""

import numpy as np

__all__ = ["Area", "ClassMean", "Mean", "Median", "draw_weights", "interval"]

_CHUNK = 100  # draws that are worked on together
_TAIL = 2.5  # per cent on each side of an interval


def draw_weights(n_units, draws, seed):
    """
    Draw how often each unit is in samples of the same size.

    Parameters
    ----------
    n_units : int
        Number of proposals.
    draws : int
        Number of samples.
    seed : int
        The same seed gives the same samples.

    Yields
    ------
    weights : `~numpy.ndarray`, shape (b, n_units)
        Whole numbers that add up to ``n_units`` in each row.
    """
    rng = np.random.default_rng([seed, 0xB007])
    for start in range(0, draws, _CHUNK):
        size = min(_CHUNK, draws - start)
        chosen = rng.integers(0, n_units, (size, n_units))
        chosen += n_units * np.arange(size)[:, None]
        counts = np.bincount(chosen.ravel(), minlength=size * n_units)
        yield counts.reshape(size, n_units).astype(np.float64)


def interval(draws):
    """
    Return the limits between which 95 % of the samples lie.

    Parameters
    ----------
    draws : `~numpy.ndarray`, shape (draws,)
        The figure of each sample; NaN where it has none.

    Returns
    -------
    low, high : float
        NaN if there are no samples.
    """
    draws = draws[np.isfinite(draws)]
    if not len(draws):
        return np.nan, np.nan
    low, high = np.percentile(draws, [_TAIL, 100 - _TAIL])
    return float(low), float(high)


class _Figure:
    """
    Function of the weights of units.

    Parameters
    ----------
    values : array-like, shape (n,)
        One for each query.
    units : array-like of int, shape (n,)
        Unit of each query.
    n_units : int
        Number of units.
    macro : bool, optional
        Whether every unit counts the same, however many queries it has.
    base : array-like, shape (n,), optional
        Weights of the queries.
    """

    def __init__(self, values, units, n_units, *, macro=False, base=None):
        self.values = np.asarray(values, dtype=np.float64)
        self.units, self.n_units = np.asarray(units), n_units
        base = np.ones(len(self.values)) if base is None else np.asarray(base, float)
        if macro:
            totals = np.bincount(self.units, base, n_units)
            base = base / totals[self.units]
        self.base = base
        self._prepare()

    def _prepare(self):
        pass

    @property
    def value(self):
        """The figure of all units, each once, without noise of the last bits."""
        return round(float(self(np.ones((1, self.n_units)))[0]), 12)


class Mean(_Figure):
    """Weighted mean."""

    def _prepare(self):
        self._sums = np.bincount(self.units, self.base * self.values, self.n_units)
        self._totals = np.bincount(self.units, self.base, self.n_units)

    def __call__(self, weights):
        """Return a figure for each row of weights."""
        with np.errstate(invalid="ignore", divide="ignore"):
            return weights @ self._sums / (weights @ self._totals)


class Median(_Figure):
    """Weighted median; halfway between two values if it falls between them."""

    def _prepare(self):
        order = np.argsort(self.values, kind="stable")
        self.values, self.units = self.values[order], self.units[order]
        self.base = self.base[order]

    def __call__(self, weights):
        """Return a figure for each row of weights."""
        found = np.full(len(weights), np.nan)
        for row, weight in enumerate(weights):
            sums = np.cumsum(weight[self.units] * self.base)
            if sums[-1] > 0:
                half = sums[-1] / 2
                slack = 1e-9 * sums[-1]
                low = np.searchsorted(sums, half - slack)
                high = np.searchsorted(sums, half + slack)
                found[row] = (self.values[low] + self.values[high]) / 2
        return found


class Area(_Figure):
    """
    Area under the ROC curve.

    ``values`` are right cosines; ``wrong`` of shape (n, s) those of shuffled
    pairs, which have the weights of their pictures.
    """

    def __init__(self, values, units, n_units, *, wrong, macro=False):
        self.wrong = np.asarray(wrong, dtype=np.float64)
        super().__init__(values, units, n_units, macro=macro)

    def _prepare(self):
        flat = self.wrong.ravel()
        order = np.argsort(flat, kind="stable")
        self._owners = np.repeat(np.arange(len(self.values)), self.wrong.shape[1])
        self._owners = self._owners[order]
        self._low = np.searchsorted(flat[order], self.values, "left")
        self._high = np.searchsorted(flat[order], self.values, "right")

    def __call__(self, weights):
        """Return a figure for each row of weights."""
        found = np.full(len(weights), np.nan)
        for row, weight in enumerate(weights):
            own = weight[self.units] * self.base
            sums = np.concatenate([[0.0], np.cumsum(own[self._owners])])
            if sums[-1] > 0:
                inside = own * (sums[self._low] + sums[self._high])
                found[row] = inside.sum() / (2 * own.sum() * sums[-1])
        return found


class ClassMean(_Figure):
    """Mean over classes of the means of their pictures."""

    def __init__(self, values, units, n_units, *, classes):
        self.classes = np.unique(classes, return_inverse=True)[1]
        super().__init__(values, units, n_units)

    def _prepare(self):
        shape = (self.n_units, int(self.classes.max()) + 1)
        self._sums, self._totals = np.zeros(shape), np.zeros(shape)
        np.add.at(self._sums, (self.units, self.classes), self.values)
        np.add.at(self._totals, (self.units, self.classes), 1)

    def __call__(self, weights):
        """Return a figure for each row of weights; absent classes do not count."""
        totals = weights @ self._totals
        there = totals > 0
        shares = np.divide(
            weights @ self._sums, totals, out=np.zeros_like(totals), where=there
        )
        return shares.sum(1) / np.maximum(there.sum(1), 1)
