# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""The command that summarizes abstracts."""

import pytest
from astropy.table import Table

from paperclip.cli import main

from ..llm_server import llm_server


@pytest.fixture(name="llm")
def fixture_llm(monkeypatch):
    pytest.importorskip("outlines", reason="there is none for Python 3.14")
    pytest.importorskip("openai")
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    monkeypatch.setattr("paperclip.utils.retry.FIRST_WAIT", 0.001)
    with llm_server() as llm:
        yield llm


@pytest.fixture(name="run")
def fixture_run(capfd, llm):
    def run(*words):
        words = ["summarize", *words, "--backend", f"openai:{llm.url}"]
        return main([str(word) for word in words]), *capfd.readouterr()

    return run


@pytest.fixture(name="proposals")
def fixture_proposals(tmp_path):
    path = tmp_path / "p.csv"
    path.write_text(
        "mission,proposal_id,abstract\n"
        "HST,0123,A spiral galaxy.\nJWST,45,Some quasars.\nHST,7,\n"
    )
    return path


def test_table_in_table_out(run, llm, proposals, tmp_path):
    output = tmp_path / "s.ecsv"
    code, out, err = run(proposals, "--output", output)
    assert code == 0
    assert "abstracts:" in out
    assert "failed:        1" in out
    assert "1 of 3 rows have no answer" in err
    table = Table.read(output)
    assert list(table["key"]) == ["HST:123", "JWST:45", "HST:7"]
    asked = len(llm.requests)
    assert run(proposals, "--output", output)[0] == 0
    assert len(llm.requests) == asked
    assert run(proposals, "--output", output, "--restart")[0] == 0
    assert len(llm.requests) == asked + 2


def test_text_file_and_limit_to_the_screen(run, llm, tmp_path):
    path = tmp_path / "a.txt"
    path.write_text("First galaxy.\n\nSecond quasar.\nThird.\n")
    code, out, err = run(path, "--limit", 2, "--seed", 4, "--max-tokens", 99)
    assert (code, err) == (0, "")
    assert "Second, quasar. For star formation rate." in out
    assert len(llm.requests) == 2
    assert (llm.requests[0]["seed"], llm.requests[0]["max_tokens"]) == (4, 99)


@pytest.mark.parametrize(
    ("name", "content", "match"),
    [
        ("a.pdf", "x", "must be a data set or end in .txt"),
        ("a.ecsv", "x", "cannot be read as a table"),
        ("a.csv", "title\nx\n", "no column 'abstract'"),
    ],
)
def test_wrong_input(run, tmp_path, name, content, match):
    path = tmp_path / name
    path.write_text(content)
    code, out, err = run(path)
    assert (code, out) == (1, "")
    assert match in err


def test_missing_file(run, tmp_path):
    code, _, err = run(tmp_path / "no.csv")
    assert code == 1
    assert "there is no file" in err
    assert run(tmp_path, "--limit", 1)[0] == 1  # a folder without a data set


def test_options_are_checked(run, proposals, tmp_path):
    assert run(proposals, "--batch-size", 0)[0] == 2
    code, _, err = run(proposals, "--column", "abstrct")
    assert code == 1
    assert "say with --column which one to read: " in err
    code, _, err = run(proposals, "--retries", 99)
    assert code == 1
    assert "retries must be at most 20" in err
    code, _, err = run(proposals, "--output", tmp_path / "x.json")
    assert code == 1
    assert "output must end in" in err
