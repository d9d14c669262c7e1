# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""Captions: which text is drawn, and windows of it that the model can read."""

import csv
import pickle
import time
from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from paperclip.exceptions import DataSetError, InvalidQueryError
from paperclip.training import (
    CaptionMixer,
    CaptionSettings,
    Pair,
    caption_table,
    sample_rng,
)
from paperclip.training._sentences import metadata_sentences, sentence_spans

from ..shared_data import require_shared_data

ABSTRACT = (
    "We propose NIRCam imaging of NGC 1300, e.g. its bar and arms. The dust lanes "
    "(Smith et al. 2010) are at z = 0.005. How do they form? J. Doe et al. showed that "
    "they follow shocks; our data test this.\n\nA second visit uses F200W. [It] is "
    "short."
)
SENTENCES = [
    "We propose NIRCam imaging of NGC 1300, e.g. its bar and arms.",
    "The dust lanes (Smith et al. 2010) are at z = 0.005.",
    "How do they form?",
    "J. Doe et al. showed that they follow shocks; our data test this.",
    "A second visit uses F200W.",
    "[It] is short.",
]


def words(text):
    """Count words, and marks of start and end."""
    return len(text.split()) + 2


def pair(key="a", meta=(), **texts):
    return Pair(key=key, picture="a.jpg", group="HST:1", texts=texts, meta=dict(meta))


def mixer(max_tokens=77, count=words, **options):
    options.setdefault("sources", {"abstract": 1})
    return CaptionMixer(CaptionSettings(**options), count, max_tokens)


def meet(start, end, caption):
    return start < caption.end and end > caption.start


def draws(mix, drawn, n=200):
    return [mix.draw(drawn, sample_rng(0, 0, i, stream="caption")) for i in range(n)]


@pytest.fixture(scope="module", name="tokenizer")
def fixture_tokenizer():
    from paperclip.models import load_encoder

    return load_encoder("builtin", device="cpu", offline=True)


def test_sentences():
    spans = sentence_spans(ABSTRACT)
    assert [ABSTRACT[slice(*span)] for span in spans] == SENTENCES
    assert sentence_spans(" \n\n ") == []
    joined = "It is at 3.5 Mpc from SN 1987A, i.e. near. It has 2 arms... Or 3?"
    assert len(sentence_spans(joined)) == 3


def test_a_text_that_fits_is_taken_as_it_is():
    (found,) = set(draws(mixer(), pair(abstract=f"  {ABSTRACT} \n")))
    assert found.text == ABSTRACT
    assert (found.source, found.start, found.item) == ("abstract", 2, 0)


def test_windows_are_whole_sentences():
    found = draws(mixer(25), pair(abstract=ABSTRACT))
    assert {caption.text for caption in found} == {
        SENTENCES[0],
        " ".join(SENTENCES[1:3]),
        ABSTRACT[ABSTRACT.index("How") : ABSTRACT.index(" [It]")],
        ABSTRACT[ABSTRACT.index("J. Doe") :],
    }
    for caption in found:
        assert ABSTRACT[caption.start : caption.end] == caption.text
        assert words(caption.text) <= 25


def test_shorter_windows_can_be_asked_for():
    found = {c.text for c in draws(mixer(77, shorten=1.0), pair(abstract=ABSTRACT))}
    assert set(SENTENCES) < found
    assert ABSTRACT in found


def test_only_a_sentence_that_is_too_long_is_cut():
    long = "A list of stars, of dust lanes and gas; of many other old things to see."
    text = f"Short one. {long} Last one."
    found = {caption.text for caption in draws(mixer(10), pair(abstract=text))}
    assert found == {
        "Short one. A list of stars,",
        "of dust lanes and gas;",
        "of many other old things to see.",
        "Last one.",
    }


def test_an_endless_word_is_cut_in_itself():
    found = {c.text for c in draws(mixer(10, len), pair(abstract="x" * 25))}
    assert found == {"x" * 10, "x" * 5}


