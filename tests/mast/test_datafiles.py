# Licensed under a 3-clause BSD style license - see LICENSE.rst
import gzip
import io
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits
from astropy.table import Table

from paperclip.exceptions import (
    DataSetError,
    FailedRowsWarning,
    InvalidQueryError,
    NoResultsWarning,
)
from paperclip.mast import (
    MastClient,
    check_data_file,
    download_products,
    get_product_list,
    query_criteria,
)

from ..mast_server import Archive, fits_file, mast_server
from ..shared_data import require_shared_data


def observed(**criteria):
    client = MastClient()
    return client, query_criteria(client, **criteria)


def inside(folder):
    return sorted(
        path.relative_to(folder).as_posix()
        for path in folder.rglob("*")
        if path.is_file() and not path.name.startswith(".paperclip")
    )


def test_science_files_of_observations(mast, tmp_path):
    client, observations = observed(proposal_id="15500")
    table = download_products(client, observations, tmp_path)
    assert set(table["status"]) == {"done"}
    assert all(path.endswith(".fits") for path in table["path"])
    row = table[0]
    place = Path(row["path"]).relative_to(tmp_path)
    assert place.parts == ("HST", row["obs_id"], row["productFilename"])
    for path in table["path"]:
        with fits.open(path) as hdus:
            assert hdus[1].data.shape == (64, 64)
    assert len(inside(tmp_path)) == len(table)


def test_products_are_taken_as_they_are(mast, tmp_path):
    client, observations = observed(proposal_id="15500")
    products = get_product_list(client, observations[:1])
    table = download_products(client, products, tmp_path)
    assert table["dataURI"].tolist() == products["dataURI"].tolist()
    assert "path" not in products.colnames
    assert {Path(path).suffix for path in table["path"]} == {".fits", ".jpg", ".txt"}


def test_files_on_disk_are_not_fetched_unless_they_are_torn(mast, tmp_path):
    client, observations = observed(proposal_id="15500")
    seen = []
    table = download_products(
        client, observations, tmp_path, progress=lambda *n: seen.append(n)
    )
    assert seen[-1] == (len(table), len(table))
    first = Path(table["path"][0])
    first.write_bytes(first.read_bytes()[:8000])
    before = len(mast.asked("download"))
    again = download_products(client, observations, tmp_path)
    assert len(mast.asked("download")) == before + 1
    assert again["path"].tolist() == table["path"].tolist()


def test_what_fails_stays_with_its_reason(mast, tmp_path):
    client, observations = observed(proposal_id="15500")
    lost = f"mast:HST/product/{observations['obs_id'][0]}_drc.fits"
    mast.faults.always("truncated", where=lost)
    with pytest.warns(FailedRowsWarning, match="1 of 6 files are missing"):
        table = download_products(client, observations, tmp_path)
    assert table["path"].mask.tolist() == [True] + [False] * 5
    assert "torn" in table["message"][0]
    assert len(inside(tmp_path)) == 5


def test_names_of_the_archive_stay_inside(tmp_path):
    names = ["../../up.fits", "/abs.fits", "A.fits", "a.fits", "a.fits", "nul\0.fits"]
    names += ["y" * 300 + ".fits", "aux.fits", "..", ""]
    products = Table(
        {
            "dataURI": [f"mast:x/{n}/{name}" for n, name in enumerate(names)],
            "productFilename": names,
            "obs_collection": ["../..", *["HST"] * 9],
            "obs_id": ["..", "/", *["visit"] * 8],
        }
    )
    body = fits_file(1, 10.0, 20.0)
    archive = Archive(files=dict.fromkeys(products["dataURI"].tolist(), body))
    folder = tmp_path / "deep" / "files"
    with mast_server(archive) as mast, mast.conf(timeout=5.0):
        table = download_products(MastClient(), products, folder)
        assert set(table["status"]) == {"done"}
        assert len({path.casefold() for path in table["path"]}) == len(names)
        assert list(tmp_path.iterdir()) == [tmp_path / "deep"]
        assert list((tmp_path / "deep").iterdir()) == [folder]
        assert len(inside(folder)) == len(names)
        before = len(mast.requests)
        again = download_products(MastClient(), products[::-1], folder)
        assert again["path"].tolist() == table["path"].tolist()[::-1]
        assert len(mast.requests) == before


def test_a_record_of_somebody_else_leads_nowhere(mast, tmp_path):
    client, observations = observed(proposal_id="15500")
    products = get_product_list(client, observations[:1], recipe="SCIENCE")
    uri = products["dataURI"][0]
    record = f'{{"uri": "{uri}", "path": "../../../outside.fits"}}\n'
    folder = tmp_path / "files"
    folder.mkdir()
    (folder / ".paperclip-products.jsonl").write_text(record)
    table = download_products(client, products, folder)
    assert Path(table["path"][0]).is_relative_to(folder)
    assert [path.name for path in tmp_path.iterdir()] == ["files"]


def test_nothing_gives_an_empty_table(mast, tmp_path):
    client, observations = observed(proposal_id="15500")
    products = get_product_list(client, observations[:1])
    with pytest.warns(NoResultsWarning, match="no products to download"):
        table = download_products(client, products[:0], tmp_path / "new")
    assert {"path", "status", "message"} < set(table.colnames)
    with pytest.warns(NoResultsWarning, match="no observations"):
        download_products(client, observations[:0], tmp_path / "new")
    assert not (tmp_path / "new").exists()


