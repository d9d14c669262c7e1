# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""Splits by proposal, position and PI."""

import time

import numpy as np
import pytest
from astropy import units as u
from astropy.table import MaskedColumn, Table

from paperclip.exceptions import DataSetError, InvalidQueryError
from paperclip.training import SplitSettings, split_proposals
from paperclip.training._report import split_report
from paperclip.training._sky import chord_of, link, nearest, unit_vectors
from paperclip.training.splits import SPLITS


def rows_of(proposals, ra=None, dec=None, pi=None):
    table = Table({"proposal_id": [str(p) for p in proposals]})
    table["obs_collection"] = "HST"
    if ra is not None:
        table["s_ra"], table["s_dec"] = np.asarray(ra, float), np.asarray(dec, float)
    if pi is not None:
        table["proposal_pi"] = pi
    return table


def fields(n, *, n_fields=40, seed=0, spread=0.03, stray=0.03):
    """
    Return observations of fields, also at RA 0 and at the poles.

    Each field has four proposals, which stray to other fields now and then,
    and two proposals have one PI.
    """
    rng = np.random.default_rng(seed)
    centre_ra = rng.uniform(0, 360, n_fields)
    centre_dec = np.degrees(np.arcsin(rng.uniform(-1, 1, n_fields)))
    centre_ra[:5], centre_dec[5:8], centre_dec[8:10] = 0.0, 90.0, -90.0
    at = rng.integers(0, n_fields, n)
    numbers = 4 * at + rng.integers(0, 4, n)
    at = np.where(rng.random(n) < stray, rng.integers(0, n_fields, n), at)
    dec = centre_dec[at] + rng.normal(0, spread, n)
    dec = np.where(np.abs(dec) > 90, np.sign(dec) * 180 - dec, dec)
    ra = (centre_ra[at] + rng.normal(0, spread, n) / np.cos(np.radians(dec))) % 360
    table = rows_of(numbers, ra, dec, [f"PI {i // 2}" for i in numbers])
    # some without a position
    table["s_ra"] = MaskedColumn(table["s_ra"], mask=rng.random(n) < 0.05)
    return table


def all_pairs(table, names):
    """Return the smallest distance of two splits, by comparing all, in degrees."""
    v = unit_vectors(table["s_ra"], table["s_dec"])
    chords = np.sqrt(((v[:, None] - v[None]) ** 2).sum(-1))
    names = np.asarray(names)
    other = (names[:, None] != names[None]) & (names != "")[:, None] & (names != "")
    chords = np.where(other, chords, np.nan)
    return np.degrees(2 * np.arcsin(np.nanmin(chords) / 2))


def assert_apart(table, split, radius):
    kept = split.names != ""
    assert ((split.reasons == "") == kept).all()
    homes = set(zip(table["proposal_id"][kept], split.names[kept], strict=True))
    assert len(homes) == len(set(table["proposal_id"][kept]))
    assert all_pairs(table, split.names) > radius


def by_comparing(v, chord):
    close = ((v[:, None] - v[None]) ** 2).sum(-1) <= chord**2 * (1 + 1e-12)
    labels = np.arange(len(v))
    while True:
        new = np.array([labels[row].min() for row in close])
        if (new == labels).all():
            return labels
        labels = new


@pytest.mark.parametrize("seed", range(12))
def test_groups_are_those_of_comparing_all_pairs(seed):
    rng = np.random.default_rng(seed)
    n, radius = 200, 10 ** rng.uniform(-3, 1)
    spread = radius * 5
    ra = rng.normal(0, spread, n) % 360
    dec = np.clip(rng.normal(0, spread, n), -90, 90)
    if seed % 4 == 1:
        dec = 90 - np.abs(dec)
    if seed % 4 == 2:
        ra, dec = (np.round(x / radius) * 0.999 * radius for x in (ra, dec))
    if seed % 4 == 3:
        ra = rng.uniform(0, 360, n)
    v, chord = unit_vectors(ra, dec), chord_of(radius)
    mine, right = link(v, chord), by_comparing(v, chord)
    pairs = set(zip(mine.tolist(), right.tolist(), strict=True))
    assert len(pairs) == len(set(mine.tolist())) == len(set(right.tolist()))


