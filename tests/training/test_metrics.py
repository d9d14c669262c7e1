# Licensed under a 3-clause BSD style license - see LICENSE.rst
import itertools

import numpy as np
import pytest

from paperclip.exceptions import InvalidQueryError
from paperclip.training import _similar, _ties
from paperclip.training.metrics import (
    auc,
    image_ranks,
    pair_ranks,
    retrieval_accuracy,
    summary,
)


def case(seed, *, n=14, m=6, ties=False, groups=True):
    """Return random vectors, captions and proposals; few values if tied."""
    rng = np.random.default_rng(seed)
    own = np.concatenate([np.arange(m), rng.integers(0, m, n - m)])
    if ties:
        images, texts = rng.choice([-1.0, 1.0], (n, 2)), rng.choice([-1.0, 1.0], (m, 2))
    else:
        images, texts = rng.normal(size=(n, 5)), rng.normal(size=(m, 5))
    codes = [f"p{k // 2}" for k in own] if groups else None
    return images, texts, own, codes


def cosine(a, b):
    return np.float32(a @ b / np.sqrt((a @ a) * (b @ b)))


def all_orders(scores):
    """Yield every order from best to worst that equal scores allow."""
    for order in itertools.permutations(range(len(scores))):
        ordered = [scores[i] for i in order]
        if all(x >= y for x, y in itertools.pairwise(ordered)):
            yield order


def near(value):
    return pytest.approx(value, abs=1e-9)


@pytest.mark.parametrize("ties", [False, True])
@pytest.mark.parametrize("groups", [False, True])
@pytest.mark.parametrize("seed", range(5))
def test_ranks_of_captions_agree_with_loops(seed, groups, ties):
    images, texts, own, codes = case(seed, ties=ties, groups=groups)
    ranks, right, loss = image_ranks(
        images, texts, own, groups=codes, log_scale=np.log(7)
    )
    for i in range(len(images)):
        mine = cosine(images[i], texts[own[i]])
        left_out = {
            own[k] for k in range(len(own)) if codes and codes[k] == codes[i]
        } - {own[i]}
        others = [
            cosine(images[i], texts[j])
            for j in range(len(texts))
            if j != own[i] and j not in left_out
        ]
        assert right[i] == pytest.approx(mine, abs=1e-6)
        assert ranks.candidates[i] == len(others) + 1
        assert ranks.above[i] == sum(x > mine + 1e-6 for x in others)
        assert ranks.tied[i] == sum(abs(x - mine) <= 1e-6 for x in others)
        logits = 7 * np.array([mine, *others], dtype=float)
        expected = np.log(np.exp(logits).sum()) - logits[0]
        assert loss[i] == pytest.approx(expected, abs=1e-5)


@pytest.mark.parametrize("ties", [False, True])
@pytest.mark.parametrize("groups", [False, True])
@pytest.mark.parametrize("seed", range(5))
def test_ranks_of_pictures_agree_with_loops(seed, groups, ties):
    images, texts, own, codes = case(seed, ties=ties, groups=groups)
    ranks, loss = pair_ranks(images, texts, own, groups=codes, log_scale=np.log(7))
    for i in range(len(images)):
        text, mine = texts[own[i]], cosine(images[i], texts[own[i]])
        related = (
            {codes[k] for k in range(len(own)) if own[k] == own[i]} if codes else ()
        )
        others = [
            cosine(images[k], text)
            for k in range(len(own))
            if own[k] != own[i] and not (codes and codes[k] in related)
        ]
        assert ranks.candidates[i] == len(others) + 1
        assert ranks.above[i] == sum(x > mine + 1e-6 for x in others)
        assert ranks.tied[i] == sum(abs(x - mine) <= 1e-6 for x in others)
        logits = 7 * np.array([mine, *others], dtype=float)
        expected = np.log(np.exp(logits).sum()) - logits[0]
        assert loss[i] == pytest.approx(expected, abs=1e-5)


