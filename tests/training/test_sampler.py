# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""Batches: every pair once, no group twice, the same on any number of processes."""

import time
import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from paperclip.exceptions import DataSetError, InvalidQueryError, TrainingWarning
from paperclip.training import Batches, group_codes, sample_rng, stable_codes


def build(groups, batch_size, seed=0, **options):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", TrainingWarning)
        return Batches(groups, batch_size, seed, **options)


@st.composite
def cases(draw):
    groups = draw(st.lists(st.integers(0, 12), min_size=4, max_size=120))
    groups[:2] = [0, 1]
    size = draw(st.integers(1, len(groups)))
    return groups, size, draw(st.integers(0, 5)), draw(st.booleans())


@given(cases(), st.booleans(), st.integers(0, 3))
@settings(deadline=None, max_examples=150)
def test_every_pair_is_in_one_batch(case, drop, epoch):
    groups, size, seed, unique = case
    batches = build(groups, size, seed, unique_groups=unique, drop_last=drop)
    found = batches.epoch(epoch)
    every = np.concatenate(found)
    assert len(found) == len(batches)
    assert len(set(every.tolist())) == len(every) == len(groups) - batches.dropped
    lengths = [len(batch) for batch in found]
    assert max(lengths) <= size
    assert max(lengths) - min(lengths) <= (0 if drop else 1)
    assert batches.dropped == (len(groups) % size if drop else 0)


@given(cases(), st.booleans())
@settings(deadline=None, max_examples=150)
def test_no_group_meets_itself_more_often_than_it_must(case, drop):
    groups, size, seed, _ = case
    batches = build(groups, size, seed, drop_last=drop)
    groups = np.array(groups)
    if np.bincount(groups).max() <= len(batches):
        assert batches.repeats == 1
    for batch in batches.epoch(seed):
        assert np.bincount(groups[batch]).max() <= batches.repeats


@given(cases(), st.integers(1, 4))
@settings(deadline=None, max_examples=100)
def test_processes_share_the_batches_of_one(case, world):
    groups, size, seed, unique = case
    batches = build(groups, size, seed, unique_groups=unique)
    if len(groups) // len(batches) < world:
        return
    parts = [batches.shard(rank, world).epoch(2) for rank in range(world)]
    for whole, *shares in zip(batches.epoch(2), *parts, strict=True):
        np.testing.assert_array_equal(np.concatenate(shares), whole)
        lengths = [len(share) for share in shares]
        assert min(lengths) > 0
        assert max(lengths) - min(lengths) <= 1


@given(cases(), st.data())
@settings(deadline=None, max_examples=50)
def test_resume_goes_on_where_it_stopped(case, data):
    groups, size, seed, unique = case
    batches = build(groups, size, seed, unique_groups=unique)
    total = 3 * len(batches)
    stop = data.draw(st.integers(0, total - 1))
    stream = batches.stream()
    whole = [next(stream) for _ in range(total)]
    epoch, step = divmod(stop, len(batches))
    again = build(groups, size, seed, unique_groups=unique)
    again = again.stream(epoch=epoch, step=step)
    for expected in whole[stop:]:
        found = next(again)
        assert found[:2] == expected[:2]
        np.testing.assert_array_equal(found[2], expected[2])


