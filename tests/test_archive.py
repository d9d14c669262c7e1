# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""The chain of a user: a text, observations, proposals, pictures, FITS files."""

import inspect
from pathlib import Path

import numpy as np
import pytest
from astropy import units as u
from astropy.coordinates import SkyCoord
from astropy.io import fits
from astropy.table import Table
from PIL import Image

import paperclip
from paperclip import PaperclipClass, conf
from paperclip.archive import ArchiveMethods
from paperclip.exceptions import (
    InvalidQueryError,
    NoResultsWarning,
    OfflineError,
    RemoteServiceError,
)
from paperclip.index import Index
from paperclip.models import load_encoder
from paperclip.results import COLUMNS

from .mast_server import mast_server, small_archive

METHODS = (
    "query_criteria",
    "query_region",
    "query_object",
    "get_proposals",
    "get_product_list",
    "get_previews",
    "download_products",
)


@pytest.fixture(name="mast")
def fixture_mast():
    with mast_server(small_archive()) as mast, mast.conf():
        yield mast


@pytest.fixture(name="encoder", scope="module")
def fixture_encoder():
    return load_encoder("builtin", device="cpu")


@pytest.fixture(name="clip")
def fixture_clip(mast, encoder, tmp_path):
    """A user with an index of the pictures of the archive."""
    rows = [row for row in mast.archive.observations if row["obs_id"][0] != "s"]
    rows = [row for row in rows if row["dataRights"] == "PUBLIC"][:8]
    names = ("obs_id", "obs_collection", "proposal_id", "target_name", "s_ra", "s_dec")
    table = Table({name: [row[name] for row in rows] for name in names})
    for name in names:
        table[name].unit = COLUMNS[name].unit
    table["dataURI"] = [row["jpegURL"] for row in rows]
    texts = [f"{row['obs_title']} {n}" for n, row in enumerate(rows)]
    index = Index.create(
        tmp_path / "index",
        dimension=encoder.dimension,
        fingerprint=encoder.fingerprint,
    )
    index.append(table, encoder.encode_texts(texts))
    return PaperclipClass(model=encoder, index=index)


@pytest.mark.parametrize("name", METHODS)
def test_options_are_visible_and_by_keyword(name):
    assert getattr(PaperclipClass, name) is getattr(ArchiveMethods, name)
    parameters = inspect.signature(getattr(PaperclipClass, name)).parameters.values()
    options = [p for p in parameters if p.default is not p.empty]
    allowed = {"radius", "folder"}
    assert all(p.kind is p.KEYWORD_ONLY or p.name in allowed for p in options)


def test_queries_return_signed_tables(mast, clip):
    row = mast.archive.observations[0]
    place = SkyCoord(row["s_ra"], row["s_dec"], unit="deg")
    tables = [
        clip.query_criteria(proposal_id=row["proposal_id"]),
        clip.query_region(place, 1 * u.arcmin),
        clip.query_object(row["target_name"]),
        clip.get_product_list(row["obs_id"]),
        clip.get_proposals(row["proposal_id"], mission=row["obs_collection"]),
    ]
    for table in tables:
        assert len(table)
        assert table.meta["version"] == f"paperclip {paperclip.__version__}"
        assert table.meta["time"].startswith("20")
        assert all(len(key) <= 8 for key in table.meta)
    assert clip.query_criteria(obs_collection="HST", count_only=True) == 17


def test_from_a_text_to_everything(clip, tmp_path):
    found = clip.query_text("a spiral galaxy", limit=6)
    assert "obsid" not in found.colnames

    proposals = clip.get_proposals(found)
    assert set(proposals["proposal_id"]) == set(found["proposal_id"])
    assert (proposals["status"] == "ok").all()
    assert all("We propose" in text for text in proposals["abstract"])

    products = clip.get_product_list(found)
    assert set(products["obs_id"]) == set(found["obs_id"])

    pictures = clip.get_previews(found, tmp_path / "pictures")
    assert (pictures["status"] == "done").all()
    assert set(pictures["obs_id"]) == set(found["obs_id"])
    for path in pictures["path"]:
        with Image.open(tmp_path / "pictures" / path) as image:
            assert image.size == (200, 200)

    science = clip.get_product_list(found, recipe="SCIENCE")
    files = clip.download_products(science, tmp_path / "fits")
    assert len(files) == len(found)
    for path in files["path"]:
        with fits.open(Path(tmp_path / "fits" / path)) as hdus:
            assert any(hdu.data is not None for hdu in hdus)


def test_observations_where_products_are_needed(clip, tmp_path):
    found = clip.query_text("a nebula", limit=2)
    files = clip.download_products(found, tmp_path)
    assert len(files) == 2
    assert all(name.endswith(".fits") for name in files["productFilename"])
    again = clip.download_products(files[0], tmp_path)
    assert again["path"].tolist() == files["path"].tolist()[:1]


def test_products_where_observations_are_needed(clip, tmp_path):
    products = clip.get_product_list(clip.query_text("a star", limit=1))
    for call in (clip.get_product_list, lambda t: clip.get_previews(t, tmp_path)):
        with pytest.raises(InvalidQueryError, match="this is a table of products"):
            call(products)


def test_nothing_found_leads_to_nothing(clip, tmp_path):
    with pytest.warns(NoResultsWarning):
        nothing = clip.query_text("a star", where="s_dec > 90")
    for call in (clip.get_product_list, clip.get_proposals):
        with pytest.warns(NoResultsWarning):
            assert len(call(nothing)) == 0
    with pytest.warns(NoResultsWarning):
        assert len(clip.get_previews(nothing, tmp_path / "a")) == 0
    with pytest.warns(NoResultsWarning):
        assert len(clip.download_products(nothing, tmp_path / "b")) == 0


def test_offline_is_said_and_opens_no_socket(mast, clip):
    with pytest.raises(OfflineError, match=r"conf\.offline"):
        clip(offline=True).query_criteria(proposal_id=15500)
    with conf.set_temp("offline", True), pytest.raises(OfflineError):
        clip.query_region("10 20", 1)
    assert not mast.requests


def test_answers_on_disk_are_used_offline(mast, clip, tmp_path):
    with conf.set_temp("cache_dir", str(tmp_path)):
        first = clip.query_criteria(proposal_id=15500, cache=True)
        products = clip.get_product_list(first, cache=True)
        before = len(mast.requests)
        again = clip.query_criteria(proposal_id=15500, cache=True)
        assert again["obsid"].tolist() == first["obsid"].tolist()
        listed = clip.get_product_list(again, cache=True)
        assert listed["dataURI"].tolist() == products["dataURI"].tolist()
        assert len(mast.requests) == before


def test_a_dead_archive_is_named(clip):
    with (
        conf.set_temp("mast_server", "http://127.0.0.1:9"),
        conf.set_temp("retries", 1),
        pytest.raises(RemoteServiceError, match=":9"),
    ):
        clip.query_criteria(proposal_id=1)


def test_coordinates_that_are_not_finite_are_refused(clip, mast):
    with pytest.raises(InvalidQueryError, match="finite coordinates"):
        clip.query_region(SkyCoord(np.nan, 0, unit="deg"), 1)
    assert not mast.requests
