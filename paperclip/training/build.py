# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""From an archive to a data set, in steps that can be killed and repeated."""

import os

import numpy as np

from paperclip.exceptions import DataSetError
from paperclip.mast._journal import lock_folder, write_error
from paperclip.training._builder import BATCH, Builder, resolve
from paperclip.training._folder import (
    read_state,
    text_values,
)
from paperclip.training._plan import Request, fit, select
from paperclip.training.dataset import DataSet
from paperclip.utils.checks import folder_path, whole_number

__all__ = ["build_dataset", "count_dataset"]

_SHARD_SIZE = 100_000_000


def build_dataset(
    folder,
    *,
    mission,
    cycles=None,
    proposals=None,
    max_per_proposal=20,
    recipe=None,
    seed=0,
    catalogue=None,
    split=None,
    size=512,
    limit=None,
    shards=True,
    shard_size=_SHARD_SIZE,
    workers=None,
    cloud=False,
    retry_failed=False,
    client=None,
    progress=None,
):
    """
    Make a data set of pictures and abstracts from an archive.

    It finds the proposals and their abstracts, chooses pictures, splits them,
    downloads them, and writes pairs and shards. A build that was interrupted,
    also by a kill or a loss of power, goes on where it ended when it is called
    again with the same arguments; a finished one sends no request. More
    cycles, proposals or missions can be added to a finished one: what is
    there stays, in the split where it is.

    Parameters
    ----------
    folder : path-like
        New or empty folder, or a data set to continue or to extend.
    mission : str
        ``"HST"``, ``"JWST"``, or another collection of MAST whose abstracts
        ``catalogue`` holds.
    cycles : str, int or sequence of int, optional
        Cycles, such as ``"25-27,30"``.
    proposals : str, int or sequence, optional
        Numbers of proposals, beside or instead of cycles.
    max_per_proposal : int, optional
        Most pictures of a proposal, spread over its targets, drawn without
        replacement.
    recipe : PreviewRecipe or str, optional
        Which previews; by default those of the mission.
    seed : int, optional
        For the choice, the split and the order of the samples.
    catalogue : path-like or `~astropy.table.Table`, optional
        Abstracts, as `paperclip.mast.get_proposals` takes them.
    split : SplitSettings, optional
        What shares a split, and their sizes.
    size : int, optional
        Longest side of the pictures in pixels.
    limit : int, optional
        Most pictures of the mission altogether, to try things out.
    shards : bool, optional
        Write WebDataset shards beside the pictures.
    shard_size : int, optional
        Largest size of a shard in bytes.
    workers : int, optional
        Downloads at a time; ``paperclip.conf.workers`` when not given.
    cloud : bool, optional
        Read pictures from the public copy of the archive in the cloud.
    retry_failed : bool, optional
        Try pictures and abstracts again that failed before.
    client : MastClient, optional
        Who asks.
    progress : callable, optional
        Called as ``progress(step, done, total)``.

    Returns
    -------
    data : DataSet
        The finished data set.

    Raises
    ------
    InvalidQueryError
        If an argument is not possible.
    DataSetError
        If the folder holds something else, a data set that was made with
        other arguments (the message says which), is being built by another
        process, or if there are no pictures.
    DataSetWriteError
        If the disk is full or cannot be written; what is finished stays.
    RemoteServiceError, OfflineError
        If the archive cannot be reached; what is finished stays.
    """
    request = Request.checked(
        mission, cycles=cycles, proposals=proposals, recipe=recipe, limit=limit,
        max_per_proposal=max_per_proposal, seed=seed, split=split, size=size,
    )  # fmt: skip
    shard_size = whole_number("shard_size", shard_size, low=20_480) if shards else None
    folder = folder_path("folder", folder)
    state, changed = fit(read_state(folder), request, folder)
    layout = state.get("shard_size") == shard_size
    if state["complete"] and not changed and not retry_failed and layout:
        data = DataSet.open(folder)
        if _intact(data):
            return data
    if client is None:
        from paperclip.mast.client import MastClient

        client = MastClient()
    with _locked(folder):
        builder = Builder(folder, request, client, catalogue, progress)
        builder.begin(shard_size)
        builder.proposals(retry_failed, workers)
        builder.select()
        builder.split()
        builder.pictures(workers=workers, cloud=cloud, retry_failed=retry_failed)
        builder.pairs()
        builder.shards(shard_size)
    return DataSet.open(folder)


def count_dataset(
    *,
    mission,
    cycles=None,
    proposals=None,
    max_per_proposal=20,
    recipe=None,
    seed=0,
    catalogue=None,
    split=None,
    size=512,
    limit=None,
    client=None,
    progress=None,
):
    """
    Count what `build_dataset` would download, without doing it.

    Parameters
    ----------
    mission, cycles, proposals, max_per_proposal, recipe : object
        As for `build_dataset`.
    seed, catalogue, split, size, limit, client, progress : object
        As for `build_dataset`.

    Returns
    -------
    counts : dict of str to int
        ``proposals``, ``proposals_with_pictures``, ``observations`` (images),
        ``pictures``, and ``bytes`` of the pictures in the archive.

    Raises
    ------
    InvalidQueryError
        If an argument is not possible.
    RemoteServiceError, OfflineError
        If the archive cannot be reached.
    """
    request = Request.checked(
        mission, cycles=cycles, proposals=proposals, recipe=recipe, limit=limit,
        max_per_proposal=max_per_proposal, seed=seed, split=split, size=size,
    )  # fmt: skip
    if client is None:
        from paperclip.mast.client import MastClient

        client = MastClient()
    ids = resolve(client, request, request.cycles, catalogue)
    counts = dict.fromkeys(("proposals_with_pictures", "observations"), 0)
    counts |= {"proposals": len(ids), "pictures": 0, "bytes": 0}
    for start in range(0, len(ids), BATCH):
        if progress is not None:
            progress("looking for pictures", start, len(ids))
        rows, n = select(client, request, ids[start : start + BATCH])
        if request.limit is not None:
            rows = rows[: request.limit - counts["pictures"]]
        counts["observations"] += n
        counts["pictures"] += len(rows)
        if len(rows):
            counts["bytes"] += int(np.ma.sum(np.ma.asarray(rows["size"])) or 0)
            found = set(text_values(rows, "proposal_id").tolist())
            counts["proposals_with_pictures"] += len(found)
        if request.limit is not None and counts["pictures"] >= request.limit:
            break
    return counts


def _intact(data):
    """Tell whether the files of a finished data set are there, by size."""
    for entry in data._entries:
        path = data.folder / "shards" / entry["name"]
        if not path.is_file() or path.stat().st_size != entry["bytes"]:
            return False
    columns = (data._arrow[name].to_pylist() for name in ("path", "size", "sha256"))
    for place, size, digest in zip(*columns, strict=True):
        path = data.folder / place
        if digest and not (path.is_file() and path.stat().st_size == size):
            return False
    return True


def _locked(folder):
    """Make the folder and keep other builds out of it."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        strange = [p.name for p in folder.iterdir() if not p.name.startswith(".")]
        if strange and not (folder / "dataset.json").exists():
            msg = (
                f"{os.fspath(folder)!r} is not empty and holds no data set (there is "
                f"{sorted(strange)[0]!r}); choose another folder"
            )
            raise DataSetError(msg)
        (folder / ".build").mkdir(exist_ok=True)
    except OSError as exc:
        raise write_error(folder, exc) from exc
    return lock_folder(folder / ".build")
