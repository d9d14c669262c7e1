# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""The middle of a build: frames to vectors, and how fast that goes."""

import time
from collections import deque
from contextlib import closing

import numpy as np

from paperclip.exceptions import ModelMismatchError

__all__ = ["Embedding", "Meter", "embed"]

_WINDOW = 60.0  # seconds that a rate is taken over


class Embedding:
    """
    What a build needs of a model, which is loaded when it is first used.

    Parameters
    ----------
    model : str, path-like or encoder
        As for `paperclip.models.load_encoder`.
    device : str, optional
        As for `paperclip.models.load_encoder`.
    offline : bool, optional
        As for `paperclip.models.load_encoder`.
    """

    def __init__(self, model, *, device=None, offline=None):
        from paperclip.models.identity import identify

        identity = identify(model, offline=offline)
        self.model = model
        self.fingerprint = identity.fingerprint
        self.name = identity.name
        self.preprocessing = identity.preprocessing
        self._options = {"device": device, "offline": offline}
        self._loaded = None

    def load(self):
        """
        Load the model, unless that has been done.

        Returns
        -------
        encoder : `~paperclip.models.Encoder`
            Ready to use.

        Raises
        ------
        ModelMismatchError
            If its files have changed meanwhile.
        """
        if self._loaded is None:
            from paperclip.models import load_encoder

            encoder = load_encoder(self.model, **self._options)
            if encoder.fingerprint != self.fingerprint:
                msg = (
                    f"the model {self.name!r} was {self.fingerprint!r} and is "
                    f"{encoder.fingerprint!r} now; run the same call again when its "
                    "files do not change any more"
                )
                raise ModelMismatchError(msg)
            self._loaded = encoder
        return self._loaded

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
        return self.load().prepare(rgb) if self._direct else rgb

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
            return self.load().encode_prepared(np.stack(frames))
        return self.load().encode_images(frames)

    @property
    def _direct(self):
        return hasattr(self.load(), "encode_prepared")

    @property
    def dimension(self):
        """Length of the vectors (int)."""
        known = getattr(self.load(), "dimension", None)
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
