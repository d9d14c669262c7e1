# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""Pairs of a picture and texts, from a data set or from any table."""

import warnings
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from paperclip.exceptions import DataSetError, FailedRowsWarning, InvalidQueryError

from ._cells import (
    cell_value,
    group_name,
    has_text,
    is_words,
    lot,
    need_column,
    some,
)
from ._sentences import speaks
from .sampler import group_codes

__all__ = ["Pair", "PairList"]

_WORDS = "a str that is not blank and valid Unicode"


@dataclass(frozen=True, slots=True, kw_only=True)
class Pair:
    """
    One picture and what is written about it.

    Parameters
    ----------
    key : str
        Name of the pair, unique in a list.
    picture : path-like, bytes, `~numpy.ndarray` or callable
        A file or its content, as `paperclip.imaging.read_preview` reads it; a
        uint8 array of shape (ny, nx, 3), row 0 on top; or a function that
        returns such an array.
    texts : mapping
        Caption source ("abstract", "summary", "title", ...) to a sequence of
        texts. Sources without a text are absent, texts are not blank.
    group : str
        Unit that must not be its own wrong answer: mission and proposal.
    meta : mapping, optional
        Columns of the observation, for captions and results.

    Raises
    ------
    DataSetError
        If the key, the group or a text is blank, no str or no valid Unicode.
    """

    key: str
    picture: Any
    texts: Mapping
    group: str
    meta: Mapping = field(default_factory=dict)

    def __post_init__(self):
        for name in ("key", "group"):
            value = getattr(self, name)
            if not is_words(value):
                msg = f"{name} of a pair must be {_WORDS}, got {value!r}"
                raise DataSetError(msg)
        texts = {}
        for source, values in self.texts.items():
            values = (values,) if isinstance(values, str) else tuple(values)
            for place, text in enumerate(values):
                if not is_words(text):
                    msg = (
                        f"pair {self.key!r}: text {place} of source {source!r} must be "
                        f"{_WORDS}, got {text!r}; leave it out"
                    )
                    raise DataSetError(msg)
            if values:
                texts[source] = values
        object.__setattr__(self, "texts", texts)


