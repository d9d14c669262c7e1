# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""Subsets as tables, the ObsCore view, and one function for all formats."""

import io
import os

import numpy as np
import pytest
from astropy import units as u
from astropy.io import votable
from astropy.table import Table

from paperclip.exceptions import (
    ExportError,
    FailedRowsWarning,
    InvalidQueryError,
    NoResultsWarning,
    PaperclipWarning,
)
from paperclip.index import Index
from paperclip.index.formats import (
    FORMATS,
    export,
    export_ecsv,
    export_fits,
    export_obscore,
    export_votable,
    obscore,
    write_pages,
)
from paperclip.results import ColumnSpec

MANDATORY = [
    "dataproduct_type", "calib_level", "obs_collection", "obs_id",
    "obs_publisher_did", "access_url", "access_format", "access_estsize",
    "target_name", "s_ra", "s_dec", "s_fov", "s_region", "s_resolution", "t_min",
    "t_max", "t_exptime", "t_resolution", "em_min", "em_max", "em_res_power",
    "o_ucd", "pol_states", "facility_name", "instrument_name",
]  # fmt: skip


def test_votable(index, tmp_path):
    path = export_votable(index, tmp_path / "a.vot", vectors=True, where="s_dec > 0")
    table = Table.read(path)
    expected = index.to_table()
    keep = np.asarray(expected["s_dec"]) > 0
    assert table["obs_id"].tolist() == expected["obs_id"][keep].tolist()
    np.testing.assert_array_equal(table["vector"], index.vectors()[keep])
    assert table["s_ra"].unit == u.deg
    assert votable.validate(str(path), io.StringIO(), xmllint=False)
    infos = votable.parse(path).resources[0].infos
    facts = {info.name: info.value for info in infos}
    assert facts["model"] == index.fingerprint
    assert facts["where"] == "s_dec > 0"


def test_ecsv_keeps_everything(index, tmp_path, same):
    table = Table.read(export_ecsv(index, tmp_path / "a.ecsv"))
    assert same(table, index.to_table())
    assert table.meta["dim"] == 16


def test_fits_says_what_it_cannot_hold(index, tmp_path):
    with pytest.warns(PaperclipWarning, match="texts are spelt without their accents"):
        path = export_fits(index, tmp_path / "a.fits", vectors=True)
    table = Table.read(path)
    assert set(table["target_name"][:4].tolist()) > {"Galaxie nee 1 ?"}
    np.testing.assert_array_equal(table["vector"], index.vectors())
    assert table["counts"].mask.sum() == index.to_table()["counts"].mask.sum()


def test_fits_keeps_gaps_of_truth_values(tmp_path):
    """A missing value was read back as true."""
    settings = {"fingerprint": "f", "dimension": 2, "extra_columns": {"good": bool}}
    index = Index.create(tmp_path / "ix", **settings)
    good = np.ma.array([True, False, True], mask=[False, False, True])
    index.append(Table({"obs_id": ["a", "b", "c"], "good": good}), np.ones((3, 2)))
    table = Table.read(export_fits(index, tmp_path / "a.fits"))
    assert table["good"].tolist() == [1, 0, None]


@pytest.mark.parametrize("kind", ["int8", "int32"])
@pytest.mark.parametrize("end", ["fits", "vot"])
def test_integers_of_all_sizes_survive(tmp_path, kind, end):
    """Small ones became truth values, and 999999 a gap where others have one."""
    spec = ColumnSpec("n", kind, "ct", "Counts")
    index = Index.create(
        tmp_path / "ix", fingerprint="f", dimension=2, extra_columns=[spec]
    )
    number = np.ma.array([-128, 999999 if kind == "int32" else 63, 0], mask=[0, 0, 1])
    index.append(Table({"obs_id": ["a", "b", "c"], "n": number}), np.ones((3, 2)))
    table = Table.read(index.export(tmp_path / f"a.{end}"))
    assert table["n"].tolist() == [*number[:2].tolist(), None]
    assert table["n"].unit == "ct"


