# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""Builds of data sets: whole, killed, extended, under faults, refused."""

import os
import subprocess
import sys
import time
import warnings
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from astropy.table import Table

from paperclip.exceptions import (
    DataSetError,
    DataSetWriteError,
    FailedRowsWarning,
    InvalidQueryError,
    NoResultsWarning,
    OfflineError,
    RemoteServiceError,
)
from paperclip.mast import MastClient
from paperclip.training import DataSet, SplitSettings, build_dataset
from paperclip.training.build import count_dataset

from ..mast_server import KINDS, mast_server, shared_archive, small_archive
from ..shared_data import require_shared_data
from .datasets import WHAT, Builder, content, downloads, words


def status_of(data):
    return Counter(data.pairs["status"].tolist())


def test_a_build_holds_what_was_asked_for(mast, tmp_path):
    told = []
    data = build_dataset(tmp_path / "d", **WHAT, progress=lambda *a: told.append(a))
    assert status_of(data) == {"done": len(data)}
    assert len(data) > 30
    assert set(data.pairs["obs_collection"]) == {"HST"}
    assert {Path(path).is_file() for path in data.pairs["path"]} == {True}
    assert data.verify() == []
    steps = list(dict.fromkeys(step for step, _, _ in told))
    assert steps == [
        "looking for proposals",
        "reading abstracts",
        "choosing pictures",
        "splitting",
        "downloading",
        "writing pairs",
        "writing shards",
    ]
    assert ("downloading", len(data), len(data)) in told
    assert max(Counter(downloads(mast)).values()) == 1


def test_a_finished_build_asks_nothing_and_writes_nothing(mast, tmp_path):
    build_dataset(tmp_path / "d", **WHAT)
    before = {p: p.stat().st_mtime_ns for p in (tmp_path / "d").rglob("*")}
    asked = len(mast.requests)
    again = build_dataset(tmp_path / "d", **WHAT)
    assert len(mast.requests) == asked
    assert {p: p.stat().st_mtime_ns for p in (tmp_path / "d").rglob("*")} == before
    assert len(again) > 30


def test_a_picture_that_was_deleted_or_damaged_is_fetched_again(mast, tmp_path):
    data = build_dataset(tmp_path / "d", **WHAT)
    whole = content(tmp_path / "d")
    paths = [Path(p) for p in data.pairs["path"][:2]]
    paths[0].unlink()
    asked = len(downloads(mast))
    build_dataset(tmp_path / "d", **WHAT)
    assert len(downloads(mast)) == asked + 1
    # damage that keeps the size is found when shards are written anew
    paths[1].write_bytes(bytes(paths[1].stat().st_size))
    for path in (tmp_path / "d" / "shards").iterdir():
        path.unlink()
    build_dataset(tmp_path / "d", **WHAT)
    assert len(downloads(mast)) == asked + 2
    assert content(tmp_path / "d") == whole


def test_max_per_proposal_limit_and_count(mast, tmp_path):
    counts = count_dataset(mission="HST", cycles="25-32", max_per_proposal=2)
    assert not downloads(mast)
    data = build_dataset(tmp_path / "d", **WHAT, max_per_proposal=2)
    assert len(data) == counts["pictures"] == 2 * counts["proposals_with_pictures"]
    assert counts["proposals"] == counts["proposals_with_pictures"] == 8
    assert counts["observations"] > counts["pictures"]
    assert counts["bytes"] > 0
    few = build_dataset(tmp_path / "few", **WHAT, limit=7)
    assert len(few) == 7
    assert count_dataset(mission="HST", cycles="25-32", limit=7)["pictures"] == 7
    more = build_dataset(tmp_path / "few", **WHAT)
    assert content(tmp_path / "few")[0].keys() > set(few.pairs["picture_id"])
    assert len(more) == len(build_dataset(tmp_path / "all", **WHAT))


def test_pairs_without_abstract_stay_with_the_reason(mast, tmp_path):
    # neither in the catalogue nor as a file
    del mast.archive.programmes["HST", "15526"]
    blocks = mast.archive.catalogue.split(b"-" * 78)
    mast.archive.catalogue = (b"-" * 78).join(b for b in blocks if b"15526" not in b)
    with pytest.warns(FailedRowsWarning, match="1 of 3 proposals have no abstract"):
        data = build_dataset(
            tmp_path / "d", mission="HST", proposals="15500,15513,15526"
        )
    out = data.pairs[data.pairs["proposal_id"] == "15526"]
    assert set(out["status"]) == {"left out"}
    assert out["message"][0].startswith("no abstract: no public programme file")
    assert data.report().meta["left_out"] == {out["message"][0]: len(out)}
    assert not {"15526"} & {s.meta["proposal_id"] for s in data.iter_samples()}