@pytest.mark.parametrize("unique", [True, False])
def test_seeds_and_epochs_differ_and_zero_is_a_seed(unique):
    groups = [i // 3 for i in range(90)]
    orders = {}
    for seed in (0, 1):
        for epoch in (0, 1):
            batches = Batches(groups, 10, seed, unique_groups=unique)
            order = tuple(np.concatenate(batches.epoch(epoch)).tolist())
            again = np.concatenate(batches.epoch(epoch)).tolist()
            assert list(order) == again
            orders[seed, epoch] = order
    assert len(set(orders.values())) == 4


def test_global_random_state_is_left_alone():
    before = np.random.get_state()[1].copy()  # noqa: NPY002
    Batches(range(20), 4).epoch(0)
    np.testing.assert_array_equal(before, np.random.get_state()[1])  # noqa: NPY002


def test_two_pairs_meet_about_as_often_as_in_a_plain_shuffle():
    groups, meetings = [i // 2 for i in range(40)], np.zeros((40, 40))
    batches = Batches(groups, 8)
    for epoch in range(2000):
        for batch in batches.epoch(epoch):
            meetings[np.ix_(batch, batch)] += 1
    other = [(i, j) for i in range(40) for j in range(i) if i // 2 != j // 2]
    share = np.array([meetings[pair] for pair in other]) / 2000
    # 7 companions among 38 pairs of other groups
    assert share.mean() == pytest.approx(7 / 38, rel=1e-3)
    assert share.std() < 3 * np.sqrt(7 / 38 * 31 / 38 / 2000)


def test_a_dominating_group_is_spread_and_said():
    groups = ["JWST:3707"] * 500 + [f"HST:{i}" for i in range(500)]
    text = (
        r"1 of 501 groups have more pairs than an epoch has batches \(10\) and meet "
        r"themselves up to 50 times in a batch: 'JWST:3707' \(500 pairs\). Set "
        r"loss.positives to 'group'"
    )
    with pytest.warns(TrainingWarning, match=text) as caught:
        batches = Batches(groups, 100)
    assert caught[0].filename == __file__
    assert len(batches) == 10
    found = batches.epoch(0)
    assert [len(batch) for batch in found] == [100] * 10
    assert all((np.array(batch) < 500).sum() == 50 for batch in found)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        Batches(groups, 100, unique_groups=False)
        Batches(groups, 100, may_meet=True)  # the loss knows of them


def test_pairs_left_out_are_those_of_a_too_large_group():
    groups = [0] * 6 + list(range(1, 10))
    batches = Batches(groups, 4, drop_last=True)  # 15 pairs, 3 batches
    assert batches.dropped == 3
    assert batches.repeats == 1
    left_out = set()
    for epoch in range(20):
        used = np.concatenate(batches.epoch(epoch))
        missing = set(range(15)) - set(used.tolist())
        assert missing < set(range(6))
        left_out |= missing
    assert left_out == set(range(6))


def test_one_group_and_too_few_pairs_are_refused():
    with pytest.raises(DataSetError, match=r"all 6 pairs belong to the group 'HST:1'"):
        Batches(["HST:1"] * 6, 3)
    match = "batch_size must be at most the number of pairs, 6, got 7; lower it"
    with pytest.raises(DataSetError, match=match):
        Batches(range(6), 7)
    with pytest.raises(DataSetError, match="number of pairs, 0, got 1"):
        Batches([], 1)


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"batch_size": 0}, "batch_size must be at least 1, got 0"),
        ({"batch_size": 2.5}, "batch_size must be a whole number, got 2.5"),
        ({"seed": -1}, "seed must be at least 0, got -1"),
        ({"unique_groups": 1}, "unique_groups must be True or False, got 1"),
        ({"drop_last": None}, "drop_last must be True or False, got None"),
    ],
)
def test_bad_arguments(options, match):
    with pytest.raises(InvalidQueryError, match=match):
        Batches(range(8), **{"batch_size": 4, **options})


def test_bad_shards_and_places():
    batches = Batches(range(8), 4)
    with pytest.raises(InvalidQueryError, match="rank must be at most 1, got 2"):
        batches.shard(2, 2)
    match = "batches of 4 pairs cannot be shared by 5 processes; raise optim.batch_size"
    with pytest.raises(InvalidQueryError, match=match):
        batches.shard(0, 5)
    with pytest.raises(InvalidQueryError, match="start must be at most 2, got 3"):
        batches.epoch(0, start=3)
    assert "process 1 of 2" in repr(batches.shard(1, 2))


def test_group_codes():
    assert group_codes(["b", None, "a", "b"]).tolist() == [0, -1, 1, 0]
    assert group_codes(np.ma.array([5, 6, 5], mask=[0, 1, 0])).tolist() == [0, -1, 0]
    assert group_codes(np.array([-3, 7, 7])).tolist() == [-1, 0, 0]
    batches = Batches([None] * 8, 4)  # pairs without a group are all different
    assert batches.repeats == 1


def test_codes_of_texts_are_the_same_everywhere():
    codes = stable_codes(["NGC 1300", "M 82", "NGC 1300", "\u03b1 Cen"])
    assert codes.dtype == np.int64
    assert codes[0] == codes[2] == 2852234294306194620
    assert len(set(codes.tolist())) == 3
    assert (codes >= 0).all()


def test_streams_of_a_sample_are_independent():
    numbers = {
        (seed, epoch, index, stream): sample_rng(
            seed, epoch, index, stream=stream
        ).random()
        for seed in (0, 1)
        for epoch in (0, 1)
        for index in (0, 1)
        for stream in ("augment", "caption", "noise", "shuffle")
    }
    assert len(set(numbers.values())) == 32
    with pytest.raises(InvalidQueryError, match="stream must be one of"):
        sample_rng(0, 0, 0, stream="colour")


def test_an_epoch_of_a_million_pairs_takes_seconds():
    groups = np.arange(1_000_000) // 7
    start = time.perf_counter()
    batches = Batches(groups, 4096)
    assert sum(map(len, batches.epoch(0))) == 1_000_000
    assert time.perf_counter() - start < 20
