# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""Indexes from folders, tables, FITS files and MAST, also stopped half-way."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from astropy import units as u
from astropy.io import fits
from astropy.table import MaskedColumn, Table
from astropy.wcs import WCS

from paperclip.exceptions import (
    ImageConversionError,
    IndexExistsError,
    IndexNotFoundError,
    IndexWriteError,
    InvalidQueryError,
    InvalidRowsError,
    ModelMismatchError,
    OfflineError,
)
from paperclip.imaging import load_picture, read_preview
from paperclip.index import Index, build_index
from paperclip.index._fitsworker import FitsPool
from paperclip.index._headers import row_from_picture
from paperclip.index._readers import read_ahead, stem_of
from paperclip.mast import MastClient
from paperclip.models import load_encoder

from ..mast_server import mast_server, small_archive
from ..tiny_models import tiny_model_directory
from .build_helpers import draw, failures, ids

ROOT = Path(__file__).parents[2]


@pytest.fixture(name="encoder", scope="module")
def fixture_encoder(tmp_path_factory):
    return load_encoder(tiny_model_directory(tmp_path_factory.mktemp("m") / "tiny"))


@pytest.fixture(name="other", scope="module")
def fixture_other(tmp_path_factory):
    return load_encoder(tiny_model_directory(tmp_path_factory.mktemp("m") / "b", 1))


@pytest.fixture(name="folder")
def fixture_folder(tmp_path):
    return draw(tmp_path / "pictures", [f"p{i:02d}.jpg" for i in range(10)])


def sky_image(path, *, side=64, seed=0, **cards):
    """Write a FITS image with coordinates."""
    wcs = WCS(naxis=2)
    wcs.wcs.ctype = ["RA---TAN", "DEC--TAN"]
    wcs.wcs.crval = [150.0, 2.0]
    wcs.wcs.crpix = [side / 2 + 0.5] * 2
    wcs.wcs.cdelt = [-1e-4, 1e-4]
    data = np.random.default_rng(seed).normal(size=(side, side)).astype("f4")
    hdu = fits.PrimaryHDU(data, wcs.to_header())
    hdu.header.update({key.replace("_", "-"): v for key, v in cards.items()})
    path.parent.mkdir(parents=True, exist_ok=True)
    hdu.writeto(path)
    return path


# ---- a folder of pictures


def test_folder_of_pictures(folder, encoder, tmp_path):
    draw(folder, ["deep/er/z.png", "deep/a.TIF", ".hidden.jpg", ".git/b.jpg"])
    (folder / "notes.txt").write_text("not a picture")
    (folder / "round").symlink_to(folder)
    report = build_index(tmp_path / "ix", source=folder, encoder=encoder, batch_size=4)
    names = [f"p{i:02d}" for i in range(10)]
    assert ids(report.index) == [*names, "a", "z"]
    assert (report.n_source, report.n_new, report.n_added) == (12, 12, 12)
    assert (report.n_present, report.n_failed, report.complete) == (0, 0, True)
    assert not report.failures.exists()
    assert "1 files that are no pictures by name were left out" in report.notes
    assert "1 links to folders were not followed" in report.notes
    table = report.index.to_table()
    assert table["dataURI"][0] == (folder / "p00.jpg").as_uri()
    pictures = [read_preview(folder / f"{name}.jpg") for name in names]
    expected = encoder.encode_images(pictures, batch_size=4)
    found = report.index.vectors()[:10]
    assert (found * expected).sum(axis=1) == pytest.approx(np.ones(10), abs=1e-3)
    assert report.index.model == encoder.name


def test_finished_build_does_nothing_again(folder, encoder, tmp_path):
    first = build_index(tmp_path / "ix", source=folder, encoder=encoder)
    draw(folder, ["new.png"])
    (folder / "p00.jpg").write_bytes(b"would fail if it were read")
    again = build_index(tmp_path / "ix", source=folder, encoder=encoder)
    assert again.index.version == first.index.version
    assert (again.n_added, again.n_present, again.n_new) == (0, 10, 1)
    assert again.n_failed == 0
    assert "1 files are new in the source; update=True" in again.notes[0]


def test_update_embeds_only_what_is_new(folder, encoder, tmp_path):
    first = build_index(tmp_path / "ix", source=folder, encoder=encoder)
    for path in folder.iterdir():
        path.write_bytes(b"would fail if it were read")
    draw(folder, ["new.png"])
    options = {"source": folder, "encoder": encoder, "update": True}
    report = build_index(tmp_path / "ix", **options)
    assert (report.n_added, report.n_failed) == (1, 0)
    assert ids(report.index) == [*ids(first.index), "new"]
    elsewhere = draw(tmp_path / "more", ["m1.jpg", "p00.jpg"])
    options["source"] = elsewhere
    report = build_index(tmp_path / "ix", **options)
    assert (report.n_added, report.n_present) == (1, 1)


