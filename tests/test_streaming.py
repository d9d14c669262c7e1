# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""Answers of any length to a text."""

import numpy as np
import pytest
from astropy.table import Table, vstack

from paperclip import Paperclip
from paperclip.exceptions import (
    InvalidQueryError,
    ModelMismatchError,
    NoResultsWarning,
)
from paperclip.index import Index
from paperclip.models import load_encoder

from .tiny_models import tiny_model_directory


@pytest.fixture(name="clip", scope="module")
def fixture_clip(tmp_path_factory):
    encoder = load_encoder(
        tiny_model_directory(tmp_path_factory.mktemp("m"), seed=0), device="cpu"
    )
    place = tmp_path_factory.mktemp("i") / "ix"
    index = Index.create(
        place, fingerprint=encoder.fingerprint, dimension=encoder.dimension
    )
    rng = np.random.default_rng(0)
    vectors = rng.normal(size=(60, encoder.dimension))
    vectors[20:27] = vectors[20]
    rows = Table({"obs_id": [f"o{i:02d}" for i in range(60)]})
    rows["obs_collection"] = ["HST", "JWST", "JWST"] * 20
    index.append(rows, vectors)
    return Paperclip(model=encoder, index=index)


@pytest.mark.parametrize(
    "options", [{}, {"where": "obs_collection = 'JWST'"}, {"limit": 25}], ids=str
)
@pytest.mark.parametrize("page", [4, 17, 1000])
def test_pages_are_those_of_a_query(clip, page, options):
    expected = clip.query_text("a spiral galaxy", **{"limit": 60, **options})
    found = vstack(
        list(clip.iter_query_text("a spiral galaxy", page=page, **options)),
        metadata_conflicts="silent",
    )
    assert found.colnames == expected.colnames
    for name in ("rank", "similarity", "similarity_percentile", "obs_id"):
        np.testing.assert_array_equal(found[name], expected[name], err_msg=name)
    same = ("query", "model", "modname", "index", "indexver", "n_index", "version")
    assert [found.meta[k] for k in same] == [expected.meta[k] for k in same]


def test_similarity_limits_the_stream(clip):
    everything = clip.query_text("a nebula", limit=60)["similarity"]
    floor = float(everything[9])
    (page,) = clip.iter_query_text("a nebula", min_similarity=floor)
    assert len(page) == (everything >= floor).sum() == page.meta["n_stream"]


def test_columns(clip):
    names = ["obs_id", "similarity_percentile"]
    pages = clip.iter_query_text("a nebula", page=7, columns=names)
    assert all(page.colnames == names for page in pages)


def test_nothing_found_warns(clip):
    with pytest.warns(NoResultsWarning, match="nothing in the index"):
        (page,) = clip.iter_query_text("a nebula", where="obs_collection = 'X'")
    assert (len(page), page.meta["query"]) == (0, "a nebula")


def test_bad_arguments_are_refused_by_the_call(clip):
    with pytest.raises(InvalidQueryError, match="page must be at least 1"):
        clip.iter_query_text("a nebula", page=0)
    with pytest.raises(InvalidQueryError, match="did you mean 'obs_id'"):
        clip.iter_query_text("a nebula", columns=["obsid"])
    with pytest.raises(InvalidQueryError, match="did you mean 'region'"):
        clip.iter_query_text("a nebula", regions="1 2")
    with pytest.raises(InvalidQueryError, match="text"):
        clip.iter_query_text("  ")


def test_another_model_is_refused(clip, tmp_path):
    other = Index.create(tmp_path / "ix", fingerprint="other", dimension=3)
    with pytest.raises(ModelMismatchError, match="'other'"):
        clip(index=other).iter_query_text("a nebula")
