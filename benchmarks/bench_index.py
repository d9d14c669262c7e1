# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""
Time a warm search of an index against the bare product in NumPy.

Run ``python benchmarks/bench_index.py``; it needs about 500 MB in memory and
200 MB of disk for a minute. Both sides are timed in turn in one process, so
trust the ratios. The bare side does ``argpartition(matrix @ query)``; the
search adds exact ranking, the choice of rows and an astropy Table.
"""

import argparse
import tempfile
import time
from functools import partial
from pathlib import Path

import numpy as np
from timing import interleave, report

from paperclip.index import Index
from paperclip.index.schema import ROW_COLUMNS
from paperclip.results import COLUMNS

LIMIT = 10


def make_index(path, n_rows, dimension, rng):
    """Fill an index with random unit vectors and every column."""
    index = Index.create(path, fingerprint="benchmark", dimension=dimension)
    for start in range(0, n_rows, 20_000):
        place = np.arange(start, min(start + 20_000, n_rows))
        table = {}
        for name in ROW_COLUMNS:
            if COLUMNS[name].dtype == "str":
                table[name] = np.char.add(f"{name} of row ", place.astype(str))
            else:
                table[name] = rng.uniform(0, 90, len(place))
        index.append(table, rng.normal(size=(len(place), dimension)))
    return index


def bare(matrix, query):
    """Return the best rows, sorted, without anything around them."""
    similarity = matrix @ query
    rows = np.argpartition(similarity, -LIMIT)[-LIMIT:]
    return rows[np.argsort(-similarity[rows])]


def main():
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeat", type=int, default=100)
    options = parser.parse_args()
    rng = np.random.default_rng(0)
    with tempfile.TemporaryDirectory() as folder:
        for n_rows, dimension in [(900, 384), (100_000, 256), (100_000, 512)]:
            path = Path(folder) / f"{n_rows}-{dimension}"
            index = make_index(path, n_rows, dimension, rng)
            start = time.perf_counter()
            index = Index.open(path)
            query = rng.normal(size=dimension).astype(np.float32)
            query /= np.linalg.norm(query)
            index.search(query, limit=LIMIT)
            cold = 1e3 * (time.perf_counter() - start)
            scan = Index.open(path, cache_limit=0)
            four = ["obs_id", "similarity", "s_ra", "s_dec"]
            calls = {
                "bare": partial(bare, index.vectors(), query),
                "search": partial(index.search, query, limit=LIMIT),
                "search, 4 columns": partial(
                    index.search, query, limit=LIMIT, columns=four
                ),
                "search where s_ra > 45": partial(
                    index.search, query, limit=LIMIT, where="s_ra > 45"
                ),
                "search from disk, nothing cached": partial(
                    scan.search, query, limit=LIMIT
                ),
            }
            few = max(5, options.repeat // (1 if n_rows < 10_000 else 10))
            title = f"{n_rows} rows x {dimension}; open and first search {cold:.0f} ms"
            report(title, interleave(calls, few), bare="bare")


if __name__ == "__main__":
    main()