def test_existing_index_needs_update(folder, encoder, tmp_path):
    index = Index.create(
        tmp_path / "ix",
        fingerprint=encoder.fingerprint,
        dimension=encoder.dimension,
    )
    with pytest.raises(IndexExistsError, match=r"already.*update=True \(--update"):
        build_index(index.uri, source=folder, encoder=encoder)
    report = build_index(index.uri, source=folder, encoder=encoder, update=True)
    assert report.n_added == 10


def test_index_of_another_model_is_refused(folder, encoder, other, tmp_path):
    build_index(tmp_path / "ix", source=folder, encoder=encoder)
    for options in ({}, {"update": True}, {"dry_run": True}):
        with pytest.raises(ModelMismatchError, match="rebuild the index with this one"):
            build_index(tmp_path / "ix", source=folder, encoder=other, **options)


def test_dry_run_changes_nothing(folder, encoder, tmp_path):
    before = sorted(tmp_path.rglob("*"))
    report = build_index(
        tmp_path / "ix", source=folder, encoder="no/such-model", dry_run=True
    )
    assert (report.n_new, report.n_added, report.index) == (10, 0, None)
    assert sorted(tmp_path.rglob("*")) == before
    build_index(tmp_path / "ix", source=folder, encoder=encoder)
    draw(folder, ["new.png"])
    options = {"source": folder, "encoder": encoder, "dry_run": True}
    report = build_index(tmp_path / "ix", update=True, **options)
    assert (report.n_new, report.n_present, len(report.index)) == (1, 10, 10)


def test_interrupted_build_goes_on(folder, encoder, tmp_path):
    def stop(state):
        if state.stage == "embedding" and state.done >= 4:
            raise KeyboardInterrupt

    options = {"source": folder, "encoder": encoder, "batch_size": 2}
    with pytest.raises(KeyboardInterrupt):
        build_index(tmp_path / "ix", progress=stop, **options)
    done = ids(Index.open(tmp_path / "ix"))
    assert done == ["p00", "p01", "p02", "p03"]  # what was encoded is kept
    for name in done:
        (folder / f"{name}.jpg").write_bytes(b"would fail if it were read")
    report = build_index(tmp_path / "ix", **options)
    assert (report.n_added, report.n_present, report.n_failed) == (6, 4, 0)


def test_source_that_goes_away(folder, encoder, tmp_path):
    away = tmp_path / "away"

    def unmount(state):
        if state.done == 2 and folder.exists():
            folder.rename(away)

    options = {"source": folder, "encoder": encoder, "batch_size": 2, "workers": 1}
    with pytest.raises(InvalidQueryError, match="is no longer there"):
        build_index(tmp_path / "ix", progress=unmount, **options)
    kept = len(Index.open(tmp_path / "ix"))
    assert 2 <= kept < 10
    away.rename(folder)
    report = build_index(tmp_path / "ix", **options)
    assert (report.n_added, report.n_failed) == (10 - kept, 0)


def test_progress_tells_rate_and_time_left(folder, encoder, tmp_path):
    states = []
    options = {"source": folder, "encoder": encoder, "batch_size": 3}
    build_index(tmp_path / "ix", progress=states.append, **options)
    assert states[0].stage == "listing"
    embedding = [state for state in states if state.stage == "embedding"]
    assert [state.done for state in embedding[:3]] == [3, 6, 9]
    assert {state.total for state in embedding} == {10}
    assert embedding[0].rate > 0
    assert embedding[0].seconds_left == pytest.approx(7 / embedding[0].rate)


def test_commits_are_batches(folder, encoder, tmp_path):
    options = {"source": folder, "encoder": encoder, "batch_size": 2}
    one = build_index(tmp_path / "a", **options)
    assert one.index.version == 2
    many = build_index(tmp_path / "b", commit_rows=4, **options)
    assert many.index.version == 4
    often = build_index(tmp_path / "c", commit_seconds=0, **options)
    assert often.index.version == 6


# ---- what fails


def test_failed_rows_stay_with_their_reason(folder, encoder, tmp_path):
    (folder / "p03.jpg").write_bytes((folder / "p03.jpg").read_bytes()[:400])
    (folder / "text.fits").write_text("no FITS at all")
    (folder / "p05.jpg").unlink()
    (folder / "p05.jpg").symlink_to(folder / "nowhere")
    report = build_index(tmp_path / "ix", source=folder, encoder=encoder, batch_size=2)
    assert (report.n_added, report.n_failed, report.complete) == (8, 3, True)
    found = failures(report)
    assert set(found) == {"p03", "text", "p05"}
    assert {status for status, _ in found.values()} == {"failed"}
    assert "cannot be read as a picture" in found["p03"][1]
    assert "not a readable FITS" in found["text"][1]
    assert "FileNotFoundError" in found["p05"][1]

    draw(folder, ["p03.jpg"])  # mended, but nobody asks to try again
    options = {"source": folder, "encoder": encoder}
    again = build_index(tmp_path / "ix", update=True, **options)
    assert (again.n_added, again.n_failed) == (0, 3)
    retried = build_index(tmp_path / "ix", retry_failed=True, **options)
    assert (retried.n_added, retried.n_failed) == (1, 2)
    assert set(failures(retried)) == {"text", "p05"}
    (folder / "p05.jpg").unlink()
    draw(folder, ["p05.jpg"])
    (folder / "text.fits").unlink()
    sky_image(folder / "text.fits")
    last = build_index(tmp_path / "ix", retry_failed=True, **options)
    assert (last.n_added, last.n_failed) == (2, 0)
    assert not last.failures.exists()


