# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""
HTTP within limits: of time, of size, and of what a failure looks like.

`requests` limits the time between two packets and nothing else, and astroquery
does not even set that limit. The adapter here is mounted on the sessions of
both; it ends answers that come too slowly or grow too large.
"""

import json
import re
import threading
import time
from contextlib import contextmanager
from http.client import HTTPException

import requests
from requests.exceptions import RequestException
from urllib3.exceptions import HTTPError
from urllib3.exceptions import TimeoutError as PoolTimeoutError

from paperclip.mast._watched import WatchedAdapter, is_whole, shut, watch_thread
from paperclip.utils.retry import parse_retry_after

__all__ = ["TROUBLE", "Transport", "Trouble", "translate"]

_BLOCK = 1 << 16
_PATIENCE = 5  # an answer may take this many times the timeout in all
_PASSING = frozenset({408, 425, 429})  # and everything from 500 on
_STOP = (
    requests.exceptions.InvalidURL,
    requests.exceptions.InvalidSchema,
    requests.exceptions.MissingSchema,
    requests.exceptions.TooManyRedirects,
    requests.exceptions.SSLError,
)
# what requests and astroquery raise for servers that misbehave; the last four
# stand for JSON that is not what astroquery takes for granted
TROUBLE = (
    RequestException,
    HTTPError,
    HTTPException,
    OSError,
    ValueError,
    AttributeError,
    KeyError,
    TypeError,
    RecursionError,
)


class TooSlowError(requests.exceptions.Timeout):
    """The whole answer took too long."""


class TooLargeError(RequestException):
    """The answer is larger than the caller can use."""


class Trouble(Exception):
    """
    One failed attempt.

    Parameters
    ----------
    message : str
        What happened.
    status : int, optional
        HTTP status.
    again : bool
        Whether another attempt may succeed.
    advice : str
        What the user can do.
    retry_after : float, optional
        Seconds that the server asks for.
    """

    def __init__(
        self, message, *, status=None, again=True, advice="", retry_after=None
    ):
        super().__init__(message)
        self.status = status
        self.again = again
        self.advice = advice
        self.retry_after = retry_after


_here = threading.local()


class _Watch:
    """A clock that cuts the connection when the time is over."""

    def __init__(self, seconds):
        self.sock = None
        self.over = False
        self._timer = threading.Timer(seconds, self._cut)
        self._timer.daemon = True

    def _cut(self):
        self.over = True
        shut(self)

    def __enter__(self):
        watch_thread(self)
        self._timer.start()
        return self

    def __exit__(self, *_):
        self._timer.cancel()
        watch_thread(None)


class _BoundedAdapter(WatchedAdapter):
    """Read whole answers, within the limits that the transport has set."""

    def send(self, request, stream=False, timeout=None, **kwargs):
        seconds, max_bytes = _here.limits
        with _Watch(_PATIENCE * seconds) as watch:
            try:
                # the body is read here, whatever the caller asks for
                response = super().send(request, stream=True, timeout=seconds, **kwargs)
                try:
                    body = _body(response, max_bytes)
                finally:
                    response.close()
            except TooLargeError:
                raise
            except (RequestException, HTTPError, HTTPException, OSError) as exc:
                if not watch.over:
                    raise
                msg = f"the answer was not complete after {_PATIENCE * seconds:g} s"
                raise TooSlowError(msg) from exc
        if watch.over:  # an answer without a length ends like a whole one
            msg = f"the answer was not complete after {_PATIENCE * seconds:g} s"
            raise TooSlowError(msg)
        if not is_whole(response, len(body)):
            msg = "the answer is empty"
            raise requests.ConnectionError(msg)
        response._content = body
        response._content_consumed = True
        if b'"EXECUTING"' in body[:200]:
            # astroquery asks again at once; spare the server
            time.sleep(min(1.0, seconds / 20))
        return response


def _body(response, max_bytes):
    """Return the body of an answer, decompressed."""
    blocks, size = [], 0
    while block := response.raw.read(_BLOCK, decode_content=True):
        size += len(block)
        if size > max_bytes:
            msg = f"the answer is larger than {max_bytes} bytes"
            raise TooLargeError(msg)
        blocks.append(block)
    return b"".join(blocks)


class Transport:
    """
    Sessions for the threads of one client, over one pool of connections.

    Attributes
    ----------
    adapter : `requests.adapters.HTTPAdapter`
        To be mounted on every session.
    """

    def __init__(self):
        self.adapter = _BoundedAdapter(pool_connections=8, pool_maxsize=32)
        self._local = threading.local()

    def mount(self, session):
        """
        Make a session keep to the limits.

        Parameters
        ----------
        session : `requests.Session`
            Changed in place.
        """
        for scheme in ("http://", "https://"):
            session.mount(scheme, self.adapter)

    @property
    def session(self):
        """The session of this thread."""
        if not hasattr(self._local, "session"):
            from paperclip import __version__

            session = requests.Session()
            agent = session.headers["User-Agent"]
            session.headers["User-Agent"] = f"astro-paperclip/{__version__} {agent}"
            self.mount(session)
            self._local.session = session
        return self._local.session

    @contextmanager
    def limits(self, timeout, max_bytes):
        """
        Set the limits of the requests of this thread.

        Parameters
        ----------
        timeout : float
            Seconds to connect and between two packets; the whole answer may
            take five times that.
        max_bytes : int
            Largest body.
        """
        _here.limits = timeout, max_bytes
        try:
            yield
        finally:
            del _here.limits

    def request(self, method, url, **options):
        """
        Send a request and refuse every answer but success.

        Parameters
        ----------
        method, url : str
            As in `requests.request`.
        **options
            Likewise.

        Returns
        -------
        response : `requests.Response`
            With its whole body.
        """
        response = self.session.request(method, url, **options)
        response.raise_for_status()
        return response


def translate(exc, timeout):
    """
    Say what an error of `requests` or astroquery means for the user.

    Parameters
    ----------
    exc : Exception
        One of ``TROUBLE``.
    timeout : float
        Seconds that were allowed.

    Returns
    -------
    trouble : Trouble
        What happened, whether to try again, and what to change.
    """
    if isinstance(exc, requests.HTTPError) and exc.response is not None:
        return _refusal(exc.response)
    if isinstance(exc, TooLargeError):
        return Trouble(str(exc), again=False)
    if isinstance(exc, _STOP):
        advice = "Check the address in paperclip.conf.mast_server"
        return Trouble(f"the address cannot be used: {exc}", again=False, advice=advice)
    if isinstance(exc, (requests.Timeout, TimeoutError, PoolTimeoutError)):
        said = str(exc) if isinstance(exc, TooSlowError) else "no answer in time"
        advice = (
            f"Raise paperclip.conf.timeout, now {timeout:g} s, if the network is slow"
        )
        return Trouble(said, advice=advice)
    if isinstance(exc, ValueError) and not isinstance(exc, OSError | HTTPError):
        return _not_json(exc)
    if isinstance(exc, json.JSONDecodeError):
        return _not_json(exc)
    if isinstance(exc, (AttributeError, KeyError, TypeError, RecursionError)):
        said = f"the answer is JSON of an unknown form ({type(exc).__name__}: {exc})"
        return Trouble(said, status=200, advice=_PERSISTS)
    said = "the connection failed or broke off"
    advice = "Check the network; raise paperclip.conf.retries if it is a bad one"
    return Trouble(f"{said} ({_root(exc)})", advice=advice)


_MARKUP = re.compile(r"\s*<(?:!--|!doctype\b|\?xml\b|html\b|head\b|body\b)", re.I)
_PERSISTS = (
    "Raise paperclip.conf.retries or try later; if it persists, the service has changed"
)


def _root(exc):
    """Return the innermost reason of an error, which is the shortest to read."""
    while True:
        inner = getattr(exc, "reason", None) or next(
            (arg for arg in exc.args if isinstance(arg, BaseException)), None
        )
        if not isinstance(inner, BaseException) or inner is exc:
            return f"{type(exc).__name__}: {exc}"[:300]
        exc = inner


def _refusal(response):
    status = response.status_code
    said = f"HTTP status {status} {response.reason}".rstrip()
    if status in (401, 403):
        advice = "The data are not public, or access is blocked; this is not retried"
        return Trouble(said, status=status, again=False, advice=advice)
    if status not in _PASSING and status < 500:
        advice = "Nothing is there; check the address and paperclip.conf.mast_server"
        if status not in (404, 410):
            advice = "The server refuses the request as it is; this is not retried"
        return Trouble(said, status=status, again=False, advice=advice)
    advice = "The server is busy or down; raise paperclip.conf.retries or try later"
    asked = parse_retry_after(response.headers.get("Retry-After"))
    return Trouble(said, status=status, advice=advice, retry_after=asked)


def _not_json(exc):
    text = str(getattr(exc, "doc", ""))
    if _MARKUP.match(text):
        said = "the answer is a web page where JSON was expected"
    else:
        said = f"the answer is damaged: no valid JSON ({exc})"
    return Trouble(said, status=200, advice=_PERSISTS)