def test_two_crowded_places_just_too_far_apart():
    rng = np.random.default_rng(0)
    ra = np.concatenate([-rng.uniform(0, 1e-3, 3000), rng.uniform(0, 1e-3, 3000) + 0.1])
    v = unit_vectors(ra, np.zeros(6000))
    gap = ra[3000:].min() - ra[:3000].max()
    assert len(set(link(v, chord_of(gap * 0.999)).tolist())) == 2
    assert len(set(link(v, chord_of(gap * 1.001)).tolist())) == 1


def test_nearest_distance_is_that_of_comparing_all():
    table = fields(400, seed=1)
    v = unit_vectors(table["s_ra"], table["s_dec"])
    names = np.where(np.arange(400) % 3, "a", "b")
    expected = all_pairs(table, names)
    assert nearest(v[names == "a"], v[names == "b"]) == pytest.approx(expected)
    assert np.isnan(nearest(v[:0], v))


@pytest.mark.parametrize("by_pi", [False, True])
@pytest.mark.parametrize("seed", range(4))
def test_splits_share_nothing(seed, by_pi):
    table = fields(600, seed=seed, n_fields=60, stray=0.01)
    settings = SplitSettings(by_pi=by_pi)
    split = split_proposals(table, settings=settings, seed=seed)
    assert (split.names != "").all()
    assert_apart(table, split, 2 / 60)
    if by_pi:
        homes = set(zip(table["proposal_pi"], split.names, strict=True))
        assert len(homes) == len(set(table["proposal_pi"]))


def test_fractions_are_met_where_groups_are_small():
    rng = np.random.default_rng(0)
    table = rows_of(np.repeat(np.arange(500), rng.integers(1, 21, 500)))
    split = split_proposals(table, settings=SplitSettings(fractions=(0.7, 0.2, 0.1)))
    shares = [(split.names == name).mean() for name in SPLITS]
    assert shares == pytest.approx([0.7, 0.2, 0.1], abs=0.005)
    # and small proposals are not kept for the small splits
    sizes = dict(zip(*np.unique(table["proposal_id"], return_counts=True), strict=True))
    means = {
        name: np.mean([sizes[row["proposal_id"]] for row in part])
        for name in SPLITS
        if len(part := split.proposals[split.proposals["split"] == name])
    }
    assert means["test"] == pytest.approx(means["train"], rel=0.25)


def test_one_large_group_goes_to_train():
    table = rows_of([0] * 500 + list(range(1, 101)) * 2)
    split = split_proposals(table)
    assert set(split.names[:500]) == {"train"}
    assert (split.names == "test").mean() == pytest.approx(0.1, abs=0.01)


def test_no_split_stays_empty_if_there_are_groups_enough():
    for n in range(3, 8):
        assert set(split_proposals(rows_of(range(n))).names) == set(SPLITS)
    assert set(split_proposals(rows_of([1, 2])).names) == {"train", "validation"}
    settings = SplitSettings(fractions=(0.9, 0.1, 0))
    names = split_proposals(rows_of(range(30)), settings=settings).names
    assert set(names) == {"train", "validation"}


def test_the_seed_decides_and_the_order_does_not():
    table = fields(300, seed=5)
    order = np.random.default_rng(1).permutation(300)
    one = split_proposals(table, seed=0)
    two = split_proposals(table[order], seed=0)
    assert (one.names[order] == two.names).all()
    assert (one.proposals == two.proposals).all()
    assert (one.names != split_proposals(table, seed=1).names).any()


def test_the_split_of_a_seed_is_the_same_everywhere():
    names = split_proposals(rows_of(range(10)), seed=0).names
    assert [i for i in range(10) if names[i] != "train"] == [3, 7]
    assert (names == split_proposals(rows_of(range(10))).names).all()


def test_equal_numbers_of_two_missions_are_two_proposals():
    table = rows_of([1, 1])
    table["obs_collection"] = ["HST", "JWST"]
    assert len(split_proposals(table).proposals) == 2


