# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""The user-facing class, with small real models and a small real index."""

import warnings

import numpy as np
import pytest
from astropy.io import fits
from astropy.table import Table

from paperclip import Paperclip, PaperclipClass, conf
from paperclip.exceptions import (
    ImageConversionError,
    InvalidQueryError,
    LanguageWarning,
    ModelMismatchError,
    NoResultsWarning,
    VocabularyError,
)
from paperclip.index import Index
from paperclip.models import load_encoder
from paperclip.vocabulary import load_vocabulary

from .tiny_models import tiny_model_directory


def rows(count):
    """Return made-up observations."""
    return Table(
        {
            "obs_id": [f"obs-{i:02d}" for i in range(count)],
            "obs_collection": ["JWST" if i % 2 else "HST" for i in range(count)],
            "proposal_id": [str(1000 + i // 4) for i in range(count)],
            "s_ra": np.linspace(0, 359, count),
            "s_dec": np.linspace(-89, 89, count),
        }
    )


def pictures(count):
    """Return pictures that differ, row 0 at the top."""
    rng = np.random.default_rng(0)
    return [rng.integers(0, 256, (40, 50, 3), dtype=np.uint8) for _ in range(count)]


@pytest.fixture(name="directory", scope="module")
def fixture_directory(tmp_path_factory):
    return tiny_model_directory(tmp_path_factory.mktemp("model"), seed=0)


@pytest.fixture(name="encoder", scope="module")
def fixture_encoder(directory):
    return load_encoder(directory, device="cpu")


@pytest.fixture(name="index", scope="module")
def fixture_index(encoder, tmp_path_factory):
    index = Index.create(
        tmp_path_factory.mktemp("index") / "small.lance",
        fingerprint=encoder.fingerprint,
        dimension=encoder.dimension,
    )
    index.append(rows(12), encoder.encode_images(pictures(12)))
    return index


@pytest.fixture(name="clip")
def fixture_clip(encoder, index):
    return Paperclip(model=encoder, index=index)


def hdu():
    data = np.random.default_rng(1).normal(size=(64, 48)).astype("float32")
    return fits.ImageHDU(data, name="SCI")


def test_query_text_agrees_with_the_product_of_vectors(clip, encoder, index):
    table = clip.query_text("spiral galaxy", limit=5)
    expected = index.vectors() @ encoder.encode_texts(["spiral galaxy"])[0]
    order = np.argsort(-expected)[:5]
    assert table["obs_id"].tolist() == [f"obs-{i:02d}" for i in order]
    np.testing.assert_allclose(table["similarity"], expected[order], atol=1e-6)
    assert table["rank"].tolist() == [1, 2, 3, 4, 5]


def test_percentile_counts_the_rows_that_are_not_more_similar(clip):
    table = clip.query_text("spiral galaxy", limit=12)
    expected = 100 * (12 - np.arange(12)) / 12
    np.testing.assert_allclose(table["similarity_percentile"], expected)


def test_percentile_refers_to_the_whole_index_with_a_condition(clip):
    everything = clip.query_text("spiral galaxy", limit=12)
    known = dict(
        zip(everything["obs_id"], everything["similarity_percentile"], strict=True)
    )
    table = clip.query_text("spiral galaxy", where="obs_collection = 'HST'")
    assert len(table) == 6
    assert set(table["obs_collection"]) == {"HST"}
    for row in table:
        assert row["similarity_percentile"] == pytest.approx(known[row["obs_id"]])


def test_meta_holds_the_provenance(clip, encoder, index):
    meta = clip.query_text("  spiral \n galaxy ", limit=4).meta
    assert meta["query"] == "spiral galaxy"
    assert meta["model"] == encoder.fingerprint
    assert meta["index"] == str(index.uri)
    assert meta["indexver"] == index.version
    assert meta["n_index"] == 12
    assert 1 <= meta["n_props"] <= 3
    assert meta["time"].endswith("+00:00")
    assert meta["version"].startswith("paperclip ")


@pytest.mark.parametrize("columns", [["obs_id"], ["similarity_percentile", "s_ra"]])
def test_columns_are_those_asked_for(clip, columns):
    assert clip.query_text("nebula", columns=columns).colnames == columns


@pytest.mark.parametrize("form", ["ascii.ecsv", "votable", "fits"])
def test_result_survives_a_round_trip(clip, tmp_path, form):
    table = clip.query_text("nebula", limit=3)
    path = tmp_path / "table.dat"
    table.write(path, format=form)
    back = Table.read(path, format=form)
    assert back["obs_id"].astype(str).tolist() == table["obs_id"].tolist()
    assert back["s_ra"].unit == "deg"
    np.testing.assert_allclose(back["similarity"], table["similarity"])


def test_no_match_is_an_empty_table_with_columns(clip):
    with pytest.warns(NoResultsWarning, match=r"no row of index .* fulfils where="):
        table = clip.query_text("nebula", where="proposal_id = '1'")
    assert len(table) == 0
    assert {"obs_id", "similarity", "similarity_percentile"} <= set(table.colnames)


def test_an_empty_index_says_so(encoder, tmp_path):
    empty = Index.create(
        tmp_path / "empty", fingerprint=encoder.fingerprint, dimension=encoder.dimension
    )
    clip = Paperclip(model=encoder, index=empty)
    with pytest.warns(NoResultsWarning, match="is empty"):
        assert len(clip.query_text("nebula")) == 0
    assert clip.describe(hdu(), limit=1).meta["n_back"] == 0


@pytest.mark.parametrize(
    ("text", "match"),
    [
        ("", "must not be blank"),
        (" \n\t", "must not be blank"),
        (None, "must be a str, got NoneType"),
        (b"galaxy", "must be a str, got bytes"),
        ("galaxy " * 10_000, "at most 1000 words, got 10000"),
        ("\u87ba\u65cb\u661f\u7cfb", "must be English: 4 of 4 letters"),
        ("спиральная галактика M81", "must be English"),
        ("2107 + 31", "must have words"),
    ],
)
def test_query_text_refuses(clip, text, match):
    with pytest.raises(InvalidQueryError, match=match):
        clip.query_text(text)


@pytest.mark.parametrize(
    "text", ["galaxie spirale vue de face avec une barre", "der Kern einer Galaxie"]
)
def test_other_languages_warn(clip, text):
    with pytest.warns(LanguageWarning, match="does not look English"):
        clip.query_text(text)


@pytest.mark.parametrize(
    "text",
    ["La Silla", "de Vaucouleurs profile", "Ly\u03b1 galaxies", "\u03b7 Carinae"],
)
def test_names_and_greek_letters_do_not_warn(clip, text):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert len(clip.query_text(text, limit=1)) == 1


@pytest.mark.parametrize(
    ("limit", "match"),
    [(0, "at least 1, got 0"), (-3, "at least 1, got -3"), (2.5, "whole number")],
)
@pytest.mark.parametrize("method", ["query_text", "query_image", "describe"])
def test_limit_is_checked(clip, method, limit, match):
    with pytest.raises(InvalidQueryError, match=match):
        getattr(clip, method)("nebula", limit=limit)


@pytest.mark.parametrize("method", ["query_text", "query_image"])
def test_no_limit_is_for_pages(clip, method):
    with pytest.raises(InvalidQueryError, match=r"got None; .*use iter_query_text"):
        getattr(clip, method)("nebula", limit=None)


def test_unknown_column_names_the_nearest(clip):
    with pytest.raises(InvalidQueryError, match=r"obs_idd.*obs_id"):
        clip.query_text("nebula", columns=["obs_idd"])


def test_index_of_another_model_is_refused(clip, index, tmp_path):
    other = load_encoder(tiny_model_directory(tmp_path / "other", seed=1), device="cpu")
    with pytest.raises(ModelMismatchError, match="rebuild the index"):
        Paperclip(model=other, index=index).query_text("nebula")


def test_query_image_finds_the_picture_itself(clip):
    table = clip.query_image(pictures(12)[7], limit=2)
    assert table["obs_id"][0] == "obs-07"
    assert table["similarity"][0] == pytest.approx(1.0, abs=1e-2)


def test_describe_agrees_with_the_product_of_vectors(clip, encoder):
    table = clip.describe(hdu(), limit=None)
    terms = load_vocabulary()
    assert len(table) == len(terms)
    assert table.colnames == [
        "rank", "term", "kind", "similarity", "percentile", "probability", "uat_id"
    ]  # fmt: skip
    assert table["probability"].sum() == pytest.approx(1.0, abs=1e-5)
    assert np.all(np.diff(table["similarity"]) <= 0)
    assert np.all((table["percentile"] >= 0) & (table["percentile"] <= 100))
    best = encoder.encode_texts([table["term"][0]])[0]
    from paperclip.imaging import to_rgb

    image = encoder.encode_images([to_rgb(hdu())])[0]
    assert table["similarity"][0] == pytest.approx(float(best @ image), abs=1e-5)


def test_describe_takes_a_path_and_other_terms(clip, tmp_path):
    path = tmp_path / "image.fits"
    hdu().writeto(path)
    table = clip.describe(path, vocabulary=["comet", "asteroid"])
    assert sorted(table["term"]) == ["asteroid", "comet"]
    assert table.meta["image"].endswith("image.fits")
    assert table.meta["n_back"] == 12


def test_describe_of_one_kind(clip):
    table = clip.describe(hdu(), kind="science use", limit=5)
    assert set(table["kind"]) == {"science use"}
    with pytest.raises(InvalidQueryError, match="kind must be one of"):
        clip.describe(hdu(), kind="galaxy")


def test_percentile_is_masked_without_an_index_of_the_model(index, tmp_path):
    other = load_encoder(tiny_model_directory(tmp_path / "other", seed=1), device="cpu")
    table = Paperclip(model=other, index=index).describe(hdu(), limit=3)
    assert table["percentile"].mask.all()
    assert table.meta["n_back"] == 0


@pytest.mark.parametrize(
    ("vocabulary", "match"),
    [([], "empty"), (["comet", "Comet "], "repeats"), (["comet", " "], "blank")],
)
def test_describe_refuses_vocabularies(clip, vocabulary, match):
    with pytest.raises(VocabularyError, match=match):
        clip.describe(hdu(), vocabulary=vocabulary)


def test_describe_of_a_table_lists_what_the_file_holds(clip):
    empty = fits.HDUList([fits.PrimaryHDU(), fits.BinTableHDU(name="EVENTS")])
    with pytest.raises(ImageConversionError, match="EVENTS"):
        clip.describe(empty)


def test_calling_an_instance_gives_another_one(directory, index):
    first = Paperclip(model=directory)
    second = first(index=index)
    assert isinstance(second, PaperclipClass)
    assert second is not first
    assert second.encoder.fingerprint == first.encoder.fingerprint
    assert second.index is index


def test_conf_is_read_at_call_time(directory, index):
    instance = PaperclipClass(index=index)
    with conf.set_temp("model", str(directory)):
        assert len(instance.query_text("nebula", limit=2)) == 2


def test_methods_give_the_same_answer_twice(clip):
    first, second = (clip.query_text("nebula", limit=5) for _ in range(2))
    assert first["obs_id"].tolist() == second["obs_id"].tolist()
    assert first["similarity"].tolist() == second["similarity"].tolist()


def test_describe_works_without_an_index(encoder, tmp_path):
    table = Paperclip(model=encoder, index=tmp_path / "none").describe(hdu(), limit=2)
    assert table["percentile"].mask.all()


def test_vectors_of_few_vocabularies_are_kept(clip):
    for number in range(12):
        clip.describe(hdu(), vocabulary=["comet", f"star {number}"], limit=1)
    assert len(clip._term_vectors) <= 8


def test_conditions_apply_before_the_search(clip, index):
    table = clip.query_text(
        "nebula", region=(0, -89), radius="90 deg", obs_collection="h?t", limit=2
    )
    south = index.to_table()
    south = south[(south["s_dec"] <= 1) & (south["obs_collection"] == "HST")]
    assert table.meta["n_match"] == len(south) > 2
    assert len(table) == 2
    assert set(table["obs_id"]) <= set(south["obs_id"])
    assert table.meta["filter"] == "obs_collection=h?t"
    assert table.meta["search"] == "exact"
    assert table.meta["recall"] == 1.0
    assert all(len(key) <= 8 for key in table.meta)


def test_conditions_of_a_query_by_image(clip):
    found = clip.query_image(hdu(), proposal_id=["1000", "1002"], limit=12)
    assert set(found["proposal_id"]) == {"1000", "1002"}
    assert found.meta["n_match"] == len(found) == 8


def test_conditions_without_a_match_are_named(clip):
    match = r"fulfils region='circle 1.000000 \+2.000000 0 deg'"
    with pytest.warns(NoResultsWarning, match=match):
        clip.query_text("nebula", region="1 2", radius=0)


def test_percentile_of_a_region_refers_to_the_whole_index(clip):
    everything = clip.query_text("spiral galaxy", limit=12)
    known = dict(
        zip(everything["obs_id"], everything["similarity_percentile"], strict=True)
    )
    table = clip.query_text("spiral galaxy", region=(0, 90), radius=90)
    assert 0 < len(table) < 12
    for row in table:
        assert row["similarity_percentile"] == pytest.approx(known[row["obs_id"]])