@pytest.mark.parametrize("seed", range(4))
def test_figures_of_one_right_answer_are_means_over_all_orders(seed):
    rng = np.random.default_rng(seed)
    scores = rng.integers(0, 3, 6)
    places = [order.index(0) + 1 for order in all_orders(scores)]
    ranks = _ties.Ranks(
        np.array([(scores[1:] > scores[0]).sum()]),
        np.array([(scores[1:] == scores[0]).sum()]),
        np.array([6]),
    )
    assert ranks.expected()[0] == near(np.mean(places))
    assert ranks.reciprocal()[0] == near(np.mean([1 / p for p in places]))
    for k in range(1, 7):
        assert ranks.within(k)[0] == near(np.mean([p <= k for p in places]))
        gains = [1 / np.log2(1 + p) if p <= k else 0 for p in places]
        assert ranks.gain(k)[0] == near(np.mean(gains))


@pytest.mark.parametrize("seed", range(6))
def test_figures_of_several_right_answers_are_means_over_all_orders(seed):
    rng = np.random.default_rng(seed)
    scores, right = rng.integers(0, 3, 7), np.array([1, 1, 1, 0, 0, 0, 0], dtype=bool)
    blocks = _ties.tie_blocks(np.sort(scores[~right]), scores[right])
    precision, firsts, gains, hits = [], [], {2: [], 5: []}, {1: [], 3: []}
    for order in all_orders(scores):
        found = [p for p, i in enumerate(order, 1) if right[i]]
        precision.append(np.mean([(n + 1) / p for n, p in enumerate(found)]))
        firsts.append(found[0])
        for k, values in gains.items():
            ideal = sum(1 / np.log2(1 + p) for p in range(1, min(k, 3) + 1))
            values.append(sum(1 / np.log2(1 + p) for p in found if p <= k) / ideal)
        for k, values in hits.items():
            values.append(found[0] <= k)
    assert _ties.tied_average_precision(blocks) == near(np.mean(precision))
    assert _ties.first_rank(blocks) == near(np.mean(firsts))
    for k, values in gains.items():
        assert _ties.tied_ndcg(blocks, k) == near(np.mean(values))
    for k, values in hits.items():
        assert _ties.tied_success(blocks, k) == near(np.mean(values))


def test_accuracy_agrees_with_a_loop_without_ties():
    images, texts, own, _ = case(3, n=200, m=40, groups=False)
    found = []
    for i in range(200):
        scores = [cosine(images[i], text) for text in texts]
        found.append(sum(s > scores[own[i]] for s in scores) < 4)
    assert retrieval_accuracy(images, texts, own) == near(np.mean(found))


@pytest.mark.parametrize("m", [2, 3, 7, 44])
@pytest.mark.parametrize("fraction", [0.01, 0.1, 0.5, 1])
def test_a_model_that_says_the_same_of_everything_is_at_chance(m, fraction):
    own = np.arange(3 * m) % m
    value = retrieval_accuracy(np.ones((3 * m, 4)), np.ones((m, 4)), own, fraction)
    assert value == near(fraction)


@pytest.mark.parametrize("groups", [False, True])
def test_random_vectors_are_at_chance(groups):
    rng = np.random.default_rng(1)
    values = []
    for _ in range(60):
        own = rng.permutation(np.arange(120) % 30)
        codes = own // 3 if groups else None
        vectors = rng.normal(size=(120, 8)), rng.normal(size=(30, 8))
        values.append(summary(*vectors, own, groups=codes))
    assert np.mean([v["top10"] for v in values]) == pytest.approx(0.1, abs=0.015)
    assert np.mean([v["top10_text"] for v in values]) == pytest.approx(0.1, abs=0.015)
    assert np.mean([v["auc"] for v in values]) == pytest.approx(0.5, abs=0.02)


def test_pictures_that_share_a_caption_do_not_compete():
    texts = np.eye(4)
    own = np.repeat(np.arange(4), 25)
    figures = summary(texts[own], texts, own)
    assert figures["top10_text"] == figures["recall@1"] == figures["auc"] == 1
    assert figures["median_rank"] == 1


def test_other_captions_of_the_proposal_are_left_out():
    images = np.array([[1.0, 0.1, 0], [1, 0, 0.1], [0, 1, 0]])
    texts = np.array([[1.0, 0, 0], [1, 0.1, 0], [0, 1, 0]])
    own = np.array([0, 1, 2])
    assert summary(images, texts, own)["recall@1"] < 1
    assert summary(images, texts, own, groups=["a", "a", "b"])["recall@1"] == 1