def test_radius_units_and_edges():
    near, far = 1.999 / 60, 2.001 / 60
    for step, together in ((near, True), (2 / 60, True), (far, False)):
        for ra, dec in (([0, step], [0, 0]), ([0, 180], [90 - step / 2] * 2)):
            groups = split_proposals(rows_of([1, 2], ra, dec)).proposals["group"]
            assert (len(set(groups)) == 1) is together, (step, ra)
    apart = SplitSettings(radius=0 * u.deg)
    groups = split_proposals(rows_of([1, 2], [5, 5], [5, 5]), settings=apart)
    assert len(set(groups.proposals["group"])) == 2
    assert SplitSettings(radius="60 arcsec").to_dict()["radius"] == 1.0


def test_units_of_the_columns_are_heeded():
    table = rows_of([1, 2], [6.0, 6.0], [0, 0.02])
    table["s_ra"].unit = "hourangle"
    table["s_dec"].unit = "deg"
    assert len(set(split_proposals(table).proposals["group"])) == 1


def test_rows_without_position_go_by_proposal():
    table = rows_of([1, 1, 2], [10, np.nan, np.nan], [0, 0, 95])
    split = split_proposals(table)
    assert split.names[0] == split.names[1]
    assert split.proposals["group"].tolist() == ["HST-1", "HST-2"]


def test_names_of_pis_are_compared_without_case_and_marks():
    settings = SplitSettings(by_pi=True)
    table = rows_of([1, 2, 3, 4], pi=["O'Neil, Ann", "o neil ann", "", ""])
    groups = split_proposals(table, settings=settings).proposals["group"].tolist()
    assert groups == ["HST-1", "HST-1", "HST-3", "HST-4"]


# ---- more rows later


@pytest.mark.parametrize("by_pi", [False, True])
@pytest.mark.parametrize("seed", range(10))
def test_earlier_rows_stay_and_later_ones_keep_apart(seed, by_pi):
    rng = np.random.default_rng(seed)
    table = fields(500, seed=seed, n_fields=50, stray=0.1)
    settings = SplitSettings(by_pi=by_pi, fractions=(0.6, 0.2, 0.2))
    # rows of one proposal may come in two builds
    new = rng.random(500) < 0.5
    first = split_proposals(table[~new], settings=settings, seed=seed)
    earlier = np.full(500, "", dtype="U10")
    earlier[~new] = first.names
    second = split_proposals(table, settings=settings, seed=seed, earlier=earlier)
    assert (second.names[~new] == first.names).all()
    assert_apart(table, second, 2 / 60)
    again = split_proposals(table, settings=settings, seed=9, earlier=second.names)
    assert (again.names == second.names).all()
    assert (again.reasons != "").sum() == (second.reasons != "").sum()
    if by_pi:
        kept = second.names != ""
        homes = set(zip(table["proposal_pi"][kept], second.names[kept], strict=True))
        assert len(homes) == len(set(table["proposal_pi"][kept]))


def test_a_new_proposal_between_two_splits_loses_the_fewer_rows():
    table = rows_of([1, 2, 3, 3, 3, 4], [0, 10, 0.01, 0.02, 10.01, 50], [0] * 6)
    earlier = ["train", "test", "", "", "", ""]
    split = split_proposals(table, earlier=earlier)
    assert split.names[:5].tolist() == ["train", "test", "train", "train", ""]
    assert split.names[5] in SPLITS
    assert split.reasons[4] == (
        "close to a position of test, while the proposal is in train"
    )


def test_a_chain_of_new_proposals_is_cut_once():
    ra = [0, 0.15, 0.03, 0.06, 0.09, 0.12]
    table = rows_of([1, 2, 3, 4, 5, 6], ra, [0] * 6)
    split = split_proposals(table, earlier=["train", "test", "", "", "", ""])
    assert split.names.tolist() == ["train", "test", "train", "train", "train", ""]


def test_a_new_row_of_an_old_proposal_beside_another_split_is_left_out():
    table = rows_of([1, 2, 1], [0, 10, 10.01], [0, 0, 0])
    split = split_proposals(table, earlier=["train", "test", ""])
    assert split.names.tolist() == ["train", "test", ""]


def test_a_proposal_of_two_pis_in_two_splits_is_left_out():
    table = rows_of([1, 2, 3, 3], pi=["a", "b", "a", "b"])
    settings = SplitSettings(by_pi=True)
    split = split_proposals(table, settings=settings, earlier=["train", "test", "", ""])
    assert split.names[2:].tolist() == ["", ""]
    assert "ties the proposal to train and test" in split.reasons[2]


