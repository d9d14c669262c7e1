# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""Answers of any length: the order and values of a search, in little memory."""

import subprocess
import sys

import numpy as np
import pytest
from astropy.table import Table, vstack

from paperclip.exceptions import InvalidQueryError, ModelMismatchError
from paperclip.index import Index

CHILD = """
import sys
import numpy as np
from paperclip.index import Index

def memory(name):
    for line in open("/proc/self/status"):
        if line.startswith(name):
            return int(line.split()[1]) // 1024

index = Index.open(sys.argv[1])
query = np.ones(index.dimension)
index.search(query, limit=5, columns=["rank", "similarity"])
before = memory("VmHWM")
rows, last, ranks = 0, 2.0, 0
for table in index.iter_search(query, page=2000):
    similarity = np.asarray(table["similarity"])
    assert similarity[0] <= last and (np.diff(similarity) <= 0).all()
    last = similarity[-1]
    rows += len(table)
    ranks += int(np.sum(table["rank"]))
assert ranks == rows * (rows + 1) // 2
print(rows, memory("VmHWM") - before)
"""


@pytest.fixture(name="ties", scope="module")
def fixture_ties(tmp_path_factory):
    """Make an index of 3,000 rows, 150 of them equal, some deleted."""
    rng = np.random.default_rng(5)
    vectors = rng.normal(size=(3000, 24))
    vectors[700:850] = vectors[700]
    table = Table({"obs_id": [f"o{i:04d}" for i in range(3000)]})
    table["instrument_name"] = np.where(np.arange(3000) % 3 == 0, "ACS/WFC", "NIRCAM")
    table["s_ra"], table["s_dec"] = (
        rng.uniform(0, 360, 3000),
        rng.uniform(-90, 90, 3000),
    )
    path = tmp_path_factory.mktemp("ties") / "ix"
    index = Index.create(path, fingerprint="f", dimension=24)
    for start in range(0, 3000, 1000):
        part = slice(start, start + 1000)
        index.append(table[part], vectors[part])
    index.delete([f"o{i:04d}" for i in range(5, 900, 7)])
    return index, vectors[700]


def joined(pages):
    return vstack(list(pages), metadata_conflicts="silent")


@pytest.mark.parametrize("page", [1, 7, 100, 1000, 5000])
@pytest.mark.parametrize("limit", [None, 1, 137, 10_000])
def test_pages_are_those_of_a_search(ties, page, limit, same):
    index, query = ties
    limit = min(limit or 137, 137) if page == 1 else limit
    expected = index.search(query, limit=limit or len(index), exact=True)
    pages = list(index.iter_search(query, page=page, limit=limit))
    assert [len(p) for p in pages[:-1]] == [page] * (len(pages) - 1)
    assert same(joined(pages), expected)
    assert pages[-1].meta["page"] == len(pages)
    assert pages[0].meta["n_stream"] == len(expected)


@pytest.mark.parametrize(
    "conditions",
    [
        {"where": "s_dec > 0"},
        {"instrument_name": "acs*", "where": "s_dec > 0"},
        {"region": "83 22", "radius": 40},
        {"obs_collection": "nothing"},
    ],
    ids=str,
)
def test_conditions_are_those_of_a_search(ties, conditions):
    index, query = ties
    expected = index.search(query, limit=len(index), exact=True, **conditions)
    found = joined(index.iter_search(query, page=111, **conditions))
    assert found["obs_id"].tolist() == expected["obs_id"].tolist()
    np.testing.assert_array_equal(found["similarity"], expected["similarity"])
    assert found.meta["n_match"] == len(expected) == found.meta["n_stream"]
    assert found.meta["search"] == "exact"


def test_everything_above_a_similarity(ties):
    index, query = ties
    everything = index.search(query, limit=len(index), exact=True)["similarity"]
    for floor in (everything[0], everything[131], everything[1999], 0.25, -1, 1):
        floor = float(floor)
        count = int((everything >= floor).sum())
        pages = list(index.iter_search(query, min_similarity=floor))
        assert sum(map(len, pages)) == count == pages[0].meta["n_stream"]
        assert not count or pages[-1]["similarity"][-1] >= np.float32(floor)


def test_nothing_found_gives_one_empty_page(ties):
    index, query = ties
    (page,) = index.iter_search(query, where="s_dec > 90", columns=["rank", "s_ra"])
    assert (len(page), page.colnames) == (0, ["rank", "s_ra"])
    assert page["s_ra"].unit == "deg"
    empty = Index.create(f"{index.uri}-empty", fingerprint="f", dimension=24)
    (page,) = empty.iter_search(query)
    assert page.meta["n_stream"] == 0


def test_columns_without_similarity(ties):
    index, query = ties
    page = next(index.iter_search(query, columns=["s_dec", "rank"], page=4))
    assert page.colnames == ["s_dec", "rank"]
    assert page["rank"].tolist() == [1, 2, 3, 4]


def test_a_stream_stays_at_its_version(small, make_rows):
    query = np.ones(small.dimension)
    expected = small.search(query, limit=100, exact=True)["obs_id"].tolist()
    pages = small.iter_search(query, page=3)
    found = next(pages)["obs_id"].tolist()
    small.append(*make_rows(30, seed=1, prefix="new"))
    small.delete(expected[5:12])
    for page in pages:
        found += page["obs_id"].tolist()
    assert found == expected
    assert len(next(small.iter_search(query, page=100))) == 20 + 30 - 7


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"page": 0}, "page must be at least 1, got 0"),
        ({"page": 2.5}, "page must be a whole number, got 2.5"),
        ({"limit": 0}, "limit must be at least 1"),
        (
            {"min_similarity": 1.5},
            "min_similarity must be a number from -1 to 1, got 1",
        ),
        ({"min_similarity": "high"}, "min_similarity must be a number .*, got 'high'"),
        ({"min_similarity": float("nan")}, "min_similarity must be .*, got nan"),
        ({"min_similarity": True}, "min_similarity must be .*, got True"),
        ({"columns": ["s_raa"]}, "did you mean 's_ra'"),
        ({"exact": "yes"}, "exact must be True or False"),
        ({"regoin": "1 2"}, "no argument 'regoin'; did you mean 'region'"),
        ({"where": "s_raa > 1"}, "s_raa"),
    ],
)
def test_bad_arguments_are_refused_by_the_call(ties, options, message):
    index, query = ties
    with pytest.raises(InvalidQueryError, match=message):
        index.iter_search(query, **options)


def test_another_model_is_refused(ties):
    index, query = ties
    with pytest.raises(ModelMismatchError, match="'g'"):
        index.iter_search(query, fingerprint="g")
    with pytest.raises(InvalidQueryError, match=r"shape \(24,\)"):
        index.iter_search(query[:-1])


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")
def test_memory_does_not_grow_with_the_answer(tmp_path):
    """220,000 rows of which a table would need more than 500 MB."""
    rng = np.random.default_rng(0)
    index = Index.create(tmp_path / "ix", fingerprint="f", dimension=16)
    title = "A title of some six hundred characters. " * 15
    size = 44_000
    for start in range(0, 5 * size, size):
        table = Table({"obs_id": [f"o{i}" for i in range(start, start + size)]})
        table["obs_title"] = [title + str(i) for i in range(size)]
        index.append(table, rng.normal(size=(size, 16)))
    done = subprocess.run(
        [sys.executable, "-c", CHILD, index.uri],
        capture_output=True,
        text=True,
        check=False,
    )
    assert not done.returncode, done.stderr
    rows, grown = map(int, done.stdout.split())
    assert rows == 220_000
    assert grown < 200, f"{grown} MB"
