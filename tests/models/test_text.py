# Licensed under a 3-clause BSD style license - see LICENSE.rst
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from paperclip.exceptions import InvalidQueryError, TruncatedTextWarning

SENTENCES = [
    "We image the spiral galaxy in two deep fields.",
    "Dust lanes and young star clusters are near the arms!",
    "Is the quasar a lens?",
    "The planetary nebula shows jets and an old red star; the ring is faint.",
]
LONG = " ".join(SENTENCES * 6)


def test_tokens_equal_those_of_open_clip(directories, encoder, request):
    import open_clip

    kind = request.node.callspec.params["encoder"]
    tokenizer = open_clip.get_tokenizer(f"local-dir:{directories[kind]}", 32)
    for text in ["galaxy", "  Spiral   GALAXY!", "a é 星 &amp; b", SENTENCES[0]]:
        row = tokenizer([text])[0].tolist()
        ids = encoder._reader.ids(text)
        assert row == ids + [encoder._reader.pad_id] * (32 - len(ids))
        assert encoder.tokens(text) == len(ids)


def test_rows_are_unit_float32(encoder):
    vectors = encoder.encode_texts(["spiral galaxy", "nebula"])
    assert vectors.dtype == np.float32
    assert vectors.shape == (2, encoder.dimension)
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-6)


def test_short_batches_equal_padded_ones(directories, encoder, request):
    import open_clip
    import torch

    kind = request.node.callspec.params["encoder"]
    tokenizer = open_clip.get_tokenizer(f"local-dir:{directories[kind]}", 32)
    texts = ["galaxy", SENTENCES[1], "a red star", SENTENCES[3][:60]]
    with torch.inference_mode():
        padded = encoder.model.encode_text(tokenizer(texts), normalize=True).numpy()
    for batch_size in (1, 2, 4):
        ours = encoder.encode_texts(texts, batch_size=batch_size)
        np.testing.assert_allclose(ours, padded, atol=2e-6)


def test_order_of_the_input_is_kept(encoder):
    texts = [LONG, "galaxy", SENTENCES[0], "red star", LONG[:300], "ring"]
    together = encoder.encode_texts(texts, batch_size=3)
    alone = np.concatenate([encoder.encode_texts([text]) for text in texts])
    np.testing.assert_allclose(together, alone, atol=2e-6)


def test_no_texts(encoder):
    assert encoder.encode_texts([]).shape == (0, encoder.dimension)


def test_numpy_strings(encoder):
    array = np.array(["galaxy", "nebula"])
    assert encoder.encode_texts(array).shape == (2, encoder.dimension)


def test_windows_hold_every_token_once_in_order(encoder):
    reader = encoder._reader
    windows = reader.windows(LONG)
    assert len(windows) > 2
    assert max(map(len, windows)) <= encoder.context_length
    inner = [token for window in windows for token in window[1:-1]]
    assert inner == reader.ids(LONG)[1:-1]


def test_windows_end_with_sentences(native):
    reader = native._reader
    for window in reader.windows(LONG)[:-1]:
        assert window[-2] in {reader.ids(mark)[1] for mark in ".!?;"}


def test_long_text_is_the_weighted_mean_of_its_windows(encoder):
    windows = encoder._reader.windows(LONG)
    vectors = encoder._encode_windows(windows, 8)
    mean = np.average(vectors, axis=0, weights=[len(window) for window in windows])
    mean /= np.linalg.norm(mean)
    np.testing.assert_allclose(encoder.encode_texts([LONG])[0], mean, atol=1e-6)


def test_every_part_of_a_long_text_counts(encoder):
    changed = LONG + " Supernova remnant."
    first, second = encoder.encode_texts([LONG, changed])
    assert not np.allclose(first, second)


@pytest.mark.parametrize(
    "text",
    ["x" * 3000, "galaxy " * 10_000, "星雲" * 500, "." * 500, "a\n\nb. " * 200],
)
def test_odd_long_texts(encoder, text):
    vector = encoder.encode_texts([text])
    assert np.isfinite(vector).all()
    assert max(map(len, encoder._reader.windows(text))) <= encoder.context_length