def test_old_rows_never_move_even_if_their_positions_did():
    table = rows_of([1, 2, 3], [0, 0.01, 0.02], [0, 0, 0])
    split = split_proposals(table, earlier=["train", "test", ""])
    assert split.names.tolist() == ["train", "test", ""]


# ---- report, speed, bad input


def test_report_counts():
    table = fields(400, seed=3)
    split = split_proposals(table)
    groups = dict(split.proposals["proposal_id", "group"].iterrows())
    of_rows = [groups[p] for p in table["proposal_id"]]
    report = split_report(table, split.names, of_rows, dict.fromkeys(SPLITS, 0.3))
    assert report["rows"].sum() == 400
    assert report["proposals"].sum() == len(split.proposals)
    smallest = report["nearest"].min()
    assert smallest == pytest.approx(60 * all_pairs(table, split.names))
    assert report["largest_group"].max() == max(map(of_rows.count, set(of_rows)))
    missing = (report["no_position"] * report["rows"]).sum()
    assert missing == pytest.approx(table["s_ra"].mask.sum())
    assert all(column.info.description for column in report.itercols())
    empty = split_report(table[:0], [], [], {"train": 1.0})
    assert empty["nearest"].mask.all()


@pytest.mark.parametrize("kind", ["fields", "one crowded field", "pole"])
def test_a_hundred_thousand_positions_take_seconds(kind):
    rng, n = np.random.default_rng(0), 100_000
    if kind == "fields":
        table = fields(n, n_fields=3000, stray=0)
    else:
        ra, dec = rng.normal(150, 0.1, n), rng.normal(2, 0.1, n)
        if kind == "pole":
            ra, dec = rng.uniform(0, 360, n), 90 - np.abs(rng.normal(0, 0.1, n))
        table = rows_of(rng.integers(0, 5000, n), ra, dec)
    start = time.process_time()
    split = split_proposals(table)
    split_report(table, split.names, np.full(n, "x"), {"train": 0.8, "test": 0.1})
    assert time.process_time() - start < 20


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"fractions": (0.8, 0.1)}, "fractions must be three numbers from 0 to 1"),
        ({"fractions": (0.8, 0.1, 0.2)}, "whose sum is 1 and the first is not 0, got"),
        ({"fractions": (0, 0.5, 0.5)}, "the first is not 0"),
        ({"fractions": "abc"}, "got 'abc'"),
        ({"fractions": (np.nan, 0.5, 0.5)}, "fractions must be"),
        ({"radius": 2}, "radius must be an angle with a unit, from 1 arcsec to 10"),
        ({"radius": "2 kpc"}, "got '2 kpc'"),
        ({"radius": -1 * u.arcmin}, "radius must be"),
        ({"radius": "0.1 arcsec"}, "radius must be"),
        ({"radius": [1, 2] * u.arcmin}, "radius must be"),
        ({"radius": np.nan * u.deg}, "radius must be"),
        ({"by_pi": 1}, "by_pi must be True or False, got 1"),
    ],
)
def test_bad_settings(options, message):
    with pytest.raises(InvalidQueryError, match=message):
        SplitSettings(**options)


def test_bad_rows():
    with pytest.raises(InvalidQueryError, match="must have a column proposal_id"):
        split_proposals(Table({"a": [1]}))
    with pytest.raises(InvalidQueryError, match="proposal_id of row 1 is missing"):
        split_proposals(rows_of(["1", " "]))
    with pytest.raises(InvalidQueryError, match="seed must be at least 0"):
        split_proposals(rows_of([1]), seed=-1)
    with pytest.raises(DataSetError, match="one entry for each of 2 rows, got 1"):
        split_proposals(rows_of([1, 2]), earlier=["train"])
    with pytest.raises(DataSetError, match="or '', got 'dev'"):
        split_proposals(rows_of([1, 2]), earlier=["train", "dev"])
    with pytest.raises(DataSetError, match="proposal HST 1 is in two earlier"):
        split_proposals(rows_of([1, 1]), earlier=["train", "test"])


def test_no_rows_give_an_empty_split():
    split = split_proposals(rows_of([], [], []))
    assert len(split.names) == len(split.proposals) == 0
