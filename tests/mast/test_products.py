# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""Products, recipes and the choice of previews, against the local archive."""

import numpy as np
import pytest
from astropy import units as u
from astropy.table import Table

from paperclip.exceptions import (
    FailedRowsWarning,
    InvalidQueryError,
    MaxResultsWarning,
    NoResultsWarning,
)
from paperclip.mast import (
    JWST,
    PAPER_HST,
    MastClient,
    PreviewRecipe,
    choose_previews,
    get_product_list,
    list_previews,
    observation_ids,
    query_criteria,
    recipe_for,
)
from paperclip.mast.recipes import recipe_mask


@pytest.fixture(name="client")
def fixture_client(mast):
    return MastClient()


@pytest.fixture(name="table")
def fixture_table(client):
    return query_criteria(client, proposal_id=15500, dataproduct_type="image")


def forms(table):
    """Yield observations in the ways that they are given."""
    obsid, obs_id = table["obsid"].tolist(), table["obs_id"].tolist()
    yield "table", table
    yield (
        "only obs_id",
        table["rank",] if "rank" in table.colnames else table["obs_id",],
    )
    yield "only obsid", table["obsid",]
    yield "obsid", obsid
    yield "obs_id", obs_id
    yield "both", [obsid[0], *obs_id[1:]]
    yield "int", [int(number) for number in obsid]
    yield "array", np.array(obsid)
    yield "column", table["obs_id"]
    yield "rows", list(table)
    yield "twice", obs_id + obsid
    yield "upper case", [name.upper() for name in obs_id]
    yield "tuple", tuple(obs_id)


def test_every_form_of_observations_is_the_same(client, table):
    for what, given in forms(table):
        obsids, rows = observation_ids(client, given)
        assert obsids == table["obsid"].tolist(), what
        assert rows["obsid"].tolist() == obsids, what


def test_one_observation(client, table):
    for given in (table[1], table["obsid"][1], table["obs_id"][1]):
        assert observation_ids(client, given)[0] == [table["obsid"][1]]
    assert observation_ids(client, int(table["obsid"][1]))[0] == [table["obsid"][1]]


def test_nobody_is_asked_for_what_is_known(mast, client, table):
    before = len(mast.requests)
    observation_ids(client, table)
    assert len(mast.requests) == before


def test_result_of_a_text_query_is_completed(client, table):
    """Such a table has obs_id and a dataURI, and no obsid."""
    result = table["obs_id", "obs_collection"][::-1]
    result["dataURI"] = "mast:HST/product/x.jpg"
    result["similarity"] = np.linspace(1, 0, len(result))
    obsids, rows = observation_ids(client, result)
    assert obsids == table["obsid"].tolist()[::-1]
    assert rows["similarity"].tolist() == result["similarity"].tolist()
    assert rows["proposal_id"].tolist() == ["15500"] * 5
    assert rows["s_ra"].unit == u.deg
    assert "obsid" not in result.colnames  # what was given is not changed


def test_same_obs_id_in_two_missions(mast, client, table):
    row = dict(mast.archive.observations[0])
    mast.archive.observations.append(row | {"obsid": 5, "obs_collection": "HLA"})
    given = Table({"obs_id": [row["obs_id"]], "obs_collection": ["HST"]})
    assert observation_ids(client, given)[0] == [str(row["obsid"])]
    given["obs_collection"] = "HLA"
    assert observation_ids(client, given)[0] == ["5"]


def test_unknown_observations_are_told_and_left_out(client, table):
    given = ["nothing_here", *table["obs_id"]]
    with pytest.warns(FailedRowsWarning, match="1 of 6 .*row 0, has obs_id 'nothing_"):
        obsids, _ = observation_ids(client, given)
    assert obsids == table["obsid"].tolist()


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (None, "observations must be a Table, a Row, or obs_id"),
        (3.5, "observations must be a Table"),
        ({"obs_id": "a"}, "observations must be a Table"),
        ([None], "must hold obs_id or obsid, got None"),
        ([True], "must hold obs_id or obsid, got True"),
        (["a", ""], "must hold obs_id or obsid, got ''"),
        (Table({"name": ["a"]}), "a column obsid or obs_id, got name"),
    ],
)
def test_what_holds_no_observations(client, given, message):
    with pytest.raises(InvalidQueryError, match=message):
        observation_ids(client, given)


