# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""From vectors to records: what each picture and each query comes to."""

from dataclasses import dataclass, field

import numpy as np
from astropy.table import Table

from ._similar import GRID, members_of, others_than, siblings, similarity_blocks
from ._ties import (
    Ranks,
    first_rank,
    tie_blocks,
    tied_average_precision,
    tied_ndcg,
    tied_success,
)
from .baselines import METHODS, TextRanker
from .metrics import image_ranks, pair_ranks

__all__ = ["Scene", "measure_pictures", "measure_texts"]

BATCH = 100  # pictures in a batch of the paper's figure
_ROUNDS = 5  # times that pictures are dealt out to batches
_WRONG = 5  # shuffled captions for each picture


@dataclass
class Scene:
    """
    Pictures, captions and what belongs together, all vectors of length 1.

    Parameters
    ----------
    keys : list of str
        Of the pictures, sorted.
    groups : list of str
        Proposal of each picture.
    images, texts : `~numpy.ndarray`, shapes (n, d) and (m, d), float64
        Vectors of the pictures and of the distinct captions.
    own : `~numpy.ndarray` of int, shape (n,)
        Caption of each picture.
    captions : list of str
        The distinct captions.
    terms : list of str, optional
        Classes, or terms to describe pictures with.
    term_vectors : `~numpy.ndarray`, shape (t, d), optional
        Their vectors.
    labels : list of tuple of int, optional
        Places of the classes of each picture in ``terms``; may be empty.
    documents : dict of str to list of str, optional
        What stands for each picture in search by words, for the queries
        "caption" and "label".
    """

    keys: list
    groups: list
    images: np.ndarray
    texts: np.ndarray
    own: np.ndarray
    captions: list
    terms: list = field(default_factory=list)
    term_vectors: np.ndarray | None = None
    labels: list | None = None
    documents: dict = field(default_factory=dict)

    @property
    def codes(self):
        """The proposal of each picture as a number."""
        return np.unique(self.groups, return_inverse=True)[1]

    def select(self, rows):
        """
        Return a scene with some of the pictures, and their captions only.

        Parameters
        ----------
        rows : `~numpy.ndarray` of int
            Places of the pictures, ascending.

        Returns
        -------
        scene : Scene
            With the same terms.
        """
        used, own = np.unique(self.own[rows], return_inverse=True)

        def pick(values):
            return None if values is None else [values[i] for i in rows]

        return Scene(
            keys=pick(self.keys),
            groups=pick(self.groups),
            images=self.images[rows],
            texts=self.texts[used],
            own=own,
            captions=[self.captions[j] for j in used],
            terms=self.terms,
            term_vectors=self.term_vectors,
            labels=pick(self.labels),
            documents={query: pick(texts) for query, texts in self.documents.items()},
        )


# ---- one row for each picture


def measure_pictures(scene, *, fraction, log_scale, best, seed):
    """
    Return what each picture comes to.

    Parameters
    ----------
    scene : Scene
        What is measured.
    fraction : float
        Part of the captions that counts in batches.
    log_scale : float
        Natural logarithm of the factor on cosines in the loss.
    best : int
        Captions and terms that are recorded.
    seed : int
        Of shuffled pairs and of batches.

    Returns
    -------
    rows : `~astropy.table.Table`
        In the order of the scene.
    """
    vectors = scene.images, scene.texts, scene.own
    options = {"groups": scene.groups, "log_scale": log_scale}
    ranks, right, loss = image_ranks(*vectors, **options)
    back, back_loss = pair_ranks(*vectors, **options)
    rows = Table(
        {
            "key": np.array(scene.keys),
            "group": np.array(scene.groups),
            "caption": scene.own,
            "right": right.astype(np.float64),
            "shuffled": _shuffled(scene, seed),
            "loss": (loss + back_loss) / 2,
            "above": ranks.above,
            "tied": ranks.tied,
            "candidates": ranks.candidates,
            "above_text": back.above,
            "tied_text": back.tied,
            "candidates_text": back.candidates,
            "batch": _in_batches(scene, fraction, seed),
        }
    )
    if scene.terms:
        _add_terms(rows, scene, best)
    return rows