def test_obscore_has_the_mandatory_columns(index, tmp_path):
    table = obscore(index, publisher="ivo://example.org/jwst")
    assert table.colnames == MANDATORY
    source = index.to_table()
    assert table["obs_publisher_did"][1] == "ivo://example.org/jwst?obs-0001"
    assert table["access_url"][0].endswith(
        "Download/file?uri=mast:X/product/0_i2d.fits"
    )
    assert set(table["access_format"]) == {"application/fits"}
    assert set(table["facility_name"]) == {"HST", "JWST"}
    np.testing.assert_allclose(table["s_fov"][1], 0.6)
    np.testing.assert_array_equal(table["s_fov"].mask, source["s_region"].mask)
    np.testing.assert_allclose(table["em_min"][0], 1.755e-6)
    assert table["em_min"].unit == u.m
    assert table["em_max"].mask.all()
    assert table["calib_level"].mask.all()
    path = export_obscore(index, tmp_path / "o.vot")
    assert votable.validate(str(path), io.StringIO(), xmllint=False)
    fields = votable.parse(path).get_first_table().fields
    assert all(f.ucd and f.utype.startswith("obscore:") for f in fields)
    assert {str(f.unit) for f in fields} >= {"deg", "arcsec", "d", "s", "m", "kbyte"}


def test_obscore_of_odd_rows(tmp_path):
    index = Index.create(tmp_path / "ix", fingerprint="f", dimension=2)
    index.append(
        {
            "obs_id": ["a b/c", "b", "c", "d"],
            "s_region": [
                "CIRCLE 10 0 1 CIRCLE 14 0 1",
                "POLYGON bad",
                "",
                "POLYGON 359 -1 1 -1 1 1 359 1",
            ],
            "dataURI": ["https://x.org/a.jpg", "gs:odd", "", "file:///a.fits.gz"],
        },
        np.eye(2)[[0, 1, 0, 1]],
    )
    with pytest.warns(FailedRowsWarning, match="1 footprints cannot be read"):
        table = obscore(index, publisher="ivo://example.org/x")
    assert table["obs_publisher_did"][0] == "ivo://example.org/x?a%20b%2Fc"
    assert table["access_url"].tolist() == [
        "https://x.org/a.jpg",
        None,
        None,
        "file:///a.fits.gz",
    ]
    assert table["access_format"].tolist()[::3] == ["image/jpeg", "application/fits"]
    assert table["s_fov"].mask.tolist() == [False, True, True, False]
    np.testing.assert_allclose(table["s_fov"][[0, 3]], [6, 2.828], atol=1e-3)
    with pytest.warns(NoResultsWarning, match="no row of the index"):
        empty = obscore(index, where="obs_id = 'nothing'")
    assert (len(empty), empty.colnames) == (0, MANDATORY)
    with pytest.raises(InvalidQueryError, match="publisher must look like 'ivo://"):
        obscore(index, publisher="http://x.org")


def test_export_finds_the_format(index, tmp_path):
    pytest.importorskip("mocpy")
    names = ["a.parquet", "a.vot", "a.xml", "a.ecsv", "a.csv", "a.moc"]
    for name in names:
        path = index.export(tmp_path / name, where="s_dec > 60")
        assert path == tmp_path / name
        assert path.stat().st_size
    index.export(tmp_path / "o.xml", "obscore", where="s_dec > 60")
    assert len(Table.read(tmp_path / "o.xml")) == len(Table.read(tmp_path / "a.vot"))
    assert sorted(p.name for p in tmp_path.iterdir()) == sorted([*names, "o.xml"])


@pytest.mark.parametrize(
    ("path", "options", "message"),
    [
        ("a.parqet", {}, r"did you mean '.parquet'\?"),
        ("a", {}, "does not say the format; end it in one of .parquet"),
        (3, {}, "path must be the name"),
        ("a.vot", {"format": "votabel"}, "no format 'votabel'; did you mean 'votable'"),
        ("a.vot", {"ordr": 3}, "as 'votable' has no option 'ordr'"),
        ("a.moc", {"ordr": 3}, "as 'moc' has no option 'ordr'; did you mean 'order'"),
        ("a.csv", {"regin": "1 2"}, "did you mean 'region'"),
        ("a.ecsv", {"columns": ["t_mim"]}, "did you mean 't_min'"),
    ],
)
def test_what_export_refuses(index, tmp_path, path, options, message):
    path = tmp_path / path if isinstance(path, str) else path
    with pytest.raises(InvalidQueryError, match=message):
        export(index, path, **options)
    assert not list(tmp_path.iterdir())


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_read_only_folders(index, tmp_path):
    tmp_path.chmod(0o500)
    with pytest.raises(ExportError, match="cannot be written: Permission denied"):
        index.export(tmp_path / "a.parquet")