def test_retry_does_not_add_new_files(folder, encoder, tmp_path):
    (folder / "p03.jpg").write_bytes(b"\xff\xd8\xff")
    options = {"source": folder, "encoder": encoder}
    build_index(tmp_path / "ix", **options)
    draw(folder, ["p03.jpg", "new.png"])
    report = build_index(tmp_path / "ix", retry_failed=True, **options)
    assert (report.n_added, report.n_new) == (1, 1)


def test_all_files_may_fail(encoder, tmp_path):
    (tmp_path / "in").mkdir()
    for i in range(5):
        (tmp_path / "in" / f"{i}.jpg").write_bytes(b"nothing")
    report = build_index(tmp_path / "ix", source=tmp_path / "in", encoder=encoder)
    assert (report.n_added, report.n_failed, len(report.index)) == (0, 5, 0)


def test_repeated_obs_id_is_reported(folder, encoder, tmp_path):
    draw(folder, ["p00.png", "sub/p00.jpg"])
    report = build_index(tmp_path / "ix", source=folder, encoder=encoder)
    assert (report.n_source, report.n_added, report.n_repeated) == (10, 10, 2)
    table = Table.read(report.failures, format="ascii.ecsv")
    assert table["status"].tolist() == ["repeated"] * 2
    assert f"{folder / 'p00.jpg'} has the same obs_id" in table["reason"][0]
    again = build_index(tmp_path / "ix", source=folder, encoder=encoder, update=True)
    assert (again.n_added, again.n_repeated) == (0, 2)


def test_names_may_hold_anything(encoder, tmp_path):
    folder = tmp_path / "ö ä"
    draw(folder, ["with 'quotes' \"and\" #hash.jpg", "née β.jpg", "line\nbreak.jpg"])
    (folder / "bad\n\x1bname.jpg").write_bytes(b"x")
    raw = os.fsencode(folder) + b"/\xff\xfe.jpg"
    Path(os.fsdecode(raw)).write_bytes((folder / "née β.jpg").read_bytes())
    report = build_index(tmp_path / "ix", source=folder, encoder=encoder)
    assert set(ids(report.index)) == {
        "with 'quotes' \"and\" #hash",
        "née β",
        "line\\nbreak",
        "\\udcff\\udcfe",
    }
    assert set(failures(report)) == {"bad\\n\\x1bname"}
    again = build_index(tmp_path / "ix", source=folder, encoder=encoder, update=True)
    assert (again.n_added, again.n_failed) == (0, 1)


def test_damaged_table_of_failures(folder, encoder, tmp_path):
    (folder / "p03.jpg").write_bytes(b"x")
    report = build_index(tmp_path / "ix", source=folder, encoder=encoder)
    report.failures.write_text("# %ECSV 1.0\nrubbish")
    with pytest.raises(InvalidRowsError, match="remove it, and what failed"):
        build_index(tmp_path / "ix", source=folder, encoder=encoder)