@settings(max_examples=60, deadline=None)
@given(text=st.text(min_size=1, max_size=400))
def test_windows_of_any_text(native, text):
    windows = native._reader.windows(text)
    assert max(map(len, windows), default=0) <= native.context_length
    total = sum(len(window) - 2 for window in windows)
    assert (total == 0) == (native._reader.count(text) == 0)


def test_truncated_text_quotes_what_was_lost(encoder):
    with pytest.warns(TruncatedTextWarning, match=r"texts\[1\] has \d+ tokens.*faint"):
        vectors = encoder.encode_texts(["galaxy", LONG], long="truncate")
    head, lost = encoder._reader.head(LONG)
    assert head.split() + lost.split() == LONG.split()
    assert encoder.tokens(head) <= encoder.context_length
    longer = f"{head} {lost.split()[0]}"
    assert encoder.tokens(longer) > encoder.context_length
    np.testing.assert_allclose(vectors[1], encoder.encode_texts([head])[0], atol=1e-6)


def test_truncated_single_word(native):
    with pytest.warns(TruncatedTextWarning, match="dropped"):
        native.encode_texts(["qzxj" * 100], long="truncate")


def test_short_texts_are_not_truncated(encoder):
    same = [encoder.encode_texts([SENTENCES[0]], long=x) for x in ("chunk", "truncate")]
    assert np.array_equal(*same)


def test_long_text_as_an_error(encoder):
    with pytest.raises(InvalidQueryError, match=r"texts\[0\].*would lose"):
        encoder.encode_texts([LONG], long="error")


@pytest.mark.parametrize(
    ("texts", "message"),
    [
        ("galaxy", "must be a sequence of str, got str"),
        (["galaxy", ""], r"texts\[1\] is blank"),
        (["galaxy", " \n\t\u2003"], r"texts\[1\] is blank"),
        (["galaxy", None], r"texts\[1\] must be a str, got NoneType"),
        ([b"galaxy"], r"texts\[0\] must be a str, got bytes"),
        ([3.5], r"texts\[0\] must be a str, got float"),
        (["a", "galaxy " * 20_000], r"texts\[1\] has 140000 characters and at most"),
    ],
)
def test_bad_texts(encoder, texts, message):
    with pytest.raises(InvalidQueryError, match=message):
        encoder.encode_texts(texts)


def test_text_that_holds_nothing_for_the_model(native):
    with pytest.raises(InvalidQueryError, match=r"texts\[0\] holds nothing"):
        native.encode_texts(["<end_of_text>"])


def test_control_words_in_a_text_do_not_end_it(native):
    text = "galaxy <end_of_text> with dust"
    escaped = "galaxy &lt;end_of_text&gt; with dust"
    plain = native.encode_texts(["galaxy with dust"])
    assert np.array_equal(native.encode_texts([text]), plain)
    assert np.array_equal(native.encode_texts([escaped]), plain)


@pytest.mark.parametrize("long", ["cut", None, True])
def test_bad_long(encoder, long):
    with pytest.raises(InvalidQueryError, match="long must be one of"):
        encoder.encode_texts(["galaxy"], long=long)


def test_padding_stays_where_it_matters(copy):
    """A tower that attends to padding gets all of it."""
    import json

    import open_clip
    import torch

    from paperclip.models import load_encoder

    path = copy()
    file = path / "open_clip_config.json"
    config = json.loads(file.read_text())
    config["model_cfg"]["text_cfg"] |= {"no_causal_mask": True, "pool_type": "last"}
    file.write_text(json.dumps(config))
    encoder = load_encoder(path)
    texts = ["galaxy", SENTENCES[0]]
    tokenizer = open_clip.get_tokenizer(f"local-dir:{path}")
    with torch.inference_mode():
        padded = encoder.model.encode_text(tokenizer(texts), normalize=True).numpy()
    np.testing.assert_allclose(encoder.encode_texts(texts), padded, atol=1e-6)
