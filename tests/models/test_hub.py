# Licensed under a 3-clause BSD style license - see LICENSE.rst
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from paperclip import conf
from paperclip.exceptions import (
    ModelLoadError,
    ModelNotFoundError,
    OfflineError,
    RemoteServiceError,
)
from paperclip.models import fetch, load_encoder
from paperclip.models.hub import resolve

from ..tiny_models import tiny_model_directory

ROOT = Path(__file__).parents[2]
WEIGHTS = "open_clip_model.safetensors"


def test_the_right_files_arrive(hub, directories):
    files = {p.name: p.read_bytes() for p in directories["bert"].iterdir()}
    commit = hub.commit("org/name", {**files, "pytorch_model.bin": b"pickle"})
    found = resolve("org/name", endpoint=hub.url)
    assert found.revision == commit
    assert found.name == "org/name"
    assert {p.name for p in found.directory.iterdir()} == set(files)
    for name, content in files.items():
        assert (found.directory / name).read_bytes() == content
    assert not any("pytorch_model" in request for request in hub.requests)


@pytest.mark.parametrize("kind", ["native", "bert"])
def test_hub_model_equals_its_directory(hub, directories, kind):
    hub.commit("org/name", directories[kind])
    found = fetch("hf-hub:org/name", endpoint=hub.url)
    loaded = load_encoder("org/name", offline=True)
    assert loaded.revision == found.revision
    assert loaded.name == "org/name"
    assert loaded.fingerprint == load_encoder(directories[kind]).fingerprint


def test_second_use_offline_makes_no_request(hub, directories):
    hub.commit("org/name", directories["native"])
    first = resolve("org/name", endpoint=hub.url)
    hub.requests.clear()
    second = resolve("org/name", endpoint=hub.url, offline=True)
    assert second.directory == first.directory
    assert second.expected == first.expected
    assert hub.requests == []


def test_revisions_are_told_apart(hub, tmp_path):
    old = hub.commit("org/name", tiny_model_directory(tmp_path / "a", seed=1))
    new = hub.commit("org/name", tiny_model_directory(tmp_path / "b", seed=2))
    hub.commit("org/name", tiny_model_directory(tmp_path / "c", seed=3), branch="dev")
    newest = resolve("org/name", endpoint=hub.url)
    pinned = resolve(f"org/name@{old}", endpoint=hub.url)
    branch = resolve("org/name@dev", endpoint=hub.url)
    assert (newest.revision, pinned.revision) == (new, old)
    found = {load_encoder(r.directory).fingerprint for r in (newest, pinned, branch)}
    assert len(found) == 3
    hub.requests.clear()
    assert resolve(f"org/name@{old}", endpoint=hub.url).directory == pinned.directory
    assert hub.requests == []  # a commit cannot change


def test_new_commit_is_noticed(hub, tmp_path):
    hub.commit("org/name", tiny_model_directory(tmp_path / "a", seed=1))
    resolve("org/name", endpoint=hub.url)
    new = hub.commit("org/name", tiny_model_directory(tmp_path / "b", seed=2))
    assert resolve("org/name", endpoint=hub.url).revision == new


def test_wrong_checksum_is_fetched_again_and_refused(hub, directories, cache):
    hub.commit("org/name", directories["native"])
    hub.faults["corrupt"] = [WEIGHTS]
    with pytest.raises(ModelLoadError, match="does not match the SHA-256"):
        resolve("org/name", endpoint=hub.url)
    assert sum(r.startswith("GET") and WEIGHTS in r for r in hub.requests) == 2
    assert not list(cache.rglob(WEIGHTS))  # nothing bad stays behind
    with pytest.raises(OfflineError, match="not complete on disk"):
        resolve("org/name", endpoint=hub.url, offline=True)
    del hub.faults["corrupt"]
    assert load_encoder(resolve("org/name", endpoint=hub.url).directory).dimension == 24


