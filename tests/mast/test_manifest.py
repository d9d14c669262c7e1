# Licensed under a 3-clause BSD style license - see LICENSE.rst
import io
import subprocess
import sys
import zlib
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
from astropy import units as u
from astropy.table import MaskedColumn, Table
from PIL import Image

from paperclip.exceptions import (
    DataSetError,
    DataSetWriteError,
    ImageConversionError,
    InvalidQueryError,
    RemoteServiceError,
)
from paperclip.imaging import read_preview
from paperclip.mast import MastClient, PictureStore
from paperclip.mast._journal import lock_folder

from ..mast_server import Archive, mast_server, picture, small_archive
from .stores import build, check_store, wanted


@pytest.fixture(name="mast")
def fixture_mast():
    with mast_server(small_archive(size=160)) as mast, mast.conf(timeout=5.0):
        yield mast


@contextmanager
def files_of(files):
    """Serve some files by the name that the archive gives them."""
    with mast_server(Archive(files=files)) as mast, mast.conf(timeout=5.0):
        yield mast, Table({"dataURI": list(files)})


# -- what is stored ---------------------------------------------------------------
def test_columns_of_a_manifest(mast, tmp_path):
    rows = wanted(mast.archive, 3)
    rows["s_ra"].unit = u.deg
    rows["target_name"] = MaskedColumn(rows["target_name"], mask=[True, False, False])
    manifest = build(tmp_path, rows).manifest
    assert manifest.colnames[:2] == ["picture_id", "obs_id"]
    assert {"obsid", "dataURI", "path", "status", "message"} < set(manifest.colnames)
    assert {"width", "height", "size", "sha256", "retrieved"} < set(manifest.colnames)
    assert not {"rank", "similarity"} & set(manifest.colnames)
    assert manifest["target_name"].mask.tolist() == [True, False, False]
    assert manifest["s_ra"].unit == u.deg
    assert manifest["s_ra"].tolist() == rows["s_ra"].tolist()
    assert manifest["obsid"].tolist() == [str(n) for n in rows["obsid"]]
    assert manifest["size"].unit == u.byte
    assert manifest["sha256"][0] != manifest["sha256"][1]


def test_pictures_are_reduced_once_and_keep_their_shape(tmp_path):
    wide = Image.effect_noise((400, 200), 80).convert("RGB")
    stream = io.BytesIO()
    wide.save(stream, "PNG")
    files = {"mast:x/wide.png": stream.getvalue(), "mast:x/small.jpg": picture(1, 90)}
    with files_of(files) as (_, rows):
        store = build(tmp_path, rows)
    manifest = check_store(tmp_path, rows).manifest
    assert manifest["width"].tolist() == [128, 90]
    assert manifest["height"].tolist() == [64, 90]
    expected = np.asarray(wide.resize((128, 64), Image.Resampling.LANCZOS), float)
    found = read_preview(store.pictures()["path"][0])
    assert np.abs(found - expected).mean() < 3
    with Image.open(store.pictures()["path"][0]) as image:
        assert image.format == "JPEG"
        assert image.quantization[0][0] <= 2  # quality 95


def test_pictures_lists_what_is_there(mast, tmp_path):
    mast.archive.files.pop(wanted(mast.archive, 3)["dataURI"][1])
    store = build(tmp_path, wanted(mast.archive, 3))
    assert store.counts == {"wanted": 0, "done": 2, "failed": 1}
    assert len(store) == 3
    table = store.pictures()
    assert len(table) == 2
    assert all(Path(path).is_file() for path in table["path"])
    assert store.manifest["message"][1] == "HTTP status 404 Not Found"
    assert "1 failed" in repr(store)


def test_adding_again_changes_nothing(mast, tmp_path):
    rows = wanted(mast.archive, 6)
    store = PictureStore.create(tmp_path)
    first = store.add(rows[:4])
    assert store.add(rows[[3, 3, 4]]) == [first[3], first[3], store.add(rows[4:5])[0]]
    assert len(store) == 5
    assert PictureStore.open(tmp_path).manifest["dataURI"].tolist() == list(
        rows["dataURI"][:5]
    )


