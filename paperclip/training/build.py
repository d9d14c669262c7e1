# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""From an archive to a data set, in steps that can be killed and repeated."""

import os

import numpy as np
from astropy.table import vstack

from paperclip.exceptions import DataSetError, RemoteServiceError
from paperclip.mast._journal import Journal, lock_folder, remove_parts, write_error
from paperclip.mast._tables import from_arrow
from paperclip.mast.manifest import PictureStore
from paperclip.mast.proposals import (
    PROPOSAL_COLUMNS,
    get_proposals,
    proposals_of_cycles,
)
from paperclip.training._folder import (
    PAIR_COLUMNS,
    read_parquet,
    read_state,
    text_values,
    texts_of,
    write_parquet,
    write_split,
    write_state,
)
from paperclip.training._packing import pack, pair_rows, remove_others
from paperclip.training._plan import Request, fit, select
from paperclip.training.dataset import DataSet
from paperclip.training.splits import SplitSettings, split_proposals
from paperclip.utils.checks import folder_path, whole_number

__all__ = ["build_dataset", "count_dataset"]

_BATCH = 50  # proposals that are selected at a time
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
        builder = _Builder(folder, request, client, catalogue, progress)
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
    ids = _resolve(client, request, request.cycles, catalogue)
    counts = dict.fromkeys(("proposals_with_pictures", "observations"), 0)
    counts |= {"proposals": len(ids), "pictures": 0, "bytes": 0}
    for start in range(0, len(ids), _BATCH):
        if progress is not None:
            progress("looking for pictures", start, len(ids))
        rows, n = select(client, request, ids[start : start + _BATCH])
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


def _resolve(client, request, cycles, catalogue):
    """Return the numbers of the proposals of cycles and those given, sorted."""
    ids = set(request.proposals)
    if cycles:
        ids |= set(
            proposals_of_cycles(client, request.mission, cycles, catalogue=catalogue)
        )
    return sorted(ids, key=lambda key: (not key.isdigit(), key.rjust(12)))


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