def test_checksum_of_a_cached_file_is_checked_offline_too(hub, directories):
    hub.commit("org/name", directories["native"])
    found = resolve("org/name", endpoint=hub.url)
    file = (found.directory / WEIGHTS).resolve()
    content = file.read_bytes()
    file.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    with pytest.raises(
        ModelLoadError, match=r"SHA-256.*paperclip model fetch org/name"
    ):
        resolve("org/name", endpoint=hub.url, offline=True)
    resolve("org/name", endpoint=hub.url)  # online it is repaired
    assert file.read_bytes() == content


@pytest.mark.parametrize("name", [WEIGHTS, "open_clip_config.json"])
def test_missing_file(hub, directories, name):
    files = {p.name: p.read_bytes() for p in directories["native"].iterdir()}
    del files[name]
    hub.commit("org/name", files)
    with pytest.raises(ModelLoadError, match=f"holds no {name}"):
        load_encoder(resolve("org/name", endpoint=hub.url).directory)


def test_listed_file_that_is_not_there(hub, directories):
    hub.commit("org/name", directories["native"])
    hub.faults["missing"] = [WEIGHTS]
    with pytest.raises(ModelNotFoundError, match="one of its files is not on the Hub"):
        resolve("org/name", endpoint=hub.url)


@pytest.mark.parametrize(
    ("fault", "status"),
    [((401, None), 401), ((403, "GatedRepo"), 403), ((403, None), 403)],
)
def test_refused_access(hub, directories, fault, status):
    hub.commit("org/name", directories["native"])
    hub.faults["all"] = fault
    with pytest.raises(RemoteServiceError, match="hf auth login") as caught:
        resolve("org/name", endpoint=hub.url)
    assert caught.value.status == status
    assert len(hub.requests) == 1


def test_unknown_repository(hub):
    with pytest.raises(ModelNotFoundError, match=r"'org/nothing'.*HTTP 404"):
        resolve("org/nothing", endpoint=hub.url)


def test_unknown_revision(hub, directories):
    hub.commit("org/name", directories["native"])
    with pytest.raises(ModelNotFoundError, match="no revision 'v9'"):
        resolve("org/name@v9", endpoint=hub.url)


def test_503_then_200(hub, directories):
    commit = hub.commit("org/name", directories["native"])
    hub.faults["status"] = [503, 503]
    assert resolve("org/name", endpoint=hub.url).revision == commit


def test_503_in_the_middle(hub, directories):
    commit = hub.commit("org/name", directories["native"])
    hub.faults["status"] = [None, None, 503]
    assert resolve("org/name", endpoint=hub.url).revision == commit


def test_503_for_good(hub, directories):
    hub.commit("org/name", directories["native"])
    hub.faults["all"] = (503, None)
    with pytest.raises(RemoteServiceError, match="3 attempts: HTTP 503") as caught:
        resolve("org/name", endpoint=hub.url)
    assert caught.value.status == 503
    assert len(hub.requests) == 3


def test_broken_hub_does_not_matter_once_the_model_is_here(hub, directories):
    commit = hub.commit("org/name", directories["native"])
    resolve("org/name", endpoint=hub.url)
    hub.faults["all"] = (503, None)
    assert resolve("org/name", endpoint=hub.url).revision == commit


def test_body_broken_off_is_resumed(hub, directories):
    hub.commit("org/name", directories["native"])
    hub.faults["short"] = 1
    found = resolve("org/name", endpoint=hub.url)
    content = (directories["native"] / WEIGHTS).read_bytes()
    assert (found.directory / WEIGHTS).read_bytes() == content


def test_slow_hub(hub, directories):
    hub.commit("org/name", directories["native"])
    hub.faults["slow"] = 1.0
    with (
        conf.set_temp("timeout", 0.2),
        pytest.raises(RemoteServiceError, match="did not deliver 'org/name'"),
    ):
        resolve("org/name", endpoint=hub.url)


def test_no_hub_at_all(cache, monkeypatch):
    from huggingface_hub import constants

    from paperclip.models import _snapshots as module

    monkeypatch.setattr(module, "_WAIT", 0.0)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    with pytest.raises(RemoteServiceError, match="3 attempts: ConnectError"):
        resolve("org/name", endpoint="http://127.0.0.1:9")


