# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""Observations by criteria, region and name, against the local archive."""

import warnings

import numpy as np
import pytest
import regions
from astropy import units as u
from astropy.coordinates import SkyCoord
from astropy.table import Table
from astropy.time import Time

from paperclip.exceptions import (
    InvalidQueryError,
    MaxResultsWarning,
    NameResolutionError,
    NoResultsWarning,
    RemoteServiceWarning,
)
from paperclip.mast import MastClient, query_criteria, query_object, query_region

from ..mast_server import Archive, mast_server


@pytest.fixture(name="client")
def fixture_client(mast):
    return MastClient()


def first(mast, **conditions):
    """Return the first row of the archive with some values."""
    return next(
        row
        for row in mast.archive.observations
        if all(row[name] == value for name, value in conditions.items())
    )


def test_criteria(mast, client):
    table = query_criteria(client, proposal_id=15500, dataproduct_type="image")
    assert len(table) == 5
    assert set(table["obs_collection"]) == {"HST"}
    assert table.colnames[:3] == ["obs_id", "obs_collection", "instrument_name"]
    assert table["s_ra"].unit == u.deg
    assert table["em_min"].unit == u.nm
    assert table["t_exptime"].unit == u.s
    assert table["obsid"].dtype.kind == "U"
    assert table["calib_level"].description
    assert table.meta["query"] == "proposal_id=15500, dataproduct_type=image"
    assert table.meta["n_avail"] == 5
    assert table.meta["server"] == mast.url
    assert all(len(key) <= 8 for key in table.meta)


@pytest.mark.parametrize(
    "criteria",
    [
        {"proposal_id": "15500"},
        {"proposal_id": ["015500"]},
        {"proposal_id": np.array([15500])},
        {"proposal_id": Table({"a": ["15500"]})["a"]},
        {"proposal_id": {15500}},
        {"obs_id": "hst_15500_*", "dataproduct_type": ["image", "spectrum"]},
        {"t_min": (Time(58000, format="mjd"), Time(58006, format="mjd"))},
        {"t_min": [58000, 58006] * u.d},
        {"t_min": [1392000, 1392144] * u.h},
        {"t_max": (None, 58050)},
        {"PROPOSAL_ID": 15500, "em_min": [0.4, 0.6] * u.um},
    ],
)
def test_values_in_the_ways_they_are_given(client, criteria):
    table = query_criteria(client, **criteria)
    assert set(table["proposal_id"]) == {"15500"}


def test_public_data_only_unless_asked(mast, client):
    secret = first(mast, dataRights="EXCLUSIVE_ACCESS")
    number = secret["proposal_id"]
    public = query_criteria(client, proposal_id=number)
    every = query_criteria(client, proposal_id=number, data_rights=None)
    only = query_criteria(client, proposal_id=number, dataRights="EXCLUSIVE_ACCESS")
    assert len(every) == len(public) + len(only)
    assert secret["obs_id"] in only["obs_id"]
    assert secret["obs_id"] not in public["obs_id"]


def test_only_the_number(mast, client):
    assert query_criteria(client, obs_collection="HST", count_only=True) == 17
    assert query_criteria(client, obs_id="nothing", count_only=True) == 0


def test_limit_lets_through_what_it_says(mast, client):
    with pytest.warns(MaxResultsWarning, match="there are 17 .*limit=4 lets the first"):
        table = query_criteria(client, obs_collection="HST", limit=4)
    assert len(table) == 4
    assert table.meta["n_avail"] == 17


def test_nothing_is_an_empty_table(client):
    with pytest.warns(NoResultsWarning, match="MAST has no observations with obs_id=x"):
        table = query_criteria(client, obs_id="x")
    assert len(table) == 0
    assert {"obs_id", "obsid", "s_region"} <= set(table.colnames)
    assert table["s_ra"].unit == u.deg


@pytest.mark.parametrize("kind", ["ascii.ecsv", "votable", "fits"])
def test_tables_survive_a_round_trip(client, tmp_path, kind):
    table = query_criteria(client, proposal_id=15500)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # longest names of the headers of FITS
        table.write(tmp_path / "t", format=kind)
        again = Table.read(tmp_path / "t", format=kind)
    assert again["s_region"].tolist() == table["s_region"].tolist()
    assert again["s_ra"].unit == u.deg


@pytest.mark.parametrize(
    ("criteria", "message"),
    [
        ({}, "criteria must not be empty"),
        ({"proposalid": 3}, "did you mean 'proposal_id'"),
        ({"objectname": "M31"}, "use query_object for that"),
        ({"coordinates": "1 2"}, "use query_region for that"),
        ({"limits": 3}, "did you mean 'limit'"),
        ({"proposal_id": []}, "at least one value"),
        ({"t_min": 5}, "takes \\(min, max\\)"),
        ({"t_min": [1, 2] * u.m}, "t_min must be in a unit like d"),
        ({"t_min": (np.nan, 5)}, "without NaN"),
        ({"proposal_id": 1, "limit": 0}, "limit must be at least 1"),
        ({"proposal_id": 1, "limit": "all"}, "limit must be a whole number"),
    ],
)
def test_criteria_that_cannot_be(client, criteria, message):
    with pytest.raises(InvalidQueryError, match=message):
        query_criteria(client, **criteria)


