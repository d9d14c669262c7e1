# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""The commands that make training sets and look at them."""

import io
import json
import signal
import subprocess
import sys
import time

import pytest

from paperclip.cli import main

from ..mast_server import mast_server, small_archive


@pytest.fixture(name="mast")
def fixture_mast(tmp_path):
    archive = small_archive(n_proposals=12, size=32)
    with mast_server(archive) as mast, mast.conf(cache_dir=str(tmp_path / "cache")):
        yield mast


@pytest.fixture(name="run")
def fixture_run(capfd, tmp_path):
    def run(*words):
        code = main([str(word) for word in words])
        return code, *capfd.readouterr()

    return run


@pytest.fixture(name="build")
def fixture_build(run, tmp_path):
    def build(*words, cycles="25-30"):
        what = ("--mission", "HST", "--cycles", cycles)
        return run("dataset", "build", tmp_path / "d", *what, *words)

    return build


def test_build_and_info_say_the_same(build, run, mast, tmp_path):
    code, built, err = build()
    assert (code, err) == (0, "")
    assert "missions:    HST 28\n" in built
    assert "radius:      2 arcmin\n" in built
    assert "failed:      0\n" in built
    lines = built.splitlines()
    assert [line.split()[0] for line in lines[-3:]] == ["train", "validation", "test"]
    assert run("dataset", "info", tmp_path / "d") == (0, built, "")
    asked = len(mast.requests)
    assert build() == (0, built, "")
    assert len(mast.requests) == asked


@pytest.mark.usefixtures("mast")
def test_options_reach_the_build(build, run, tmp_path):
    code, out, err = build(
        "--max-per-proposal", 2, "--seed", 7, "--radius", "30arcsec", "--split-by-pi",
        "--fractions", "0.5,0.5,0", "--no-shards", "--recipe", "any_preview",
        "--workers", 2, "--limit", 9,
    )  # fmt: skip
    assert (code, err) == (0, "")
    assert "pairs:       9\n" in out
    assert "radius:      0.5 arcmin\n" in out
    assert "split by PI: yes\n" in out
    assert "seed:        7\n" in out
    assert "shards:      0\n" in out
    _, out, _ = run("dataset", "info", tmp_path / "d", "--format", "json")
    found = json.loads(out)
    assert [row["split"] for row in found["rows"]] == ["train", "validation"]
    assert found["meta"]["seed"] == 7


def test_dry_run_counts(build, mast, tmp_path):
    code, out, _ = build("--dry-run")
    assert code == 0
    assert "pictures:                28\n" in out
    assert "size:" in out
    assert not mast.asked("download")
    assert not (tmp_path / "d").exists()


def test_failed_pictures_are_told(build, mast):
    uri = next(
        u for u in mast.archive.files if "total" in u and u.endswith("0_drc.jpg")
    )
    mast.archive.files.pop(uri)
    code, out, err = build()
    assert code == 0
    assert "failed:      1 (1 x " in out
    assert err == "1 of 28 pictures failed; --retry-failed tries them again\n"


def test_unfinished_data_sets(build, run, mast, tmp_path):
    mast.faults.random({"error": 1.0}, seed=0, where="download")
    code, _, err = build()
    assert code == 1
    assert err.startswith("paperclip: error: the archive did not answer for 16 pictur")
    code, out, err = run("dataset", "info", tmp_path / "d")
    assert code == 0
    assert "state:           not finished\n" in out
    assert "pictures wanted: 28\n" in out
    assert err == "run the same 'paperclip dataset build' again to go on\n"
    mast.faults.clear()
    assert build()[0] == 0


@pytest.mark.usefixtures("mast")
def test_errors(build, run, tmp_path):
    build()
    code, _, err = build("--seed", 1)
    assert code == 1
    assert "seed is 0 there, got 1. Use the same ones" in err
    code, _, err = run("dataset", "info", tmp_path)
    assert code == 1
    assert err.startswith("paperclip: error: ")
    assert "holds no data set; make one with 'paperclip dataset build'" in err
    code, _, err = build("--catalogue", "nope.cat", "--limit", 5)
    assert code == 1


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("", "the following arguments are required: FOLDER, --mission"),
        (
            "d --mission HST",
            "give --cycles, for example --cycles 25-30, or --proposals",
        ),
        ("d --mission HST --cycles x", "--cycles: must be numbers and ranges like"),
        ("d --mission HST --cycles 9 --radius 2", "--radius: must be an angle with a"),
        ("d --mission HST --cycles 9 --fractions 1", "--fractions: must be three num"),
        ("d --mission HST --cycles 9 --seed -1", "--seed: must be a whole number from"),
        ("d --mission HST --cycles 9 --workers 0", "--workers: must be a whole number"),
        ("d --mission HST --cycle 9", "no option '--cycle'; did you mean '--cycles'?"),
    ],
)
def test_usage_errors(run, words, message):
    code, out, err = run("dataset", "build", *words.split())
    assert (code, out) == (2, "")
    assert message in err.splitlines()[0]


@pytest.mark.usefixtures("mast")
def test_progress_is_for_terminals(build, monkeypatch):
    class Terminal(io.StringIO):
        def isatty(self):
            return True

    screen = Terminal()
    monkeypatch.setattr(sys, "stderr", screen)
    assert build()[0] == 0
    assert "downloading: 28 of 28 ..." in screen.getvalue()
    assert "writing shards: 0 of " in screen.getvalue()


@pytest.mark.skipif(sys.platform == "win32", reason="has no SIGINT to send")
def test_interruptions_say_how_to_go_on(build, mast, tmp_path):
    mast.latency = 0.1
    words = ("dataset", "build", tmp_path / "d", "--mission", "HST")
    words += ("--cycles", "25-30", "--workers", "1")
    with subprocess.Popen(
        [sys.executable, "-m", "paperclip", *map(str, words)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=mast.environment(tmp_path / "home"),
    ) as process:
        until = time.monotonic() + 60
        while len(mast.asked("download")) < 3:
            assert process.poll() is None
            assert time.monotonic() < until
            time.sleep(0.01)
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=60)
    assert (process.returncode, out) == (130, "")
    assert "run the same command again to go on" in err
    mast.latency = 0.0
    assert build()[0] == 0
    pictures = [request.what for request in mast.asked("download")]
    assert len(pictures) <= len(set(pictures)) + 1  # the one that was under way


def test_closed_stdout_is_nobody(build, run, mast, tmp_path, monkeypatch):
    build()
    monkeypatch.setattr(sys, "stdout", None)
    for form in ("text", "json"):
        assert main(["dataset", "info", str(tmp_path / "d"), "--format", form]) == 0
