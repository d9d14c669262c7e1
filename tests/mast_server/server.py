# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""A server on this machine that speaks enough of MAST."""

import os
import socket
import threading
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from http.server import ThreadingHTTPServer
from pathlib import Path
from unittest.mock import patch

from .faults import Faults
from .handler import Handler

__all__ = ["MastServer", "Request", "mast_server"]


@dataclass
class Request:
    """
    One request.

    Attributes
    ----------
    method, path : str
        As they came, without the host.
    where : str
        Kind: ``"invoke"``, ``"columns"``, ``"download"``, ``"path_lookup"``,
        ``"resolver"``, ``"cloud"``, ``"abstracts"``, ``"programme"``, ``""``.
    what : str
        Service, data URI, object name, key or file.
    status : int or None
        HTTP status; None while there is none, and for connections torn down.
    fault : str or None
        What was made to go wrong.
    params : dict
        Of a service: what was asked.
    """

    method: str
    path: str
    where: str
    what: str
    status: int | None = None
    fault: str | None = None
    params: dict | None = None


class MastServer:
    """
    An archive on the network, its faults, and what was asked of it.

    Attributes
    ----------
    url : str
        For ``conf.mast_server`` and every other address.
    archive : Archive
        May be changed at any time.
    requests : list of Request
        Every request so far.
    latency : float
        Seconds before every answer.
    faults : Faults
        What is to go wrong.
    page_rows : int or None
        Largest page that the archive hands out, whatever is asked.
    busiest : int
        Most requests that were being answered at the same time.
    """

    def __init__(self, archive):
        self.url = None
        self.archive = archive
        self.requests = []
        self.latency = 0.0
        self.faults = Faults()
        self.page_rows = None
        self.busiest = 0
        self.active = 0
        self.lock = threading.Lock()
        self.closing = threading.Event()

    @property
    def proxy(self):
        """Value of ``http_proxy`` that leads the name resolver here."""
        return self.url

    def asked(self, where=None):
        """Return the requests of a kind, or for a thing."""
        with self.lock:
            found = list(self.requests)
        if where is None:
            return found
        return [r for r in found if where == r.where or where in r.what]

    def settings(self, *, timeout=10.0, retries=5):
        """Return the items of ``paperclip.conf`` that lead everything here."""
        return {
            "mast_server": self.url,
            "abstracts_url": f"{self.url}/hst/proposal_abstracts.html",
            "programme_server": self.url,
            "cloud_server": self.url,
            "timeout": timeout,
            "retries": retries,
        }

    @contextmanager
    def conf(self, *, timeout=10.0, retries=5, wait=0.001, **items):
        """
        Lead everything of this process here, the name resolver included.

        Parameters
        ----------
        timeout, retries
            As in ``paperclip.conf``.
        wait : float
            Seconds before the first repetition, so that tests are quick.
        **items
            More items of ``paperclip.conf``.
        """
        from paperclip import conf

        with ExitStack() as stack:
            settings = self.settings(timeout=timeout, retries=retries) | items
            for name, value in settings.items():
                stack.enter_context(conf.set_temp(name, value))
            stack.enter_context(patch.dict(os.environ, self._variables()))
            stack.enter_context(patch("paperclip.utils.retry.FIRST_WAIT", wait))
            yield conf

    def environment(self, folder, *, timeout=10.0, retries=5, **items):
        """
        Return the environment of a subprocess that is to come here.

        Parameters
        ----------
        folder : path-like
            Where its configuration and its caches are written.
        timeout, retries, **items
            Items of ``paperclip.conf``.

        Returns
        -------
        environment : dict of str to str
            For `subprocess.run`.
        """
        folder = Path(folder)
        # astropy before version 8 uses only folders that exist
        for place in ("config/astropy", "cache/astropy", "cache/paperclip"):
            (folder / place).mkdir(parents=True, exist_ok=True)
        items = self.settings(timeout=timeout, retries=retries) | items
        text = "".join(f"{name} = {value}\n" for name, value in items.items())
        path = folder / "config" / "astropy" / "paperclip.cfg"
        path.write_text(text, encoding="utf-8")
        return os.environ | {
            "XDG_CONFIG_HOME": str(folder / "config"),
            "XDG_CACHE_HOME": str(folder / "cache"),
            **self._variables(),
        }

    def _variables(self):
        direct = "127.0.0.1,localhost"
        proxies = {"http_proxy": self.proxy, "no_proxy": direct}
        proxies |= {"HTTP_PROXY": self.proxy, "NO_PROXY": direct}
        # this machine counts as a network, also where no other is wanted
        return proxies | {"HF_HUB_OFFLINE": "0"}


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False
    request_queue_size = 128

    def handle_error(self, request, client_address):
        """Clients that hang up are part of the tests."""


@contextmanager
def mast_server(archive):
    """
    Run an archive on a free port of 127.0.0.1.

    Parameters
    ----------
    archive : Archive
        What it holds.

    Yields
    ------
    mast : MastServer
        To be given faults, and asked what was requested.
    """
    mast = MastServer(archive)
    server = _Server(("127.0.0.1", 0), Handler)
    server.mast = mast
    server.socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    mast.url = f"http://127.0.0.1:{server.server_address[1]}"
    # half a second of polling would make every test that long
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    try:
        yield mast
    finally:
        mast.closing.set()
        server.shutdown()
        server.server_close()
        thread.join(timeout=10)
