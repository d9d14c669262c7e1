# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""The command that builds an index, and ``python -m paperclip``."""

import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from paperclip import __version__
from paperclip.cli import main
from paperclip.cli.building import _duration
from paperclip.index import Index

from .mast_server import mast_server, small_archive
from .tiny_models import tiny_model_directory


@pytest.fixture(name="model", scope="module")
def fixture_model(tmp_path_factory):
    return str(tiny_model_directory(tmp_path_factory.mktemp("model") / "tiny"))


@pytest.fixture(name="run")
def fixture_run(model, capfd, monkeypatch, tmp_path):
    """Call the command in a folder with pictures; return code and stderr."""
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(0)
    (tmp_path / "in").mkdir()
    for i in range(6):
        rgb = rng.integers(0, 256, (30, 40, 3), dtype=np.uint8)
        Image.fromarray(rgb).save(tmp_path / "in" / f"p{i}.jpg")
    (tmp_path / "rows.csv").write_text(
        "file,proposal_id,redshift\np0.jpg,0123,0.5\np1.jpg,15513,\n"
    )

    def run(*words):
        code = main(["index", "build", *map(str, words), "--model", model])
        out, err = capfd.readouterr()
        assert out == ""
        assert "Traceback" not in err
        return code, err

    return run


def test_module_runs_the_command():
    done = subprocess.run(
        [sys.executable, "-m", "paperclip", "--version"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout) == (0, f"paperclip {__version__}\n")
    done = subprocess.run(
        [sys.executable, "-m", "paperclip", "no-such-command"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    assert "usage" not in done.stdout


def test_build_a_folder_and_add_to_it(run, tmp_path):
    code, err = run("in", "ix", "--metadata", "rows.csv", "--extra-columns", "redshift")
    assert code == 0
    assert "added 6 pictures in " in err
    assert "ix has 6 rows" in err
    assert "note: 4 files have no row in the metadata" in err
    table = Index.open(tmp_path / "ix").to_table()
    assert table["proposal_id"].tolist()[:2] == ["0123", "15513"]
    assert table["redshift"][0] == 0.5

    code, err = run("in", "ix")
    assert code == 0
    assert "added 0 pictures in" in err
    assert "6 of 6 were there already" in err
    (tmp_path / "in" / "p5.jpg").rename(tmp_path / "in" / "p6.jpg")
    (tmp_path / "in" / "p7.jpg").write_bytes(b"damaged")
    code, err = run("in", "ix", "--update")
    assert code == 0  # a failed picture is no failed command
    assert "added 1 picture in" in err
    assert "1 picture failed (--retry-failed tries again); they are listed in" in err
    assert str(tmp_path / "ix.build" / "failures.ecsv") in err
    code, err = run("in", "ix", "--retry-failed")
    assert (code, "1 picture failed" in err) == (0, True)


def test_dry_run(run, tmp_path):
    code, err = run("in", "ix", "--dry-run")
    assert code == 0
    assert f"would add 6 pictures to {tmp_path / 'ix'}; 0 of 6 are in it already" in err
    assert not (tmp_path / "ix").exists()


def test_progress_where_somebody_watches(run, monkeypatch):
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    code, err = run("in", "ix", "--batch-size", 2)
    assert code == 0
    assert "embedding 2 of 6, " in err
    assert "per second, " in err
    assert " s left" in err


@pytest.mark.parametrize(
    ("words", "match"),
    [
        (["ix"], "give a SOURCE and an INDEX, or say what to take from MAST"),
        (["a", "b", "c"], "give one SOURCE and one INDEX"),
        (["in", "ix", "--mission", "HST"], "--mission is for MAST"),
        (["in", "ix", "--pictures", "x"], "--pictures is for MAST"),
        (["ix", "--mission", "HST"], "--mission alone is the whole archive"),
        (
            ["ix", "--proposals", "1", "--metadata", "a.csv"],
            "--metadata is for files",
        ),
        (["in", "ix", "--extra-columns", "all"], "give the names of the columns"),
        (["in", "ix", "--batch-size", "0"], "--batch-size: must be a whole number"),
    ],
)
def test_usage_errors(run, words, match):
    code, err = run(*words)
    assert code == 2
    assert match in err


@pytest.mark.parametrize(
    ("words", "match"),
    [
        (["nowhere", "ix"], "there is no folder or file 'nowhere'"),
        (["in", "in"], "in holds other files; an index needs a directory of its own"),
        (["in", "rows.csv"], "is a file; an index needs a directory of its own"),
    ],
)
def test_errors(run, words, match):
    code, err = run(*words)
    assert code == 1
    assert match in err


def test_index_of_another_model(run, tmp_path, capfd):
    run("in", "ix")
    other = tiny_model_directory(tmp_path / "other", 1)
    assert main(["index", "build", "in", "ix", "--model", str(other)]) == 1
    assert "--rebuild" in capfd.readouterr().err
    assert main(["index", "build", "in", "ix", "--model", str(other), "--rebuild"]) == 0
    assert "added 6 pictures in" in (err := capfd.readouterr().err)
    assert "note: version 2 was replaced" in err


def test_build_from_mast(run, tmp_path):
    words = ["--mission", "HST", "--proposals", "15500,15526", "ix"]
    with mast_server(small_archive(size=60)) as mast, mast.conf():
        code, err = run(*words, "--max-per-proposal", 3)
        assert code == 0
        assert "added 6 pictures" in err
        assert len(list((tmp_path / "ix.pictures").rglob("*.jpg"))) == 6
        del mast.requests[:]
        assert run(*words, "--max-per-proposal", 3)[0] == 0
        assert mast.requests == []


def test_missing_index_points_to_this_command(run, capfd, model):
    assert main(["query", "galaxy", "--model", model, "--index", "nothing"]) == 1
    assert "build one with 'paperclip index build'" in capfd.readouterr().err


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(3.2, "3 s"), (100, "2 min"), (7300, "2 h 02 min"), (400_000, "4.6 days")],
)
def test_durations(seconds, text):
    assert _duration(seconds) == text