class PairList(Sequence):
    """
    Pairs in a fixed order.

    Parameters
    ----------
    pairs : iterable of `Pair`
        With different keys.

    Raises
    ------
    DataSetError
        If a key occurs twice.

    Examples
    --------
    >>> from astropy.table import Table
    >>> from paperclip.training import PairList
    >>> table = Table({"path": ["a.jpg", "b.jpg"], "abstract": ["Dust.", "Stars."],
    ...                "proposal_id": ["1", "2"]})
    >>> pairs = PairList.from_table(table, texts=["abstract"], group="proposal_id")
    >>> len(pairs), pairs[1].texts["abstract"]
    (2, ('Stars.',))
    """

    def __init__(self, pairs):
        self._pairs = tuple(pairs)
        wrong = [type(p).__name__ for p in self._pairs if not isinstance(p, Pair)]
        if wrong:
            msg = f"pairs must be Pair objects, got {wrong[0]}"
            raise InvalidQueryError(msg)
        counts = Counter(pair.key for pair in self._pairs)
        twice = [key for key, count in counts.items() if count > 1]
        if twice:
            msg = f"keys of pairs must differ, {len(twice)} occur twice: {some(twice)}"
            raise DataSetError(msg)

    def __len__(self):
        return len(self._pairs)

    def __getitem__(self, item):
        if isinstance(item, slice):
            return type(self)(self._pairs[item])
        return self._pairs[item]

    def __repr__(self):
        groups = len(set(self.groups))
        return f"<PairList: {len(self)} pairs of {groups} groups>"

    @property
    def keys(self):
        """The key of each pair."""
        return [pair.key for pair in self._pairs]

    @property
    def groups(self):
        """The group of each pair."""
        return [pair.group for pair in self._pairs]

    @property
    def group_codes(self):
        """The group of each pair as int64, numbered by their first pairs."""
        return group_codes(self.groups)

    def sources(self):
        """
        Count the pairs that have each caption source.

        Returns
        -------
        counts : dict
            Source to number of pairs, most frequent first.
        """
        counts = Counter(source for pair in self._pairs for source in pair.texts)
        return dict(counts.most_common())

    def select(self, indices):
        """
        Return some of the pairs.

        Parameters
        ----------
        indices : sequence of int or of bool
            Places in the list, or a mask as long as the list.

        Returns
        -------
        pairs : PairList
            In the order of ``indices``.
        """
        indices = np.asarray(indices)
        if indices.dtype == bool:
            indices = np.flatnonzero(indices)
        return type(self)(self._pairs[int(i)] for i in indices)

    def limit_groups(self, most, *, seed=0):
        """
        Keep at most so many pairs of each group.

        Parameters
        ----------
        most : int
            Largest number of pairs of a group.
        seed : int, optional
            Decides which ones; a pair is kept or not whatever other groups
            there are and in whatever order the list is.

        Returns
        -------
        pairs : PairList
            In the same order.
        """
        members = {}
        for place, pair in enumerate(self._pairs):
            members.setdefault(pair.group, []).append(place)
        kept = []
        for places in members.values():
            chosen = sorted(places, key=lambda i: lot(self._pairs[i].key, seed))
            kept += chosen[:most]
        return self.select(sorted(kept))

    def check(self, *, min_groups=2, sources=None, files=False):
        """
        Refuse what cannot be trained on.

        Parameters
        ----------
        min_groups : int, optional
            Smallest number of groups.
        sources : sequence of str, optional
            Caption sources of which each pair must have one; "metadata" can be
            written for pairs with an instrument or a target.
        files : bool, optional
            Whether to look if picture files exist.

        Raises
        ------
        DataSetError
            If there is no pair, there are too few groups, a pair has no text,
            or a file is missing; keys are named.
        """
        if not self._pairs:
            msg = "there are no pairs; check the split and the columns of texts"
            raise DataSetError(msg)
        groups = set(self.groups)
        if len(groups) < min_groups:
            msg = (
                f"pairs must be of at least {min_groups} groups, got {len(groups)}: "
                f"{some(sorted(groups))}; add pairs of other proposals"
            )
            raise DataSetError(msg)
        silent = [pair.key for pair in self._pairs if not speaks(pair, sources)]
        if silent:
            wanted = "" if sources is None else f" of the sources {list(sources)}"
            msg = (
                f"{len(silent)} of {len(self)} pairs have no text{wanted}: "
                f"{some(silent)}; leave them out or name other sources"
            )
            raise DataSetError(msg)
        if files:
            lost = [p.key for p in self._pairs if _is_lost(p.picture)]
            if lost:
                msg = f"pictures of {len(lost)} pairs are missing: {some(lost)}"
                raise DataSetError(msg)

    @classmethod
    def from_table(
        cls, table, *, path="path", texts, group, key=None, folder=None, meta=None
    ):
        """
        Make pairs from the rows of a table.

        Rows without a picture or without any text are left out, with a warning.

        Parameters
        ----------
        table : `~astropy.table.Table`
            One row for each picture.
        path : str, optional
            Column with the file, or the picture itself.
        texts : sequence of str, or mapping
            Columns with texts; a mapping gives source to column.
        group : str or sequence of str
            Column with the group, or several that make it together, such as
            ``["obs_collection", "proposal_id"]``. Where it is missing, pairs
            with the same texts form a group.
        key : str, optional
            Column with unique keys; where there is none, the number of the row.
        folder : path-like, optional
            What relative paths start from.
        meta : sequence of str, optional
            Columns to keep as ``meta``; all by default.

        Returns
        -------
        pairs : PairList
            In the order of the rows.

        Raises
        ------
        InvalidQueryError
            If a column does not exist; the nearest one is named.
        DataSetError
            If keys are not unique.

        Warns
        -----
        FailedRowsWarning
            If rows are left out; the first ones are named, counted from 0.
        """
        if not isinstance(texts, Mapping):
            texts = {
                name: name for name in ([texts] if isinstance(texts, str) else texts)
            }
        groups = [group] if isinstance(group, str) else list(group)
        kept = list(table.colnames) if meta is None else list(meta)
        wanted = [path, *texts.values(), *groups, *kept, *([key] if key else [])]
        for name in wanted:
            need_column(table, name)
        pairs, lost = [], []
        for number, row in enumerate(table):
            picture = cell_value(row[path])
            said = {source: cell_value(row[column]) for source, column in texts.items()}
            said = {source: text for source, text in said.items() if has_text(text)}
            if picture is None or not said:
                lost.append(number)
                continue
            if isinstance(picture, str):
                picture = Path(folder, picture) if folder is not None else Path(picture)
            name = cell_value(row[key]) if key else None
            pairs.append(
                Pair(
                    key=f"{number:08d}" if name is None else str(name),
                    picture=picture,
                    texts=said,
                    group=group_name([cell_value(row[name]) for name in groups], said),
                    meta={
                        name: value
                        for name in kept
                        if (value := cell_value(row[name])) is not None
                    },
                )
            )
        if lost:
            msg = f"{len(lost)} of {len(table)} rows have no picture or no text"
            msg = f"{msg} and are left out: {some(lost)}"
            warnings.warn(msg, FailedRowsWarning, stacklevel=2)
        return cls(pairs)

    @classmethod
    def from_dataset(cls, dataset, split="train", *, extra=None):
        """
        Make pairs from one part of a data set.

        Parameters
        ----------
        dataset : `DataSet` or path-like
            A data set or its folder.
        split : str, optional
            "train", "validation" or "test".
        extra : mapping, optional
            More caption sources, such as ``{"summary": summaries}``, each a
            mapping of (mission, ``proposal_id``) to a text or several.

        Returns
        -------
        pairs : PairList
            Pictures that were fetched and have a text, in the order of the
            data set, with the sources "abstract" and "title" of the proposal.
            The group is the mission and the proposal.

        Raises
        ------
        InvalidQueryError
            If there is no such split.
        DataSetError
            If the folder is no data set.
        """
        from .dataset import DataSet

        data = dataset if isinstance(dataset, DataSet) else DataSet.open(dataset)
        if split not in data.splits:
            msg = f"split must be one of {list(data.splits)}, got {split!r}"
            raise InvalidQueryError(msg)
        said = {name: data.texts(name) for name in ("abstract", "title")}
        said |= dict(extra or {})
        category = data.texts("category")
        pairs = []
        table = data.pairs
        columns = [table[name].tolist() for name in table.colnames]
        for row in zip(*columns, strict=True):
            meta = dict(zip(table.colnames, map(cell_value, row), strict=True))
            meta = {name: value for name, value in meta.items() if value is not None}
            if meta.get("status") != "done" or meta.get("split") != split:
                continue
            proposal = meta.get("obs_collection"), meta.get("proposal_id")
            texts = {source: every.get(proposal) for source, every in said.items()}
            texts = {source: text for source, text in texts.items() if has_text(text)}
            if proposal in category:
                meta["category"] = category[proposal]
            if texts:
                pairs.append(
                    Pair(
                        key=str(meta["picture_id"]),
                        picture=Path(data.folder, meta["path"]),
                        texts=texts,
                        group=group_name(proposal, texts),
                        meta=meta,
                    )
                )
        return cls(pairs)


def _is_lost(picture):
    return isinstance(picture, str | Path) and not Path(picture).is_file()