def test_a_catalogue_of_the_user(mast, tmp_path):
    table = Table({"proposal_id": ["15500", "15513"], "abstract": ["One.", "Two."]})
    data = build_dataset(
        tmp_path / "d", mission="HST", proposals=[15500, "15513"], catalogue=table
    )
    assert {sample.text for sample in data.iter_samples()} <= {"One.", "Two."}
    assert not mast.asked("abstracts")


def test_failed_pictures_stay_as_rows_and_can_be_tried_again(mast, tmp_path):
    uri = next(
        u for u in mast.archive.files if "total" in u and u.endswith("0_drc.jpg")
    )
    kept = mast.archive.files.pop(uri)
    data = build_dataset(tmp_path / "d", **WHAT)
    row = data.pairs[data.pairs["dataURI"] == uri][0]
    assert row["status"] == "failed"
    assert "404" in row["message"]
    assert row["split"]
    assert np.ma.is_masked(row["path"])
    assert sum(data.report().meta["failed"].values()) == 1
    mast.archive.files[uri] = kept
    asked = len(mast.requests)
    build_dataset(tmp_path / "d", **WHAT)
    assert len(mast.requests) == asked
    data = build_dataset(tmp_path / "d", **WHAT, retry_failed=True)
    assert status_of(data) == {"done": len(data)}
    assert [r.what for r in mast.requests[asked:]] == [uri]


# ---- extensions


def test_more_cycles_keep_earlier_rows_in_their_split(mast, tmp_path):
    first = build_dataset(tmp_path / "d", **WHAT | {"cycles": "26,28-29"})
    homes = dict(first.pairs["picture_id", "split"].iterrows())
    asked = len(mast.requests)
    second = build_dataset(tmp_path / "d", **WHAT)
    assert len(second) > len(first)
    later = dict(second.pairs["picture_id", "split"].iterrows())
    assert {name: later[name] for name in homes} == homes
    fresh = [u for u in (r.what for r in mast.requests[asked:]) if u.endswith(".jpg")]
    assert len(fresh) == len(second) - len(first)
    assert second.verify() == []
    third = build_dataset(
        tmp_path / "d", mission="JWST", cycles="1-2", shard_size=20480
    )
    assert set(third.pairs["obs_collection"]) == {"HST", "JWST"}
    asked = len(mast.requests)
    build_dataset(tmp_path / "d", **WHAT)  # the first mission is still finished
    assert len(mast.requests) == asked


def test_new_rows_between_two_splits_are_left_out(mast, tmp_path):
    what = {"mission": "HST", "proposals": ["15526", "15539", "15552"]}
    settings = SplitSettings(fractions=(0.4, 0.3, 0.3))
    first = build_dataset(tmp_path / "d", **what, split=settings)
    homes = dict(first.pairs["proposal_id", "split"].iterrows())
    assert len(set(homes.values())) == 3
    # a later proposal looks at fields of two of them
    fields = {
        number: next(
            (r["s_ra"], r["s_dec"])
            for r in mast.archive.observations
            if r["proposal_id"] == number
        )
        for number in what["proposals"]
    }
    mine = [
        r
        for r in mast.archive.observations
        if r["proposal_id"] == "15565" and r["dataproduct_type"] == "image"
    ]
    for i, row in enumerate(mine):
        row["s_ra"], row["s_dec"] = fields["15526" if i else "15539"]
    what["proposals"] = [*what["proposals"], "15565"]
    second = build_dataset(tmp_path / "d", **what, split=settings)
    rows = second.pairs[second.pairs["proposal_id"] == "15565"]
    assert sorted(Counter(rows["status"].tolist())) == ["done", "left out"]
    assert set(rows["split"][rows["status"] == "done"]) == {homes["15526"]}
    (reason,) = second.report().meta["left_out"]
    assert reason.startswith(f"close to a position of {homes['15539']}, while the")
    assert second.report()["nearest"].min() > 2


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"seed": 1}, "seed is 0 there, got 1"),
        ({"cycles": "25-27"}, "cycles are 25,26,27,28 there, got 25,26,27"),
        ({"max_per_proposal": 5}, "max_per_proposal is 20 there, got 5"),
        ({"split": SplitSettings(radius="3 arcmin")}, "radius is 2.0 there, got 3.0"),
        ({"split": SplitSettings(by_pi=True)}, "split_by_pi is False there, got True"),
        ({"recipe": "ANY_PREVIEW"}, "recipe is 'PAPER_HST' there, got 'ANY_PREVIEW'"),
        ({"limit": 5}, "limit is None there, got 5"),
        ({"size": 128}, "size is 512 there, got 128"),
        (
            {"cycles": None, "proposals": 15500},
            "cycles are 25,26,27,28 there, got none",
        ),
    ],
)
@pytest.mark.usefixtures("mast")
def test_other_arguments_are_refused(tmp_path, change, message):
    what = {"mission": "HST", "cycles": "25-28"}
    build_dataset(tmp_path / "d", **what)
    whole = content(tmp_path / "d")
    with pytest.raises(DataSetError, match=message):
        build_dataset(tmp_path / "d", **what | change)
    assert content(tmp_path / "d") == whole


