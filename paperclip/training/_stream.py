# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""Share out samples to workers, shuffle them, go on behind damage."""

import warnings
from pathlib import Path

import numpy as np

from paperclip.exceptions import DataSetError, FailedRowsWarning, InvalidQueryError
from paperclip.training.shards import read_shard
from paperclip.utils.checks import whole_number

__all__ = ["buffered", "shuffled", "stream_shards", "worker_range"]


def worker_range(total, *, worker=0, workers=1, node=0, nodes=1):
    """
    Return which part of a number of samples belongs to a worker.

    Parameters
    ----------
    total : int
        Number of samples.
    worker, workers : int, optional
        Number of this worker, from 0, and of the workers of each node.
    node, nodes : int, optional
        Number of this node, from 0, and of all nodes.

    Returns
    -------
    start, stop : int
        Parts of all workers do not overlap, hold everything, and differ by
        at most one sample.

    Raises
    ------
    InvalidQueryError
        If a number is not possible.
    """
    workers = whole_number("workers", workers)
    nodes = whole_number("nodes", nodes)
    worker = whole_number("worker", worker, low=0, high=workers - 1)
    node = whole_number("node", node, low=0, high=nodes - 1)
    number, count = node * workers + worker, nodes * workers
    return total * number // count, total * (number + 1) // count


def stream_shards(
    folder,
    entries,
    *,
    worker=0,
    workers=1,
    node=0,
    nodes=1,
    rng=None,
    buffer=1000,
    skip_damaged=False,
):
    """
    Stream the samples of some shards that belong to one worker.

    Parameters
    ----------
    folder : path-like
        Where the shards are.
    entries : sequence of dict
        ``name`` and ``samples`` of each shard.
    worker, workers, node, nodes : int, optional
        See `worker_range`.
    rng : `~numpy.random.Generator`, optional
        Shuffles the shards, and the samples in a buffer; all workers of an
        epoch must bring equal ones. Without it the order is that of the files.
    buffer : int, optional
        Samples that are held for shuffling.
    skip_damaged : bool, optional
        Warn of a damaged shard and go on behind it, instead of an error.

    Yields
    ------
    sample : `Sample`
        Every sample comes to one worker, once.

    Raises
    ------
    InvalidQueryError
        If an argument is not possible.
    DataSetError
        If a shard is missing or damaged.
    """
    total = sum(entry["samples"] for entry in entries)
    part = {"worker": worker, "workers": workers, "node": node, "nodes": nodes}
    start, stop = worker_range(total, **part)
    entries, own = shuffled(entries, rng, start)
    samples = _stream(Path(folder), entries, start, stop, skip_damaged)
    yield from samples if own is None else buffered(samples, own, buffer)


def shuffled(items, rng, start):
    """
    Shuffle a list alike on all workers; return a generator of the worker's own.

    Parameters
    ----------
    items : sequence
        What to shuffle.
    rng : `~numpy.random.Generator` or None
        Equal on all workers.
    start : int
        Something that differs between workers.

    Returns
    -------
    items : list
        In another order, if there is a generator.
    own : `~numpy.random.Generator` or None
        For what this worker shuffles alone.

    Raises
    ------
    InvalidQueryError
        If ``rng`` is no generator.
    """
    if rng is None:
        return list(items), None
    if not isinstance(rng, np.random.Generator):
        msg = f"rng must be a numpy.random.Generator, got {type(rng).__name__}"
        raise InvalidQueryError(msg)
    order = rng.permutation(len(items)).tolist()
    own = np.random.default_rng([int(rng.integers(2**62)), start])
    return [items[i] for i in order], own


def buffered(samples, rng, size):
    """
    Shuffle a stream within a buffer.

    Parameters
    ----------
    samples : iterable
        What to shuffle.
    rng : `~numpy.random.Generator`
        Source of the order.
    size : int
        How many are held at once.

    Yields
    ------
    sample : object
        Each once.
    """
    size, held = whole_number("buffer", size), []
    for sample in samples:
        if len(held) < size:
            held.append(sample)
            continue
        i = int(rng.integers(size))
        held[i], sample = sample, held[i]
        yield sample
    rng.shuffle(held)
    yield from held


def _stream(folder, entries, start, stop, skip_damaged):
    begin = 0
    for entry in entries:
        n = entry["samples"]
        first, last = max(0, start - begin), min(n, stop - begin)
        begin += n
        if first >= last:
            continue
        path = folder / entry["name"]
        try:
            yield from read_shard(path, start=first, stop=last, expected=n)
        except DataSetError as exc:
            if not skip_damaged:
                raise
            msg = f"{exc}; what follows in it is skipped"
            warnings.warn(msg, FailedRowsWarning, stacklevel=3)