def test_only_some_are_fetched(mast, tmp_path):
    store = PictureStore.create(tmp_path)
    names = store.add(wanted(mast.archive, 6))
    store.fetch(MastClient(), check=read_preview, only=names[2:4])
    assert store.counts == {"wanted": 4, "done": 2, "failed": 0}
    assert [fact["status"] for fact in store.look_up(names[1:3])] == ["wanted", "done"]
    with pytest.raises(InvalidQueryError, match="no picture 'nothing' in"):
        store.fetch(MastClient(), check=read_preview, only=["nothing"])


def test_progress_is_told(mast, tmp_path):
    seen = []
    build(tmp_path, wanted(mast.archive, 4), progress=lambda *n: seen.append(n))
    assert seen == [(1, 4), (2, 4), (3, 4), (4, 4)]


# -- names of the archive ----------------------------------------------------------
def test_names_of_the_archive_never_lead_out_of_the_folder(tmp_path):
    names = [
        "../../../escaped.jpg",
        "/absolute.jpg",
        "..",
        "nul\0byte.jpg",
        "x" * 300 + ".jpg",
        "Case.jpg",
        "case.jpg",
        "CASE.JPG",
        "con.jpg",
        "C:\\windows\\evil.jpg",
        "%2e%2e%2fescaped.jpg",
        "sub/dir.jpg",
        "twice/dir.jpg",
    ]
    rows = Table({"dataURI": [f"mast:HST/product/{name}" for name in names]})
    rows["obs_collection"] = ["../..", "HST", "hst", "", "CON", *["HST"] * 8]
    rows["proposal_id"] = ["../../etc", "/", "..", "\0", *["15500"] * 9]
    files = {uri: picture(n, 64) for n, uri in enumerate(rows["dataURI"])}
    inside = tmp_path / "deep" / "store"
    with files_of(files):
        build(inside, rows)
    store = check_store(inside, rows)
    assert store.counts["done"] == len(names)
    assert list(tmp_path.iterdir()) == [tmp_path / "deep"]
    assert list((tmp_path / "deep").iterdir()) == [inside]
    for name in store.manifest["picture_id"]:
        assert "." not in name  # a dot ends the key of a WebDataset


# -- hostile files -------------------------------------------------------------------
def png_header(width, height):
    body = width.to_bytes(4, "big") + height.to_bytes(4, "big") + b"\x08\x02\0\0\0"
    chunks = b"\x89PNG\r\n\x1a\n"
    for kind, data in ((b"IHDR", body), (b"IDAT", zlib.compress(bytes(1 << 24)))):
        chunks += len(data).to_bytes(4, "big") + kind + data
        chunks += zlib.crc32(kind + data).to_bytes(4, "big")
    return chunks


def test_bad_pictures_are_listed_and_the_rest_goes_on(tmp_path):
    files = {
        "mast:x/bomb.png": png_header(60_000, 60_000),
        "mast:x/wide.png": png_header(9000, 9000),
        "mast:x/text.jpg": b"no picture at all",
        "mast:x/empty.jpg": b"",
        "mast:x/half.jpg": picture(1, 100)[:2000],
        "mast:x/large.jpg": bytes(300_000),
        "mast:x/good.jpg": picture(2, 100),
    }
    with files_of(files) as (mast, rows):
        build(tmp_path, rows, max_bytes=200_000)
        assert len(mast.asked("bomb")) == 2
        assert len(mast.asked("large")) == 1
    manifest = check_store(tmp_path, rows).manifest
    assert manifest["status"].tolist() == ["failed"] * 6 + ["done"]
    assert "bomb" in manifest["message"][0]
    assert "9000 x 9000 pixels" in manifest["message"][1]
    assert "more than the limit of 200000" in manifest["message"][5]
    assert not any(str(tmp_path) in str(text) for text in manifest["message"])