def test_shards_can_be_left_out_and_made_later(mast, tmp_path):
    data = build_dataset(tmp_path / "d", **WHAT, shards=False)
    assert not (tmp_path / "d" / "shards").exists()
    single = [sample.key for sample in data.iter_samples()]
    asked = len(mast.requests)
    data = build_dataset(tmp_path / "d", **WHAT)
    assert len(mast.requests) == asked
    assert len(data.shards()) > 3
    assert max(path.stat().st_size for path in data.shards()) <= WHAT["shard_size"]
    assert [sample.key for sample in data.iter_samples()] == single
    data = build_dataset(tmp_path / "d", **WHAT | {"shard_size": 10**6})
    assert [path.name for path in data.shards()] == ["train-000000.tar"]
    assert len(list((tmp_path / "d" / "shards").iterdir())) == len(data.splits)


# ---- bad days


def test_the_order_of_the_archive_does_not_matter(mast, tmp_path):
    build_dataset(tmp_path / "a", **WHAT)
    mast.archive.observations.reverse()
    mast.archive.products.reverse()
    build_dataset(tmp_path / "b", **WHAT, client=MastClient(cache=False))
    assert content(tmp_path / "a") == content(tmp_path / "b")


@pytest.mark.parametrize("seed", range(3))
def test_faults_of_every_passing_kind_change_nothing(mast, tmp_path, seed):
    build_dataset(tmp_path / "whole", **WHAT)
    final = {"unauthorized", "forbidden", "missing", "timeout", "drip"}
    kinds = [kind for kind in KINDS if kind not in final]
    # "garbage" that is a picture cannot be told from one
    kinds = [kind for kind in kinds if kind != "garbage"]
    mast.faults.random(dict.fromkeys(kinds, 0.1 / len(kinds)), seed=seed)
    other = mast.conf(retries=8, cache_dir=str(tmp_path / "other"))
    with other, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for _ in range(3):
            try:
                build_dataset(tmp_path / "d", **WHAT, retry_failed=True)
                break
            except RemoteServiceError:
                continue
    assert any(request.fault for request in mast.requests)
    assert content(tmp_path / "d") == content(tmp_path / "whole")


@pytest.fixture(name="builder")
def fixture_builder(mast, tmp_path):
    if not hasattr(os, "fork"):
        pytest.skip("needs fork, so that a build need not import everything again")
    builder = Builder(mast.environment(tmp_path / "home"))
    yield builder
    builder.close()


def kill_after(mast, builder, folder, requests, rng):
    """Build, and kill the process a while after so many requests."""
    before = len(mast.requests)
    builder.start(words(folder))
    until = time.monotonic() + 60
    while len(mast.requests) - before < requests and not builder.ended:
        assert time.monotonic() < until
        time.sleep(0.001)
    time.sleep(rng.uniform(0, 0.1))
    return builder.kill()


def test_killed_builds_end_like_undisturbed_ones(mast, builder, tmp_path):
    build_dataset(tmp_path / "whole", **WHAT)
    expected = content(tmp_path / "whole")
    total = len(mast.requests)
    rng = np.random.default_rng(0)
    kills = number = 0
    while kills < 20:  # some come after the end, how many depends on the machine
        number += 1
        assert number < 60
        folder = tmp_path / f"d{number}"
        before = len(downloads(mast))
        for _ in range(1 + number % 2):
            after = int(rng.integers(0, total - 3))
            kills += kill_after(mast, builder, folder, after, rng)
        build_dataset(folder, **WHAT)
        assert content(folder) == expected
        times = Counter(downloads(mast)[before:])
        again = sum(count - 1 for count in times.values())
        assert again <= 4 * (1 + number % 2)  # what was in flight
        asked = len(mast.requests)
        build_dataset(folder, **WHAT)
        assert len(mast.requests) == asked


