# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""
How an index grows: bytes, building, opening and searching against its size.

One index is filled in steps; at each size the same things are measured. The lines
are kept in a file, so a run that was interrupted goes on at the next size::

    python benchmarks/bench_scale.py --work SCRATCH --sizes 100000,1000000,5000000

At the end the figures are drawn out to 10^8 and 10^10 rows, each with the power of
the size between the two largest sizes measured: 1 means that twice the rows cost twice
as much.
"""

import argparse
import json
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
from astropy.table import Table
from vectors import ClusteredVectors

FINGERPRINT = "benchmark"
BLOCK = 50_000
FAR = (10**8, 10**10)
COLLECTIONS = ("HST", "JWST", "SPITZER", "GALEX", "TESS")

_OPEN = """
import re, sys, time
def peak():
    status = open("/proc/self/status").read()
    return int(re.search(r"VmHWM:\\s+(\\d+)", status)[1]) / 1e3
import numpy as np, lance, astropy.table
from paperclip.index import Index
before, start = peak(), time.perf_counter()
index = Index.open(sys.argv[1])
seconds, opened = time.perf_counter() - start, peak()
query = np.load(sys.argv[2])
start = time.perf_counter()
index.search(query, limit=100, columns=["obs_id", "similarity"])
print(seconds, opened - before, time.perf_counter() - start)
"""


def facts(first, n, rng):
    """Return rows of plausible observations, numbered on from ``first``."""
    ra = rng.uniform(0, 360, n)
    dec = np.degrees(np.arcsin(rng.uniform(-1, 1, n)))
    return Table(
        {
            "obs_id": [f"obs_{number:011d}" for number in range(first, first + n)],
            "obs_collection": rng.choice(COLLECTIONS, n),
            "instrument_name": [f"INSTRUMENT{k}" for k in rng.integers(0, 20, n)],
            "filters": [f"F{k}W" for k in rng.integers(100, 200, n)],
            "proposal_id": [str(k) for k in rng.integers(10_000, 20_000, n)],
            "s_ra": ra,
            "s_dec": dec,
            "s_region": [
                f"CIRCLE ICRS {a:.5f} {d:.5f} 0.03"
                for a, d in zip(ra, dec, strict=True)
            ],
            "t_min": (t := rng.uniform(50_000, 60_000, n)),
            "t_max": t + 0.02,
        }
    )


def fill(index, vectors, size, rng):
    """Append rows until there are ``size``; return seconds spent in `append`."""
    spent = 0.0
    while len(index) < size:
        n = min(BLOCK, size - len(index))
        rows, block = facts(len(index), n, rng), vectors.rows(n)
        start = time.perf_counter()
        index.append(rows, block)
        spent += time.perf_counter() - start
    return spent


def bytes_of(folder):
    """Return bytes of the newest version: its rows, and its indices."""
    import lance

    dataset = lance.dataset(str(folder))
    files = [f for part in dataset.get_fragments() for f in part.metadata.files]
    names = {item.segments[0].uuid for item in dataset.describe_indices()}
    indices = [
        path
        for name in names
        for path in (folder / "_indices" / str(name)).rglob("*")
        if path.is_file()
    ]
    return {
        "rows": sum(file.file_size_bytes for file in files),
        "indices": sum(path.stat().st_size for path in indices),
    }


def timed(calls, rounds):
    """Return the median milliseconds of calls that take turns over the queries."""
    seconds = {name: [] for name in calls}
    for number in range(-1, rounds):
        for name, call in calls.items():
            start = time.perf_counter()
            call(number)
            if number >= 0:
                seconds[name].append(time.perf_counter() - start)
    return {name: 1e3 * float(np.median(values)) for name, values in seconds.items()}


def search(index, queries, **options):
    """Return a call that searches the n-th query."""
    columns = ["obs_id", "similarity"]
    return lambda n: index.search(
        queries[n % len(queries)], limit=100, columns=columns, **options
    )


def recall(index, queries, count):
    """Return the share of the exact answer that the approximate one has."""
    found = []
    for n in range(count):
        right = set(search(index, queries, exact=True)(n)["obs_id"])
        found.append(len(right & set(search(index, queries)(n)["obs_id"])) / len(right))
    return float(np.mean(found))


def measure(index, folder, queries, options, spent, added):
    """Return all figures of one size."""
    line = {"rows": len(index), "append_rows_per_s": added / spent if spent else None}
    start = time.perf_counter()
    index.compact(keep_days=1)
    line["compact_s"] = time.perf_counter() - start
    line |= {f"{k}_bytes": v / len(index) for k, v in bytes_of(folder).items()}
    np.save(options.work / "query.npy", queries[0])
    out = subprocess.run(
        [sys.executable, "-c", _OPEN, str(folder), str(options.work / "query.npy")],
        check=True,
        capture_output=True,
        text=True,
    ).stdout.split()
    line |= dict(zip(("open_s", "open_mb", "first_s"), map(float, out), strict=True))
    calls = {
        "exact_ms": search(index, queries, exact=True),
        "instrument_5_percent_ms": search(
            index, queries, exact=True, instrument_name="INSTRUMENT3"
        ),
        "filter_1_percent_ms": search(index, queries, exact=True, filters="F150W"),
        "cone_1_degree_ms": search(
            index, queries, exact=True, region=(120.0, 30.0), radius=1.0
        ),
    }
    line |= timed(calls, options.rounds)
    if len(index) <= options.ann_up_to and len(index) >= options.ann_from:
        start = time.perf_counter()
        index.create_ann(recall=0.98)
        line["ann_build_s"] = time.perf_counter() - start
        indices = bytes_of(folder)["indices"] / len(index)
        line["ann_bytes"] = indices - line["indices_bytes"]
        line |= timed(
            {"ann_ms": search(index, queries), "exact_ms": calls["exact_ms"]},
            options.rounds,
        )
        line["ann_recall"] = recall(index, queries, 20)
        index.drop_ann()
    return line


def drawn_out(lines, name, size):
    """Return a figure at another size, by the power between the largest sizes."""
    known = [line for line in lines if line.get(name)]
    if len(known) < 2:
        return None
    (first, a), (second, b) = ((k["rows"], k[name]) for k in known[-2:])
    power = np.log(b / a) / np.log(second / first)
    return b * (size / second) ** max(power, 0.0), power


def show(lines):
    """Print the table, and what it becomes at sizes that were not measured."""
    names = [name for name in lines[-1] if name != "rows"]
    width = max(map(len, names)) + 2
    print("".ljust(width) + "".join(f"{line['rows']:>12,}" for line in lines))
    for name in names:
        cells = [line.get(name) for line in lines]
        text = ["-" if cell is None else f"{cell:.4g}" for cell in cells]
        print(name.ljust(width) + "".join(f"{cell:>12}" for cell in text))
    print("\nextrapolated: power of the size, then figures at", FAR)
    for name in names:
        if name.endswith(("_ms", "_s")) and drawn_out(lines, name, FAR[0]):
            values = [drawn_out(lines, name, size) for size in FAR]
            print(
                name.ljust(width),
                f"power {values[0][1]:.2f}",
                *(f"{value:.3g}" for value, _ in values),
            )


def main():
    """Measure the sizes that are missing and print everything."""
    parser = argparse.ArgumentParser(description=__doc__.strip().splitlines()[0])
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--sizes", default="100000,1000000")
    parser.add_argument("--dimension", type=int, default=512)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--ann-from", type=int, default=200_000)
    parser.add_argument("--ann-up-to", type=int, default=10**6)
    options = parser.parse_args()
    from paperclip.index import Index

    options.work.mkdir(parents=True, exist_ok=True)
    folder = options.work / "index"
    records = options.work / "scale.json"
    lines = json.loads(records.read_text()) if records.exists() else []
    queries = ClusteredVectors(options.dimension, np.random.default_rng(0))
    queries = queries.text_queries(50)
    index = (
        Index.open(folder)
        if folder.exists()
        else Index.create(folder, fingerprint=FINGERPRINT, dimension=options.dimension)
    )
    for size in map(int, options.sizes.split(",")):
        if any(line["rows"] == size for line in lines):
            continue
        before = len(index)
        rng = np.random.default_rng(before + 1)
        vectors = ClusteredVectors(options.dimension, np.random.default_rng(0))
        vectors.rng = rng  # the same clusters, other members
        spent = fill(index, vectors, size, rng)
        lines.append(measure(index, folder, queries, options, spent, size - before))
        records.write_text(json.dumps(lines, indent=2))
        print(json.dumps(lines[-1]), flush=True)
    show(lines)


if __name__ == "__main__":
    main()
