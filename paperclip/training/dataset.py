# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""A folder of pictures and texts, split in parts that share nothing."""

import hashlib
import os
import warnings
from collections import Counter
from functools import cached_property
from pathlib import Path

import numpy as np

from paperclip.exceptions import DataSetError, FailedRowsWarning, InvalidQueryError
from paperclip.mast._tables import from_arrow
from paperclip.mast.proposals import PROPOSAL_COLUMNS
from paperclip.training._folder import (
    LEFT_OUT,
    PAIR_COLUMNS,
    pairs_table,
    read_parquet,
    read_state,
    text_values,
    texts_of,
)
from paperclip.training._report import split_report
from paperclip.training._samples import plain_rows, sample_of, sample_order
from paperclip.training._stream import (
    buffered,
    shuffled,
    stream_shards,
    worker_range,
)
from paperclip.training.shards import check_shards
from paperclip.training.splits import SPLITS

__all__ = ["DataSet"]


class DataSet:
    """
    Pairs of a picture and the abstract it was taken for.

    `paperclip.training.build_dataset` makes the folder; it holds ``dataset.json``,
    ``pairs.parquet``, ``proposals.parquet``, ``split.ecsv``, the pictures with
    their manifest, and ``shards/``. Use `open`.

    Parameters
    ----------
    folder : path-like
        Where it is.
    unfinished : bool, optional
        Also open one whose build has not ended.
    """

    def __init__(self, folder, *, unfinished=False):
        self.folder = Path(folder).expanduser().absolute()
        state = read_state(self.folder)
        if state is None:
            msg = (
                f"{os.fspath(self.folder)!r} holds no data set; make one with "
                "'paperclip dataset build'"
            )
            raise DataSetError(msg)
        if not state.get("complete") and not unfinished:
            msg = (
                f"the data set {os.fspath(self.folder)!r} is not finished; run the "
                "same 'paperclip dataset build' again, it goes on where it ended"
            )
            raise DataSetError(msg)
        self.complete = bool(state.get("complete"))
        self.settings = state["settings"]
        self.selections = state["selections"]
        self._entries = state.get("shards") or []

    @classmethod
    def open(cls, folder, *, unfinished=False):
        """
        Open a data set; nothing is written.

        Parameters
        ----------
        folder : path-like
            A folder made by `paperclip.training.build_dataset`.
        unfinished : bool, optional
            Also open one whose build has not ended.

        Returns
        -------
        data : DataSet
            Ready to read.

        Raises
        ------
        DataSetError
            If there is none, it is not finished, or it is damaged.
        """
        return cls(folder, unfinished=unfinished)

    def __repr__(self):
        name = os.fspath(self.folder)
        if not self.complete:
            return f"<DataSet {name!r}: not finished>"
        counts = Counter(self._names[self._usable].tolist())
        listed = ", ".join(f"{counts[split]} {split}" for split in self.splits)
        return f"<DataSet {name!r}: {listed}>"

    def __len__(self):
        """Return the number of pairs that can be used."""
        return int(self._usable.sum())

    @property
    def splits(self):
        """The splits that were asked for: tuple of str."""
        fractions = self.settings["fractions"]
        return tuple(name for name, part in zip(SPLITS, fractions, strict=True) if part)

    @cached_property
    def _arrow(self):
        return read_parquet(self.folder / "pairs.parquet", PAIR_COLUMNS)

    @cached_property
    def _texts(self):
        return texts_of(self._proposals)

    @cached_property
    def _proposals(self):
        return read_parquet(self.folder / "proposals.parquet", PROPOSAL_COLUMNS)

    @property
    def _usable(self):
        return np.array(self._arrow["status"].to_pylist(), dtype=object) == "done"

    @property
    def _names(self):
        names = self._arrow["split"].to_pylist()
        return np.array([name or "" for name in names], dtype=object)

    @cached_property
    def pairs(self):
        """
        All wanted pictures as a `~astropy.table.Table`.

        Pairs that can be used have ``status`` ``"done"``, a ``split`` and a
        ``path``. The others stay with the status ``"failed"`` or ``"left
        out"`` and a ``message``. The texts are in `proposals`.
        """
        return pairs_table(self.folder, self._arrow)

    @cached_property
    def proposals(self):
        """The proposals with their abstracts as a `~astropy.table.Table`."""
        return from_arrow(self._proposals, list(PROPOSAL_COLUMNS.values()))

    def texts(self, column="abstract"):
        """
        Return a text for each proposal that has it.

        Parameters
        ----------
        column : str, optional
            Column of `proposals`.

        Returns
        -------
        texts : dict of (str, str) to str
            By mission and ``proposal_id``.

        Raises
        ------
        InvalidQueryError
            If there is no such column.
        """
        if column not in PROPOSAL_COLUMNS:
            msg = f"column must be one of {list(PROPOSAL_COLUMNS)}, got {column!r}"
            raise InvalidQueryError(msg)
        return {
            key: row[column]
            for key, row in self._texts.items()
            if row[column] is not None
        }

    def report(self):
        """
        Say what is in each split and how far the splits are apart.

        Returns
        -------
        report : `~astropy.table.Table`
            One row per split. ``meta`` has ``failed`` and ``left_out``: how
            many pairs are not used, by reason, ``missions``, and the settings
            of the split: ``seed``, ``radius`` (arcmin) and ``by_pi``.
        """
        pairs = self.pairs
        usable = self._usable
        names = np.where(usable, self._names, "")
        fractions = zip(SPLITS, self.settings["fractions"], strict=True)
        wanted = {name: part for name, part in fractions if part}
        groups = text_values(pairs, "group")
        report = split_report(pairs, names, groups, wanted)
        status = text_values(pairs, "status")
        reasons = text_values(pairs, "message")
        missions = Counter(text_values(pairs, "obs_collection")[usable].tolist())
        report.meta.update(
            pairs=int(usable.sum()),
            missions=dict(sorted(missions.items())),
            failed=dict(Counter(reasons[status == "failed"].tolist()).most_common()),
            left_out=dict(Counter(reasons[status == LEFT_OUT].tolist()).most_common()),
            seed=self.settings["seed"],
            radius=self.settings["radius"],
            by_pi=self.settings["by_pi"],
        )
        return report

    # ---- reading samples

    def shards(self, split="train"):
        """
        Return the shards of a split.

        Parameters
        ----------
        split : str, optional
            Name of the split.

        Returns
        -------
        paths : list of `~pathlib.Path`
            WebDataset tar files; empty if the data set was built without.

        Raises
        ------
        InvalidQueryError
            If there is no such split.
        """
        self._check_split(split)
        return [
            self.folder / "shards" / entry["name"]
            for entry in self._entries
            if entry["split"] == split
        ]

    def iter_samples(
        self,
        split="train",
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
        Stream the samples of a split, or a worker's part of them.

        They come from the shards, or from the single pictures if there are no
        shards. All samples are shared out to the workers of all nodes without
        overlap; the parts differ by at most one sample.

        Parameters
        ----------
        split : str, optional
            Name of the split.
        worker, workers : int, optional
            Number of this worker, from 0, and of the workers of each node.
        node, nodes : int, optional
            Number of this node, from 0, and of all nodes.
        rng : `~numpy.random.Generator`, optional
            Shuffles. All workers must bring equal ones, for example
            ``numpy.random.default_rng([seed, epoch])``. Without it the order
            is always the same: mixed, and fixed when the set was built.
        buffer : int, optional
            Samples that are held for shuffling within shards.
        skip_damaged : bool, optional
            Warn of damaged files and go on, instead of raising an error.

        Yields
        ------
        sample : `Sample`
            ``key``, ``image`` (a JPEG file), ``text``, ``meta``;
            ``sample.picture()`` decodes the picture.

        Raises
        ------
        InvalidQueryError
            If an argument is not possible.
        DataSetError
            If a file is missing or damaged; it is named.
        """
        self._check_split(split)
        part = {"worker": worker, "workers": workers, "node": node, "nodes": nodes}
        entries = [entry for entry in self._entries if entry["split"] == split]
        if entries:
            yield from stream_shards(
                self.folder / "shards",
                entries,
                **part,
                rng=rng,
                buffer=buffer,
                skip_damaged=skip_damaged,
            )
            return
        rows = self._rows_of(split)
        start, stop = worker_range(rows.num_rows, **part)
        order, own = shuffled(range(rows.num_rows), rng, start)
        samples = self._read(
            rows.take(np.array(order[start:stop], dtype=np.int64)), skip_damaged
        )
        yield from samples if own is None else buffered(samples, own, buffer)

    def _check_split(self, split):
        if split not in self.splits:
            msg = f"split must be one of {list(self.splits)}, got {split!r}"
            raise InvalidQueryError(msg)

    def _rows_of(self, split):
        """Return the usable pairs of a split in the order of the shards."""
        rows = self._arrow.take(np.flatnonzero(self._usable & (self._names == split)))
        order = sample_order(rows["picture_id"].to_pylist(), self.settings["seed"])
        return rows.take(np.array(order, dtype=np.int64))

    def _read(self, rows, skip_damaged):
        """Yield the samples of some rows from their pictures."""
        for row in plain_rows(rows):
            try:
                yield self._sample(row)
            except DataSetError as exc:
                if not skip_damaged:
                    raise
                warnings.warn(f"{exc}; it is skipped", FailedRowsWarning, stacklevel=2)

    def _sample(self, row):
        path = self.folder / row["path"]
        try:
            image = path.read_bytes()
        except OSError as exc:
            msg = f"the picture '{path}' cannot be read: {exc.strerror or exc}"
            raise DataSetError(msg) from exc
        if hashlib.sha256(image).hexdigest() != row["sha256"]:
            msg = f"the picture '{path}' is damaged: its checksum is wrong"
            raise DataSetError(msg)
        proposal = self._texts[row["obs_collection"] or "", row["proposal_id"]]
        return sample_of(row, proposal, image)

    def verify(self):
        """
        Compare all files with their checksums.

        Returns
        -------
        problems : list of str
            What is wrong, by file; empty if nothing is.
        """
        problems = check_shards(self.folder / "shards", self._entries)
        for row in plain_rows(self._arrow):
            if row["sha256"] is None:
                continue
            try:
                content = (self.folder / row["path"]).read_bytes()
            except OSError:
                content = None
            digest = None if content is None else hashlib.sha256(content).hexdigest()
            if digest != row["sha256"]:
                wrong = "is missing" if content is None else "is damaged"
                problems.append(f"the picture '{self.folder / row['path']}' {wrong}")
        return problems
