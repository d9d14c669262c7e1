# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""What the tests of data sets share."""

import hashlib
import json
import os
import select
import signal
import subprocess
import sys
from pathlib import Path

from paperclip.training import DataSet

__all__ = ["WHAT", "Builder", "content", "downloads", "words"]

WHAT = {"mission": "HST", "cycles": "25-32", "shard_size": 20_480}


class Builder:
    """Processes that build and can be killed."""

    def __init__(self, environment):
        place = Path(__file__).with_name("builder.py")
        self.process = subprocess.Popen(
            [sys.executable, str(place)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=environment,
        )
        self.read("ready")

    def read(self, *expected):
        line = self.process.stdout.readline().strip()
        assert not expected or line in expected, line
        return line

    def write(self, line):
        self.process.stdin.write(f"{line}\n")
        self.process.stdin.flush()

    def start(self, argv):
        self.write(json.dumps([str(word) for word in argv]))
        self.number = int(self.read())

    @property
    def ended(self):
        return bool(select.select([self.process.stdout], [], [], 0)[0])

    def kill(self):
        """Kill what is running; return whether it was."""
        os.kill(self.number, signal.SIGKILL)
        self.write("")
        line = self.read()
        if line == "ended":
            line = self.read()
        assert line in ("0", "-9")
        return line == "-9"

    def close(self):
        self.process.stdin.close()
        self.process.wait(timeout=60)
        self.process.stdout.close()


def words(folder, *more, cycles="25-32", mission="HST"):
    return ["dataset", "build", str(folder), "--mission", mission, "--cycles", cycles,
            "--workers", "4", *more]  # fmt: skip


def content(folder):
    """Return all of a data set that must not depend on how it came about."""
    data = DataSet.open(folder)
    assert data.verify() == []
    pairs = data.pairs.copy()
    pairs.remove_columns(["retrieved", "path"])
    rows = {row["picture_id"]: [str(v) for v in row.values()] for row in pairs}
    files = {
        path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).digest()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.suffix in (".tar", ".jpg", ".ecsv")
    }
    keys = {
        split: [sample.key for sample in data.iter_samples(split)]
        for split in data.splits
    }
    loose = [p for p in folder.rglob("*") if p.name.startswith(".part-")]
    assert not loose
    return rows, files, keys


def downloads(mast):
    """Return the data URIs that were downloaded, one entry for each time."""
    return [r.what for r in mast.asked("download") if r.method == "GET"]