def test_two_builds_at_once_are_refused(folder, encoder, tmp_path):
    code = (
        "import fcntl, sys; f = open(sys.argv[1], 'ab'); "
        "fcntl.flock(f, fcntl.LOCK_EX); print(flush=True); sys.stdin.read()"
    )
    (tmp_path / "ix.build").mkdir()
    holder = subprocess.Popen(
        [sys.executable, "-c", code, str(tmp_path / "ix.build" / "build.lock")],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    with holder:
        holder.stdout.readline()
        with pytest.raises(IndexWriteError, match="another process is building"):
            build_index(tmp_path / "ix", source=folder, encoder=encoder)
        holder.stdin.close()


def test_state_folder_that_cannot_be_made(folder, encoder, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(IndexWriteError, match="cannot write the notes of the build"):
        build_index(
            tmp_path / "ix",
            source=folder,
            encoder=encoder,
            state=tmp_path / "file" / "state",
        )


@pytest.mark.parametrize("kind", ["file", "folder"])
def test_place_that_is_taken(folder, encoder, tmp_path, kind):
    place = tmp_path / "ix"
    if kind == "file":
        place.write_text("")
    else:
        draw(place, ["mine.jpg"])
    with pytest.raises(IndexExistsError, match="needs a directory of its own"):
        build_index(place, source=folder, encoder=encoder)


@pytest.mark.parametrize(
    ("source", "match"),
    [
        ("nowhere", "there is no folder or file 'nowhere'"),
        ("s3://bucket/pictures", "must be on this machine"),
        (__file__, "no picture, FITS file or table by its name"),
        (7, "must be a folder, a table, files or criteria for MAST, got int"),
        ([7], "must hold paths, got 7"),
        (Table({"a": [1]}), "must have a column path, file"),
        (Table({"dataURI": ["mast:HST/a.jpg"]}), "fetch the pictures first"),
    ],
)
def test_bad_sources(encoder, tmp_path, source, match):
    with pytest.raises(InvalidQueryError, match=match):
        build_index(tmp_path / "ix", source=source, encoder=encoder)
    assert not list(tmp_path.iterdir())


def test_empty_folder(encoder, tmp_path):
    (tmp_path / "in").mkdir()
    with pytest.raises(InvalidQueryError, match="holds no picture and no FITS file"):
        build_index(tmp_path / "ix", source=tmp_path / "in", encoder=encoder)


@pytest.mark.parametrize("name", ["batch_size", "workers", "commit_rows"])
def test_bad_numbers(folder, encoder, tmp_path, name):
    with pytest.raises(InvalidQueryError, match=f"{name} must be at least 1, got 0"):
        build_index(tmp_path / "ix", source=folder, encoder=encoder, **{name: 0})


def test_missing_index_says_how_to_build_one(tmp_path):
    with pytest.raises(IndexNotFoundError, match="'paperclip index build'"):
        Index.open(tmp_path / "nothing")


def test_encoder_with_the_least_that_is_needed(folder, encoder, tmp_path):
    class Least:
        fingerprint = "least"
        encode_images = staticmethod(encoder.encode_images)
        encode_texts = staticmethod(encoder.encode_texts)

    least = build_index(tmp_path / "a", source=folder, encoder=Least())
    full = build_index(tmp_path / "b", source=folder, encoder=encoder)
    cosines = (least.index.vectors() * full.index.vectors()).sum(axis=1)
    assert cosines == pytest.approx(np.ones(10), abs=1e-3)
    assert least.index.fingerprint == "least"


# ---- metadata


def known(names, **more):
    table = Table({"file": names})
    table["target_name"] = [f"NGC {i}" for i in range(len(names))]
    table["proposal_id"] = [1000 + i for i in range(len(names))]
    table["s_ra"] = np.arange(len(names)) * u.hourangle
    for name, values in more.items():
        table[name] = values
    return table


@pytest.mark.parametrize("form", ["csv", "ecsv", "parquet", "vot", "table"])
def test_metadata_are_matched_by_the_name_of_the_file(folder, encoder, tmp_path, form):
    names = [f"p{i:02d}.jpg" for i in reversed(range(9))]
    table = known(names, redshift=np.linspace(0, 1, 9), note=["x"] * 9)
    table["s_ra"] = table["s_ra"].to(u.deg)
    if form != "table":
        path = tmp_path / f"rows.{form}"
        table.write(path, **({"format": "votable"} if form == "vot" else {}))
        table = path
    report = build_index(
        tmp_path / "ix",
        source=folder,
        encoder=encoder,
        metadata=table,
        extra_columns="redshift",
    )
    found = report.index.to_table()
    assert found["obs_id"].tolist() == [f"p{i:02d}" for i in range(10)]
    assert found["target_name"].tolist()[:9] == [f"NGC {8 - i}" for i in range(9)]
    assert found["proposal_id"].tolist()[:2] == ["1008", "1007"]
    assert found["s_ra"].tolist()[:2] == pytest.approx([120, 105])
    assert found["redshift"].tolist()[0] == 1.0
    assert np.ma.is_masked(found["target_name"][9])
    assert "1 files have no row in the metadata" in report.notes
    assert "columns not kept: note (extra_columns keeps them)" in report.notes


@pytest.mark.parametrize(
    "column",
    [
        {"path": ["sub/a.jpg", "b.png"]},
        {"productFilename": ["a.jpg", "b.png"]},
        {"file": ["some/where/a.jpg", "else/b.png"]},
        {"jpegURL": ["mast:HST/product/a.jpg", "https://x/file?uri=mast:HST/b.png"]},
    ],
)
def test_ways_to_name_a_file(encoder, tmp_path, column):
    folder = draw(tmp_path / "in", ["sub/a.jpg", "b.png"])
    table = Table({**column, "obs_id": ["first", "second"]})
    report = build_index(
        tmp_path / "ix", source=folder, encoder=encoder, metadata=table
    )
    assert sorted(ids(report.index)) == ["first", "second"]


def test_obs_id_alone_names_the_stem(encoder, tmp_path):
    folder = draw(tmp_path / "in", ["sub/a.jpg", "b.png"])
    table = Table({"obs_id": ["b", "a", "c"], "filters": ["F1", "F2", "F3"]})
    report = build_index(
        tmp_path / "ix", source=folder, encoder=encoder, metadata=table
    )
    assert report.index.to_table(["filters"])["filters"].tolist() == ["F1", "F2"]
    assert "1 rows of the metadata belong to no file" in report.notes


@pytest.mark.parametrize(
    ("table", "match"),
    [
        (known(["p00.jpg", "p00.jpg"]), "names the file 'p00.jpg' in rows 0 and 1"),
        (known(["q.jpg"]), "no row for any of 10 files: the first file is 'p00.jpg'"),
        (Table({"a": [1]}), "must say which file a row belongs to"),
        (known(["p00.jpg"], s_dec=[95.0]), "'s_dec' must be within -90 to 90"),
        (known(["p00.jpg"], t_min=["soon"]), "'t_min' must hold float64"),
        ("rows.csv", "cannot be read as a table"),
    ],
)
def test_bad_metadata(folder, encoder, tmp_path, table, match):
    with pytest.raises(InvalidRowsError, match=match):
        build_index(tmp_path / "ix", source=folder, encoder=encoder, metadata=table)


def test_metadata_of_an_unknown_kind(folder, encoder, tmp_path):
    with pytest.raises(InvalidQueryError, match=r"metadata must end in \.csv"):
        build_index(tmp_path / "ix", source=folder, encoder=encoder, metadata="a.doc")


def test_unknown_extra_column(folder, encoder, tmp_path):
    options = {"source": folder, "encoder": encoder, "extra_columns": ["redshft"]}
    with pytest.raises(InvalidQueryError, match="did you mean 'redshift'"):
        build_index(
            tmp_path / "ix", metadata=known(["p00.jpg"], redshift=[1.0]), **options
        )
    with pytest.raises(InvalidQueryError, match="there is no table of metadata"):
        build_index(tmp_path / "ix", **options)
    options["extra_columns"] = "redshift"  # nothing is in the way of another try
    report = build_index(
        tmp_path / "ix", metadata=known(["p00.jpg"], redshift=[1.0]), **options
    )
    assert report.n_added == 10


def test_table_of_files(encoder, tmp_path):
    folder = draw(tmp_path / "in", ["a.jpg", "b.jpg", "c.jpg", "d.jpg"])
    paths = ["c.jpg", (folder / "a.jpg").as_uri(), str(folder / "b.jpg"), "", "e.jpg"]
    table = Table({"path": [*paths, "ftp://example.org/x.jpg"]})
    table["obs_id"] = MaskedColumn(list("CABDEX"), mask=[0, 0, 1, 0, 0, 0])
    table["filters"] = ["f1", "f2", "f3", "f4", "f5", "f6"]
    table.write(folder / "rows.ecsv")
    report = build_index(tmp_path / "ix", source=folder / "rows.ecsv", encoder=encoder)
    found = report.index.to_table(["obs_id", "filters"])
    assert found["obs_id"].tolist() == ["C", "A", "b"]
    assert found["filters"].tolist() == ["f1", "f2", "f3"]
    reasons = failures(report)
    assert reasons["D"] == ("absent", "the row has no path")
    assert reasons["X"][0] == "absent"
    assert reasons["E"][0] == "failed"
    again = build_index(tmp_path / "ix", source=folder / "rows.ecsv", encoder=encoder)
    assert (again.n_added, again.n_failed) == (0, 3)


def test_list_of_files(folder, encoder, tmp_path, monkeypatch):
    monkeypatch.chdir(folder)
    files = ["p03.jpg", folder / "p01.jpg"]
    report = build_index(tmp_path / "ix", source=files, encoder=encoder)
    assert ids(report.index) == ["p03", "p01"]
    again = build_index(tmp_path / "ix", source=files, encoder=encoder)
    assert again.n_added == 0


@pytest.mark.parametrize(
    ("name", "stem"),
    [
        ("a.b.jpg", "a.b"),
        ("a.fits.gz", "a"),
        ("A.FITS.FZ", "A"),
        ("x_drz.fz", "x_drz"),
        (".jpg", ".jpg"),
        ("plain", "plain"),
    ],
)
def test_stems(name, stem):
    assert stem_of(name) == stem


# ---- FITS files


def test_fits_files_fill_their_rows(encoder, tmp_path):
    cards = {
        "TELESCOP": "HST",
        "INSTRUME": "WFC3",
        "DETECTOR": "IR",
        "FILTER": "F160W",
        "TARGNAME": "NGC-628",
        "PROPOSID": 15513,
        "PR_INV_L": "Hubble",
        "EXPSTART": 58000.5,
        "EXPEND": 58000.75,
    }
    path = sky_image(tmp_path / "in" / "one.fits")
    with fits.open(path, mode="update") as hdus:
        hdus[0].header.update(cards)
    sky_image(tmp_path / "in" / "two.fits", seed=1)
    table = Table({"file": ["one.fits"], "target_name": ["from the table"]})
    report = build_index(
        tmp_path / "ix", source=tmp_path / "in", encoder=encoder, metadata=table
    )
    assert report.n_failed == 0
    one, two = report.index.to_table()
    assert one["obs_collection"] == "HST"
    assert one["instrument_name"] == "WFC3/IR"
    assert one["filters"] == "F160W"
    assert one["target_name"] == "from the table"
    assert one["proposal_id"] == "15513"
    assert one["proposal_pi"] == "Hubble"
    assert (one["t_min"], one["t_max"]) == (58000.5, 58000.75)
    assert (one["s_ra"], one["s_dec"]) == pytest.approx((150, 2), abs=1e-6)
    words = one["s_region"].split()
    assert words[:2] == ["POLYGON", "ICRS"]
    corners = np.array(words[2:], dtype=float).reshape(4, 2)
    np.testing.assert_allclose(np.abs(corners - [150, 2]), 32e-4, rtol=1e-2)
    assert two["s_ra"] == pytest.approx(150)
    expected = encoder.encode_images([load_picture(path).rgb])
    assert float(report.index.vectors()[0] @ expected[0]) > 0.998


@pytest.mark.parametrize(
    ("facts", "row"),
    [
        ({"date_obs": "2020-01-01", "time_obs": "12:00:00"}, {"t_min": 58849.5}),
        ({"date_obs": "2020-01-01T06:00:00", "exposure": "8640"},
         {"t_min": 58849.25, "t_max": 58849.35}),
        ({"date_obs": "01/02/99"}, {}),
        ({"mjd_start": "nan", "mjd_end": "1e300"}, {}),
        ({"mjd_start": "0"}, {}),
        ({"mjd_start": "58001", "mjd_end": "58000"}, {"t_min": 58001.0}),
        ({"target_ra": "370", "target_dec": "1"}, {}),
        ({"target_ra": "10", "target_dec": "1"}, {"s_ra": 10.0, "s_dec": 1.0}),
        ({"telescope": "JWST", "instrument": "NIRCAM", "proposal_id": "02739"},
         {"obs_collection": "JWST", "instrument_name": "NIRCAM/IMAGE",
          "proposal_id": "2739"}),
        ({"proposal_id": "000"}, {"proposal_id": "000"}),
    ],
)  # fmt: skip
def test_headers_that_say_odd_things(facts, row):
    picture = load_picture(np.arange(400.0).reshape(20, 20))
    picture.meta.update(facts)
    assert row_from_picture(picture) == pytest.approx(row)


def test_content_decides_what_a_file_is(encoder, tmp_path):
    draw(tmp_path / "in", ["a.jpg"])
    (tmp_path / "in" / "a.jpg").rename(tmp_path / "in" / "a.fits")
    sky_image(tmp_path / "b.fits").rename(tmp_path / "in" / "b.jpg")
    report = build_index(tmp_path / "ix", source=tmp_path / "in", encoder=encoder)
    assert (report.n_added, report.n_failed) == (2, 0)


def test_process_that_dies_costs_one_file(tmp_path):
    path = str(sky_image(tmp_path / "a.fits"))
    pool = FitsPool(1)
    try:
        first, _ = pool.convert(path)
        worker = pool._places.get()
        worker.kill()
        worker.wait()
        pool._places.put(worker)
        with pytest.raises(ImageConversionError, match="ended with code -9"):
            pool.convert(path)
        again, row = pool.convert(path)
        np.testing.assert_array_equal(again, first)
        np.testing.assert_array_equal(again, load_picture(path).rgb)
        assert row["s_ra"] == pytest.approx(150)
    finally:
        pool.close()


def test_conversion_that_hangs_is_given_up(tmp_path):
    fifo = tmp_path / "a.fits"
    os.mkfifo(fifo)  # nobody ever writes to it
    pool = FitsPool(1, timeout=0.2)
    try:
        with pytest.raises(ImageConversionError, match=r"longer than 0\.2 s"):
            pool.convert(str(fifo))
    finally:
        pool.close()


# ---- reading ahead


def test_reading_is_never_far_ahead():
    started = []

    def read(item):
        started.append(item)
        return item, {}

    for taken, loaded in enumerate(read_ahead(range(100), read, workers=3, ahead=8)):
        assert loaded.item == taken
        assert len(started) <= taken + 8 + 1
    assert sorted(started) == list(range(100))


def test_reading_overlaps_with_the_work():
    def read(item):
        time.sleep(0.05)
        return item, {}

    start = time.monotonic()
    for _ in read_ahead(range(12), read, workers=2, ahead=8):
        time.sleep(0.05)
    assert time.monotonic() - start < 12 * 0.1


def test_reading_stops_when_it_is_not_wanted():
    started = []

    def read(item):
        started.append(item)
        return item, {}

    reading = read_ahead(range(10**9), read, workers=2, ahead=4)
    next(reading)
    reading.close()
    assert len(started) <= 5


# ---- MAST

HST = {"obs_collection": "HST", "proposal_id": ["15500", "15526"]}


def test_selection_of_mast(encoder, tmp_path):
    options = {"source": HST, "encoder": encoder}
    with mast_server(small_archive(size=60)) as mast, mast.conf():
        report = build_index(tmp_path / "ix", **options)
        assert report.n_added == 10
        assert report.n_failed == 0
        table = report.index.to_table()
        assert set(table["obs_collection"]) == {"HST"}
        assert set(table["proposal_id"]) == {"15500", "15526"}
        assert all(uri.startswith("mast:HST/") for uri in table["dataURI"])
        assert np.isfinite(table["s_ra"]).all()
        del mast.requests[:]
        again = build_index(tmp_path / "ix", **options)
        assert (again.n_added, again.n_present, mast.requests) == (0, 10, [])

        wider = {"obs_collection": "HST", "proposal_id": ["15500", "15513", "15526"]}
        with pytest.raises(IndexExistsError, match="--update"):
            build_index(tmp_path / "ix", source=wider, encoder=encoder)
        assert mast.requests == []
        report = build_index(
            tmp_path / "ix", source=wider, encoder=encoder, update=True
        )
        assert report.n_present == 10
        assert report.n_added == 4
        fetched = [r for r in mast.requests if r.where == "download"]
        assert len(fetched) == 4


def test_selection_that_lost_a_file(encoder, tmp_path):
    archive = small_archive(size=60)
    options = {"source": HST, "encoder": encoder}
    with mast_server(archive) as mast, mast.conf():
        plan = build_index(tmp_path / "ix", dry_run=True, **options)
        assert (plan.n_new, plan.index) == (10, None)
        assert not [r for r in mast.requests if r.where == "download"]
        assert not list(tmp_path.iterdir())
        uri = next(
            u for u in archive.files
            if u.startswith("mast:HST") and "15500_01" in u and "total" in u
            and u.endswith(".jpg") and "color" not in u
        )  # fmt: skip
        kept, archive.files[uri] = archive.files[uri], b"<html>sorry</html>"
        report = build_index(tmp_path / "ix", **options)
        assert (report.n_added, report.n_failed) == (9, 1)
        ((status, reason),) = failures(report).values()
        assert status == "absent"
        assert reason
        archive.files[uri] = kept
        report = build_index(tmp_path / "ix", **options)
        assert (report.n_added, report.n_failed) == (0, 1)
        report = build_index(tmp_path / "ix", retry_failed=True, **options)
        assert (report.n_added, report.n_failed) == (1, 0)


def test_fetching_goes_on_without_asking_again(encoder, tmp_path):
    def stop(state):
        if state.stage == "fetching" and state.done == 4:
            raise KeyboardInterrupt

    options = {"source": HST, "encoder": encoder, "workers": 1}
    with mast_server(small_archive(size=60)) as mast, mast.conf():
        with pytest.raises(KeyboardInterrupt):
            build_index(tmp_path / "ix", progress=stop, **options)
        first = {r.what for r in mast.requests if r.where == "download"}
        assert len(first) < 10
        del mast.requests[:]
        report = build_index(tmp_path / "ix", **options)
        assert (report.n_added, report.n_failed) == (10, 0)
        assert {r.where for r in mast.requests} == {"download"}
        second = {r.what for r in mast.requests}
        assert len(first | second) == 10
        assert len(first & second) <= 2  # what was in flight


def test_folder_of_a_picture_store(encoder, tmp_path):
    with mast_server(small_archive(size=60)) as mast, mast.conf():
        build_index(tmp_path / "ix", source=HST, encoder=encoder)
    store = tmp_path / "ix.pictures"
    report = build_index(tmp_path / "second", source=store, encoder=encoder)
    assert report.n_added == 10
    with pytest.raises(InvalidQueryError, match="metadata= cannot be given beside"):
        build_index(
            tmp_path / "third",
            source=store,
            encoder=encoder,
            metadata=Table({"file": []}),
        )


def test_selection_without_a_network(encoder, tmp_path):
    with pytest.raises(OfflineError):
        build_index(tmp_path / "ix", source=HST, encoder=encoder, offline=True)


def test_fetching_reading_and_encoding_overlap(encoder, tmp_path):
    encoded, fetched = [], []

    class Watched:
        fingerprint, dimension = encoder.fingerprint, encoder.dimension
        encode_texts = staticmethod(encoder.encode_texts)

        def encode_images(self, images):
            encoded.append(time.monotonic())
            return encoder.encode_images(images)

    def progress(state):
        if state.stage == "fetching":
            time.sleep(0.1)
            fetched.append(time.monotonic())

    options = {"encoder": Watched(), "batch_size": 1, "workers": 1}
    with mast_server(small_archive(size=60)) as mast, mast.conf():
        report = build_index(tmp_path / "ix", source=HST, progress=progress, **options)
    assert (report.n_added, len(fetched), len(encoded)) == (10, 10, 10)
    assert encoded[0] < fetched[2]
    assert sum(when < fetched[-1] for when in encoded) > 1


def test_cycles_of_a_mission(encoder, tmp_path):
    options = {"encoder": encoder, "dry_run": True}
    with mast_server(small_archive(size=60)) as mast, mast.conf():
        cycle = {"obs_collection": "HST", "cycles": "25"}
        plan = build_index(tmp_path / "ix", source=cycle, **options)
        assert plan.n_new > 0
        with pytest.raises(InvalidQueryError, match="cycles belong to one mission"):
            build_index(tmp_path / "ix", source={"cycles": "25"}, **options)


def test_finished_build_does_not_load_the_model(folder, encoder, tmp_path):
    code = """if True:
        import sys
        from paperclip.index import build_index
        place, source, model = sys.argv[1:]
        report = build_index(place, source=source, encoder=model)
        assert (report.n_added, report.n_present) == (0, 10), report
        assert not {"torch", "open_clip"} & set(sys.modules)
    """
    build_index(tmp_path / "ix", source=folder, encoder=encoder)
    words = [sys.executable, "-c", code, str(tmp_path / "ix"), str(folder)]
    subprocess.run([*words, encoder.name], check=True)


def test_selection_that_is_empty(encoder, tmp_path):
    source = {"obs_collection": "HST", "proposal_id": "1"}
    with (
        mast_server(small_archive(size=60)) as mast,
        mast.conf(),
        pytest.warns(match="no observations"),
        pytest.raises(InvalidQueryError, match="MAST has no previews for"),
    ):
        build_index(
            tmp_path / "ix", source=source, encoder=encoder, client=MastClient()
        )


# ---- killed at any moment

BUILDER = """
import json, os, sys, time
import lance, open_clip, PIL.Image, torch
import paperclip.imaging, paperclip.models, paperclip.index

torch.set_num_threads(1)
encoder = paperclip.models.load_encoder(sys.argv[1])
print("ready", flush=True)
for line in sys.stdin:  # a copy of this process does the work and may be killed
    child = os.fork()
    if not child:
        options = json.loads(line)
        report = paperclip.index.build_index(encoder=encoder, **options)
        print("done", report.n_added, report.n_present, flush=True)
        os._exit(0)
    print(child, flush=True)
    sys.stdin.readline()  # until then its number belongs to nobody else
    status = os.waitpid(child, 0)[1]
    print("killed" if os.WIFSIGNALED(status) else "ended", flush=True)
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork and SIGKILL")
def test_killed_builds_lose_and_repeat_nothing(encoder, tmp_path):
    n = 200
    folder = draw(tmp_path / "in", [f"{i:03d}.jpg" for i in range(n)])
    for i in range(0, n, 40):
        (folder / f"{i:03d}.jpg").write_bytes(b"\xff\xd8\xff broken")
    options = {
        "uri": str(tmp_path / "ix"),
        "source": str(folder),
        "batch_size": 2,
        "commit_rows": 4,
        "workers": 1,
    }
    rng = np.random.default_rng(5)
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    seen, kills, rounds, added = set(), 0, 0, 0
    longest = 0.25  # seconds to the kill; more where a machine has other work
    with subprocess.Popen(
        [sys.executable, "-c", BUILDER, encoder.name],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env=environment,
    ) as builder:
        assert builder.stdout.readline() == "ready\n"
        while kills < 20 or not seen:
            rounds += 1
            assert rounds < 100
            builder.stdin.write(json.dumps(options) + "\n")
            builder.stdin.flush()
            child = int(builder.stdout.readline())
            time.sleep(rng.uniform(0, longest))
            os.kill(child, signal.SIGKILL)
            builder.stdin.write("\n")
            builder.stdin.flush()
            line = builder.stdout.readline()
            while line not in ("killed\n", "ended\n"):
                line = builder.stdout.readline()
            kills += line == "killed\n"
            if (Path(options["uri"]) / "_versions").is_dir():
                now = ids(Index.open(options["uri"]))
                assert len(now) == len(set(now))
                assert seen <= set(now)
                seen = set(now)
            if line == "ended\n":  # too quick: begin anew
                assert len(seen) == n - n // 40
                options["uri"], seen = str(tmp_path / f"ix{rounds}"), set()
                longest = 0.25
            elif not seen:
                longest *= 1.1
        assert 0 < len(seen) < n
        builder.stdin.write(json.dumps(options) + "\n\n")
        builder.stdin.close()
        last = builder.stdout.read().split()
        added = int(last[last.index("done") + 1])
    index = Index.open(options["uri"])
    good = [f"{i:03d}" for i in range(n) if i % 40]
    assert ids(index) == good  # in order, none twice, none lost
    assert added == len(good) - len(seen)  # nothing is embedded again
    report = build_index(source=folder, encoder=encoder, uri=options["uri"])
    assert (report.n_added, report.n_present, report.n_failed) == (0, 195, 5)
    expected = encoder.encode_images([folder / "077.jpg"], load=read_preview)
    row = good.index("077")
    assert float(index.vectors()[row] @ expected[0]) > 0.998
