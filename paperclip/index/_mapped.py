# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""
Map the vectors of a local index into memory where they lie.

Lance writes a column of ``fixed_size_list<float16>[d]`` without nulls as pages of
one buffer each, which holds the numbers and nothing else when a vector has 256
bytes or more [1]_. Those buffers can be mapped: nothing is copied or held in
memory, and a page read once stays in the cache of the operating system.

That is how the files are, not what the format promises. So a file is used only
if its pages have exactly the bytes that the vectors need and if rows at their
ends and between agree with Lance's own reader. Otherwise, and for object
stores, the vectors are read through Lance.

References
----------
.. [1] https://lance.org/format/file/encoding/
"""

import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa

from paperclip.index._reading import damaged, from_store
from paperclip.index.schema import VECTOR

__all__ = ["Page", "check_sizes", "map_pages"]

_SAMPLES = 4  # rows of a page that are compared, beside its first and last


@dataclass(frozen=True, eq=False)
class Page:
    """
    Vectors that follow each other in a file.

    Parameters
    ----------
    fragment : int
        Number of the fragment in the table.
    first : int
        Place of the first vector in the fragment.
    vectors : `~numpy.ndarray`, shape (n, d), dtype float16
        Read-only, in the file.
    """

    fragment: int
    first: int
    vectors: np.ndarray


def map_pages(dataset, folder, dimension):
    """
    Map the vectors of all fragments.

    Parameters
    ----------
    dataset : `lance.LanceDataset`
        The version to read.
    folder : `~pathlib.Path`
        Where it is.
    dimension : int
        Length of a vector.

    Returns
    -------
    pages : list of `Page` or `None`
        In row order, rows that are deleted included; `None` if a file has
        another layout than expected.
    sizes : dict of str to int
        Size in bytes of every file that is mapped.
    """
    pages, sizes = [], {}
    field = next(f.id() for f in dataset.lance_schema.fields() if f.name() == VECTOR)
    for fragment in dataset.get_fragments():
        item, column = _data_file(fragment.metadata, field)
        if item is None:
            return None, {}
        path = folder / "data" / item
        try:
            found = _pages_of_file(path, column, dimension, fragment.physical_rows)
        except BaseException as exc:
            if not from_store(exc):
                raise
            return None, {}  # reading through Lance says what is wrong
        if found is None:
            return None, {}
        sizes[str(path)] = path.stat().st_size
        number = fragment.fragment_id
        pages += [Page(number, first, vectors) for first, vectors in found]
    return pages, sizes


def check_sizes(uri, sizes):
    """
    Check that no mapped file has become shorter.

    Reading a mapped page beyond the end of its file kills the process. A
    file that is gone is no harm: its pages stay until they are unmapped.

    Parameters
    ----------
    uri : str
        The index, for the message.
    sizes : dict of str to int
        From `map_pages`.

    Raises
    ------
    DamagedIndexError
        If a file was truncated.
    """
    for path, expected in sizes.items():
        try:
            size = os.stat(path).st_size  # noqa: PTH116 (called for every search)
        except OSError:
            continue
        if size < expected:
            reason = f"{Path(path).name} has {size} bytes, expected {expected} bytes"
            raise damaged(uri, reason)


def _data_file(metadata, field):
    """Return the file with the vectors of a fragment, and their column in it."""
    if getattr(metadata, "overlays", None):
        return None, None
    for data in metadata.files:
        if field in data.fields:
            if getattr(data, "base_id", None) is not None:  # in another folder
                break
            return data.path, data.column_indices[data.fields.index(field)]
    return None, None


def _pages_of_file(path, column, dimension, n_rows):
    """Return (place of the first row, vectors) of every page, if they are plain."""
    from lance.file import LanceFileReader

    reader = LanceFileReader(str(path), columns=[VECTOR])
    metadata = reader.metadata()
    if metadata.num_rows != n_rows or not 0 <= column < len(metadata.columns):
        return None
    row_bytes = 2 * dimension
    size = path.stat().st_size
    pages, first = [], 0
    with pa.memory_map(str(path)) as mapping:
        for page in metadata.columns[column].pages:
            if len(page.buffers) != 1:
                return None
            start, length = page.buffers[0].position, page.buffers[0].size
            if length % row_bytes or start % 2 or start + length > size:
                return None
            mapping.seek(start)
            numbers = np.frombuffer(mapping.read_buffer(length), dtype=np.float16)
            pages.append((first, numbers.reshape(-1, dimension)))
            first += length // row_bytes
    if first != n_rows or not _agree(reader, pages):
        return None
    return pages


def _agree(reader, pages):
    """Compare some rows with what Lance reads."""
    rows, mapped = [], []
    for first, vectors in pages:
        chosen = np.linspace(0, len(vectors) - 1, _SAMPLES + 2).astype(int)
        chosen = np.unique(chosen)
        rows += (first + chosen).tolist()
        mapped.append(vectors[chosen])
    if not rows:
        return True
    read = reader.take_rows(rows).to_table()[VECTOR].combine_chunks()
    if read.null_count or len(read) != len(rows):
        return False
    read = read.flatten().to_numpy(zero_copy_only=False)
    return np.concatenate(mapped).tobytes() == read.tobytes()