def _shuffled(scene, seed):
    """Return cosines of each picture and captions of other proposals."""
    rng = np.random.default_rng([seed, 0x5AFE])
    several, codes = siblings(scene.own, scene.codes), scene.codes
    found = np.empty((len(scene.own), _WRONG))
    for i, (image, own) in enumerate(zip(scene.images, scene.own, strict=True)):
        left_out = several.get(int(codes[i]), [own])
        drawn = rng.integers(0, len(scene.texts) - len(left_out), _WRONG)
        for place in left_out:  # ascending
            drawn += drawn >= place
        found[i] = scene.texts[drawn] @ image
    return np.rint(found * GRID) / GRID  # like the right ones


def _in_batches(scene, fraction, seed):
    """Return how often the own caption is among the best of a batch, as published."""
    n = len(scene.own)
    size = min(BATCH, n)
    rng = np.random.default_rng([seed, 0xBA7C])
    found = np.zeros(n)
    for _ in range(_ROUNDS):
        order = rng.permutation(n)
        for start in range(0, n, size):
            # the last batch is filled up with pictures that are no queries
            queries = order[start : start + size]
            batch = np.concatenate([queries, order])[:size] if start else queries
            ((_, block),) = similarity_blocks(
                scene.images[queries], scene.texts[scene.own[batch]]
            )
            right = np.diagonal(block)[:, None]
            above, tied = (block > right).sum(1), (block == right).sum(1) - 1
            ranks = Ranks(above, tied, np.full(len(queries), len(batch)))
            found[queries] += ranks.within_fraction(fraction)
    return found / _ROUNDS


def _add_terms(rows, scene, best):
    """Add the best terms of each picture and whether they are its classes."""
    n = len(scene.keys)
    names = np.array(scene.terms)
    top = np.empty((n, min(best, len(names))), names.dtype)
    cosines = np.empty(top.shape)
    hit = np.full(n, np.nan)
    for start, block in similarity_blocks(scene.images, scene.term_vectors):
        for i, row in enumerate(block, start):
            order = np.argsort(-row, kind="stable")[: top.shape[1]]
            top[i], cosines[i] = names[order], row[order]
            if scene.labels is not None and scene.labels[i]:
                first = np.flatnonzero(row == row.max())
                hit[i] = np.isin(first, scene.labels[i]).mean()
    rows["terms"], rows["term_cosines"] = top, cosines
    if scene.labels is None:
        return
    rows["class_hit"] = hit
    rows["class_chance"] = [len(own) / len(names) for own in scene.labels]
    rows["class"] = [names[own[0]] if own else "" for own in scene.labels]


# ---- one row for each query


def measure_texts(scene, *, ks, fraction):
    """
    Return what each query comes to when it ranks pictures.

    Parameters
    ----------
    scene : Scene
        What is measured.
    ks : sequence of int
        Numbers of pictures that are looked at.
    fraction : float
        Part of the pictures that counts.

    Returns
    -------
    rows : `~astropy.table.Table`
        One for each method ("model", "tfidf", "bm25") and query ("caption",
        "label").
    """
    rows = []
    used, members = members_of(scene.own)
    codes, groups = scene.codes, np.array(scene.groups)
    wrong = [others_than(codes, right) for right in members]
    names = [scene.captions[j] for j in used]
    units = [min(groups[right]) for right in members]
    for method, scores in _scores(scene, "caption", names, scene.texts[used]):
        measured = _queries(scene, scores, members, wrong, ks, fraction)
        rows += _labelled(measured, method, "caption", names, units)
    if scene.labels is not None:
        which = np.array([i for i, own in enumerate(scene.labels) for _ in own], int)
        term = np.array([j for own in scene.labels for j in own], int)
        used, parts = members_of(term)
        members = [which[part] for part in parts]
        keep = [n for n, right in enumerate(members) if len(right) < len(groups)]
        members, used = [members[n] for n in keep], used[keep]
        wrong = [~np.isin(np.arange(len(groups)), right) for right in members]
        names = [scene.terms[j] for j in used]
        vectors = scene.term_vectors[used] if len(used) else None
        for method, scores in _scores(scene, "label", names, vectors):
            measured = _queries(scene, scores, members, wrong, ks, fraction)
            rows += _labelled(measured, method, "label", names, names)
    return Table(rows)