def test_region_takes_footprints_not_centres(mast, client):
    row = first(mast, obs_collection="HST")
    # the footprint reaches 0.02 deg from its centre
    near = SkyCoord(row["s_ra"], row["s_dec"] + 0.025, unit="deg")
    table = query_region(client, near, "0.4 arcmin", obs_collection="HST")
    assert row["obs_id"] in table["obs_id"]
    assert table["distance"].unit == u.arcsec
    assert table["distance"][0] == pytest.approx(0.025 * 3600, rel=1e-3)
    with pytest.warns(NoResultsWarning, match="within 0.2 arcmin"):
        table = query_region(client, near, "0.2 arcmin", obs_collection="HST")
    assert "distance" not in table.colnames or len(table) == 0
    # a corner of the circle that MAST is asked for, but not of the region
    side = regions.RectangleSkyRegion(near, 60 * u.arcsec, 1 * u.arcsec)
    with pytest.warns(NoResultsWarning):
        query_region(client, side)
    assert mast.asked("invoke")


def test_regions_of_every_kind_and_nearest_first(mast, client):
    row = first(mast, obs_collection="JWST")
    place = SkyCoord(row["s_ra"], row["s_dec"], unit="deg").galactic
    circle = regions.CircleSkyRegion(place, 1 * u.deg)
    square = regions.RectangleSkyRegion(place, 1 * u.deg, 1 * u.deg, 20 * u.deg)
    table = query_region(client, circle, dataproduct_type="image")
    assert table["distance"][0] < 1e-3
    assert (np.diff(table["distance"]) >= 0).all()
    assert len(query_region(client, square, dataproduct_type="image")) == len(table)
    text = f"{row['s_ra']} {row['s_dec']}"
    assert len(query_region(client, text, 1, dataproduct_type="image")) == len(table)
    with pytest.warns(MaxResultsWarning, match=f"there are {len(table)} .*limit=2 "):
        cut = query_region(client, circle, limit=2, dataproduct_type="image")
    assert cut["obsid"].tolist() == table["obsid"].tolist()[:2]


def test_a_point_asks_for_what_holds_it(mast, client):
    row = first(mast, obs_collection="HST")
    place = SkyCoord(row["s_ra"], row["s_dec"], unit="deg")
    table = query_region(client, regions.PointSkyRegion(place))
    assert row["obs_id"] in table["obs_id"]


@pytest.mark.parametrize("dec", [0.0, 89.99, -90.0])
def test_poles_and_the_end_of_right_ascension(dec):
    pairs = {1: "POLYGON 359.9 {0} 0.1 {0} 0.1 {1} 359.9 {1}", 2: "CIRCLE 0 {0} 0.1"}
    low, high = max(-90, dec - 0.1), min(90, dec + 0.1)
    rows = [
        {"obsid": n, "obs_id": f"a{n}", "s_ra": 0.0, "s_dec": dec, "s_region": text}
        | {"dataRights": "PUBLIC"}
        for n, text in ((n, t.format(low, high)) for n, t in pairs.items())
    ]
    with mast_server(Archive(observations=rows)) as mast, mast.conf():
        table = query_region(MastClient(), SkyCoord(0.01, dec, unit="deg"), 0.05)
        assert sorted(table["obsid"]) == ["1", "2"]


def test_damaged_and_missing_footprints_are_judged_by_position():
    base = {"s_ra": 10.0, "s_dec": 20.0, "dataRights": "PUBLIC"}
    rows = [
        base | {"obsid": 1, "obs_id": "a", "s_region": "POLYGON 1 2 3"},
        base | {"obsid": 2, "obs_id": "b", "s_region": None},
        base | {"obsid": 3, "obs_id": "c", "s_region": None, "s_dec": 20.05},
    ]
    warned = pytest.warns(RemoteServiceWarning, match="obsid 1: POLYGON needs pairs")
    with mast_server(Archive(observations=rows)) as mast, mast.conf(), warned:
        table = query_region(MastClient(), "10 20", "1 arcmin")
    assert table["obsid"].tolist() == ["1", "2"]


@pytest.mark.parametrize(
    ("region", "radius", "message"),
    [
        (SkyCoord(np.nan, 3, unit="deg"), 1, "region must have finite coordinates"),
        ("10 20", None, "radius must be given"),
        ("10 20", np.nan, "radius must be between 0 and 180"),
        ([], None, "region must not be an empty list"),
        ("M 31", 1, "use query_object"),
    ],
)
def test_no_question_goes_out_for_what_is_no_region(
    mast, client, region, radius, message
):
    with pytest.raises(InvalidQueryError, match=message):
        query_region(client, region, radius)
    assert not mast.requests


def test_objects_by_name(mast, client):
    name, (ra, dec) = next(iter(mast.archive.names.items()))
    table = query_object(client, name, "1 arcmin")
    assert table["s_ra"][0] == pytest.approx(ra)
    assert table["s_dec"][0] == pytest.approx(dec)
    assert table.meta["object"] == name
    with pytest.raises(NameResolutionError, match="knows no object 'nowhere'"):
        query_object(client, "nowhere")
    with pytest.raises(InvalidQueryError, match="radius must be an angle"):
        query_object(client, name, "wide")


def test_rights_are_named_once_where_nothing_is_found(client):
    with pytest.warns(NoResultsWarning) as caught:
        query_criteria(client, obs_collection="HST", dataRights="RESTRICTED")
    (message,) = [str(warning.message) for warning in caught]
    assert message.endswith("obs_collection=HST, dataRights=RESTRICTED")
