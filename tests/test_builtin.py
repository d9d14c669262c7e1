# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""The model and the index that ship with the package."""

import json
import re
from pathlib import Path

import numpy as np
import pytest

import paperclip
from paperclip import Paperclip
from paperclip.exceptions import ModelMismatchError
from paperclip.models import load_encoder
from paperclip.utils.files import sha256_of

from .shared_data import require_shared_data
from .tiny_models import tiny_model_directory

DATA = Path(paperclip.__file__).parent / "data"
MODEL = DATA / "builtin_model"
INDEX = DATA / "sample_index.lance"


def size_of(folder):
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


@pytest.mark.parametrize(("folder", "limit"), [(MODEL, 60e6), (INDEX, 10e6)])
def test_data_are_small(folder, limit):
    assert 100_000 < size_of(folder) <= limit


def test_checksums_are_right():
    expected = json.loads((MODEL / "checksums.json").read_text())
    assert "open_clip_model.safetensors" in expected
    for name, digest in expected.items():
        assert sha256_of(MODEL / name) == digest


def test_model_card_states_figures_and_limits():
    card = (MODEL / "README.md").read_text()
    for word in ("shuffled", "chance", "interval", "Limits", "Apache-2.0"):
        assert word in card


def test_index_was_made_with_the_model():
    encoder = load_encoder("builtin")
    assert Paperclip.index.fingerprint == encoder.fingerprint
    assert Paperclip.index.dimension == encoder.dimension


def test_open_clip_itself_reads_the_directory():
    import open_clip

    model, _ = open_clip.create_model_from_pretrained(f"local-dir:{MODEL}")
    tokenizer = open_clip.get_tokenizer(f"local-dir:{MODEL}")
    text = "globular cluster"
    theirs = model.eval().encode_text(tokenizer([text]), normalize=True)
    ours = load_encoder("builtin").encode_texts([text])
    np.testing.assert_allclose(theirs.detach().numpy(), ours, atol=1e-5)


def test_rows_are_complete():
    table = Paperclip.index.to_table()
    assert len(table) > 700
    assert set(table["obs_collection"]) == {"HST", "JWST"}
    webb = table[table["obs_collection"] == "JWST"]
    uris = webb["dataURI"].compressed()
    assert len(uris) > 0.9 * len(webb)
    assert all(re.fullmatch(r"mast:JWST/product/jw\d{5}\S+\.fits", u) for u in uris)
    known = np.ma.compressed(np.ma.asarray(webb["s_ra"]))
    assert len(known) > 0.9 * len(webb)
    assert known.min() >= 0
    assert known.max() < 360
    assert max(len(title) for title in webb["obs_title"].compressed()) < 300


@pytest.mark.parametrize(
    ("text", "classes"),
    [
        ("face-on spiral galaxy", ("galax",)),
        ("protostar with an outflow in a dark cloud", ("star", "ism", "cloud")),
    ],
)
def test_query_finds_what_archive_classes_say(text, classes):
    table = Paperclip.query_text(text, limit=20, where="obs_collection = 'JWST'")
    found = [str(label).lower() for label in table["target_classification"]]
    right = sum(any(word in label for word in classes) for label in found)
    assert right >= 12, found


def test_retrieval_of_real_pictures_beats_chance():
    folder = require_shared_data("deep_sky")
    import csv

    from paperclip.imaging import read_preview

    with (folder / "manifest.csv").open(newline="") as stream:
        rows = list(csv.DictReader(stream))[::4]
    kinds = ["globular cluster", "spiral galaxy", "planetary nebula", "open cluster"]
    encoder = load_encoder("builtin")
    chosen = [row for row in rows if row["labels"] in kinds]
    paths = [folder / row["file"] for row in chosen]
    images = encoder.encode_images(paths, load=read_preview)
    best = np.argmax(images @ encoder.encode_texts(kinds).T, axis=1)
    right = np.mean(
        [kinds[n] == row["labels"] for n, row in zip(best, chosen, strict=True)]
    )
    assert right > 0.5


def test_another_model_is_refused(tmp_path):
    other = tiny_model_directory(tmp_path / "other", seed=3)
    with pytest.raises(ModelMismatchError, match="was built with model 'builtin-"):
        Paperclip(model=other).query_text("nebula")