def test_killed_extensions_keep_the_splits(mast, builder, tmp_path):
    first = WHAT | {"cycles": "25-28"}
    for name in ("whole", "killed"):
        build_dataset(tmp_path / name, **first)
    pairs = DataSet.open(tmp_path / "whole").pairs
    homes = dict(pairs["picture_id", "split"].iterrows())
    asked = len(mast.requests)
    build_dataset(tmp_path / "whole", **WHAT)
    total = len(mast.requests) - asked
    rng = np.random.default_rng(1)
    for after in (1, total // 2, total - 1):
        kill_after(mast, builder, tmp_path / "killed", after, rng)
    build_dataset(tmp_path / "killed", **WHAT)
    assert content(tmp_path / "killed") == content(tmp_path / "whole")
    pairs = DataSet.open(tmp_path / "killed").pairs
    later = dict(pairs["picture_id", "split"].iterrows())
    assert {name: later[name] for name in homes} == homes


@pytest.mark.parametrize("room", [1_500, 6_000, 16_000, 19_000])
def test_a_full_disk_is_one_error_and_loses_nothing(mast, tmp_path, room):
    pytest.importorskip("resource")
    environment = mast.environment(tmp_path / "home")
    code = (
        "import resource, sys; import paperclip.cli, paperclip.training.build\n"
        "from paperclip.training import build\n"
        "build.build_dataset.__kwdefaults__['shard_size'] = 20_480\n"
        f"resource.setrlimit(resource.RLIMIT_FSIZE, ({room}, {room}))\n"
        "sys.exit(paperclip.cli.main(sys.argv[1:]))"
    )
    got = subprocess.run(
        [sys.executable, "-W", "error", "-c", code, *words(tmp_path / "d")],
        capture_output=True,
        text=True,
        env=environment,
        check=False,
    )
    assert got.returncode == 1
    assert got.stderr.startswith("paperclip: error: cannot write '")
    assert got.stderr.count("\n") == 1
    before = Counter(downloads(mast))
    build_dataset(tmp_path / "d", **WHAT)
    after = Counter(downloads(mast))
    assert sum((after - before).values()) + sum(before.values()) <= len(after) + 8
    build_dataset(tmp_path / "whole", **WHAT)
    assert content(tmp_path / "d") == content(tmp_path / "whole")


def test_folders_that_cannot_be_used(mast, tmp_path):
    (tmp_path / "file").write_text("x")
    with pytest.raises(DataSetError, match="is no folder; choose another name"):
        build_dataset(tmp_path / "file", **WHAT)
    with pytest.raises(InvalidQueryError, match="folder must be the path of a folder"):
        build_dataset("", **WHAT)
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "thesis.tex").write_text("x")
    with pytest.raises(DataSetError, match=r"not empty .* 'thesis.tex'\); choose"):
        build_dataset(tmp_path / "full", **WHAT)
    assert [p.name for p in (tmp_path / "full").iterdir()] == ["thesis.tex"]
    with pytest.raises(DataSetWriteError, match="cannot write '/proc/paperclip"):
        build_dataset("/proc/paperclip", **WHAT)
    build_dataset(tmp_path / "d", **WHAT)
    (tmp_path / "d" / "dataset.json").write_text("{")
    with pytest.raises(DataSetError, match="cannot be read as the state of a data set"):
        build_dataset(tmp_path / "d", **WHAT)


def test_a_read_only_data_set_is_read(mast, tmp_path):
    build_dataset(tmp_path / "d", **WHAT)
    for path in [tmp_path / "d", *(tmp_path / "d").rglob("*")]:
        path.chmod(0o555 if path.is_dir() else 0o444)
    try:
        assert len(build_dataset(tmp_path / "d", **WHAT)) > 30
        if os.geteuid():
            with pytest.raises(DataSetWriteError, match="cannot write"):
                build_dataset(tmp_path / "d", **WHAT | {"cycles": "25-33"})
    finally:
        for path in [tmp_path / "d", *(tmp_path / "d").rglob("*")]:
            path.chmod(0o755 if path.is_dir() else 0o644)