# -- what is found on disk -----------------------------------------------------------
def test_pictures_without_a_record_are_verified_and_recorded(mast, tmp_path):
    rows = wanted(mast.archive, 5)
    store = build(tmp_path / "a", rows)
    other = PictureStore.create(tmp_path / "b", size=128)
    other.add(rows)
    for n, path in enumerate(store.manifest["path"][:4]):
        target = other.folder / path
        target.parent.mkdir(parents=True, exist_ok=True)
        content = (store.folder / path).read_bytes()
        target.write_bytes(content if n else content[:500])  # the first is torn
    before = len(mast.requests)
    other.fetch(MastClient(), check=read_preview)
    assert len(mast.requests) == before + 2
    check_store(tmp_path / "b", rows)
    assert other.manifest["sha256"].tolist() == store.manifest["sha256"].tolist()


def test_lost_and_altered_pictures_are_found_and_fetched_again(mast, tmp_path):
    rows = wanted(mast.archive, 5)
    store = build(tmp_path, rows)
    paths = [tmp_path / path for path in store.manifest["path"]]
    paths[0].unlink()
    content = bytearray(paths[1].read_bytes())
    content[len(content) // 2] ^= 1
    paths[1].write_bytes(content)
    paths[2].write_bytes(b"short")
    (tmp_path / "pictures" / "stray.txt").write_bytes(b"")
    problems = store.verify(repair=True)
    assert problems["problem"].tolist() == [
        "missing",
        "altered",
        "altered",
        "not in the manifest",
    ]
    (tmp_path / "pictures" / "stray.txt").unlink()
    before = len(mast.requests)
    build(tmp_path, rows)
    assert len(mast.requests) == before + 3
    check_store(tmp_path, rows)


def test_a_missing_picture_is_noticed_without_verify(mast, tmp_path):
    rows = wanted(mast.archive, 3)
    store = build(tmp_path, rows)
    (tmp_path / store.manifest["path"][1]).unlink()
    before = len(mast.requests)
    build(tmp_path, rows)
    assert len(mast.requests) == before + 1
    check_store(tmp_path, rows)


def interrupted(folder, rows, after):
    """Build, and stop after some pictures."""

    def progress(number, total):
        if number == after:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        build(folder, rows, progress=progress, workers=2)


def test_an_interruption_leaves_a_clean_folder(mast, tmp_path):
    rows = wanted(mast.archive, 30)
    interrupted(tmp_path, rows, 10)
    names = {path.name for path in tmp_path.iterdir()}
    assert names == {".paperclip.lock", "manifest.parquet", "journal.jsonl", "pictures"}
    assert not list(tmp_path.rglob(".part-*"))
    assert PictureStore.open(tmp_path).counts["done"] >= 10
    build(tmp_path, rows)
    assert check_store(tmp_path, rows).counts["done"] == 30
    assert len(mast.requests) <= 32


@pytest.mark.parametrize("tail", [b'{"picture_id": "hs', b"\n\xff\xfe\n[1]\n{}\n3\n"])
def test_a_torn_journal_is_read_to_the_tear(mast, tmp_path, tail):
    rows = wanted(mast.archive, 20)
    interrupted(tmp_path, rows, 8)
    with (tmp_path / "journal.jsonl").open("ab") as stream:
        stream.write(tail)
    assert PictureStore.open(tmp_path).counts["done"] >= 8
    interrupted(tmp_path, rows, 4)  # appends after the tear
    assert PictureStore.open(tmp_path).counts["done"] >= 12
    build(tmp_path, rows)
    check_store(tmp_path, rows)
    assert len(mast.requests) <= 24


def test_records_survive_when_the_manifest_is_newer_than_the_journal(mast, tmp_path):
    """Killed between the new manifest and the end of the journal."""
    rows = wanted(mast.archive, 9)
    interrupted(tmp_path, rows, 5)
    old = (tmp_path / "journal.jsonl").read_bytes()
    build(tmp_path, rows)
    (tmp_path / "journal.jsonl").write_bytes(old)
    before = len(mast.requests)
    build(tmp_path, rows)
    assert len(mast.requests) == before
    check_store(tmp_path, rows)


def test_unfinished_files_of_a_killed_process_go(mast, tmp_path):
    rows = wanted(mast.archive, 2)
    store = build(tmp_path, rows)
    (tmp_path / ".part-1-manifest.parquet").write_bytes(b"x")
    (tmp_path / store.manifest["path"][0]).with_name(".part-2-a.jpg").write_bytes(b"x")
    build(tmp_path, rows)
    check_store(tmp_path, rows)


# -- folders that cannot be used -------------------------------------------------------
def test_two_builds_in_one_folder(mast, tmp_path):
    store = PictureStore.create(tmp_path)
    with (
        lock_folder(tmp_path),
        pytest.raises(DataSetError, match="another process is writing to"),
    ):
        store.add(wanted(mast.archive, 2))
    assert store.add(wanted(mast.archive, 2), wait=5.0)


def test_no_store(tmp_path):
    with pytest.raises(DataSetError, match=r"holds no manifest\.parquet"):
        PictureStore.open(tmp_path)
    PictureStore.create(tmp_path)
    with pytest.raises(DataSetError, match="holds pictures already"):
        PictureStore.create(tmp_path)
    with pytest.raises(DataSetError, match="pictures of 512 pixels, got size=256"):
        PictureStore.open_or_create(tmp_path, size=256)
    with pytest.raises(InvalidQueryError, match="size must be at least 16, got 3"):
        PictureStore.create(tmp_path / "b", size=3)


def test_rows_without_a_uri(tmp_path):
    store = PictureStore.create(tmp_path)
    with pytest.raises(InvalidQueryError, match="must have a column 'dataURI'"):
        store.add(Table({"obs_id": ["a"]}))
    with pytest.raises(InvalidQueryError, match=r"rows\[1\] has no dataURI"):
        store.add(Table({"dataURI": ["a", ""]}))
    with pytest.raises(DataSetError, match="column 's_ra' cannot be read as float64"):
        store.add(Table({"dataURI": ["a"], "s_ra": ["here"]}))
    assert len(store) == 0


@pytest.mark.parametrize("content", [b"", b"PAR1", b"PAR1" + bytes(100) + b"PAR1"])
def test_damaged_manifest(tmp_path, content):
    PictureStore.create(tmp_path)
    (tmp_path / "manifest.parquet").write_bytes(content)
    with pytest.raises(DataSetError, match="cannot be read as a manifest"):
        PictureStore.open(tmp_path)


@pytest.mark.parametrize(
    ("column", "value"),
    [
        ("path", "pictures/HST/../../../etc/passwd"),
        ("path", "/etc/passwd"),
        ("path", "pictures/HST/1/other.jpg"),
        ("picture_id", "../a"),
        ("picture_id", None),
        ("status", "nonsense"),
    ],
)
def test_a_manifest_of_somebody_else_leads_nowhere(tmp_path, column, value):
    import pyarrow as pa
    from pyarrow import parquet

    store = PictureStore.create(tmp_path)
    store.add(Table({"dataURI": ["mast:x/a.jpg"]}))
    path = tmp_path / "manifest.parquet"
    table = parquet.read_table(path)
    place = table.column_names.index(column)
    field = table.field(column)
    table = table.set_column(place, field, pa.array([value], field.type))
    parquet.write_table(table, path)
    with pytest.raises(DataSetError, match="row 0 is not one that this package wrote"):
        PictureStore.open(tmp_path)


# -- disks and archives that fail ----------------------------------------------------
@pytest.fixture(name="small_disk")
def fixture_small_disk(tmp_path):
    """A file system of 128 KiB that can be made larger, or read-only."""
    folder = tmp_path / "disk"
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=128k", "tmpfs", str(folder)]
    try:
        done = subprocess.run(command, capture_output=True, check=False)
    except OSError:
        done = None
    if done is None or done.returncode:
        pytest.skip("needs the right to mount a small file system")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)


