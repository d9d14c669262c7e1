# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""Find the pictures of observations: in a folder, in the cache, or online."""

import hashlib
import http.client
import os
import re
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np

from paperclip.exceptions import ImageConversionError, InvalidQueryError
from paperclip.utils.files import atomic_path, cache_directory
from paperclip.utils.offline import is_offline

__all__ = ["is_offline", "load_pictures", "preview_address"]

_MAST_FILES = "/api/v0.1/Download/file?uri="
_SUFFIXES = (".jpg", ".jpeg", ".png", ".gif", ".tif", ".tiff", ".webp")
_MAX_BYTES = 20 * 2**20  # previews at MAST are a few 10^5 bytes
_MAX_SIDE = 1200  # pixels kept per panel: 2.4 inch at 500 dots per inch
_WORKERS = 6
_CHUNK = 1 << 16


def preview_address(uri):
    """
    Return where the preview of an observation can be fetched.

    Parameters
    ----------
    uri : str or None
        ``jpegURL`` of a row: a MAST data URI (``mast:JWST/product/...``) or
        an HTTP(S) address.

    Returns
    -------
    url : str or None
        The HTTP(S) address; None for every other scheme and for no URI.

    Notes
    -----
    MAST serves its data URIs at the ``Download/file`` endpoint of its portal
    API [1]_. Its address is ``paperclip.conf.mast_server``.

    References
    ----------
    .. [1] https://mast.stsci.edu/api/v0/pyex.html#download_req
    """
    scheme = uri.partition(":")[0].lower() if uri else ""
    if scheme == "mast":
        from paperclip import conf

        server = conf.mast_server.rstrip("/")
        return server + _MAST_FILES + urllib.parse.quote(uri, safe=":/")
    return uri if scheme in ("http", "https") else None


def load_pictures(obs_ids, uris, *, images=None, offline=False, timeout=60.0):
    """
    Return one picture per observation, or the reason why there is none.

    Parameters
    ----------
    obs_ids, uris : sequence of str or None
        ``obs_id`` and ``jpegURL`` of the observations.
    images : path-like or mapping, optional
        Folder with pictures, or a mapping of ``obs_id`` to a path or an
        array.
    offline : bool
        When True only ``images`` and the cache are looked at.
    timeout : float
        Seconds that one download may take.

    Returns
    -------
    pictures : list of (`~numpy.ndarray` or None, str or None)
        Picture, shape (ny, nx, 3), uint8, at most 1200 pixels a side, and
        None; or None and what failed, which is an empty str where nothing
        was tried.

    Raises
    ------
    InvalidQueryError
        If ``images`` is neither a folder nor a mapping.
    """
    find = _finder(images)
    local = [find(obs_id, uri) for obs_id, uri in zip(obs_ids, uris, strict=True)]
    # an address that several rows share is fetched once
    jobs = {}
    for found, uri in zip(local, uris, strict=True):
        if found is None:
            jobs.setdefault(preview_address(uri))
    jobs.pop(None, None)
    if jobs:
        with ThreadPoolExecutor(min(_WORKERS, len(jobs))) as pool:
            done = pool.map(lambda url: _fetch(url, offline, timeout), jobs)
            jobs = dict(zip(jobs, done, strict=True))
    return [
        jobs.get(preview_address(uri), (None, "")) if found is None else _open(found)
        for found, uri in zip(local, uris, strict=True)
    ]


def _finder(images):
    """Return a function that finds the local picture of an observation."""
    if images is None:
        return lambda _obs_id, _uri: None
    if isinstance(images, Mapping):
        return lambda obs_id, _uri: images.get(obs_id)
    if not isinstance(images, str | os.PathLike):
        msg = (
            "images must be a folder or a mapping of obs_id to a path or array, "
            f"got {type(images).__name__}"
        )
        raise InvalidQueryError(msg)
    folder = Path(images).expanduser()
    if not folder.is_dir():
        msg = f"images must be an existing folder, got {str(folder)!r}"
        raise InvalidQueryError(msg)
    # names from a table are compared with this listing, never made into a path
    files = {
        path.stem.casefold(): path
        for path in sorted(folder.iterdir())
        if path.suffix.lower() in _SUFFIXES and path.is_file()
    }
    return lambda obs_id, uri: _match(files, obs_id, uri)


