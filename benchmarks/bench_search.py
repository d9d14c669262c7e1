# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""
Time the exact search of large indexes against bare products and faiss.

Run ``python benchmarks/bench_search.py``. For 10^6 rows it needs 3 GB of disk and
4 GB of memory beside what the vectors take in the cache of the system; a smaller
``--rows`` needs less. In one process, in turns:

- ``search, rows kept`` and ``search, rows read``: ``Index.search`` with all columns,
  with the rows in memory (what many searches come to) and not (the first ones);
- ``search, 3 columns``: the same with few columns, rows read;
- ``best``: the search without its table;
- ``numkong float16``, ``torch float16``, ``NumPy float32``: the product of the
  vectors, mapped from a file, with a query, and nothing else. The fastest of the
  three is the bare one;
- ``faiss``: ``IndexScalarQuantizer`` with ``QT_fp16``, flat, in memory.

Each is asked for the same 50 image-like and 50 text-like queries, 100 rows each. The
order is drawn anew for every round, and there is a pause before every call: threads of
OpenMP and BLAS go on spinning after one and would be counted with the next.
"""

import argparse
import os
import subprocess
import sys
import tempfile
import time
import warnings
from functools import partial
from itertools import cycle
from pathlib import Path

import numpy as np
from timing import report
from vectors import ClusteredVectors, RandomVectors

LIMIT = 100
PAUSE = 0.1  # seconds
FEW = ["obs_id", "similarity", "s_ra"]
KINDS = {"clustered": ClusteredVectors, "random": RandomVectors}
OPEN = """
import sys, time
import lance
from paperclip.index import Index

def peak():
    with open("/proc/self/status") as stream:
        for line in stream:
            if line.startswith("VmHWM"):
                return int(line.split()[1]) / 1024

