# Licensed under a 3-clause BSD style license - see LICENSE.rst
import numpy as np
import pytest
from astropy import units as u
from astropy.table import MaskedColumn, Table

from paperclip.exceptions import InvalidQueryError, ModelMismatchError
from paperclip.index import Index

WHERE = "instrument_name = 'NIRCAM' AND s_ra > 120 AND target_name IS NOT NULL"


@pytest.fixture(name="on_disk")
def fixture_on_disk(sample):
    return Index.open(sample.path, cache_limit=0)


@pytest.mark.parametrize("limit", [1, 10, 300, 5000])
def test_search_equals_brute_force(sample, brute_force, limit):
    query = np.random.default_rng(5).normal(size=sample.index.dimension)
    rows, similarity = brute_force(sample.index, query)
    found = sample.index.search(query, limit=limit)
    expected = sample.table["obs_id"][rows[:limit]].tolist()
    assert found["obs_id"].tolist() == expected
    assert found["rank"].tolist() == list(range(1, min(limit, 300) + 1))
    assert found["similarity"].dtype == np.float32
    np.testing.assert_allclose(found["similarity"], similarity[:limit], atol=2e-7)


def test_where_is_applied_before_the_search(sample, brute_force):
    table = sample.table
    keep = (table["instrument_name"] == "NIRCAM") & (table["s_ra"] > 120)
    keep &= ~table["target_name"].mask
    query = sample.vectors[17]
    rows, _ = brute_force(sample.index, query, np.flatnonzero(keep))
    found = sample.index.search(query, limit=40, where=WHERE)
    assert len(found) == 40
    assert found["obs_id"].tolist() == table["obs_id"][rows[:40]].tolist()


@pytest.mark.parametrize("where", [None, WHERE, "s_ra > 400"])
@pytest.mark.parametrize("limit", [1, 7, 300])
def test_memory_and_disk_give_identical_results(sample, on_disk, same, where, limit):
    for row in (0, 150, 299):
        query = sample.vectors[row]
        a = sample.index.search(query, limit=limit, where=where)
        b = on_disk.search(query, limit=limit, where=where)
        assert same(a, b)


def test_disk_search_over_many_batches_and_fetches(monkeypatch, sample, on_disk, same):
    monkeypatch.setattr("paperclip.index._streamvectors._BATCH_BYTES", 1)
    monkeypatch.setattr("paperclip.index._snapshot._TAKE", 16)
    for limit in (3, 100):
        a = sample.index.search(sample.vectors[3], limit=limit)
        assert same(a, on_disk.search(sample.vectors[3], limit=limit))


@pytest.mark.parametrize("columns", [None, ["similarity", "rank"], ["t_min"]])
def test_rows_too_wide_for_tables_or_for_memory(monkeypatch, sample, same, columns):
    monkeypatch.setattr("paperclip.index._snapshot._TABLE_BYTES", 100)
    options = {"limit": 9, "columns": columns}
    expected = sample.index.search(sample.vectors[3], **options)
    only_vectors = 300 * 32 * 4  # the rows need more than that
    for cache_limit in (1 << 20, only_vectors, 0):
        lean = Index.open(sample.path, cache_limit=cache_limit)
        assert same(lean.search(sample.vectors[3], **options), expected)


def test_a_result_can_be_changed_without_harm(sample):
    first = sample.index.search(sample.vectors[3])
    first["s_ra"][:] = 0
    first["target_name"][:] = "x"
    first["similarity"].info.description = "changed"
    first.meta["x"] = 1
    again = sample.index.search(sample.vectors[3])
    assert (again["s_ra"] > 0).all()
    assert "x" not in again["target_name"].tolist()
    assert again["similarity"].description.startswith("Cosine")
    assert again.meta == {"search": "exact", "recall": 1.0, "n_match": 300}


@pytest.mark.parametrize("cache_limit", [0, 1 << 20])
def test_ties_come_in_row_order(tmp_path, cache_limit):
    index = Index.create(tmp_path / "ix", fingerprint="f", dimension=4)
    vectors = np.random.default_rng(1).normal(size=(3, 4))[np.arange(90) % 3]
    for start in (0, 30, 60):
        ids = [f"{i}" for i in range(start, start + 30)]
        index.append({"obs_id": ids}, vectors[start : start + 30])
    index = Index.open(tmp_path / "ix", cache_limit=cache_limit)
    found = index.search(vectors[1], limit=30, columns=["obs_id", "similarity"])
    assert found["obs_id"].tolist() == [str(i) for i in range(1, 90, 3)]
    assert len(set(found["similarity"].tolist())) == 1
    assert found["similarity"].max() <= 1


def test_similarities_of_all_rows(sample, on_disk, brute_force):
    query = sample.vectors[8]
    every = sample.index.similarities(query)
    assert (every.shape, every.dtype) == ((300,), np.float32)
    rows, similarity = brute_force(sample.index, query)
    np.testing.assert_allclose(every[rows], similarity, atol=1e-6)
    np.testing.assert_allclose(on_disk.similarities(query), every, atol=1e-6)
    np.testing.assert_array_equal(on_disk.vectors(), sample.index.vectors())


