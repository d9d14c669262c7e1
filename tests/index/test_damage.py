# Licensed under a 3-clause BSD style license - see LICENSE.rst
import contextlib
import os
import shutil
import subprocess
import sys
from pathlib import Path

import lance  # noqa: TID253
import numpy as np
import pyarrow as pa
import pytest
from astropy.table import Table

from paperclip.exceptions import (
    DamagedIndexError,
    IndexRecoveredWarning,
    IndexWriteError,
)
from paperclip.index import Index
from paperclip.index.schema import INTERNAL


@pytest.fixture(name="path")
def fixture_path(small):
    return Path(small.uri)


def newest_manifest(path):
    return min((path / "_versions").glob("*.manifest"))


def shorten(item, share):
    os.truncate(item, int(item.stat().st_size * share))


@pytest.mark.parametrize("share", [0, 0.5, 0.99])
def test_truncated_data_file(path, share):
    shorten(next((path / "data").iterdir()), share)
    with pytest.raises(DamagedIndexError, match=r"data file .* has \d+ bytes, expec"):
        Index.open(path)


def test_lost_data_file(path):
    next((path / "data").iterdir()).unlink()
    with pytest.raises(DamagedIndexError, match=r"is missing, .* restore the folder"):
        Index.open(path)


def test_truncated_manifest(path):
    shorten(newest_manifest(path), 0.5)
    with pytest.raises(DamagedIndexError, match="restore it from a copy or build"):
        Index.open(path)


def test_empty_newest_manifest_is_set_aside(path, make_rows):
    index = Index.open(path)
    index.append(*make_rows(4, prefix="late"))
    name = newest_manifest(path).name
    shorten(newest_manifest(path), 0)
    with pytest.warns(IndexRecoveredWarning, match="rows added since are lost: append"):
        again = Index.open(path)
    assert (len(again), again.version) == (20, 2)
    assert list((path / "_versions").glob(f"{name}.damaged-*"))
    again.append(*make_rows(4, prefix="late"))  # and no warning any more
    assert len(Index.open(path)) == 24


def test_only_empty_manifests(path):
    for item in (path / "_versions").glob("*.manifest"):
        shorten(item, 0)
    with pytest.raises(DamagedIndexError, match="no version has a readable manifest"):
        Index.open(path)


def test_lost_deletion_file_is_noticed(path):
    Index.open(path).delete("obs-0003")
    shutil.rmtree(path / "_deletions")
    with pytest.raises(DamagedIndexError, match="restore it from a copy"):
        Index.open(path).search(np.ones(32))


def test_folder_that_is_no_index(tmp_path):
    with pytest.raises(DamagedIndexError, match="is not an index: it holds no Lance"):
        Index.open(tmp_path)
    (tmp_path / "file").write_text("x")
    with pytest.raises(DamagedIndexError, match="is not an index"):
        Index.open(tmp_path / "file")


def write_table(path, metadata, dimension=2, dtype=None, internal=INTERNAL):
    vectors = pa.array([[1.0] * dimension], pa.list_(dtype or pa.float16(), dimension))
    columns = {"obs_id": ["a"], **{key: [0] for key in internal}, "vector": vectors}
    table = pa.table(columns)
    meta = {f"paperclip:{k}": v for k, v in metadata.items()}
    lance.write_dataset(table.replace_schema_metadata(meta), path)


GOOD = {"format": "2", "fingerprint": "f", "dimension": "2"}


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"metadata": {}}, "without the metadata .* of a paperclip index; build one"),
        ({"metadata": GOOD | {"fingerprint": ""}}, r"metadata \['fingerprint'\]"),
        ({"metadata": GOOD | {"format": "1"}}, "index format 1, .* upgrade paperclip"),
        ({"metadata": GOOD, "internal": ["cx"]}, r"lacks the columns \['hpx29', 'cy'"),
        ({"metadata": GOOD, "dimension": 3}, "says dimension 2 but stores vectors as"),
        ({"metadata": GOOD, "dtype": pa.float32()}, "stores vectors as"),
        ({"metadata": GOOD}, "vectors that are not of unit length"),
    ],
)
def test_tables_that_are_no_index(tmp_path, options, match):
    write_table(tmp_path / "ix", **options)
    with pytest.raises(DamagedIndexError, match=match):
        Index.open(tmp_path / "ix").search([1, 0])


def test_failed_commit_leaves_the_last_version_and_no_files(path, make_rows):
    index = Index.open(path)
    before = sorted((path / "data").iterdir())
    shutil.rmtree(path / "_transactions")
    (path / "_transactions").write_text("in the way")
    with pytest.raises(OSError, match=r"stays as it was|Not a directory"):
        index.append(*make_rows(4, prefix="late"))
    assert sorted((path / "data").iterdir()) == before
    assert (len(Index.open(path)), len(index)) == (20, 20)


def test_altered_bytes_give_an_answer_or_our_error(small, tmp_path):
    """Lance keeps no checksums: what must not happen is any other exception."""
    rng = np.random.default_rng(3)
    refused = 0
    for number in range(40):
        copy = tmp_path / f"copy{number}"
        shutil.copytree(small.uri, copy)
        files = [*copy.glob("data/*"), *copy.glob("_versions/*.manifest")]
        item = files[rng.integers(len(files))]
        content = bytearray(item.read_bytes())
        content[rng.integers(len(content))] ^= 1 << int(rng.integers(8))
        item.write_bytes(content)
        try:
            Index.open(copy).search(np.ones(32), limit=50)
        except DamagedIndexError:
            refused += 1
        shutil.rmtree(copy)
    assert 0 < refused < 40