before = peak()
start = time.perf_counter()
index = Index.open(sys.argv[1])
rows = len(index)
opened = time.perf_counter() - start
index._snapshot.vectors
mapped = time.perf_counter() - start
print(opened, mapped, peak() - before, rows)
"""


def make_index(path, vectors, n_rows, rng):
    """Write an index with the columns of an observation in fragments of 10^5."""
    import lance
    from astropy.table import Table
    from lance.fragment import write_fragments

    from paperclip.index import Index
    from paperclip.index._rows import rows_to_arrow

    index = Index.create(path, fingerprint="benchmark", dimension=vectors.dimension)
    schema = index._snapshot.schema
    fragments, start = [], 0
    for block in vectors.blocks(n_rows, 100_000):
        place = np.arange(start, start + len(block))
        text = place.astype(str)
        table = Table(
            {
                "obs_id": np.char.add("observation-", text),
                "obs_collection": np.array(["HST", "JWST"])[place % 2],
                "instrument_name": np.array(["NIRCAM", "MIRI", "ACS/WFC"])[place % 3],
                "filters": np.array(["F606W", "F814W", "F200W"])[place % 3],
                "target_name": np.char.add("target ", (place % 5000).astype(str)),
                "proposal_id": (place % 3000).astype(str),
                "dataURI": np.char.add("mast:HST/product/", text),
                "s_ra": rng.uniform(0, 360, len(block)),
                "s_dec": np.degrees(np.arcsin(rng.uniform(-1, 1, len(block)))),
                "t_min": rng.uniform(50_000, 60_000, len(block)),
                "t_max": rng.uniform(60_000, 60_001, len(block)),
            }
        )
        rows = rows_to_arrow(table, block, schema)
        fragments += write_fragments(
            rows, str(path), schema=schema, data_storage_version="2.2"
        )
        start += len(block)
    append = lance.LanceOperation.Append(fragments)
    lance.LanceDataset.commit(str(path), append, read_version=index.version)
    return Index.open(path)


def bare_files(folder, index):
    """Write the vectors as bare float16 and float32 files and map them."""
    shape = len(index), index.dimension
    arrays = {}
    for dtype in ("float16", "float32"):
        path = folder / dtype
        with path.open("wb") as stream:
            for _, vectors in index._snapshot.iter_vectors(50_000):
                stream.write(vectors.astype(dtype).tobytes())
        arrays[dtype] = np.memmap(path, dtype=dtype, mode="r", shape=shape)
    return arrays


def bare_calls(arrays, ask):
    """Return the products alone."""
    import numkong
    import torch

    half, single = np.asarray(arrays["float16"]), np.asarray(arrays["float32"])
    with warnings.catch_warnings():  # of memory that cannot be written
        warnings.simplefilter("ignore")
        with_torch = torch.frombuffer(arrays["float16"], dtype=torch.float16)
    with_torch = with_torch.reshape(half.shape)
    parts = np.array_split(half, os.cpu_count())

    def in_numkong():
        query = ask().astype(np.float16)[None]
        return numkong.cdist(query, half, "dot")

    def in_numkong_threads():
        from concurrent.futures import ThreadPoolExecutor

        query = ask().astype(np.float16)[None]
        with ThreadPoolExecutor(len(parts)) as pool:
            return list(pool.map(lambda p: numkong.cdist(query, p, "dot"), parts))

    def in_torch():
        with torch.inference_mode():
            return with_torch @ torch.from_numpy(ask()).half()

    return {
        "numkong float16": in_numkong,
        f"numkong float16, {len(parts)} threads": in_numkong_threads,
        "torch float16": in_torch,
        "NumPy float32": lambda: single @ ask(),
    }


def faiss_call(index, ask):
    """Return the search of faiss over the same float16 numbers."""
    import faiss

    metric = faiss.METRIC_INNER_PRODUCT
    flat = faiss.IndexScalarQuantizer(
        index.dimension, faiss.ScalarQuantizer.QT_fp16, metric
    )
    for number, (_, vectors) in enumerate(index._snapshot.iter_vectors(50_000)):
        if not number:
            flat.train(vectors[:1000])
        flat.add(vectors)
    return lambda: flat.search(ask()[None], LIMIT)


def describe(index, path):
    """Print time and memory of opening, in a process of its own, and the disk."""
    line = subprocess.run(
        [sys.executable, "-c", OPEN, str(path)],
        check=True,
        capture_output=True,
        text=True,
    ).stdout
    opened, mapped, memory, _ = map(float, line.split())
    size = sum(p.stat().st_size for p in Path(path).rglob("*") if p.is_file())
    own = 2 * len(index) * index.dimension
    rows = index._snapshot.read(index.colnames).nbytes
    print(
        f"  opened in {opened:.3f} s ({mapped:.3f} s with the vectors mapped), "
        f"{memory:.0f} MB\n  disk: {size / own:.3f} of the vectors' own bytes; the "
        f"columns without vectors take {rows / own:.3f} of them in memory"
    )


def compare(kind, n_rows, dimension, options):
    """Run one comparison."""
    from paperclip.index import Index

    rng = np.random.default_rng(0)
    vectors = KINDS[kind](dimension, rng)
    with tempfile.TemporaryDirectory(dir=options.folder) as folder:
        folder = Path(folder)
        index = make_index(folder / "index", vectors, n_rows, rng)
        print(f"{kind} vectors, {n_rows} rows x {dimension}")
        describe(index, folder / "index")
        queries = [*vectors.image_queries(50), *vectors.text_queries(50)]
        asks = [cycle(queries) for _ in range(9)]
        ask = iter(partial(next, each) for each in asks)
        read = Index.open(folder / "index", cache_limit=0)
        kept, snapshot = index, read._snapshot
        for query in queries[:70]:
            kept.search(query, limit=LIMIT)
        first, second, third, fourth = (next(ask) for _ in range(4))
        calls = {
            "search, rows kept": lambda: kept.search(first(), limit=LIMIT),
            "search, rows read": lambda: read.search(second(), limit=LIMIT),
            "search, 3 columns": lambda: read.search(third(), limit=LIMIT, columns=FEW),
            "best": lambda: snapshot.best(fourth(), LIMIT),
        }
        bare = bare_calls(bare_files(folder, index), next(ask))
        calls |= bare
        if not options.no_faiss:
            calls["faiss"] = faiss_call(index, next(ask))
        wall, processor = measure(calls, options.rounds, rng)
        for what, seconds in (("elapsed", wall), ("of processors", processor)):
            judge(what, seconds, bare)


def measure(calls, rounds, rng):
    """Return elapsed and processor seconds of every call."""
    names = list(calls)
    wall = {name: np.empty(rounds) for name in names}
    processor = {name: np.empty(rounds) for name in names}
    for number in range(-2, rounds):
        for name in rng.permutation(names):
            time.sleep(PAUSE)
            start = time.perf_counter(), time.process_time()
            calls[name]()
            if number >= 0:
                wall[name][number] = time.perf_counter() - start[0]
                processor[name][number] = time.process_time() - start[1]
    return wall, processor


def judge(what, seconds, bare):
    """Print times and ratios to the fastest product and to faiss."""
    fastest = min(bare, key=lambda name: np.median(seconds[name]))
    report(f"  time {what}; bare: {fastest}", seconds, bare=fastest, aim=1.3)
    if "faiss" in seconds:
        ratio = np.median(seconds["search, rows kept"]) / np.median(seconds["faiss"])
        met = "met" if ratio <= 1 else "MISSED"
        print(f"  search, rows kept / faiss: {ratio:.3f}   aim 1.0: {met}")


def main():
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, nargs="+", default=[100_000, 1_000_000])
    parser.add_argument("--dimensions", type=int, nargs="+", default=[384, 512])
    parser.add_argument("--kinds", nargs="+", choices=list(KINDS), default=list(KINDS))
    parser.add_argument("--rounds", type=int, default=25)
    parser.add_argument("--folder", help="where to write; a temporary one by default")
    parser.add_argument("--no-faiss", action="store_true", help="faiss is missing")
    options = parser.parse_args()
    for n_rows in options.rows:
        for dimension in options.dimensions:
            for kind in options.kinds:
                compare(kind, n_rows, dimension, options)


if __name__ == "__main__":
    main()
