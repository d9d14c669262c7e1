# Licensed under a 3-clause BSD style license - see LICENSE.rst
import json

import numpy as np
import pytest

from paperclip.cli import main
from paperclip.index import Index


@pytest.fixture(name="uri")
def fixture_uri(tmp_path):
    index = Index.create(tmp_path / "ix", fingerprint="f", dimension=4)
    rows = {"obs_id": ["a", "b", "c"], "instrument_name": ["ACS", "ACS", "NIRCAM"]}
    index.append(rows, np.eye(4)[:3])
    return index.uri


@pytest.fixture(name="run")
def fixture_run(capfd):
    def run(*words):
        code = main(["index", *map(str, words)])
        out, err = capfd.readouterr()
        assert "Traceback" not in err
        return code, out, err

    return run


def test_versions(run, uri):
    run("tag", uri, "first")
    code, out, _ = run("versions", uri)
    assert code == 0
    lines = out.splitlines()
    assert lines[0].split() == [
        "version",
        "time",
        "rows",
        "tags",
        "what",
        "was",
        "done",
    ]
    assert lines[-1].split()[0] == "2"
    assert lines[-1].endswith("append 3 rows")
    code, out, _ = run("versions", uri, "--format", "json")
    assert [row["tags"] for row in json.loads(out)["rows"]] == ["", "first"]


def test_delete_and_restore(run, uri):
    code, out, err = run("delete", uri, "a", "nobody")
    assert (code, out) == (0, "")
    said = f"deleted 1 row; {uri} has 2 rows; OBS_ID that were not in it: 1; "
    assert f"{said}'paperclip index restore {uri} 2'" in err
    _, _, err = run("delete", uri, "--where", "instrument_name = 'NIRCAM'")
    assert "deleted 1 row;" in err
    _, _, err = run("delete", uri, "nobody")
    assert err == f"deleted 0 rows; {uri} has 1 row; OBS_ID that were not in it: 1\n"
    code, _, err = run("restore", uri, "2")
    assert code == 0
    assert "version 5 is what 2 was: 3 rows; 'paperclip index restore" in err
    assert len(Index.open(uri)) == 3


def test_tags(run, uri):
    assert "version 2 is good" in run("tag", uri, "good")[2]
    assert "version 1 is empty" in run("tag", uri, "empty", "--version", "1")[2]
    run("restore", uri, "empty")
    assert len(Index.open(uri)) == 0
    assert "no tag good any more" in run("tag", uri, "good", "--remove")[2]
    assert Index.open(uri).versions()["tags"].tolist() == ["empty", "", ""]


def test_compact(run, uri):
    Index.open(uri).append({"obs_id": ["d"]}, [[1, 1, 1, 1]])
    code, _, err = run("compact", uri)
    assert code == 0
    assert "2 files are 1 now; removed 0 old versions, 0 bytes" in err


@pytest.mark.parametrize(
    ("words", "code", "match"),
    [
        (["delete", "URI"], 2, "give the OBS_ID of rows, or --where"),
        (["delete", "URI", "a", "--where", "true"], 2, "give the OBS_ID of rows, or"),
        (["delete", "URI", "--where", "inst = 1"], 1, "no column 'inst'"),
        (["restore", "URI"], 2, "VERSION"),
        (["restore", "URI", "9"], 1, "has 2 versions from 1 to 2"),
        (["tag", "URI", "5"], 1, "must start with a letter"),
        (["tag", "URI", "x", "--remove"], 1, "no tag 'x'"),
        (["tag", "URI", "x", "--remove", "--version", "1"], 2, "takes no --version"),
        (["compact", "URI", "--keep-days", "soon"], 2, "must be a number of days"),
        (["compact", "URI", "--keep-days", "0"], 1, "keep_days must be a number of d"),
        (["versions", "nowhere"], 1, "no index at"),
    ],
)
def test_what_is_wrong_is_said(run, uri, words, code, match):
    words = [uri if word == "URI" else word for word in words]
    found, out, err = run(*words)
    assert (found, out) == (code, "")
    assert match in err
    assert len(Index.open(uri)) == 3
