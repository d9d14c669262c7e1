# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""Centres of clusters of unit vectors, the same ones for the same seed."""

import numpy as np

__all__ = ["centres"]

_BLOCK = 1 << 22  # similarities in memory at a time
_ROUNDS = 8


def centres(vectors, n_centres, rng):
    """
    Find directions around which unit vectors gather: spherical k-means.

    Parameters
    ----------
    vectors : `~numpy.ndarray`, shape (n, d), dtype float32
        Unit vectors, at least as many as there will be centres.
    n_centres : int
        Number of centres.
    rng : `numpy.random.Generator`
        Chooses where to begin.

    Returns
    -------
    centres : `~numpy.ndarray`, shape (n_centres, d), dtype float32
        Unit vectors. A cluster that loses all of its members begins anew
        beside one of the largest.

    Notes
    -----
    After Dhillon and Modha, Machine Learning 42, 143 (2001): members are
    assigned to the centre of the largest dot product, and the new centre is
    the normalised sum of the members. Eight rounds; more did not change the
    recall of an index.
    """
    found = vectors[np.sort(rng.choice(len(vectors), n_centres, replace=False))].copy()
    for _ in range(_ROUNDS):
        label = _assign(vectors, found)
        order = np.argsort(label, kind="stable")
        ordered = label[order]
        starts = np.flatnonzero(np.r_[True, ordered[1:] != ordered[:-1]])
        used = ordered[starts]
        size = np.diff(np.r_[starts, len(ordered)])
        for number, start, n in zip(used, starts, size, strict=True):
            found[number] = vectors[order[start : start + n]].sum(axis=0)
        unused = np.setdiff1d(np.arange(n_centres), used)
        if len(unused):
            largest = used[np.argsort(-size, kind="stable")]
            beside = found[np.resize(largest, len(unused))]
            scale = 0.02 * np.linalg.norm(beside, axis=1, keepdims=True)
            step = rng.standard_normal(beside.shape, np.float32)
            step /= np.linalg.norm(step, axis=1, keepdims=True)
            found[unused] = beside + scale * step
        length = np.linalg.norm(found, axis=1, keepdims=True)
        found /= np.maximum(length, np.finfo(np.float32).tiny)
    return found


def _assign(vectors, found):
    label = np.empty(len(vectors), dtype=np.intp)
    step = max(1, _BLOCK // len(found))
    for start in range(0, len(vectors), step):
        block = vectors[start : start + step]
        label[start : start + step] = (block @ found.T).argmax(axis=1)
    return label