class _Builder:
    """The steps of a build; each finds out what is left to do."""

    def __init__(self, folder, request, client, catalogue, progress):
        self.folder, self.request, self.client = folder, request, client
        self.catalogue, self._progress = catalogue, progress
        self.journal = Journal(folder / ".build" / "selection.jsonl")

    def tell(self, step, done, total):
        if self._progress is not None:
            self._progress(step, done, total)

    def begin(self, shard_size):
        """Record what is wanted; from now on the data set is not finished."""
        remove_parts(self.folder)
        state, _ = fit(read_state(self.folder), self.request, self.folder)
        self.state = {**state, "complete": False, "shard_size": shard_size}
        write_state(self.folder, self.state)
        self.store = PictureStore.open_or_create(
            self.folder, size=self.request.settings["size"]
        )

    # ---- proposals

    def proposals(self, retry_failed, workers):
        """Find the proposals, and the texts of those that are new."""
        self.tell("looking for proposals", 0, 0)
        wanted = self.state["selections"][self.request.mission]
        new = sorted(set(wanted["cycles"]) - set(wanted.get("resolved", ())))
        old = wanted.get("ids", [])
        if new or not set(wanted["proposals"]) <= set(old):
            found = _resolve(self.client, self.request, new, self.catalogue)
            known = set(old)
            wanted["ids"] = old + [key for key in found if key not in known]
            wanted["resolved"] = wanted["cycles"]
            write_state(self.folder, self.state)
        if not wanted["ids"]:
            cycles = ",".join(map(str, wanted["cycles"]))
            msg = f"there are no proposals of {self.request.mission} in cycles {cycles}"
            raise DataSetError(msg)
        path = self.folder / "proposals.parquet"
        parts, known = [], set()
        if path.exists():
            table = from_arrow(
                read_parquet(path, PROPOSAL_COLUMNS), list(PROPOSAL_COLUMNS.values())
            )
            keep = np.full(len(table), True)
            if retry_failed:
                keep = text_values(table, "status") == "ok"
            parts, known = [table[keep]], set(texts_of(table[keep]))
        mission = self.request.mission
        ids = [key for key in wanted["ids"] if (mission, key) not in known]
        if not ids:
            return
        self.tell("reading abstracts", 0, len(ids))
        table = get_proposals(
            self.client,
            ids,
            mission=mission,
            catalogue=self.catalogue,
            workers=workers,
        )
        status = text_values(table, "status")
        if not known and not (status == "ok").any():
            msg = (
                f"none of {len(ids)} proposals has an abstract; the first, "
                f"{mission} {ids[0]}: {status[0]}"
            )
            raise RemoteServiceError(msg)
        table = vstack([*parts, table], metadata_conflicts="silent")
        table.sort(["mission", "proposal_id"])
        write_parquet(path, table, PROPOSAL_COLUMNS)

    # ---- pictures

    def select(self):
        """Choose the pictures of the proposals that were not looked at yet."""
        mission, limit = self.request.mission, self.request.limit
        done = {
            key
            for record in self.journal.read()
            if record.get("mission") == mission
            for key in record.get("proposals", ())
        }
        ids = [
            key for key in self.state["selections"][mission]["ids"] if key not in done
        ]
        try:
            for start in range(0, len(ids), _BATCH):
                room = None if limit is None else limit - self._count(mission)
                if room == 0:
                    break
                self.tell("choosing pictures", start, len(ids))
                batch = ids[start : start + _BATCH]
                rows, _ = select(self.client, self.request, batch)
                whole = room is None or len(rows) <= room
                if len(rows):
                    self._add(rows if whole else rows[:room])
                if whole:
                    self.journal.append({"mission": mission, "proposals": batch})
        finally:
            self.journal.close()
        if not len(self.store):
            wanted = self.request.recipe.name
            msg = (
                f"there are no pictures of {len(ids)} proposals of {mission} by the "
                f"recipe {wanted!r}; check the numbers, or give another recipe"
            )
            raise DataSetError(msg)

    def _count(self, mission):
        missions = self.store.manifest["obs_collection"]
        return int((np.asarray(missions) == mission).sum())

    def _add(self, rows):
        if "size" in rows.colnames:  # of the file in the archive, not of ours
            rows.remove_column("size")
        self.store.add(rows)

    def split(self):
        """Deal the rows out; those of a finished build stay where they are."""
        self.tell("splitting", 0, 0)
        rows = self.store.manifest
        earlier = {}
        if (self.folder / "pairs.parquet").exists():
            arrow = read_parquet(self.folder / "pairs.parquet", PAIR_COLUMNS)
            names = (arrow[name].to_pylist() for name in ("picture_id", "split"))
            earlier = dict(zip(*names, strict=True))
        settings = SplitSettings(
            fractions=tuple(self.request.settings["fractions"]),
            radius=f"{self.request.settings['radius']} arcmin",
            by_pi=self.request.settings["by_pi"],
        )
        self.parts = split_proposals(
            rows,
            settings=settings,
            seed=self.request.settings["seed"],
            earlier=[earlier.get(name) or "" for name in rows["picture_id"]],
        )
        write_split(self.folder, self.parts.proposals)

    def pictures(self, *, workers=None, cloud=False, retry_failed=False):
        """Download what is not there."""
        from paperclip.imaging import read_preview

        self._fetching = {"workers": workers, "cloud": cloud}
        self.store.fetch(
            self.client,
            check=read_preview,
            retry_failed=retry_failed,
            progress=lambda done, total: self.tell("downloading", done, total),
            **self._fetching,
        )

    # ---- pairs and shards

    def pairs(self):
        """Write the pairs, with the reason where one cannot be used."""
        self.tell("writing pairs", 0, 0)
        arrow = read_parquet(self.folder / "proposals.parquet", PROPOSAL_COLUMNS)
        table = pair_rows(self.store.manifest, self.parts, texts_of(arrow))
        write_parquet(self.folder / "pairs.parquet", table, PAIR_COLUMNS)

    def shards(self, shard_size):
        """Write the shards that are missing or not as they should be."""
        entries = []
        if shard_size is not None:
            try:
                entries = self._pack(shard_size)
            except DataSetError:
                # a picture was damaged on the disk: fetch it again, once
                if not len(self.store.verify(repair=True)):
                    raise
                self.pictures(**self._fetching)
                self.pairs()
                entries = self._pack(shard_size)
        remove_others(self.folder / "shards", {entry["name"] for entry in entries})
        self.state |= {"shards": entries, "complete": True}
        write_state(self.folder, self.state)

    def _pack(self, shard_size):
        data = DataSet(self.folder, unfinished=True)
        there = self.state.get("shards") or []
        return pack(data, shard_size, there, save=self._save, tell=self.tell)

    def _save(self, entries):
        self.state["shards"] = entries
        write_state(self.folder, self.state)
