# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""
Batches in which no proposal meets itself, the same on any number of processes.

A contrastive loss takes every other text of a batch as a wrong answer. The
pictures of one proposal share their text, so they must not meet, or must count
as right answers for each other.
"""

import hashlib
import warnings

import numpy as np

from paperclip.exceptions import DataSetError, InvalidQueryError, TrainingWarning
from paperclip.utils.checks import whole_number

__all__ = ["Batches", "group_codes", "sample_rng", "stable_codes"]

_STREAMS = {"augment": 1, "caption": 2, "noise": 3, "shuffle": 4}
_NAMED = 3  # groups that a warning names


def sample_rng(seed, epoch, index, *, stream="augment"):
    """
    Return the random numbers of one sample in one epoch.

    They depend on the arguments only, so that a sample is drawn alike by any
    number of workers or processes, and again after a resume.

    Parameters
    ----------
    seed : int
        Seed of the run; 0 is a seed like any other.
    epoch, index : int
        Epoch, and place of the pair in the list of pairs, from 0.
    stream : {'augment', 'caption', 'noise', 'shuffle'}, optional
        What the numbers are for; streams are independent of each other.

    Returns
    -------
    rng : `~numpy.random.Generator`
        A new generator.

    Raises
    ------
    InvalidQueryError
        If ``stream`` is unknown.

    Examples
    --------
    >>> from paperclip.training import sample_rng
    >>> first, again = sample_rng(0, 3, 17), sample_rng(0, 3, 17)
    >>> first.random() == again.random()
    True
    """
    if stream not in _STREAMS:
        msg = f"stream must be one of {sorted(_STREAMS)}, got {stream!r}"
        raise InvalidQueryError(msg)
    return np.random.default_rng([seed, epoch, index, _STREAMS[stream]])


def group_codes(labels):
    """
    Give the groups of pairs numbers, in the order of their first members.

    Parameters
    ----------
    labels : sequence
        Label of each pair: str, int, or None for a pair without a group;
        masked elements and negative integers also mean no group.

    Returns
    -------
    codes : `~numpy.ndarray`, shape (n,), int64
        Equal for equal labels; -1 for pairs without a group.

    Examples
    --------
    >>> from paperclip.training import group_codes
    >>> group_codes(["HST:9405", "JWST:2739", None, "HST:9405"])
    array([ 0,  1, -1,  0])
    """
    if isinstance(labels, np.ndarray):
        labels = labels.tolist()  # masked elements become None
    known = {}
    codes = np.empty(len(labels), dtype=np.int64)
    for place, label in enumerate(labels):
        alone = label is None or np.ma.is_masked(label)
        alone = alone or (not isinstance(label, str) and label < 0)
        codes[place] = -1 if alone else known.setdefault(label, len(known))
    return codes


def stable_codes(texts):
    """
    Turn texts into integers that are the same in every process.

    Parameters
    ----------
    texts : sequence of str
        For example the captions of a batch, to find equal ones after the
        batches of several processes were gathered.

    Returns
    -------
    codes : `~numpy.ndarray`, shape (n,), int64
        The first 63 bits of the BLAKE2b digest, so not negative.
    """
    digests = (hashlib.blake2b(text.encode(), digest_size=8).digest() for text in texts)
    codes = [int.from_bytes(digest, "big") >> 1 for digest in digests]
    return np.array(codes, dtype=np.int64)


class Batches:
    """
    Indices of the pairs of each batch, epoch by epoch.

    Every pair is in exactly one batch of an epoch. With ``unique_groups`` the
    pairs are dealt to the batches group by group, like cards, so that no group
    has two pairs in a batch. This is possible as long as no group has more
    pairs than an epoch has batches. Where one has, its pairs are spread evenly
    and a warning says how often it meets itself: make such pairs right answers
    for each other (``loss.positives="group"`` or ``"both"``), take fewer of a group
    (``data.max_per_group``) or make the batches smaller. Batches are never
    made smaller silently.

    Parameters
    ----------
    groups : sequence of str or int, length n
        Group of each pair, for example its proposal; see `group_codes`.
    batch_size : int
        Pairs per batch, over all processes together.
    seed : int, optional
        Seed of the order; epoch ``e`` depends on ``(seed, e)`` only.
    unique_groups : bool, optional
        Whether pairs of a group are kept apart.
    drop_last : bool, optional
        False makes the batches of an epoch equally large (sizes differ by one
        at most, and none is larger than ``batch_size``), so there is no small
        last batch. True makes each of them exactly ``batch_size``, and leaves
        out the pairs that remain, others in each epoch and those of too large
        groups first.
    may_meet : bool, optional
        Whether the loss knows of pairs of a group in one batch; no warning then.

    Raises
    ------
    DataSetError
        If there are fewer pairs than ``batch_size``, or they all belong to one
        group although ``unique_groups`` is set.
    InvalidQueryError
        If an argument is of the wrong type or out of range.

    Warns
    -----
    TrainingWarning
        If a group has more pairs than there are batches, unless they may meet.

    Examples
    --------
    >>> from paperclip.training import Batches
    >>> batches = Batches(["a", "a", "b", "c", "c", "d"], 3, seed=0)
    >>> len(batches)
    2
    >>> sorted(int(i) for batch in batches.epoch(0) for i in batch)
    [0, 1, 2, 3, 4, 5]
    """

    def __init__(
        self,
        groups,
        batch_size,
        seed=0,
        *,
        unique_groups=True,
        drop_last=False,
        may_meet=False,
    ):
        self.batch_size = whole_number("batch_size", batch_size)
        self.seed = whole_number("seed", seed, low=0)
        flags = {"unique_groups": unique_groups, "drop_last": drop_last}
        for name, value in (flags | {"may_meet": may_meet}).items():
            if not isinstance(value, bool):
                msg = f"{name} must be True or False, got {value!r}"
                raise InvalidQueryError(msg)
        self.unique_groups, self.drop_last = unique_groups, drop_last
        labels = groups.tolist() if isinstance(groups, np.ndarray) else list(groups)
        self.n_pairs = len(labels)
        if self.n_pairs < self.batch_size:
            msg = (
                f"batch_size must be at most the number of pairs, {self.n_pairs}, "
                f"got {self.batch_size}; lower it or add pairs"
            )
            raise DataSetError(msg)
        full, rest = divmod(self.n_pairs, self.batch_size)
        self._length = full + (rest > 0 and not drop_last)
        self._used = full * self.batch_size if drop_last else self.n_pairs
        codes = group_codes(labels)
        alone = codes < 0
        codes[alone] = codes.max() + 1 + np.arange(alone.sum())
        self._codes, self._rank, self._world = codes, 0, 1
        self.repeats = 1
        if unique_groups:
            self._check_groups(labels, may_meet)

    def _check_groups(self, labels, may_meet):
        """Refuse a single group; warn of groups that will meet themselves."""
        _, first, counts = np.unique(self._codes, return_index=True, return_counts=True)
        if len(counts) == 1 and self.n_pairs > 1:
            msg = (
                f"all {self.n_pairs} pairs belong to the group {labels[0]!r}, and a "
                "contrastive loss needs at least 2; add pairs of other proposals, or "
                "set unique_groups (data.unique_groups) to False if their texts differ"
            )
            raise DataSetError(msg)
        excess = np.maximum(counts - self._length, 0)
        if excess.sum() <= self.n_pairs - self._used:
            return
        self.repeats = int(-(-counts.max() // self._length))
        if may_meet:
            return
        largest = np.argsort(-counts, kind="stable")[: min(_NAMED, (excess > 0).sum())]
        named = ", ".join(f"{labels[first[i]]!r} ({counts[i]} pairs)" for i in largest)
        most = min(self.batch_size, self._length)
        msg = (
            f"{(excess > 0).sum()} of {len(counts)} groups have more pairs than an "
            f"epoch has batches ({self._length}) and meet themselves up to "
            f"{self.repeats} times in a batch: {named}. Set loss.positives to 'group' "
            f"so that they are no wrong answers, or data.max_per_group to at most "
            f"{most}, or lower optim.batch_size"
        )
        warnings.warn(msg, TrainingWarning, stacklevel=3)

    def __len__(self):
        return self._length

    def __repr__(self):
        return (
            f"<Batches: {self.n_pairs} pairs in {self._length} batches of up to "
            f"{self.batch_size}, process {self._rank} of {self._world}>"
        )

    @property
    def dropped(self):
        """The number of pairs that an epoch leaves out."""
        return self.n_pairs - self._used

    def shard(self, rank, world):
        """
        Return the part of each batch that one of several processes works on.

        The parts of all processes, one after the other, are the batches of a
        single process. Their sizes differ by one at most.

        Parameters
        ----------
        rank : int
            Number of the process, from 0.
        world : int
            Number of processes.

        Returns
        -------
        batches : Batches
            The same batches, seen by one process.

        Raises
        ------
        InvalidQueryError
            If ``rank`` is not below ``world``, or a batch has fewer pairs than
            there are processes.
        """
        world = whole_number("world", world)
        rank = whole_number("rank", rank, low=0, high=world - 1)
        smallest = self._used // self._length
        if smallest < world:
            msg = (
                f"batches of {smallest} pairs cannot be shared by {world} processes; "
                "raise optim.batch_size or start fewer processes"
            )
            raise InvalidQueryError(msg)
        part = object.__new__(type(self))
        part.__dict__.update(self.__dict__, _rank=rank, _world=world)
        return part

    def epoch(self, number, *, start=0):
        """
        Return the batches of one epoch.

        Parameters
        ----------
        number : int
            Epoch, from 0.
        start : int, optional
            Batches at its beginning that were done before; they are left out.

        Returns
        -------
        batches : list of `~numpy.ndarray`
            Indices of pairs, int64, one array for each batch.
        """
        number = whole_number("number", number, low=0)
        start = whole_number("start", start, low=0, high=self._length)
        rng = np.random.default_rng([self.seed, number])
        deal = self._dealt(rng) if self.unique_groups else self._plain(rng)
        if self._world == 1:
            return deal[start:]
        return [
            np.array_split(batch, self._world)[self._rank] for batch in deal[start:]
        ]

    def stream(self, *, epoch=0, step=0):
        """
        Yield batches for ever, from any place, without replaying what was before.

        Parameters
        ----------
        epoch, step : int, optional
            Where to begin; ``step`` counts the batches within the epoch.

        Yields
        ------
        epoch, step : int
            Where the batch stands.
        batch : `~numpy.ndarray`
            Indices of pairs.
        """
        while True:
            for place, batch in enumerate(self.epoch(epoch, start=step), step):
                yield epoch, place, batch
            epoch, step = epoch + 1, 0

    def _plain(self, rng):
        order = rng.permutation(self.n_pairs)[: self._used]
        return np.array_split(order, self._length)

    def _dealt(self, rng):
        """Deal the pairs to the batches, group by group, in random order."""
        order = rng.permutation(self.n_pairs)
        codes = rng.permutation(self._codes.max() + 1)[self._codes]
        order = order[np.argsort(codes[order], kind="stable")]
        if self._used < self.n_pairs:
            order = order[self._kept(codes[order], rng)]
        seats = np.arange(len(order)) % self._length
        by_seat = order[np.argsort(seats, kind="stable")]
        sizes = np.bincount(seats, minlength=self._length)
        batches = np.split(by_seat, np.cumsum(sizes)[:-1])
        return [rng.permutation(batches[i]) for i in rng.permutation(self._length)]

    def _kept(self, codes, rng):
        """Return which pairs stay; too large groups lose theirs first."""
        starts = np.flatnonzero(np.r_[True, codes[1:] != codes[:-1]])
        place = np.arange(len(codes))
        within = place - np.repeat(starts, np.diff(np.r_[starts, len(codes)]))
        last = rng.random(len(codes)) - (within >= self._length)
        keep = np.ones(len(codes), dtype=bool)
        keep[np.argsort(last, kind="stable")[: len(codes) - self._used]] = False
        return keep
