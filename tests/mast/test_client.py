# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""Questions that are answered, and questions that cannot be asked."""

import threading

import numpy as np
import pytest
from astropy import units as u
from astropy.coordinates import SkyCoord

from paperclip import conf
from paperclip.exceptions import (
    InvalidQueryError,
    NameResolutionError,
    OfflineError,
)
from paperclip.mast import MastClient

from ..mast_server import Archive, mast_server, shared_archive

HST = {"obs_collection": ["HST"]}


def test_observations_come_as_a_table(mast):
    table = MastClient().observations({"proposal_id": ["15500"]})
    assert len(table) == 6
    assert table["obsid"].dtype.kind == table["obs_id"].dtype.kind == "U"
    assert table["s_ra"].dtype == "f8"
    assert table["calib_level"].dtype == "i8"
    assert table["mtFlag"].dtype == bool
    assert table["srcDen"].mask.all()
    assert not table["s_ra"].mask.any()
    assert table.meta["rows_available"] == 6
    assert table.meta["server"] == mast.url
    assert table.meta["retrieved"].startswith("20")


def test_rows_are_in_the_order_of_their_numbers(mast):
    mast.archive.observations.reverse()
    table = MastClient().observations(HST)
    assert list(table["obsid"]) == sorted(table["obsid"])


def test_count_agrees_with_the_rows(mast):
    client = MastClient()
    for filters in (HST, {"filters": ["F814W", "F770W"]}, {"t_min": (58000, 58202.5)}):
        assert client.count(filters) == len(client.observations(filters)) > 0


def test_columns_are_asked_for_once(mast):
    client = MastClient()
    table = client.columns()
    row = table[table["name"] == "em_min"][0]
    assert (row["type"], row["unit"]) == ("double", "nm")
    assert "s_fov" not in table["name"]
    client.observations(HST)
    client.count(HST)
    assert len(mast.asked("columns")) == 1
    assert "dataURI" in client.columns("products")["name"]


def test_a_query_costs_one_request_after_that(mast):
    client = MastClient()
    client.columns()
    before = len(mast.requests)
    client.observations(HST)
    assert len(mast.requests) - before == 1


@pytest.mark.parametrize("page_rows", [1, 4, 17, 18, 19])
def test_pages_are_put_together(mast, page_rows):
    mast.page_rows = page_rows
    assert len(MastClient().observations(HST)) == 18


