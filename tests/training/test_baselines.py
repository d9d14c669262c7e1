# Licensed under a 3-clause BSD style license - see LICENSE.rst
from math import log, log1p, sqrt

import numpy as np
import pytest

from paperclip.exceptions import InvalidQueryError
from paperclip.training.baselines import METHODS, TextRanker, words_of

TEXTS = ["dust dust galaxy", "galaxy of stars", "a cluster of stars and stars"]


def test_words_are_folded_and_cut_at_marks():
    assert words_of("NGC-1300: HÄRTE, x_y!") == ["ngc", "1300", "härte", "x", "y"]


def test_bm25_agrees_with_its_formula():
    found = TextRanker(TEXTS).similarities(["stars stars dust unheard"])
    lengths = [3, 3, 6]
    for n, text in enumerate(TEXTS):
        expected = 0.0
        for word, times in (("stars", 2), ("dust", 1)):
            d = sum(word in other.split() for other in TEXTS)
            f = text.split().count(word)
            norm = f + 1.2 * (1 - 0.75 + 0.75 * lengths[n] / 4)
            expected += times * log1p((3 - d + 0.5) / (d + 0.5)) * f * 2.2 / norm
        assert found[0, n] == pytest.approx(expected, abs=1e-9)


def test_tfidf_is_a_cosine():
    ranker = TextRanker(TEXTS, "tfidf")
    assert np.diag(ranker.similarities(TEXTS)) == pytest.approx(1)
    words = sorted({word for text in TEXTS for word in text.split()})
    idf = [
        1 + log(4 / (1 + sum(word in text.split() for text in TEXTS))) for word in words
    ]

    def vector(text):
        counts = [text.split().count(word) for word in words]
        values = [c * i for c, i in zip(counts, idf, strict=True)]
        return np.array(values) / sqrt(sum(v * v for v in values))

    expected = [[vector(a) @ vector(b) for b in TEXTS] for a in TEXTS]
    assert ranker.similarities(TEXTS) == pytest.approx(np.array(expected), abs=1e-9)


@pytest.mark.parametrize("method", METHODS)
def test_repeated_documents_change_nothing(method):
    plain = TextRanker(TEXTS, method).similarities(["dust and stars"])
    many = TextRanker(TEXTS + 50 * TEXTS[:1], method).similarities(["dust and stars"])
    assert (many[:, :3] == plain).all()
    assert (many[:, 3:] == plain[0, 0]).all()


@pytest.mark.parametrize("method", METHODS)
def test_nothing_in_common_is_zero(method):
    ranker = TextRanker([*TEXTS, ""], method)
    assert (ranker.similarities(["quasar", "", "?!"]) == 0).all()
    assert ranker.similarities(["dust"])[0, 3] == 0
    assert ranker.similarities([]).shape == (0, 4)


def test_bad_arguments_are_refused():
    with pytest.raises(InvalidQueryError, match="method must be one of"):
        TextRanker(TEXTS, "lsi")
    with pytest.raises(InvalidQueryError, match="at least one word, got none"):
        TextRanker(["", "!"])
