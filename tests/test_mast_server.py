# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""The rehearsal archive, seen by the real client of the archive."""

import io
import subprocess
import sys
import threading
import time

import numpy as np
import pytest
import requests
from astropy.coordinates import SkyCoord
from astropy.io import fits
from PIL import Image

import paperclip

from .mast_server import (
    KINDS,
    Archive,
    big_products,
    mast_server,
    shared_archive,
    small_archive,
)


@pytest.fixture(name="mast")
def fixture_mast():
    with mast_server(small_archive()) as mast:
        yield mast


@pytest.fixture(name="astroquery")
def fixture_astroquery(mast, monkeypatch):
    from astroquery.mast import Observations
    from astroquery.mast.discovery_portal import PortalAPI

    portal = Observations._portal_api_connection
    urls = {
        "MAST_REQUEST_URL": "/api/v0/invoke",
        "COLUMNS_CONFIG_URL": "/portal/Mashup/Mashup.asmx/columnsconfig",
        "MAST_DOWNLOAD_URL": "/api/v0.1/Download/file",
    }
    for name, path in urls.items():
        monkeypatch.setattr(portal, name, mast.url + path)
    monkeypatch.setattr(PortalAPI, "_column_configs", {})
    for name, value in mast._variables().items():
        monkeypatch.setenv(name, value)
    return Observations


def download(mast, uri, **options):
    url = f"{mast.url}/api/v0.1/Download/file"
    return requests.get(url, params={"uri": uri}, timeout=5, **options)


def preview_uri(archive):
    return next(p["dataURI"] for p in archive.products if p["productType"] == "PREVIEW")


def test_starts_quickly():
    archive = small_archive()
    start = time.perf_counter()
    with mast_server(archive):
        pass
    assert time.perf_counter() - start < 0.5  # 25 ms on an idle machine


def test_the_archive_depends_on_the_seed_alone():
    one, two, other = small_archive(1), small_archive(1), small_archive(2)
    assert one == two
    assert one.files != other.files
    one.observations[0]["obs_id"] = "changed"
    assert small_archive(1) == two


def test_query_by_criteria(mast, astroquery):
    table = astroquery.query_criteria(proposal_id="15500", dataproduct_type="image")
    assert len(table) == 5
    count = astroquery.query_criteria_count(obs_collection="HST", filters="F814W")
    assert count == 6
    assert {r.where for r in mast.requests} == {"columns", "invoke"}
    wild = astroquery.query_criteria(obs_id="jw0*t001*")
    assert {name[:3] for name in wild["obs_id"]} == {"jw0"}
    ranged = astroquery.query_criteria(t_min=[58000, 58002.5])
    assert len(ranged) == 3


def test_query_by_position_and_name(mast, astroquery):
    name, (ra, dec) = next(iter(mast.archive.names.items()))
    centre = SkyCoord(ra, dec, unit="deg")
    table = astroquery.query_region(centre, radius="1 arcmin")
    assert len(table) > 0
    assert len(astroquery.query_object(name.lower(), radius="1 arcmin")) == len(table)
    criteria = {"coordinates": centre, "radius": "1 arcmin"}
    table = astroquery.query_criteria(**criteria, dataproduct_type="image")
    assert 0 < len(table) < 20


def test_products_and_files(mast, astroquery, tmp_path):
    table = astroquery.query_criteria(proposal_id="15500", dataproduct_type="image")
    products = astroquery.get_product_list(table)
    assert len(products) == 20
    row = products[products["productType"] == "PREVIEW"][0]
    path = tmp_path / "a.jpg"
    done = astroquery.download_file(row["dataURI"], local_path=path, verbose=False)
    assert done[0] == "COMPLETE"
    assert path.stat().st_size == row["size"]
    with Image.open(path) as picture:
        assert picture.size == (200, 200)
    row = products[products["productType"] == "SCIENCE"][0]
    data = download(mast, row["dataURI"]).content
    with fits.open(io.BytesIO(data)) as hdus:
        assert hdus["SCI"].data.shape == (64, 64)


def test_pages_and_a_limit_of_their_size(mast, astroquery):
    mast.page_rows = 4
    table = astroquery.query_criteria(obs_collection="HST", pagesize=1000)
    assert len(table) == len(set(table["obsid"])) == 18
    assert len(mast.asked("Mast.Caom.Filtered")) == 5


