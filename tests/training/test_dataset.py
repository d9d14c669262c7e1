# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""Data sets as their readers see them."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import paperclip.training
from paperclip.exceptions import DataSetError, FailedRowsWarning, InvalidQueryError
from paperclip.training import DataSet, build_dataset
from paperclip.training._samples import sample_key
from paperclip.training.shards import KEY

from ..mast_server import mast_server, small_archive


@pytest.fixture(name="made", scope="module")
def fixture_made(tmp_path_factory):
    folder = tmp_path_factory.mktemp("made")
    archive = small_archive(n_proposals=20, size=32)
    what = {"mission": "HST", "cycles": "25-40", "size": 24}
    with mast_server(archive) as mast, mast.conf(cache_dir=str(folder / "cache")):
        build_dataset(folder / "d", **what, shard_size=20_480)
        build_dataset(folder / "loose", **what, shards=False)
    return folder


@pytest.fixture(name="folder", params=["d", "loose"])
def fixture_folder(made, request, tmp_path):
    """A data set with and without shards, to be changed at will."""
    return Path(shutil.copytree(made / request.param, tmp_path / request.param))


def keys(samples):
    return [sample.key for sample in samples]


def test_samples_hold_picture_text_and_columns(folder):
    data = DataSet.open(folder)
    texts = data.texts()
    for sample in data.iter_samples("test"):
        key = sample.meta["obs_collection"], sample.meta["proposal_id"]
        assert sample.text == texts[key]
        assert sample.meta["split"] == "test"
        assert sample.meta["title"] == data.texts("title")[key]
        assert sample.picture().shape == (24, 24, 3)
        json.dumps(sample.meta)
    assert set(data.pairs["width"]) == {24}


def test_splits_hold_every_pair_once(folder):
    data = DataSet.open(folder)
    found = [sample for split in data.splits for sample in data.iter_samples(split)]
    assert sorted(keys(found)) == sorted(data.pairs["picture_id"].tolist())
    assert len(found) == len(data)
    proposals = {
        split: {s.meta["proposal_id"] for s in data.iter_samples(split)}
        for split in data.splits
    }
    assert not proposals["train"] & proposals["test"]


def test_workers_share_out_all_samples(folder):
    data = DataSet.open(folder)
    for seed in (None, 0):
        found = []
        for worker in range(3):
            for node in range(2):
                rng = None if seed is None else np.random.default_rng(seed)
                part = {"worker": worker, "workers": 3, "node": node, "nodes": 2}
                found += keys(data.iter_samples("train", **part, rng=rng, buffer=4))
        assert len(found) == len(set(found))
        assert sorted(found) == sorted(keys(data.iter_samples("train")))


def test_order_is_mixed_and_shuffling_follows_the_generator(folder):
    data = DataSet.open(folder)
    fixed = keys(data.iter_samples())
    assert fixed == keys(data.iter_samples())
    assert fixed != sorted(fixed)
    orders = [keys(data.iter_samples(rng=np.random.default_rng(i))) for i in (0, 0, 1)]
    assert orders[0] == orders[1] != orders[2]


def test_shards_and_pictures_give_the_same(made):
    one, two = (DataSet.open(made / name) for name in ("d", "loose"))
    assert list(one.iter_samples()) == list(two.iter_samples())
    assert len(one.shards("train")) > 1
    assert two.shards("train") == []


def test_damage_is_named_and_can_be_skipped(folder):
    data = DataSet.open(folder)
    whole = keys(data.iter_samples())
    files = data.shards() or [
        Path(path) for path in data.pairs["path"][data.pairs["split"] == "train"]
    ]
    content = bytearray(files[0].read_bytes())
    content[700] ^= 1
    files[0].write_bytes(content)
    with pytest.raises(DataSetError, match=f"{files[0].name}' is damaged"):
        list(data.iter_samples())
    with pytest.warns(FailedRowsWarning, match="skipped"):
        found = keys(data.iter_samples(skip_damaged=True))
    assert set(found) < set(whole)
    assert len(data.verify()) == 1
    files[0].unlink()
    assert len(data.verify()) == 1
    with pytest.raises(DataSetError, match=f"{files[0].name}' (is missing|cannot be)"):
        list(data.iter_samples())


def test_report_and_repr(made):
    data = DataSet.open(made / "d")
    report = data.report()
    assert report["split"].tolist() == ["train", "validation", "test"]
    assert report["rows"].sum() == report.meta["pairs"] == len(data)
    assert report["proposals"].sum() == len(set(data.pairs["proposal_id"]))
    assert report["nearest"].min() > report.meta["radius"] == 2
    assert report.meta["missions"] == {"HST": len(data)}
    assert f": {report['rows'][0]} train, " in repr(data)
    assert len(data.proposals) == 10
    split = (made / "d" / "split.ecsv").read_text()
    assert "proposal_id mission split group n_rows" in split


def test_tables_describe_themselves(made):
    data = DataSet.open(made / "d")
    for table in (data.pairs, data.proposals):
        assert all(column.info.description for column in table.itercols())
    assert str(data.pairs["s_ra"].unit) == "deg"


def test_parquet_can_be_read_by_others(made):
    from pyarrow import parquet

    table = parquet.read_table(made / "d" / "pairs.parquet").to_pydict()
    assert set(table["split"]) == {"train", "validation", "test"}
    assert set(table["status"]) == {"done"}


def test_folders_that_are_no_data_sets(made, tmp_path):
    with pytest.raises(DataSetError, match="holds no data set; make one with 'paper"):
        DataSet.open(tmp_path)
    folder = Path(shutil.copytree(made / "loose", tmp_path / "d"))
    state = json.loads((folder / "dataset.json").read_text())
    (folder / "dataset.json").write_text(json.dumps(state | {"complete": False}))
    with pytest.raises(DataSetError, match="is not finished; run the same 'paperclip"):
        DataSet.open(folder)
    assert repr(DataSet.open(folder, unfinished=True)).endswith("not finished>")
    (folder / "dataset.json").write_text(json.dumps(state | {"version": 9}))
    with pytest.raises(DataSetError, match="is of version 9, this package reads 1"):
        DataSet.open(folder)
    (folder / "dataset.json").write_text(json.dumps(state))
    (folder / "pairs.parquet").write_bytes(b"PAR1")
    with pytest.raises(DataSetError, match=r"pairs.parquet' is missing or damaged"):
        len(DataSet.open(folder))


def test_bad_arguments(made):
    data = DataSet.open(made / "d")
    with pytest.raises(InvalidQueryError, match=r"split must be one of .*got 'dev'"):
        next(data.iter_samples("dev"))
    with pytest.raises(InvalidQueryError, match="split must be one of"):
        data.shards("x")
    with pytest.raises(InvalidQueryError, match="column must be one of"):
        data.texts("pid")
    with pytest.raises(InvalidQueryError, match="worker must be at most 1, got 2"):
        next(data.iter_samples(worker=2, workers=2))


@pytest.mark.parametrize("name", ["abc", "a.b", "+x", "x" * 200, "a b"])
def test_keys_are_safe_and_differ(name):
    assert KEY.fullmatch(sample_key(name.replace(" ", "_")))
    assert sample_key("a.b") != sample_key("a_b")


def test_the_room_is_imported_lazily():
    code = "import sys, paperclip.training; print(*sys.modules)"
    out = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    ).stdout.split()
    assert not {"torch", "pyarrow", "paperclip.training.build"} & set(out)
    assert "DataSet" in dir(paperclip.training)
    with pytest.raises(AttributeError, match="no attribute 'Dataset'"):
        paperclip.training.Dataset  # noqa: B018
