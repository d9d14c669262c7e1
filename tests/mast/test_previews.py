# Licensed under a 3-clause BSD style license - see LICENSE.rst
from pathlib import Path

import numpy as np
import pytest
from astropy.table import Table

from paperclip import conf
from paperclip.exceptions import (
    DataSetError,
    DataSetWriteError,
    FailedRowsWarning,
    InvalidQueryError,
    NoResultsWarning,
)
from paperclip.imaging import read_preview
from paperclip.mast import (
    MastClient,
    PreviewRecipe,
    get_previews,
    list_previews,
    query_criteria,
)


def observed(**criteria):
    client = MastClient()
    return client, query_criteria(client, **criteria)


def test_pictures_of_a_query(mast, tmp_path):
    client, observations = observed(obs_collection="HST", dataproduct_type="image")
    table = get_previews(client, observations, tmp_path, check=read_preview, size=64)
    assert table["obsid"].tolist() == observations["obsid"].tolist()
    assert set(observations.colnames) < set(table.colnames)
    assert set(table["status"]) == {"done"}
    assert all("_total_" in Path(p).name for p in table["path"])
    assert not any("color" in Path(p).name for p in table["path"])
    shapes = {read_preview(path).shape for path in table["path"]}
    assert shapes == {(64, 64, 3)}
    assert table["s_ra"].unit == observations["s_ra"].unit


def test_again_sends_no_download(mast, tmp_path):
    client, observations = observed(proposal_id="15500", dataproduct_type="image")
    first = get_previews(client, observations, tmp_path, check=read_preview)
    n = len(mast.asked("download"))
    again = get_previews(client, observations[::-1], tmp_path, check=read_preview)
    assert len(mast.asked("download")) == n == len(first)
    assert again["path"].tolist() == first["path"].tolist()[::-1]


def test_every_mission_has_its_recipe(mast, tmp_path):
    client, observations = observed(dataproduct_type="image")
    table = get_previews(client, observations, tmp_path, check=read_preview)
    uris = table["dataURI"][table["obs_collection"] == "JWST"]
    assert len(uris)
    assert all(uri.endswith("_i2d.jpg") for uri in uris)


def test_a_recipe_of_ones_own(mast, tmp_path):
    client, observations = observed(proposal_id="15500", dataproduct_type="image")
    recipe = PreviewRecipe("colour", include=["color"])
    table = get_previews(
        client, observations, tmp_path, check=read_preview, recipe=recipe
    )
    assert all("_color_" in uri for uri in table["dataURI"])
    table = list_previews(client, observations, recipe="ANY_PREVIEW")
    assert len(table) == 2 * len(observations)
    assert table["obsid"].tolist() == np.repeat(observations["obsid"], 2).tolist()


def test_some_of_each_proposal(mast, tmp_path):
    client, observations = observed(obs_collection="HST")
    table = list_previews(client, observations, max_per_proposal=2, seed=3)
    images = table[[uri is not np.ma.masked for uri in table["dataURI"]]]
    numbers = np.unique(images["proposal_id"], return_counts=True)[1]
    assert set(numbers.tolist()) == {2}
    assert len(set(images["dataURI"])) == len(images)
    for group in images.group_by("proposal_id").groups:
        assert len(set(group["target_name"])) == 2
    same = list_previews(client, observations[::-1], max_per_proposal=2, seed=3)
    assert set(same["dataURI"].filled("")) == set(table["dataURI"].filled(""))


def test_what_fails_stays_with_its_reason(mast, tmp_path):
    client, observations = observed(proposal_id="15500")
    image = observations["dataproduct_type"] == "image"
    lost = f"mast:HST/product/{observations['obs_id'][image][1]}_drc.jpg"
    mast.faults.always("html", where=lost)
    with pytest.warns(FailedRowsWarning, match="2 of 6 pictures are missing"):
        table = get_previews(client, observations, tmp_path, check=read_preview)
    assert table["obsid"].tolist() == observations["obsid"].tolist()
    assert table["path"].mask.tolist() == (table["status"] == "failed").tolist()
    messages = dict(zip(table["dataURI"].filled(""), table["message"], strict=True))
    assert "page of text" in messages[lost]
    assert "lists no public preview" in messages[""]
    mast.faults.clear()
    with pytest.warns(FailedRowsWarning, match="1 of 6"):
        table = get_previews(client, observations, tmp_path, check=read_preview)
    assert lost in table["dataURI"][table["status"] == "done"]


