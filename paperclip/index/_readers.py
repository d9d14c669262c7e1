# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""Read and decode pictures in threads, ahead of whoever encodes them."""

import os
from collections import deque
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path

from paperclip.exceptions import (
    ImageConversionError,
    PaperclipError,
    RemoteServiceError,
)
from paperclip.index._fitsworker import FitsPool
from paperclip.index._remote import RemoteFiles, is_remote, public_name

__all__ = [
    "FITS_SUFFIXES",
    "PICTURE_SUFFIXES",
    "AbsentError",
    "Loaded",
    "Reader",
    "load_item",
    "read_ahead",
    "reader_threads",
    "stem_of",
]

#: How the names of files end that are read as pictures.
PICTURE_SUFFIXES = (".jpg", ".jpeg", ".png", ".gif", ".tif", ".tiff", ".webp")
_PLAIN = (".fits", ".fit", ".fts")
#: How the names of FITS files end.
FITS_SUFFIXES = (
    *_PLAIN,
    *(f"{name}{packed}" for name in _PLAIN for packed in (".gz", ".bz2", ".xz", ".z")),
    ".fits.fz",
    ".fz",
)
# what reading and resizing a single bad file may raise
_FILE_ERRORS = (
    PaperclipError,
    ArithmeticError,
    EOFError,
    LookupError,
    MemoryError,
    OSError,
    RuntimeError,
    TypeError,
    ValueError,
)


class AbsentError(Exception):
    """Say that there is no file of an item, which others keep a record of."""


@dataclass(slots=True)
class Loaded:
    """
    What became of one item.

    Parameters
    ----------
    item : object
        What was asked for.
    frame : `~numpy.ndarray` or None
        Picture in the frame of the model.
    row : dict
        What the file says about itself, by column.
    reason : str
        Why there is no frame; empty if there is one.
    kind : str
        "failed" in general, "absent" if there is no file, "silent" if a server
        did not answer.
    """

    item: object
    frame: object = None
    row: dict = field(default_factory=dict)
    reason: str = ""
    kind: str = "failed"


def stem_of(name):
    """
    Return the name of a file without what it ends in.

    Parameters
    ----------
    name : str
        Name of a file, without folders.

    Returns
    -------
    stem : str
        ``a.b`` for ``a.b.jpg``, ``a`` for ``a.fits.gz``.
    """
    lower = name.lower()
    known = sorted((*FITS_SUFFIXES, *PICTURE_SUFFIXES), key=len, reverse=True)
    for suffix in known:
        if lower.endswith(suffix) and len(name) > len(suffix):
            return name[: -len(suffix)]
    return Path(name).stem


def reader_threads(workers=None):
    """
    Return how many files are read at once.

    Parameters
    ----------
    workers : int, optional
        The wish of the caller.

    Returns
    -------
    workers : int
        By default the number of processors, at most 4: decoding takes a tenth
        of the time of the model, which needs the processors as well.
    """
    return min(4, os.cpu_count() or 1) if workers is None else workers


class Reader:
    """
    Turn files into frames, pictures here and FITS files in processes.

    Use it as a context manager.

    Parameters
    ----------
    prepare : callable
        From a uint8 picture (ny, nx, 3) to the frame of the model.
    workers : int
        Largest number of processes for FITS files.
    """

    def __init__(self, prepare, workers):
        self._prepare = prepare
        self._pool = FitsPool(workers)
        self._remote = RemoteFiles()

    def __enter__(self):
        return self

    def __exit__(self, *error):
        self.close()

    def close(self):
        """End all processes and connections."""
        self._pool.close()
        self._remote.close()

    def __call__(self, path):
        """
        Read one file; safe to call from threads.

        Parameters
        ----------
        path : str
            Picture or FITS file, or the URI of one that is elsewhere.

        Returns
        -------
        frame : `~numpy.ndarray`
            What ``prepare`` made of it.
        row : dict
            What a FITS file says about itself; empty for a picture.

        Raises
        ------
        ImageConversionError
            If it cannot be read.
        RemoteServiceError
            If its server does not answer.
        """
        if not is_remote(path):
            return self._read(path)
        with self._remote.copy(path) as copy:
            try:
                return self._read(copy)
            except ImageConversionError as exc:
                msg = str(exc).replace(copy, public_name(path))
                raise ImageConversionError(msg) from exc

    def _read(self, path):
        from paperclip.imaging import read_preview
        from paperclip.imaging.preview import is_picture

        # the content decides, not the name
        with Path(path).open("rb") as stream:
            head = stream.read(12)
        if is_picture(head):
            return self._prepare(read_preview(path)), {}
        rgb, row = self._pool.convert(path)
        return self._prepare(rgb), row


def load_item(item, read):
    """
    Read an item, and keep the reason if that is not possible.

    Parameters
    ----------
    item : object
        What to read.
    read : callable
        From an item to a frame and a dict.

    Returns
    -------
    loaded : Loaded
        With a frame or a reason.
    """
    try:
        frame, row = read(item)
    except AbsentError as exc:
        return Loaded(item, reason=str(exc), kind="absent")
    except _FILE_ERRORS as exc:
        text = " ".join(str(exc).split()) or type(exc).__name__
        own = isinstance(exc, PaperclipError)
        kind = "silent" if isinstance(exc, RemoteServiceError) else "failed"
        text = text if own else f"{type(exc).__name__}: {text}"
        return Loaded(item, reason=text, kind=kind)
    return Loaded(item, frame, row)


def read_ahead(items, read, *, workers, ahead, cancel=None):
    """
    Read items in threads, in order, and never more than a few ahead.

    Parameters
    ----------
    items : iterable
        What to read; it is taken from as there is room.
    read : callable
        From an item to a frame and a dict; called in threads.
    workers : int
        Number of threads.
    ahead : int
        Largest number of items that are being read or wait to be taken.
    cancel : callable, optional
        Called when the rest is not wanted, so that ``read`` may end soon.

    Yields
    ------
    loaded : Loaded
        One for each item, in order; errors of single files are in ``reason``.
    """
    items = iter(items)
    pending = deque()
    pool = ThreadPoolExecutor(workers, thread_name_prefix="paperclip-read")
    try:
        while True:
            for item in islice(items, ahead - len(pending)):
                pending.append(pool.submit(load_item, item, read))
            if not pending:
                return
            yield pending.popleft().result()
    except BaseException:
        if cancel is not None:
            cancel()
        raise
    finally:
        pool.shutdown(wait=True, cancel_futures=True)
