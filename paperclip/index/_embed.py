# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""The middle and the end of a build: frames to vectors, vectors to rows."""

import time
from collections import deque
from contextlib import closing
from pathlib import Path

import numpy as np
from astropy.table import Table

from paperclip.exceptions import InvalidQueryError
from paperclip.index.schema import KEY

__all__ = ["Embedding", "Meter", "RowWriter", "embed"]

_WINDOW = 60.0  # seconds that a rate is taken over


class Embedding:
    """
    What a build needs of a model.

    Parameters
    ----------
    encoder : `~paperclip.models.Encoder` or object like it
        With ``encode_images`` and ``fingerprint`` at least.
    """

    def __init__(self, encoder):
        self._encoder = encoder
        self.fingerprint = encoder.fingerprint
        self.name = str(getattr(encoder, "name", ""))
        self._direct = hasattr(encoder, "encode_prepared")

    def prepare(self, rgb):
        """
        Fit a picture into the frame of the model.

        Parameters
        ----------
        rgb : `~numpy.ndarray`, shape (ny, nx, 3), uint8
            The picture.

        Returns
        -------
        frame : `~numpy.ndarray`
            For `encode`; the picture itself where the model has no frame.
        """
        return self._encoder.prepare(rgb) if self._direct else rgb

    def encode(self, frames):
        """
        Encode one batch.

        Parameters
        ----------
        frames : list of `~numpy.ndarray`
            From `prepare`.

        Returns
        -------
        vectors : `~numpy.ndarray`, shape (n, d)
            Unit vectors.
        """
        if self._direct:
            return self._encoder.encode_prepared(np.stack(frames))
        return self._encoder.encode_images(frames)

    @property
    def dimension(self):
        """Length of the vectors (int)."""
        known = getattr(self._encoder, "dimension", None)
        if known is not None:
            return int(known)
        return self.encode([np.zeros((64, 64, 3), dtype=np.uint8)]).shape[1]


class Meter:
    """
    Count, and measure how fast it goes of late.

    Parameters
    ----------
    total : int
        Where the count will end.
    """

    def __init__(self, total):
        self.total = total
        self._marks = deque([(time.monotonic(), 0)])

    def rate(self, done):
        """
        Return the number per second.

        Parameters
        ----------
        done : int
            The count now.

        Returns
        -------
        rate : float
            Over the last minute; 0 while nothing is known.
        """
        now = time.monotonic()
        self._marks.append((now, done))
        while len(self._marks) > 2 and self._marks[1][0] < now - _WINDOW:
            self._marks.popleft()
        then, before = self._marks[0]
        return (done - before) / (now - then) if now > then else 0.0

    def left(self, done, rate):
        """
        Return the seconds until the end at a rate.

        Parameters
        ----------
        done : int
            The count now.
        rate : float
            Number per second.

        Returns
        -------
        seconds : float or None
            None while there is no rate.
        """
        return (self.total - done) / rate if rate > 0 else None


class RowWriter:
    """
    Collect rows and commit them in batches.

    Parameters
    ----------
    index : `~paperclip.index.Index`
        Where they go.
    source : `~paperclip.index.sources.Source`
        Where they come from.
    metadata : `pyarrow.Table` or None
        Columns of the index, for the rows of ``source.table``.
    state : paperclip.index._buildstate.BuildState
        Keeps what failed.
    fingerprint : str
        Of the model.
    rows : int
        Most rows of a commit.
    seconds : float
        Time between commits.
    """

    def __init__(self, index, source, metadata, state, *, fingerprint, rows, seconds):
        self._index = index
        self._source = source
        self._metadata = metadata
        self._state = state
        self._fingerprint = fingerprint
        self._limit = rows
        self._seconds = seconds
        self._last = time.monotonic()
        self._waiting = []
        self._names = set(index.colnames)
        self.n_added = 0
        self.n_failed = 0

    def fail(self, loaded):
        """
        Keep the reason why a file has no row.

        Parameters
        ----------
        loaded : paperclip.index._readers.Loaded
            What became of it; its item is a number of the source.

        Raises
        ------
        InvalidQueryError
            If the whole source has gone, which is no fault of the file.
        """
        root = self._source.root
        if root is not None and not Path(root).is_dir():
            msg = (
                f"source {root} is no longer there; what was read before is kept. "
                "Bring it back and run the same call again to go on"
            )
            raise InvalidQueryError(msg)
        self._state.fail(*self._source.key(loaded.item), loaded.reason)
        self.n_failed += 1

    def add(self, batch, vectors):
        """
        Take rows; they are in the index after some time, or after `flush`.

        Parameters
        ----------
        batch : list of paperclip.index._readers.Loaded
            Their items are numbers of the source.
        vectors : `~numpy.ndarray`, shape (n, d)
            One for each.
        """
        facts = ((loaded.item, loaded.row) for loaded in batch)
        self._waiting += zip(facts, vectors, strict=True)
        due = time.monotonic() - self._last >= self._seconds
        if due or len(self._waiting) >= self._limit:
            self.flush()

    def flush(self):
        """Commit what is waiting, and save what failed."""
        waiting, self._waiting = self._waiting, []  # never twice, whatever happens
        if waiting:
            vectors = np.array([vector for _, vector in waiting])
            table = self._table([facts for facts, _ in waiting])
            self._index.append(table, vectors, fingerprint=self._fingerprint)
            self.n_added += len(waiting)
            for (item, _), _ in waiting:
                self._state.forget(*self._source.key(item))
        self._state.save_failures()
        self._last = time.monotonic()

    def _table(self, facts):
        """Return rows: metadata first, then the file's own words."""
        rows = []
        given = self._given([item for item, _ in facts])
        for (item, own), known in zip(facts, given, strict=True):
            row = {name: v for name, v in own.items() if name in self._names}
            row |= {name: v for name, v in known.items() if v is not None}
            row[KEY] = self._source.obs_ids[item]
            row.setdefault("dataURI", Path(self._source.paths[item]).as_uri())
            rows.append(row)
        names = {name for row in rows for name in row}
        columns = {}
        for name in sorted(names):
            column = np.empty(len(rows), dtype=object)
            column[:] = [row.get(name) for row in rows]
            columns[name] = column
        return Table(columns)

    def _given(self, items):
        """Return what the metadata say of some files."""
        if self._metadata is None:
            return [{}] * len(items)
        numbers = [self._source.rows[item] for item in items]
        known = self._metadata.take([max(number, 0) for number in numbers]).to_pylist()
        return [
            row if number >= 0 else {}
            for number, row in zip(numbers, known, strict=True)
        ]


def embed(loaded, encode, writer, *, batch_size, report):
    """
    Encode what comes out of `read_ahead` and write it.

    Parameters
    ----------
    loaded : generator of paperclip.index._readers.Loaded
        Closed at the end.
    encode : callable
        From a list of frames to vectors.
    writer : RowWriter
        Takes rows and failures; flushed at the end, also after an error.
    batch_size : int
        Frames encoded together.
    report : callable
        Called with the number of files dealt with after every batch.
    """
    done, batch = 0, []

    def finish():
        nonlocal done
        if batch:
            writer.add(batch, encode([item.frame for item in batch]))
            done += len(batch)
            batch.clear()
        report(done)

    with closing(loaded):
        try:
            for item in loaded:
                if item.reason:
                    writer.fail(item)
                    done += 1
                else:
                    batch.append(item)
                if len(batch) == batch_size or (item.reason and not batch):
                    finish()
            finish()
        finally:
            writer.flush()
