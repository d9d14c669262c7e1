# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""Builds that are disturbed by the network, or killed, and taken up again."""

import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from paperclip import conf

from ..mast_server import mast_server, small_archive
from .stores import build, check_store, wanted

KINDS = (
    "timeout",
    "reset",
    "truncated",
    "short",
    "html",
    "garbage",
    "unauthorized",
    "forbidden",
    "busy",
    "error",
    "unavailable",
    "drip",
)
N = 30


@pytest.fixture(name="mast", scope="module")
def fixture_mast():
    with mast_server(small_archive(size=64)) as mast:
        mast.faults.hang = 1.0
        with mast.conf(timeout=0.25):
            yield mast


@pytest.mark.parametrize("seed", range(20))
def test_every_picture_is_there_or_has_a_reason(mast, tmp_path, seed):
    rows = wanted(mast.archive, N)
    mast.faults.clear()
    mast.faults.random(dict.fromkeys(KINDS, 0.1 / len(KINDS)), seed=seed)
    build(tmp_path, rows)
    store = check_store(tmp_path, rows)
    refused = {
        uri for kind, uri in mast.faults.log if kind in ("unauthorized", "forbidden")
    }
    counts = store.counts
    assert counts["done"] >= N - len(refused) - 2
    mast.faults.clear()
    before = len(mast.requests)
    build(tmp_path, rows)
    assert len(mast.requests) == before  # a finished build asks for nothing
    build(tmp_path, rows, retry_failed=True)
    assert check_store(tmp_path, rows).counts["done"] == N
    assert len(mast.requests) == before + counts["failed"]


@pytest.fixture(name="builder", scope="module")
def fixture_builder(mast, tmp_path_factory):
    if not hasattr(os, "fork"):
        pytest.skip("needs fork, so that a build need not import everything again")
    environment = mast.environment(tmp_path_factory.mktemp("home"), timeout=5.0)
    environment["OPENBLAS_NUM_THREADS"] = "1"
    with subprocess.Popen(
        [sys.executable, str(Path(__file__).with_name("builder.py"))],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env=environment,
    ) as process:
        assert process.stdout.readline() == "ready\n"
        yield process
        process.stdin.close()


def start(builder, folder, rows):
    """Start a build; return the number of its process."""
    columns = {name: rows[name].tolist() for name in rows.colnames}
    builder.stdin.write(json.dumps([str(folder), columns, {"workers": 4}]) + "\n")
    builder.stdin.flush()
    return int(builder.stdout.readline())


def ended(builder):
    """Return how the process ended."""
    builder.stdin.write("\n")
    builder.stdin.flush()
    return int(builder.stdout.readline())


@pytest.fixture(name="duration", scope="module")
def fixture_duration(builder, mast, tmp_path_factory):
    """Seconds that a build takes that nobody disturbs."""
    mast.faults.clear()
    mast.latency = 0.02
    folder = tmp_path_factory.mktemp("whole")
    begin = time.perf_counter()
    start(builder, folder, wanted(mast.archive, N))
    assert ended(builder) == 0
    yield time.perf_counter() - begin
    mast.latency = 0.0


@pytest.mark.parametrize("seed", range(20))
def test_killed_builds_lose_nothing_and_fetch_nothing_twice(
    builder, duration, mast, tmp_path, seed
):
    rows = wanted(mast.archive, N)
    before = len(mast.asked("download"))
    moment = random.Random(seed).uniform(0, duration)
    number = start(builder, tmp_path, rows)
    time.sleep(moment)
    os.kill(number, signal.SIGKILL)
    assert ended(builder) in (0, -signal.SIGKILL)
    with conf.set_temp("timeout", 5.0):
        build(tmp_path, rows)
    counts = check_store(tmp_path, rows).counts
    assert counts == {"wanted": 0, "done": N, "failed": 0}
    asked = len(mast.asked("download")) - before
    assert N <= asked <= N + 4
    build(tmp_path, rows)
    assert len(mast.asked("download")) - before == asked
