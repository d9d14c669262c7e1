# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""The commands that stream, export and import, with the index of the package."""

import pytest
from astropy.table import Table

from paperclip.cli import main
from paperclip.index import Index


@pytest.fixture(name="run")
def fixture_run(capfd, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)

    def run(*words):
        code = main([str(word) for word in words])
        out, err = capfd.readouterr()
        assert "Traceback" not in err
        return code, out, err

    return run


@pytest.fixture(name="size", scope="module")
def fixture_size():
    from paperclip import Paperclip

    return len(Paperclip.index)


@pytest.mark.parametrize("end", ["parquet", "ecsv", "csv", "vot"])
def test_all_observations_go_to_a_file(run, tmp_path, size, end):
    code, out, err = run("query", "galaxy", "--all", "--output", f"a.{end}")
    assert (code, out) == (0, "")
    assert f"{size} observations written to a.{end}" in err
    assert (tmp_path / f"a.{end}").stat().st_size
    if end == "ecsv":
        table = Table.read(tmp_path / "a.ecsv")
        assert table["rank"].tolist() == list(range(1, size + 1))


def test_similarity_columns_and_limit(run, tmp_path):
    words = ["query", "galaxy", "--all", "--output", "a.ecsv", "--columns"]
    run(*words, "obs_id,similarity", "--limit", 9)
    table = Table.read(tmp_path / "a.ecsv")
    assert (len(table), table.colnames) == (9, ["obs_id", "similarity"])
    floor = float(table["similarity"][4])
    run(*words, "similarity", "--overwrite", "--min-similarity", floor)
    assert len(Table.read(tmp_path / "a.ecsv")) == 5


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--all"], "--all needs --output FILE"),
        (["--all", "--output", "a.fits"], "--all writes files that end in .csv, .ecsv"),
        (["--all", "--output", "a.vot", "--format", "json"], "got 'json'"),
        (["--all", "--output", "a.csv", "--mosaic", "m.png"], "leave out --all"),
        (["--min-similarity", "0.2"], "--min-similarity needs --all"),
        (["--all", "--min-similarity", "2"], "a number from -1 to 1, got '2'"),
    ],
)
def test_what_streams_refuse(run, tmp_path, words, message):
    code, _, err = run("query", "galaxy", *words)
    assert code == 2
    assert message in err
    assert not list(tmp_path.iterdir())


def test_a_file_is_not_replaced_unasked(run, tmp_path):
    (tmp_path / "a.csv").write_text("mine")
    code, _, err = run("query", "galaxy", "--all", "--output", "a.csv")
    assert code == 1
    assert "is there already" in err
    assert (tmp_path / "a.csv").read_text() == "mine"


@pytest.mark.parametrize("end", ["parquet", "vot"])
def test_export_and_import(run, tmp_path, size, end):
    code, _, err = run("index", "export", "builtin", f"a.{end}", "--vectors")
    assert code == 0
    assert "written to" in err
    code, _, err = run("index", "import", f"a.{end}", "ix")
    assert code == 0
    assert f"has {size} observations" in err
    assert len(Index.open(tmp_path / "ix")) == size
    code, _, err = run("index", "import", f"a.{end}", "ix")
    assert code == 1
    assert "choose another place" in err


def test_export_chooses_rows_and_columns(run, tmp_path):
    words = ["--where", "obs_collection = 'HST'", "--columns", "s_ra", "--no-vectors"]
    run("index", "export", "builtin", "a.parquet", *words)
    table = Table.read(tmp_path / "a.parquet")
    assert table.colnames == ["obs_id", "s_ra"]
    run("index", "export", "builtin", "o.vot", "--format", "obscore", *words[:2])
    found = Table.read(tmp_path / "o.vot")
    assert len(found) == len(table)
    assert set(found["obs_collection"]) == {"HST"}


def test_moc_and_hats(run, tmp_path):
    pytest.importorskip("mocpy")
    pytest.importorskip("hats")
    where = ["--where", "s_ra IS NOT NULL AND s_dec IS NOT NULL"]
    assert run("index", "export", "builtin", "a.moc", "--order", 6)[0] == 0
    code, _, err = run("index", "export", "builtin", "c", "--format", "hats")
    assert code == 1
    assert "rows have no position" in err
    assert run("index", "export", "builtin", "c", "--format", "hats", *where)[0] == 0
    assert run("index", "import", "c", "ix")[0] == 0
    assert len(Index.open(tmp_path / "ix"))


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (["export", "builtin", "a.prquet"], 1, "did you mean '.parquet'"),
        (["export", "builtin", "a", "--format", "hat"], 2, "invalid choice: 'hat'"),
        (["export", "builtin", "a.csv", "--order", 3], 1, "has no option 'order'"),
        (["export", "nothing", "a.csv"], 1, "no index at"),
        (["import", "nothing.parquet", "ix"], 1, "there is no file or folder"),
        (["import", ".", "ix", "--rename", "a"], 2, "must be OLD=NEW pairs"),
        (["import", ".", "ix"], 1, "is no HATS catalogue that can be read"),
    ],
)
def test_what_commands_refuse(run, words, code, message):
    found, _, err = run("index", *words)
    assert found == code
    assert message in err
