# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""Pairs of pictures and texts, from tables and data sets."""

from pathlib import Path

import numpy as np
import pytest
from astropy.table import MaskedColumn, Table

from paperclip.exceptions import DataSetError, FailedRowsWarning, InvalidQueryError
from paperclip.training import Pair, PairList


def make(key, group="g", **texts):
    return Pair(key=key, picture=b"", group=group, texts=texts or {"abstract": "A."})


def table():
    return Table(
        {
            "path": ["a.jpg", "b.jpg", "c.jpg", "d.jpg"],
            "abstract": MaskedColumn(["A.", "", "C.", "C."], mask=[0, 0, 0, 0]),
            "obs_title": MaskedColumn(["T", " ", "U", "-"], mask=[0, 0, 0, 1]),
            "obs_collection": ["HST", "HST", "JWST", "JWST"],
            "proposal_id": MaskedColumn(["1", "1", "2", "2"], mask=[0, 0, 1, 1]),
            "s_ra": MaskedColumn([1.0, 2.0, np.nan, 4.0], mask=[0, 0, 0, 1]),
        }
    )


def test_table_of_pairs():
    with pytest.warns(FailedRowsWarning, match="1 of 4 rows .* are left out: 1$"):
        pairs = PairList.from_table(
            table(),
            texts={"abstract": "abstract", "title": "obs_title"},
            group=["obs_collection", "proposal_id"],
            folder="/data",
            meta=["s_ra", "obs_collection"],
        )
    assert pairs.keys == ["00000000", "00000002", "00000003"]
    assert pairs[0].picture == Path("/data/a.jpg")
    assert pairs[0].texts == {"abstract": ("A.",), "title": ("T",)}
    assert pairs[2].texts == {"abstract": ("C.",)}
    assert pairs[0].meta == {"s_ra": 1.0, "obs_collection": "HST"}
    assert pairs[1].meta == {"obs_collection": "JWST"}
    assert pairs[0].group == "HST:1"
    assert pairs[1].group.startswith("text:")
    assert pairs.sources() == {"abstract": 3, "title": 2}
    assert pairs.group_codes.tolist() == [0, 1, 2]
    assert repr(pairs) == "<PairList: 3 pairs of 3 groups>"


def test_rows_without_a_key_are_told_by_their_number():
    rows = table()[2:]
    rows["name"] = MaskedColumn(["mine", ""], mask=[False, True])
    pairs = PairList.from_table(rows, texts="abstract", group="proposal_id", key="name")
    assert pairs.keys == ["mine", "00000001"]


def test_pairs_without_a_proposal_are_grouped_by_their_text():
    rows = table()
    rows["proposal_id"].mask = True
    rows["abstract"][1] = "C."
    pairs = PairList.from_table(rows, texts=["abstract"], group="proposal_id")
    assert pairs.group_codes.tolist() == [0, 1, 1, 1]


def test_pictures_in_memory():
    rows = Table(
        {"path": [np.zeros((2, 2, 3))] * 2, "abstract": ["A.", "B."], "g": [1, 2]}
    )
    pairs = PairList.from_table(rows, texts="abstract", group="g")
    assert pairs[1].picture.shape == (2, 2, 3)
    assert pairs.groups == ["1", "2"]


def test_column_that_does_not_exist():
    with pytest.raises(
        InvalidQueryError, match="no column 'abstrct'; did you mean 'abs"
    ):
        PairList.from_table(table(), texts=["abstrct"], group="proposal_id")


def test_slices_and_selections():
    pairs = PairList([make(str(n), f"g{n % 3}") for n in range(9)])
    assert pairs[2:4].keys == ["2", "3"]
    assert pairs.select([5, 0]).keys == ["5", "0"]
    assert pairs.select(np.arange(9) > 6).keys == ["7", "8"]
    assert [pair.key for pair in pairs] == list("012345678")


def test_largest_number_of_a_group():
    pairs = PairList([make(str(n), f"g{n % 3}") for n in range(30)])
    fewer = pairs.limit_groups(2)
    assert len(fewer) == 6
    assert sorted(fewer.keys, key=int) == fewer.keys
    turned = PairList(reversed(list(pairs))).limit_groups(2)
    assert set(turned.keys) == set(fewer.keys)
    assert set(pairs.limit_groups(2, seed=1).keys) != set(fewer.keys)
    assert len(pairs.limit_groups(100)) == 30


def test_bad_pairs():
    with pytest.raises(DataSetError, match="key of a pair must be a str that is not"):
        make(" ")
    with pytest.raises(DataSetError, match=r"group of a pair must be .*, got None"):
        make("a", None)
    match = "pair 'a': text 1 of source 'summary' must be a str that is not blank"
    with pytest.raises(DataSetError, match=match):
        make("a", summary=["S.", " "])
    with pytest.raises(DataSetError, match=r"text 0 of source 'summary'.*got 3"):
        make("a", summary=[3])
    with pytest.raises(DataSetError, match=r"must be .* valid Unicode, got 'A \\udc80"):
        make("a", abstract="A \udc80 star.")
    assert "title" not in make("a", title=[], abstract="A.").texts