@pytest.mark.parametrize("limit", [1, 5, 18, 100])
def test_limit(mast, limit):
    mast.page_rows = 4
    table = MastClient().observations(HST, limit=limit)
    assert len(table) == min(limit, 18)
    assert table.meta["rows_available"] == 18
    pages = [r.params["page"] for r in mast.asked("Filtered")]
    assert len(pages) == -(-len(table) // 4)


def test_cone(mast):
    name, (ra, dec) = next(iter(mast.archive.names.items()))
    client = MastClient()
    position = SkyCoord(ra, dec, unit="deg"), 1 * u.arcmin
    assert client.resolve(name).separation(position[0]) < 1 * u.mas
    table = client.observations({}, position=position)
    assert 0 < len(table) < 20
    assert client.count({}, position=position) == len(table)
    galactic = position[0].galactic, "60 arcsec"
    filters = {"proposal_id": "15500"}
    assert len(client.observations(filters, position=galactic)) == len(table) / 2


def test_wildcard_and_other_spelling_of_a_column(mast):
    table = MastClient().observations({"OBS_ID": "jw0*_t001_*"})
    assert len(table) > 0
    assert {name[:3] for name in table["obs_id"]} == {"jw0"}


def test_open_ends_of_a_range(mast):
    client = MastClient()
    assert client.count({"t_min": (None, np.inf)}) == len(mast.archive.observations)
    assert client.count({"t_min": (58500, None)}) < len(mast.archive.observations)


def test_no_rows_still_have_columns(mast):
    table = MastClient().observations({"proposal_id": "1"})
    assert len(table) == 0
    assert table["s_ra"].dtype == "f8"
    assert table["obs_id"].dtype.kind == "U"


def test_products_come_in_the_order_of_the_observations(mast):
    client = MastClient()
    obsids = list(client.observations({"dataproduct_type": "image"})["obsid"])[::-1]
    products = client.products(obsids)
    assert len(products) == 4 * len(obsids)
    assert list(dict.fromkeys(products["parent_obsid"])) == obsids
    assert len(set(products["dataURI"])) == len(products)
    assert products["size"].dtype == "i8"


def test_products_shared_by_observations_come_once(mast):
    row = mast.archive.products[0]
    mast.archive.products.append(row | {"parent_obsid": 60_000_001})
    products = MastClient().products([60_000_000, "60000001", 60_000_001])
    assert list(products["dataURI"]).count(row["dataURI"]) == 1
    assert products[products["dataURI"] == row["dataURI"]]["parent_obsid"] == "60000000"


def test_rows_that_the_archive_holds_twice(mast):
    mast.archive.products += mast.archive.products[:2]
    assert len(MastClient().products(60_000_000)) == 4


def test_only_some_products_are_kept(mast):
    seen = []

    def keep(table):
        seen.append(len(table))
        return table["productType"] == "PREVIEW"

    obsids = [row["obsid"] for row in mast.archive.observations]
    products = MastClient().products(obsids, keep=keep)
    assert set(products["productType"]) == {"PREVIEW"}
    assert sum(seen) == len(mast.archive.products)
    assert products.meta["rows_available"] == len(mast.archive.products)
    few = MastClient().products(obsids, keep=keep, limit=3)
    assert len(few) == 3
    assert set(few["dataURI"]) < set(products["dataURI"])


def test_many_observations_are_asked_for_in_batches(mast, monkeypatch):
    monkeypatch.setattr("paperclip.mast.client._BATCH", 7)
    obsids = [row["obsid"] for row in mast.archive.observations]
    assert len(MastClient().products(obsids)) == len(mast.archive.products)
    asked = [r.params["params"]["obsid"].count(",") + 1 for r in mast.asked("Products")]
    assert max(asked) == 7
    assert sum(asked) == len(obsids)


def test_cloud_paths(mast):
    uris = [row["dataURI"] for row in mast.archive.products]
    mast.archive.not_in_cloud.add(uris[3])
    keys = MastClient().cloud_paths(uris + uris[:5])
    assert list(keys) == uris
    assert keys[uris[3]] is None
    assert len(mast.asked("path_lookup")) == -(-len(uris) // 50)
    client = MastClient()
    content = client.fetch(f"{mast.url}/{keys[uris[0]]}", max_bytes=10**6, what="a")
    assert content == mast.archive.files[uris[0]]


@pytest.mark.parametrize(
    ("path", "key"),
    [
        ("/hst/public/u9o4/a.fits", "hst/public/u9o4/a.fits"),
        ("/mast/galex/t/a.fits", "galex/t/a.fits"),
        ("/ps1/a.fits", "panstarrs/ps1/public/a.fits"),
        ("/hlsp_local/public/hlsp/t/a.fits", "mast/hlsp/t/a.fits"),
        ("/", None),
        (None, None),
        (7, None),
    ],
)
def test_folders_of_the_bucket(path, key):
    from paperclip.mast._ids import cloud_key

    assert cloud_key({"status_code": 200, "path": path}) == key


def test_download_url_is_quoted(mast):
    uri = "mast:HST/product/a b#c?d&e.jpg"
    url = MastClient().download_url(uri)
    assert url == f"{mast.url}/api/v0.1/Download/file?uri=mast:HST/product/" + (
        "a%20b%23c%3Fd%26e.jpg"
    )
    mast.archive.files[uri] = b"here"
    assert MastClient().fetch(url, max_bytes=10, what="a file") == b"here"


def test_arguments_are_stronger_than_the_configuration(mast):
    with mast_server(Archive()) as other:
        assert MastClient(server=other.url + "/").count(HST) == 0
    client = MastClient(timeout=2, retries=3)
    assert (client.timeout, client.retries) == (2, 3)
    assert mast.url in repr(client)


def test_many_threads_share_a_client(mast):
    client = MastClient()
    found = {}

    def work(number):
        filters = {"proposal_id": [str(15500 + 13 * (number % 3))]}
        found[number] = set(client.observations(filters)["proposal_id"])

    threads = [threading.Thread(target=work, args=(i,)) for i in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == {i: {str(15500 + 13 * (i % 3))} for i in range(12)}
    assert len(mast.asked("columns")) == 1


def test_recorded_replies_and_real_programmes():
    with mast_server(shared_archive()) as mast, mast.conf():
        client = MastClient()
        table = client.observations({"proposal_id": ["8880"]})
        assert set(table["instrument_name"]) == {"STIS/CCD"}
        assert table["dataURL"].mask.all()
        assert len(client.products(2003738726)) == 22
        assert client.count({"obs_collection": "JWST"}) > 600
        assert client.resolve("TIC 307210830").ra.deg == pytest.approx(
            124.5317, abs=1e-3
        )


# questions that cannot be asked


def refused(match, filters=None, **options):
    with pytest.raises(InvalidQueryError, match=match):
        MastClient().observations(HST if filters is None else filters, **options)


def test_unknown_column(mast):
    refused("no column 'proposl_id'; did you mean 'proposal_id'", {"proposl_id": "1"})
    refused("no column 'qqqqqqqq' The method columns", {"qqqqqqqq": "1"})
    refused("no column 'objectname'; a place on the sky", {"objectname": "M51"})
    assert not mast.asked("invoke")


@pytest.mark.parametrize(
    ("value", "match"),
    [
        ((5, 1), r"min first, got \(5, 1\); did you mean \(1, 5\)"),
        ((1, np.nan), "t_min .* without NaN"),
        (3, r"takes \(min, max\), None for an open end; got 3"),
        ("58000", r"takes \(min, max\)"),
        ((1, 2, 3), r"takes \(min, max\)"),
        (("a", "b"), r"takes \(min, max\)"),
    ],
)
def test_bad_ranges(mast, value, match):
    refused(match, {"t_min": value})


@pytest.mark.parametrize(
    ("value", "match"),
    [
        ([], "instrument_name must have at least one value"),
        (["a*", "b%"], "instrument_name may have one value with a wildcard, got 2"),
        ([None], "instrument_name must not have missing values"),
        (["  "], "instrument_name must not have blank values"),
        ([np.nan], "instrument_name must have finite values, got nan"),
    ],
)
def test_bad_values(mast, value, match):
    refused(match, {"instrument_name": value})


def test_no_condition_at_all(mast):
    refused("filters must hold at least one condition", {})
    refused("filters must be a dict of column names", ["HST"])


@pytest.mark.parametrize(
    ("position", "match"),
    [
        ((SkyCoord(np.nan, 1, unit="deg"), 1 * u.deg), "must be finite, got ra=nan"),
        ((SkyCoord(1, 1, unit="deg"), 1), "must be an angle with a unit"),
        ((SkyCoord(1, 1, unit="deg"), -1 * u.deg), r"above 0 and up to 180"),
        ((SkyCoord(1, 1, unit="deg"), np.nan * u.deg), r"above 0 and up to 180"),
        ((SkyCoord([1], [1], unit="deg"), 1 * u.deg), "with one centre"),
        (("M51", 1 * u.deg), r"position must be \(SkyCoord, angle\)"),
        ("M51", r"position must be \(SkyCoord, angle\)"),
    ],
)
def test_bad_positions(mast, position, match):
    refused(match, position=position)
    assert not mast.requests


@pytest.mark.parametrize("limit", [0, -1, 1.5, True])
def test_bad_limits(mast, limit):
    refused("limit must be", limit=limit)


@pytest.mark.parametrize(
    ("obsids", "match"),
    [
        ([], "at least one obsid, got 0 empty"),
        (["", " "], "at least one obsid, got 2 empty"),
        ("jw02739-o001", "must be whole numbers, got 'jw02739-o001'; the column obsid"),
        ([1.5], "must be whole numbers, got '1.5'"),
        (None, "must be a sequence, got NoneType"),
    ],
)
def test_bad_obsids(mast, obsids, match):
    with pytest.raises(InvalidQueryError, match=match):
        MastClient().products(obsids)
    assert not mast.requests


def test_keep_of_the_wrong_shape(mast):
    with pytest.raises(InvalidQueryError, match="keep must return one bool"):
        MastClient().products(60_000_000, keep=lambda table: [True])


def test_unknown_object(mast):
    with pytest.raises(NameResolutionError, match="no object 'Nowhere 7'; check"):
        MastClient().resolve(" Nowhere 7 ")
    with pytest.raises(InvalidQueryError, match="name must be the name of an object"):
        MastClient().resolve("")


def test_bad_settings(mast):
    with pytest.raises(InvalidQueryError, match="begins with http:// or https://"):
        MastClient(server="file:///etc").count(HST)
    with pytest.raises(InvalidQueryError, match=r"conf.timeout\) must be a number"):
        MastClient(timeout=0).count(HST)
    with pytest.raises(InvalidQueryError, match=r"conf.retries\) must be at least 1"):
        MastClient(retries=0).count(HST)
    with pytest.raises(InvalidQueryError, match="what must be one of"):
        MastClient().columns("cats")


def test_offline_opens_no_socket(mast):
    calls = [
        lambda client: client.observations(HST),
        lambda client: client.products(1),
        lambda client: client.resolve("M51"),
        lambda client: client.fetch(mast.url, max_bytes=1, what="a page"),
        lambda client: client.cloud_paths(["mast:a"]),
    ]
    with conf.set_temp("offline", True):
        for call in calls:
            with pytest.raises(OfflineError, match="'paperclip dataset build'"):
                call(MastClient())
    assert not mast.requests