def remount(folder, option):
    command = ["mount", "-o", f"remount,{option}", str(folder)]
    subprocess.run(command, check=True)


def test_full_disk(mast, small_disk):
    rows = wanted(mast.archive, 40)
    folder = small_disk / "store"
    with pytest.raises(DataSetWriteError, match="No space left on device"):
        build(folder, rows)
    store = PictureStore.open(folder)
    done = store.counts["done"]
    assert done > 2
    assert not [p for p in store.verify()["problem"] if p in ("missing", "altered")]
    assert not list(folder.rglob(".part-*"))
    with pytest.raises(DataSetWriteError, match="make room"):
        build(folder, rows)
    remount(small_disk, "size=8m")
    before = len(mast.requests)
    build(folder, rows)
    assert check_store(folder, rows).counts["done"] == 40
    assert len(mast.requests) - before <= 40 - done


def test_read_only_folder(mast, small_disk):
    rows = wanted(mast.archive, 3)
    PictureStore.create(small_disk, size=128).add(rows)
    remount(small_disk, "ro")
    with pytest.raises(DataSetWriteError, match="Read-only file system"):
        build(small_disk, rows)
    assert PictureStore.open(small_disk).counts["wanted"] == 3
    with pytest.raises(DataSetWriteError, match="Read-only file system"):
        PictureStore.create(small_disk / "new")
    assert not mast.requests