def test_keys_must_differ():
    with pytest.raises(
        DataSetError, match="keys of pairs must differ, 1 occur twice: 'a'"
    ):
        PairList([make("a"), make("a"), make("b")])
    with pytest.raises(InvalidQueryError, match="must be Pair objects, got dict"):
        PairList([{}])


def test_check(tmp_path):
    with pytest.raises(DataSetError, match="there are no pairs; check the split"):
        PairList([]).check()
    with pytest.raises(DataSetError, match="at least 2 groups, got 1: 'g'; add pairs"):
        PairList([make("a"), make("b")]).check()
    pairs = PairList([make("a", "g", title="T."), make("b", "h")])
    pairs.check()
    pairs.check(sources=["abstract", "title"])
    match = r"1 of 2 pairs have no text of the sources \['abstract', 'metadata'\]: 'a'"
    with pytest.raises(DataSetError, match=match):
        pairs.check(sources=["abstract", "metadata"])
    seen = Pair(key="c", picture=tmp_path / "no.jpg", group="i", texts={}, meta={})
    with pytest.raises(DataSetError, match="1 of 3 pairs have no text: 'c'"):
        PairList([*pairs, seen]).check()
    known = Pair(
        key="c",
        picture=tmp_path / "no.jpg",
        group="i",
        texts={},
        meta={"target_name": "M 31"},
    )
    PairList([*pairs, known]).check(sources=["abstract", "title", "metadata"])
    lost = Pair(key="c", picture=tmp_path / "no.jpg", group="i", texts={"title": "T."})
    PairList([*pairs, lost]).check()
    with pytest.raises(DataSetError, match="pictures of 1 pairs are missing: 'c'"):
        PairList([*pairs, lost]).check(files=True)


@pytest.fixture(name="dataset")
def fixture_dataset(tmp_path):
    """Write a data set of two proposals by hand."""
    from paperclip.mast.proposals import PROPOSAL_COLUMNS
    from paperclip.training._folder import PAIR_COLUMNS, write_parquet, write_state

    split = {"fractions": [0.8, 0.2, 0], "seed": 0, "radius": 2.0, "by_pi": False}
    write_state(tmp_path, {"complete": True, "settings": split, "selections": []})
    pairs = {name: [None] * 4 for name in PAIR_COLUMNS} | {
        "picture_id": ["p1", "p2", "p3", "p4"],
        "obs_collection": ["HST", "HST", "JWST", "HST"],
        "proposal_id": ["1", "1", "1", "2"],
        "status": ["done", "failed", "done", "done"],
        "split": ["train", "train", "train", "validation"],
        "path": [f"pictures/{n}.jpg" for n in range(4)],
        "sha256": ["0" * 64] * 4,
        "target_name": ["M 31", None, None, None],
    }
    texts = {name: [None] * 3 for name in PROPOSAL_COLUMNS} | {
        "proposal_id": ["1", "2", "1"],
        "mission": ["HST", "HST", "JWST"],
        "abstract": ["A.", "B.", None],
        "title": ["T", None, "U"],
        "category": ["Galaxies", None, None],
    }
    for name, rows, specs in (
        ("pairs", pairs, PAIR_COLUMNS),
        ("proposals", texts, PROPOSAL_COLUMNS),
    ):
        columns = {}
        for column, values in rows.items():
            blank = "" if specs[column].dtype == "str" else 0
            mask = [value is None for value in values]
            filled = [blank if value is None else value for value in values]
            columns[column] = MaskedColumn(filled, mask=mask)
        write_parquet(tmp_path / f"{name}.parquet", Table(columns), specs)
    return tmp_path


def test_pairs_of_a_data_set(dataset):
    pairs = PairList.from_dataset(
        dataset, extra={"summary": {("JWST", "1"): ["S.", "Z."]}}
    )
    assert pairs.keys == ["p1", "p3"]
    assert pairs.groups == ["HST:1", "JWST:1"]
    assert pairs[0].picture == dataset / "pictures" / "0.jpg"
    assert pairs[0].texts == {"abstract": ("A.",), "title": ("T",)}
    assert pairs[1].texts == {"title": ("U",), "summary": ("S.", "Z.")}
    assert pairs[0].meta["category"] == "Galaxies"
    assert pairs[0].meta["target_name"] == "M 31"
    assert "target_name" not in pairs[1].meta
    assert PairList.from_dataset(dataset, "validation").keys == ["p4"]
    match = r"split must be one of \['train', 'validation'\], got 'tst'"
    with pytest.raises(InvalidQueryError, match=match):
        PairList.from_dataset(dataset, "tst")
    with pytest.raises(DataSetError, match="holds no data set"):
        PairList.from_dataset(dataset / "none")