def test_pictures_that_are_not_public_are_not_asked_for(mast, tmp_path):
    client, observations = observed(data_rights=None, proposal_id="15513")
    assert "EXCLUSIVE_ACCESS" in observations["dataRights"]
    everything = list_previews(client, observations, data_rights=None)
    table = list_previews(client, observations)
    assert sum(everything["dataURI"].mask) < sum(table["dataURI"].mask)
    with pytest.warns(FailedRowsWarning, match="missing"):
        get_previews(client, observations, tmp_path, check=read_preview)
    assert 401 not in {request.status for request in mast.asked("download")}


def test_the_cache_keeps_pictures_of_other_calls_alone(mast, tmp_path):
    client, observations = observed(obs_collection="HST", dataproduct_type="image")
    with conf.set_temp("cache_dir", str(tmp_path)):

        def stop(number, total):
            raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            get_previews(
                client, observations, check=read_preview, progress=stop, workers=1
            )
        before = len(mast.asked("download"))
        table = get_previews(client, observations[-1], check=read_preview)
    assert len(mast.asked("download")) <= before + 1
    assert Path(table["path"][0]).is_relative_to(tmp_path / "previews" / "512")


def test_a_cache_that_cannot_be_written_is_named(mast, tmp_path):
    (tmp_path / "file").touch()
    client, observations = observed(proposal_id="15500")
    with (
        conf.set_temp("cache_dir", str(tmp_path / "file" / "cache")),
        pytest.raises(DataSetWriteError, match=r"cannot write .*file.*choose a folder"),
    ):
        get_previews(client, observations, check=read_preview)


def test_identifiers_and_rows_will_do(mast, tmp_path):
    client, observations = observed(proposal_id="15500", dataproduct_type="image")
    for what in (observations[0], observations["obs_id"][0], observations["obsid"][0]):
        table = get_previews(client, what, tmp_path, check=read_preview)
        assert table["obs_id"].tolist() == [observations["obs_id"][0]]
        assert table["status"].tolist() == ["done"]


def test_what_a_search_returns_will_do(mast, tmp_path):
    client, observations = observed(proposal_id="15500", dataproduct_type="image")
    result = Table(
        {
            "rank": [1, 2],
            "similarity": np.array([0.3, 0.2], "f4"),
            "obs_id": observations["obs_id"][:2],
            "dataURI": ["something", "else"],
        }
    )
    table = get_previews(client, result, tmp_path, check=read_preview)
    assert table["rank"].tolist() == [1, 2]
    assert all(uri.startswith("mast:HST/product/") for uri in table["dataURI"])


def test_nothing_gives_an_empty_table(mast, tmp_path):
    client, observations = observed(proposal_id="15500")
    with pytest.warns(NoResultsWarning, match="no observations"):
        table = get_previews(client, observations[:0], tmp_path, check=read_preview)
    assert len(table) == 0
    assert {"obs_id", "dataURI", "path", "status", "message"} < set(table.colnames)
    assert not mast.asked("download")


def test_tables_survive_files(mast, tmp_path):
    client, observations = observed(proposal_id="15500")
    with pytest.warns(FailedRowsWarning, match="1 of 6"):
        table = get_previews(client, observations, tmp_path, check=read_preview)
    for kind in ("ascii.ecsv", "votable", "fits"):
        path = tmp_path / f"table.{kind}"
        table.write(path, format=kind)
        back = Table.read(path, format=kind)
        assert back["status"].tolist() == table["status"].tolist()


def test_arguments_are_checked(mast, tmp_path):
    client, observations = observed(proposal_id="15500")
    with pytest.raises(InvalidQueryError, match="max_per_proposal must be at least 1"):
        list_previews(client, observations, max_per_proposal=0)
    with pytest.raises(InvalidQueryError, match="size must be at least 16, got 0"):
        get_previews(client, observations, tmp_path, check=read_preview, size=0)
    with pytest.raises(InvalidQueryError, match="recipe must be a PreviewRecipe or"):
        list_previews(client, observations, recipe="pretty")
    with pytest.raises(InvalidQueryError, match="seed must be at least 0, got -1"):
        list_previews(client, observations, seed=-1)
    for folder in ("", 3):
        with pytest.raises(InvalidQueryError, match="folder must be the path of a fol"):
            get_previews(client, observations, folder, check=read_preview)
    (tmp_path / "file").touch()
    with pytest.raises(DataSetError, match="file' is no folder; choose another name"):
        get_previews(client, observations, tmp_path / "file", check=read_preview)
    get_previews(client, observations[:1], tmp_path, check=read_preview)
    with pytest.raises(DataSetError, match="pictures of 512 pixels, got size=256"):
        get_previews(client, observations[:1], tmp_path, check=read_preview, size=256)
