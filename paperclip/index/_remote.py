# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""Files on servers and in object stores, copied for as long as they are read."""

import os
import threading
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from urllib.parse import unquote, urlsplit, urlunsplit

from paperclip.exceptions import ImageConversionError, RemoteServiceError
from paperclip.utils.retry import parse_retry_after, retry

__all__ = ["SCHEMES", "RemoteFiles", "is_remote", "public_name"]

_WEB = ("http", "https")
_STORES = ("s3", "gs", "gcs", "abfs", "abfss", "hdfs", "viewfs")
#: How the URIs begin that can be read.
SCHEMES = (*_WEB, *_STORES)
_MAX_BYTES = 4 << 30
_CHUNK = 1 << 20
_BUSY = (429, 500, 502, 503, 504)  # worth another attempt


def is_remote(path):
    """
    Tell whether a file is somewhere else.

    Parameters
    ----------
    path : str
        Absolute path, or URI.

    Returns
    -------
    answer : bool
        True for a URI that is no ``file://``.
    """
    scheme, mark, _ = path.partition("://")
    return bool(mark) and scheme.lower() in SCHEMES


def public_name(uri):
    """
    Return a URI without user, password and options.

    Parameters
    ----------
    uri : str
        Of a remote file.

    Returns
    -------
    uri : str
        What may be shown and stored. The query of a web address stays, it
        names the file; that of an object store sets how it is reached.
    """
    parts = urlsplit(uri)
    query = parts.query if parts.scheme.lower() in _WEB else ""
    place = parts.netloc
    if not parts.scheme.lower().startswith("abfs"):  # there it is the container
        place = place.rpartition("@")[2]
    return urlunsplit((parts.scheme, place, parts.path, query, ""))


class _BusyError(ConnectionError):
    def __init__(self, text, retry_after=None):
        super().__init__(text)
        self.retry_after = retry_after


class RemoteFiles:
    """
    Copy remote files to the disk, each for as long as it is read.

    Web addresses are read with requests, object stores with the file systems
    of Arrow, which take their credentials from the environment as usual.
    Threads may share an object.
    """

    def __init__(self):
        self._local = threading.local()
        self._lock = threading.Lock()
        self._folder = None
        self._sessions = []
        self._stores = {}
        self._count = 0

    def close(self):
        """Close all connections and remove what is left on disk."""
        while self._sessions:
            self._sessions.pop().close()
        self._local = threading.local()
        if self._folder is not None:
            self._folder.cleanup()
            self._folder = None

    @contextmanager
    def copy(self, uri):
        """
        Give a local copy of a file.

        Parameters
        ----------
        uri : str
            See `is_remote`.

        Yields
        ------
        path : str
            A file that is removed afterwards.

        Raises
        ------
        ImageConversionError
            If there is no such file, or access is refused, or it is larger
            than 4 GiB.
        RemoteServiceError
            If the server does not answer, after several attempts.
        """
        target = self._target()
        fetch = self._web if urlsplit(uri).scheme.lower() in _WEB else self._store
        try:
            fetch(uri, target)
            yield str(target)
        finally:
            target.unlink(missing_ok=True)

    def _target(self):
        with self._lock:
            if self._folder is None:
                self._folder = TemporaryDirectory(prefix="paperclip-")
            self._count += 1
            return Path(self._folder.name, f"{os.getpid()}-{self._count}")

    # ---- web servers

    def _session(self):
        session = getattr(self._local, "session", None)
        if session is None:
            import requests

            session = self._local.session = requests.Session()
            self._sessions.append(session)
        return session

    def _web(self, uri, target):
        import requests

        from paperclip import conf

        passing = (requests.ConnectionError, requests.Timeout, _BusyError)
        passing += (requests.exceptions.ChunkedEncodingError,)
        try:
            retry(
                lambda: self._download(uri, target), attempts=conf.retries, on=passing
            )
        except passing as exc:
            msg = f"{public_name(uri)}: the server does not answer ({_short(exc)})"
            raise RemoteServiceError(msg, url=public_name(uri)) from exc
        except (requests.RequestException, ValueError) as exc:
            msg = f"{public_name(uri)} cannot be fetched: {_short(exc)}"
            raise ImageConversionError(msg) from exc

    def _download(self, uri, target):
        from paperclip import conf

        with self._session().get(uri, stream=True, timeout=conf.timeout) as answer:
            if answer.status_code in _BUSY:
                asked = parse_retry_after(answer.headers.get("Retry-After"))
                msg = f"status {answer.status_code}"
                raise _BusyError(msg, asked)
            answer.raise_for_status()
            _save(answer.iter_content(_CHUNK), target, uri)

    # ---- object stores

    def _store(self, uri, target):
        try:
            system, path = self._system(uri)
            with system.open_input_stream(path) as stream:
                _save(iter(lambda: stream.read(_CHUNK), b""), target, uri)
        except ImageConversionError:
            raise
        except (FileNotFoundError, PermissionError, ValueError) as exc:
            msg = f"{public_name(uri)} cannot be read: {_short(exc)}"
            raise ImageConversionError(msg) from exc
        except (OSError, NotImplementedError) as exc:
            msg = f"{public_name(uri)}: the store does not answer ({_short(exc)})"
            raise RemoteServiceError(msg, url=public_name(uri)) from exc

    def _system(self, uri):
        """Return the file system of a store, made once, and the path in it."""
        from pyarrow.fs import FileSystem

        parts = urlsplit(uri)
        key = (parts.scheme, parts.netloc, parts.query)
        name = unquote(parts.path)
        with self._lock:
            if key not in self._stores:
                system, path = FileSystem.from_uri(uri)
                self._stores[key] = system, path.removesuffix(name)
            system, start = self._stores[key]
        return system, start + name


def _save(chunks, target, uri):
    size = 0
    with target.open("wb") as stream:
        for chunk in chunks:
            size += len(chunk)
            if size > _MAX_BYTES:
                msg = f"{public_name(uri)} is larger than {_MAX_BYTES} bytes"
                raise ImageConversionError(msg)
            stream.write(chunk)


def _short(exc):
    return " ".join(str(exc).split())[:200] or type(exc).__name__
