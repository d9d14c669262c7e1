# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""
Time approximate searches against exact ones, and count what they miss.

Run ``python benchmarks/bench_ann.py``; a million rows need about 3 GB of memory
and 2.5 GB of disk. Exact and approximate searches of the same queries, half of
them like pictures and half like texts, are timed in turn in one process, so
trust the ratios. Those of the engine are timed, without the columns of the
answer, and those of `Index.search` for the numbers that a user sees.
"""

import argparse
import shutil
import tempfile
import time
import warnings
from itertools import cycle
from pathlib import Path

import numpy as np
from timing import interleave, report
from vectors import ClusteredVectors, RandomVectors

from paperclip.exceptions import ApproximateSearchWarning
from paperclip.index import Index
from paperclip.index._commit import commit_change, write_rows
from paperclip.index._plan import choose
from paperclip.index._rows import rows_to_arrow

LIMIT = 100
KINDS = {"clustered": ClusteredVectors, "random": RandomVectors}


def make_index(path, source, n_rows):
    """Fill an index with vectors and a column that is even from 0 to 1."""
    index = Index.create(path, fingerprint="benchmark", dimension=source.dimension)
    start = 0
    for block in source.blocks(n_rows):
        names = np.char.add("row-", np.arange(start, start + len(block)).astype(str))
        table = {"obs_id": names, "t_min": source.rng.uniform(size=len(block))}
        rows = rows_to_arrow(table, block, index._snapshot.schema)
        fragments = write_rows(index._place, rows)
        dataset = index._snapshot.dataset
        commit_change(index._place, dataset, fragments=fragments, note="benchmark")
        index.refresh()
        start += len(block)
    index.compact()
    return index


def recall(index, queries, addresses, filters):
    """Return the recall and the kinds of search of a filter."""
    snapshot = index._snapshot
    parts, kinds = [], set()
    for query in queries:
        true, _ = snapshot.best(query, LIMIT, addresses)
        plan = choose(snapshot, filters, LIMIT, False, addresses)
        find = plan.search or snapshot.best
        found, _ = find(query, LIMIT, addresses)
        parts.append(np.isin(true, found).mean())
        kinds.add(plan.kind)
    return np.mean(parts), kinds


def measure(index, source, rounds):
    """Print recall and times."""
    families = {
        "image": source.image_queries(rounds),
        "text": source.text_queries(rounds),
    }
    snapshot = index._snapshot
    everything = snapshot.addresses()
    for share in (1.0, 0.2, 0.01):
        rows = None
        if share < 1:
            rows = source.rng.random(len(everything)) < share
            rows = np.sort(everything[rows])
        for name, queries in families.items():
            value, kinds = recall(index, queries, rows, rows)
            turn = cycle(queries)
            plan = choose(snapshot, rows, LIMIT, False, rows)
            find = plan.search or snapshot.best
            calls = {
                "planned": lambda f=find, t=turn, r=rows: f(next(t), LIMIT, r),
                "exact, the same rows": lambda t=turn, r=rows: snapshot.best(
                    next(t), LIMIT, r
                ),
                "exact, all rows": lambda t=turn: snapshot.best(next(t), LIMIT),
            }
            title = f"{share:.0%} of the rows, {name} queries, {kinds}: {value:.4f}"
            report(title, interleave(calls, rounds), bare="exact, all rows")
    turn = cycle(np.concatenate(list(families.values())))
    for where in (None, "t_min < 0.2", "t_min < 0.01"):
        calls = {
            f"search(exact={exact})": lambda e=exact, w=where: index.search(
                next(turn), limit=LIMIT, where=w, exact=e
            )
            for exact in (False, True)
        }
        report(f"whole search, {where}", interleave(calls, rounds), bare=[*calls][1])


def main():
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=10**6)
    parser.add_argument("--dimensions", type=int, nargs="+", default=[512, 384])
    parser.add_argument("--data", nargs="+", default=list(KINDS), choices=KINDS)
    parser.add_argument("--kinds", nargs="+", default=["small", "fast"])
    parser.add_argument("--rounds", type=int, default=40)
    parser.add_argument("--folder", help="keep the indexes there")
    options = parser.parse_args()
    warnings.simplefilter("ignore", ApproximateSearchWarning)
    folder = Path(options.folder or tempfile.mkdtemp())
    for data in options.data:
        for dimension in options.dimensions:
            source = KINDS[data](dimension, np.random.default_rng(0))
            path = folder / f"{data}-{dimension}-{options.rows}"
            if path.exists():
                source.rng = np.random.default_rng(1)
                index = Index.open(path)
            else:
                index = make_index(path, source, options.rows)
            for kind in options.kinds:
                start, used = time.perf_counter(), time.process_time()
                table = index.create_ann(kind=kind)
                wall, used = time.perf_counter() - start, time.process_time() - used
                size = table.meta["size"] / (2 * dimension * options.rows)
                print(
                    f"{data} {dimension}-d, {kind}: made and measured in {wall:.0f} s "
                    f"({table.meta['build_time']} s without measuring, {used:.0f} s of "
                    f"processors); {size:.3f} of the bytes of the vectors"
                )
                table.pprint_all()
                measure(index, source, options.rounds)
            if options.folder is None:
                shutil.rmtree(path)


if __name__ == "__main__":
    main()