def test_half_finished_cache(hub, directories):
    hub.commit("org/name", directories["native"])
    found = resolve("org/name", endpoint=hub.url)
    (found.directory / WEIGHTS).resolve().unlink()
    (found.directory / WEIGHTS).unlink()
    with pytest.raises(OfflineError, match="paperclip model fetch org/name"):
        resolve("org/name", endpoint=hub.url, offline=True)
    assert (resolve("org/name", endpoint=hub.url).directory / WEIGHTS).is_file()


def test_offline_names_what_is_missing(hub):
    message = "'org/name' .revision 'v1'.*'paperclip model fetch org/name@v1'"
    with pytest.raises(OfflineError, match=message):
        resolve("org/name@v1", endpoint=hub.url, offline=True)
    with (
        conf.set_temp("offline", True),
        pytest.raises(OfflineError, match="'org/name'"),
    ):
        resolve("org/name", endpoint=hub.url)
    assert hub.requests == []


@pytest.mark.parametrize(
    "name",
    [
        "vit",
        "",
        "org/..",
        "../org",
        "a/b/c",
        "org/na me",
        "http://example.org/model",
        "org/name@",
        "org/name@../x",
        "org/name\0",
        "x" * 5000,
        "hf-hub:/etc/passwd",
        "org/-name",
        "no/such/directory",
    ],
)
def test_bad_names(name):
    with pytest.raises(ModelNotFoundError, match=r"no model|is not a revision"):
        resolve(name)


def test_misspelt_builtin():
    with pytest.raises(ModelNotFoundError, match="did you mean 'builtin'"):
        resolve("bultin")


def test_not_a_name():
    with pytest.raises(ModelNotFoundError, match="must be a str or a path, got int"):
        resolve(3)


def test_directory_wins_over_the_hub(hub, directories, tmp_path, monkeypatch):
    hub.commit("org/name", directories["native"])
    tiny_model_directory(tmp_path / "org" / "name", seed=5)
    monkeypatch.chdir(tmp_path)
    assert resolve("org/name", endpoint=hub.url).kind == "directory"
    assert resolve("hf-hub:org/name", endpoint=hub.url).kind == "hub"


def test_missing_directory(tmp_path):
    with pytest.raises(ModelNotFoundError, match="no model directory"):
        resolve(tmp_path / "nothing")


def test_file_instead_of_directory(directories):
    with pytest.raises(ModelLoadError, match="is a file; give the directory"):
        resolve(str(directories["native"] / WEIGHTS))


NO_SOCKETS = """
import socket, sys
def refuse(*args, **kwargs):
    raise AssertionError("a socket was opened")
class Refused(socket.socket):
    __init__ = refuse
socket.socket = Refused
socket.create_connection = socket.getaddrinfo = refuse
import paperclip
from paperclip.exceptions import OfflineError
from paperclip.models import load_encoder
paperclip.conf.offline = OFFLINE
for directory in sys.argv[1:]:
    encoder = load_encoder(directory)
    encoder.encode_texts(["a spiral galaxy"])
    print(encoder.fingerprint)
try:
    load_encoder("org/name")
except OfflineError as error:
    print(error)
"""


@pytest.mark.parametrize("how", ["conf", "environment"])
def test_offline_opens_no_socket(directories, tmp_path, how):
    code = NO_SOCKETS.replace("OFFLINE", str(how == "conf"))
    environment = {**os.environ, "HF_HOME": str(tmp_path)}
    environment.pop("HF_HUB_OFFLINE", None)
    if how == "environment":
        environment["HF_HUB_OFFLINE"] = "1"
    done = subprocess.run(
        [sys.executable, "-c", code, *map(str, directories.values())],
        capture_output=True,
        text=True,
        env=environment,
        cwd=ROOT,
        check=False,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert [bool(re.fullmatch("model-[0-9a-f]{12}", x)) for x in lines[:2]] == [
        True
    ] * 2
    assert "paperclip model fetch org/name" in lines[2]