def test_arguments_are_checked(mast, tmp_path):
    client = MastClient()
    products = Table({"dataURI": ["a", ""], "productFilename": ["a", "b"]})
    with pytest.raises(InvalidQueryError, match=r"products\[1\] has no dataURI"):
        download_products(client, products, tmp_path)
    with pytest.raises(InvalidQueryError, match="max_bytes must be at least 1"):
        download_products(client, products, tmp_path, max_bytes=0)
    for folder in (None, "", 3):
        with pytest.raises(InvalidQueryError, match="folder must be the path of a fol"):
            download_products(client, products[:1], folder)
    (tmp_path / "file").touch()
    with pytest.raises(DataSetError, match="file' is no folder; choose another name"):
        download_products(client, products[:1], tmp_path / "file")
    with pytest.raises(InvalidQueryError, match="got the address of a file: 'mast:"):
        download_products(client, "mast:HST/a.fits", tmp_path)
    assert not mast.requests


# -- check_data_file -------------------------------------------------------------------
def hdus(*parts):
    stream = io.BytesIO()
    fits.HDUList([fits.PrimaryHDU(), *parts]).writeto(stream)
    return stream.getvalue()


WHOLE = {
    "image": lambda: hdus(fits.ImageHDU(np.zeros((7, 5), "f4"))),
    "table": lambda: hdus(
        fits.BinTableHDU.from_columns(
            [fits.Column("a", "PJ()", array=[[1, 2, 3], [4]]), fits.Column("b", "3A")]
        )
    ),
    "tiles": lambda: hdus(
        fits.CompImageHDU(np.arange(400, dtype="i2").reshape(20, 20))
    ),
    "empty": hdus,
    "many cards": lambda: hdus(
        fits.ImageHDU(np.zeros(3), fits.Header([(f"KEY{n}", n) for n in range(99)]))
    ),
}


@pytest.mark.parametrize("kind", WHOLE)
@pytest.mark.parametrize("suffix", [".fits", ".fits.gz"])
def test_whole_fits_files_pass(tmp_path, kind, suffix):
    content = WHOLE[kind]()
    path = tmp_path / f"a{suffix}"
    path.write_bytes(gzip.compress(content) if suffix == ".fits.gz" else content)
    check_data_file(path)
    if suffix == ".fits.gz":
        path.write_bytes(content)  # served unpacked
        check_data_file(path)


@pytest.mark.parametrize("keep", [0.999, 0.6, 0.3, 0.01])
@pytest.mark.parametrize("suffix", [".fits", ".fits.gz"])
def test_torn_fits_files_do_not(tmp_path, keep, suffix):
    content = fits_file(3, 10.0, 20.0)
    if suffix == ".fits.gz":
        content = gzip.compress(content)
    path = tmp_path / f"a{suffix}"
    path.write_bytes(content[: int(min(keep, 0.85) * len(content))])
    with pytest.raises((ValueError, OSError), match=r"torn|gzip"):
        check_data_file(path)


def header(**cards):
    text = f"{'SIMPLE  =                    T':80}"
    text += "".join(f"{f'{key:8}= {value:>20}':80}" for key, value in cards.items())
    return f"{text}{'END':80}".ljust(2880).encode()


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.fits", b"", "empty"),
        ("a.fits", b"<!DOCTYPE html><html>", "page of text"),
        ("a.txt", b"\n <HTML><body>", "page of text"),
        ("a.jpg", b"GIF89a", "begins with b'GIF89a'"),
        ("a.fits", b"\x89PNG", "no FITS file"),
        ("a.fits", b"SIMPLE  =" + b" " * 9000, "ends within a header"),
        ("a.asdf", b"%YAML", "begins with"),
        ("a.fits", header(BITPIX="8", NAXIS="-1"), "NAXIS = -1"),
        ("a.fits", header(BITPIX="8", NAXIS="1", NAXIS1="-7"), "negative length"),
        ("a.fits", header(BITPIX="8", NAXIS="1", NAXIS1="9" * 30), "torn"),
        ("a.fits", header(BITPIX="8", NAXIS="x"), "invalid literal"),
    ],
    ids=range(11),
)
def test_other_files_do_not(tmp_path, name, content, message):
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(ValueError, match=message):
        check_data_file(path)


@pytest.mark.parametrize("name", ["page.html", "notes.txt", "list.csv"])
def test_pages_that_are_wanted_pass(tmp_path, name):
    path = tmp_path / name
    path.write_bytes(b"<html>" if name == "page.html" else b"a,b\n")
    check_data_file(path)


@pytest.mark.shared_data
@pytest.mark.filterwarnings("ignore::astropy.utils.exceptions.AstropyWarning")
def test_real_files_pass_if_astropy_can_read_them():
    for path in sorted(require_shared_data("fits").rglob("*.fits")):
        try:
            with fits.open(path) as opened:
                readable = len(opened) > 0
        except OSError:
            readable = False
        try:
            check_data_file(path)
        except ValueError:
            assert not readable, path
        else:
            assert readable, path
