# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""
Time the pool of downloads against one file after the other.

Both get the same pictures from the same server on this machine, which waits 50 ms
before each answer and runs in a process of its own. ``download`` has eight threads;
the loop is one ``requests.Session`` that writes each body to a file. ``checked`` does
what a build does: it decodes every picture, reduces it and writes a JPEG; its loop
does the same after each file. ``--faults N`` also builds N folders with 10 % faults
of every kind and counts what became of the pictures.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections import Counter
from itertools import count
from pathlib import Path

import numpy as np
import requests
from astropy.table import Table
from timing import interleave, report

from paperclip import conf
from paperclip.imaging import read_preview
from paperclip.mast import MastClient, PictureStore
from paperclip.mast.download import Download, download
from paperclip.mast.pictures import PictureWriter
from paperclip.utils import retry

ROOT = Path(__file__).parents[1]
SERVE = """
import json, sys
sys.path.insert(0, {root!r})
from tests.mast_server import Archive, mast_server, picture
files = {{f"mast:HST/product/{{n}}.jpg": picture(n % 20, {size}) for n in range({n})}}
with mast_server(Archive(files=files)) as mast:
    mast.latency = {latency}
    mast.faults.hang = 1.0
    print(json.dumps([mast.url, list(files)]), flush=True)
    for line in sys.stdin:
        mast.faults.clear()
        kinds, seed = json.loads(line)
        mast.faults.random(kinds, seed=seed)
        print(len(mast.requests), flush=True)
"""
KINDS = [
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
]


class Server:
    """The archive in another process."""

    def __init__(self, n, size, latency):
        program = SERVE.format(root=str(ROOT), n=n, size=size, latency=latency)
        self.process = subprocess.Popen(
            [sys.executable, "-c", program],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self.url, self.uris = json.loads(self.process.stdout.readline())

    def faults(self, kinds, seed):
        """Set random faults; return the number of requests so far."""
        self.process.stdin.write(json.dumps([kinds, seed]) + "\n")
        self.process.stdin.flush()
        return int(self.process.stdout.readline())

    def close(self):
        """End the process."""
        self.process.stdin.close()
        self.process.wait()


def throughput(options, folder):
    """Compare the pool with the loop."""
    server = Server(options.files, options.size, options.latency)
    client = MastClient(server=server.url)
    number = count()

    def pool(check):
        place = folder / f"pool{next(number)}"
        jobs = [
            Download(n, uri, place / f"{n}.jpg") for n, uri in enumerate(server.uris)
        ]
        found = list(
            download(
                iter(jobs),
                client=client,
                workers=options.workers,
                max_bytes=1 << 26,
                check=check,
            )
        )
        if {outcome.status for outcome in found} != {"done"}:
            raise RuntimeError(found)

    def loop(check):
        place = folder / f"loop{next(number)}"
        place.mkdir()
        with requests.Session() as session:
            for n, uri in enumerate(server.uris):
                path = place / f"{n}.jpg"
                response = session.get(client.download_url(uri), timeout=60)
                response.raise_for_status()
                path.write_bytes(response.content)
                if check is not None:
                    check(path)

    writer = PictureWriter(read_preview, 512)
    for title, check in (("transfer only", None), ("checked and reduced", writer)):
        calls = {
            f"download, {options.workers} threads": lambda check=check: pool(check),
            "one after the other": lambda check=check: loop(check),
        }
        seconds = interleave(calls, options.rounds)
        title = f"{title}: {options.files} pictures of {options.size} pixels"
        ratios = report(title, seconds, bare="one after the other", aim=round(1 / 6, 3))
        first = next(iter(seconds))
        spread = seconds["one after the other"] / seconds[first]
        low, high = np.percentile(spread, (10, 90))
        print(
            f"  {1 / ratios[first]:.2f} times the loop [{low:.2f}, {high:.2f}]; "
            f"{options.files / np.median(seconds[first]):.0f} pictures/s"
        )
    server.close()


def faults(options, folder):
    """Build folders over a bad network and count."""
    server = Server(30, 64, 0.0)
    client = MastClient(server=server.url, timeout=0.25, retries=5)
    retry.FIRST_WAIT = 0.001
    rows = Table({"dataURI": server.uris})
    total, reasons, wrong, again = Counter(), Counter(), 0, 0
    begin = time.perf_counter()
    for seed in range(options.faults):
        server.faults(dict.fromkeys(KINDS, 0.1 / len(KINDS)), seed)
        store = PictureStore.create(folder / f"faults{seed}", size=128)
        store.add(rows)
        store.fetch(client, check=read_preview)
        store = PictureStore.open(store.folder)
        total.update(store.counts)
        for message in store.manifest["message"].tolist():
            if message:
                reasons[message.split(":")[0].split("(")[0][:40]] += 1
        wrong += len(store.verify())
        before = server.faults({}, 0)
        store.fetch(client, check=read_preview)
        again += server.faults({}, 0) - before
    seconds = time.perf_counter() - begin
    print(f"{options.faults} builds of 30 pictures, 10 % faults: {seconds:.0f} s")
    print(f"  {dict(total)}; manifest and disk differ: {wrong}; requests of a second")
    print(f"  run: {again}; reasons of failures: {dict(reasons)}")
    server.close()


def main():
    """Run what was asked for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--files", type=int, default=160)
    parser.add_argument("--size", type=int, default=600, help="pixels of a picture")
    parser.add_argument("--latency", type=float, default=0.05, help="seconds")
    parser.add_argument("--workers", type=int, default=8)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--faults", type=int, default=0, help="builds with faults")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, conf.set_temp("offline", False):
        throughput(options, Path(folder))
        if options.faults:
            faults(options, Path(folder))


if __name__ == "__main__":
    main()
