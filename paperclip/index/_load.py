# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""Choose where the vectors of an index are read from."""

from pathlib import Path

import numpy as np

from paperclip.index._exact import fast_product
from paperclip.index._mapped import Page, map_pages
from paperclip.index._reading import ADDRESS, damaged, reading, scan
from paperclip.index._streamvectors import StreamVectors
from paperclip.index._vectors import PageVectors

__all__ = ["open_vectors"]

_FEW = 4096  # rows of a page on average below which copying them together pays
_SMALL = 1 << 26  # bytes of vectors that are copied together at most


def open_vectors(dataset, uri, dimension, cache_limit):
    """
    Open the vectors of a version.

    Files of a plain layout are mapped where they lie. Vectors of other
    files, of object stores, and of any file when there is no fast product
    of float16 are held in memory if they fit. What is left is read through
    Lance for every search.

    Parameters
    ----------
    dataset : `lance.LanceDataset`
        The version.
    uri : str
        Where it is.
    dimension : int
        Length of a vector.
    cache_limit : int
        Largest size in bytes of vectors in memory.

    Returns
    -------
    vectors : `PageVectors` or `StreamVectors`
        What can be searched.

    Raises
    ------
    DamagedIndexError
        If the files cannot be read.
    """
    pages, sizes = None, {}
    if "://" not in uri:
        with reading(uri):
            pages, sizes = map_pages(dataset, Path(uri), dimension)
    fast = fast_product(dimension) is not None
    dtype = np.dtype(np.float16 if fast else np.float32)
    with reading(uri):
        fragments = dataset.get_fragments()
        n_rows = dataset.count_rows()
    shape = sum(fragment.physical_rows for fragment in fragments), dimension
    n_bytes = shape[0] * dimension * dtype.itemsize
    scattered = (
        pages is not None
        and len(pages) > 1
        and n_bytes <= _SMALL
        and shape[0] < _FEW * len(pages)
    )
    stream = StreamVectors(dataset, uri, dimension)
    if n_bytes <= cache_limit and (pages is None or scattered or not fast):
        return _in_memory(stream, fragments, uri, shape, dtype, n_rows)
    if pages is None:
        return stream
    dead = _dead_rows(dataset, uri, fragments)
    _check_count(uri, shape[0] - len(dead), n_rows)
    return PageVectors(pages, dead, uri, sizes=sizes)


def _dead_rows(dataset, uri, fragments):
    """Return the positions of deleted rows."""
    parts, start = [np.empty(0, np.int64)], 0
    for fragment in fragments:
        if fragment.num_deletions:
            options = {"fragments": [fragment]}
            alive = [b[ADDRESS].to_numpy() for b in scan(dataset, uri, [], **options)]
            dead = np.ones(fragment.physical_rows, dtype=bool)
            for address in alive:
                dead[(address & np.uint64(2**32 - 1)).astype(np.int64)] = False
            parts.append(start + np.flatnonzero(dead))
        start += fragment.physical_rows
    return np.concatenate(parts)


def _in_memory(stream, fragments, uri, shape, dtype, n_rows):
    """Read all vectors into one array, in which deleted rows are harmless ones."""
    matrix = np.zeros(shape, dtype=dtype)
    dead = np.ones(len(matrix), dtype=bool)
    pages, start = [], 0
    for fragment in fragments:
        stop = start + fragment.physical_rows
        pages.append(Page(fragment.fragment_id, 0, matrix[start:stop]))
        start = stop
    empty = PageVectors(pages, np.empty(0, np.int64), uri, matrix=matrix)
    for address, vectors in stream.iterate(1 << 13):
        positions = empty.positions_of(address)
        matrix[positions] = vectors
        dead[positions] = False
    matrix[dead, 0] = 1
    matrix.flags.writeable = False
    _check_count(uri, len(matrix) - dead.sum(), n_rows)
    return PageVectors(pages, np.flatnonzero(dead), uri, matrix=matrix)


def _check_count(uri, found, expected):
    if found != expected:
        raise damaged(uri, f"it has {found} rows in place of {expected}")