def test_columns_are_chosen_and_ordered(sample, on_disk):
    names = ["similarity", "obs_id", "s_ra"]
    for index in (sample.index, on_disk):
        found = index.search(sample.vectors[0], columns=names, limit=2)
        assert found.colnames == names
    assert sample.index.to_table(["s_dec"]).colnames == ["s_dec"]


def test_columns_have_units_descriptions_and_ucds(sample):
    found = sample.index.search(sample.vectors[0])
    assert found.colnames[:3] == ["rank", "similarity", "obs_id"]
    assert found["s_ra"].unit == u.deg
    assert found["t_min"].unit == u.d
    assert found["s_ra"].info.meta["ucd"] == "pos.eq.ra"
    assert found["obs_id"].description == "Observation identifier"


def test_empty_index_gives_an_empty_table_with_columns(tmp_path):
    index = Index.create(tmp_path / "ix", fingerprint="f", dimension=2)
    for item in (index, Index.open(tmp_path / "ix", cache_limit=0)):
        found = item.search([1, 0], where="s_ra > 5")
        assert len(found) == 0
        assert found.colnames == ["rank", "similarity", *index.colnames]
        assert found["s_ra"].unit == u.deg
        assert item.similarities([1, 0]).shape == (0,)
        assert item.vectors().shape == (0, 2)
        assert len(item.to_table()) == 0
        assert len(item.info()) == 0


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"limit": 0}, "limit must be at least 1, got 0"),
        ({"limit": -3}, "limit must be at least 1, got -3"),
        ({"limit": 2.5}, "limit must be a whole number, got 2.5"),
        ({"limit": True}, "limit must be a whole number, got True"),
        ({"where": "instrument = 'A'"}, "no column 'instrument'; did you mean 'instr"),
        ({"where": "s_ra >"}, "is not a condition in SQL"),
        ({"where": "s_ra"}, "is not a condition in SQL"),
        ({"where": "s_ra > 'x'"}, "is not a condition in SQL"),
        ({"where": "s_ra > 1; DROP TABLE x"}, "one condition, without ';'"),
        ({"where": "\"dataURI\" = 'a'"}, "write dataURI without double quotes"),
        ({"where": "1 / 0 = 1"}, "cannot be computed: .*[Dd]ivide by zero"),
        ({"where": "  "}, "where must be a condition"),
        ({"where": 5}, "where must be a condition"),
        ({"columns": ["obsid"]}, "unknown name 'obsid'; did you mean 'obs_id'"),
        ({"columns": ["zzzzzz"]}, "unknown name 'zzzzzz'; choose from rank"),
        ({"columns": []}, "at least one column"),
        ({"columns": ["s_ra", "s_ra"]}, "each once"),
        ({"exact": "no"}, "exact must be True or False, got 'no'"),
    ],
)
def test_questions_without_an_answer(sample, on_disk, options, match):
    for index in (sample.index, on_disk):
        with pytest.raises(InvalidQueryError, match=match):
            index.search(sample.vectors[0], **options)


def test_semicolons_and_mixed_case_inside_where(sample):
    query = sample.vectors[0]
    assert len(sample.index.search(query, where="dataURI <> 'a;b'")) == 10
    found = sample.index.search(query, where="dataURI = 'mast:X/7.fits'")
    assert found["obs_id"].tolist() == ["obs-0007"]


@pytest.mark.parametrize(
    ("vector", "match"),
    [
        (np.ones(31), r"vector must have shape \(32,\) .* another model"),
        (np.zeros(32), "vector cannot be searched: .* but is zero; look after"),
        ([1.0] * 9 + [np.nan] * 23, "vector cannot be searched: .* nan at place 9; l"),
        (["a"] * 32, "real numbers"),
    ],
)
def test_vectors_that_cannot_be_searched(sample, vector, match):
    with pytest.raises(InvalidQueryError, match=match):
        sample.index.search(vector)


def test_a_query_of_another_model_is_refused(sample):
    query = sample.vectors[0]
    sample.index.search(query, fingerprint=sample.index.fingerprint)
    with pytest.raises(ModelMismatchError, match="'other'; load that model, or reb"):
        sample.index.search(query, fingerprint="other")
    with pytest.raises(ModelMismatchError, match="'other'"):
        sample.index.similarities(query, fingerprint="other")


@pytest.mark.parametrize(
    ("name", "file"),
    [("ascii.ecsv", "t.ecsv"), ("votable", "t.xml"), ("fits", "t.fits")],
)
def test_results_survive_files(tmp_path, sample, name, file):
    found = sample.index.search(sample.vectors[0], limit=12)
    assert found["target_name"].mask.any()
    if name == "fits":  # ASCII only
        plain = [
            t and t.encode("ascii", "replace").decode() for t in found["target_name"]
        ]
        found["target_name"] = MaskedColumn(
            [t or "" for t in plain], mask=found["target_name"].mask
        )
    found.write(tmp_path / file, format=name)
    back = Table.read(tmp_path / file, format=name)
    back.convert_bytestring_to_unicode()
    assert back.colnames == found.colnames
    for column in found.colnames:
        if found[column].dtype.kind == "U":  # VOTable has no masked text
            blank = [("" if v is np.ma.masked else v) for v in found[column]]
            assert [("" if v is np.ma.masked else v) for v in back[column]] == blank
        else:
            assert back[column].tolist() == found[column].tolist()
    assert back["s_ra"].unit == u.deg
