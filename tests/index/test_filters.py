# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""Conditions on columns and times against plain Python; values that attack."""

from datetime import UTC, date, datetime
from fnmatch import fnmatchcase

import numpy as np
import pytest
from astropy.table import MaskedColumn, Table
from astropy.time import Time

from paperclip.exceptions import InvalidQueryError
from paperclip.index import Index
from paperclip.index.filters import TEXT_FILTERS, row_filter

NAMES = [
    "NIRCAM/IMAGE",
    "nircam",
    "MIRI",
    "ACS/WFC",
    "O'Neil",
    "50%",
    "50x",
    "a_b",
    "axb",
    "back\\slash",
    "naïve β",
    "ΣΑΣ",
    "x; DROP TABLE x --",
    "x' OR '1'='1",
    "two\nlines",
    'double"quote',
    "[a]",
    None,
]
T_MIN = [59000.0, 59010.0, None, 59020.5, None]
T_MAX = [59000.5, None, 59011.0, 59030.0, None]


@pytest.fixture(name="index", scope="module")
def fixture_index(tmp_path_factory):
    count = len(NAMES)
    table = Table({"obs_id": [f"o{i:02d}" for i in range(count)]})
    for name in TEXT_FILTERS:
        blank = [value is None for value in NAMES]
        table[name] = MaskedColumn([value or "" for value in NAMES], mask=blank)
    for name, values in (("t_min", T_MIN), ("t_max", T_MAX)):
        values = [values[i % 5] for i in range(count)]
        blank = [value is None for value in values]
        table[name] = MaskedColumn([value or 0.0 for value in values], mask=blank)
    path = tmp_path_factory.mktemp("filters") / "ix"
    index = Index.create(
        path, fingerprint="f", dimension=2, extra_columns={"redshift": float}
    )
    index.append(table, np.ones((count, 2)))
    return index


def ids(index, **conditions):
    table = index.search([1, 1], limit=100, **conditions)
    assert table.meta["n_match"] == len(table)
    return [int(name[1:]) for name in table["obs_id"]]


def matching(pattern):
    """Rows by fnmatch, whose brackets are taken out of play."""
    pattern = pattern.lower().replace("[", "[[]")
    return [i for i, n in enumerate(NAMES) if n and fnmatchcase(n.lower(), pattern)]


@pytest.mark.parametrize("column", TEXT_FILTERS)
def test_values_match_whatever_the_case(index, column):
    assert ids(index, **{column: "NirCam"}) == [1]
    assert ids(index, **{column: ["miri", "ACS/wfc", "none such"]}) == [2, 3]


@pytest.mark.parametrize("value", [name for name in NAMES if name])
def test_every_value_finds_its_own_row(index, value):
    assert ids(index, target_name=value) == matching(value)
    assert ids(index, target_name=value.upper()) == matching(value)


@pytest.mark.parametrize(
    "pattern",
    [
        *("nircam*", "*", "a?b", "50%*", "50?", "*_*", "*\\*", "*'*", "*;*", "*--*"),
        *("two*lines", "*β", "Σ*", "?????", "[a*", '*"*', "%*", "_*", "*O*N*", "\\*"),
    ],
)
def test_wildcards_are_those_of_file_names(index, pattern):
    expected = matching(pattern)
    if expected:
        assert ids(index, target_name=pattern) == expected
    else:
        assert len(index.search([1, 1], target_name=pattern)) == 0


def test_missing_values_never_match(index):
    assert NAMES.index(None) not in ids(index, target_name="*")


@pytest.mark.parametrize(
    "value",
    [
        "' OR 1=1 --",
        "') OR (1=1",
        "x'; DELETE",
        "\\' OR 1=1 --",
        "''",
        "*q' OR '1'='1",
        "' OR target_name LIKE '*",
        "\u2019 OR 1=1",
        "${x}",
        "{0}",
    ],
)
def test_values_stay_values(index, value):
    assert len(index.search([1, 1], target_name=value)) == 0
    assert len(index.search([1, 1], target_name=[value, "none"])) == 0


def test_conditions_are_combined_by_and(index):
    found = ids(index, target_name="*a*", obs_collection="acs*", t_min=59020)
    assert found == [3]
    where = "obs_id = 'o01' OR obs_id = 'o03'"
    assert ids(index, where=where, filters="miri") == []
    assert ids(index, where=where, filters=["acs*", "miri"]) == [3]


def test_numbers_of_programmes_may_be_numbers(tmp_path):
    index = Index.create(tmp_path / "ix", fingerprint="f", dimension=2)
    table = Table({"obs_id": ["o1", "o2"], "proposal_id": ["2733", "1"]})
    index.append(table, np.eye(2))
    assert ids(index, proposal_id=2733) == [1]
    assert ids(index, proposal_id=np.array([2733, 1])) == [1, 2]


def overlapping(low, high):
    found = []
    for i in range(len(NAMES)):
        first, last = T_MIN[i % 5], T_MAX[i % 5]
        first, last = (
            (last if first is None else first),
            (first if last is None else last),
        )
        if first is None:
            continue
        if (low is None or last >= low) and (high is None or first <= high):
            found.append(i)
    return found


@pytest.mark.parametrize(
    ("low", "high"),
    [
        (None, 59000.0),
        (59000.5, None),
        (59000.51, 59009.9),
        (59010.0, 59010.0),
        (59011.0, 59020.4),
        (59025.0, 59026.0),
        (59030.1, None),
        (-5, 80000),
    ],
)
def test_intervals_overlap(index, low, high):
    assert ids(index, t_min=low, t_max=high) == overlapping(low, high)


