# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""
One body of HTTP into one file, within a size and within a time.

`requests` limits the time between two packets and nothing else: a server that
sends a byte now and then, or that never stops sending, is waited for without
end. Here every transfer has a lowest mean speed and a largest size.
"""

import threading
import time
from dataclasses import dataclass
from http.client import HTTPException
from urllib.parse import urljoin

import requests
from urllib3.exceptions import HTTPError

from paperclip.mast._journal import write_all, write_error
from paperclip.mast._watched import WatchedAdapter, is_whole, shut, watch_thread
from paperclip.utils.retry import parse_retry_after

__all__ = ["PassingError", "RefusedError", "StoppedError", "Wire"]

_BLOCK = 1 << 16
_SLOWEST = 1 << 14  # bytes per second of a transfer, on the mean
_REDIRECTS = 5
_PASSING = frozenset({408, 425, 429})  # and all from 500 on
_NETWORK_ERRORS = (requests.RequestException, HTTPError, HTTPException, OSError)
_ADDRESS_ERRORS = (
    requests.exceptions.InvalidURL,
    requests.exceptions.InvalidSchema,
    requests.exceptions.MissingSchema,
    requests.exceptions.InvalidHeader,
    UnicodeError,
)


class PassingError(Exception):
    """
    A failure that may be over at the next attempt.

    Parameters
    ----------
    message : str
        What happened.
    pause : float, optional
        Seconds that the server asked to be left alone.
    """

    def __init__(self, message, *, pause=None):
        super().__init__(message)
        self.pause = pause


class RefusedError(Exception):
    """A failure that another attempt will not change."""


class StoppedError(Exception):
    """The caller wants no more."""


@dataclass
class _Watch:
    """What a thread waits for, for those who may have to end it."""

    sock: object = None
    until: float | None = None
    cut: bool = False


class Wire:
    """
    Sessions, one for each thread that asks, and limits for all of them.

    Parameters
    ----------
    timeout : float
        Seconds to connect, and between two packets. A whole transfer may take
        twice that, and a second more for each 16 KiB that have come.
    """

    def __init__(self, timeout):
        self.timeout = timeout
        self.stop = threading.Event()
        self._local = threading.local()
        self._lock = threading.Lock()
        self._all = []  # (session, watch) of each thread
        self._quiet_until = 0.0

    def _session(self):
        if not hasattr(self._local, "session"):
            session = requests.Session()
            session.headers["Accept-Encoding"] = "identity"
            for scheme in ("http://", "https://"):
                session.mount(scheme, WatchedAdapter(pool_maxsize=2))
            self._local.session, self._local.watch = session, _Watch()
            with self._lock:
                self._all.append((session, self._local.watch))
        return self._local.session, self._local.watch

    def be_quiet(self, seconds):
        """
        Let no thread begin a request for some time.

        Parameters
        ----------
        seconds : float
            From now on; a longer pause that was set before stays.
        """
        with self._lock:
            self._quiet_until = max(self._quiet_until, time.monotonic() + seconds)

    def sleep(self, seconds):
        """
        Wait, unless the caller wants no more.

        Parameters
        ----------
        seconds : float
            How long.

        Raises
        ------
        StoppedError
            If the transfers were stopped.
        """
        if self.stop.wait(max(seconds, 0.0)):
            raise StoppedError

    def look_after(self):
        """End the transfers whose time is over while no packet came."""
        now = time.monotonic()
        with self._lock:
            watches = [watch for _, watch in self._all]
        for watch in watches:
            until = watch.until
            if until is not None and now > until:
                watch.cut = True
                shut(watch)

    def close(self):
        """Stop all transfers at once."""
        self.stop.set()
        with self._lock:
            everything = list(self._all)
        for _, watch in everything:
            shut(watch)

    def forget(self):
        """Close the connections, after the threads have ended."""
        for session, _ in self._all:
            session.close()
        self._all.clear()

    def receive(self, url, path, *, max_bytes):
        """
        Write what an address answers to a file.

        Parameters
        ----------
        url : str
            Address to read.
        path : `~pathlib.Path`
            File to write; it is left behind unfinished after an error.
        max_bytes : int
            Largest body that is taken.

        Returns
        -------
        size : int
            Bytes written.
        kind : str
            ``Content-Type``, or an empty text.

        Raises
        ------
        PassingError, RefusedError, StoppedError
            Why there is no file.
        DataSetWriteError
            If the file cannot be written.
        """
        while (wait := self._quiet_until - time.monotonic()) > 0:
            self.sleep(wait)
        self.sleep(0)
        session, watch = self._session()
        started = time.monotonic()
        watch_thread(watch)
        watch.until = started + 2 * self.timeout
        watch.cut = False
        try:
            response = self._open(session, url)
            with response:
                self._check_not_cut()
                _check_status(response, 10 * self.timeout)
                size = self._body(response, path, max_bytes, started, watch)
                return size, response.headers.get("Content-Type", "")
        finally:
            watch.until = watch.sock = None

    def _open(self, session, url):
        """Ask, and follow a few redirections without reading their bodies."""
        for _ in range(_REDIRECTS):
            try:
                response = session.get(
                    url, stream=True, timeout=self.timeout, allow_redirects=False
                )
                target = session.get_redirect_target(response)
            except _ADDRESS_ERRORS as exc:
                msg = f"the address cannot be used: {exc}"
                raise RefusedError(msg) from exc
            except _NETWORK_ERRORS as exc:
                raise self._trouble(exc) from exc
            if target is None:
                return response
            response.close()
            url = urljoin(response.url, target)
        msg = f"more than {_REDIRECTS} redirections"
        raise RefusedError(msg)

    def _check_not_cut(self):
        """Tell the end of an answer from an end that we made ourselves."""
        self.sleep(0)
        if self._local.watch.cut:
            msg = f"too slow: not all came within {2 * self.timeout:g} s"
            raise PassingError(msg)

    def _trouble(self, exc):
        """Say in a few words what went wrong on the way."""
        self._check_not_cut()
        text = f"{type(exc).__name__} {exc}"
        if isinstance(exc, requests.Timeout | TimeoutError) or "timed out" in text:
            return PassingError(f"no answer within {self.timeout:g} s")
        if isinstance(exc, requests.exceptions.SSLError):
            return PassingError(f"the connection is not safe: {exc}")
        if "refused" in text or "NameResolution" in text or "resolve" in text:
            return PassingError(f"cannot connect: {text[:200]}")
        return PassingError(f"the connection broke: {text[:200]}")

    def _body(self, response, path, max_bytes, started, watch):
        """Write the body and compare its size with what was announced."""
        announced = response.headers.get("Content-Length", "")
        announced = int(announced) if announced.isdecimal() else None
        if announced is not None and announced > max_bytes:
            msg = f"announced as {announced} bytes, more than the limit of {max_bytes}"
            raise RefusedError(msg)
        size = 0
        try:
            stream = path.open("wb", buffering=0)
        except OSError as exc:
            raise write_error(path, exc) from exc
        with stream:
            while block := self._block(response):
                size += len(block)
                if size > max_bytes:
                    msg = f"larger than the limit of {max_bytes} bytes; cut off there"
                    raise RefusedError(msg)
                watch.until = started + 2 * self.timeout + size / _SLOWEST
                if time.monotonic() > watch.until:
                    msg = (
                        f"too slow: {size} bytes in {time.monotonic() - started:.3g} s"
                    )
                    raise PassingError(msg)
                try:
                    write_all(stream, block)
                except OSError as exc:
                    raise write_error(path, exc) from exc
        self._check_not_cut()
        sent = response.raw.tell()
        if not is_whole(response, sent):
            msg = "the answer is empty"
            raise PassingError(msg)
        if announced is not None and sent != announced:
            msg = f"only {sent} of {announced} bytes came"
            raise PassingError(msg)
        return size

    def _block(self, response):
        """Return what has come, without waiting for a full block."""
        try:
            return response.raw.read1(_BLOCK, decode_content=True)
        except _NETWORK_ERRORS as exc:
            raise self._trouble(exc) from exc


def _check_status(response, longest):
    """Sort the answers that are not a file."""
    status = response.status_code
    if status == 200:
        return
    msg = f"HTTP status {status} {response.reason or ''}".strip()
    if status in _PASSING or status >= 500:
        pause = parse_retry_after(response.headers.get("Retry-After"))
        raise PassingError(msg, pause=None if pause is None else min(pause, longest))
    raise RefusedError(msg)