def test_a_file_in_place_of_a_folder(index, tmp_path):
    (tmp_path / "file").write_text("x")
    with pytest.raises(ExportError, match="cannot be written"):
        index.export(tmp_path / "file" / "a.csv")
    assert FORMATS[0] == "hats"


# ---- pages


@pytest.mark.parametrize("end", ["csv", "ecsv", "parquet", "vot"])
def test_pages_to_one_file(index, tmp_path, end):
    query = np.arange(16)
    expected = index.search(query, limit=500, exact=True)
    path = tmp_path / f"a.{end}"
    assert write_pages(index.iter_search(query, page=60), path) == 398
    if end == "parquet":
        import pyarrow.parquet as pq

        found = pq.read_table(path)
        assert found["target_name"].to_pylist() == expected["target_name"].tolist()
        assert found.schema.field("s_ra").metadata[b"unit"] == b"deg"
        found = Table(found.select(["obs_id", "similarity", "s_ra"]).to_pydict())
    else:
        found = Table.read(path, format="ascii.csv" if end == "csv" else None)
        assert len(found.colnames) == len(expected.colnames)
    for name in ("obs_id", "similarity", "s_ra"):
        np.testing.assert_array_equal(
            np.asarray(found[name]).astype(expected[name].dtype), expected[name]
        )
    if end == "ecsv":
        assert found.meta["n_stream"] == 398
        assert found["target_name"].mask.sum() == expected["target_name"].mask.sum()
    if end == "vot":
        assert votable.validate(str(path), io.StringIO(), xmllint=False)


def test_astropy_reads_pages_in_parquet(index, tmp_path):
    """A file whose texts have gaps could not be read."""
    query = np.arange(16)
    expected = index.search(query, limit=500, exact=True)
    path = tmp_path / "a.parquet"
    write_pages(index.iter_search(query, page=60), path)
    found = Table.read(path)
    assert found.colnames == expected.colnames
    for name in ("target_name", "s_region", "counts", "s_ra"):
        assert found[name].tolist() == expected[name].tolist()
    assert found["s_ra"].unit == "deg"
    assert found.meta["n_stream"] == 398


@pytest.mark.parametrize("end", ["csv", "ecsv", "parquet", "vot"])
def test_an_empty_page_has_columns(index, tmp_path, end):
    path = tmp_path / f"a.{end}"
    assert write_pages(index.iter_search(np.ones(16), where="s_dec > 90"), path) == 0
    found = Table.read(path, format="ascii.csv" if end == "csv" else None)
    assert (len(found), len(found.colnames)) == (0, 2 + len(index.colnames))


def test_a_stream_that_breaks_leaves_nothing(index, tmp_path):
    def pages():
        yield from list(index.iter_search(np.ones(16), page=50))[:2]
        raise KeyboardInterrupt

    path = tmp_path / "a.csv"
    path.write_text("old")
    with pytest.raises(KeyboardInterrupt):
        write_pages(pages(), path, overwrite=True)
    assert path.read_text() == "old"
    assert len(list(tmp_path.iterdir())) == 1


def test_what_pages_refuse(index, tmp_path):
    pages = list(index.iter_search(np.ones(16), limit=3))
    with pytest.raises(InvalidQueryError, match=r"must end in .csv, .*'.*a.fits'"):
        write_pages(pages, tmp_path / "a.fits")
    with pytest.raises(InvalidQueryError, match="did you mean 'votable'"):
        write_pages(pages, tmp_path / "a.x", format="votabel")
    with pytest.raises(ExportError, match="there are no pages"):
        write_pages([], tmp_path / "a.csv")
    (tmp_path / "b.csv").write_text("mine")
    with pytest.raises(ExportError, match="is there already"):
        write_pages(pages, tmp_path / "b.csv")
