# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""Tar files of samples."""

import gc
import hashlib
import io
import json
import tarfile
import warnings

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from paperclip.exceptions import (
    DataSetError,
    FailedRowsWarning,
    ImageConversionError,
    InvalidQueryError,
)
from paperclip.training._stream import stream_shards, worker_range
from paperclip.training.shards import (
    Sample,
    check_shards,
    plan_shards,
    read_shard,
    sample_bytes,
    shard_name,
    write_shard,
)


def jpeg(seed=0, size=24):
    rng = np.random.default_rng(seed)
    stream = io.BytesIO()
    picture = rng.integers(0, 255, (size, size, 3), dtype=np.uint8)
    Image.fromarray(picture).save(stream, "JPEG")
    return stream.getvalue()


PICTURE = jpeg()


def samples_of(n, start=0):
    return [
        Sample(f"k{i:05d}", PICTURE, f"Täxt {i}", {"proposal_id": str(i), "s_ra": None})
        for i in range(start, start + n)
    ]


def write(folder, sizes):
    """Write shards of so many samples; return their entries."""
    entries, start = [], 0
    for i, n in enumerate(sizes):
        path = folder / shard_name("train", i)
        entries.append(write_shard(path, samples_of(n, start)))
        start += n
    return entries


def keys(samples):
    return [sample.key for sample in samples]


def test_round_trip(tmp_path):
    entry = write_shard(tmp_path / "a.tar", samples_of(3))
    assert list(read_shard(tmp_path / "a.tar")) == samples_of(3)
    assert entry["samples"] == 3
    assert entry["bytes"] == (tmp_path / "a.tar").stat().st_size
    assert samples_of(1)[0].picture().shape == (24, 24, 3)
    with pytest.raises(ImageConversionError, match="cannot be read"):
        Sample("k", b"no", "", {}).picture()


def test_layout_is_that_of_webdataset(tmp_path):
    write_shard(tmp_path / "a.tar", samples_of(2))
    with tarfile.open(tmp_path / "a.tar") as tar:
        members = tar.getmembers()
        names = [m.name for m in members]
        meta = json.load(tar.extractfile("k00001.json"))
    assert names[:3] == ["k00000.jpg", "k00000.txt", "k00000.json"]
    assert {(m.mtime, m.uid, m.gid, m.uname, m.mode) for m in members} == {
        (0, 0, 0, "", 0o644)
    }
    assert meta == {
        "proposal_id": "1",
        "s_ra": None,
        "sha256": hashlib.sha256(PICTURE).hexdigest(),
    }


def test_equal_samples_give_equal_bytes(tmp_path):
    write_shard(tmp_path / "a.tar", samples_of(5))
    write_shard(tmp_path / "b.tar", iter(samples_of(5)))
    assert (tmp_path / "a.tar").read_bytes() == (tmp_path / "b.tar").read_bytes()


def test_a_failure_leaves_the_old_file(tmp_path):
    write_shard(tmp_path / "a.tar", samples_of(1))

    def broken():
        yield from samples_of(2)
        raise OSError("the disk is full")

    with pytest.raises(OSError, match="the disk is full"):
        write_shard(tmp_path / "a.tar", broken())
    assert keys(read_shard(tmp_path / "a.tar")) == ["k00000"]
    assert [path.name for path in tmp_path.iterdir()] == ["a.tar"]


@pytest.mark.parametrize("key", ["", "a.b", "../a", "a/b", "x" * 81, "ä", "a\n"])
def test_bad_keys(tmp_path, key):
    with pytest.raises(DataSetError, match="the key of a sample must be 1 to 80"):
        write_shard(tmp_path / "a.tar", [Sample(key, PICTURE, "", {})])


def test_keys_come_once(tmp_path):
    with pytest.raises(DataSetError, match="the key 'k00000' comes twice"):
        write_shard(tmp_path / "a.tar", samples_of(1) * 2)