@given(st.text(alphabet="aB .,;?\n\u00e9\u4e2d", min_size=1, max_size=300))
@settings(deadline=None, max_examples=200)
def test_windows_cover_the_text_and_fit(text):
    if not text.strip():
        return
    mix = mixer(12)
    units, windows = mix._find_windows(text)
    for first, last in windows:
        assert last > first
        assert words(text[units[first][0] : units[last - 1][1]]) <= 12
    covered = {unit for first, last in windows for unit in range(first, last)}
    assert covered == set(range(len(units)))
    kept = "".join(text[start:end] for start, end in units)
    assert "".join(kept.split()) == "".join(text.split())


def test_windows_fit_the_builtin_model(tokenizer):
    limit = tokenizer.context_length
    mix = mixer(limit, tokenizer.tokens, shorten=0.3)
    path = require_shared_data("jwst_previews/manifest.csv")
    with path.open(encoding="utf-8") as stream:
        texts = {row["text"] for row in csv.DictReader(stream) if row["text"].strip()}
    whole = cut = 0
    for number, text in enumerate(sorted(texts)[:60]):
        spans = sentence_spans(text)
        starts, ends = {s for s, _ in spans}, {e for _, e in spans}
        for epoch in range(5):
            rng = sample_rng(0, epoch, number, stream="caption")
            caption = mix.draw(pair(abstract=text), rng)
            assert tokenizer.tokens(caption.text) <= limit
            assert text[caption.start : caption.end] == caption.text
            clean = caption.start in starts and caption.end in ends
            whole, cut = whole + clean, cut + (not clean)
            if not clean:  # then a sentence at its edge is too long by itself
                edges = [
                    s for s in spans if s[0] < caption.end and s[1] > caption.start
                ]
                counts = [tokenizer.tokens(text[slice(*span)]) for span in edges]
                assert max(counts) > limit
    assert whole > 10 * cut


def test_a_drawn_abstract_fits_the_builtin_model(tokenizer):
    text = " ".join(
        f"The {n} galaxies have bars, arms \u00b1 z~0.{n}." for n in range(60)
    )
    mix = mixer(tokenizer.context_length, tokenizer.tokens)
    for caption in draws(mix, pair(abstract=text), 50):
        assert 50 < tokenizer.tokens(caption.text) <= tokenizer.context_length
        assert caption.text.startswith("The ")
        assert caption.text.endswith(".")


def test_sources_are_mixed_with_their_probabilities():
    mix = mixer(sources={"abstract": 5, "summary": 3, "title": 2, "other": 0})
    every = pair(abstract="A.", summary="S.", title="T.", other="O.")
    counts = Counter(c.source for c in draws(mix, every, 4000))
    assert counts["abstract"] / 4000 == pytest.approx(0.5, abs=0.03)
    assert counts["summary"] / 4000 == pytest.approx(0.3, abs=0.03)
    assert counts["title"] / 4000 == pytest.approx(0.2, abs=0.03)
    assert mix.probabilities(pair(summary="S.", title="T.")) == {
        "summary": 0.6,
        "title": 0.4,
    }
    counts = Counter(c.source for c in draws(mix, pair(abstract="A.", other="O.")))
    assert counts == {"abstract": 200}


def test_the_order_of_sources_changes_nothing():
    both = pair(abstract="A.", title="T.")
    one = mixer(sources={"abstract": 0.5, "title": 0.5})
    two = mixer(sources={"title": 0.5, "abstract": 0.5})
    assert draws(one, both) == draws(two, both)
    assert draws(one, both) == draws(pickle.loads(pickle.dumps(one)), both)


def test_one_of_several_texts_is_drawn():
    found = draws(mixer(), pair(abstract=["A.", "B.", "C."]))
    assert {(c.text, c.item) for c in found} == {("A.", 0), ("B.", 1), ("C.", 2)}


def test_pairs_without_a_text_are_named():
    match = r"pair 'jw1' has no text of the sources \['abstract'\], only \['title'\]"
    with pytest.raises(DataSetError, match=match):
        draws(mixer(), pair("jw1", title="T."))
    blank = pair("jw2", abstract="A.")
    blank.texts["abstract"] = (" ",)
    with pytest.raises(DataSetError, match=r"pair 'jw2' has a blank abstract \(text 0"):
        draws(mixer(), blank)


