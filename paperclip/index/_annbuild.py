# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""Make the approximate index of a table; nobody sees it until it is committed."""

import json
import tempfile
from pathlib import Path

import numpy as np

from paperclip.exceptions import IndexWriteError
from paperclip.index._approx import NAME, STORED, indexed
from paperclip.index._commit import commit_operation, writing
from paperclip.index._files import durable
from paperclip.index._kmeans import centres
from paperclip.index.schema import VECTOR

__all__ = ["build_segment", "commit_segment", "partitions_for", "parts_of"]

_MOST = 4096  # partitions; finding the nearest centre costs as much as this number
_MEMBERS = 64  # rows read for each centre when the centres are sought
_BATCH = 8192


def partitions_for(n_rows):
    """
    Return the number of parts of an index: about the square root of the rows.

    Parameters
    ----------
    n_rows : int
        Rows of the table.

    Returns
    -------
    n_partitions : int
        A power of two, 16 to 4096.
    """
    return int(np.clip(2 ** round(np.log2(max(n_rows, 1)) / 2), 16, _MOST))


def build_segment(snapshot, place, *, kind, n_partitions, seed, tell):
    """
    Write an approximate index of all rows of a version.

    Parameters
    ----------
    snapshot : `~paperclip.index._snapshot.Snapshot`
        The version.
    place : `~paperclip.index._files.Place`
        Where it is.
    kind : str
        ``"fast"`` or ``"small"``.
    n_partitions : int
        Number of parts.
    seed : int
        Of all random numbers.
    tell : callable
        Called with a stage and the part of it that is done, 0 to 1.

    Returns
    -------
    segment : `lance.Index`
        To be given to `commit_segment`.

    Raises
    ------
    IndexWriteError
        If files cannot be written.

    Notes
    -----
    Centres and the assignment of rows to them are computed here, in float32,
    because Lance does both fifteen times slower for float16 vectors, and
    differently every time.
    """
    rng = np.random.default_rng(seed)
    addresses = snapshot.addresses()
    n_train = min(len(addresses), _MEMBERS * n_partitions)
    chosen = np.sort(rng.choice(len(addresses), n_train, replace=False))
    tell("centres", 0.0)
    found = centres(snapshot.vectors_at(addresses[chosen]), n_partitions, rng)
    options = {}
    if kind == "small":
        options = {"num_bits": 1, "rabitq_model": _rotation(found.shape[1], rng)}
    with tempfile.TemporaryDirectory(prefix="paperclip-ann-") as folder:
        labels = Path(folder) / "labels"
        with writing(place.uri):
            _write_labels(snapshot, found, labels, tell)
            with durable(place.path):
                segment = snapshot.dataset.create_index_uncommitted(
                    VECTOR,
                    STORED[kind],
                    name=NAME,
                    replace=True,
                    metric="cosine",
                    num_partitions=n_partitions,
                    ivf_centroids=found.astype(np.float16),
                    precomputed_partition_dataset=str(labels),
                    fragment_ids=[
                        part.fragment_id for part in snapshot.dataset.get_fragments()
                    ],
                    progress_callback=_relay(tell, snapshot.n_rows),
                    **options,
                )
    return segment


def _write_labels(snapshot, found, folder, tell):
    import lance
    import pyarrow as pa

    schema = pa.schema([("row_id", pa.uint64()), ("partition", pa.uint32())])
    transposed = np.ascontiguousarray(found.T)

    def batches():
        done = 0
        for addresses, vectors in snapshot.iter_vectors(_BATCH):
            label = (vectors @ transposed).argmax(axis=1).astype(np.uint32)
            done += len(label)
            tell("assigning", done / snapshot.n_rows)
            yield pa.record_batch([pa.array(addresses), pa.array(label)], schema=schema)

    lance.write_dataset(
        batches(),
        str(folder),
        schema=schema,
        max_rows_per_file=snapshot.n_rows,
        mode="create",
    )


def _rotation(dimension, rng):
    """Return the random rotation of Lance's RaBitQ codes, drawn with our seed."""
    from lance.lance import indices

    model = json.loads(indices.build_rq_model(dimension, 1))
    signs = model["fast_rotation_signs"]
    model["fast_rotation_signs"] = rng.integers(0, 256, len(signs)).tolist()
    return json.dumps(model)


def _relay(tell, n_rows):
    def relay(event):
        if event.stage == "shuffle" and event.completed:
            tell("writing", min(1.0, event.completed / n_rows))

    return relay


def commit_segment(place, dataset, segment, built_from, *, note):
    """
    Put an approximate index in the place of the one before.

    Parameters
    ----------
    place : `~paperclip.index._files.Place`
        Where the index is.
    dataset : `lance.LanceDataset`
        The newest version.
    segment : `lance.Index`
        From `build_segment`.
    built_from : `lance.LanceDataset`
        The version that it was made from.
    note : str
        For the list of versions.

    Returns
    -------
    dataset : `lance.LanceDataset`
        The committed version.

    Raises
    ------
    ConflictError
        If the index was changed since ``dataset``.
    IndexWriteError
        If the rows have moved to other files since ``built_from``.
    """
    from lance import LanceOperation

    before, now = _files_by_fragment(built_from), _files_by_fragment(dataset)
    same = set(before) & set(now)
    rows = sum(part.count_rows() for part in dataset.get_fragments())
    kept = sum(
        part.count_rows()
        for part in dataset.get_fragments()
        if part.fragment_id in same
    )
    if any(before[n] != now[n] for n in same) or 2 * kept < rows:
        msg = (
            f"cannot write to the index {place.uri}: it was compacted or replaced "
            "while the approximate index was made; make it again"
        )
        raise IndexWriteError(msg)
    operation = LanceOperation.CreateIndex([segment], parts_of(dataset))
    return commit_operation(place, dataset, operation, note)


def parts_of(dataset):
    """
    Return the stored parts of the approximate index, as Lance removes them.

    Parameters
    ----------
    dataset : `lance.LanceDataset`
        The version.

    Returns
    -------
    parts : list of `lance.Index`
        Empty if there is none.
    """
    from lance.dataset import Index

    found = indexed(dataset)
    return [
        Index(
            uuid=part.uuid,
            name=found.name,
            fields=list(found.fields),
            dataset_version=part.dataset_version_at_last_update,
            fragment_ids=set(part.fragment_ids),
            index_version=part.index_version,
            created_at=part.created_at,
        )
        for part in (found.segments if found is not None else ())
    ]


def _files_by_fragment(dataset):
    return {
        part.fragment_id: [data.path for data in part.metadata.files]
        for part in dataset.get_fragments()
    }
