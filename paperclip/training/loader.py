# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""Batches of pictures and captions, made in threads ahead of the model."""

import warnings
from collections import deque
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import lru_cache

import numpy as np

from paperclip.exceptions import (
    DataSetError,
    FailedRowsWarning,
    ImageConversionError,
)

from .sampler import sample_rng, stable_codes

__all__ = ["Batch", "Loader", "readable_pairs", "shuffled_pairs"]

_AHEAD = 2  # batches that are prepared while the model works
_REMEMBERED = 50_000  # captions of which the tokens are kept
_NAMED = 5
_FORMATS = ("JPEG", "PNG", "GIF", "TIFF", "WEBP")  # of imaging.read_preview
_LOST = 0.5  # share of unreadable pictures that is too many


@dataclass
class Batch:
    """
    What the model gets in one step.

    Parameters
    ----------
    epoch, place : int
        Epoch, and number of the batch in it.
    index : `~numpy.ndarray`, shape (n,), int64
        Places of the pairs in the list.
    frames : `~numpy.ndarray`, shape (m, height, width, 3), uint8
        Pictures.
    ids : `~numpy.ndarray`, shape (n, length), int64
        Captions as tokens.
    labels : `~numpy.ndarray`, shape (n, 2), int64
        Groups, and codes of the captions.
    captions : list of `~paperclip.training.Caption`
        What the captions are.
    failed : list of str
        Keys of pairs whose pictures could not be read; they are left out.
    read : `~numpy.ndarray`, shape (m,), int64
        Which of the n pairs the pictures are of: all, unless the features of
        some are known from before.
    """

    epoch: int
    place: int
    index: np.ndarray
    frames: np.ndarray
    ids: np.ndarray
    labels: np.ndarray
    captions: list
    failed: list = field(default_factory=list)
    read: np.ndarray = None