def test_too_few_tokens():
    with pytest.raises(
        InvalidQueryError, match="max_tokens must be at least 10, got 9"
    ):
        mixer(9)


@pytest.mark.parametrize(
    ("meta", "expected"),
    [
        (
            ("JWST", "NIRCAM/IMAGE", "F200W;CLEAR", "NGC-1300"),
            "JWST NIRCam F200W image of NGC 1300",
        ),
        (
            ("HST", "ACS/WFC", "F814W", "ANY"),
            "HST ACS/WFC F814W image",
        ),
        (
            ("HST", "WFC3/UVIS", "detection", "M51_CENTER"),
            "HST WFC3/UVIS image of M 51 CENTER",
        ),
        (
            ("JWST", "MIRI/IMAGE", "F770W;F1000W;F1130W;F2100W", "SDSS J0100+2802"),
            "JWST MIRI 4-filter image of SDSS J0100+2802",
        ),
        (("", "", "", "NAME-Crab Nebula"), "Image of Crab Nebula"),
        (("HST", "HST", "F814W", "FIELD-12"), None),
        (("HST", np.ma.masked, None, np.ma.masked), None),
    ],
)
def test_metadata_sentences(meta, expected):
    names = ("obs_collection", "instrument_name", "filters", "target_name")
    found = metadata_sentences(dict(zip(names, meta, strict=True)))
    assert (found[0] if found else None) == expected
    assert all("Category" not in text and text == text.strip() for text in found)


def test_metadata_captions_and_the_category():
    meta = {"instrument_name": "NIRCAM", "target_name": "M 82", "category": "Galaxies"}
    mix = CaptionMixer(CaptionSettings(), words, 77)
    found = draws(mix, pair(meta=meta, abstract="A."), 400)
    texts = {(c.source, c.text) for c in found}
    assert texts == {
        ("abstract", "A."),
        ("metadata", "NIRCam image of M 82"),
        ("metadata", "M 82 observed with NIRCam"),
    }
    (found,) = set(draws(mixer(category=True), pair(meta=meta, abstract="A.")))
    assert found.text == "Category: Galaxies. A."


def test_chunks_of_the_paper():
    mix = mixer(window="words", max_words=25)
    found = draws(mix, pair(abstract=ABSTRACT))
    assert len({caption.text for caption in found}) == len(SENTENCES)
    wrapped = [c for c in found if c.end < c.start]
    assert "[It] is short. We propose" in {c.text[:25] for c in wrapped}
    assert all(len(caption.text.split()) <= 25 for caption in found)
    (whole,) = set(draws(mixer(window="words"), pair(abstract=ABSTRACT)))
    assert (whole.text, whole.end) == (ABSTRACT, len(ABSTRACT))
    long = " ".join(["word"] * 30) + ". And more."
    for caption in draws(mix, pair(abstract=long)):
        assert 0 < len(caption.text.split()) <= 25


def test_what_was_drawn_is_recorded():
    found = draws(mixer(25), pair(abstract=ABSTRACT), 3)
    table = caption_table(["a", "b", "c"], found)
    assert table.colnames == ["key", "source", "item", "start", "end"]
    assert table["end"].tolist() == [caption.end for caption in found]
    assert len(caption_table([], [])) == 0


def test_speed():
    pairs = [
        pair(str(n), abstract=ABSTRACT.replace("1300", str(n))) for n in range(200)
    ]
    mix = mixer(25)
    for number, drawn in enumerate(pairs):
        mix.draw(drawn, sample_rng(0, 0, number, stream="caption"))
    rng, best = np.random.default_rng(0), np.inf
    for _ in range(5):
        start = time.process_time()
        for number in range(2000):
            mix.draw(pairs[number % 200], rng)
        best = min(best, time.process_time() - start)
    assert 2000 / best > 10_000
