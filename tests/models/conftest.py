# Licensed under a 3-clause BSD style license - see LICENSE.rst
import shutil

import pytest

from paperclip import conf
from paperclip.models import load_encoder

from ..hub_server import hub_server
from ..tiny_models import tiny_model_directory


@pytest.fixture(scope="session", name="directories")
def fixture_directories(tmp_path_factory):
    """One read-only model directory of each kind."""
    root = tmp_path_factory.mktemp("tiny-models")
    return {
        kind: tiny_model_directory(root / kind, kind=kind)
        for kind in ("native", "bert")
    }


@pytest.fixture(scope="session", name="native")
def fixture_native(directories):
    return load_encoder(directories["native"], device="cpu", precision="float32")


@pytest.fixture(scope="session", name="bert")
def fixture_bert(directories):
    return load_encoder(directories["bert"], device="cpu", precision="float32")


@pytest.fixture(name="encoder", params=["native", "bert"])
def fixture_encoder(request):
    return request.getfixturevalue(request.param)


@pytest.fixture(name="copy")
def fixture_copy(directories, tmp_path):
    """Make a copy of a model directory that may be damaged."""

    def copy(kind="native"):
        return shutil.copytree(directories[kind], tmp_path / "model")

    return copy


@pytest.fixture(name="cache")
def fixture_cache(tmp_path):
    with conf.set_temp("cache_dir", str(tmp_path / "cache")):
        yield tmp_path / "cache"


@pytest.fixture(name="hub")
def fixture_hub(cache, monkeypatch):
    """A Hub on this machine; failed requests are repeated without waiting."""
    from huggingface_hub import constants
    from huggingface_hub.utils import (
        are_progress_bars_disabled,
        disable_progress_bars,
        enable_progress_bars,
    )

    from paperclip.models import _snapshots as module

    monkeypatch.setattr(module, "_WAIT", 0.0)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    before = are_progress_bars_disabled()
    disable_progress_bars()
    with hub_server() as hub:
        yield hub
    if not before:
        enable_progress_bars()
