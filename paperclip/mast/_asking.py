# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""Ask a server until it answers; the settings of a client that does so."""

import re
import threading
import warnings

import numpy as np

from paperclip.exceptions import (
    InvalidQueryError,
    OfflineError,
    PaperclipError,
    RemoteServiceError,
)
from paperclip.utils import retry as _retry
from paperclip.utils.checks import whole_number
from paperclip.utils.offline import is_offline

from ._transport import TROUBLE, Transport, Trouble, translate

__all__ = ["Asking"]

_MAX_SMALL = 1 << 24  # bytes of an answer that holds no rows


class Asking:
    """
    What a client needs before it knows any question.

    Parameters
    ----------
    server, timeout, retries, rng, offline
        As for `paperclip.mast.MastClient`.
    """

    def __init__(self, *, server, timeout, retries, rng, offline):
        self._server = server
        self._timeout = timeout
        self._retries = retries
        self._rng = rng
        self._offline = offline
        self._transport = Transport()
        self._local = threading.local()

    # settings, read when they are needed

    @property
    def server(self):
        """Address of MAST without a slash at its end, str."""
        from paperclip import conf

        server = conf.mast_server if self._server is None else self._server
        if not re.match(r"https?://[^\s/]", str(server)):
            msg = (
                "server (paperclip.conf.mast_server) must be an address that begins "
                f"with http:// or https://, got {server!r}"
            )
            raise InvalidQueryError(msg)
        return server.rstrip("/")

    @property
    def timeout(self):
        """Seconds to wait for an answer, float."""
        from paperclip import conf

        timeout = conf.timeout if self._timeout is None else self._timeout
        try:
            seconds = float(timeout)
        except (TypeError, ValueError):
            seconds = np.nan
        if not 0 < seconds < 1e6:
            msg = (
                "timeout (paperclip.conf.timeout) must be a number of seconds above 0, "
                f"got {timeout!r}"
            )
            raise InvalidQueryError(msg)
        return seconds

    @property
    def retries(self):
        """How often a question is asked at most, int."""
        from paperclip import conf

        retries = conf.retries if self._retries is None else self._retries
        return whole_number("retries (paperclip.conf.retries)", retries, 1, 1000)

    @property
    def offline(self):
        """Whether no socket may be opened, bool."""
        return is_offline(self._offline)

    # how questions are asked

    @property
    def _invoke(self):
        return f"{self.server}/api/v0/invoke"

    def _ask(self, call, what, url, max_bytes=_MAX_SMALL):
        """Call a function that asks a server, until it succeeds."""
        if self.offline:
            raise OfflineError(_offline_message(what))
        timeout, attempts = self.timeout, self.retries
        made = 0

        def once():
            nonlocal made
            made += 1
            try:
                with self._transport.limits(timeout, max_bytes):
                    return call()
            except PaperclipError:  # some are ValueErrors
                raise
            except TROUBLE as exc:
                raise translate(exc, timeout) from exc

        try:
            return _retry.retry(
                once,
                attempts=attempts,
                rng=self._rng,
                on=lambda exc: getattr(exc, "again", False),
            )
        except Trouble as exc:
            times = "once" if made == 1 else f"{made} times"
            msg = f"{what} failed at {url} (asked {times}): {exc}. {exc.advice}".strip()
            raise RemoteServiceError(msg, url=url, status=exc.status) from exc

    def _get_json(self, url, params):
        """Return the JSON object at an address."""
        reply = self._transport.request("GET", url, params=params).json()
        if not isinstance(reply, dict):
            msg = "no object"
            raise TypeError(msg)
        return reply

    def _mast(self):
        """Return the astroquery object of this thread, which has a state."""
        if not hasattr(self._local, "mast"):
            shown = warnings.showwarning
            from astroquery.mast import MastClass

            warnings.showwarning = shown  # astroquery puts its own log in the place
            mast = MastClass()
            # its hook formats every answer for a log that nobody reads
            mast._session.hooks["response"].clear()
            self._transport.mount(mast._session)
            # known services are not looked up, and not shared between clients
            mast._portal_api_connection._column_configs = {}
            self._local.mast = mast
        return self._local.mast

    def _service(self, service, params, page, pagesize):
        """Return the JSON of one page of a service."""
        mast = self._mast()
        portal = mast._portal_api_connection
        # class attributes hold what was configured when astroquery was imported
        portal.MAST_REQUEST_URL = self._invoke
        portal.TIMEOUT = 5 * self.timeout
        portal._column_configs[service] = {}
        responses = mast.service_request_async(
            service, params, pagesize=pagesize, page=page
        )
        return responses[0].json()


def _offline_message(what):
    return (
        f"{what} needs the network, and downloads are switched off. Set "
        "paperclip.conf.offline = False (and unset HF_HUB_OFFLINE) and repeat the "
        "call; the commands 'paperclip dataset build' and 'paperclip index build' "
        "store on disk what they fetch, for work without a network"
    )
