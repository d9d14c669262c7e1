# Licensed under a 3-clause BSD style license - see LICENSE.rst
import os
import shutil
from pathlib import Path

import lance  # noqa: TID253
import numpy as np
import pyarrow as pa
import pytest

from paperclip.exceptions import DamagedIndexError, IndexRecoveredWarning
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