def test_cloud_catalogue_and_programmes(mast):
    uri = preview_uri(mast.archive)
    params = {"uri": [uri, "mast:HST/product/none"]}
    reply = requests.get(f"{mast.url}/api/v0.1/path_lookup/", params, timeout=5).json()
    assert reply["mast:HST/product/none"] == {"status_code": 404, "path": None}
    data = requests.get(mast.url + reply[uri]["path"], timeout=5).content
    assert data == mast.archive.files[uri]
    page = requests.get(f"{mast.url}/hst/proposal_abstracts.html", timeout=5).text
    assert 'href="/hst/abstracts.cat"' in page
    text = requests.get(f"{mast.url}/hst/abstracts.cat", timeout=5).text
    assert text.count(" ID: ") == 3
    for path in ("/hst/phase2-public/15500.apt", "/jwst/phase2-public/2100.aptx"):
        assert requests.get(mast.url + path, timeout=5).status_code == 200
    path = "/jwst/phase2-public/1.aptx"
    assert requests.get(mast.url + path, timeout=5).status_code == 404


def test_every_fault_is_another_answer_than_the_whole_one(mast):
    mast.faults.hang = 0.6
    uri = preview_uri(mast.archive)
    url = f"{mast.url}/api/v0.1/Download/file?uri={uri}"
    whole = download(mast, uri).content
    for kind in KINDS[: KINDS.index("duplicate")]:
        mast.faults.next(kind, where="download")
        start = time.perf_counter()
        try:
            with requests.get(url, timeout=0.2, stream=True) as response:
                body = b""
                for block in response.iter_content(4):
                    body += block
                    if time.perf_counter() - start > 0.3:
                        break
                status = response.status_code
        except (requests.RequestException, OSError):
            continue
        assert status != 200 or body != whole, kind
    assert download(mast, uri).content == whole
    assert [kind for kind, _ in mast.faults.log] == [
        r.fault for r in mast.requests[1:-1]
    ]


@pytest.mark.parametrize(
    ("kind", "n"), [("duplicate", 24), ("empty_page", 0), ("reorder", 18)]
)
def test_faults_of_rows(mast, astroquery, kind, n):
    mast.faults.next(kind, where="invoke")
    response = astroquery.query_criteria_async(obs_collection="HST")[0].json()
    assert len(response["data"]) == n
    assert response["paging"]["rowsFiltered"] == 18


def test_pages_that_overlap(mast, astroquery):
    mast.faults.always("overlap")
    table = astroquery.query_criteria(obs_collection="HST", pagesize=6)
    assert len(table) == 18
    assert len(set(table["obsid"])) < 18


def test_random_faults_repeat_themselves():
    logs = []
    for _ in range(2):
        with mast_server(small_archive()) as mast:
            mast.faults.random({"error": 0.3, "unavailable": 0.2}, seed=4)
            uris = [p["dataURI"] for p in mast.archive.products[:30]]
            for uri in uris * 2:
                download(mast, uri)
            logs.append(mast.faults.log)
    assert logs[0] == logs[1]
    assert 15 < len(logs[0]) < 50
    assert {kind for kind, _ in logs[0]} == {"error", "unavailable"}


def test_requests_at_the_same_time_are_counted(mast):
    mast.latency = 0.2
    uri = preview_uri(mast.archive)
    threads = [threading.Thread(target=download, args=(mast, uri)) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert mast.busiest == 6
    assert [r.status for r in mast.asked("download")] == [200] * 6


def test_many_products_are_made_when_asked_for():
    archive = Archive(products=big_products(10_500))
    found = archive.products_of(archive.products.obsids[-2:])
    assert len(archive.products) == 10_500
    assert len(found) == 1500
    rows = found[990:1010]
    assert [int(r["productFilename"][10:17]) for r in rows] == list(range(9990, 10010))


def test_a_subprocess_is_led_here(mast, tmp_path):
    code = "from paperclip import conf; print(conf.mast_server, conf.retries)"
    done = subprocess.run(
        [sys.executable, "-c", code],
        env=mast.environment(tmp_path, retries=3),
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.split() == [mast.url, "3"]


def test_conf_is_put_back(mast):
    before = paperclip.conf.mast_server
    with mast.conf(retries=2) as conf:
        assert (conf.mast_server, conf.retries) == (mast.url, 2)
    assert paperclip.conf.mast_server == before


def test_recorded_replies_and_real_previews():
    archive = shared_archive()
    assert len(archive.observations) > 800
    uri = preview_uri(Archive(products=archive.products[-1:]))
    with mast_server(archive) as mast:
        data = download(mast, uri).content
    with Image.open(io.BytesIO(data)) as picture:
        assert min(np.shape(picture)[:2]) > 50
