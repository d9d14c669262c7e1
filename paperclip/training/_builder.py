# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""The steps of a build, each of which can be killed and repeated."""

import numpy as np
from astropy.table import vstack

from paperclip.exceptions import DataSetError, RemoteServiceError
from paperclip.mast._journal import Journal, remove_parts
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
from paperclip.training._plan import fit, select
from paperclip.training.dataset import DataSet
from paperclip.training.splits import SplitSettings, split_proposals

__all__ = ["BATCH", "Builder", "resolve"]

BATCH = 50
"""Proposals that are selected at a time."""


def resolve(client, request, cycles, catalogue):
    """Return the numbers of the proposals of cycles and those given, sorted."""
    ids = set(request.proposals)
    if cycles:
        ids |= set(
            proposals_of_cycles(client, request.mission, cycles, catalogue=catalogue)
        )
    return sorted(ids, key=lambda key: (not key.isdigit(), key.rjust(12)))


class Builder:
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
            found = resolve(self.client, self.request, new, self.catalogue)
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
            for start in range(0, len(ids), BATCH):
                room = None if limit is None else limit - self._count(mission)
                if room == 0:
                    break
                self.tell("choosing pictures", start, len(ids))
                batch = ids[start : start + BATCH]
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
