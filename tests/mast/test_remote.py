# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""The same questions as elsewhere, to the real archive: pytest --remote-data=any."""

import numpy as np
import pytest
from astropy.coordinates import SkyCoord

from paperclip import Paperclip
from paperclip.footprints import Footprints, sky_area

pytestmark = pytest.mark.remote_data

PROPOSAL = 15513  # of the paper


def test_observations_of_a_proposal():
    number = Paperclip.query_criteria(proposal_id=PROPOSAL, count_only=True)
    table = Paperclip.query_criteria(proposal_id=PROPOSAL, limit=None)
    assert len(table) == number == table.meta["n_avail"] > 0
    assert set(table["proposal_id"]) == {str(PROPOSAL)}
    assert set(table["dataRights"]) == {"PUBLIC"}
    assert len(set(table["obsid"])) == len(table)


def test_footprints_of_the_archive_can_be_read():
    place = SkyCoord("00h42m44.3s +41d16m09s")
    options = {"obs_collection": ["HST", "JWST"], "limit": None}
    table = Paperclip.query_region(place, "1 arcmin", **options)
    footprints = Footprints(table["s_region"])
    assert len(footprints.problems) < 0.02 * len(table)
    hits = sky_area(place, "1 arcmin").intersects(footprints)
    assert hits.sum() + len(footprints.problems) >= len(table)
    assert (np.diff(table["distance"].filled(1e9)) >= 0).all()


def test_object_is_where_it_is():
    table = Paperclip.query_object(
        "M 31", "10 arcsec", obs_collection="HST", limit=None
    )
    assert len(table)
    assert "M 31" in table.meta["object"]


def test_products_previews_and_proposal(tmp_path):
    table = Paperclip.query_criteria(
        proposal_id=PROPOSAL, obs_collection="HST", obs_id="hst_*", limit=None
    )
    products = Paperclip.get_product_list(table[:3])
    assert {"PREVIEW", "SCIENCE"} <= set(products["productType"])
    pictures = Paperclip.get_previews(table, tmp_path, max_per_proposal=1)
    assert (pictures["status"] == "done").any()
    (proposal,) = Paperclip.get_proposals(PROPOSAL, mission="HST")
    assert proposal["status"] == "ok"
    assert len(proposal["abstract"]) > 200