@given(
    sizes=st.lists(st.integers(0, 4000), max_size=60),
    shard_size=st.integers(10_240, 60_000),
)
@settings(max_examples=40, deadline=None)
def test_planned_shards_are_no_larger_than_asked(tmp_path_factory, sizes, shard_size):
    samples = [
        Sample(f"k{i}", b"x" * n, "t" * (n // 3), {"i": i}) for i, n in enumerate(sizes)
    ]
    parts = plan_shards([sample_bytes(sample) for sample in samples], shard_size)
    assert [i for part in parts for i in range(len(samples))[part]] == list(
        range(len(samples))
    )
    folder = tmp_path_factory.mktemp("planned")
    for part in parts:
        entry = write_shard(folder / "a.tar", samples[part])
        assert entry["samples"] > 0
        assert entry["bytes"] <= shard_size


def test_a_large_sample_has_a_shard_for_itself():
    assert plan_shards([1, 10**9, 1], 20_480) == [slice(0, 1), slice(1, 2), slice(2, 3)]
    assert plan_shards([], 20_480) == []


def test_sizes_without_the_picture():
    sample = samples_of(1)[0]
    small = Sample(sample.key, b"", sample.text, sample.meta)
    assert sample_bytes(small, image_size=len(PICTURE)) == sample_bytes(sample)


# ---- workers and order


@given(
    sizes=st.lists(st.integers(1, 7), min_size=1, max_size=6),
    workers=st.integers(1, 4),
    nodes=st.integers(1, 3),
    seed=st.none() | st.integers(0, 5),
)
@settings(
    max_examples=40,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
def test_workers_share_out_all_samples(tmp_path, sizes, workers, nodes, seed):
    entries = write(tmp_path, sizes)
    found, counts = [], []
    for node in range(nodes):
        for worker in range(workers):
            rng = None if seed is None else np.random.default_rng(seed)
            mine = keys(
                stream_shards(
                    tmp_path, entries, worker=worker, workers=workers,
                    node=node, nodes=nodes, rng=rng, buffer=3,
                )
            )  # fmt: skip
            found += mine
            counts.append(len(mine))
    assert sorted(found) == keys(samples_of(sum(sizes)))
    assert max(counts) - min(counts) <= 1


def test_shuffling_follows_the_generator(tmp_path):
    entries = write(tmp_path, [5, 5, 5, 5])

    def order(seed, **options):
        rng = np.random.default_rng(seed)
        return keys(stream_shards(tmp_path, entries, rng=rng, **options))

    assert order(0) == order(0) != order(1)
    assert order(0, buffer=2) != order(0)
    assert sorted(order(0)) == keys(stream_shards(tmp_path, entries))
    rng = np.random.default_rng(0)  # two epochs of one generator differ
    epochs = [keys(stream_shards(tmp_path, entries, rng=rng)) for _ in range(2)]
    assert epochs[0] != epochs[1]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"worker": 1}, "worker must be at most 0, got 1"),
        ({"workers": 0}, "workers must be at least 1"),
        ({"node": -1}, "node must be at least 0"),
        ({"nodes": 1.5}, "nodes must be a whole number"),
        ({"rng": 0}, "rng must be a numpy.random.Generator, got int"),
        ({"rng": np.random.default_rng(0), "buffer": 0}, "buffer must be at least 1"),
    ],
)
def test_bad_options(tmp_path, options, message):
    entries = write(tmp_path, [2])
    with pytest.raises(InvalidQueryError, match=message):
        list(stream_shards(tmp_path, entries, **options))


def test_ranges_are_even():
    parts = [worker_range(10, worker=i, workers=4) for i in range(4)]
    assert parts == [(0, 2), (2, 5), (5, 7), (7, 10)]


# ---- damage


def damaged(path, kind, rng):
    data = bytearray(path.read_bytes())
    if kind == "cut":
        data = data[: int(rng.integers(1, len(data) - 9000))]
    elif kind == "header":
        data[3 * 512 * int(rng.integers(1, 4)) + 150] ^= 0xFF
    elif kind == "flip":
        data[512 + int(rng.integers(len(PICTURE)))] ^= 0x10
    elif kind == "zeros":
        data[:] = bytes(len(data))
    elif kind == "no tar":
        data[:] = b"<html>" * 999
    elif kind == "empty":
        data = b""
    path.write_bytes(data)