class Loader:
    """
    Read, augment and tokenize the pairs of batches.

    What a batch holds depends on the seed, the epoch and the pairs only: not
    on the number of threads, and not on when a run was killed and resumed.

    Parameters
    ----------
    pairs : `~paperclip.training.PairList`
        All pairs.
    batches : `~paperclip.training.Batches`
        Their order; the part of this process.
    mixer : `~paperclip.training.CaptionMixer`
        Draws captions.
    augmentation : `~paperclip.training.Augmentation`
        Changes pictures; frames that are not as large as the model needs are
        fitted into it.
    reader : paperclip.models.text.TextReader
        Tokenizer.
    preprocessing : paperclip.models.preprocess.Preprocessing
        Frame of the model.
    seed : int
        Seed of the run.
    trim : bool
        Whether ids end with the longest caption, or are padded to the length
        that the model reads.
    workers : int, optional
        Threads; 0 works in the thread of the caller. Reading and scaling
        pictures lets other threads run.
    frozen : paperclip.training._frozen.FrozenFeatures, optional
        Knows pictures that need not be read again.
    """

    def __init__(
        self,
        pairs,
        batches,
        mixer,
        augmentation,
        reader,
        preprocessing,
        *,
        seed,
        trim=True,
        workers=2,
        frozen=None,
    ):
        self.frozen = frozen
        self.pairs, self.batches, self.mixer = pairs, batches, mixer
        self.augmentation, self.preprocessing = augmentation, preprocessing
        self.seed, self.trim, self.workers = seed, trim, workers
        self.reader = reader
        self._groups = pairs.group_codes
        self._ids = lru_cache(_REMEMBERED)(self._find_ids)
        self._warned = set()

    def stream(self, *, epoch=0, step=0):
        """
        Yield batches for ever.

        Parameters
        ----------
        epoch, step : int, optional
            Where to begin, see `~paperclip.training.Batches.stream`.

        Yields
        ------
        batch : Batch
            In the order of the sampler.

        Raises
        ------
        DataSetError
            If half of a batch or more cannot be read.
        """
        places = self.batches.stream(epoch=epoch, step=step)
        if not self.workers:
            for e, place, index in places:
                yield self._collect(
                    e, place, index, [self._sample(e, place, int(i)) for i in index]
                )
        pool = ThreadPoolExecutor(self.workers, thread_name_prefix="paperclip-train")
        pending = deque()
        try:
            while True:
                while len(pending) <= _AHEAD:
                    e, place, index = next(places)
                    tasks = [pool.submit(self._sample, e, place, int(i)) for i in index]
                    pending.append((e, place, index, tasks))
                e, place, index, tasks = pending.popleft()
                samples = [task.result() for task in tasks]
                yield self._collect(e, place, index, samples)
        finally:
            pool.shutdown(wait=True, cancel_futures=True)

    def _sample(self, epoch, place, i):
        """Return frame, caption and ids of a pair; or why there is no picture."""
        pair = self.pairs[i]
        caption = self.mixer.draw(
            pair, sample_rng(self.seed, epoch, i, stream="caption")
        )
        ids = self._ids(caption.text)
        if self.frozen is not None:
            if self.frozen.knows(epoch, i):
                return None, caption, ids
            epoch = self.frozen.variant(epoch)
        # one draw for the whole batch is a fault that the recipe "paper" repeats
        shared = self.augmentation.settings.shared
        rng = sample_rng(self.seed, epoch, place if shared else i, stream="augment")
        try:
            frame = self.augmentation.apply(read_picture(pair), rng)
        except ImageConversionError as exc:
            return str(exc), caption, ids
        if frame.shape[:2] != tuple(self.preprocessing.size):
            from paperclip.models.preprocess import letterbox

            frame = letterbox(frame, self.preprocessing)
        return frame, caption, ids

    def _find_ids(self, text):
        ids = self.reader.ids(text)
        most = self.reader.context_length
        if len(ids) > most:  # chunks of words may have more tokens than are read
            ids = [*ids[: most - 1], ids[-1]]
        return ids

    def _collect(self, epoch, place, index, samples):
        good = [n for n, (frame, _, _) in enumerate(samples) if not _is_reason(frame)]
        failed = []
        if len(good) < len(samples):
            failed = self._report(index, samples, good)
        frames, read = self._frames([samples[n][0] for n in good])
        rows = [samples[n][2] for n in good]
        length = max(map(len, rows)) if self.trim else self.reader.context_length
        ids = np.full((len(rows), length), self.reader.pad_id, dtype=np.int64)
        for out, row in zip(ids, rows, strict=True):
            out[: len(row)] = row
        captions = [samples[n][1] for n in good]
        index = np.asarray(index)[good]
        texts = stable_codes([caption.text for caption in captions])
        labels = np.stack([self._groups[index], texts], axis=1)
        return Batch(epoch, place, index, frames, ids, labels, captions, failed, read)

    def _frames(self, found):
        """Return the pictures that were read, and which ones these are."""
        read = [n for n, frame in enumerate(found) if frame is not None]
        if not read:
            empty = np.empty((0, *self.preprocessing.size, 3), dtype=np.uint8)
            return empty, np.array(read, dtype=np.int64)
        return np.stack([found[n] for n in read]), np.array(read)

    def _report(self, index, samples, good):
        """Warn once of each pair that is left out; refuse a lost batch."""
        lost = {
            self.pairs[int(index[n])].key: samples[n][0]
            for n in set(range(len(samples))) - set(good)
        }
        if len(lost) > _LOST * len(samples):
            key, reason = next(iter(lost.items()))
            msg = (
                f"{len(lost)} of {len(samples)} pictures of a batch cannot be read, "
                f"{key!r} for example: {reason}; is the folder still there?"
            )
            raise DataSetError(msg)
        new = {key: reason for key, reason in lost.items() if key not in self._warned}
        self._warned |= set(new)
        if new:
            said = "; ".join(f"{key!r}: {reason}" for key, reason in new.items())
            msg = f"{len(new)} pictures cannot be read and are left out: {said}"
            warnings.warn(msg, FailedRowsWarning, stacklevel=4)
        return list(lost)


def _is_reason(frame):
    return isinstance(frame, str)