def test_writing_goes_on_after_an_empty_manifest(path, make_rows):
    """The lock is held when the manifest is set aside."""
    index = Index.open(path)
    index.append(*make_rows(4, prefix="late"))
    shorten(newest_manifest(path), 0)
    with pytest.warns(IndexRecoveredWarning, match="rows added since are lost: append"):
        index.append(*make_rows(4, prefix="again"))
    assert len(Index.open(path)) == 24


@pytest.mark.parametrize("content", ["", '{"version":1}', '{"vers', '{"version":99}'])
def test_the_hint_of_the_newest_version_is_only_a_hint(path, make_rows, content):
    (path / "_versions" / "latest_version_hint.json").write_text(content)
    index = Index.open(path)
    assert (index.version, len(index)) == (2, 20)
    index.append(*make_rows(4, prefix="late"))
    assert len(Index.open(path)) == 24


def test_damage_of_the_newest_version_leaves_older_ones(path, make_rows):
    index = Index.open(path)
    before = set((path / "data").iterdir())
    index.append(*make_rows(4, prefix="late"))
    shorten((set((path / "data").iterdir()) - before).pop(), 0.5)
    with pytest.raises(DamagedIndexError, match="data file"):
        Index.open(path)
    assert len(Index.open(path, version=2)) == 20
    with pytest.raises(DamagedIndexError, match="data file"):
        index.restore(3)
    assert index.restore(2) == 4
    assert len(Index.open(path)) == 20


@pytest.mark.skipif(
    not Path("/proc/self/fd").exists(), reason="asks the system for names of files"
)
@pytest.mark.parametrize(("suffix", "n_rows"), [(".lance", 20), (".manifest", 24)])
def test_disks_that_do_not_flush(path, make_rows, monkeypatch, suffix, n_rows):
    """A commit that cannot be flushed may be there; its files must not go."""
    index = Index.open(path)
    fsync = os.fsync

    def fail(handle):
        if Path(f"/proc/self/fd/{handle}").readlink().suffix == suffix:
            raise OSError(5, "Input/output error")
        fsync(handle)

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", fail)
        with pytest.raises(IndexWriteError, match=r"cannot flush the index .*; look"):
            index.append(*make_rows(4, prefix="late"))
    again = Index.open(path)
    assert len(again) == len(again.to_table()) == n_rows
    again.upsert(*make_rows(4, prefix="late"))
    assert len(Index.open(path)) == 24


LIMITED = """
import resource, sys
import numpy as np
from paperclip.exceptions import IndexWriteError
from paperclip.index import Index

index = Index.open(sys.argv[1])
ids = [f"new-{i}" for i in range(4000)]
resource.setrlimit(resource.RLIMIT_FSIZE, (65536, 65536))
try:
    index.append({"obs_id": ids}, np.random.default_rng(0).normal(size=(4000, 32)))
except IndexWriteError as exc:
    sys.stdout.write(str(exc))
"""


def test_files_that_cannot_grow(path):
    pytest.importorskip("resource", reason="needs limits of POSIX systems")
    files = sorted((path / "data").iterdir())
    run = subprocess.run(
        [sys.executable, "-W", "error", "-c", LIMITED, str(path)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert "cannot write to the index" in run.stdout, run.stderr
    assert "File too large" in run.stdout
    assert len(Index.open(path)) == 20
    assert sorted((path / "data").iterdir()) == files


@pytest.fixture(name="small_disk")
def fixture_small_disk(tmp_path):
    """Mount a disk of 3 MB."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = shutil.which("mount")
    command = [mount, "-t", "tmpfs", "-o", "size=3m", "tmpfs", str(disk)]
    if (
        not mount
        or subprocess.run(command, check=False, capture_output=True).returncode
    ):
        pytest.skip("needs leave to mount a small disk")
    yield disk
    subprocess.run(["umount", str(disk)], check=True)


def test_full_disk(small_disk, make_rows):
    index = Index.create(small_disk / "ix", fingerprint="f", dimension=32)
    table, vectors = make_rows(2000)
    index.append(table, vectors)
    ids = table["obs_id"].tolist()
    with (small_disk / "other").open("wb") as other:
        while shutil.disk_usage(small_disk).free > 65536:
            other.write(bytes(16384))
            other.flush()
    table["obs_id"] = [f"new-{name}" for name in ids]
    long = Table({"obs_id": ids, "t": [f"{i} long text" * 40 for i in range(2000)]})
    changes = (
        lambda: index.append(table, vectors),
        lambda: index.upsert(table, vectors),
        lambda: index.add_columns(long),
    )
    for change in changes:
        with pytest.raises(IndexWriteError, match="No space left on device"):
            change()
    with contextlib.suppress(OSError), (small_disk / "rest").open("wb") as rest:
        while True:
            rest.write(bytes(512))
            rest.flush()
    for change in (
        *changes,
        lambda: index.delete("obs-0001"),
        lambda: index.tag("now"),
        lambda: index.restore(1),
        lambda: index.add_columns({"z": float}),
        lambda: Index.create(index.uri, fingerprint="f", dimension=2, overwrite=True),
    ):
        with pytest.raises(IndexWriteError, match=r"No space left on .*; free some sp"):
            change()
    again = Index.open(index.uri)
    assert again.to_table()["obs_id"].tolist() == ids
    assert len(again.search(vectors[0], limit=3000)) == 2000
    (small_disk / "rest").unlink(missing_ok=True)
    (small_disk / "other").unlink()
    assert index.upsert(table[:5], vectors[:5]) == (5, 0)
    assert len(Index.open(index.uri)) == 2005
