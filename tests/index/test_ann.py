# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""The approximate index: what it finds, what it never changes, what breaks it."""

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import warnings
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from paperclip.exceptions import (
    ApproximateSearchWarning,
    IndexRecoveredWarning,
    IndexWriteError,
    InvalidQueryError,
)
from paperclip.index import Index, _plan
from paperclip.index._annbuild import build_segment
from paperclip.index._approx import NAME, Tuning, allow_list, nominate
from paperclip.index._kmeans import centres
from paperclip.index._plan import standing

N_ROWS, DIMENSION = 12_000, 32
RECALL = 0.9


def make_vectors(n, seed=0):
    """Vectors in clusters."""
    rng = np.random.default_rng(7)
    middle = 2 * rng.normal(size=(40, DIMENSION))
    rng = np.random.default_rng(seed)
    return middle[rng.integers(0, 40, n)] + rng.normal(size=(n, DIMENSION))


def make_index(path, n=N_ROWS):
    index = Index.create(path, fingerprint="f", dimension=DIMENSION)
    vectors = make_vectors(n)
    place = np.arange(n)
    table = {
        "obs_id": [f"row-{i:05d}" for i in place],
        "t_min": place / n,
        "instrument_name": np.where(place % 3 == 0, "ACS", "NIRCAM"),
        "s_ra": place * (360.0 / n),
        "s_dec": np.zeros(n),
    }
    for part in (slice(0, n // 3), slice(n // 3, n)):
        rows = {name: values[part] for name, values in table.items()}
        index.append(rows, vectors[part])
    return index


def make_ann(index, **options):
    """Make it without a word on that an index of this size needs none."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ApproximateSearchWarning)
        return index.create_ann(recall=RECALL, **options)


def prefer(index):
    """Pretend that approximate searches were measured to be quick."""
    tuning = standing(index._snapshot).tuning
    levels = [replace(level, time=0.001) for level in tuning.levels]
    index._keep_tuning(replace(tuning, levels=levels))


@pytest.fixture(name="made", scope="module")
def fixture_made(tmp_path_factory):
    """Make an index whose searches are approximate; tests only read it."""
    path = tmp_path_factory.mktemp("ann") / "ix"
    index = make_index(path)
    report = make_ann(index, kind="fast")
    prefer(index)
    return SimpleNamespace(path=path, index=index, report=report)


@pytest.fixture(name="copy")
def fixture_copy(made, tmp_path):
    """Copy the index, for a test that changes it."""
    shutil.copytree(made.path, tmp_path / "ix")
    return Index.open(tmp_path / "ix")


def recall_of(index, queries, **options):
    parts = []
    for query in queries:
        exact = index.search(query, limit=50, exact=True, **options)
        table = index.search(query, limit=50, exact=False, **options)
        assert exact.meta["search"] == "exact"
        assert exact.meta["recall"] == 1
        assert table.meta["search"] == "ann"
        assert table.meta["recall"] >= RECALL
        both = set(exact["obs_id"].tolist()) & set(table["obs_id"].tolist())
        parts.append(len(both) / len(exact))
        true = dict(zip(exact["obs_id"], exact["similarity"], strict=True))
        for name, value in table.iterrows("obs_id", "similarity"):
            assert true.get(name, value) == value
        assert np.all(np.diff(table["similarity"]) <= 0)
        assert len(table) == len(exact)
    return np.mean(parts)


def test_the_report_tells_what_was_measured(made):
    table = made.report
    assert table.colnames[:4] == ["share", "limit", "nprobes", "candidates"]
    assert set(table["share"]) <= {1.0, 0.2, 0.01}
    assert np.all(table["recall"][table["nprobes"] > 0] >= RECALL)
    assert all(column.description for column in table.itercols())
    meta = made.report.meta
    assert meta["kind"] == "fast"
    assert meta["state"] == "in use"
    assert meta["recall"] == RECALL
    assert meta["rows"] == N_ROWS
    assert meta["new_rows"] == 0
    assert 0.4 < meta["size"] / (N_ROWS * 2 * DIMENSION) < 0.9
    curve = made.index.ann_info(curve=True)
    assert curve.colnames == table.colnames[:5]
    assert len(curve) > len(table)
    assert Index.open(made.path).ann_info().meta == made.index.ann_info().meta


def test_answers_are_those_of_the_exact_search_but_for_what_is_missed(made):
    assert recall_of(made.index, make_vectors(20, seed=1)) >= RECALL


def test_exact_search_does_not_use_it(made):
    query = make_vectors(1, seed=2)[0]
    table = made.index.search(query, limit=200, exact=True)
    similarity = made.index.similarities(query)
    best = np.sort(similarity)[::-1][:200]
    np.testing.assert_allclose(table["similarity"], best, atol=1e-6)


def test_a_limit_that_was_not_measured_is_searched_exactly(made):
    table = made.index.search(make_vectors(1)[0], limit=5000, exact=False)
    assert table.meta["search"] == "exact"
    assert len(table) == 5000


@pytest.mark.parametrize("where", ["t_min < 0.3", "instrument_name = 'ACS'"])
def test_filters_are_applied_before(made, where, monkeypatch):
    monkeypatch.setattr(_plan, "_FEW", 0)
    table = made.index.search(make_vectors(1)[0], limit=50, where=where, exact=False)
    assert table.meta["search"] == "ann"
    if "t_min" in where:
        assert np.all(table["t_min"] < float(where[-4:]))
    else:
        assert set(table["instrument_name"]) == {"ACS"}
    assert recall_of(made.index, make_vectors(20, seed=3), where=where) >= RECALL


def test_few_matches_are_compared_one_by_one(made):
    table = made.index.search(
        make_vectors(1)[0], limit=50, where="t_min < 0.02", exact=False
    )
    assert table.meta["search"] == "exact"
    assert table.meta["n_match"] == N_ROWS * 0.02


def test_new_rows_are_found_and_deleted_ones_are_not(copy):
    query = make_vectors(1, seed=4)[0]
    found = copy.search(query, limit=10)
    best = found["obs_id"][0]
    copy.delete([best])
    copy.append({"obs_id": ["new", "far"]}, np.array([query, -query]))
    copy.upsert({"obs_id": [found["obs_id"][1]]}, -query[None])
    assert copy.ann_info().meta["new_rows"] == 3
    table = copy.search(query, limit=10)
    assert table.meta["search"] == "ann"
    assert table["obs_id"][0] == "new"
    gone = {best, found["obs_id"][1]}
    assert not gone & set(table["obs_id"].tolist())
    assert recall_of(copy, make_vectors(5, seed=5)) >= RECALL


def test_compaction_keeps_it(copy):
    query = make_vectors(1, seed=4)[0]
    copy.delete(where="t_min < 0.2")
    copy.append({"obs_id": ["new"]}, query[None])
    copy.compact()
    copy.refresh()
    assert copy.ann_info().meta["state"] == "in use"
    table = copy.search(query, limit=50)
    assert table["obs_id"][0] == "new"
    assert table.meta["search"] == "ann"
    assert np.all(table["t_min"][1:] >= 0.2)
    assert recall_of(copy, make_vectors(5, seed=5)) >= RECALL


def test_an_index_that_was_not_measured_is_not_used(copy):
    tuning = standing(copy._snapshot).tuning
    copy._keep_tuning(replace(tuning, identity=["x"], rows=N_ROWS - 1))
    assert copy.ann_info().meta["state"] == "not measured"
    assert copy.search(make_vectors(1)[0]).meta["search"] == "exact"
    copy._keep_tuning(None)
    assert len(copy.ann_info()) == 0
    assert copy.search(make_vectors(1)[0]).meta["search"] == "exact"


def test_what_was_measured_before_is_forgotten_first(copy):
    copy._keep_tuning(None)
    built_from = copy._snapshot
    segment = build_segment(
        built_from,
        copy._place,
        kind="small",
        n_partitions=16,
        seed=0,
        tell=lambda stage, part: None,
    )
    copy._commit_segment(segment, built_from)  # a process that ends here
    again = Index.open(copy.uri)
    meta = again.ann_info().meta
    assert (meta["kind"], meta["state"]) == ("small", "not measured")
    assert again.search(make_vectors(1)[0]).meta["search"] == "exact"


def test_dropping_it(copy):
    assert copy.drop_ann() is True
    assert copy.drop_ann() is False
    assert copy.ann_info().meta["kind"] is None
    again = Index.open(copy.uri)
    assert again.search(make_vectors(1)[0]).meta["search"] == "exact"
    assert len(again) == N_ROWS


def test_small_codes_and_making_it_again(copy):
    queries = make_vectors(30, seed=6)
    stages = []
    table = make_ann(
        copy,
        kind="small",
        queries=queries,
        progress=lambda stage, part: stages.append((stage, part)),
    )
    assert table.meta["kind"] == "small"
    assert table.meta["size"] < 0.5 * N_ROWS * 2 * DIMENSION
    names = [stage for stage, _ in stages]
    assert list(dict.fromkeys(names))[:2] == ["centres", "assigning"]
    assert stages[-1] == ("measuring", 1.0)
    assert all(0 <= part <= 1 for _, part in stages)
    prefer(copy)
    assert recall_of(copy, queries[:10]) >= RECALL


@pytest.mark.parametrize("kind", ["small", "fast"])
def test_the_same_seed_gives_the_same_index(copy, kind):
    query = make_vectors(1, seed=8)[0].astype(np.float32)
    query /= np.linalg.norm(query)
    answers = []
    for seed in (3, 3, 4):
        built_from = copy._snapshot
        segment = build_segment(
            built_from,
            copy._place,
            kind=kind,
            n_partitions=64,
            seed=seed,
            tell=lambda stage, part: None,
        )
        copy._commit_segment(segment, built_from)
        found = nominate(copy._snapshot.dataset, query, n=300, nprobes=3)
        answers.append(found.tolist())
    assert answers[0] == answers[1]
    if kind == "small":  # the same candidates from other codes would be a wonder
        assert answers[0] != answers[2]


def test_it_says_where_it_is_of_no_use(tmp_path):
    index = make_index(tmp_path / "ix")
    with pytest.warns(ApproximateSearchWarning, match=r"the exact search is as quick"):
        index.create_ann(recall=0.5, kind="fast")
    assert index.search(make_vectors(1)[0]).meta["search"] == "exact"


def test_a_recall_that_is_out_of_reach_is_said(tmp_path):
    index = Index.create(tmp_path / "ix", fingerprint="f", dimension=DIMENSION)
    rng = np.random.default_rng(0)
    names = [str(i) for i in range(N_ROWS)]
    index.append({"obs_id": names}, rng.normal(size=(N_ROWS, DIMENSION)))
    with pytest.warns(
        ApproximateSearchWarning, match=r"no setting has a recall of 0.9"
    ):
        index.create_ann(recall=0.9999, kind="small")
    assert index.search(np.ones(DIMENSION)).meta["search"] == "exact"


# ---- bad input


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"recall": 0}, "recall must be a number between 0 and 1.*got 0"),
        ({"recall": 1.0}, "for all rows search with exact=True; got 1.0"),
        ({"recall": True}, "recall must be a number"),
        ({"recall": "high"}, "got 'high'"),
        ({"recall": float("nan")}, "got nan"),
        ({"kind": "smal"}, "kind='smal' is no kind.*did you mean 'small'"),
        ({"kind": 3}, "kind=3 is no kind"),
        ({"seed": -1}, "seed"),
        ({"queries": np.ones((3, 5))}, r"must have shape \(32,\)"),
        ({"queries": np.ones((0, 32))}, "queries must hold one vector at least"),
        ({"queries": "galaxy"}, "queries must be vectors"),
        ({"queries": np.full((2, 32), np.nan)}, "cannot be searched"),
    ],
)
def test_bad_arguments(made, options, words):
    version = made.index.version
    with pytest.raises(InvalidQueryError, match=words):
        made.index.create_ann(**options)
    assert Index.open(made.path).version == version


def test_too_few_rows(tmp_path):
    index = make_index(tmp_path / "ix", n=99)
    with pytest.raises(InvalidQueryError, match=r"has 99 rows; an approximate index"):
        index.create_ann()


@pytest.mark.parametrize(
    "text", [None, "", "{", "[]", '{"format": 9}', '{"format": 1}']
)
def test_notes_that_are_not_understood_are_none(text):
    assert Tuning.from_text(text) is None


@pytest.mark.parametrize("how", ["missing", "truncated", "overwritten"])
def test_a_damaged_index_is_not_needed(copy, how):
    query = make_vectors(1, seed=9)[0]
    exact = copy.search(query, limit=20, exact=True)
    for item in Path(copy.uri).glob("_indices/*/*.idx"):
        if how == "missing":
            item.unlink()
        elif how == "truncated":
            item.write_bytes(item.read_bytes()[:100])
        else:
            item.write_bytes(b"\x00\xff" * (item.stat().st_size // 2))
    again = Index.open(copy.uri)
    with pytest.warns(
        IndexRecoveredWarning, match=r"the exact search is used. Make it"
    ):
        table = again.search(query, limit=20)
    assert table.meta["search"] == "exact"
    assert table["obs_id"].tolist() == exact["obs_id"].tolist()
    assert again.search(query).meta["search"] == "exact"  # and it is said once
    make_ann(again, kind="fast")
    prefer(again)
    assert again.search(query, limit=20).meta["search"] == "ann"


@pytest.mark.skipif(os.name != "posix", reason="needs resource limits")
def test_a_full_disk_leaves_the_index_as_it_was(tmp_path):
    index = make_index(tmp_path / "ix")
    code = """
import resource, signal, sys
from paperclip.exceptions import IndexWriteError
from paperclip.index import Index
index = Index.open(sys.argv[1])
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (65536, 65536))
try:
    index.create_ann(kind="fast")
except IndexWriteError as exc:
    print(exc)
"""
    out = subprocess.run(
        [sys.executable, "-c", code, index.uri],
        capture_output=True,
        text=True,
        check=False,
    )
    assert "cannot write to the index" in out.stdout, out.stderr
    index.refresh()
    assert index.ann_info().meta["kind"] is None
    assert len(index) == N_ROWS


@pytest.mark.skipif(os.name != "posix", reason="uses POSIX permissions")
def test_a_read_only_folder_is_searched_but_gets_no_new_one(made):
    code = """
import os, sys
import filelock  # nobody else may see the folder of the packages
import numpy as np
from paperclip.exceptions import IndexWriteError
from paperclip.index import Index
index = Index.open(sys.argv[1])
print(index.search(np.ones(32)).meta["search"])
if os.geteuid() == 0:
    os.setuid(65534)  # root may write anywhere: become nobody
for change in (index.create_ann, index.drop_ann):
    try:
        change()
    except IndexWriteError as exc:
        print(exc)
"""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "ix"
        shutil.copytree(made.path, path)
        Path(folder).chmod(0o755)
        for item in [*path.rglob("*"), path]:
            item.chmod(0o555 if item.is_dir() else 0o444)
        out = subprocess.run(
            [sys.executable, "-W", "error", "-c", code, str(path)],
            capture_output=True,
            text=True,
            check=False,
        )
        for item in [path, *path.rglob("*")]:
            item.chmod(0o755 if item.is_dir() else 0o644)
    lines = out.stdout.splitlines()
    assert lines[0] == "ann", out.stderr
    assert len(lines) == 3
    assert all("cannot write to the index" in line for line in lines[1:])


def test_rows_that_moved_meanwhile_are_no_rows_of_the_new_index(copy):
    old = Index.open(copy.uri)
    built_from = old._snapshot
    segment = standing(built_from)  # any object: the files are compared first
    copy.delete(where="t_min < 0.9")
    copy.compact()
    with pytest.raises(IndexWriteError, match=r"it was compacted or replaced while"):
        old._commit_segment(segment, built_from)


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="needs SIGKILL")
def test_killed_at_any_moment(tmp_path):
    index = make_index(tmp_path / "ix")
    query = make_vectors(1, seed=9)[0]
    true = index.search(query, limit=20, exact=True)["obs_id"].tolist()
    code = (
        "import sys; from paperclip.index import Index\n"
        "index = Index.open(sys.argv[1])\n"
        "def tell(stage, part):\n    print(stage, flush=True)\n"
        "while True:\n    index.create_ann(kind='fast', recall=0.5, progress=tell)\n"
    )
    rng = np.random.default_rng(0)
    for stage in ("centres", "assigning", "writing", "measuring", "measuring"):
        command = [sys.executable, "-W", "ignore", "-c", code, index.uri]
        child = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        for line in child.stdout:
            if line.strip() == stage:
                break
        time.sleep(rng.uniform(0, 0.1))
        child.kill()
        child.communicate(timeout=60)
        again = Index.open(index.uri)
        assert len(again) == N_ROWS
        assert again.ann_info().meta["state"] in (None, "not measured", "in use")
        assert again.search(query, limit=20)["obs_id"].tolist() == true
    again = Index.open(index.uri)
    make_ann(again, kind="fast")
    prefer(again)
    assert again.ann_info().meta["state"] == "in use"
    assert recall_of(again, make_vectors(5, seed=1)) >= RECALL


# ---- parts


def test_allow_lists_are_read_by_lance_as_meant(made):
    snapshot = made.index._snapshot
    everything = snapshot.addresses()
    query = snapshot.vectors_at(everything[:1])[0]
    rng = np.random.default_rng(0)
    some = [everything, everything[:1], everything[-1:], everything[100:9000]]
    some += [everything[rng.random(N_ROWS) < part] for part in (0.001, 0.1, 0.9)]
    partitions = standing(snapshot).tuning.partitions
    for rows in some:
        found = nominate(
            snapshot.dataset,
            query,
            n=N_ROWS,
            nprobes=partitions,
            allowed=allow_list(rows),
        )
        np.testing.assert_array_equal(np.sort(found), rows)


def test_bitmaps_of_several_blocks():
    rows = np.arange(3 * 65536, dtype=np.uint64)
    rows = rows[(rows < 65536) | (rows % 100 == 0)] + (np.uint64(5) << np.uint64(32))
    data = allow_list(rows)
    fragments, number, length = np.frombuffer(data[:12], "<u4")
    assert (fragments, number, length) == (1, 5, len(data) - 12)
    blocks = np.frombuffer(data[12:20], "<u4")
    assert blocks.tolist() == [12346, 3]
    sizes = np.frombuffer(data[20:32], "<u2").reshape(3, 2)[:, 1].astype(int) + 1
    assert sizes.sum() == len(rows)
    offsets = np.frombuffer(data[32:44], "<u4")
    assert np.diff(offsets).tolist() == [8192, 2 * sizes[1]]
    last = np.frombuffer(data[12 + offsets[2] :], "<u2")
    lower = (rows[-sizes[2] :] & np.uint64(0xFFFF)).astype(int)
    np.testing.assert_array_equal(last, lower)


def test_centres_are_unit_vectors_also_of_few_rows():
    vectors = np.repeat(np.eye(4, dtype=np.float32), 5, axis=0)
    found = centres(vectors, 8, np.random.default_rng(0))
    np.testing.assert_allclose(np.linalg.norm(found, axis=1), 1, atol=1e-5)
    assert np.all((vectors @ found.T).max(axis=1) > 0.99)


def test_the_name_in_the_table(made):
    names = [i.name for i in made.index._snapshot.dataset.describe_indices()]
    assert names == [NAME]
