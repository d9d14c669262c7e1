# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""Damaged files give a picture or one of our errors, quickly and in little memory."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from ..shared_data import require_shared_data

WORKER = Path(__file__).with_name("fuzz_worker.py")


def run_worker(seed, count, files=()):
    """Return the summary of the worker, or fail with what it found."""
    result = subprocess.run(
        [sys.executable, WORKER, str(seed), str(count), *map(str, files)],
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    lines = [json.loads(t) for t in result.stdout.splitlines() if t.startswith("{")]
    bad = [line for line in lines if "case" in line]
    assert not bad, bad
    assert result.returncode == 0, result.stderr[-3000:]
    return lines[-1]


@pytest.mark.skipif(sys.platform == "win32", reason="needs setrlimit and SIGALRM")
def test_damaged_synthetic_products():
    summary = run_worker(seed=20, count=350)
    assert sum(summary["outcomes"].values()) == 350
    # both outcomes occur, so the faults are neither harmless nor all fatal
    assert summary["outcomes"]["picture"] >= 35
    assert summary["outcomes"]["ImageConversionError"] >= 35
    assert summary["peak_mb"] < 1000


@pytest.mark.shared_data
@pytest.mark.skipif(sys.platform == "win32", reason="needs setrlimit and SIGALRM")
def test_damaged_real_files():
    folder = require_shared_data("fits")
    files = [
        path
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.suffix != ".csv" and path.stat().st_size < 160_000
    ]
    summary = run_worker(seed=21, count=2 * len(files), files=files)
    assert sum(summary["outcomes"].values()) == 2 * len(files)
    assert summary["peak_mb"] < 1000