@pytest.mark.parametrize("kind", ["cut", "flip", "zeros", "no tar", "empty"])
@pytest.mark.parametrize("seed", range(5))
def test_damage_is_an_error_that_names_the_shard(tmp_path, kind, seed):
    entries = write(tmp_path, [4, 4, 4])
    rng = np.random.default_rng(seed)
    damaged(tmp_path / "train-000001.tar", kind, rng)
    with pytest.raises(DataSetError, match=r"train-000001\.tar' is damaged"):
        list(stream_shards(tmp_path, entries))
    with pytest.warns(FailedRowsWarning, match="what follows in it is skipped"):
        found = keys(stream_shards(tmp_path, entries, skip_damaged=True))
    assert found[:4] == keys(samples_of(4))
    assert found[-4:] == keys(samples_of(4, 8))
    assert set(found) <= set(keys(samples_of(12)))
    assert len(check_shards(tmp_path, entries)) == 1


@pytest.mark.parametrize("seed", range(60))
def test_any_changed_byte_is_found_or_harmless(tmp_path, seed):
    (entry,) = write(tmp_path, [3])
    path = tmp_path / entry["name"]
    data = bytearray(path.read_bytes())
    at = int(np.random.default_rng(seed).integers(len(data)))
    data[at] ^= 1 << seed % 8
    path.write_bytes(data)
    try:
        found = list(read_shard(path, expected=3))
    except DataSetError:
        return
    assert [s.image for s in found] == [PICTURE] * 3


def test_each_cut_is_found(tmp_path):
    (entry,) = write(tmp_path, [2])
    path = tmp_path / entry["name"]
    data = path.read_bytes()
    end = len(data.rstrip(b"\0")) // 512 * 512
    for length in range(0, end, 256):
        path.write_bytes(data[:length])
        with pytest.raises(DataSetError, match="is damaged"):
            list(read_shard(path))


def test_missing_and_strange_files(tmp_path):
    entries = write(tmp_path, [2])
    path = tmp_path / "train-000000.tar"
    path.unlink()
    with pytest.raises(DataSetError, match=r"train-000000.tar' is missing"):
        list(stream_shards(tmp_path, entries))
    assert "is missing" in check_shards(tmp_path, entries)[0]
    link = tarfile.TarInfo("k.jpg")
    link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
    with tarfile.open(path, "w") as tar:
        tar.addfile(link)
    with pytest.raises(DataSetError, match=r"'k\.jpg' is no part of a sample"):
        list(read_shard(path))
    with tarfile.open(path, "w") as tar:
        tar.addfile(tarfile.TarInfo("k.jpg"))
    with pytest.raises(DataSetError, match=r"not complete, there is only k\.jpg"):
        list(read_shard(path))


def test_a_worker_reads_no_more_than_its_part(tmp_path):
    entries = write(tmp_path, [6])
    damaged(tmp_path / "train-000000.tar", "flip", np.random.default_rng(0))
    part = {"worker": 1, "workers": 2}
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = keys(stream_shards(tmp_path, entries, **part))
    assert found == keys(samples_of(3, 3))


# ---- the real library


# that library leaves the files to be closed by the garbage collector
@pytest.mark.filterwarnings("ignore::ResourceWarning")
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_webdataset_reads_our_shards(tmp_path):
    library = pytest.importorskip("webdataset")
    write(tmp_path, [3, 4])
    urls = [str(path) for path in sorted(tmp_path.iterdir())]
    data = library.WebDataset(urls, shardshuffle=False)
    found = list(data.decode("rgb8").to_tuple("__key__", "jpg", "txt", "json"))
    del data
    gc.collect()
    assert [key for key, *_ in found] == keys(samples_of(7))
    _, picture, text, meta = found[2]
    assert (picture == samples_of(1)[0].picture()).all()
    assert text == "Täxt 2"
    assert meta["proposal_id"] == "2"
