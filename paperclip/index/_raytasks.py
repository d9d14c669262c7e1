# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""
What runs on a Ray cluster: read files, encode pictures, write rows.

Batches are Arrow tables, one row per file. A row that failed goes through all
steps with its reason, so that the driver hears of every file exactly once.
"""

import json
import os
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache, partial

import numpy as np
import pyarrow as pa

from paperclip.index._commit import write_rows
from paperclip.index._readers import Reader, load_item
from paperclip.index._remote import is_remote
from paperclip.index._rows import rows_to_arrow
from paperclip.index._rowwriter import rows_table
from paperclip.index.schema import KEY, VECTOR

__all__ = ["ITEM", "PATH", "PictureEncoder", "item_table", "read_files", "write_batch"]

ITEM, PATH, _KNOWN = "item", "path", "known"
_OWN, _REASON, _KIND, _FRAME, _SHAPE = "own", "reason", "kind", "frame", "shape"
_THREADS = 8  # for files that come over a network


def item_table(items, source, known):
    """
    Put down what has to be read.

    Parameters
    ----------
    items : list of int
        Numbers of files.
    source : paperclip.index.sources.Source
        The files.
    known : `pyarrow.Table` or None
        Columns of the index, for the rows of ``source.table``.

    Returns
    -------
    table : `pyarrow.Table`
        One row for each file: its number, ``obs_id``, place and metadata.
    """
    columns = {
        ITEM: pa.array(items, pa.int64()),
        KEY: pa.array([source.obs_ids[item] for item in items], pa.string()),
        # a name need not be UTF-8
        PATH: pa.array([os.fsencode(source.paths[item]) for item in items]),
    }
    if known is not None:
        rows = pa.array(
            [row if (row := source.rows[item]) >= 0 else None for item in items],
            pa.int64(),
        )
        columns[_KNOWN] = pa.chunked_array(known.take(rows).to_struct_array())
    return pa.table(columns)


@lru_cache(maxsize=1)
def _reader(preprocessing):
    """Keep one reader in each process of the cluster."""
    if preprocessing is None:
        return Reader(lambda rgb: rgb, 1)
    from paperclip.models.preprocess import letterbox

    return Reader(partial(letterbox, preprocessing=preprocessing), 1)


def read_files(batch, preprocessing):
    """
    Read and decode files.

    Parameters
    ----------
    batch : `pyarrow.Table`
        Part of an `item_table`.
    preprocessing : `~paperclip.models.preprocess.Preprocessing` or None
        The frame of the model; None leaves pictures as they are.

    Returns
    -------
    batch : `pyarrow.Table`
        With pixels, or the reason why there are none.
    """
    read = partial(load_item, read=_reader(preprocessing))
    paths = [os.fsdecode(path) for path in batch[PATH].to_pylist()]
    if any(map(is_remote, paths)):
        with ThreadPoolExecutor(_THREADS) as pool:
            loaded = list(pool.map(read, paths))
    else:
        loaded = [read(path) for path in paths]
    frames = [None if one.frame is None else np.asarray(one.frame) for one in loaded]
    more = {
        _OWN: pa.array([json.dumps(one.row) for one in loaded], pa.string()),
        _REASON: pa.array([one.reason for one in loaded], pa.string()),
        _KIND: pa.array([one.kind for one in loaded], pa.string()),
        _FRAME: pa.array(
            [None if frame is None else frame.tobytes() for frame in frames],
            pa.large_binary(),
        ),
        _SHAPE: pa.array(
            [[] if frame is None else list(frame.shape) for frame in frames],
            pa.list_(pa.int64()),
        ),
    }
    for name, column in more.items():
        batch = batch.append_column(name, column)
    return batch


class PictureEncoder:
    """
    A model on one processor or GPU of the cluster.

    Parameters
    ----------
    model : str or encoder
        A name that every node understands, or an encoder.
    fingerprint : str
        What the vectors must belong to.
    device : str or None
        As for `paperclip.models.load_encoder`.
    offline : bool
        As for `paperclip.models.load_encoder`.
    prepared : bool
        True if the reading has put the pictures into frames.
    """

    def __init__(self, model, fingerprint, device, offline, prepared):
        from paperclip.exceptions import ModelMismatchError
        from paperclip.index._embed import Embedding

        self._embedding = Embedding(model, device=device, offline=offline)
        self._embedding.load()
        if self._embedding.fingerprint != fingerprint:
            msg = (
                f"the model {self._embedding.name!r} is "
                f"{self._embedding.fingerprint!r} on a node of the cluster and "
                f"{fingerprint!r} here; give all nodes the same files"
            )
            raise ModelMismatchError(msg)
        self._prepared = prepared

    def __call__(self, batch):
        """
        Replace pixels by vectors.

        Parameters
        ----------
        batch : `pyarrow.Table`
            From `read_files`.

        Returns
        -------
        batch : `pyarrow.Table`
            With vectors, which are zero where there is a reason.
        """
        good = [n for n, text in enumerate(batch[_REASON].to_pylist()) if not text]
        shapes, pixels = batch[_SHAPE].to_pylist(), batch[_FRAME]
        frames = [
            np.frombuffer(pixels[n].as_buffer(), np.uint8).reshape(shapes[n])
            for n in good
        ]
        if not self._prepared:
            frames = [self._embedding.prepare(frame) for frame in frames]
        found = self._encode(frames) if frames else np.zeros((0, 1), np.float32)
        vectors = np.zeros((len(batch), found.shape[1]), np.float32)
        vectors[good] = found
        rows = pa.array(list(vectors), pa.list_(pa.float32()))
        return batch.drop_columns([_FRAME, _SHAPE]).append_column(VECTOR, rows)

    def _encode(self, frames):
        """Encode; on a GPU that is too small, in ever smaller batches."""
        try:
            return np.asarray(self._embedding.encode(frames), dtype=np.float32)
        except RuntimeError as exc:  # that of torch, which need not be imported
            if type(exc).__name__ != "OutOfMemoryError" or len(frames) == 1:
                raise
        half = len(frames) // 2
        return np.concatenate(
            [self._encode(frames[:half]), self._encode(frames[half:])]
        )


def write_batch(batch, place, schema):
    """
    Write rows into files of the index, without a commit.

    Parameters
    ----------
    batch : `pyarrow.Table`
        From `PictureEncoder`.
    place : paperclip.index._files.Place
        The index.
    schema : `pyarrow.Schema`
        Its columns.

    Returns
    -------
    answer : `pyarrow.Table`, length 1
        ``items`` and the ``fragments`` that hold them, as JSON; and ``failed``
        items with ``reasons`` and ``kinds``.
    """
    reasons = np.array(batch[_REASON].to_pylist(), dtype=object)
    good, bad = np.flatnonzero(reasons == ""), np.flatnonzero(reasons != "")
    fragments = []
    rows, failed = batch.take(good), batch.take(bad)
    if len(rows):
        known = rows[_KNOWN].to_pylist() if _KNOWN in rows.column_names else []
        table = rows_table(
            rows[KEY].to_pylist(),
            [os.fsdecode(path) for path in rows[PATH].to_pylist()],
            [json.loads(own) for own in rows[_OWN].to_pylist()],
            [one or {} for one in known] or [{}] * len(rows),
            schema.names,
        )
        vectors = np.array(rows[VECTOR].to_pylist(), dtype=np.float32)
        fragments = write_rows(place, rows_to_arrow(table, vectors, schema))
    return pa.table(
        {
            "items": pa.array([rows[ITEM].to_pylist()], pa.list_(pa.int64())),
            "fragments": pa.array([json.dumps([f.to_json() for f in fragments])]),
            "failed": pa.array([failed[ITEM].to_pylist()], pa.list_(pa.int64())),
            "reasons": pa.array([failed[_REASON].to_pylist()], pa.list_(pa.string())),
            "kinds": pa.array([failed[_KIND].to_pylist()], pa.list_(pa.string())),
        }
    )