def test_two_builds_in_one_folder(mast, builder, tmp_path):
    mast.latency = 0.2
    builder.start(words(tmp_path / "d"))
    while not mast.requests:
        time.sleep(0.01)
    with pytest.raises(DataSetError, match="another process is writing to"):
        build_dataset(tmp_path / "d", **WHAT)
    assert builder.kill()


def test_nothing_to_build(mast, tmp_path):
    warned = pytest.warns(NoResultsWarning, match="no programmes of HST are known")
    refused = pytest.raises(DataSetError, match="there are no proposals of HST in")
    with warned, refused:
        build_dataset(tmp_path / "a", mission="HST", cycles=77)
    for row in mast.archive.products:
        row["productType"] = "THUMBNAIL"
    with pytest.raises(DataSetError, match="no pictures of 1 proposals of HST by the"):
        build_dataset(tmp_path / "b", mission="HST", proposals=15500)
    mast.archive.programmes.clear()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with pytest.raises(RemoteServiceError, match="none of 1 proposals has an abs"):
            build_dataset(tmp_path / "c", mission="JWST", proposals=2113)
    with pytest.raises(DataSetError, match="is not finished; run the same"):
        DataSet.open(tmp_path / "c")


@pytest.mark.usefixtures("mast")
def test_offline_builds_say_so(tmp_path):
    with pytest.raises(OfflineError, match="downloads are switched off"):
        build_dataset(tmp_path / "d", **WHAT, client=MastClient(offline=True))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"mission": " "}, "mission must be a name such as 'HST' or 'JWST', got ' '"),
        ({"cycles": None}, "give cycles= or proposals="),
        ({"cycles": "x"}, "cycles must be numbers and ranges"),
        ({"proposals": ["a b", None]}, "proposals must be numbers of proposals, got"),
        ({"seed": -1}, "seed must be at least 0"),
        ({"seed": 0.5}, "seed must be a whole number"),
        ({"max_per_proposal": 0}, "max_per_proposal must be at least 1"),
        ({"limit": 0}, "limit must be at least 1"),
        ({"recipe": "NICE"}, "recipe must be a PreviewRecipe or one of"),
        ({"split": (0.8, 0.1, 0.1)}, "split must be SplitSettings, got tuple"),
        ({"shard_size": 100}, "shard_size must be at least 20480"),
        ({"size": 1}, "size must be at least 16"),
    ],
)
def test_bad_arguments(tmp_path, change, message):
    with pytest.raises(InvalidQueryError, match=message):
        build_dataset(tmp_path / "d", **WHAT | change)
    assert not (tmp_path / "d").exists()


def test_an_archive_without_positions(tmp_path):
    archive = small_archive(n_proposals=8, size=32)
    for row in archive.observations:
        row["s_ra"] = row["s_dec"] = row["s_region"] = None
    with mast_server(archive) as mast, mast.conf(cache_dir=str(tmp_path / "cache")):
        data = build_dataset(tmp_path / "d", mission="HST", cycles="25-32")
    report = data.report()
    assert report["no_position"].tolist() == [1.0] * 3
    assert report["nearest"].mask.all()
    assert len(set(data.pairs["group"])) == 4


@pytest.mark.shared_data
def test_real_previews_become_a_data_set(tmp_path):
    place = require_shared_data("jwst_previews") / "manifest.csv"
    known = Table.read(place, format="ascii.csv")
    known = known[~np.ma.getmaskarray(known["text"])]
    known["abstract"] = known["text"]
    known["proposal_id"] = [str(value) for value in known["proposal_id"]]
    archive = shared_archive()
    mine = [
        row["proposal_id"]
        for row in archive.observations
        if row["obs_collection"] == "JWST" and row["jpegURL"] in archive.files
    ]
    mine = [key for key in mine if key in set(known["proposal_id"])]
    ids = [key for key, _ in Counter(mine).most_common(12)]
    texts = known["proposal_id", "abstract"][np.isin(known["proposal_id"], ids)]
    what = {"mission": "JWST", "proposals": ids, "max_per_proposal": 5}
    cache = str(tmp_path / "cache")
    with mast_server(archive) as mast, mast.conf(cache_dir=cache):
        data = build_dataset(tmp_path / "d", **what, catalogue=texts)
    assert len(data) > 30
    assert not data.report().meta["failed"]
    assert data.report()["nearest"].min() > 2
    sample = next(data.iter_samples())
    assert max(sample.picture().shape) == 512
    assert len(sample.text) > 100