@pytest.mark.skipif(sys.platform == "win32", reason="no limits of resources")
@pytest.mark.parametrize("limit", [100, 3000, 5000])
def test_a_limit_of_the_system_at_any_place(mast, tmp_path, limit):
    """The journal, the manifest or a picture may be what does not fit."""
    import resource

    rows = wanted(mast.archive, 40)
    build(tmp_path, rows[:4])
    kind = resource.RLIMIT_FSIZE
    old = resource.getrlimit(kind)
    resource.setrlimit(kind, (limit, old[1]))
    try:
        with pytest.raises(DataSetWriteError, match="File too large"):
            build(tmp_path, rows)
    finally:
        resource.setrlimit(kind, old)
    assert PictureStore.open(tmp_path).counts["done"] >= 4
    assert not list(tmp_path.rglob(".part-*"))
    build(tmp_path, rows)
    assert check_store(tmp_path, rows).counts["done"] == 40


def test_an_outage_is_not_held_against_the_pictures(mast, tmp_path):
    rows = wanted(mast.archive, 40)
    build(tmp_path, rows[:5])
    mast.faults.always("unavailable")
    with (
        mast.conf(retries=2),
        pytest.raises(RemoteServiceError, match="did not answer for 16 pictures"),
    ):
        build(tmp_path, rows)
    assert PictureStore.open(tmp_path).counts == {"wanted": 35, "done": 5, "failed": 0}
    mast.faults.clear()
    build(tmp_path, rows)
    assert check_store(tmp_path, rows).counts["done"] == 40


def test_few_failures_for_passing_reasons_are_listed(mast, tmp_path):
    rows = wanted(mast.archive, 20)
    for uri in rows["dataURI"][3:8]:
        mast.faults.always("error", where=uri)
    with mast.conf(retries=2):
        build(tmp_path, rows)
    store = check_store(tmp_path, rows)
    assert store.counts == {"wanted": 0, "done": 15, "failed": 5}
    assert store.manifest["message"][3].endswith("(tried 2 times)")


def test_a_check_that_refuses_everything(mast, tmp_path):
    def check(content):
        raise ImageConversionError("not today\nnor\ttomorrow " + "x" * 500)

    store = PictureStore.create(tmp_path)
    store.add(wanted(mast.archive, 2))
    store.fetch(MastClient(), check=check)
    message = store.manifest["message"][0]
    assert message.startswith("not today nor tomorrow")
    assert len(message) == 300


def test_the_manifest_is_written_at_intervals(mast, tmp_path, monkeypatch):
    monkeypatch.setattr("paperclip.mast._store._EVERY", 5)
    interrupted(tmp_path, wanted(mast.archive, 20), 12)
    (tmp_path / "journal.jsonl").unlink()
    assert PictureStore.open(tmp_path).counts["done"] == 10