@pytest.mark.parametrize(
    "value",
    [
        Time("2020-06-10T12:00:00", scale="utc"),
        Time(59010.5, format="mjd", scale="utc").tai,
        "2020-06-10T12:00:00",
        " 2020-06-10 12:00 ",
        "59010.5",
        59010.5,
        np.float32(59010.5),
        datetime(2020, 6, 10, 12, tzinfo=UTC),
    ],
)
def test_ways_to_give_a_time(index, value):
    chosen = row_filter(index._snapshot.specs, t_min=value)
    assert chosen.facts["t_min"] == "MJD 59010.500000"
    assert ids(index, t_min=value) == overlapping(59010.5, None)


def test_a_date_is_its_midnight(index):
    for value in ("2020-06-10", date(2020, 6, 10)):
        assert ids(index, t_max=value) == overlapping(None, 59010.0)


def test_free_conditions_still_work(index):
    assert ids(index, where="target_name = 'a_b' OR redshift > 1") == [7]
    assert ids(index, where="target_name = ';--(/*'") == []
    assert ids(index, where="LOWER(target_name) LIKE 'x;%'") == [12]


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"where": "1=1) OR (1=1"}, "brackets do not match"),
        ({"where": "(obs_id = 'a'"}, "brackets do not match"),
        ({"where": "obs_id = 'a' -- b"}, "one condition, without '--'"),
        ({"where": "obs_id = 'a' /* b"}, r"one condition, without '/\*'"),
        ({"where": "obs_id = 'a'; b"}, "one condition, without ';'"),
        ({"where": "obs_id = 'a' GROUP BY x"}, "is not a condition in SQL"),
        ({"where": "obs_id = 'a"}, "is not a condition in SQL"),
        ({"where": "redshit > 1"}, "no column 'redshit'; did you mean 'redshift'"),
        ({"where": "cxx > 1"}, "no column 'cxx'; (choose|did)"),
        ({"where": "cx > 1"}, "no column 'cx'; (choose|did)"),
        ({"where": "abs(CX) > 1"}, "no column 'CX'"),
        ({"where": "`hpx29` > 1"}, "no column 'hpx29'"),
        ({"where": "vector IS NULL"}, "no column 'vector'"),
        ({"where": "_rowaddr < 9"}, "no column '_rowaddr'"),
        ({"where": ""}, "where must be a condition"),
        ({"target_name": []}, "target_name must have at least one value"),
        ({"filters": ""}, "filters must be texts that are not blank, got ''"),
        ({"filters": ["a", " "]}, "filters must be texts that are not blank"),
        ({"filters": [None]}, "filters must be texts that are not blank"),
        ({"instrument_name": 5.5}, "instrument_name must be texts"),
        ({"instrument_name": True}, "instrument_name must be texts"),
        ({"instrument_name": b"MIRI"}, "instrument_name must be texts"),
        ({"target_name": "a\0b"}, "character NUL"),
        ({"target_name": "\ud800"}, "target_name must be Unicode, got"),
        ({"where": "obs_id = '\ud800'"}, "where must be Unicode, got"),
        ({"t_min": 59001, "t_max": 59000}, "t_min must not be after t_max"),
        ({"t_min": "yesterday"}, "t_min must be a Time, a text such as"),
        ({"t_max": ""}, "t_max must be a Time"),
        ({"t_max": np.nan}, "t_max must be a Time"),
        ({"t_max": np.inf}, "t_max must be a Time"),
        ({"t_max": True}, "t_max must be a Time"),
        ({"t_min": [1, 2]}, "t_min must be a Time"),
        ({"t_min": Time([59000, 59001], format="mjd")}, "t_min must be a Time"),
        ({"t_min": 2459000.5}, "is it a Julian date"),
        ({"t_min": "2022"}, "write the year as '2022-01-01', or the day as Time"),
        ({"t_max": 2022}, "write the year as '2022-01-01', or the day as Time"),
    ],
)
def test_conditions_that_are_wrong(index, options, match):
    with pytest.raises(InvalidQueryError, match=match) as caught:
        index.search([1, 1], **options)
    if "did you mean" in str(caught.value) or "choose from" in str(caught.value):
        said = str(caught.value).split("no column")[1].split(";", 1)[1]
        assert not {"cx", "cy", "hpx29", "vector"} & set(said.replace(",", " ").split())


def test_unknown_condition_names_the_nearest(index):
    with pytest.raises(InvalidQueryError, match="did you mean 'instrument_name'"):
        row_filter(index._snapshot.specs, instrument="MIRI")


def test_conditions_that_fail_on_a_value_name_only_what_was_written(index):
    where = "1 / (CAST(t_min AS BIGINT) - 59000) > 0"
    with pytest.raises(InvalidQueryError, match="cannot be computed") as caught:
        index.search([1, 1], where=where, target_name="*")
    assert str(caught.value).startswith(f"where={where!r} cannot")


def test_nothing_asked_is_no_filter(index):
    assert row_filter(index._snapshot.specs) is None
    assert row_filter(index._snapshot.specs, target_name=None) is None


def test_meta_says_what_was_asked(index):
    options = {"where": "obs_id <> 'x'", "filters": ["miri", "a*"], "t_max": 59100}
    meta = index.search([1, 1], region=(1, 1), radius=180, **options).meta
    assert meta["where"] == "obs_id <> 'x'"
    assert meta["filter"] == "filters=miri,a*"
    assert meta["t_max"] == "MJD 59100.000000"
    assert meta["n_match"] == 0
    assert all(len(key) <= 8 for key in meta)


def test_names_of_internal_columns_are_reserved(tmp_path):
    with pytest.raises(InvalidQueryError, match="name 'hpx29', which is taken"):
        Index.create(
            tmp_path / "ix", fingerprint="f", dimension=2, extra_columns={"hpx29": int}
        )