def test_products_in_the_place_of_observations_are_named(client, table):
    products = get_product_list(client, table)
    for given in (products, products[0], products["obsID", "dataURI"]):
        with pytest.raises(
            InvalidQueryError, match=r"table of products .*download_prod"
        ):
            get_product_list(client, given)


@pytest.mark.parametrize("given", [[], Table(), Table({"obs_id": []})])
def test_nothing_in_nothing_out(mast, client, given):
    with pytest.warns(NoResultsWarning, match="there are no observations"):
        table = get_product_list(client, given)
    assert len(table) == 0
    assert {"dataURI", "productType", "size"} <= set(table.colnames)
    assert not mast.requests


def test_products(client, table):
    products = get_product_list(client, table)
    assert len(products) == 20
    assert len(set(products["dataURI"])) == 20
    assert products["size"].unit == u.byte
    assert products.colnames[:2] == ["obsID", "parent_obsid"]
    assert products.meta["n_obs"] == 5
    assert all(len(key) <= 8 for key in products.meta)
    with pytest.warns(MaxResultsWarning, match="there are 20 products, limit=3 lets"):
        assert len(get_product_list(client, table, limit=3)) == 3


def test_products_of_a_recipe(client, table):
    pictures = get_product_list(client, table, recipe=PAPER_HST)
    assert len(pictures) == 5
    assert all("_total_" in name for name in pictures["productFilename"])
    assert not any("color" in name for name in pictures["productFilename"])
    science = get_product_list(client, table, recipe="science")
    assert all(name.endswith(".fits") for name in science["productFilename"])
    with pytest.warns(NoResultsWarning, match="no products of recipe 'JWST'"):
        assert len(get_product_list(client, table, recipe=JWST)) == 0
    with pytest.raises(
        InvalidQueryError, match="recipe must be a PreviewRecipe or one"
    ):
        get_product_list(client, table, recipe="pretty")


def test_files_that_are_not_public_are_left_out(client):
    every = query_criteria(client, dataRights="EXCLUSIVE_ACCESS")
    with pytest.warns(NoResultsWarning, match="are not PUBLIC, data_rights=None lists"):
        assert len(get_product_list(client, every)) == 0
    assert len(get_product_list(client, every, data_rights=None)) == 4 * len(every)


def listed(*names, kind="PREVIEW", mission="HST"):
    return Table(
        {
            "productFilename": names,
            "productType": [kind] * len(names),
            "obs_collection": [mission] * len(names),
        }
    )


def test_recipes_take_what_they_say():
    products = listed(
        "a_total_drc.jpg", "a_total_color.jpg", "a_TOTAL.JPG", "a_drc.jpg"
    )
    assert PAPER_HST.mask(products).tolist() == [True, False, True, False]
    assert not PAPER_HST.mask(listed("a_total.jpg", kind="THUMBNAIL")).any()
    products = listed("x_i2d.jpg", "x_segm.jpg", "x_i2d_thumb.jpg", mission="JWST")
    assert JWST.mask(products).tolist() == [True, False, False]
    assert recipe_mask(products).tolist() == [True, False, False]
    assert recipe_mask(listed("any.png", mission="GALEX")).tolist() == [True]
    assert recipe_for("hst") is PAPER_HST
    uri = Table({"dataURI": ["mast:HST/p/a_total.jpg"], "productType": ["PREVIEW"]})
    assert PAPER_HST.mask(uri).tolist() == [True]
    assert PreviewRecipe("x", suffixes=()).mask(listed("a.txt")).tolist() == [True]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"name": " "}, "name of a recipe must be a str"),
        ({"name": "x", "product_type": 3}, "product_type of a recipe"),
        ({"name": "x", "include": [3]}, "include of recipe 'x' must hold texts"),
        ({"name": "x", "suffixes": [""]}, "suffixes of recipe 'x' must hold texts"),
    ],
)
def test_recipes_are_checked(options, message):
    with pytest.raises(InvalidQueryError, match=message):
        PreviewRecipe(**options)