@pytest.mark.parametrize("ties", [False, True])
def test_order_of_the_input_does_not_matter(ties):
    images, texts, own, codes = case(5, n=60, m=11, ties=ties)
    rng = np.random.default_rng(0)
    rows, columns = rng.permutation(60), rng.permutation(11)
    where = np.argsort(columns)
    mixed = summary(
        images[rows],
        texts[columns],
        where[own[rows]],
        groups=[codes[i] for i in rows],
        log_scale=2,
    )
    straight = summary(images, texts, own, groups=codes, log_scale=2)
    assert mixed == pytest.approx(straight, abs=1e-12)


def test_equal_vectors_tie_wherever_they_are():
    rng = np.random.default_rng(2)
    one = rng.normal(size=(1, 67))
    images = np.repeat(one, 301, axis=0)
    texts = np.repeat(rng.normal(size=(1, 67)), 259, axis=0)
    ranks, _, _ = image_ranks(images, texts, np.arange(301) % 259)
    assert (ranks.tied == 258).all()


def test_length_of_vectors_does_not_matter():
    images, texts, own, _ = case(7)
    lengths = np.random.default_rng(0).uniform(0.1, 9, (len(images), 1))
    assert summary(images * lengths, texts, own) == pytest.approx(
        summary(images, texts, own)
    )


def test_blocks_do_not_matter(monkeypatch):
    images, texts, own, codes = case(8, n=40, m=12)
    whole = summary(images, texts, own, groups=codes, log_scale=1)
    monkeypatch.setattr(_similar, "_BLOCK", 5)
    assert summary(images, texts, own, groups=codes, log_scale=1) == whole


@pytest.mark.parametrize("seed", range(4))
def test_auc_agrees_with_loops(seed):
    rng = np.random.default_rng(seed)
    right, wrong = rng.integers(0, 5, 9), rng.integers(-2, 4, 11)
    u, v = rng.integers(0, 3, 9), rng.integers(1, 3, 11)
    better = [[float(a > b) + (a == b) / 2 for b in wrong] for a in right]
    assert auc(right, wrong) == near(np.mean(better))
    assert auc(right, wrong, u, v) == near(np.average(better, weights=np.outer(u, v)))


def test_auc_needs_values():
    with pytest.raises(InvalidQueryError, match="wrong must be finite numbers"):
        auc([1.0], [])
    with pytest.raises(InvalidQueryError, match="right must be finite numbers"):
        auc([np.nan], [1.0])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"image_vectors": np.full((3, 2), np.nan)},
            "image_vectors .* 3 bad rows of 3",
        ),
        ({"text_vectors": np.array([[1.0, 0], [0, 0]])}, "the first is row 1"),
        ({"text_vectors": np.array([[1.0, 0], [np.inf, 0]])}, "the first is row 1"),
        ({"text_vectors": np.ones((2, 3))}, "rows of equal length, got 2 and 3"),
        ({"image_vectors": np.ones(3)}, r"shape \(n, d\)"),
        ({"image_vectors": np.ones((0, 2))}, "not be empty"),
        ({"own": np.array([0, 1])}, "own must be 3 whole numbers"),
        ({"own": np.array([0.0, 1, 1])}, "own must be 3 whole numbers"),
        ({"own": np.array([0, 1, 2])}, "own must be from 0 to 1, got 0 to 2"),
        ({"own": np.array([0, 1, -1])}, "own must be from 0 to 1"),
        ({"fraction": 0}, "fraction must be above 0"),
        ({"fraction": np.nan}, "fraction must be above 0"),
        ({"fraction": "x"}, "fraction must be above 0"),
        ({"groups": ["a"]}, "groups must have one entry for each of 3 pictures"),
    ],
)
def test_bad_input_is_refused(change, message):
    good = {
        "image_vectors": np.ones((3, 2)),
        "text_vectors": np.ones((2, 2)),
        "own": np.array([0, 1, 1]),
    }
    with pytest.raises(InvalidQueryError, match=message):
        retrieval_accuracy(**{**good, **change})
