# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""
Connections that say which socket a thread reads.

`requests` waits for a server as long as a packet comes now and then. Another
thread can end that: it shuts the socket down, and the reader wakes up.
"""

import socket
import threading
from contextlib import suppress
from types import MappingProxyType

from requests.adapters import HTTPAdapter
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool

__all__ = ["WatchedAdapter", "is_whole", "shut", "watch_thread"]

_here = threading.local()


def watch_thread(watch):
    """
    Choose who is told the sockets that this thread reads.

    Parameters
    ----------
    watch : object or None
        Its attribute ``sock`` is set; None for nobody.
    """
    _here.watch = watch


def shut(watch):
    """
    Wake up the thread that reads a socket: it gets the end of the stream.

    Parameters
    ----------
    watch : object
        As for `watch_thread`.
    """
    sock = watch.sock
    if sock is not None:
        with suppress(OSError, ValueError):
            sock.shutdown(socket.SHUT_RDWR)


def is_whole(response, size):
    """
    Tell a success from an answer that broke off while its header came.

    Python takes the end of the stream for the end of the header. What it
    returns then is a success with neither a length nor a body.

    Parameters
    ----------
    response : `requests.Response`
        With its header read; all but those of status 200 count as whole.
    size : int
        Bytes of the body.

    Returns
    -------
    whole : bool
        False if nothing says that there is no body.
    """
    names = ("Content-Length", "Transfer-Encoding")
    told = any(name in response.headers for name in names)
    return told or size > 0 or response.status_code != 200


class _Watched:
    def getresponse(self, *args, **kwargs):
        watch = getattr(_here, "watch", None)
        if watch is not None:
            watch.sock = self.sock
        return super().getresponse(*args, **kwargs)


class _Plain(_Watched, HTTPConnection):
    pass


class _Secure(_Watched, HTTPSConnection):
    pass


class _PlainPool(HTTPConnectionPool):
    ConnectionCls = _Plain


class _SecurePool(HTTPSConnectionPool):
    ConnectionCls = _Secure


class WatchedAdapter(HTTPAdapter):
    """Connections that can be watched; no retries behind our back."""

    _pools = MappingProxyType({"http": _PlainPool, "https": _SecurePool})

    def init_poolmanager(self, *args, **kwargs):
        super().init_poolmanager(*args, **kwargs)
        self.poolmanager.pool_classes_by_scheme = self._pools

    def proxy_manager_for(self, *args, **kwargs):
        manager = super().proxy_manager_for(*args, **kwargs)
        manager.pool_classes_by_scheme = self._pools
        return manager