def pictures(per_target, proposal="1", mission="HST"):
    """Return products and observations: targets with so many pictures each."""
    rows = [
        (f"{proposal}{target}{i:03d}", f"mast:{proposal}/{target}{i}.jpg", target)
        for target, count in enumerate(per_target)
        for i in range(count)
    ]
    obsids, uris, targets = zip(*rows, strict=True)
    observations = Table(
        {
            "obsid": obsids,
            "proposal_id": [proposal] * len(rows),
            "obs_collection": [mission] * len(rows),
            "target_name": [f"T{target}" for target in targets],
        }
    )
    products = Table({"obsID": obsids, "dataURI": uris, "size": range(len(rows))})
    return products, observations


def test_targets_take_turns():
    products, observations = pictures([50, 3, 1, 20])
    chosen = choose_previews(products, observations, max_per_proposal=10, rng=3)
    names, counts = np.unique(chosen["target_name"], return_counts=True)
    assert dict(zip(names.tolist(), counts.tolist(), strict=True)) in (
        {"T0": 3, "T1": 3, "T2": 1, "T3": 3},
    )
    assert len(set(chosen["dataURI"])) == 10
    few = choose_previews(products, observations, max_per_proposal=3, rng=3)
    assert len(set(few["target_name"])) == 3


def test_the_choice_depends_on_seed_and_names_alone():
    products, observations = pictures([30, 10])
    more = pictures([5, 5], proposal="2")
    chosen = choose_previews(products, observations, max_per_proposal=8, rng=1)
    order = np.random.default_rng(0).permutation(len(products))
    mixed = choose_previews(
        products[order], observations[order[::-1]], max_per_proposal=8, rng=1
    )
    assert mixed["dataURI"].tolist() == chosen["dataURI"].tolist()
    from astropy.table import vstack

    both = choose_previews(
        vstack([more[0], products]),
        vstack([more[1], observations]),
        max_per_proposal=8,
        rng=1,
    )
    assert set(chosen["dataURI"]) <= set(both["dataURI"])
    assert len(both) == 16
    other = choose_previews(products, observations, max_per_proposal=8, rng=2)
    assert other["dataURI"].tolist() != chosen["dataURI"].tolist()
    fewer = choose_previews(products, observations, max_per_proposal=4, rng=1)
    assert set(fewer["dataURI"]) <= set(chosen["dataURI"])


def test_all_previews_each_once():
    products, observations = pictures([5, 2])
    from astropy.table import vstack

    chosen = choose_previews(vstack([products, products]), observations)
    assert sorted(chosen["dataURI"]) == sorted(products["dataURI"])
    assert chosen["size"].tolist() != []
    assert len(choose_previews(products[:0], observations)) == 0
    with pytest.raises(InvalidQueryError, match="max_per_proposal must be at least 1"):
        choose_previews(products, observations, max_per_proposal=0)


@pytest.mark.parametrize("seed", [-1, "a", None, 1.5])
def test_seeds_are_checked(seed):
    with pytest.raises(InvalidQueryError, match="seed must be"):
        choose_previews(*pictures([2]), rng=seed)


def test_rights_are_checked_and_their_case_does_not_matter(mast):
    client = MastClient()
    some = query_criteria(client, obs_collection="HST", data_rights=None)
    public = get_product_list(client, some, data_rights="PUBLIC")
    for rights in ("public", ["Public"]):
        assert len(get_product_list(client, some, data_rights=rights)) == len(public)
    both = get_product_list(client, some, data_rights=["PUBLIC", "EXCLUSIVE_ACCESS"])
    assert len(both) == len(get_product_list(client, some, data_rights=None))
    assert len(both) > len(public)
    asked = len(mast.requests)
    for rights in ("SECRET", 3, [], ["PUBLIC", None]):
        for call in (get_product_list, list_previews):
            with pytest.raises(InvalidQueryError, match="data_rights must be one or"):
                call(client, some, data_rights=rights)
        with pytest.raises(InvalidQueryError, match="data_rights must be one or"):
            query_criteria(client, obs_collection="HST", data_rights=rights)
    assert len(mast.requests) == asked


def test_frames_are_refused_by_name():
    class DataFrame(dict):
        columns = ("obsid",)

        def to_numpy(self):
            return np.zeros(0)

    with pytest.raises(InvalidQueryError, match="got a DataFrame; convert it with"):
        observation_ids(MastClient(), DataFrame(obsid=["1"]))
