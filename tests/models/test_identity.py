# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""A model is known by its files before it is loaded."""

import pytest

from paperclip.exceptions import InvalidQueryError, ModelNotFoundError
from paperclip.models import load_encoder
from paperclip.models.identity import identify

from ..tiny_models import tiny_model_directory


@pytest.mark.parametrize("kind", ["native", "bert"])
def test_identity_is_that_of_the_encoder(kind, tmp_path):
    folder = tiny_model_directory(tmp_path / "m", kind=kind)
    encoder, identity = load_encoder(folder), identify(folder)
    assert identity.fingerprint == encoder.fingerprint
    assert identity.name == encoder.name
    assert identity.preprocessing == encoder.preprocessing
    assert identify(encoder) == identity


def test_builtin_model():
    encoder, identity = load_encoder("builtin"), identify("builtin")
    assert identity.fingerprint == encoder.fingerprint
    assert identity.preprocessing == encoder.preprocessing


def test_least_encoder():
    class Least:
        fingerprint = "least"
        encode_images = encode_texts = None

    identity = identify(Least())
    assert (identity.fingerprint, identity.preprocessing) == ("least", None)
    with pytest.raises(InvalidQueryError, match="must be a name, a directory or an"):
        identify(5)


def test_no_such_model():
    with pytest.raises(ModelNotFoundError):
        identify("bultin")