def read_picture(pair):
    """
    Read the picture of a pair.

    Parameters
    ----------
    pair : `~paperclip.training.Pair`
        Any pair.

    Returns
    -------
    rgb : `~numpy.ndarray`, shape (ny, nx, 3), uint8
        The picture.

    Raises
    ------
    ImageConversionError
        If it cannot be read.
    """
    from paperclip.imaging import read_preview
    from paperclip.models.preprocess import as_rgb

    picture = pair.picture
    if isinstance(picture, np.ndarray):
        return as_rgb(picture)
    return as_rgb(picture()) if callable(picture) else read_preview(picture)


def readable_pairs(pairs, *, workers=2):
    """
    Leave out pairs whose pictures cannot be read, and say so.

    Files are opened and their headers are checked; damage further inside is
    found, and reported, when the picture is first used.

    Parameters
    ----------
    pairs : `~paperclip.training.PairList`
        All pairs.
    workers : int, optional
        Threads that look.

    Returns
    -------
    pairs : `~paperclip.training.PairList`
        Those that can be used, in the same order.
    failed : dict of str to str
        Key of each pair that was left out, and the reason.

    Raises
    ------
    DataSetError
        If more than half of the pictures cannot be read.
    """
    with ThreadPoolExecutor(max(1, workers)) as pool:
        reasons = list(pool.map(_why_not, pairs))
    failed = {
        pair.key: reason
        for pair, reason in zip(pairs, reasons, strict=True)
        if reason is not None
    }
    if not failed:
        return pairs, failed
    named = "; ".join(f"{k!r}: {v}" for k, v in list(failed.items())[:_NAMED])
    said = f"{len(failed)} of {len(pairs)} pictures cannot be read"
    if len(failed) > _LOST * len(pairs):
        msg = f"{said}: {named}; check the folder of the data set"
        raise DataSetError(msg)
    msg = f"{said} and are left out: {named}"
    warnings.warn(msg, FailedRowsWarning, stacklevel=3)
    return pairs.select([reason is None for reason in reasons]), failed


def _why_not(pair):
    """Return why a picture cannot be used, judged by its header, or None."""
    import io

    from PIL import Image

    from paperclip.models.preprocess import as_rgb

    picture = pair.picture
    try:
        if isinstance(picture, np.ndarray):
            as_rgb(picture)
        elif not callable(picture):
            raw = isinstance(picture, bytes | bytearray | memoryview)
            source = io.BytesIO(picture) if raw else picture
            with Image.open(source, formats=_FORMATS) as image:
                image.verify()
    except (ImageConversionError, OSError, SyntaxError, ValueError, Warning) as exc:
        return f"{type(exc).__name__}: {exc}"
    except Image.DecompressionBombError as exc:
        return str(exc)
    return None


def shuffled_pairs(pairs, seed):
    """
    Give the texts of pairs to the pictures of others, as a control.

    A model that is trained on the result learns nothing about pictures; if its
    figures are better than chance, something leaks.

    Parameters
    ----------
    pairs : `~paperclip.training.PairList`
        All pairs.
    seed : int
        Decides who gets what.

    Returns
    -------
    pairs : `~paperclip.training.PairList`
        The same keys and pictures; texts, groups and columns of other pairs,
        of another group wherever there are enough of them.
    """
    import dataclasses

    from .pairs import PairList

    rng = sample_rng(seed, 0, 0, stream="shuffle")
    codes = pairs.group_codes
    order = rng.permutation(len(pairs))
    order = order[
        np.argsort(rng.permutation(codes.max() + 1)[codes[order]], kind="stable")
    ]
    # sorted by group, a shift by the size of the largest leaves no one at home
    shift = int(np.bincount(codes).max())
    partner = np.empty_like(order)
    partner[order] = np.roll(order, shift)
    return PairList(
        dataclasses.replace(
            pair,
            texts=pairs[int(j)].texts,
            group=pairs[int(j)].group,
            meta=pairs[int(j)].meta,
        )
        for pair, j in zip(pairs, partner, strict=True)
    )
