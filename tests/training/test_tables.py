# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""Made-up pairs, and tables of one's own."""

import numpy as np
import pytest
from astropy.table import Table

from paperclip.exceptions import DataSetError, InvalidQueryError
from paperclip.training import read_pairs, synthetic_pairs, write_pairs
from paperclip.training.loader import read_picture


@pytest.fixture(scope="module", name="pairs")
def fixture_pairs():
    return synthetic_pairs(48, seed=5, size=32)


@pytest.fixture(name="table")
def fixture_table(pairs, tmp_path):
    return write_pairs(pairs, tmp_path / "mine")


def test_synthetic_pairs_repeat(pairs):
    again = synthetic_pairs(48, seed=5, size=32)
    for one, two in zip(pairs, again, strict=True):
        np.testing.assert_array_equal(one.picture, two.picture)
    assert [p.texts for p in pairs] == [p.texts for p in again]
    other = synthetic_pairs(48, seed=6, size=32)
    assert any(a.texts != b.texts for a, b in zip(pairs, other, strict=True))
    assert pairs[0].picture.shape == (32, 32, 3)
    assert pairs[0].picture.dtype == np.uint8


def test_synthetic_programmes_say_what_is_shown(pairs):
    assert len(set(pairs.groups)) == 12
    for pair in pairs:
        colour = pair.texts["title"][0].split()[1]
        assert colour in pair.texts["abstract"][0].lower()


@pytest.mark.parametrize(
    ("options", "named"),
    [({"n": 7}, "n"), ({"n": 8, "size": 31}, "size"), ({"n": 8, "seed": -1}, "seed")],
)
def test_bad_numbers_of_synthetic_pairs(options, named):
    with pytest.raises(InvalidQueryError, match=f"{named} must be"):
        synthetic_pairs(**options)


def test_pairs_survive_the_disk(pairs, table):
    found = read_pairs(table)
    assert found.keys == pairs.keys
    assert found.groups == pairs.groups
    assert [p.texts for p in found] == [p.texts for p in pairs]
    for one, two in zip(pairs, found, strict=True):
        np.testing.assert_array_equal(one.picture, read_picture(two))


def test_splits_share_no_group(table):
    parts = [read_pairs(table, split) for split in ("train", "validation", "test")]
    groups = [set(part.groups) for part in parts]
    assert sum(map(len, groups)) == len(set.union(*groups)) == 12
    assert len(parts[0]) > 0.6 * 48


def test_splits_without_a_column_are_stable(table):
    rows = Table.read(table, format="ascii.csv")
    rows.remove_column("split")
    rows.write(table, format="ascii.csv", overwrite=True)
    first = read_pairs(table, "test").keys
    rows[::-1].write(table, format="ascii.csv", overwrite=True)
    assert sorted(read_pairs(table, "test").keys) == sorted(first)


@pytest.mark.parametrize("suffix", [".csv", ".ecsv", ".parquet", ".vot"])
def test_tables_of_all_kinds(table, suffix):
    rows = Table.read(table, format="ascii.csv")
    rows.rename_column("group", "proposal_id")
    path = table.with_name(f"other{suffix}")
    kinds = {".csv": "ascii.csv", ".ecsv": "ascii.ecsv", ".vot": "votable"}
    rows.write(path, format=kinds.get(suffix, "parquet"))
    found = read_pairs(path)
    assert len(found) == 48
    assert found.groups == read_pairs(table).groups


def test_numbers_in_a_csv_stay_texts(tmp_path):
    (tmp_path / "t.csv").write_text("path,proposal_id,title\na.png,0012,7\n")
    (pair,) = read_pairs(tmp_path / "t.csv")
    assert pair.texts == {"title": ("7",)}
    assert pair.group.endswith("0012")
    assert pair.picture == tmp_path / "a.png"


def test_csv_of_a_spreadsheet(tmp_path):
    """It begins with a byte order mark, and texts may have several lines."""
    content = '\ufeffpath,title,group\r\na.png,"Caf\u00e9, a\r\nstar",g\r\n'
    (tmp_path / "t.csv").write_bytes(content.encode())
    (pair,) = read_pairs(tmp_path / "t.csv")
    assert pair.picture == tmp_path / "a.png"
    assert pair.texts == {"title": ("Caf\u00e9, a\nstar",)}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("file,title,group\na,b,c\n", "must have a column path"),
        ("path,group\na,b\n", "one of abstract, summary, title"),
        ("path,title\na,b\n", "one of group, proposal_id"),
    ],
)
def test_missing_columns_are_named(tmp_path, content, message):
    path = tmp_path / "t.csv"
    path.write_text(content)
    with pytest.raises(InvalidQueryError, match=message):
        read_pairs(path)


def test_what_cannot_be_read(tmp_path, table):
    with pytest.raises(InvalidQueryError, match="must be a data set or a table"):
        read_pairs(tmp_path / "t.txt")
    with pytest.raises(InvalidQueryError, match="there is no such data set or table"):
        read_pairs(tmp_path / "t.csv")
    with pytest.raises(DataSetError, match="holds no data set"):
        read_pairs(tmp_path)
    with pytest.raises(InvalidQueryError, match="split must be one of"):
        read_pairs(table, "dev")
    (tmp_path / "t.parquet").write_bytes(b"nothing")
    with pytest.raises(InvalidQueryError, match="cannot be read as a table"):
        read_pairs(tmp_path / "t.parquet")
    rows = Table.read(table, format="ascii.csv")
    rows["split"] = "train"
    rows.write(table, format="ascii.csv", overwrite=True)
    with pytest.raises(DataSetError, match="no pairs of the split 'test', but of: tra"):
        read_pairs(table, "test")


def test_write_pairs_replaces_nothing(pairs, tmp_path):
    (tmp_path / "mine.txt").write_text("mine")
    with pytest.raises(DataSetError, match="must be a new or an empty folder"):
        write_pairs(pairs, tmp_path)
