# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""Download many files at once: all of a file or nothing, and the reason."""

import os
import threading
from collections import deque
from concurrent.futures import FIRST_COMPLETED, ThreadPoolExecutor, wait
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from urllib.parse import quote

import numpy as np

from paperclip.exceptions import (
    DataSetWriteError,
    OfflineError,
    PaperclipError,
    RemoteServiceError,
    RemoteServiceWarning,
)
from paperclip.mast._journal import PART, write_error
from paperclip.mast._wire import PassingError, RefusedError, StoppedError, Wire
from paperclip.utils import retry as _retry
from paperclip.utils.checks import whole_number
from paperclip.utils.warn import warn_user

__all__ = ["Download", "Outcome", "download"]

_LOOK_UP = 200  # files whose place in the cloud is asked for at once
_GIVE_UP = 3  # failures in a row after which the cloud is left alone
_MESSAGE = 300
# what a check may raise for a file that is not what it should be
_CHECK_ERRORS = (
    PaperclipError,
    ArithmeticError,
    EOFError,
    LookupError,
    OSError,
    TypeError,
    ValueError,
)


@dataclass(frozen=True)
class Download:
    """
    A file that is wanted.

    Parameters
    ----------
    key : str or int
        What the caller calls it; it comes back in the `Outcome`.
    uri : str
        Its ``dataURI`` in the archive.
    target : `~pathlib.Path`
        Where it is to be. Nothing here is taken from the archive unchecked:
        see `paperclip.mast.names.safe_name`.
    """

    key: str | int
    uri: str
    target: Path


@dataclass(frozen=True)
class Outcome:
    """
    What became of a `Download`.

    Parameters
    ----------
    key, uri, target : object
        As in the `Download`.
    status : str
        ``"done"``: the whole file is at ``target`` and passed the check.
        ``"failed"``: there is nothing new at ``target``.
    message : str
        Why it failed, in one line.
    source : str
        ``"disk"``, ``"archive"`` or ``"cloud"``; empty if it failed.
    passing : bool
        True if the service was in trouble, and another day may do.
    result : object
        What the check returned.
    """

    key: str | int
    uri: str
    target: Path
    status: str
    message: str = ""
    source: str = ""
    passing: bool = False
    result: object = None


def download(jobs, *, client, max_bytes, workers=None, check=None, cloud=False):
    """
    Download files with several threads, and yield outcomes as they finish.

    A file is written under a temporary name in its folder, compared with the
    size that was announced, checked, and renamed. What fails for a passing
    reason (no answer, a broken or slow transfer, too few bytes, HTTP 408, 429
    and 5xx) is tried again up to ``client.retries`` times with growing pauses;
    ``Retry-After`` is honoured by all threads together. A file that does not
    pass the check is fetched once more. Other answers are final.

    Parameters
    ----------
    jobs : iterable of Download
        Taken one by one while there are free threads, so it may be long. No
        two of them may have the same target.
    client : MastClient
        Knows the addresses; ``timeout`` and ``retries`` are taken from it.
    max_bytes : int
        Largest file that is taken. One that announces more, or sends more, is
        cut off at once and has failed.
    workers : int, optional
        Number of threads, ``paperclip.conf.workers`` when not given.
    check : callable, optional
        ``check(path)`` looks at a complete file; it raises an error like
        `ValueError` or `OSError` if the file is not what it should be, and may
        change a temporary file in place. It runs in the threads.
    cloud : bool, optional
        Read from the public copy in the cloud what is there, without an
        account; what cannot be had there comes from the archive.

    Yields
    ------
    outcome : Outcome
        One for each job, in the order in which they finish.

    Raises
    ------
    DataSetWriteError
        If a file cannot be written. Complete files stay.
    OfflineError
        If a file is not on disk and downloads are switched off.

    Warns
    -----
    RemoteServiceWarning
        Once, if the cloud did not deliver and the archive had to.
    """
    from paperclip import conf

    workers = conf.workers if workers is None else workers
    workers = whole_number("workers", workers, high=256)
    max_bytes = whole_number("max_bytes", max_bytes)
    fetcher = _Fetcher(client, max_bytes, check)
    jobs = _in_cloud(jobs, fetcher) if cloud else ((job, None) for job in jobs)
    pool = ThreadPoolExecutor(workers, thread_name_prefix="paperclip-download")
    pending = set()
    try:
        for job, key in jobs:
            pending.add(pool.submit(fetcher.run, job, key))
            while len(pending) >= 2 * workers:
                yield from _finished(pending, fetcher)
        while pending:
            yield from _finished(pending, fetcher)
    finally:
        fetcher.wire.close()
        pool.shutdown(wait=True, cancel_futures=True)
        fetcher.wire.forget()


def _finished(pending, fetcher):
    """Wait for the next outcomes, and look after those that hang."""
    done, _ = wait(pending, fetcher.wire.timeout / 4, FIRST_COMPLETED)
    fetcher.wire.look_after()
    pending -= done
    for future in done:
        outcome = future.result()
        fetcher.warn_of_cloud()
        yield outcome