def _labelled(measured, method, query, names, units):
    for row, name, unit in zip(measured, names, units, strict=True):
        yield {"method": method, "query": query, "text": name, "group": unit, **row}


def _scores(scene, query, names, vectors):
    """Yield each method with its similarities of all queries and pictures."""
    if not names:
        return
    blocks = similarity_blocks(vectors, scene.images)
    yield "model", (row for _, block in blocks for row in block)
    documents = scene.documents.get(query)
    if documents is None or not any(documents):
        return
    for method in METHODS:
        ranker = TextRanker(documents, method)
        yield method, (ranker.similarities([name])[0] for name in names)


def _queries(scene, scores, members, wrong, ks, fraction):
    """Yield the figures of each query."""
    codes, keys, best = scene.codes, np.array(scene.keys), max(ks)
    everywhere = np.zeros(len(codes))
    chance = {k: _distinct(everywhere, codes, k) for k in ks}
    for row, right, others in zip(scores, members, wrong, strict=True):
        blocks = tie_blocks(np.sort(row[others]), row[right])
        n_wrong = int(others.sum())
        places = np.union1d(right, np.flatnonzero(others))
        order = places[np.argsort(-row[places], kind="stable")][:best]
        tied = tie_blocks(np.zeros(n_wrong), np.zeros(len(right)))
        measured = {"n_right": len(right), "n_wrong": n_wrong}
        for end, where in (("", blocks), ("_chance", tied)):
            measured |= _of_blocks(where, n_wrong, ks, fraction, end)
        for k in ks:
            measured[f"proposals@{k}"] = _distinct(row[places], codes[places], k)
            measured[f"proposals@{k}_chance"] = chance[k]
        short = best - len(order)
        measured["top"] = [*keys[order].tolist(), *[""] * short]
        measured["top_right"] = [*np.isin(order, right).tolist(), *[False] * short]
        yield measured


def _of_blocks(blocks, n_wrong, ks, fraction, end):
    before, size, count, found = blocks
    # the place of each right picture among the wrong ones and itself
    ranks = Ranks(before - found, size - count, np.full(len(size), n_wrong + 1))
    inside = ranks.within_fraction(fraction)
    measured = {
        "within": float((inside * count).sum() / count.sum()),
        "first": first_rank(blocks),
        "ap": tied_average_precision(blocks),
        "ndcg": tied_ndcg(blocks, max(ks)),
    }
    for k in ks:
        measured[f"success@{k}"] = tied_success(blocks, k)
        measured[f"precision@{k}"] = _precision(blocks, k)
    return {name + end: value for name, value in measured.items()}


def _precision(blocks, k):
    """Return the share of right answers among the first k, tied ones in part."""
    before, size, count, _ = blocks
    return float((np.clip((k - before) / size, 0, 1) * count).sum() / k)


def _distinct(scores, codes, k):
    """Return the number of proposals among the best k, mean over ties."""
    k = min(k, len(scores))
    last = np.partition(scores, len(scores) - k)[len(scores) - k]
    sure = np.unique(codes[scores > last])
    drawn = k - int((scores > last).sum())
    tied = codes[scores == last]
    values, counts = np.unique(tied, return_counts=True)
    counts = counts[~np.isin(values, sure)]
    missed = np.ones(len(counts))
    for step in range(drawn):
        missed *= np.clip(len(tied) - counts - step, 0, None) / (len(tied) - step)
    return float(len(sure) + (1 - missed).sum())