def _match(files, obs_id, uri):
    """Return the file of the preview's own name, else one that names obs_id."""
    stem = re.split(r"[/=]", uri or "")[-1].rpartition(".")[0].casefold()
    if stem in files:
        return files[stem]
    if not obs_id:
        return None
    whole = re.compile(rf"(?<![a-z0-9]){re.escape(obs_id.casefold())}(?![a-z0-9])")
    return next((path for name, path in files.items() if whole.search(name)), None)


def _open(found):
    """Read a local picture; arrays and the like need no reading."""
    from paperclip.imaging import read_preview, to_rgb

    try:
        on_disk = isinstance(found, str | os.PathLike)
        return _shrink(read_preview(found) if on_disk else to_rgb(found)), None
    except ImageConversionError as exc:
        return None, str(exc)


def _fetch(url, offline, timeout):
    """Return the picture at an address, through the cache."""
    from paperclip.imaging import read_preview

    name = hashlib.sha256(url.encode("utf-8", "replace")).hexdigest()
    path = cache_directory() / "previews" / f"{name[:40]}.img"
    if path.is_file():
        try:
            return _shrink(read_preview(path)), None
        except ImageConversionError:
            pass  # damaged since it was written: fetch it again
    if offline:
        return None, ""
    try:
        data = _download(url, timeout)
        picture = _shrink(read_preview(data))
    except ImageConversionError:
        return None, f"{url}: the response is not a picture"
    except urllib.error.HTTPError as exc:
        exc.close()
        return None, f"{url}: HTTP status {exc.code}"
    except (OSError, http.client.HTTPException, ValueError) as exc:
        return None, f"{url}: {getattr(exc, 'reason', exc)}"
    try:
        with atomic_path(path) as part:
            part.write_bytes(data)
    except OSError:
        pass  # a full or read-only disk must not lose the picture at hand
    return picture, None


def _download(url, timeout):
    """Return the bytes at an HTTP(S) address, bounded in size and time."""
    from paperclip import __version__

    # only these handlers: no file:, no ftp:, not even after a redirect
    opener = urllib.request.OpenerDirector()
    for handler in (
        urllib.request.ProxyHandler,
        urllib.request.HTTPHandler,
        urllib.request.HTTPSHandler,
        urllib.request.HTTPRedirectHandler,
        urllib.request.HTTPDefaultErrorHandler,
        urllib.request.HTTPErrorProcessor,
        urllib.request.UnknownHandler,
    ):
        opener.add_handler(handler())
    agent = {"User-Agent": f"astro-paperclip/{__version__}"}
    request = urllib.request.Request(url, headers=agent)
    deadline = time.monotonic() + timeout
    chunks, size = [], 0
    with opener.open(request, timeout=timeout) as response:
        while chunk := response.read1(_CHUNK):
            chunks.append(chunk)
            size += len(chunk)
            if size > _MAX_BYTES:
                msg = f"larger than {_MAX_BYTES >> 20} MiB"
                raise ValueError(msg)
            if time.monotonic() > deadline:
                msg = f"not complete after {timeout:g} s"
                raise TimeoutError(msg)
        length = response.headers.get("Content-Length", "")
    if length.isdecimal() and len(length) < 16 and size != int(length):
        msg = f"ended after {size} of {length} bytes"
        raise ValueError(msg)
    return b"".join(chunks)


def _shrink(rgb):
    """Reduce a picture to what a panel can show, so that many fit in memory."""
    if max(rgb.shape[:2]) <= _MAX_SIDE:
        return rgb
    from PIL import Image

    picture = Image.fromarray(rgb)
    picture.thumbnail((_MAX_SIDE, _MAX_SIDE))
    return np.asarray(picture)