def _in_cloud(jobs, fetcher):
    """Yield (job, place in the cloud or None), asked for in groups."""
    jobs = iter(jobs)
    while group := list(islice(jobs, _LOOK_UP)):
        missing = [job.uri for job in group if not job.target.is_file()]
        places = {}
        if missing and fetcher.cloud_failures < _GIVE_UP:
            try:
                places = fetcher.client.cloud_paths(missing)
            except RemoteServiceError as exc:
                fetcher.cloud_failed(str(exc))
        for job in group:
            yield job, places.get(job.uri)


class _Fetcher:
    """The work of one thread on one file, and what the threads share."""

    def __init__(self, client, max_bytes, check):
        from paperclip import conf

        self.client = client
        self.max_bytes = max_bytes
        self.check = check
        self.wire = Wire(client.timeout)
        self.retries = client.retries
        self.offline = client.offline
        self.cloud_server = conf.cloud_server.rstrip("/")
        self.cloud_failures = 0
        self._cloud_notes = deque()
        self._cloud_told = False
        self._random = np.random.default_rng()
        self._lock = threading.Lock()

    def run(self, job, key):
        """Return the outcome of one job."""
        try:
            if found := self._on_disk(job):
                return found
            if self.offline:
                msg = (
                    f"{os.fspath(job.target)!r} is not on disk and downloads are "
                    "switched off; set paperclip.conf.offline = False and repeat "
                    "the call with a network"
                )
                raise OfflineError(msg)
            part = job.target.with_name(f"{PART}{os.getpid()}-{job.target.name}")
            try:
                _make_folder(job.target.parent)
                return self._fetch(job, key, part)
            finally:
                _remove(part)
        except StoppedError:
            return Outcome(job.key, job.uri, job.target, "failed", "stopped")

    def _on_disk(self, job):
        """Return an outcome if a good file is there already."""
        if not job.target.is_file():
            return None
        try:
            result = None if self.check is None else self.check(job.target)
        except DataSetWriteError:
            raise
        except _CHECK_ERRORS:
            return None
        return Outcome(
            job.key, job.uri, job.target, "done", source="disk", result=result
        )

    def _fetch(self, job, key, part):
        """Try the cloud once, then the archive as often as it makes sense."""
        if key is not None and self.cloud_failures < _GIVE_UP:
            try:
                result = self._receive(f"{self.cloud_server}/{quote(key)}", part)
            except (PassingError, RefusedError, _BadFileError) as exc:
                self.cloud_failed(f"{key}: {exc}")
            else:
                self.cloud_failures = 0
                return self._done(job, part, "cloud", result)
        url = self.client.download_url(job.uri)
        tried = busy = bad = 0
        while True:
            try:
                result = self._receive(url, part)
            except RefusedError as exc:
                return self._failed(job, str(exc))
            except _BadFileError as exc:
                bad += 1
                if bad == 2:
                    return self._failed(job, f"{exc} (fetched twice)")
            except PassingError as exc:
                # a server that says when to come back is not given up so soon
                asked = exc.pause is not None
                tried, busy = tried + (not asked), busy + asked
                if tried >= self.retries or busy >= 4 * self.retries:
                    msg = f"{exc} (tried {tried + busy} times)"
                    return self._failed(job, msg, passing=True)
                self._pause(tried, exc.pause)
            else:
                return self._done(job, part, "archive", result)

    def _receive(self, url, part):
        """Receive a file and check it; return what the check says."""
        size, kind = self.wire.receive(url, part, max_bytes=self.max_bytes)
        try:
            return size if self.check is None else self.check(part)
        except DataSetWriteError:
            raise
        except _CHECK_ERRORS as exc:
            page = kind.startswith("text/html")
            what = "the server sent a page of text in its place: " if page else ""
            raise _BadFileError(what + (str(exc) or type(exc).__name__)) from exc

    def _pause(self, tried, asked):
        """Wait before the next attempt, together if the server asked for it."""
        if asked is not None:
            self.wire.be_quiet(asked)
            return
        with self._lock:
            jitter = self._random.uniform(0.5, 1)
        pause = _retry.FIRST_WAIT * 2.0 ** min(tried - 1, 60)
        self.wire.sleep(min(pause, _retry.LONGEST_WAIT) * jitter)

    def _done(self, job, part, source, result):
        """Give the file its name."""
        try:
            part.replace(job.target)
        except OSError as exc:
            raise write_error(job.target, exc) from exc
        return Outcome(
            job.key, job.uri, job.target, "done", source=source, result=result
        )

    def _failed(self, job, message, *, passing=False):
        message = " ".join(message.split())
        if len(message) > _MESSAGE:
            message = message[: _MESSAGE - 3] + "..."
        return Outcome(job.key, job.uri, job.target, "failed", message, passing=passing)

    def cloud_failed(self, message):
        """Remember a failure of the cloud, to tell the first one once."""
        self.cloud_failures += 1
        self._cloud_notes.append(message)

    def warn_of_cloud(self):
        """Warn in the thread of the caller, once."""
        if self._cloud_notes and not self._cloud_told:
            self._cloud_told = True
            msg = (
                f"the cloud at {self.cloud_server} did not deliver "
                f"({self._cloud_notes[0]}); such files come from the archive itself"
            )
            warn_user(msg, RemoteServiceWarning)


class _BadFileError(Exception):
    """A complete file that is not what it should be."""


def _make_folder(folder):
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as exc:
        raise write_error(folder, exc) from exc


def _remove(part):
    try:
        part.unlink(missing_ok=True)
    except OSError as exc:
        raise write_error(part, exc) from exc
