# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""
Search by words, to compare with: TF-IDF and BM25.

They see no picture. A picture is stood for by a text, for example the abstract
of its proposal, and texts are ranked for a query by the words they share.
"""

import re
from collections import Counter

import numpy as np

from paperclip.exceptions import InvalidQueryError

__all__ = ["METHODS", "TextRanker"]

METHODS = ("tfidf", "bm25")
"""Names of the methods."""

_WORD = re.compile(r"[^\W_]+")
_K1, _B = 1.2, 0.75


def words_of(text):
    """
    Return the words of a text in lower case, in order.

    Parameters
    ----------
    text : str
        Any text.

    Returns
    -------
    words : list of str
        Letters and digits only.
    """
    return _WORD.findall(text.casefold())


class TextRanker:
    """
    Rank texts by the words that they share with a query.

    Parameters
    ----------
    documents : sequence of str
        One text for each picture; equal ones count once where words are
        counted, so that a large programme makes no word common. Blank ones
        are never similar.
    method : {"bm25", "tfidf"}, optional
        How words are weighted.

    Raises
    ------
    InvalidQueryError
        If the method is unknown or no document has a word.

    Notes
    -----
    With n distinct documents, of which d have the word, and f its number in a
    text, "tfidf" is the cosine of vectors with the elements
    ``f * (1 + ln((1 + n) / (1 + d)))``. "bm25" [1]_ is the sum over the words
    of the query, as often as they are in it, of
    ``ln(1 + (n - d + 0.5) / (d + 0.5)) * f * (k1 + 1) / (f + k1 * (1 - b + b * l))``
    with the length l in units of the mean one, k1 = 1.2 and b = 0.75.

    References
    ----------
    .. [1] Robertson, S., & Zaragoza, H. 2009, Found. Trends Inf. Retr. 3, 333

    Examples
    --------
    >>> from paperclip.training.baselines import TextRanker
    >>> ranker = TextRanker(["dust in galaxies", "a cluster of stars"])
    >>> int(ranker.similarities(["galaxies"])[0].argmax())
    0
    """

    def __init__(self, documents, method="bm25"):
        if method not in METHODS:
            msg = f"method must be one of {METHODS}, got {method!r}"
            raise InvalidQueryError(msg)
        distinct = {text: n for n, text in enumerate(dict.fromkeys(documents))}
        self._place = np.array([distinct[text] for text in documents], dtype=np.int64)
        self.method = method
        counts = [Counter(words_of(text)) for text in distinct]
        if not any(counts):
            msg = "documents must hold at least one word, got none"
            raise InvalidQueryError(msg)
        self._n = sum(map(bool, counts))
        postings = {}
        for number, count in enumerate(counts):
            for word, times in count.items():
                postings.setdefault(word, []).append((number, times))
        self._size = len(distinct)
        self._idf = {word: self._rarity(len(found)) for word, found in postings.items()}
        self._postings = self._weigh(postings, counts)

    def _rarity(self, having):
        if self.method == "tfidf":
            return 1 + np.log((1 + self._n) / (1 + having))
        return np.log1p((self._n - having + 0.5) / (having + 0.5))

    def _weigh(self, postings, counts):
        """Return word -> (documents, what each gains from the word)."""
        lengths = np.array([sum(count.values()) for count in counts], dtype=float)
        norms = np.zeros(self._size)
        found = {}
        for word, entries in postings.items():
            where, times = np.array(entries).T
            weights = self._idf[word] * times
            if self.method == "bm25":
                relative = lengths[where] / (lengths.sum() / self._n)
                weights = weights * (_K1 + 1) / (times + _K1 * (1 - _B + _B * relative))
            norms[where] += weights**2
            found[word] = where, weights
        if self.method == "tfidf":
            norms = np.sqrt(norms)
            found = {word: (i, w / norms[i]) for word, (i, w) in found.items()}
        return found

    def similarities(self, queries):
        """
        Compare queries with all documents.

        Parameters
        ----------
        queries : sequence of str
            Any texts; words that no document has are passed over.

        Returns
        -------
        similarities : `~numpy.ndarray`, shape (n_queries, n_documents)
            At least 0; 0 without a common word.
        """
        result = np.zeros((len(queries), self._size))
        for row, query in zip(result, queries, strict=True):
            known = Counter(word for word in words_of(query) if word in self._idf)
            weights = dict(known)
            if self.method == "tfidf" and known:
                weights = {word: n * self._idf[word] for word, n in known.items()}
                length = np.sqrt(sum(weight**2 for weight in weights.values()))
                weights = {word: weight / length for word, weight in weights.items()}
            for word, weight in sorted(weights.items()):
                where, gains = self._postings[word]
                row[where] += weight * gains
        return np.round(result, 12)[:, self._place]
